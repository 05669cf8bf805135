//! From an address to a stream.

use std::borrow::Cow;
use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::time::Instant as Clock;

use super::error::Fault;
use super::tls::{Connector, TlsStream};
#[cfg(feature = "websocket")]
use super::ws;
use super::{
    ByteStream, ConnectError, Endpoint, Proxies, ProxyServer, Scheme, Stream, Transport, tcp, unix,
};
use crate::options::TcpOptions;
#[cfg(feature = "websocket")]
use crate::options::WebSocketOptions;

/// How streams are opened: what sessions of one kind have in common.
#[derive(Clone, Default)]
pub(crate) struct Dialer {
    /// The local address; `None` lets the system choose.
    pub(crate) bind: Option<IpAddr>,
    pub(crate) tcp: TcpOptions,
    pub(crate) proxies: Proxies,
    /// In place of sockets and proxies.
    pub(crate) transport: Option<Arc<dyn Transport>>,
    /// For brokers that are reached by TLS.
    pub(crate) tls: Option<Arc<Connector>>,
    #[cfg(feature = "websocket")]
    pub(crate) ws: WebSocketOptions,
}

/// A stream that is being opened.
type Opening<'a> = Pin<Box<dyn Future<Output = Result<Stream, ConnectError>> + Send + 'a>>;

/// What the peer has not given when time is over, by the layer that was reached.
const MISSING: [&str; 3] = ["connection", "answer to TLS", "answer to the WebSocket handshake"];

impl Dialer {
    /// Opens a stream to `endpoint`: names, proxies and handshakes included. After `timeout`, at `until`, it fails, if it is polled
    /// then: it has no timer.
    ///
    /// # Errors
    /// What failed last, where several addresses were tried.
    pub(crate) fn dial(
        self: Arc<Self>,
        endpoint: Endpoint,
        timeout: Duration,
        until: Option<Instant>,
    ) -> impl Future<Output = Result<Stream, ConnectError>> + Send + use<> {
        let layer = AtomicUsize::new(0);
        async move {
            #[cfg(test)]
            if let Some(stream) = super::mem::dial(&endpoint) {
                return Ok(stream?);
            }
            let mut opening = pin!(self.open(&endpoint, &layer));
            let is_over = || until.is_some_and(|until| Clock::now().into_std() >= until);
            let opened = poll_fn(|cx| match opening.as_mut().poll(cx) {
                Poll::Pending if is_over() => Poll::Ready(None),
                polled => polled.map(Some),
            });
            match opened.await {
                Some(opened) => opened,
                None => Err(self.too_late(&endpoint, timeout, layer.load(Ordering::Relaxed))),
            }
        }
    }

    /// Time is over; `layer` is the last one that began.
    fn too_late(&self, endpoint: &Endpoint, timeout: Duration, layer: usize) -> ConnectError {
        let missing = MISSING.get(layer).copied().unwrap_or_default();
        // Who is silent then is the proxy, or somebody behind it of whom only the proxy knows.
        let proxy = if layer == 0 { self.proxy_of(endpoint).ok().flatten() } else { None };
        let through = proxy.map_or_else(String::new, |p| format!(" through the proxy {p}"));
        let text = format!("no {missing}{through} after {} ms", timeout.as_millis());
        io::Error::new(io::ErrorKind::TimedOut, text).into()
    }

    /// The layers, from the bottom up; `layer` is told which one begins.
    ///
    /// What plain TCP does not need is in boxes here and below, and the futures keep nothing twice (the arguments of an
    /// `async fn` are): thousands of sessions may be connecting at once, and the memory of that is what the process keeps
    /// afterwards.
    fn open<'a>(
        &'a self,
        endpoint: &'a Endpoint,
        layer: &'a AtomicUsize,
    ) -> impl Future<Output = Result<Stream, ConnectError>> + Send + 'a {
        let other = self.other_than_tcp(endpoint);
        async move {
            let stream = match other {
                Some(opening) => opening.await?,
                None => {
                    let (host, port) = (endpoint.host(), endpoint.port());
                    let addresses = tcp::addresses(host, port, self.bind).await?;
                    Stream::Tcp(tcp::connect(&addresses, self.bind, &self.tcp).await?)
                }
            };
            match endpoint.scheme() {
                Scheme::Tcp | Scheme::Unix => Ok(stream),
                _ => Box::pin(self.handshakes(stream, endpoint, layer)).await,
            }
        }
    }

    /// TLS and WebSocket over `stream`, as the scheme has it.
    async fn handshakes(
        &self,
        mut stream: Stream,
        endpoint: &Endpoint,
        layer: &AtomicUsize,
    ) -> Result<Stream, ConnectError> {
        if endpoint.scheme().is_encrypted() {
            layer.store(1, Ordering::Relaxed);
            stream = Stream::Other(match stream {
                // Nothing lies between TLS and its socket.
                Stream::Tcp(stream) => Box::new(Box::pin(self.encrypt(stream, endpoint)).await?),
                stream => Box::new(Box::pin(self.encrypt(stream, endpoint)).await?),
            });
        }
        match endpoint.scheme() {
            Scheme::Tcp | Scheme::Tls | Scheme::Unix => Ok(stream),
            #[cfg(feature = "websocket")]
            Scheme::Ws | Scheme::Wss => {
                layer.store(2, Ordering::Relaxed);
                let opened = Box::pin(ws::open(stream, endpoint, &self.ws)).await?;
                Ok(Stream::Other(Box::new(opened)))
            }
            #[cfg(not(feature = "websocket"))]
            Scheme::Ws | Scheme::Wss => Err(ConnectError::no_feature("websocket")),
        }
    }

    /// The proxy between, if there is one.
    fn proxy_of(&self, endpoint: &Endpoint) -> Result<Option<Cow<'_, ProxyServer>>, ConnectError> {
        if self.transport.is_some() || endpoint.scheme() == Scheme::Unix {
            return Ok(None);
        }
        self.proxies.of(endpoint)
    }

    /// What is below where it is not TCP to the broker itself: a transport of the application's, a Unix socket or a proxy.
    fn other_than_tcp<'a>(&'a self, endpoint: &'a Endpoint) -> Option<Opening<'a>> {
        if let Some(transport) = &self.transport {
            let opening = transport.connect(endpoint);
            return Some(Box::pin(async move { Ok(Stream::Other(opening.await?)) }));
        }
        if endpoint.scheme() == Scheme::Unix {
            return Some(Box::pin(async move {
                Ok(Stream::Other(Box::new(unix::connect(endpoint).await?)))
            }));
        }
        let proxy = self.proxy_of(endpoint).transpose()?;
        Some(Box::pin(async move {
            Ok(Stream::Tcp(proxy?.connect(endpoint, self.bind, &self.tcp).await?))
        }))
    }

    /// Puts TLS over a stream to `endpoint`.
    ///
    /// # Errors
    /// The handshake failed, or the server is not the one.
    async fn encrypt<S: ByteStream>(
        &self,
        stream: S,
        endpoint: &Endpoint,
    ) -> Result<TlsStream<S>, ConnectError> {
        match &self.tls {
            Some(connector) => connector.connect(stream, endpoint).await,
            None => Err(Fault::config("the session has no settings for TLS").into()),
        }
    }
}

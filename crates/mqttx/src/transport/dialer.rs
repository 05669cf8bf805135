//! From an address to a stream.

use std::borrow::Cow;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

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

/// What the peer has not given when time is over, by the layer that was reached.
const MISSING: [&str; 3] = ["connection", "answer to TLS", "answer to the WebSocket handshake"];

impl Dialer {
    /// Opens a stream to `endpoint` within `timeout`: names, proxies and handshakes included.
    ///
    /// # Errors
    /// What failed last, where several addresses were tried.
    pub(crate) async fn dial(
        &self,
        endpoint: &Endpoint,
        timeout: Duration,
    ) -> Result<Stream, ConnectError> {
        #[cfg(test)]
        if let Some(stream) = super::mem::dial(endpoint) {
            return Ok(stream?);
        }
        let layer = AtomicUsize::new(0);
        let stream = tokio::time::timeout(timeout, self.open(endpoint, &layer)).await;
        stream.unwrap_or_else(|_| {
            let layer = layer.into_inner();
            let missing = MISSING.get(layer).copied().unwrap_or_default();
            // Who is silent then is the proxy, or somebody behind it of whom only the proxy knows.
            let proxy = if layer == 0 { self.proxy_of(endpoint).ok().flatten() } else { None };
            let through = proxy.map_or_else(String::new, |p| format!(" through the proxy {p}"));
            let text = format!("no {missing}{through} after {} ms", timeout.as_millis());
            Err(io::Error::new(io::ErrorKind::TimedOut, text).into())
        })
    }

    /// The layers, from the bottom up; `layer` is told which one begins.
    ///
    /// What plain TCP does not need is in boxes here and below: thousands of sessions may be connecting at once, and
    /// the memory of their futures is what the process keeps afterwards.
    async fn open(&self, endpoint: &Endpoint, layer: &AtomicUsize) -> Result<Stream, ConnectError> {
        let mut stream = self.socket(endpoint).await?;
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

    async fn socket(&self, endpoint: &Endpoint) -> Result<Stream, ConnectError> {
        if let Some(transport) = &self.transport {
            return Ok(Stream::Other(transport.connect(endpoint).await?));
        }
        if endpoint.scheme() == Scheme::Unix {
            return Ok(Stream::Other(Box::new(Box::pin(unix::connect(endpoint)).await?)));
        }
        let stream = match self.proxy_of(endpoint)? {
            Some(proxy) => Box::pin(proxy.connect(endpoint, self.bind, &self.tcp)).await?,
            None => tcp::connect(endpoint.host(), endpoint.port(), self.bind, &self.tcp).await?,
        };
        Ok(Stream::Tcp(stream))
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

//! The ways from a session to a peer.

use std::net::SocketAddr;

use mqttx::{
    Backoff, Endpoint, Proxy, Session, SessionBuilder, SessionManager, SessionOptions, TlsOptions,
    Transport, TransportFuture,
};
use mqttx_test::{Cutter, HttpProxy, Pki, SocksProxy, TlsFront, UnixFront, WebSocketFront};
use std::time::Duration;
use tokio::net::TcpStream;

/// How long one step may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// How long one claim may take.
const LIMIT: Duration = Duration::from_secs(60);

/// How a session reaches its broker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    Tcp,
    Unix,
    Ws,
    Tls,
    Wss,
    HttpProxy,
    Socks5,
    Socks5h,
    WsThroughHttpProxy,
    WsThroughSocks5h,
    WssThroughHttpProxy,
    Own,
    TlsOverOwn,
}

/// Everything between a session and a peer.
pub(crate) struct Path {
    url: String,
    proxy: Option<Proxy>,
    own: Option<OwnTransport>,
    tls: Option<TlsOptions>,
    /// Right in front of the peer on a socket of the file system, else right behind the client.
    pub(crate) cutter: Cutter,
    pub(crate) ws: Option<WebSocketFront>,
    pub(crate) http: Option<HttpProxy>,
    pub(crate) socks: Option<SocksProxy>,
    _unix: Option<UnixFront>,
    _tls: Option<TlsFront>,
}

/// A claim that holds for every way: a test for each.
macro_rules! every_way {
    ($(async fn $name:ident($way:ident: Way) $body:block)*) => {$(
        mod $name {
            use super::*;

            async fn claim($way: Way) $body

            every_way!(@ tcp Tcp, unix Unix, ws Ws, tls Tls, wss Wss, http_proxy HttpProxy, socks5 Socks5,
                socks5h Socks5h, ws_through_http_proxy WsThroughHttpProxy, ws_through_socks5h WsThroughSocks5h,
                wss_through_http_proxy WssThroughHttpProxy, own Own, tls_over_own TlsOverOwn);
        }
    )*};
    (@ $($test:ident $way:ident),*) => {$(
        #[tokio::test]
        async fn $test() {
            $crate::ways::in_time(claim(Way::$way)).await;
        }
    )*};
}

/// A future that hangs is a failure.
pub(crate) async fn in_time<T>(future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(LIMIT, future).await {
        Ok(value) => value,
        Err(_) => panic!("not finished after {} s", LIMIT.as_secs()),
    }
}

impl Way {
    pub(crate) const ALL: [Self; 13] = [
        Self::Tcp,
        Self::Unix,
        Self::Ws,
        Self::Tls,
        Self::Wss,
        Self::HttpProxy,
        Self::Socks5,
        Self::Socks5h,
        Self::WsThroughHttpProxy,
        Self::WsThroughSocks5h,
        Self::WssThroughHttpProxy,
        Self::Own,
        Self::TlsOverOwn,
    ];

    fn is_websocket(self) -> bool {
        matches!(
            self,
            Self::Ws
                | Self::Wss
                | Self::WsThroughHttpProxy
                | Self::WsThroughSocks5h
                | Self::WssThroughHttpProxy
        )
    }

    fn is_encrypted(self) -> bool {
        matches!(self, Self::Tls | Self::Wss | Self::WssThroughHttpProxy | Self::TlsOverOwn)
    }
}

impl Path {
    pub(crate) async fn to(way: Way, peer: SocketAddr) -> Self {
        let ws = if way.is_websocket() { Some(WebSocketFront::start(peer).await) } else { None };
        let behind = ws.as_ref().map_or(peer, WebSocketFront::address);
        let (tls, options) = if way.is_encrypted() {
            let pki = Pki::new("ca");
            let identity = pki.server(&["127.0.0.1"]);
            let front = TlsFront::builder(&identity).start(behind).await;
            (Some(front), Some(TlsOptions::new().ca(pki.ca().into_bytes())))
        } else {
            (None, None)
        };
        let cutter = Cutter::start(tls.as_ref().map_or(behind, TlsFront::address)).await;
        let unix = (way == Way::Unix).then(|| UnixFront::start(cutter.address()));
        let http = match way {
            Way::HttpProxy => Some(HttpProxy::start(Some(("user", "p:ss"))).await),
            Way::WsThroughHttpProxy | Way::WssThroughHttpProxy => {
                Some(HttpProxy::start(None).await)
            }
            _ => None,
        };
        let socks = match way {
            Way::Socks5 => Some(SocksProxy::start(Some(("user", "p:ss"))).await),
            Way::Socks5h | Way::WsThroughSocks5h => Some(SocksProxy::start(None).await),
            _ => None,
        };
        let target = cutter.address();
        // Nobody but the proxy can resolve it.
        let unknown = format!("broker.invalid:{}", target.port());
        let url = match way {
            Way::Tcp | Way::HttpProxy | Way::Socks5 | Way::Own => format!("mqtt://{target}"),
            Way::Socks5h => format!("mqtt://{unknown}"),
            Way::Unix => unix.as_ref().map(UnixFront::url).unwrap_or_default(),
            Way::Tls | Way::TlsOverOwn => format!("mqtts://{target}"),
            Way::Ws | Way::WsThroughHttpProxy => format!("ws://{target}/mqtt?way"),
            Way::Wss | Way::WssThroughHttpProxy => format!("wss://{target}/mqtt?way"),
            Way::WsThroughSocks5h => format!("ws://{unknown}/mqtt?way"),
        };
        let proxy = match (&http, &socks) {
            (Some(proxy), _) => Some(format!("http://user:p%3Ass@{}", proxy.address())),
            (_, Some(proxy)) if way == Way::Socks5 => {
                Some(format!("socks5://user:p%3Ass@{}", proxy.address()))
            }
            (_, Some(proxy)) => Some(format!("socks5h://{}", proxy.address())),
            (None, None) => None,
        };
        let proxy = proxy.map(|url| url.parse().expect("a proxy"));
        let own = matches!(way, Way::Own | Way::TlsOverOwn).then_some(OwnTransport(target));
        Self { url, proxy, own, tls: options, cutter, ws, http, socks, _unix: unix, _tls: tls }
    }

    /// A session that goes this way, and comes back fast.
    pub(crate) fn options(&self, name: &str) -> SessionBuilder {
        let backoff = Backoff::new(Duration::from_millis(1), Duration::from_millis(20));
        let builder = SessionOptions::quick_connect(name, &self.url).reconnect(backoff);
        let builder = match &self.tls {
            Some(tls) => builder.tls(tls.clone()),
            None => builder,
        };
        let builder = match &self.proxy {
            Some(proxy) => builder.proxy(proxy.clone()),
            None => builder,
        };
        match self.own {
            Some(transport) => builder.transport(transport),
            None => builder,
        }
    }

    /// A session in a manager of its own, which ends it when it is dropped.
    pub(crate) fn start(&self, options: SessionBuilder) -> (SessionManager, Session) {
        start(options)
    }
}

pub(crate) fn start(options: SessionBuilder) -> (SessionManager, Session) {
    let manager = SessionManager::builder().connect_rate(0).build();
    let session = manager.add_session(options.build().expect("valid")).expect("a new session");
    (manager, session)
}

/// A program's own way: to one address, whatever the broker's is.
#[derive(Clone, Copy)]
pub(crate) struct OwnTransport(SocketAddr);

impl Transport for OwnTransport {
    fn connect<'a>(&'a self, _endpoint: &'a Endpoint) -> TransportFuture<'a> {
        Box::pin(async {
            let stream = TcpStream::connect(self.0).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as _)
        })
    }
}

//! Proxies: which one, and the way through it.

mod environment;
mod http;
mod server;
mod socks;

use std::borrow::Cow;
use std::io;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Deserializer};
use tokio::net::TcpStream;

use super::{ConnectError, Endpoint, tcp};
use crate::options::TcpOptions;
use environment::Environment;
pub use server::{ProxyError, ProxyKind, ProxyServer};

/// Through what brokers are reached.
///
/// In a configuration file it is a text: `"none"`, `"environment"`, or a proxy's URL. Sockets of the file system and
/// transports of a program's own never use a proxy.
///
/// ```
/// use mqttx::{Proxy, ProxyKind};
///
/// let proxy: Proxy = "socks5h://gw:secret@proxy.example:1080".parse()?;
/// let Proxy::Server(server) = &proxy else { unreachable!() };
/// assert_eq!((server.kind(), server.host(), server.port()), (ProxyKind::Socks5h, "proxy.example", 1080));
/// assert_eq!(server.to_string(), "socks5h://proxy.example:1080");
/// # Ok::<(), mqttx::ProxyError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Proxy {
    /// None, whatever the environment says.
    None,
    /// What the environment variables say, which are read when the session is added.
    ///
    /// Addresses with TLS (`mqtts://`, `wss://`) use `https_proxy` or `HTTPS_PROXY`, those without (`mqtt://`,
    /// `ws://`) `http_proxy`, in lower case only since `HTTP_PROXY` may come from a request in CGI. Both fall back to
    /// `all_proxy` or `ALL_PROXY`.
    ///
    /// `no_proxy` or `NO_PROXY` lists what is reached directly, separated by commas: `*`, names, which hold for
    /// their subdomains, too, addresses and networks such as `10.0.0.0/8`, each with or without a port. Names are not
    /// resolved for the comparison, and loopback addresses are no exception.
    Environment,
    /// This one.
    Server(ProxyServer),
}

impl FromStr for Proxy {
    type Err = ProxyError;

    fn from_str(text: &str) -> Result<Self, ProxyError> {
        match text {
            "none" => Ok(Self::None),
            "environment" => Ok(Self::Environment),
            url => url.parse().map(Self::Server),
        }
    }
}

impl From<ProxyServer> for Proxy {
    fn from(server: ProxyServer) -> Self {
        Self::Server(server)
    }
}

impl<'de> Deserialize<'de> for Proxy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The proxies of a session's brokers.
#[derive(Clone, Debug, Default)]
pub(crate) enum Proxies {
    #[default]
    None,
    Environment(Box<Environment>),
    Server(Box<ProxyServer>),
}

impl Proxies {
    /// Reads the environment if it counts.
    pub(crate) fn new(proxy: Option<&Proxy>) -> Self {
        match proxy {
            None | Some(Proxy::None) => Self::None,
            Some(Proxy::Environment) => {
                let variable = |name: &str| std::env::var(name).ok();
                Self::Environment(Box::new(Environment::read(variable)))
            }
            Some(Proxy::Server(server)) => Self::Server(Box::new(server.clone())),
        }
    }

    /// The proxy for this broker.
    ///
    /// # Errors
    /// The variable that counts holds no proxy's URL.
    pub(super) fn of(
        &self,
        endpoint: &Endpoint,
    ) -> Result<Option<Cow<'_, ProxyServer>>, ConnectError> {
        match self {
            Self::None => Ok(None),
            Self::Server(server) => Ok(Some(Cow::Borrowed(server))),
            Self::Environment(environment) => environment
                .proxy_of(endpoint)
                .map_err(|text| {
                    let error = io::Error::new(io::ErrorKind::InvalidInput, text);
                    ConnectError { code: "connection.proxy.invalid", permanent: true, error }
                })
                .map(|server| server.map(Cow::Owned)),
        }
    }
}

impl ProxyServer {
    /// A stream through this proxy to the broker; the caller limits the time.
    ///
    /// # Errors
    /// A proxy that does not answer, refuses, or breaks its protocol.
    pub(super) async fn connect(
        &self,
        endpoint: &Endpoint,
        bind: Option<IpAddr>,
        tcp: &TcpOptions,
    ) -> Result<TcpStream, ConnectError> {
        match self.kind() {
            ProxyKind::Http => http::connect(self, self.open(bind, tcp).await?, endpoint).await,
            ProxyKind::Socks5h => socks::connect(self, self.open(bind, tcp).await?, endpoint).await,
            ProxyKind::Socks5 => socks::connect_resolved(self, endpoint, bind, tcp).await,
        }
    }

    /// A stream to the proxy itself.
    async fn open(
        &self,
        bind: Option<IpAddr>,
        options: &TcpOptions,
    ) -> Result<TcpStream, ConnectError> {
        let addresses = tcp::addresses(self.host(), self.port(), bind).await;
        let addresses = addresses.map_err(|error| self.failed(error))?;
        tcp::connect(&addresses, bind, options).await.map_err(|error| self.failed(error))
    }

    /// The proxy itself is in trouble.
    fn failed(&self, error: io::Error) -> ConnectError {
        let text = format!("the proxy {self} failed: {error}");
        let code = match error.kind() {
            io::ErrorKind::TimedOut => "connection.timeout",
            _ => "connection.proxy.failed",
        };
        ConnectError { code, permanent: false, error: io::Error::new(error.kind(), text) }
    }

    /// The proxy said no.
    fn refused(&self, why: impl std::fmt::Display, permanent: bool) -> ConnectError {
        let text = format!("the proxy {self} refused: {why}");
        let error = io::Error::new(io::ErrorKind::ConnectionRefused, text);
        ConnectError { code: "connection.proxy.refused", permanent, error }
    }
}

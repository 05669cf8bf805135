//! The address of a broker: `mqtt://user:password@host:port/topic`, `ws://host:port/path`, `unix:///path`, or bare `host:port`.

mod parse;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::Path;

use crate::options::Secret;
use parse::percent_encode;
pub(super) use parse::{percent_decode, split_port};

/// Where a broker is, and what its URL says besides.
///
/// `mqtt://` and `tcp://` mean TCP, port 1883 unless given. A bare `host` or `host:port` is the same.
/// `mqtts://`, `ssl://` and `tls://` mean TLS over TCP, port 8883 unless given.
/// `ws://` means WebSocket, port 80 unless given, `wss://` WebSocket over TLS, port 443, and path and query are those of HTTP,
/// `/mqtt` unless given. `unix:///run/broker.sock` is a socket of the file system. User name, password, topic and a socket's path
/// are percent-decoded. Its text shows neither the password nor a query, which may be a secret, too.
///
/// ```
/// let endpoint: mqttx::Endpoint = "mqtt://gw:s%40cret@[::1]:1884/site/a".parse()?;
/// assert_eq!((endpoint.host(), endpoint.port()), ("::1", 1884));
/// assert_eq!(endpoint.topic(), Some("site/a"));
/// assert_eq!(endpoint.to_string(), "mqtt://[::1]:1884");
/// # Ok::<(), mqttx::EndpointError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Endpoint {
    scheme: Scheme,
    host: String,
    port: u16,
    username: Option<String>,
    password: Option<Secret>,
    /// A topic, where the socket is, or what HTTP asks for, as it is sent.
    path: Option<String>,
}

/// A text that is no endpoint.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EndpointError {
    shown: String,
    problem: String,
}

/// How a broker is reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Scheme {
    /// `mqtt://`, `tcp://`: TCP.
    Tcp,
    /// `mqtts://`, `ssl://`, `tls://`: TLS over TCP.
    Tls,
    /// `unix://`: a socket of the file system.
    Unix,
    /// `ws://`: WebSocket over TCP.
    Ws,
    /// `wss://`: WebSocket over TLS.
    Wss,
}

impl Endpoint {
    /// A broker at a TCP port, the host an address (IPv6 without brackets) or a name.
    #[must_use]
    pub fn tcp(host: impl Into<String>, port: u16) -> Self {
        Self {
            scheme: Scheme::Tcp,
            host: host.into(),
            port,
            username: None,
            password: None,
            path: None,
        }
    }

    /// A broker at a TCP port, reached by TLS.
    #[must_use]
    pub fn tls(host: impl Into<String>, port: u16) -> Self {
        Self { scheme: Scheme::Tls, ..Self::tcp(host, port) }
    }

    /// Parses an address; one without a scheme is reached by `scheme`.
    ///
    /// # Errors
    /// The text is no address.
    pub fn parse_as(text: &str, scheme: Scheme) -> Result<Self, EndpointError> {
        if text.contains("://") || scheme == Scheme::Unix {
            return text.parse();
        }
        format!("{}://{text}", scheme.name()).parse()
    }

    /// The same at another host.
    #[must_use]
    pub fn with_host(&self, host: impl Into<String>) -> Self {
        Self { host: host.into(), ..self.clone() }
    }

    /// The same at another port.
    #[must_use]
    pub fn with_port(&self, port: u16) -> Self {
        Self { port, ..self.clone() }
    }

    /// How the broker is reached.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The host name or address, an IPv6 address without its brackets. Empty for a socket of the file system.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port; 0 for a socket of the file system.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The user name of the URL.
    #[must_use]
    pub fn username(&self) -> Option<&str> {
        self.username.as_deref()
    }

    /// The password of the URL.
    #[must_use]
    pub fn password(&self) -> Option<&Secret> {
        self.password.as_ref()
    }

    /// The path of the URL without its first slash, which commands take as a topic.
    #[must_use]
    pub fn topic(&self) -> Option<&str> {
        self.path.as_deref().filter(|_| matches!(self.scheme, Scheme::Tcp | Scheme::Tls))
    }

    /// Where the socket of the file system is.
    #[must_use]
    pub fn socket_path(&self) -> Option<&Path> {
        self.path.as_deref().filter(|_| self.scheme == Scheme::Unix).map(Path::new)
    }

    /// What the handshake of a WebSocket asks for: path and query, still percent-encoded.
    #[must_use]
    pub fn resource(&self) -> Option<&str> {
        self.path.as_deref().filter(|_| self.scheme.is_websocket())
    }

    /// All of it but credentials and topic, to be parsed again. Unlike the displayed text it has the query of a
    /// WebSocket address, which may be a secret.
    #[must_use]
    pub fn address(&self) -> String {
        match self.resource().and_then(|resource| resource.split_once('?')) {
            Some((_, query)) => {
                let shown = self.to_string();
                let shown = shown.strip_suffix(HIDDEN).unwrap_or(&shown);
                format!("{shown}{query}")
            }
            None => self.to_string(),
        }
    }

    /// Which broker it is, whatever the scheme and the credentials: two sessions with one client id there
    /// disconnect each other.
    #[must_use]
    pub fn broker(&self) -> String {
        match self.socket_path() {
            Some(path) => path.display().to_string(),
            None => {
                let path = self.resource().and_then(|resource| resource.split('?').next());
                let host = self.host.to_ascii_lowercase();
                format!("[{host}]:{}{}", self.port, path.unwrap_or_default())
            }
        }
    }

    /// Host and port as HTTP has them: without the scheme's own port.
    #[cfg(feature = "websocket")]
    pub(super) fn http_host(&self) -> String {
        let host =
            if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        if self.port == self.scheme.default_port() { host } else { format!("{host}:{}", self.port) }
    }

    /// Where a server at this address sends its client: a `host` or `host:port` is reached as this one is, and with its user. `None`:
    /// it is no address, or a way that is less safe than this one.
    pub(crate) fn refer(&self, reference: &str) -> Option<Self> {
        let other: Self = match reference.split_once("://") {
            Some(_) => reference.parse().ok()?,
            None if self.host.is_empty() => reference.parse().ok()?,
            None => format!("{}://{reference}", self.scheme.name()).parse().ok()?,
        };
        if self.scheme.is_encrypted() && !other.scheme.is_encrypted() {
            return None;
        }
        // A server elsewhere has no business with the sockets of this machine.
        if other.scheme == Scheme::Unix && self.scheme != Scheme::Unix {
            return None;
        }
        let (username, password) = match other.username {
            Some(_) => (other.username, other.password),
            None => (self.username.clone(), self.password.clone()),
        };
        // A reference without a scheme cannot name the path of a WebSocket: it is the same one.
        let same_path = self.scheme.is_websocket() && !reference.contains("://");
        let path = if same_path { self.path.clone() } else { other.path };
        Some(Self { username, password, path, ..other })
    }

    /// A number that tells this broker from others, the same in every process: FNV-1a of host, port and
    /// the path of HTTP, or of the socket's path.
    pub(crate) fn id(&self) -> u64 {
        let port = self.port.to_be_bytes();
        let hash = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        let start: u64 = 0xcbf2_9ce4_8422_2325;
        match self.socket_path() {
            Some(path) => path.as_os_str().as_encoded_bytes().iter().copied().fold(start, hash),
            None => {
                let path = self.resource().and_then(|resource| resource.split('?').next());
                let host = self.host.bytes().map(|b| b.to_ascii_lowercase());
                host.chain(port).chain(path.unwrap_or_default().bytes()).fold(start, hash)
            }
        }
    }
}

impl Scheme {
    /// The schemes by their names in URLs; the first name of each is the one that is shown.
    const NAMES: [(&str, Self); 8] = [
        ("mqtt", Self::Tcp),
        ("tcp", Self::Tcp),
        ("mqtts", Self::Tls),
        ("ssl", Self::Tls),
        ("tls", Self::Tls),
        ("ws", Self::Ws),
        ("wss", Self::Wss),
        ("unix", Self::Unix),
    ];

    /// Whether the connection is encrypted by TLS.
    #[must_use]
    pub const fn is_encrypted(self) -> bool {
        matches!(self, Self::Tls | Self::Wss)
    }

    fn of(name: &str) -> Option<Self> {
        let known = |(known, _): &&(&str, _)| known.eq_ignore_ascii_case(name);
        Self::NAMES.iter().find(known).map(|&(_, scheme)| scheme)
    }

    fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, scheme)| *scheme == self).map_or("", |(name, _)| name)
    }

    /// Unless the URL has one.
    const fn default_port(self) -> u16 {
        match self {
            Self::Tcp => 1883,
            Self::Tls => 8883,
            Self::Ws => 80,
            Self::Wss => 443,
            Self::Unix => 0,
        }
    }

    const fn is_websocket(self) -> bool {
        matches!(self, Self::Ws | Self::Wss)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://", self.scheme.name())?;
        match self.socket_path() {
            Some(path) => f.write_str(&percent_encode(path)),
            None if self.host.contains(':') => write!(f, "[{}]:{}", self.host, self.port),
            None => write!(f, "{}:{}", self.host, self.port),
        }?;
        match self.resource().map(|resource| resource.split_once('?').ok_or(resource)) {
            Some(Ok((path, _))) => write!(f, "{path}?{HIDDEN}"),
            Some(Err(path)) => f.write_str(path),
            None => Ok(()),
        }
    }
}

impl EndpointError {
    /// The text, without its password.
    #[must_use]
    pub fn shown(&self) -> &str {
        &self.shown
    }
}

impl fmt::Display for EndpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; a broker is a URL like mqtt://host:port, or host:port", self.problem)
    }
}

impl std::error::Error for EndpointError {}

/// In place of a secret.
const HIDDEN: &str = "***";

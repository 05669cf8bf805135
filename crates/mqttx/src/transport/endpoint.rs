//! The address of a broker: `mqtt://user:password@host:port/topic`, `ws://host:port/path`, `unix:///path`, or bare `host:port`.

use std::fmt::{self, Write};
use std::path::Path;
use std::str::FromStr;

use crate::options::Secret;

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

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let fail = |problem: &str| EndpointError {
            shown: without_password(text),
            problem: problem.to_owned(),
        };
        let (scheme, rest) = match text.split_once("://") {
            Some((name, rest)) => (Scheme::of(name).ok_or_else(|| fail(&unknown_scheme()))?, rest),
            None => (Scheme::Tcp, text),
        };
        let (authority, path) = match rest.split_once('/') {
            _ if scheme.is_websocket() => split_resource(rest),
            Some((authority, path)) => (authority, Some(path)),
            None => (rest, None),
        };
        let (user, address) = match authority.rsplit_once('@') {
            Some((user, address)) => (Some(user), address),
            None => (None, authority),
        };
        let (username, password) = match user.map(|user| user.split_once(':').ok_or(user)) {
            None => (None, None),
            Some(Err(user)) => (Some(user), None),
            Some(Ok((user, password))) => (Some(user), Some(password)),
        };
        let bad_escape = "a percent sign is not followed by two hexadecimal digits";
        let bad_utf8 = "a percent-encoded part is not UTF-8";
        let text_of = |part: &str| {
            let bytes = percent_decode(part).ok_or_else(|| fail(bad_escape))?;
            String::from_utf8(bytes).map_err(|_| fail(bad_utf8))
        };
        let path = path.filter(|path| !path.is_empty());
        let (host, port, path) = match (scheme, path) {
            (Scheme::Unix, Some(path)) if address.is_empty() => {
                ("", None, Some(format!("/{}", text_of(path)?)))
            }
            (Scheme::Unix, _) => {
                return Err(fail("a socket needs its absolute path: unix:///path"));
            }
            (scheme, path) => {
                let (host, port) = split_port(address).map_err(fail)?;
                let path = match path {
                    _ if scheme.is_websocket() => Some(resource(path).map_err(fail)?),
                    path => path.map(text_of).transpose()?,
                };
                (host, port, path)
            }
        };
        Ok(Self {
            scheme,
            host: host.to_owned(),
            port: port.unwrap_or_else(|| scheme.default_port()),
            username: username.map(text_of).transpose()?,
            password: password
                .map(|part| percent_decode(part).ok_or_else(|| fail(bad_escape)).map(Secret::from))
                .transpose()?,
            path,
        })
    }
}

fn unknown_scheme() -> String {
    let names: Vec<_> = Scheme::NAMES.iter().map(|(name, _)| format!("{name}://")).collect();
    format!("unknown scheme: allowed are {}", names.join(", "))
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
/// What the handshake of a WebSocket asks for, unless the URL says it.
const RESOURCE: &str = "/mqtt";

/// Where the host of a WebSocket address ends, a path or a query begins.
fn split_resource(rest: &str) -> (&str, Option<&str>) {
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, resource) = rest.split_at(end);
    (authority, Some(resource))
}

/// Path and query as they are sent to a server.
fn resource(given: Option<&str>) -> Result<String, &'static str> {
    let given = given.unwrap_or_default();
    if given.contains('#') {
        return Err("a WebSocket address has no fragment: '#' in a path is written %23");
    }
    if given.contains(|c: char| !c.is_ascii_graphic() || "\\\"<>^`{|}".contains(c)) {
        return Err("the path has a character that must be percent-encoded");
    }
    Ok(if given.starts_with('/') { given.to_owned() } else { format!("{RESOURCE}{given}") })
}

pub(super) fn split_port(address: &str) -> Result<(&str, Option<u16>), &'static str> {
    let (host, port) = if let Some(bracketed) = address.strip_prefix('[') {
        let (host, rest) = bracketed.split_once(']').ok_or("the bracket is not closed")?;
        if host.parse::<std::net::Ipv6Addr>().is_err() {
            return Err("no IPv6 address stands in the brackets");
        }
        match rest.strip_prefix(':') {
            Some(port) => (host, Some(port)),
            None if rest.is_empty() => (host, None),
            None => return Err("only a port may follow the bracket"),
        }
    } else {
        match address.split_once(':') {
            Some((_, port)) if port.contains(':') => {
                return Err("an IPv6 address needs brackets, such as [::1]:1883");
            }
            Some((host, port)) => (host, Some(port)),
            None => (address, None),
        }
    };
    if host.is_empty() {
        return Err("the host is missing");
    }
    if host.contains(|c: char| c.is_whitespace() || c.is_control() || "?#\\\"<>".contains(c)) {
        return Err("the host contains a character that is not allowed");
    }
    let port = match port {
        Some(port) if port.bytes().all(|digit| digit.is_ascii_digit()) => {
            match port.parse::<u16>() {
                Ok(port) if port > 0 => Some(port),
                _ => return Err("the port is not in 1 to 65535"),
            }
        }
        Some(_) => return Err("the port is not a number"),
        None => None,
    };
    Ok((host, port))
}

pub(super) fn percent_decode(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let high = char::from(bytes.next()?).to_digit(16)?;
            let low = char::from(bytes.next()?).to_digit(16)?;
            out.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            out.push(byte);
        }
    }
    Some(out)
}

/// The path of a URL that is decoded to this one.
fn percent_encode(path: &Path) -> String {
    let mut out = String::new();
    for &byte in path.as_os_str().as_encoded_bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// The text with the password replaced, and the query of a WebSocket address.
fn without_password(text: &str) -> String {
    let start = text.find("://").map_or(0, |at| at + 3);
    let is_websocket =
        Scheme::of(text.split("://").next().unwrap_or_default()).is_some_and(Scheme::is_websocket);
    if let Some((path, _)) = text.split_once('?').filter(|_| is_websocket) {
        return format!("{}?{HIDDEN}", without_password(path));
    }
    let end = text[start..].find('/').map_or(text.len(), |at| start + at);
    let Some(at) = text[start..end].rfind('@').map(|at| start + at) else { return text.to_owned() };
    match text[start..at].find(':').map(|colon| start + colon) {
        Some(colon) => format!("{}:{HIDDEN}{}", &text[..colon], &text[at..]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Endpoint {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn bare_hosts_and_urls_mean_the_same() {
        for text in ["mqtt://plant:1883", "tcp://plant", "plant", "plant:1883", "mqtt://plant/"] {
            let endpoint = parse(text);
            assert_eq!((endpoint.host(), endpoint.port()), ("plant", 1883), "{text}");
            assert_eq!(endpoint.to_string(), "mqtt://plant:1883");
            assert_eq!(endpoint.topic(), None);
        }
    }

    #[test]
    fn tls_has_three_names_and_a_port_of_its_own() {
        for text in ["mqtts://plant", "ssl://plant:8883", "tls://plant/"] {
            let endpoint = parse(text);
            assert_eq!((endpoint.scheme(), endpoint.port()), (Scheme::Tls, 8883), "{text}");
            assert_eq!(endpoint.to_string(), "mqtts://plant:8883");
        }
        assert_eq!(parse("mqtts://h/a/b").topic(), Some("a/b"));
        let bare = |text| Endpoint::parse_as(text, Scheme::Tls).map(|e| e.to_string());
        assert_eq!(bare("plant").as_deref(), Ok("mqtts://plant:8883"));
        assert_eq!(bare("mqtt://plant").as_deref(), Ok("mqtt://plant:1883"));
    }

    #[test]
    fn credentials_and_topic_are_percent_decoded() {
        let endpoint = parse("mqtt://a%3Ab:p%40ss%3A@h/x%2Fy/%C3%A9");
        assert_eq!(endpoint.username(), Some("a:b"));
        assert_eq!(endpoint.password().map(Secret::expose), Some(&b"p@ss:"[..]));
        assert_eq!(endpoint.topic(), Some("x/y/é"));
    }

    #[test]
    fn ipv6_needs_brackets() {
        assert_eq!(parse("[2001:db8::7]:18").port(), 18);
        assert_eq!(parse("mqtt://[::1]").to_string(), "mqtt://[::1]:1883");
        assert!("::1".parse::<Endpoint>().is_err());
    }

    #[test]
    fn bad_endpoints_say_what_is_wrong() {
        for (text, part) in [
            ("", "host is missing"),
            ("mqtt://", "host is missing"),
            ("mqtt://:1883", "host is missing"),
            ("http://h", "unknown scheme"),
            ("unix://", "absolute path"),
            ("unix://host/run/s", "absolute path"),
            ("h:0", "1 to 65535"),
            ("h:65536", "1 to 65535"),
            ("h:x", "not a number"),
            ("h:", "1 to 65535"),
            ("[::1", "not closed"),
            ("[zz]:1", "no IPv6"),
            ("[::1]1", "only a port"),
            ("a b", "not allowed"),
            ("mqtt://u%4@h", "percent"),
            ("mqtt://%ff@h", "UTF-8"),
        ] {
            let error = text.parse::<Endpoint>().expect_err(text);
            assert!(error.to_string().contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn passwords_are_never_shown() {
        let error = "mqtt://u:geheim@h:x".parse::<Endpoint>().expect_err("bad port");
        assert_eq!(error.shown(), "mqtt://u:***@h:x");
        assert!(!format!("{:?}", parse("mqtt://u:geheim@h")).contains("geheim"));
    }

    #[test]
    fn sockets_have_a_path_and_neither_host_nor_topic() {
        let endpoint = parse("unix:///run/my%20broker.sock");
        assert_eq!(endpoint.scheme(), Scheme::Unix);
        assert_eq!(endpoint.socket_path(), Some(Path::new("/run/my broker.sock")));
        assert_eq!((endpoint.host(), endpoint.port(), endpoint.topic()), ("", 0, None));
        assert_eq!(endpoint.to_string(), "unix:///run/my%20broker.sock");
        assert_eq!(parse("unix://u:p@/s").username(), Some("u"));
        assert_eq!(parse("mqtt://h/run").socket_path(), None);
    }

    #[test]
    fn websockets_have_the_path_of_http_and_no_topic() {
        for (text, resource, shown) in [
            ("ws://h", "/mqtt", "ws://h:80/mqtt"),
            ("WS://h/", "/", "ws://h:80/"),
            ("ws://h:8080/a%2Fb/c", "/a%2Fb/c", "ws://h:8080/a%2Fb/c"),
            ("ws://[::1]?t=%20&@/", "/mqtt?t=%20&@/", "ws://[::1]:80/mqtt?***"),
            ("ws://u:geheim@h/x?t=y?z", "/x?t=y?z", "ws://h:80/x?***"),
        ] {
            let endpoint = parse(text);
            assert_eq!((endpoint.resource(), endpoint.topic()), (Some(resource), None), "{text}");
            assert_eq!(endpoint.to_string(), shown, "{text}");
            let again = parse(&endpoint.address());
            assert_eq!((again.host(), again.resource()), (endpoint.host(), Some(resource)));
        }
        assert_eq!(parse("ws://u:p@h").password().map(Secret::expose), Some(&b"p"[..]));
        for (text, part) in [
            ("ws://", "host is missing"),
            ("ws:///mqtt", "host is missing"),
            ("ws://h/a b", "percent-encoded"),
            ("ws://h/é", "percent-encoded"),
            ("ws://h/a\r\nX: y", "percent-encoded"),
            ("ws://h/x#y", "fragment"),
        ] {
            let error = text.parse::<Endpoint>().expect_err(text);
            assert!(error.to_string().contains(part), "{text}: {error}");
        }
        let error = "ws://u:geheim@h:x/?token=geheim".parse::<Endpoint>().expect_err("bad port");
        assert_eq!(error.shown(), "ws://u:***@h:x/?***");
    }

    #[test]
    fn one_broker_is_the_same_under_several_names() {
        assert_eq!(parse("tcp://u:p@Host:1884/x").broker(), parse("host:1884").broker());
        assert_eq!(parse("ws://h/a?x=1").broker(), parse("ws://H:80/a?y").broker());
        for (one, other) in
            [("h:1", "h:2"), ("ws://h/a", "ws://h/b"), ("unix:///a", "unix:///A"), ("h", "ws://h")]
        {
            assert_ne!(parse(one).broker(), parse(other).broker());
        }
    }

    #[test]
    fn ids_tell_brokers_apart() {
        assert_eq!(parse("Plant:1").id(), parse("mqtt://u@plant:1/x").id());
        assert_ne!(parse("plant:1").id(), parse("plant:2").id());
        assert_ne!(parse("unix:///a").id(), parse("unix:///A").id());
        assert_ne!(parse("ws://h/a").id(), parse("ws://h/b").id());
        assert_eq!(parse("ws://h/a?token=1").id(), parse("ws://h/a?token=2").id());
    }

    #[test]
    fn a_reference_is_reached_as_the_server_that_gave_it_and_with_its_user() {
        let here: Endpoint = "mqtt://us:pa@here:1884/topic".parse().expect("valid");
        let shown = |endpoint: &Endpoint| {
            let password = endpoint.password().map(|secret| secret.expose().to_vec());
            (endpoint.to_string(), endpoint.username().map(str::to_owned), password)
        };
        for (reference, address, user, password) in [
            ("there", "mqtt://there:1883", "us", "pa"),
            ("[::1]:1885", "mqtt://[::1]:1885", "us", "pa"),
            ("tcp://there", "mqtt://there:1883", "us", "pa"),
            ("you:your@there", "mqtt://there:1883", "you", "your"),
        ] {
            let found = here.refer(reference).expect(reference);
            let expected = (address.to_owned(), Some(user.to_owned()), Some(password.into()));
            assert_eq!(shown(&found), expected);
            assert_eq!(found.topic(), None);
        }
        for reference in ["", "a:b:c", "http://there", "there:0"] {
            assert_eq!(here.refer(reference), None, "{reference}");
        }
        let safe: Endpoint = "mqtts://here".parse().expect("valid");
        for reference in ["mqtt://there", "tcp://there:8883", "ws://there", "unix:///there"] {
            assert_eq!(safe.refer(reference), None, "not encrypted: {reference}");
        }
        let found = safe.refer("there").expect("an address");
        assert_eq!(found.to_string(), "mqtts://there:8883");
        let socket: Endpoint = "unix:///run/broker".parse().expect("valid");
        let found = socket.refer("there:1884").expect("an address");
        assert_eq!((found.scheme(), found.port()), (Scheme::Tcp, 1884));
        let socket: Endpoint = "ws://h/path?key=1".parse().expect("valid");
        let found = socket.refer("there:81").expect("an address");
        assert_eq!((found.scheme(), found.resource()), (Scheme::Ws, socket.resource()));
    }
}

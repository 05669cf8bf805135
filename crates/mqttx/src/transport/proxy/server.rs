//! The address of a proxy.

use std::fmt;
use std::str::FromStr;

use crate::options::Secret;
use crate::transport::endpoint::{percent_decode, split_port};

/// A proxy: `http://`, `socks5://` or `socks5h://`, with `user:password@` if it asks for them.
///
/// User and password are percent-decoded. The port is 80 for HTTP and 1080 for SOCKS unless given. Its text never
/// shows credentials.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProxyServer {
    kind: ProxyKind,
    host: String,
    port: u16,
    credentials: Option<(Secret, Secret)>,
}

/// What a proxy speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ProxyKind {
    /// `http://`: HTTP with the method CONNECT; credentials by the Basic scheme.
    Http,
    /// `socks5://`: SOCKS 5 (RFC 1928), and names are resolved here.
    Socks5,
    /// `socks5h://`: SOCKS 5, and names are resolved by the proxy, never here.
    Socks5h,
}

/// A text that is no proxy's address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProxyError(String);

impl ProxyServer {
    /// What it speaks.
    #[must_use]
    pub fn kind(&self) -> ProxyKind {
        self.kind
    }

    /// Its host name or address, an IPv6 address without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// User name and password.
    pub(super) fn credentials(&self) -> Option<(&[u8], &[u8])> {
        self.credentials.as_ref().map(|(user, password)| (user.expose(), password.expose()))
    }
}

impl ProxyKind {
    const NAMES: [(&str, Self); 3] =
        [("http", Self::Http), ("socks5", Self::Socks5), ("socks5h", Self::Socks5h)];

    fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, kind)| *kind == self).map_or("", |(name, _)| name)
    }

    const fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Socks5 | Self::Socks5h => 1080,
        }
    }
}

impl FromStr for ProxyServer {
    type Err = ProxyError;

    fn from_str(text: &str) -> Result<Self, ProxyError> {
        let fail = |problem: &str| {
            ProxyError(format!(
                "{problem}; a proxy is a URL like http://host:port, socks5://host or socks5h://host"
            ))
        };
        let (scheme, rest) = text.split_once("://").ok_or_else(|| fail("the scheme is missing"))?;
        let known = ProxyKind::NAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(scheme));
        let Some(&(_, kind)) = known else {
            return Err(fail("unknown scheme: allowed are http://, socks5://, socks5h://"));
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (user, address) = match rest.rsplit_once('@') {
            Some((user, address)) => (Some(user), address),
            None => (None, rest),
        };
        let (host, port) = split_port(address).map_err(fail)?;
        if host.contains('/') {
            return Err(fail("a proxy has no path"));
        }
        let decoded = |part: &str| {
            let bad = || fail("a percent sign is not followed by two hexadecimal digits");
            percent_decode(part).map(Secret::from).ok_or_else(bad)
        };
        let credentials = user.map(|user| {
            let (user, password) = user.split_once(':').unwrap_or((user, ""));
            Ok((decoded(user)?, decoded(password)?))
        });
        Ok(Self {
            kind,
            host: host.to_owned(),
            port: port.unwrap_or_else(|| kind.default_port()),
            credentials: credentials.transpose()?,
        })
    }
}

impl fmt::Display for ProxyServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, port) = (self.kind.name(), self.port);
        if self.host.contains(':') {
            write!(f, "{scheme}://[{}]:{port}", self.host)
        } else {
            write!(f, "{scheme}://{}:{port}", self.host)
        }
    }
}

impl fmt::Display for ProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ProxyError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_a_scheme_and_perhaps_credentials() {
        for (text, shown, credentials) in [
            ("http://proxy:3128", "http://proxy:3128", None),
            ("HTTP://proxy/", "http://proxy:80", None),
            ("socks5://[::1]", "socks5://[::1]:1080", None),
            ("socks5h://u%3A1:p%40ss:@h:9", "socks5h://h:9", Some((&b"u:1"[..], &b"p@ss:"[..]))),
            ("http://only@h", "http://h:80", Some((&b"only"[..], &b""[..]))),
        ] {
            let server: ProxyServer = text.parse().expect(text);
            assert_eq!((server.to_string().as_str(), server.credentials()), (shown, credentials));
        }
    }

    #[test]
    fn bad_addresses_say_what_is_wrong_and_no_secret() {
        for (text, part) in [
            ("proxy:3128", "scheme is missing"),
            ("", "scheme is missing"),
            ("https://geheim@h", "unknown scheme"),
            ("socks4://h", "unknown scheme"),
            ("http://", "host is missing"),
            ("http://u:geheim@h:0", "1 to 65535"),
            ("http://u:geheim%x@h", "percent"),
            ("http://h/path", "no path"),
        ] {
            let error = text.parse::<ProxyServer>().expect_err(text).to_string();
            assert!(error.contains(part) && !error.contains("geheim"), "{text}: {error}");
        }
        let server: ProxyServer = "http://u:geheim@h".parse().expect("a proxy");
        assert!(!format!("{server:?}{server}").contains("geheim"));
    }
}

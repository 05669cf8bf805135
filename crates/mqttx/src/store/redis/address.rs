//! Where Redis is: the URL, parsed.

use crate::error::Error;
use crate::options::Secret;

const PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26_379;

/// A parsed URL.
#[derive(Clone, Debug)]
pub(super) struct Address {
    pub(super) kind: Kind,
    pub(super) tls: bool,
    /// One, or the sentinels, or some nodes of the cluster.
    pub(super) hosts: Vec<Host>,
    pub(super) username: Option<String>,
    pub(super) password: Option<Secret>,
    pub(super) database: u32,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Single,
    Sentinel {
        /// What the sentinels call the master.
        master: String,
    },
    Cluster,
}

/// Where a server listens.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct Host {
    pub(super) name: String,
    pub(super) port: u16,
}

impl std::fmt::Display for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.name.contains(':') {
            write!(f, "[{}]:{}", self.name, self.port)
        } else {
            write!(f, "{}:{}", self.name, self.port)
        }
    }
}

impl Address {
    pub(super) fn parse(url: &str) -> Result<Self, Error> {
        let (scheme, rest) = url.split_once("://").unwrap_or(("redis", url));
        let (tls, plain_scheme) = match scheme.strip_prefix("rediss") {
            Some(rest) => (true, format!("redis{rest}")),
            None => (false, scheme.to_owned()),
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, hosts) = authority
            .rsplit_once('@')
            .map_or((None, authority), |(user, hosts)| (Some(user), hosts));
        let path: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let (kind, port, database) = match (plain_scheme.as_str(), path.as_slice()) {
            ("redis", []) => (Kind::Single, PORT, 0),
            ("redis", [database]) => (Kind::Single, PORT, number(database)?),
            ("redis+sentinel", [master]) => (sentinel(master)?, SENTINEL_PORT, 0),
            ("redis+sentinel", [master, database]) => {
                (sentinel(master)?, SENTINEL_PORT, number(database)?)
            }
            ("redis+sentinel", _) => return Err(bad("the name of the master is missing")),
            ("redis+cluster", []) => (Kind::Cluster, PORT, 0),
            ("redis+cluster", _) => return Err(bad("a cluster has only database 0")),
            ("redis", _) => return Err(bad("there is more than a database behind the address")),
            _ => return Err(bad("the scheme is not known")),
        };
        let hosts =
            hosts.split(',').map(|host| parse_host(host, port)).collect::<Result<Vec<_>, _>>()?;
        if kind == Kind::Single && hosts.len() > 1 {
            return Err(bad("redis:// has one server"));
        }
        let (username, password) = match user.map(|user| user.split_once(':').unwrap_or((user, "")))
        {
            None => (None, None),
            Some((user, password)) => (Some(decode(user)?), Some(decode(password)?)),
        };
        let given = |text: &String| !text.is_empty();
        Ok(Self {
            kind,
            tls,
            hosts,
            username: username.filter(given),
            password: password.filter(given).map(Secret::from),
            database,
        })
    }
}

fn sentinel(master: &str) -> Result<Kind, Error> {
    Ok(Kind::Sentinel { master: decode(master)? })
}

fn parse_host(text: &str, default: u16) -> Result<Host, Error> {
    let (name, port) = if let Some(rest) = text.strip_prefix('[') {
        let (name, rest) = rest.split_once(']').ok_or_else(|| bad("a bracket is not closed"))?;
        (name, rest.strip_prefix(':'))
    } else {
        text.split_once(':').map_or((text, None), |(name, port)| (name, Some(port)))
    };
    if name.is_empty() || name.contains(['?', '#', ' ']) {
        return Err(bad("a host has no name"));
    }
    let port = match port {
        None => default,
        Some(port) => port
            .parse()
            .ok()
            .filter(|&port| port != 0)
            .ok_or_else(|| bad("a port is not 1 to 65535"))?,
    };
    Ok(Host { name: name.to_owned(), port })
}

fn number(text: &str) -> Result<u32, Error> {
    text.parse().map_err(|_| bad("the database is not a number"))
}

fn decode(text: &str) -> Result<String, Error> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let decoded = if byte == b'%' {
            let mut digit = || bytes.next().and_then(|digit| char::from(digit).to_digit(16));
            let (high, low) = (digit(), digit());
            high.zip(low).map(|(high, low)| (high * 16 + low) as u8)
        } else {
            Some(byte)
        };
        out.push(decoded.ok_or_else(|| bad("a % is not followed by two hexadecimal digits"))?);
    }
    String::from_utf8(out).map_err(|_| bad("user, password or master is not UTF-8"))
}

/// Without the URL: it may hold a password.
fn bad(what: &str) -> Error {
    Error::config(format!(
        "the address of the Redis store cannot be used: {what}; allowed are redis://HOST[:PORT][/DB], \
         redis+sentinel://HOST[:PORT][,…]/MASTER[/DB], redis+cluster://HOST[:PORT][,…], each with TLS as rediss…, \
         each with USER:PASSWORD@ before the host, and HOST:PORT alone"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(url: &str) -> Address {
        Address::parse(url).unwrap_or_else(|error| panic!("{url}: {error}"))
    }

    #[test]
    fn every_form_of_url_is_understood() {
        let shown = |address: &Address| {
            address.hosts.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        let single = parsed("redis://localhost");
        assert_eq!((shown(&single).as_str(), &single.kind), ("localhost:6379", &Kind::Single));
        assert!(!single.tls && single.username.is_none() && single.password.is_none());
        assert_eq!(parsed("redis://localhost/3").database, 3);
        assert_eq!(parsed("redis://localhost/").database, 0);
        assert_eq!(shown(&parsed("10.0.0.1:7000")), "10.0.0.1:7000");
        assert_eq!(shown(&parsed("redis://[::1]:7000")), "[::1]:7000");
        assert!(parsed("rediss://localhost").tls);
        let sentinel = parsed("redis+sentinel://a,b:5/my%20master/2");
        assert_eq!(sentinel.kind, Kind::Sentinel { master: "my master".to_owned() });
        assert_eq!((shown(&sentinel).as_str(), sentinel.database), ("a:26379 b:5", 2));
        let cluster = parsed("rediss+cluster://u:p%40ss@a:1,b");
        assert_eq!(
            (shown(&cluster).as_str(), &cluster.kind, cluster.tls),
            ("a:1 b:6379", &Kind::Cluster, true)
        );
        assert_eq!(cluster.username.as_deref(), Some("u"));
        assert_eq!(cluster.password.as_ref().map(Secret::expose), Some(&b"p@ss"[..]));
        let password_only = parsed("redis://:secret@h");
        assert!(password_only.username.is_none() && password_only.password.is_some());
    }

    #[test]
    fn a_bad_url_says_what_is_allowed_and_no_password() {
        for url in [
            "",
            "redis://",
            "http://u:hidden@h",
            "redis://u:hidden@h:0",
            "redis://u:hidden@h:port",
            "redis://u:hidden@h/db",
            "redis://u:hidden@a,b",
            "redis://u:hidden@h/1/2",
            "redis+sentinel://u:hidden@h",
            "redis+cluster://u:hidden@h/1",
            "redis://u:hidden%zz@h",
            "redis://[::1",
            "redis://u:hidden@h?db=1",
        ] {
            let error = Address::parse(url).expect_err(url);
            let text = format!("{error} {error:?}");
            assert!(text.contains("redis+sentinel://") && !text.contains("hidden"), "{text}");
            assert_eq!(error.code(), "config.invalid");
        }
    }
}

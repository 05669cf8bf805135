//! The broker of `-L`: scheme, user and password, host, port, topic.

use std::fmt;

/// The address of a broker as `-L` gives it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct BrokerUrl {
    /// A name or an address; IPv6 without its brackets.
    pub(crate) host: String,
    /// Absent: the scheme's usual port.
    pub(crate) port: Option<u16>,
    /// Percent-decoded.
    pub(crate) username: Option<String>,
    /// Percent-decoded.
    pub(crate) password: Option<Vec<u8>>,
    /// What follows the slash behind the host, as it stands.
    pub(crate) topic: Option<String>,
}

impl BrokerUrl {
    /// Reads `mqtt://[user[:password]@]host[:port][/topic]`.
    ///
    /// # Errors
    /// A text that is no such URL, with what is wrong in it. The password is never repeated.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err("a broker URL looks like mqtt://host:1883/topic".to_owned());
        };
        match scheme.to_ascii_lowercase().as_str() {
            "mqtt" | "tcp" => {}
            known @ ("mqtts" | "ssl" | "tls" | "ws" | "wss" | "unix") => {
                return Err(format!("{known}:// is not supported yet: use mqtt:// or tcp://"));
            }
            other => return Err(format!("unknown scheme '{other}': use mqtt:// or tcp://")),
        }
        let (authority, topic) = match rest.split_once('/') {
            Some((authority, topic)) => (authority, Some(topic).filter(|t| !t.is_empty())),
            None => (rest, None),
        };
        let (user, address) = match authority.rsplit_once('@') {
            Some((user, address)) => (Some(user), address),
            None => (None, authority),
        };
        let (host, port) = host_and_port(address)?;
        let mut url = Self { host, port, topic: topic.map(str::to_owned), ..Self::default() };
        if let Some(user) = user {
            let (name, password) = match user.split_once(':') {
                Some((name, password)) => (name, Some(password)),
                None => (user, None),
            };
            let name = String::from_utf8(percent_decode(name)?)
                .map_err(|_| "the user name is not UTF-8".to_owned())?;
            url.username = Some(name).filter(|name| !name.is_empty());
            url.password = password.map(percent_decode).transpose()?;
        }
        Ok(url)
    }

    /// The address for the library: without user, password and topic.
    pub(crate) fn address(host: &str, port: u16) -> String {
        if host.contains(':') {
            format!("mqtt://[{host}]:{port}")
        } else {
            format!("mqtt://{host}:{port}")
        }
    }
}

impl fmt::Display for BrokerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&Self::address(&self.host, self.port.unwrap_or(1883)))
    }
}

fn host_and_port(address: &str) -> Result<(String, Option<u16>), String> {
    let (host, port) = if let Some(rest) = address.strip_prefix('[') {
        let (host, after) = rest.split_once(']').ok_or("the '[' of the host has no ']'")?;
        if host.parse::<std::net::Ipv6Addr>().is_err() {
            return Err(format!("'{host}' is not an IPv6 address"));
        }
        match after.strip_prefix(':') {
            Some(port) => (host, Some(port)),
            None if after.is_empty() => (host, None),
            None => return Err(format!("unexpected '{after}' behind the host")),
        }
    } else {
        match address.split_once(':') {
            Some((_, port)) if port.contains(':') => {
                return Err("an IPv6 address stands in brackets: mqtt://[::1]:1883".to_owned());
            }
            Some((host, port)) => (host, Some(port)),
            None => (address, None),
        }
    };
    if host.is_empty() {
        return Err("the host is missing".to_owned());
    }
    if let Some(bad) =
        host.chars().find(|c| c.is_whitespace() || c.is_control() || "?#%".contains(*c))
    {
        return Err(format!("the host must not contain {bad:?}"));
    }
    let port = port.map(parse_port).transpose()?;
    Ok((host.to_owned(), port))
}

/// A port that can be connected to.
pub(crate) fn parse_port(text: &str) -> Result<u16, String> {
    match text.parse() {
        Ok(port) if port != 0 && !text.starts_with('+') => Ok(port),
        _ => Err(format!("'{text}' is not a port: allowed are 1 to 65535")),
    }
}

fn percent_decode(text: &str) -> Result<Vec<u8>, String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let mut digit = || bytes.next().and_then(|b| char::from(b).to_digit(16));
        let (Some(high), Some(low)) = (digit(), digit()) else {
            return Err("'%' in user or password is not followed by two hex digits".to_owned());
        };
        out.push((high * 16 + low) as u8);
    }
    if out.contains(&0) {
        return Err("user and password must not contain %00".to_owned());
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::BrokerUrl;

    #[test]
    fn every_part_of_a_url_is_read() {
        let url = BrokerUrl::parse("mqtt://us%40er:p%3Aw%2f:x@broker.example:2883/a/+/#").unwrap();
        assert_eq!(url.host, "broker.example");
        assert_eq!(url.port, Some(2883));
        assert_eq!(url.username.as_deref(), Some("us@er"));
        assert_eq!(url.password.as_deref(), Some(&b"p:w/:x"[..]));
        assert_eq!(url.topic.as_deref(), Some("a/+/#"));
    }

    #[test]
    fn a_bare_host_has_no_port_and_no_topic() {
        let url = BrokerUrl::parse("tcp://h/").unwrap();
        assert_eq!(url, BrokerUrl { host: "h".into(), ..BrokerUrl::default() });
    }

    #[test]
    fn ipv6_keeps_its_brackets_in_the_address() {
        let url = BrokerUrl::parse("MQTT://[::1]:1884").unwrap();
        assert_eq!((url.host.as_str(), url.port), ("::1", Some(1884)));
        assert_eq!(url.to_string(), "mqtt://[::1]:1884");
    }

    #[test]
    fn bad_urls_are_named() {
        for (text, part) in [
            ("", "looks like"),
            ("localhost:1883", "looks like"),
            ("http://h", "unknown scheme 'http'"),
            ("mqtts://h", "not supported yet"),
            ("ws://h/mqtt", "not supported yet"),
            ("unix:///run/s", "not supported yet"),
            ("mqtt://", "host is missing"),
            ("mqtt://:1883", "host is missing"),
            ("mqtt://h:0", "1 to 65535"),
            ("mqtt://h:", "1 to 65535"),
            ("mqtt://h:65536", "1 to 65535"),
            ("mqtt://h:+1", "1 to 65535"),
            ("mqtt://h:x/t", "1 to 65535"),
            ("mqtt://::1", "brackets"),
            ("mqtt://[::1", "no ']'"),
            ("mqtt://[h]:1", "not an IPv6"),
            ("mqtt://[::1]1", "unexpected '1'"),
            ("mqtt://u%2@h", "two hex digits"),
            ("mqtt://u%00@h", "%00"),
            ("mqtt://u%ff@h", "not UTF-8"),
            ("mqtt://a b", "must not contain"),
        ] {
            let error = BrokerUrl::parse(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}

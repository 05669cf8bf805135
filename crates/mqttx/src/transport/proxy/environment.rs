//! What the environment says of proxies.

use std::net::IpAddr;

use ipnet::IpNet;

use super::ProxyServer;
use crate::transport::{Endpoint, Scheme};

/// The variables, as they were when the session was added.
#[derive(Clone, Debug)]
pub(crate) struct Environment {
    /// For addresses with TLS.
    secure: Option<Variable>,
    /// For those without.
    plain: Option<Variable>,
    exceptions: Vec<Exception>,
}

/// A variable's name and value, which may hold a password.
#[derive(Clone)]
struct Variable(&'static str, String);

/// A part of `no_proxy`.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Exception {
    what: What,
    port: Option<u16>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum What {
    All,
    Network(IpNet),
    /// In lower case; its subdomains are meant, too.
    Name(String),
}

impl Environment {
    /// Reads the variables; one that is empty is not there.
    pub(super) fn read(variable: impl Fn(&str) -> Option<String>) -> Self {
        let first = |names: &[&'static str]| {
            names.iter().find_map(|name| {
                let value = variable(name).filter(|value| !value.trim().is_empty())?;
                Some(Variable(name, value))
            })
        };
        let list = first(&["no_proxy", "NO_PROXY"]).map_or_else(String::new, |found| found.1);
        Self {
            secure: first(&["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]),
            plain: first(&["http_proxy", "all_proxy", "ALL_PROXY"]),
            exceptions: list
                .split([',', ' '])
                .filter_map(|part| Exception::parse(part.trim()))
                .collect(),
        }
    }

    /// The proxy for this broker.
    ///
    /// # Errors
    /// The variable that holds no proxy's URL, and what is wrong.
    pub(super) fn proxy_of(&self, endpoint: &Endpoint) -> Result<Option<ProxyServer>, String> {
        let variable = match endpoint.scheme() {
            Scheme::Unix => return Ok(None),
            scheme if scheme.is_encrypted() => &self.secure,
            _ => &self.plain,
        };
        let Some(Variable(name, value)) = variable else { return Ok(None) };
        if self.exceptions.iter().any(|exception| exception.covers(endpoint)) {
            return Ok(None);
        }
        let value = value.trim();
        // Elsewhere a scheme is not asked for.
        let url = if value.contains("://") { value.to_owned() } else { format!("http://{value}") };
        url.parse().map(Some).map_err(|error| format!("the variable {name}: {error}"))
    }
}

impl Exception {
    fn parse(part: &str) -> Option<Self> {
        if part.is_empty() {
            return None;
        }
        if part == "*" {
            return Some(Self { what: What::All, port: None });
        }
        if let Some(network) = network(part) {
            return Some(Self { what: What::Network(network), port: None });
        }
        let (host, port) = match part.rsplit_once(':') {
            Some((host, port)) => (host, Some(port.parse().ok()?)),
            None => (part, None),
        };
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let what = match network(host) {
            Some(network) => What::Network(network),
            None if host == "*" => What::All,
            None => {
                let name = host.strip_prefix('*').unwrap_or(host);
                let name = name.trim_matches('.').to_ascii_lowercase();
                What::Name(Some(name).filter(|name| !name.is_empty())?)
            }
        };
        Some(Self { what, port })
    }

    fn covers(&self, endpoint: &Endpoint) -> bool {
        if self.port.is_some_and(|port| port != endpoint.port()) {
            return false;
        }
        match &self.what {
            What::All => true,
            What::Network(network) => {
                endpoint.host().parse::<IpAddr>().is_ok_and(|address| network.contains(&address))
            }
            What::Name(name) => {
                let host = endpoint.host().trim_end_matches('.').to_ascii_lowercase();
                host.strip_suffix(name.as_str())
                    .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
            }
        }
    }
}

/// An address alone is a network of one.
fn network(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

impl std::fmt::Debug for Variable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The proxy for `url` with these variables, or what is wrong.
    fn proxy(variables: &[(&str, &str)], url: &str) -> String {
        let read = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name)?;
            Some(found.1.to_owned())
        };
        let environment = Environment::read(read);
        match environment.proxy_of(&url.parse().expect("an address")) {
            Ok(Some(server)) => server.to_string(),
            Ok(None) => "none".to_owned(),
            Err(error) => error,
        }
    }

    #[test]
    fn the_scheme_says_which_variable_counts() {
        let all = [
            ("http_proxy", "http://plain"),
            ("HTTP_PROXY", "http://cgi"),
            ("https_proxy", "socks5://secure"),
            ("ALL_PROXY", "socks5h://all"),
        ];
        for (url, expected) in [
            ("mqtt://h", "http://plain:80"),
            ("ws://h", "http://plain:80"),
            ("unix:///run/s", "none"),
        ] {
            assert_eq!(proxy(&all, url), expected, "{url}");
        }
        assert_eq!(proxy(&all[1..], "mqtt://h"), "socks5h://all:1080", "HTTP_PROXY never counts");
        assert_eq!(proxy(&[("all_proxy", " p:3128 ")], "ws://h"), "http://p:3128");
        assert_eq!(proxy(&[("http_proxy", ""), ("all_proxy", "http://a")], "h"), "http://a:80");
        assert_eq!(proxy(&[], "h"), "none");
    }

    #[test]
    fn a_variable_that_is_no_proxy_is_named_without_its_secret() {
        let text = proxy(&[("http_proxy", "https://u:geheim@h")], "h");
        assert!(text.starts_with("the variable http_proxy: unknown scheme"), "{text}");
        let read = |name: &str| (name == "http_proxy").then(|| "http://u:geheim@h".to_owned());
        assert!(!format!("{:?}", Environment::read(read)).contains("geheim"));
    }

    #[test]
    fn exceptions_are_names_networks_and_ports() {
        for (list, url, direct) in [
            ("*", "h", true),
            ("example.com", "example.com", true),
            ("example.com", "a.b.Example.COM.", true),
            ("example.com", "notexample.com", false),
            (".example.com", "a.example.com", true),
            ("*.example.com", "a.example.com", true),
            ("other, example.com", "example.com", true),
            ("other example.com", "example.com", true),
            ("example.com:1884", "example.com:1884", true),
            ("example.com:1884", "example.com", false),
            ("example.com:x", "example.com", false),
            ("10.0.0.0/8", "10.9.8.7", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.0.0.0/8", "ten.example.com", false),
            ("127.0.0.1", "127.0.0.1:1999", true),
            ("127.0.0.1:1883", "127.0.0.1:1999", false),
            ("fd00::/8", "[fd12::1]", true),
            ("::1", "[::1]", true),
            ("[::1]:1884", "[::1]:1884", true),
            ("[::1]:1884", "[::1]:1885", false),
            ("localhost", "127.0.0.1", false),
            (", ,", "h", false),
            (".", "h", false),
        ] {
            let variables = [("all_proxy", "http://p"), ("no_proxy", list)];
            assert_eq!(proxy(&variables, url) == "none", direct, "'{list}' and {url}");
        }
    }
}

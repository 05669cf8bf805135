//! An address taken from its text, and the parts of URLs.

use std::fmt::Write;
use std::path::Path;
use std::str::FromStr;

use super::{Endpoint, EndpointError, HIDDEN, Scheme};
use crate::options::Secret;

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

pub(in crate::transport) fn split_port(address: &str) -> Result<(&str, Option<u16>), &'static str> {
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

pub(in crate::transport) fn percent_decode(text: &str) -> Option<Vec<u8>> {
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
pub(super) fn percent_encode(path: &Path) -> String {
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

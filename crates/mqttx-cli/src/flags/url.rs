//! The broker of `-L`, and the pieces of an address.

use mqttx::Endpoint;

/// Reads `mqtt://[user[:password]@]host[:port][/topic]`.
///
/// # Errors
/// A text that is no such URL, with what is wrong in it. The password is never repeated.
pub(super) fn parse_url(text: &str) -> Result<Endpoint, String> {
    let Some((scheme, _)) = text.split_once("://") else {
        return Err("a broker URL looks like mqtt://host:1883/topic".to_owned());
    };
    let scheme = scheme.to_ascii_lowercase();
    if matches!(scheme.as_str(), "mqtts" | "ssl" | "tls" | "ws" | "wss" | "unix") {
        return Err(format!("{scheme}:// is not supported: use mqtt:// or tcp://"));
    }
    text.parse().map_err(|error: mqttx::EndpointError| error.to_string())
}

/// A port that can be connected to.
pub(super) fn parse_port(text: &str) -> Result<u16, String> {
    match text.parse() {
        Ok(port) if port != 0 && !text.starts_with('+') => Ok(port),
        _ => Err(format!("'{text}' is not a port: allowed are 1 to 65535")),
    }
}

/// The address for the library: without user, password and topic.
pub(super) fn address(host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("mqtt://[{host}]:{port}")
    } else {
        format!("mqtt://{host}:{port}")
    }
}

#[cfg(test)]
mod tests {
    use super::parse_url;

    #[test]
    fn urls_need_a_scheme_that_works() {
        for (text, part) in [
            ("", "looks like"),
            ("localhost:1883", "looks like"),
            ("http://h", "unknown scheme"),
            ("mqtts://h", "not supported"),
            ("ws://h/mqtt", "not supported"),
            ("unix:///run/s", "not supported"),
            ("mqtt://", "host is missing"),
            ("mqtt://h:0", "1 to 65535"),
        ] {
            let error = parse_url(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
        assert_eq!(parse_url("tcp://h/a/%23").unwrap().topic(), Some("a/#"));
    }
}

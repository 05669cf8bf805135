//! The broker of `-L`, and the pieces of an address.

use mqttx::Endpoint;

/// Reads `mqtt://[user[:password]@]host[:port][/topic]`.
///
/// # Errors
/// A text that is no such URL, with what is wrong in it. The password is never repeated.
pub(super) fn parse_url(text: &str) -> Result<Endpoint, String> {
    if !text.contains("://") {
        return Err("a broker URL looks like mqtt://host:1883/topic".to_owned());
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

#[cfg(test)]
mod tests {
    use super::parse_url;

    #[test]
    fn urls_need_a_scheme_that_works() {
        for (text, part) in [
            ("", "looks like"),
            ("localhost:1883", "looks like"),
            ("http://h", "unknown scheme"),
            ("unix://run/s", "absolute path"),
            ("mqtt://", "host is missing"),
            ("mqtt://h:0", "1 to 65535"),
        ] {
            let error = parse_url(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
        assert_eq!(parse_url("tcp://h/a/%23").unwrap().topic(), Some("a/#"));
    }
}

//! The broker of `-L`, and the pieces of an address.

use mqttx::{Endpoint, Proxy};

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

/// Reads the URL of a proxy, or `none`.
///
/// # Errors
/// A text that is neither, with what is wrong in it. The password is never repeated.
pub(super) fn parse_proxy(text: &str) -> Result<Proxy, String> {
    text.parse().map_err(|error: mqttx::ProxyError| error.to_string())
}

/// A text that may be a URL, without its password.
pub(crate) fn without_password(text: &str) -> String {
    let start = text.find("://").map_or(0, |at| at + 3);
    let end = text[start..].find('/').map_or(text.len(), |at| start + at);
    let user = text[start..end].rfind('@').map(|at| &text[start..start + at]);
    match user.and_then(|user| user.find(':')).map(|colon| start + colon) {
        Some(colon) if start > 0 => {
            let at = start + text[start..end].rfind('@').unwrap_or_default();
            format!("{}:***{}", &text[..colon], &text[at..])
        }
        _ => text.to_owned(),
    }
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
    use super::{parse_url, without_password};

    #[test]
    fn passwords_of_urls_are_hidden_and_nothing_else() {
        for (text, shown) in [
            ("http://u:geheim@h:0", "http://u:***@h:0"),
            ("mqtt://u:ge@heim@h/a@b:c", "mqtt://u:***@h/a@b:c"),
            ("mqtt://u@h:0", "mqtt://u@h:0"),
            ("a:b@c", "a:b@c"),
            ("", ""),
        ] {
            assert_eq!(without_password(text), shown);
        }
    }

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

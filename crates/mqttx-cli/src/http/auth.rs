//! Who may do what.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use mqttx::Secret;

use super::Site;
use super::reply;

/// Asks for the token where one is needed, and keeps web pages of others from sending orders.
pub(super) async fn check(State(site): State<Arc<Site>>, request: Request, next: Next) -> Response {
    let guarded = is_guarded(request.uri().path());
    let facts = site.facts();
    if guarded && !is_allowed(request.headers(), facts.token.as_ref()) {
        let (message, challenge) = match request.headers().contains_key(header::AUTHORIZATION) {
            false => (
                "a token is needed, http.token of the configuration: Authorization: Bearer TOKEN",
                "Bearer realm=\"mqttx\"",
            ),
            // RFC 6750, section 3.1.
            true => (
                "this is not the token of the configuration, http.token: Authorization: Bearer TOKEN",
                "Bearer realm=\"mqttx\", error=\"invalid_token\"",
            ),
        };
        let mut refused = reply::error(StatusCode::UNAUTHORIZED, message);
        let challenge = HeaderValue::from_static(challenge);
        refused.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        return refused;
    }
    if guarded
        && facts.token.is_none()
        && !matches!(*request.method(), Method::GET | Method::HEAD)
        && !is_from_here(request.headers())
    {
        return reply::error(StatusCode::FORBIDDEN, "orders of web pages are not taken");
    }
    next.run(request).await
}

fn is_guarded(path: &str) -> bool {
    let below = |prefix: &str| {
        path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    below("/api") || below("/-")
}

fn is_allowed(headers: &HeaderMap, token: Option<&Secret>) -> bool {
    let Some(token) = token else { return true };
    let given = headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
    let given = given.and_then(|value| value.split_at_checked("Bearer ".len()));
    given.is_some_and(|(scheme, given)| {
        scheme.eq_ignore_ascii_case(b"Bearer ") && equal(given, token.expose())
    })
}

/// Takes the same time wherever the difference is.
fn equal(a: &[u8], b: &[u8]) -> bool {
    let differences = a.iter().zip(b).fold(0, |all, (a, b)| all | (a ^ b));
    a.len() == b.len() && differences == 0
}

/// Without a token, an order must not come from a web page that the browser of this machine shows: such a request names
/// another origin, or reaches us by a name that is not this machine's.
fn is_from_here(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let host = text(header::HOST).unwrap_or_default();
    let origin = match text(header::ORIGIN) {
        None => return true,
        Some(origin) => origin.split_once("://").map_or(origin, |(_, authority)| authority),
    };
    let name = host.rsplit_once(':').map_or(host, |(name, port)| {
        if port.bytes().all(|b| b.is_ascii_digit()) { name } else { host }
    });
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    origin == host && (address.is_ok() || name.eq_ignore_ascii_case("localhost"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(all: &[(&'static str, &str)]) -> HeaderMap {
        let all = all.iter();
        all.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn the_token_is_asked_for_below_api_and_dash() {
        for path in ["/api", "/api/v1/sessions", "/-/reload", "/-"] {
            assert!(is_guarded(path), "{path}");
        }
        for path in ["/", "/metrics", "/healthz", "/readyz", "/apis", "/-x"] {
            assert!(!is_guarded(path), "{path}");
        }
    }

    #[test]
    fn only_the_whole_token_opens() {
        let token = Secret::from("s3cret");
        let ok = |value: &str| is_allowed(&headers(&[("authorization", value)]), Some(&token));
        assert!(ok("Bearer s3cret") && ok("bearer s3cret"));
        for wrong in ["Bearer s3cre", "Bearer s3crett", "Bearer ", "Basic s3cret", "s3cret", "B"] {
            assert!(!ok(wrong), "{wrong}");
        }
        assert!(!is_allowed(&headers(&[]), Some(&token)));
        assert!(is_allowed(&headers(&[]), None));
    }

    #[test]
    fn pages_of_others_give_no_orders() {
        let from = |host: &str, origin: &str| {
            is_from_here(&headers(&[("host", host), ("origin", origin)]))
        };
        assert!(is_from_here(&headers(&[("host", "gateway:9464")])), "no browser");
        assert!(from("127.0.0.1:9464", "http://127.0.0.1:9464"));
        assert!(from("[::1]:9464", "http://[::1]:9464"));
        assert!(from("localhost:9464", "http://localhost:9464"));
        assert!(!from("127.0.0.1:9464", "http://evil.example"));
        assert!(!from("evil.example:9464", "http://evil.example:9464"), "a name that was bent");
        assert!(!from("127.0.0.1:9464", "null"));
    }
}

//! Who may do what.

use std::net::IpAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::HeaderName;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use futures_util::StreamExt;
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
    let open = facts.token.is_none();
    if guarded && open && !is_asked_by_name_of_here(request.headers()) {
        let text =
            "without a token this is answered at an address or localhost, not at another name";
        return reply::error(StatusCode::FORBIDDEN, text);
    }
    let orders = guarded && !matches!(*request.method(), Method::GET | Method::HEAD);
    if orders && !is_from_here(request.headers(), open) {
        return reply::error(StatusCode::FORBIDDEN, "orders of other web pages are not taken");
    }
    let response = next.run(request).await;
    if guarded && is_endless(&response) {
        let other_token = site.other_token(facts.token.clone());
        let until_then =
            |body: Body| Body::from_stream(body.into_data_stream().take_until(other_token));
        return response.map(until_then);
    }
    response
}

/// A stream goes on for as long as its token counts, and no longer.
fn is_endless(response: &Response) -> bool {
    let kind = response.headers().get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    kind == Some(reply::EVENTS.as_bytes())
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

/// An order must not come from a page of somebody else that a browser shows: such a request names another origin. Without
/// a token (`open`) the page must be one of this machine's addresses, too.
fn is_from_here(headers: &HeaderMap, open: bool) -> bool {
    let host = text(headers, header::HOST);
    let origin = match headers.get(header::ORIGIN) {
        None => return true,
        Some(_) => text(headers, header::ORIGIN),
    };
    let authority = origin.split_once("://").map_or(origin, |(_, authority)| authority);
    let named = host_name(host);
    authority == host && (!open || is_address(named) || named.eq_ignore_ascii_case("localhost"))
}

/// Somebody's page can let its own name lead to this machine, and is then no other page to the browser. Such a name has a
/// dot; what is local has none, or is an address.
fn is_asked_by_name_of_here(headers: &HeaderMap) -> bool {
    let name = host_name(text(headers, header::HOST));
    let last = name.rsplit('.').next().unwrap_or_default();
    is_address(name) || !name.contains('.') || last.eq_ignore_ascii_case("localhost")
}

fn text(headers: &HeaderMap, name: HeaderName) -> &str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// The host without its port.
fn host_name(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    }
}

fn is_address(name: &str) -> bool {
    name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok()
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
            is_from_here(&headers(&[("host", host), ("origin", origin)]), true)
        };
        assert!(is_from_here(&headers(&[("host", "gateway:9464")]), true), "no browser");
        assert!(from("127.0.0.1:9464", "http://127.0.0.1:9464"));
        assert!(from("[::1]:9464", "http://[::1]:9464"));
        assert!(from("localhost:9464", "http://localhost:9464"));
        assert!(!from("127.0.0.1:9464", "http://evil.example"));
        assert!(!from("evil.example:9464", "http://evil.example:9464"), "a name that was bent");
        assert!(!from("127.0.0.1:9464", "null"));
    }

    #[test]
    fn with_a_token_only_the_daemons_own_page_gives_orders_whatever_its_name() {
        let from = |host: &str, origin: &str| {
            is_from_here(&headers(&[("host", host), ("origin", origin)]), false)
        };
        assert!(from("gateway.example", "https://gateway.example"));
        assert!(!from("gateway.example", "https://evil.example"));
        assert!(!from("gateway.example", "null"));
    }

    #[test]
    fn without_a_token_a_name_that_was_bent_is_not_answered() {
        let asked = |host: &str| is_asked_by_name_of_here(&headers(&[("host", host)]));
        for host in
            ["127.0.0.1:9464", "[::1]:9464", "localhost:9464", "gw:9464", "a.localhost", "x"]
        {
            assert!(asked(host), "{host}");
        }
        for host in ["evil.example:9464", "evil.example", "127.0.0.1.evil.example:80"] {
            assert!(!asked(host), "{host}");
        }
        assert!(is_asked_by_name_of_here(&headers(&[])), "no browser");
    }
}

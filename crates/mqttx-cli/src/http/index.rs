//! `/api/v1`: what can be asked, for who has only the address.

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::reply;

/// Method, path, and what the answer is.
const PATHS: [(&str, &str, &str); 20] = [
    ("GET", "/", "the dashboard, for a browser"),
    ("GET", "/healthz", "200 while the process runs"),
    ("GET", "/readyz", "200 when every session is ready and every forwarder runs, else 503"),
    ("GET", "/metrics", "for Prometheus; ?session=REGEX shows sessions one by one"),
    ("GET", "/api/v1", "this list"),
    ("GET", "/api/v1/sessions", "all sessions"),
    ("GET", "/api/v1/sessions/NAME", "one session"),
    ("POST", "/api/v1/sessions/NAME/disconnect", "it stays away until reconnect"),
    ("POST", "/api/v1/sessions/NAME/reconnect", "a new connection"),
    ("GET", "/api/v1/forwarders", "all forwarders"),
    ("GET", "/api/v1/forwarders/NAME", "one forwarder"),
    ("POST", "/api/v1/forwarders/NAME/pause", "it sends nothing until resume"),
    ("POST", "/api/v1/forwarders/NAME/drain", "it unsubscribes, and forwards what it has"),
    ("POST", "/api/v1/forwarders/NAME/resume", "it goes on"),
    ("GET", "/api/v1/stores", "all stores"),
    ("GET", "/api/v1/stores/NAME", "one store"),
    ("GET", "/api/v1/config", "the configuration in effect, without secrets"),
    ("GET", "/api/v1/events", "what happens, as server-sent events"),
    (
        "GET",
        "/api/v1/dashboard",
        "what the dashboard shows, as server-sent events that may change with it",
    ),
    ("POST", "/-/reload", "reads the configuration again and applies what changed"),
];

pub(super) async fn list() -> Response {
    let paths: Vec<Value> = PATHS
        .iter()
        .map(|(method, path, answer)| json!({ "method": method, "path": path, "answer": answer }))
        .collect();
    let about = json!({ "mqttx": env!("CARGO_PKG_VERSION"), "paths": paths });
    reply::json(StatusCode::OK, &about)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_of_the_documentation_is_listed() {
        let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/http.md"));
        let mut documented = Vec::new();
        for line in text.lines().filter(|line| line.starts_with("| `/")) {
            let mut cells = line.split('|').map(|cell| cell.trim().trim_matches('`'));
            let path = cells.nth(1).unwrap_or_default();
            documented.push((cells.next().unwrap_or_default(), path));
        }
        documented.sort_unstable();
        let mut listed: Vec<_> = PATHS.iter().map(|(method, path, _)| (*method, *path)).collect();
        listed.sort_unstable();
        assert_eq!(listed, documented);
    }
}

//! Whether the process lives, and whether it does its work.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use mqttx::Session;
use serde_json::json;

use super::{Site, reply};

/// Reasons that are listed; the others are counted.
const LISTED: usize = 20;

pub(super) async fn live() -> Response {
    reply::json(StatusCode::OK, &json!({ "ok": true }))
}

/// Every session is connected with its filters granted, and every forwarder runs: those that are enabled.
pub(super) async fn ready(State(site): State<Arc<Site>>) -> Response {
    let stopping = site.stopping.load(Ordering::Acquire);
    let sessions = site.sessions.handles().into_iter().filter_map(|session| {
        let why = session.is_enabled().then(|| missing(&session)).flatten()?;
        Some(format!("session {}: {why}", session.name()))
    });
    let forwarders = site.forwarders.list().into_iter().filter_map(|forwarder| {
        let waits = forwarder.options().is_enabled() && !forwarder.is_running();
        waits.then(|| format!("forwarder {}: {}", forwarder.name(), forwarder.state()))
    });
    let stop = stopping.then(|| "the daemon stops".to_owned());
    let mut waiting: Vec<String> = stop.into_iter().chain(sessions).chain(forwarders).collect();
    let count = waiting.len();
    waiting.truncate(LISTED);
    let status = if count == 0 { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = json!({ "ready": count == 0, "not_ready": count, "reasons": waiting });
    reply::json(status, &body)
}

/// What a session lacks.
fn missing(session: &Session) -> Option<String> {
    if !session.is_ready() {
        return Some(session.status().to_string());
    }
    let refused = session.refused_filters();
    let first = refused.first()?;
    let more = refused.len() - 1;
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    Some(format!("the server refused '{first}'{rest}"))
}

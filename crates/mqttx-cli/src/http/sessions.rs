//! `/api/v1/sessions`.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use mqttx::{Session, SessionStatus, Version};
use serde_json::{Value, json};

use super::{Site, reply};

/// For the server to take our DISCONNECT.
const DISCONNECT_TIME: Duration = Duration::from_secs(10);

pub(super) async fn list(State(site): State<Arc<Site>>) -> Response {
    let sessions: Vec<Value> = site.sessions.handles().iter().map(describe).collect();
    reply::json(StatusCode::OK, &json!({ "sessions": sessions }))
}

pub(super) async fn one(State(site): State<Arc<Site>>, Path(name): Path<String>) -> Response {
    match site.sessions.session(&name) {
        Ok(session) => reply::json(StatusCode::OK, &describe(&session)),
        Err(error) => reply::not_found(&error),
    }
}

/// It stays away until `reconnect`.
pub(super) async fn disconnect(
    State(site): State<Arc<Site>>,
    Path(name): Path<String>,
) -> Response {
    let session = match site.sessions.session(&name) {
        Ok(session) => session,
        Err(error) => return reply::not_found(&error),
    };
    let _ = tokio::time::timeout(DISCONNECT_TIME, session.disconnect()).await;
    reply::json(StatusCode::OK, &describe(&session))
}

/// Also of one that was refused or disconnected; the answer does not wait for the connection.
pub(super) async fn reconnect(State(site): State<Arc<Site>>, Path(name): Path<String>) -> Response {
    match site.sessions.session(&name) {
        Ok(session) => {
            session.reconnect();
            reply::json(StatusCode::OK, &describe(&session))
        }
        Err(error) => reply::not_found(&error),
    }
}

fn describe(session: &Session) -> Value {
    let (status, metrics, error) = (session.status(), session.metrics(), session.last_error());
    let protocol = match session.protocol() {
        Version::V311 => "3.1.1",
        Version::V5 => "5",
    };
    json!({
        "name": session.name(),
        "client_id": session.client_id(),
        "state": state(status),
        "status": status.name(),
        "ready": session.is_ready(),
        "broker": session.broker(),
        "protocol": protocol,
        "subscriptions": metrics.subscriptions,
        "refused_filters": session.refused_filters(),
        "messages_sent": metrics.messages_sent,
        "messages_received": metrics.messages_received,
        "bytes_sent": metrics.bytes_sent,
        "bytes_received": metrics.bytes_received,
        "outbox_messages": metrics.outbox_messages,
        "outbox_bytes": metrics.outbox_bytes,
        "in_flight": metrics.in_flight,
        "errors": metrics.errors,
        "reconnects": metrics.reconnects,
        "last_message": metrics.last_message.map(time),
        "last_error": error.map(|error| error.to_string()),
        "last_error_at": metrics.last_error.map(time),
    })
}

/// One of the four that scripts know.
pub(super) fn state(status: SessionStatus) -> &'static str {
    match status {
        SessionStatus::Connected => "connected",
        SessionStatus::Connecting => "connecting",
        SessionStatus::Reconnecting { .. } => "reconnecting",
        _ => "stopped",
    }
}

/// A time of day in the notation of RFC 3339.
pub(super) fn time(time: SystemTime) -> String {
    jiff::Timestamp::try_from(time).unwrap_or_default().to_string()
}

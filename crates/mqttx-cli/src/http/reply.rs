//! Answers.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use mqttx::Error;
use serde_json::{Value, json};

/// The type of streams of events.
pub(super) const EVENTS: &str = "text/event-stream";

/// A JSON text.
pub(super) fn json(status: StatusCode, value: &Value) -> Response {
    let mut text = value.to_string();
    text.push('\n');
    typed(status, "application/json", text)
}

/// A text of that type.
pub(super) fn typed(status: StatusCode, kind: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// `{"error":…}`.
pub(super) fn error(status: StatusCode, message: &str) -> Response {
    json(status, &json!({ "error": message }))
}

/// Nothing has that name: the library says which names are near.
pub(super) fn not_found(error: &Error) -> Response {
    self::error(StatusCode::NOT_FOUND, error.message())
}

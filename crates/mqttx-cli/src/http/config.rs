//! `/api/v1/config`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::{Site, reply};

/// The configuration in effect, without secrets.
pub(super) async fn show(State(site): State<Arc<Site>>) -> Response {
    reply::json(StatusCode::OK, &site.facts().config)
}

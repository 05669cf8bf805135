//! `/-/reload`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;

use super::{Site, reply};

/// Reads the configuration again, and answers when what changed is applied: with what that is, or with what is wrong, as
/// `check-config --json` says it.
pub(super) async fn order(State(site): State<Arc<Site>>) -> Response {
    match site.reload.reload().await {
        Ok(changes) => reply::json(StatusCode::OK, &json!({ "ok": true, "changes": changes })),
        Err(problems) => {
            let report = json!({ "ok": false, "errors": problems });
            reply::json(StatusCode::UNPROCESSABLE_ENTITY, &report)
        }
    }
}

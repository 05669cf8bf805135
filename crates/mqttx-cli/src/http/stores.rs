//! `/api/v1/stores`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use mqttx::HistogramMetrics;
use serde_json::{Value, json};

use super::{Site, reply};

pub(super) async fn list(State(site): State<Arc<Site>>) -> Response {
    let stores: Vec<Value> = site
        .facts()
        .stores
        .iter()
        .map(|(name, store)| {
            let metrics = store.metrics();
            let mean = |histogram: Option<&HistogramMetrics>| histogram.and_then(|h| h.mean());
            json!({
                "name": name,
                "kind": metrics.kind,
                "available": metrics.available,
                "full": metrics.full,
                "bytes": metrics.bytes,
                "records": metrics.records,
                "written_bytes": metrics.written_bytes,
                "errors": metrics.errors,
                "damaged_records": metrics.damaged_records,
                "mean_sync_seconds": mean(metrics.sync_seconds.as_ref()),
                "mean_group_records": mean(metrics.group_records.as_ref()),
                "trouble": store.trouble().map(|error| error.to_string()),
            })
        })
        .collect();
    reply::json(StatusCode::OK, &json!({ "stores": stores }))
}

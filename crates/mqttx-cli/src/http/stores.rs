//! `/api/v1/stores`.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use mqttx::HistogramMetrics;
use mqttx::store::Store;
use serde_json::{Value, json};

use super::{Site, reply};
use crate::config::near;

pub(super) async fn list(State(site): State<Arc<Site>>) -> Response {
    let facts = site.facts();
    let stores: Vec<Value> =
        facts.stores.iter().map(|(name, store)| describe(name, &**store)).collect();
    reply::json(StatusCode::OK, &json!({ "stores": stores }))
}

pub(super) async fn one(State(site): State<Arc<Site>>, Path(name): Path<String>) -> Response {
    let facts = site.facts();
    match facts.stores.get(&name) {
        Some(store) => reply::json(StatusCode::OK, &describe(&name, &**store)),
        None => {
            let known = facts.stores.keys().map(String::as_str);
            reply::error(StatusCode::NOT_FOUND, &near::unknown("store", &name, known))
        }
    }
}

fn describe(name: &str, store: &dyn Store) -> Value {
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
}

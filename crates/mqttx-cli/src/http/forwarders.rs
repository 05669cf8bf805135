//! `/api/v1/forwarders`.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use mqttx::{Error, Forwarder};
use serde_json::{Value, json};

use super::{Site, reply};

pub(super) async fn list(State(site): State<Arc<Site>>) -> Response {
    let forwarders: Vec<Value> = site.forwarders.list().iter().map(describe).collect();
    reply::json(StatusCode::OK, &json!({ "forwarders": forwarders }))
}

pub(super) async fn one(State(site): State<Arc<Site>>, Path(name): Path<String>) -> Response {
    shown(site.forwarders.get(&name))
}

/// Sends nothing until `resume`; what arrives waits, and is not acknowledged.
pub(super) async fn pause(State(site): State<Arc<Site>>, Path(name): Path<String>) -> Response {
    let forwarder = match site.forwarders.get(&name) {
        Ok(forwarder) => forwarder,
        Err(error) => return reply::not_found(&error),
    };
    forwarder.pause().await;
    shown(Ok(forwarder))
}

/// Goes on after `pause`, and begins again after `drain`.
pub(super) async fn resume(State(site): State<Arc<Site>>, Path(name): Path<String>) -> Response {
    let forwarder = match site.forwarders.get(&name) {
        Ok(forwarder) => forwarder,
        Err(error) => return reply::not_found(&error),
    };
    match forwarder.start().await {
        Ok(()) => shown(Ok(forwarder)),
        Err(error) => reply::error(StatusCode::CONFLICT, &error.to_string()),
    }
}

/// Takes nothing more, and answers when what it has is forwarded, or `shutdown_grace` is over.
pub(super) async fn drain(State(site): State<Arc<Site>>, Path(name): Path<String>) -> Response {
    let forwarder = match site.forwarders.get(&name) {
        Ok(forwarder) => forwarder,
        Err(error) => return reply::not_found(&error),
    };
    forwarder.stop(site.facts().grace).await;
    shown(Ok(forwarder))
}

fn shown(found: Result<Forwarder, Error>) -> Response {
    match found {
        Ok(forwarder) => reply::json(StatusCode::OK, &describe(&forwarder)),
        Err(error) => reply::not_found(&error),
    }
}

fn describe(forwarder: &Forwarder) -> Value {
    let (metrics, options) = (forwarder.metrics(), forwarder.options());
    let reasons: serde_json::Map<String, Value> = metrics
        .dropped_by_reason
        .iter()
        .map(|(reason, count)| (reason.as_str().to_owned(), (*count).into()))
        .collect();
    json!({
        "name": forwarder.name(),
        "state": forwarder.state().as_str(),
        "received": metrics.received,
        "forwarded": metrics.forwarded,
        "filtered": metrics.filtered,
        "dropped": metrics.dropped,
        "dropped_by_reason": reasons,
        "dead_lettered": metrics.dead_lettered,
        "in_flight": metrics.in_flight,
        "queued": metrics.queued,
        "lag_seconds": metrics.lag.as_secs_f64(),
        "from": options.source_sessions().collect::<Vec<_>>(),
        "to": options.target_sessions().collect::<Vec<_>>(),
    })
}

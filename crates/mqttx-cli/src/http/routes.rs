//! The paths.

use std::sync::Arc;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{get, post};

use super::{
    Site, auth, config, dashboard, events, forwarders, health, index, metrics, refusal, reload,
    sessions, stores,
};

pub(super) fn router(site: Arc<Site>) -> Router {
    let api = Router::new()
        .route("/sessions", get(sessions::list))
        .route("/sessions/{name}", get(sessions::one))
        .route("/sessions/{name}/disconnect", post(sessions::disconnect))
        .route("/sessions/{name}/reconnect", post(sessions::reconnect))
        .route("/forwarders", get(forwarders::list))
        .route("/forwarders/{name}", get(forwarders::one))
        .route("/forwarders/{name}/pause", post(forwarders::pause))
        .route("/forwarders/{name}/resume", post(forwarders::resume))
        .route("/forwarders/{name}/drain", post(forwarders::drain))
        .route("/stores", get(stores::list))
        .route("/stores/{name}", get(stores::one))
        .route("/config", get(config::show))
        .route("/events", get(events::stream))
        .route("/dashboard", get(dashboard::stream));
    let site = Router::new()
        .route("/", get(dashboard::index))
        .route("/dashboard/{file}", get(dashboard::file))
        .route("/healthz", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(metrics::show))
        .route("/-/reload", post(reload::order))
        .route("/api/v1", get(index::list))
        .route("/api/v1/", get(index::list))
        .nest("/api/v1", api)
        .fallback(refusal::no_path)
        .layer(from_fn_with_state(Arc::clone(&site), auth::check))
        .with_state(site);
    // A layer of the router itself does not see which methods it allows.
    Router::new().fallback_service(site).layer(from_fn(refusal::explain))
}

//! Authentication against a broker whose every byte the test decides, and a SCRAM server that computes its part by itself.

mod credentials;
mod renewal;
mod scram;
mod steps;

use std::time::Duration;

use mqttx::{Backoff, Jitter, Session, SessionBuilder, SessionManager, SessionOptions};
use mqttx_test::ScriptedBroker;

pub(crate) const ACCEPTED: &str = "20 { 00 00 {} }";
pub(crate) const SOON: Duration = Duration::from_secs(10);

pub(crate) fn options(broker: &ScriptedBroker) -> SessionBuilder {
    let quick =
        Backoff::new(Duration::from_millis(10), Duration::from_millis(40)).jitter(Jitter::None);
    SessionOptions::quick_connect("s", broker.url())
        .client_id("c")
        .clean_start(true)
        .receive_maximum(None)
        .reconnect(quick)
}

pub(crate) fn add(builder: SessionBuilder) -> (SessionManager, Session) {
    let manager = SessionManager::builder().connect_rate(0).build();
    let session = manager.add_session(builder.build().expect("valid options")).expect("a session");
    (manager, session)
}

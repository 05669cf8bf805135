//! Forwarders of several processes in a circle that none of them can see.

#[expect(dead_code, reason = "each of the tests uses a part of the broker")]
mod support;

use std::time::Duration;

use mqttx::{
    EventName, ForwardDrop, Forwarder, ForwarderBuilder, ForwarderManager, QoS, SessionManager,
    SessionOptions,
};
use support::Broker;

const SOON: Duration = Duration::from_secs(10);

/// A manager of its own, as in a process of its own, that forwards from one broker to another.
async fn daemon(name: &str, from: &Broker, to: &Broker) -> (SessionManager, Forwarder) {
    let sessions = SessionManager::new();
    for (side, broker) in [("from", from), ("to", to)] {
        let options = SessionOptions::quick_connect(side, broker.url())
            .client_id(format!("{name}-{side}"))
            .build()
            .unwrap();
        sessions.add_session(options).unwrap();
    }
    let forwarders = ForwarderManager::named(&sessions, name);
    let rules = ForwarderBuilder::new("fw").source("from", "a/#").target("to").build().unwrap();
    let forwarder = forwarders.add_forwarder(rules).unwrap();
    sessions.wait_for_all_sessions(SOON).await.unwrap();
    (sessions, forwarder)
}

#[tokio::test]
async fn a_message_goes_round_a_ring_of_three_once() {
    let brokers = [Broker::start().await, Broker::start().await, Broker::start().await];
    let [a, b, c] = &brokers;
    let daemons = [daemon("d1", a, b).await, daemon("d2", b, c).await, daemon("d3", c, a).await];
    let sessions = SessionManager::new();
    let options = SessionOptions::quick_connect("device", a.url()).build().unwrap();
    let device = sessions.add_session(options).unwrap();
    device.wait_ready(SOON).await.unwrap();
    let (sessions_of_first, first) = &daemons[0];
    let mut drops = sessions_of_first.events_matching(EventName::ForwarderMessageDropped);
    device.publish("a/x", "hi", QoS::AtLeastOnce, false).await.unwrap();
    tokio::time::timeout(SOON, drops.next()).await.expect("it comes back").expect("an event");
    assert_eq!(first.metrics().dropped_by_reason, [(ForwardDrop::Loop, 1)]);
    let counts = daemons.each_ref().map(|(_, forwarder)| {
        let metrics = forwarder.metrics();
        (metrics.received, metrics.forwarded + metrics.in_flight)
    });
    assert_eq!(counts, [(2, 1), (1, 1), (1, 1)]);
    let published = brokers.each_ref().map(|broker| broker.published("a/x"));
    assert_eq!(published, [2, 1, 1], "from the device and from the last daemon");
}

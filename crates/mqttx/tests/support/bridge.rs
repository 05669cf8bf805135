//! A forwarder between two scripted brokers.
#![allow(dead_code, reason = "each test file uses its part")]

use std::time::Duration;

use mqttx::{
    Backoff, Forwarder, ForwarderBuilder, ForwarderManager, Jitter, SessionBuilder, SessionManager,
    SessionOptions, Version,
};
use mqttx_test::{Peer, ScriptedBroker, hex};

pub(crate) const SOON: Duration = Duration::from_secs(10);
/// Long enough for a wrong packet to arrive.
pub(crate) const QUIET: Duration = Duration::from_millis(60);

/// What the forwarder "fw" of the manager "d" adds on MQTT 5.
pub(crate) const VIA: &str = "26 <mqttx-via> <d/fw> 26 <mqttx-hops> <1>";

/// A PUBLISH without properties of its own, as it is forwarded on MQTT 5.
pub(crate) fn sent(script: &str) -> String {
    script.replace("{}", &format!("{{ {VIA} }}"))
}

/// A forwarder with its sessions, and the brokers' ends of their connections.
pub(crate) struct Bridge {
    pub(crate) sessions: SessionManager,
    pub(crate) forwarders: ForwarderManager,
    pub(crate) forwarder: Forwarder,
    pub(crate) source: Peer,
    pub(crate) target: Peer,
    /// The last SUBSCRIBE that the source got.
    pub(crate) subscribe: Vec<u8>,
    pub(crate) brokers: (ScriptedBroker, ScriptedBroker),
}

pub(crate) fn connack(version: Version) -> &'static str {
    match version {
        Version::V5 => "20 { 00 00 {} }",
        Version::V311 => "20 { 00 00 }",
    }
}

pub(crate) fn session(name: &str, broker: &ScriptedBroker, version: Version) -> SessionBuilder {
    SessionOptions::quick_connect(name, broker.url()).protocol(version).reconnect(
        Backoff::new(Duration::from_millis(10), Duration::from_millis(40)).jitter(Jitter::None),
    )
}

/// Answers a SUBSCRIBE of one filter with QoS 1.
pub(crate) async fn grant(peer: &mut Peer, version: Version) -> Vec<u8> {
    let subscribe = peer.expect_type(0x82).await;
    let id = [subscribe[2], subscribe[3]];
    let mut answer = match version {
        Version::V5 => hex("90 04 00 00 00 01"),
        Version::V311 => hex("90 03 00 00 01"),
    };
    answer[2..4].copy_from_slice(&id);
    peer.send_bytes(&answer).await;
    subscribe
}

/// Starts `rules` between "src" and "dst".
pub(crate) async fn bridge(version: Version, rules: ForwarderBuilder) -> Bridge {
    bridge_with(version, rules, 1, |options| options).await
}

/// `filters`: how many the source subscribes.
pub(crate) async fn bridge_with(
    version: Version,
    rules: ForwarderBuilder,
    filters: usize,
    target: impl FnOnce(SessionBuilder) -> SessionBuilder,
) -> Bridge {
    bridge_between((version, version), rules, filters, target).await
}

/// Source and target speak these versions.
pub(crate) async fn bridge_between(
    versions: (Version, Version),
    rules: ForwarderBuilder,
    filters: usize,
    target: impl FnOnce(SessionBuilder) -> SessionBuilder,
) -> Bridge {
    let brokers = (ScriptedBroker::start().await, ScriptedBroker::start().await);
    let sessions = SessionManager::new();
    let source = session("src", &brokers.0, versions.0).build().unwrap();
    sessions.add_session(source).unwrap();
    let target = target(session("dst", &brokers.1, versions.1)).build().unwrap();
    sessions.add_session(target).unwrap();
    let forwarders = ForwarderManager::named(&sessions, "d");
    let forwarder = forwarders.add_forwarder(rules.build().unwrap()).unwrap();
    let (mut source, _) = brokers.0.accept_and_answer(connack(versions.0)).await;
    let (target, _) = brokers.1.accept_and_answer(connack(versions.1)).await;
    let mut subscribe = Vec::new();
    for _ in 0..filters {
        subscribe = grant(&mut source, versions.0).await;
    }
    sessions.wait_for_all_sessions(SOON).await.unwrap();
    Bridge { sessions, forwarders, forwarder, source, target, subscribe, brokers }
}

/// Waits until `reached`; fails the test when that takes too long.
pub(crate) async fn until(what: &str, reached: impl Fn() -> bool) {
    let patience = tokio::time::Instant::now() + SOON;
    while !reached() {
        assert!(tokio::time::Instant::now() < patience, "waited too long until {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

pub(crate) fn assert_balanced(forwarder: &Forwarder) {
    let m = forwarder.metrics();
    let finished = m.forwarded + m.filtered + m.dropped + m.dead_lettered;
    assert_eq!(m.received, finished + m.in_flight, "{m:?}");
}

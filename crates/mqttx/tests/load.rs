//! Many sessions, and sessions that feed each other: nothing hangs and nothing is lost.

#[expect(dead_code, reason = "each of the tests uses a part of the broker")]
mod support;

use std::collections::HashMap;
use std::time::Duration;

use mqttx::{
    Backoff, Message, Outbox, Performance, Publish, QoS, Session, SessionBuilder, SessionManager,
    SessionOptions, Version,
};
use mqttx_test::{Flood, LoadOptions, LoadPeer};
use support::Broker;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

const LONG: Duration = Duration::from_secs(60);

fn options(name: &str, broker: &Broker, version: Version) -> SessionBuilder {
    let quick = Backoff {
        initial: Duration::from_millis(20),
        max: Duration::from_millis(200),
        ..Backoff::default()
    };
    SessionOptions::quick_connect(name, broker.url())
        .client_id(name)
        .protocol(version)
        .reconnect(quick)
}

/// Hands each message on to `to` with one hop less, and reports those that are through.
fn relay(
    from: &Session,
    filter: &str,
    to: &Session,
    topic: &'static str,
    through: UnboundedSender<String>,
) -> mqttx::Route {
    let to = to.clone();
    let handler = move |message: Message| {
        let (to, through) = (to.clone(), through.clone());
        async move {
            let text = message.payload_str().unwrap();
            let (name, hops) = text.split_once(' ').unwrap();
            match hops.parse::<u32>().unwrap() {
                0 => through.send(name.to_owned()).unwrap(),
                left => {
                    let next = Publish::new(topic, format!("{name} {}", left - 1));
                    // Waits for the acknowledgement, in the handler.
                    to.publish_message(next.qos(QoS::AtLeastOnce)).await.unwrap();
                }
            }
        }
    };
    from.route(filter).capacity(1).handle_async(handler).unwrap()
}

#[tokio::test]
async fn two_sessions_that_feed_each_other_with_full_queues_never_deadlock() {
    const MESSAGES: usize = 200;
    for version in [Version::V5, Version::V311] {
        let broker = Broker::start_for(version).await;
        let manager = SessionManager::new();
        let [a, b, source] = ["a", "b", "source"].map(|name| {
            let small = Outbox { messages: Some(1), ..Outbox::default() };
            let options = options(name, &broker, version).outbox(small).build().unwrap();
            manager.add_session(options).unwrap()
        });
        let (through, mut arrived) = unbounded_channel();
        let _ping = relay(&a, "ping", &b, "pong", through.clone());
        let _pong = relay(&b, "pong", &a, "ping", through);
        manager.wait_for_all_sessions(LONG).await.unwrap();
        let feeding = tokio::spawn(async move {
            for i in 0..MESSAGES {
                let text = format!("{i} 9");
                source.publish("ping", text, QoS::AtLeastOnce, false).await.unwrap();
            }
        });
        let mut seen: HashMap<String, usize> = HashMap::new();
        while seen.len() < MESSAGES {
            let name = tokio::time::timeout(LONG, arrived.recv()).await.expect("no deadlock");
            *seen.entry(name.unwrap()).or_default() += 1;
        }
        feeding.await.unwrap();
        assert!(seen.values().all(|count| *count == 1), "protocol {version}: once each");
        assert!(manager.shutdown(LONG).await.clean, "protocol {version}");
    }
}

#[tokio::test]
async fn every_delivery_of_many_sessions_resolves_while_the_broker_comes_and_goes() {
    const SESSIONS: usize = 200;
    const EACH: usize = 5;
    let broker = Broker::start().await;
    let manager = SessionManager::builder().connect_rate(5_000).build();
    let sessions: Vec<Session> = (0..SESSIONS)
        .map(|i| {
            let options = options(&format!("dev-{i:05}"), &broker, Version::V5).build().unwrap();
            manager.add_session(options).unwrap()
        })
        .collect();
    let mut deliveries = Vec::new();
    for round in 0..EACH {
        for session in &sessions {
            let text = format!("{} {round}", session.name());
            let message = Publish::new("up", text).qos(QoS::AtLeastOnce);
            deliveries.push(session.try_publish(message).unwrap());
        }
        // Somewhere in the middle of connecting, publishing and acknowledging.
        broker.until(|b| b.clients() > SESSIONS / 2).await;
        broker.cut();
    }
    for delivery in deliveries {
        tokio::time::timeout(LONG, delivery).await.expect("no delivery hangs").unwrap();
    }
    assert!(broker.published("up") >= SESSIONS * EACH);
    manager.wait_for_all_sessions(LONG).await.unwrap();
    let metrics = manager.metrics();
    assert_eq!((metrics.sessions, metrics.connected), (SESSIONS, SESSIONS));
    assert!(metrics.reconnects > 0);
    assert!(manager.shutdown(LONG).await.clean);
}

#[tokio::test]
async fn connections_start_at_the_rate_of_the_manager() {
    let broker = Broker::start().await;
    let manager = SessionManager::builder().connect_rate(100).build();
    let begun = tokio::time::Instant::now();
    let mut events = manager.events_matching(mqttx::EventName::SessionConnected);
    for i in 0..30 {
        let options = options(&format!("s{i}"), &broker, Version::V5).build().unwrap();
        manager.add_session(options).unwrap();
    }
    for _ in 0..30 {
        tokio::time::timeout(LONG, events.next()).await.unwrap().unwrap();
    }
    // A burst of ten, then twenty at ten milliseconds each. A busy machine may be late, never early.
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(150), "a storm: {took:?}");
}

/// A driver gives way after a number of turns and may go on on another thread: nothing stays behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_over_many_turns_is_acknowledged_to_the_last_message() {
    const MESSAGES: u64 = 60_000;
    for qos in [1, 2] {
        let (topics, window) = (vec!["load".to_owned()], 20_000);
        let flood = Flood { topics, payload: 16, qos, messages: MESSAGES, window };
        let peer = LoadPeer::start(LoadOptions { flood: Some(flood), ..LoadOptions::default() });
        let manager = SessionManager::new();
        let options = SessionOptions::quick_connect("s", peer.url())
            .performance(Performance { read_buffer: 4096, ..Performance::default() })
            .receive_maximum(None)
            .build()
            .unwrap();
        let session = manager.add_session(options).unwrap();
        let route = session.route("load").qos(QoS::ExactlyOnce).inline(|_| {}).unwrap();
        let all = peer.wait_for(|counters| counters.acknowledged == MESSAGES);
        tokio::time::timeout(LONG, all).await.expect("every message is acknowledged");
        assert_eq!(route.stats().handled, MESSAGES);
    }
}

/// A source that floods QoS 0, a target, and a forwarder between them.
async fn flooded(
    messages: u64,
) -> (LoadPeer, LoadPeer, SessionManager, mqttx::ForwarderManager, mqttx::Forwarder) {
    let flood = Flood { topics: vec!["bench/a".into()], payload: 64, qos: 0, messages, window: 1 };
    let source = LoadPeer::start(LoadOptions { flood: Some(flood), ..LoadOptions::default() });
    let target = LoadPeer::start(LoadOptions::default());
    let manager = SessionManager::new();
    for (name, peer) in [("source", &source), ("target", &target)] {
        // Little room, so that the target is full again and again.
        let small = Outbox { messages: Some(50), ..Outbox::default() };
        let options = SessionOptions::quick_connect(name, peer.url()).outbox(small);
        manager.add_session(options.build().unwrap()).unwrap();
    }
    manager.wait_for_all_sessions(LONG).await.unwrap();
    let forwarders = mqttx::ForwarderManager::new(&manager);
    let options = mqttx::ForwarderBuilder::new("through")
        .source("source", "bench/#")
        .target("target")
        .qos0_queue(10_000);
    let forwarder = forwarders.add_forwarder(options.build().unwrap()).unwrap();
    forwarder.start().await.unwrap();
    (source, target, manager, forwarders, forwarder)
}

/// A source that is faster than the target is read more slowly: QoS 0 waits in the socket, and nothing is dropped.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_qos_0_through_a_forwarder_loses_nothing_while_the_target_is_there() {
    const MESSAGES: u64 = 100_000;
    let (_source, target, _manager, _forwarders, forwarder) = flooded(MESSAGES).await;
    let all = target.wait_for(|counters| counters.publishes == MESSAGES);
    let arrived = tokio::time::timeout(LONG, all).await;
    assert!(arrived.is_ok(), "{:?}, {:?}", target.counters(), forwarder.metrics());
    assert_eq!(forwarder.metrics().dropped, 0);
}

/// A target that leaves holds nobody back: the source is read to the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_qos_0_does_not_wait_for_a_target_that_left() {
    const MESSAGES: u64 = 400_000;
    let (source, target, _manager, _forwarders, forwarder) = flooded(MESSAGES).await;
    target.wait_for(|counters| counters.publishes > 5000).await;
    drop(target);
    let all = source.wait_for(|counters| counters.flooded == MESSAGES);
    let read = tokio::time::timeout(LONG, all).await;
    assert!(read.is_ok(), "{:?}, {:?}", source.counters(), forwarder.metrics());
}

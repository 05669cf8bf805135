//! The library against the broker of another library, which needs nothing installed: a second opinion beside Mosquitto.
//!
//! It is here and not with the library since this crate builds that broker anyway, for the demo.

use std::time::Duration;

use mqttx::auth::{Credentials, Scram};
use mqttx::{
    Backoff, ForwarderBuilder, ForwarderManager, MessageStream, Publish, QoS, ReasonCode, Session,
    SessionBuilder, SessionManager, SessionOptions, SessionStatus, Version,
};
use mqttx_test::InProcessBroker;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(20);
const VERSIONS: [Version; 2] = [Version::V311, Version::V5];
const LEVELS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

fn options(name: &str, broker: &str, version: Version) -> SessionBuilder {
    let backoff = Backoff::new(Duration::from_millis(20), Duration::from_millis(200));
    SessionOptions::quick_connect(name, broker).protocol(version).reconnect(backoff)
}

fn persistent(name: &str, broker: &str, version: Version) -> SessionBuilder {
    options(name, broker, version).client_id(name).persistent(true)
}

fn add(manager: &SessionManager, options: SessionBuilder) -> Session {
    manager.add_session(options.build().unwrap()).unwrap()
}

/// Waits until `ok`; what concerns sessions is told by events.
async fn until(manager: &SessionManager, ok: impl Fn() -> bool) {
    let mut events = manager.events();
    while !ok() {
        timeout(PATIENCE, events.next()).await.expect("an event in time").unwrap();
    }
}

async fn text(stream: &mut MessageStream) -> String {
    let message = timeout(PATIENCE, stream.next()).await.expect("a message in time").unwrap();
    stream.done();
    message.payload_str().unwrap().to_owned()
}

#[tokio::test]
async fn payloads_of_every_size_arrive_unchanged_at_every_qos() {
    let broker = InProcessBroker::start().await;
    for version in VERSIONS {
        let manager = SessionManager::new();
        let publisher = add(&manager, options("publisher", &broker.url(), version));
        let subscriber = add(&manager, options("subscriber", &broker.url(), version));
        let mut messages = subscriber.route("t/+").qos(QoS::ExactlyOnce).listen().unwrap();
        manager.wait_for_all_sessions(PATIENCE).await.unwrap();
        for qos in LEVELS {
            for size in [0, 1, 127, 128, 4096, 65_536, 1 << 20] {
                let payload: Vec<u8> = (0..size).map(|i: u32| (i * 7 % 251) as u8).collect();
                publisher.publish("t/x", payload.clone(), qos, false).await.unwrap();
                let message = timeout(PATIENCE, messages.next()).await.unwrap().unwrap();
                assert_eq!(message.qos(), qos);
                assert!(message.payload() == payload, "{size} bytes at {qos:?} in {version:?}");
            }
        }
    }
}

#[tokio::test]
async fn messages_arrive_once_and_in_order_at_every_qos() {
    let broker = InProcessBroker::start().await;
    for version in VERSIONS {
        let manager = SessionManager::new();
        let session = add(&manager, options("s", &broker.url(), version));
        let mut messages = session.route("t").qos(QoS::ExactlyOnce).listen().unwrap();
        session.wait_ready(PATIENCE).await.unwrap();
        for qos in LEVELS {
            for i in 0..1000 {
                let message = Publish::new("t", i.to_string()).qos(qos);
                drop(session.enqueue(message).await.unwrap());
            }
            for i in 0..1000 {
                assert_eq!(text(&mut messages).await, i.to_string(), "{qos:?} in {version:?}");
            }
        }
        session.flush(PATIENCE).await.unwrap();
        assert_eq!((session.metrics().errors, session.metrics().duplicates_received), (0, 0));
    }
}

#[tokio::test]
async fn messages_queued_while_away_arrive_once() {
    let broker = InProcessBroker::start().await;
    for version in VERSIONS {
        let manager = SessionManager::new();
        let name = format!("away-{version:?}");
        let away = add(&manager, persistent(&name, &broker.url(), version));
        let publisher = add(&manager, options("publisher", &broker.url(), version));
        let mut messages = away.route(&name).qos(QoS::ExactlyOnce).listen().unwrap();
        manager.wait_for_all_sessions(PATIENCE).await.unwrap();
        for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
            away.disconnect().await;
            for i in 0..100 {
                publisher.publish(&name, i.to_string(), qos, false).await.unwrap();
            }
            away.connect();
            for i in 0..100 {
                assert_eq!(text(&mut messages).await, i.to_string(), "{qos:?} in {version:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_retained_message_comes_at_subscription() {
    let broker = InProcessBroker::start().await;
    for version in VERSIONS {
        let manager = SessionManager::new();
        let session = add(&manager, options("s", &broker.url(), version));
        session.publish("state", "on", QoS::AtLeastOnce, true).await.unwrap();
        let mut messages = session.listen("state").unwrap();
        let message = timeout(PATIENCE, messages.next()).await.unwrap().unwrap();
        assert_eq!((message.payload(), message.retain()), (&b"on"[..], true));
        session.publish("state", "", QoS::AtLeastOnce, true).await.unwrap();
    }
}

#[tokio::test]
async fn overlapping_filters_bring_each_route_each_message_once() {
    let broker = InProcessBroker::start().await;
    let manager = SessionManager::new();
    let session = add(&manager, options("s", &broker.url(), Version::V5));
    let mut streams: Vec<_> =
        ["a/#", "a/+", "a/b"].iter().map(|f| session.listen(f).unwrap()).collect();
    session.wait_ready(PATIENCE).await.unwrap();
    for i in 0..50 {
        session.publish("a/b", i.to_string(), QoS::AtLeastOnce, false).await.unwrap();
    }
    for i in 0..50 {
        for stream in &mut streams {
            assert_eq!(text(stream).await, i.to_string());
        }
    }
}

#[tokio::test]
async fn the_loser_of_a_takeover_fails_with_the_reason() {
    let broker = InProcessBroker::start().await;
    let (losers, winners) = (SessionManager::new(), SessionManager::new());
    let loser = add(&losers, persistent("plant", &broker.url(), Version::V5));
    loser.wait_ready(PATIENCE).await.unwrap();
    let winner = add(&winners, persistent("plant", &broker.url(), Version::V5));
    winner.wait_ready(PATIENCE).await.unwrap();
    until(&losers, || loser.status() == SessionStatus::Failed).await;
    let error = loser.last_error().unwrap();
    assert_eq!(error.reason_code(), Some(ReasonCode::SESSION_TAKEN_OVER));
    assert!(!error.is_temporary());
    winner.publish("t", "x", QoS::AtLeastOnce, false).await.unwrap();
    assert_eq!(winner.metrics().reconnects, 0);
}

#[tokio::test]
async fn a_broker_that_forgot_everything_gets_the_unfinished_messages_again() {
    for version in VERSIONS {
        let broker = InProcessBroker::start().await;
        let (address, url) = (broker.address(), broker.url());
        let manager = SessionManager::new();
        let session = add(&manager, persistent("s", &url, version));
        let mut messages = session.route("t").qos(QoS::ExactlyOnce).listen().unwrap();
        session.wait_ready(PATIENCE).await.unwrap();
        broker.stop().await;
        until(&manager, || !session.is_connected()).await;
        let deliveries = [QoS::AtLeastOnce, QoS::ExactlyOnce]
            .map(|qos| session.try_publish(Publish::new("t", "first").qos(qos)).unwrap());
        let _broker = InProcessBroker::start_at(address).await;
        for delivery in deliveries {
            timeout(PATIENCE, delivery).await.expect("none hangs").unwrap();
        }
        // The first ones may have been there before the subscription was back.
        session.wait_ready(PATIENCE).await.unwrap();
        session.publish("t", "end", QoS::ExactlyOnce, false).await.unwrap();
        while text(&mut messages).await != "end" {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forwarder_loses_nothing_when_its_target_stops_and_returns() {
    let (source, target) = (InProcessBroker::start().await, InProcessBroker::start().await);
    let (address, url) = (target.address(), target.url());
    let manager = SessionManager::new();
    let publisher = add(&manager, options("publisher", &source.url(), Version::V5));
    add(&manager, persistent("source", &source.url(), Version::V5));
    // It comes back last, when its observer is there.
    let to = add(&manager, options("target", &url, Version::V5).auto_reconnect(false));
    let observer = add(&manager, options("observer", &url, Version::V5));
    let mut arrived = observer.route("out/#").capacity(10_000).listen().unwrap();
    let forwarders = ForwarderManager::new(&manager);
    let rules = ForwarderBuilder::new("f")
        .source("source", "in/+")
        .target("target")
        .map_topic("in/+", "out/{1}");
    let forwarder = forwarders.add_forwarder(rules.window(8).build().unwrap()).unwrap();
    manager.wait_for_all_sessions(PATIENCE).await.unwrap();

    let publishing = tokio::spawn(async move {
        for i in 0..2000 {
            let message = Publish::new("in/x", i.to_string()).qos(QoS::AtLeastOnce);
            drop(publisher.enqueue(message).await.unwrap());
        }
        publisher.flush(PATIENCE).await.unwrap();
    });
    let mut seen = vec![false; 2000];
    for _ in 0..500 {
        seen[text(&mut arrived).await.parse::<usize>().unwrap()] = true;
    }
    target.stop().await;
    publishing.await.unwrap();
    until(&manager, || to.status() == SessionStatus::Failed && !observer.is_connected()).await;
    let _target = InProcessBroker::start_at(address).await;
    observer.wait_ready(PATIENCE).await.unwrap();
    to.connect();
    // What the target had acknowledged is on its way to the observer or died with the target.
    let acknowledged = forwarder.metrics().forwarded;
    while !seen[1999] {
        seen[text(&mut arrived).await.parse::<usize>().unwrap()] = true;
    }
    let lost: Vec<_> = (0..2000).filter(|&i| !seen[i]).collect();
    assert!(lost.iter().all(|&i| (i as u64) < acknowledged), "{acknowledged}: {lost:?}");
    assert_eq!(forwarder.stop(PATIENCE).await, 0);
    let metrics = forwarder.metrics();
    assert_eq!((metrics.dropped, metrics.received), (0, metrics.forwarded));
}

#[tokio::test]
async fn scram_is_understood_also_a_second_time_on_one_connection() {
    let broker = InProcessBroker::start_with_scram("user", "pencil").await;
    let manager = SessionManager::new();
    let scram = Scram::sha256(Credentials::new("user", "pencil"));
    let options = options("scram", &broker.url(), Version::V5).client_id("scram");
    let session = add(&manager, options.authenticator(scram));
    let mut messages = session.route("t").qos(QoS::AtLeastOnce).listen().unwrap();
    session.wait_ready(PATIENCE).await.unwrap();
    session.publish("t", "one", QoS::AtLeastOnce, false).await.unwrap();
    assert_eq!(text(&mut messages).await, "one");
    timeout(PATIENCE, session.reauthenticate()).await.unwrap().unwrap();
    session.publish("t", "two", QoS::AtLeastOnce, false).await.unwrap();
    assert_eq!(text(&mut messages).await, "two");
    session.reconnect();
    until(&manager, || session.metrics().reconnects == 1).await;
    session.wait_ready(PATIENCE).await.unwrap();
}

#[tokio::test]
async fn scram_with_another_password_or_user_is_refused() {
    let broker = InProcessBroker::start_with_scram("user", "pencil").await;
    for (user, password) in [("user", "pen"), ("nobody", "pencil")] {
        let manager = SessionManager::new();
        let scram = Scram::sha256(Credentials::new(user, password));
        let options = options("scram", &broker.url(), Version::V5).client_id(user);
        let session = add(&manager, options.authenticator(scram));
        let error = session.wait_connected(PATIENCE).await.unwrap_err();
        assert_eq!(error.reason_code(), Some(ReasonCode::NOT_AUTHORIZED), "{error}");
        assert_eq!(session.status(), SessionStatus::Failed);
    }
}

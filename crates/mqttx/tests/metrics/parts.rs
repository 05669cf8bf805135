//! What forwarders and stores count.

use std::time::Duration;

use mqttx::store::Store as _;
use mqttx::{
    FileStore, Filter, ForwardDrop, ForwarderBuilder, ForwarderManager, ForwarderState, Publish,
    QoS, RuleFailure, SessionManager, SessionOptions, Transform,
};
use mqttx_test::{ScriptedBroker, TempDir};

use super::counting::until;
use super::{PATIENCE, read};

const ACCEPTED: &str = "20 { 00 00 {} }";

/// What the forwarder "fw" of the manager "d" says of its way.
const VIA: &str = "26 <mqttx-via> <d/fw> 26 <mqttx-hops> <1>";

fn session(broker: &ScriptedBroker, name: &str) -> SessionOptions {
    SessionOptions::quick_connect(name, broker.url()).client_id(name).build().expect("valid")
}

#[tokio::test]
async fn a_pause_keeps_what_fits_and_counts_what_does_not() {
    let brokers = (ScriptedBroker::start().await, ScriptedBroker::start().await);
    let manager = SessionManager::new();
    manager.add_session(session(&brokers.0, "src")).unwrap();
    manager.add_session(session(&brokers.1, "dst")).unwrap();
    let (mut source, _) = brokers.0.accept_and_answer(ACCEPTED).await;
    let (mut target, _) = brokers.1.accept_and_answer(ACCEPTED).await;
    manager.wait_for_all_sessions(PATIENCE).await.unwrap();
    let forwarders = ForwarderManager::named(&manager, "d");
    let rule = ForwarderBuilder::new("fw").source("src", "a/#").target("dst").qos0_queue(2);
    let forwarder = forwarders.add_forwarder(rule.build().unwrap()).unwrap();
    source.expect_type(0x82).await;
    source.send("90 { 00 01 {} 01 }").await;

    forwarder.pause().await;
    assert_eq!(forwarder.state(), ForwarderState::Paused);
    let qos0 = "30 { <a> {} 'x' }";
    source.send(&format!("32 {{ <a/1> 00 07 {{}} '1' }} {qos0} {qos0} {qos0}")).await;
    until("all arrived", || forwarder.metrics().received == 4).await;
    let paused = forwarder.metrics();
    assert_eq!((paused.queued, paused.in_flight, paused.dropped), (3, 3, 1));
    assert_eq!(paused.dropped_by_reason, [(ForwardDrop::QueueFull, 1)]);
    assert!(paused.lag > Duration::ZERO && paused.latency_seconds.count == 0);
    let shown = read(&manager.snapshot().with_forwarders(&forwarders));
    let dropped = [("forwarder", "fw"), ("reason", "queue_full")];
    assert_eq!(shown.value("mqtt_forwarder_dropped_total", &dropped), Some(1.0));
    assert_eq!(shown.value("mqtt_forwarder_running", &[("forwarder", "fw")]), Some(0.0));

    forwarder.start().await.unwrap();
    target.expect(&format!("32 {{ <a/1> 00 01 {{ {VIA} }} '1' }}")).await;
    for _ in 0..2 {
        target.expect(&format!("30 {{ <a> {{ {VIA} }} 'x' }}")).await;
    }
    target.send("40 { 00 01 }").await;
    source.expect("40 { 00 07 }").await;
    until("all are forwarded", || forwarder.metrics().forwarded == 3).await;
    let done = forwarder.metrics();
    assert_eq!((done.queued, done.lag, done.in_flight), (0, Duration::ZERO, 0));
    assert_eq!(done.latency_seconds.count, 1, "the first one is timed");
    assert_eq!(done.received, done.forwarded + done.filtered + done.dropped + done.dead_lettered);
}

#[tokio::test]
async fn what_the_rules_do_is_shown_and_adds_up() {
    let brokers = (ScriptedBroker::start().await, ScriptedBroker::start().await);
    let manager = SessionManager::new();
    manager.add_session(session(&brokers.0, "src")).unwrap();
    manager.add_session(session(&brokers.1, "dst")).unwrap();
    let (mut source, _) = brokers.0.accept_and_answer(ACCEPTED).await;
    let (mut target, _) = brokers.1.accept_and_answer(ACCEPTED).await;
    manager.wait_for_all_sessions(PATIENCE).await.unwrap();
    let forwarders = ForwarderManager::named(&manager, "d");
    let change = |message: Publish| match &*message.payload {
        b"bad" => Err(RuleFailure::new("bad")),
        b"none" => Ok(None),
        _ => Ok(Some(message)),
    };
    let rule = ForwarderBuilder::new("fw")
        .source("src", "a/#")
        .target("dst")
        .filter(Filter::from_fn(|message| message.topic() != "a/no"))
        .transform(Transform::try_from_fn(change))
        .dead_letter("dst", "dlq");
    forwarders.add_forwarder(rule.build().unwrap()).unwrap();
    source.expect_type(0x82).await;
    source.send("90 { 00 01 {} 01 }").await;

    let left_out = "30 { <a/no> {} 'x' }";
    let looped = format!("30 {{ <a/x> {{ {VIA} }} 'x' }}");
    source.send(&format!("{left_out} {looped} 30 {{ <a/x> {{}} 'none' }}")).await;
    source.send("32 { <a/x> 00 07 {} 'bad' }").await;
    target.expect_type(0x32).await;
    target.send("40 { 00 01 }").await;
    source.expect("40 { 00 07 }").await;
    source.send("32 { <a/x> 00 08 {} 'x' }").await;
    target.expect_type(0x32).await;

    let shown = read(&manager.snapshot().with_forwarders(&forwarders));
    let value = |name: &str| {
        let name = format!("mqtt_forwarder_{name}");
        shown.value(&name, &[("forwarder", "fw")]).unwrap_or_else(|| panic!("{name}"))
    };
    for reason in ForwardDrop::ALL {
        let labels = [("forwarder", "fw"), ("reason", reason.as_str())];
        let count = shown.value("mqtt_forwarder_dropped_total", &labels);
        let expected = matches!(reason, ForwardDrop::Loop | ForwardDrop::Discarded);
        assert_eq!(count, Some(f64::from(u8::from(expected))), "{reason:?}");
    }
    let parts = [
        value("forwarded_total"),
        value("filtered_total"),
        shown.sum("mqtt_forwarder_dropped_total", &[("forwarder", "fw")]),
        value("dead_lettered_total"),
        value("in_flight"),
    ];
    assert_eq!((parts, value("received_total")), ([0.0, 1.0, 2.0, 1.0, 1.0], 5.0));
}

#[tokio::test]
async fn a_file_store_times_its_syncs_and_counts_its_groups() {
    let files = TempDir::new("metrics");
    let store = FileStore::new(files.path());
    assert_eq!((store.metrics().kind, store.metrics().records), ("file", 0));
    let manager = SessionManager::new();
    let options = SessionOptions::quick_connect("s", "mqtt://127.0.0.1:1").client_id("s");
    let options = options.manual_connect(true).storage(store.clone()).build().unwrap();
    let session = manager.add_session(options).unwrap();
    for _ in 0..3 {
        let message = Publish::new("a", "x").qos(QoS::ExactlyOnce);
        // The delivery is not awaited: the session is offline.
        drop(session.enqueue(message).await.unwrap());
    }
    let shown = read(&manager.snapshot().with_store("disk", &store));
    let labels = [("store", "disk"), ("kind", "file")];
    let value = |name: &str| shown.value(name, &labels).unwrap();
    assert!(value("mqtt_store_records_total") >= 3.0);
    assert!(value("mqtt_store_sync_seconds_count") >= 1.0);
    assert!(value("mqtt_store_sync_seconds_sum") > 0.0);
    assert!(value("mqtt_store_group_records_count") >= 1.0);
    assert!(value("mqtt_store_written_bytes_total") > 0.0);
    assert!(value("mqtt_store_bytes") > 0.0);
    assert_eq!((value("mqtt_store_available"), value("mqtt_store_full")), (1.0, 0.0));
    assert_eq!(value("mqtt_store_errors_total"), 0.0);
    manager.shutdown(Duration::ZERO).await;
}

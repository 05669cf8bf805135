//! What forwarders and stores count.

use std::time::Duration;

use mqttx::store::Store as _;
use mqttx::{
    FileStore, ForwardDrop, ForwarderBuilder, ForwarderManager, ForwarderState, Publish, QoS,
    SessionManager, SessionOptions,
};
use mqttx_test::{ScriptedBroker, TempDir};

use super::counting::until;
use super::{PATIENCE, read};

const ACCEPTED: &str = "20 { 00 00 {} }";

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
    let forwarders = ForwarderManager::new(&manager);
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
    target.expect("32 { <a/1> 00 01 {} '1' }").await;
    target.expect(qos0).await;
    target.expect(qos0).await;
    target.send("40 { 00 01 }").await;
    source.expect("40 { 00 07 }").await;
    until("all are forwarded", || forwarder.metrics().forwarded == 3).await;
    let done = forwarder.metrics();
    assert_eq!((done.queued, done.lag, done.in_flight), (0, Duration::ZERO, 0));
    assert_eq!(done.latency_seconds.count, 1, "the first one is timed");
    assert_eq!(done.received, done.forwarded + done.filtered + done.dropped + done.dead_lettered);
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

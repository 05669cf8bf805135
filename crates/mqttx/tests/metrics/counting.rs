//! Which packet counts where.

use std::time::Duration;

use mqttx::{
    Backoff, Jitter, Property, Publish, QoS, Session, SessionBuilder, SessionManager,
    SessionOptions,
};
use mqttx_test::{Peer, ScriptedBroker, hex};

use super::{PATIENCE, offline, shown};

const ACCEPTED: &str = "20 { 00 00 {} }";
const PRESENT: &str = "20 { 01 00 {} }";

fn options(broker: &ScriptedBroker, name: &str) -> SessionBuilder {
    let backoff =
        Backoff { initial: Duration::from_millis(1), ..Backoff::default() }.jitter(Jitter::None);
    SessionOptions::quick_connect(name, broker.url()).client_id(name).reconnect(backoff)
}

async fn connected(manager: &SessionManager, broker: &ScriptedBroker) -> (Session, Peer) {
    let session = manager.add_session(options(broker, "s").build().unwrap()).unwrap();
    let (peer, _) = broker.accept_and_answer(ACCEPTED).await;
    session.wait_connected(PATIENCE).await.unwrap();
    (session, peer)
}

/// Waits until a session shows what is wanted: what the driver counts is there at the end of its turn.
pub(crate) async fn until(what: &str, ok: impl Fn() -> bool) {
    let waited = async {
        while !ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, waited).await.unwrap_or_else(|_| panic!("not: {what}"));
}

#[tokio::test]
async fn a_message_counts_with_the_bytes_of_its_whole_packet() {
    let broker = ScriptedBroker::start().await;
    let manager = SessionManager::new();
    let (session, mut peer) = connected(&manager, &broker).await;
    let sent = "32 { <a/b> 00 01 { 26 <k> <v> } 'hello' }";
    let mut message = Publish::new("a/b", "hello").qos(QoS::AtLeastOnce);
    message.properties.push(Property::UserProperty("k", "v")).unwrap();
    let delivery = session.enqueue(message).await.unwrap();
    peer.expect(sent).await;
    peer.send("40 { 00 01 }").await;
    delivery.await.unwrap();
    session.publish("a", "x", QoS::AtMostOnce, false).await.unwrap();
    peer.expect("30 { <a> {} 'x' }").await;

    let _route = session.handle("in/#", |_| ()).unwrap();
    peer.expect_type(0x82).await;
    let received = "32 { <in/x> 00 05 { 26 <key> <value> } 'payload' }";
    peer.send(received).await;
    peer.expect("40 { 00 05 }").await;
    // The same again: a duplicate, and no further message.
    peer.send("3a { <in/x> 00 05 { 26 <key> <value> } 'payload' }").await;
    peer.expect("40 { 00 05 }").await;

    let now = shown(&manager);
    let value = |name: &str| now.value(name, &[("session", "s")]).unwrap();
    assert_eq!(value("mqtt_session_messages_sent_total"), 2.0);
    let bytes = hex(sent).len() + hex("30 { <a> {} 'x' }").len();
    assert_eq!(value("mqtt_session_bytes_sent_total"), bytes as f64);
    assert_eq!(value("mqtt_session_messages_received_total"), 1.0);
    assert_eq!(value("mqtt_session_bytes_received_total"), hex(received).len() as f64);
    assert_eq!(value("mqtt_session_duplicates_total"), 1.0);
    assert_eq!(value("mqtt_session_connected"), 1.0);
    assert_eq!(value("mqtt_session_status"), 2.0);
    assert_eq!(value("mqtt_session_subscriptions"), 1.0);
    assert_eq!(value("mqtt_session_errors_total"), 0.0);
    assert_eq!(value("mqtt_session_reconnects_total"), 0.0);
    assert!(value("mqtt_session_last_message_timestamp_seconds") > 1.7e9);
    assert_eq!(now.value("mqtt_ack_seconds_count", &[]), Some(1.0));
    assert_eq!(now.value("mqtt_handshake_seconds_count", &[]), Some(1.0));
    assert_eq!(now.value("mqtt_connect_seconds_count", &[]), Some(1.0));
    assert_eq!(now.value("mqtt_connects_total", &[("code", "0x00")]), Some(1.0));
    assert_eq!(session.broker(), broker.url());
}

#[tokio::test]
async fn a_lost_connection_is_one_error_and_a_resend_is_no_message() {
    let broker = ScriptedBroker::start().await;
    let manager = SessionManager::new();
    let (session, mut peer) = connected(&manager, &broker).await;
    let delivery = session.enqueue(Publish::new("a", "x").qos(QoS::AtLeastOnce)).await.unwrap();
    peer.expect("32 { <a> 00 01 {} 'x' }").await;
    peer.close().await;
    let (mut peer, _) = broker.accept_and_answer(PRESENT).await;
    peer.expect("3a { <a> 00 01 {} 'x' }").await;
    peer.send("40 { 00 01 }").await;
    delivery.await.unwrap();

    let now = shown(&manager);
    let value = |name: &str| now.value(name, &[("session", "s")]).unwrap();
    assert_eq!(value("mqtt_session_messages_sent_total"), 1.0);
    assert_eq!(value("mqtt_session_resends_total"), 1.0);
    assert_eq!(value("mqtt_session_errors_total"), 1.0);
    assert_eq!(value("mqtt_session_reconnects_total"), 1.0);
    assert!(value("mqtt_session_last_error_timestamp_seconds") > 1.7e9);
    assert_eq!(now.value("mqtt_disconnects_total", &[("code", "none")]), Some(1.0));
    assert_eq!(now.value("mqtt_connects_total", &[("code", "0x00")]), Some(2.0));
}

#[tokio::test]
async fn a_refusal_counts_by_its_code_and_is_one_error() {
    let broker = ScriptedBroker::start().await;
    let manager = SessionManager::new();
    let session = manager.add_session(options(&broker, "s").build().unwrap()).unwrap();
    broker.accept_and_answer("20 { 00 87 {} }").await;
    assert!(session.wait_connected(PATIENCE).await.is_err());
    let now = shown(&manager);
    assert_eq!(now.value("mqtt_session_errors_total", &[("session", "s")]), Some(1.0));
    assert_eq!(now.value("mqtt_session_status", &[("session", "s")]), Some(4.0));
    let refused = [("code", "0x87"), ("reason", "Not authorized")];
    assert_eq!(now.value("mqtt_connects_total", &refused), Some(1.0));
    assert_eq!(now.value("mqtt_connects_total", &[("code", "0x00")]), Some(0.0));
}

#[tokio::test]
async fn counters_do_not_go_back_when_a_session_is_removed_and_comes_again() {
    let broker = ScriptedBroker::start().await;
    let manager = SessionManager::new();
    let mut all = 0.0_f64;
    for round in 1..=3 {
        let (session, mut peer) = connected(&manager, &broker).await;
        session.publish("a", "x", QoS::AtMostOnce, false).await.unwrap();
        peer.expect("30 { <a> {} 'x' }").await;
        until("it counts", || session.metrics().messages_sent == round).await;
        let now = shown(&manager);
        let sent = now.value("mqtt_session_messages_sent_total", &[("session", "s")]).unwrap();
        assert_eq!(sent, round as f64);
        let removal = tokio::spawn({
            let manager = manager.clone();
            async move { manager.remove_session("s").await }
        });
        // Whenever somebody looks meanwhile: the sum stays.
        while !removal.is_finished() {
            let sum = manager.metrics().messages_sent as f64;
            assert!(sum >= all.max(sent), "{sum} after {sent}");
            all = sum;
            tokio::task::yield_now().await;
        }
        removal.await.unwrap().unwrap();
        assert_eq!(manager.metrics().messages_sent, round);
        assert_eq!(shown(&manager).samples("mqtt_session_messages_sent_total").count(), 0);
    }
    let report = manager.shutdown(PATIENCE).await;
    assert!(report.clean);
    assert_eq!(manager.metrics().messages_sent, 3, "the figures survive the end");
}

#[tokio::test]
async fn a_removal_that_is_given_up_keeps_its_figures() {
    let manager = SessionManager::new();
    let session = manager.add_session(offline("s")).unwrap();
    {
        let removal = manager.remove_session("s");
        let mut removal = std::pin::pin!(removal);
        // Begun, then dropped.
        let waker = std::task::Waker::noop();
        let mut cx = std::task::Context::from_waker(waker);
        let _ = std::future::Future::poll(removal.as_mut(), &mut cx);
    }
    assert_eq!(manager.handles().len(), 0);
    drop(session);
    assert_eq!(manager.metrics().messages_sent, 0);
    manager.add_session(offline("s")).unwrap();
    assert_eq!(shown(&manager).samples("mqtt_session_status").count(), 1);
}

//! Sessions whose state outlives them.

use std::time::Duration;

use mqttx::{MemoryStore, Publish, QoS, SessionManager, SessionOptions};
use mqttx_test::ScriptedBroker;

fn options(broker: &ScriptedBroker, store: &MemoryStore) -> SessionOptions {
    SessionOptions::quick_connect("kept", broker.url())
        .client_id("kept")
        .subscription_identifiers(false)
        .receive_maximum(None)
        .storage(store.clone())
        .build()
        .expect("the options are good")
}

#[tokio::test]
async fn unacknowledged_messages_go_out_again_from_the_store_with_their_ids() {
    let broker = ScriptedBroker::start().await;
    let store = MemoryStore::new();
    let manager = SessionManager::new();
    let session = manager.add_session(options(&broker, &store)).expect("a new name");
    let (mut peer, _) = broker.accept_and_answer("20 { 00 00 {} }").await;
    let message = |payload: &str| Publish::new("t", payload.to_owned()).qos(QoS::AtLeastOnce);
    let first = session.enqueue(message("first")).await.expect("accepted");
    peer.expect("32 { <t> 0001 {} 'first' }").await;
    let second = session.enqueue(message("second")).await.expect("accepted");
    peer.expect("32 { <t> 0002 {} 'second' }").await;
    peer.send("40 { 0002 }").await;
    second.await.expect("acknowledged");
    manager.remove_session("kept").await.expect("it exists");
    assert!(first.await.is_err(), "its session is gone");

    let session = manager.add_session(options(&broker, &store)).expect("the name is free again");
    let (mut peer, _) = broker.accept_and_answer("20 { 01 00 {} }").await;
    peer.expect("3a { <t> 0001 {} 'first' }").await;
    peer.send("40 { 0001 }").await;
    session.flush(Duration::from_secs(10)).await.expect("everything is acknowledged");
}

#[tokio::test]
async fn a_second_session_on_the_same_state_ends_the_first() {
    let broker = ScriptedBroker::start().await;
    let store = MemoryStore::new();
    let (one, two) = (SessionManager::new(), SessionManager::new());
    let first = one.add_session(options(&broker, &store)).expect("a new name");
    let (mut peer, _) = broker.accept_and_answer("20 { 00 00 {} }").await;
    let _second = two.add_session(options(&broker, &store)).expect("a new name");
    let published = first.publish("t", "x", QoS::AtLeastOnce, false);
    tokio::select! {
        _ = published => panic!("what cannot be stored is not sent"),
        _ = peer.expect("e0 { 80 }") => {}
    }
    peer.close().await;
    let error = first.wait_connected(Duration::from_secs(10)).await.expect_err("fenced");
    assert!(error.to_string().contains("taken over"), "{error}");
}

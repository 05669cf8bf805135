//! Forwarders to a target whose store is durable: what is stored is safe, wherever the target's broker is.

use std::time::Duration;

use mqttx::{
    Error, EventName, ForwardDrop, ForwarderBuilder, ForwarderManager, SessionBuilder,
    SessionManager, SessionOptions, SessionStatus,
};
use mqttx_test::ScriptedBroker;

use super::manual::ManualStore;

fn session(name: &str, broker: &str) -> SessionBuilder {
    SessionOptions::quick_connect(name, broker)
        .client_id(name)
        .subscription_identifiers(false)
        .receive_maximum(None)
}

#[tokio::test]
async fn the_source_is_acknowledged_once_the_target_has_stored_the_message() {
    let source = ScriptedBroker::start().await;
    let target = ScriptedBroker::start().await;
    let (manager, store) = (SessionManager::new(), ManualStore::new());
    manager.add_session(session("src", &source.url()).build().expect("good")).expect("new");
    let options = session("dst", &target.url()).manual_connect(true).storage(store.clone());
    let dst = manager.add_session(options.build().expect("good")).expect("new");
    let forwarders = ForwarderManager::named(&manager, "d");
    let rule = ForwarderBuilder::new("f").source("src", "a/#").target("dst").topic("b/{#}");
    forwarders.add_forwarder(rule.build().expect("good")).expect("new");
    let (mut peer, _) = source.accept_and_answer("20 { 00 00 {} }").await;
    peer.expect_type(0x82).await;
    peer.send("90 { 0001 {} 01 }").await;
    store.stall();
    peer.send("32 { <a/1> 0001 {} 'one' } 32 { <a/2> 0002 {} 'two' }").await;
    peer.expect_silence(Duration::from_millis(50)).await;
    // The target's broker was never reached.
    store.go_on();
    peer.expect("40 { 0001 }").await;
    peer.expect("40 { 0002 }").await;
    assert_eq!(dst.unacknowledged(), 2);
    dst.connect();
    let (mut peer, _) = target.accept_and_answer("20 { 00 00 {} }").await;
    let via = "{ 26 <mqttx-via> <d/f> 26 <mqttx-hops> <1> }";
    peer.expect(&format!("32 {{ <b/1> 0001 {via} 'one' }}")).await;
    peer.expect(&format!("32 {{ <b/2> 0002 {via} 'two' }}")).await;
}

#[tokio::test]
async fn what_a_failed_store_did_not_keep_comes_again_and_waits_until_the_store_is_back() {
    let source = ScriptedBroker::start().await;
    let (manager, store) = (SessionManager::new(), ManualStore::new());
    let mut changes = manager.events_matching(EventName::SessionStateChanged);
    manager.add_session(session("src", &source.url()).build().expect("good")).expect("new");
    let options = session("dst", "mqtt://127.0.0.1:1").manual_connect(true).storage(store.clone());
    let dst = manager.add_session(options.build().expect("good")).expect("new");
    let forwarders = ForwarderManager::named(&manager, "d");
    let rule = ForwarderBuilder::new("f").source("src", "a/#").target("dst");
    let forwarder = forwarders.add_forwarder(rule.build().expect("good")).expect("new");
    let (mut peer, _) = source.accept_and_answer("20 { 00 00 {} }").await;
    peer.expect_type(0x82).await;
    peer.send("90 { 0001 {} 01 }").await;
    store.stall();
    peer.send("32 { <a/1> 0001 {} 'one' }").await;
    while dst.unacknowledged() == 0 {
        tokio::task::yield_now().await;
    }
    store.fail(Error::store("the disk is gone"));
    // Acknowledgements keep their order: on this connection none could leave behind the one that is missing.
    peer.expect("e0 {}").await;
    let (mut peer, _) = source.accept_and_answer("20 { 01 00 {} }").await;
    peer.send("3a { <a/1> 0001 {} 'one' } 32 { <a/2> 0002 {} 'two' }").await;
    peer.expect_silence(Duration::from_millis(50)).await;
    let metrics = forwarder.metrics();
    assert_eq!(metrics.dropped_by_reason, [(ForwardDrop::StoreFailed, 1)]);
    assert_eq!((metrics.received, metrics.queued), (3, 2));
    while dst.status() != SessionStatus::Failed {
        changes.next().await.expect("another status");
    }
    store.go_on();
    dst.connect();
    peer.expect("40 { 0001 }").await;
    peer.expect("40 { 0002 }").await;
}

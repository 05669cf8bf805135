//! Forwarders to a target whose store is durable: what is stored is safe, wherever the target's broker is.

use std::time::Duration;

use mqttx::{ForwarderBuilder, ForwarderManager, SessionBuilder, SessionManager, SessionOptions};
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

//! Other options for a session that runs, and whether its driver moves.

use std::sync::{Mutex, mpsc};
use std::time::Duration;

use mqttx::{
    Backoff, Jitter, QoS, Session, SessionBuilder, SessionManager, SessionOptions, SessionStatus,
    Version,
};
use mqttx_test::{Peer, ScriptedBroker, hex};

const ACCEPTED: &str = "20 { 00 00 {} }";
const RESUMED: &str = "20 { 01 00 {} }";
const SOON: Duration = Duration::from_secs(10);
/// Long enough for a wrong packet to arrive.
const QUIET: Duration = Duration::from_millis(50);

fn options(broker: &ScriptedBroker) -> SessionBuilder {
    let quick = Backoff::new(Duration::from_millis(10), Duration::from_millis(40));
    SessionOptions::quick_connect("s", broker.url())
        .client_id("c")
        .receive_maximum(None)
        .reconnect(quick.jitter(Jitter::None))
}

async fn connected(broker: &ScriptedBroker) -> (SessionManager, Session, Peer) {
    let manager = SessionManager::new();
    let session = manager.add_session(options(broker).build().expect("valid")).expect("a session");
    let (peer, _) = broker.accept_and_answer(ACCEPTED).await;
    session.wait_ready(SOON).await.expect("ready");
    (manager, session, peer)
}

#[tokio::test]
async fn a_changed_session_reconnects_and_keeps_what_is_in_flight() {
    let broker = ScriptedBroker::start().await;
    let (_manager, session, mut peer) = connected(&broker).await;
    let message = mqttx::Publish::new("t", "hi").qos(QoS::AtLeastOnce);
    let delivery = session.enqueue(message).await.expect("accepted");
    peer.expect("32 { <t> 00 01 {} 'hi' }").await;
    let changed = options(&broker).keep_alive(Duration::from_secs(7)).username("u").password("p");
    assert_eq!(session.reconfigure(changed.build().expect("valid")).ok(), Some(true));
    peer.expect("e0 {}").await;
    let (mut peer, connect) = broker.accept_and_answer(RESUMED).await;
    assert_eq!(connect, hex("10 { <MQTT> 05 c0 00 07 { 11 ff ff ff ff } <c> <u> <p> }"));
    peer.expect("3a { <t> 00 01 {} 'hi' }").await;
    peer.send("40 { 00 01 }").await;
    delivery.await.expect("acknowledged");
    assert_eq!(session.options().keep_alive, Duration::from_secs(7));
}

#[tokio::test]
async fn with_another_client_id_what_is_unfinished_goes_out_as_new() {
    let broker = ScriptedBroker::start().await;
    let (_manager, session, mut peer) = connected(&broker).await;
    let message = mqttx::Publish::new("t", "hi").qos(QoS::AtLeastOnce);
    let delivery = session.enqueue(message).await.expect("accepted");
    peer.expect("32 { <t> 00 01 {} 'hi' }").await;
    let changed = options(&broker).client_id("other").build().expect("valid");
    assert_eq!(session.reconfigure(changed.clone()).ok(), Some(true));
    assert_eq!(session.options().client_id.as_deref(), Some("other"));
    peer.expect("e0 {}").await;
    let (mut peer, connect) = broker.accept_and_answer(ACCEPTED).await;
    assert_eq!(connect, hex("10 { <MQTT> 05 00 00 3c { 11 ff ff ff ff } <other> }"));
    let again = peer.recv_packet().await;
    assert_eq!(again[0], 0x32, "without DUP");
    peer.send_bytes(&[0x40, 2, again[5], again[6]]).await;
    delivery.await.expect("acknowledged");
    assert_eq!(session.client_id(), "other");
    assert_eq!(session.reconfigure(changed).ok(), Some(false));
}

#[tokio::test]
async fn the_same_options_change_nothing() {
    let broker = ScriptedBroker::start().await;
    let (_manager, session, mut peer) = connected(&broker).await;
    assert_eq!(session.reconfigure(options(&broker).build().expect("valid")).ok(), Some(false));
    peer.expect_silence(QUIET).await;
    assert!(session.is_connected());
}

#[tokio::test]
async fn what_makes_it_another_session_is_refused_and_changes_nothing() {
    let broker = ScriptedBroker::start().await;
    let (_manager, session, mut peer) = connected(&broker).await;
    for (builder, part) in [
        (options(&broker).protocol(Version::V311), "the protocol version"),
        (options(&broker).storage(mqttx::MemoryStore::new()), "the store"),
        (SessionOptions::quick_connect("other", broker.url()).client_id("c"), "the name"),
    ] {
        let error = session.reconfigure(builder.build().expect("valid")).expect_err(part);
        assert!(error.to_string().contains(part), "{error}");
        assert_eq!(error.session(), Some("s"));
    }
    let mut unusable = options(&broker).build().expect("valid");
    unusable.brokers.clear();
    let error = session.reconfigure(unusable).expect_err("no broker");
    assert!(error.to_string().contains("brokers"), "{error}");
    peer.expect_silence(QUIET).await;
    assert_eq!(session.options().brokers, [broker.url()]);
}

#[tokio::test]
async fn a_session_moves_to_other_brokers() {
    let (one, other) = (ScriptedBroker::start().await, ScriptedBroker::start().await);
    let (_manager, session, mut peer) = connected(&one).await;
    session.reconfigure(options(&other).build().expect("valid")).expect("changed");
    peer.expect("e0 {}").await;
    peer.expect_closed().await;
    let (_peer, _) = other.accept_and_answer(ACCEPTED).await;
    session.wait_ready(SOON).await.expect("ready");
}

#[tokio::test]
async fn filters_that_are_not_asked_for_any_more_are_unsubscribed() {
    let broker = ScriptedBroker::start().await;
    let manager = SessionManager::new();
    let asked = options(&broker).subscribe("a", QoS::AtLeastOnce).subscribe("b", QoS::AtMostOnce);
    let session = manager.add_session(asked.build().expect("valid")).expect("a session");
    let (mut peer, _) = broker.accept_and_answer(ACCEPTED).await;
    peer.expect("82 { 00 01 { 0b 01 } <a> 01 }").await;
    peer.expect("82 { 00 02 { 0b 02 } <b> 00 }").await;
    peer.send("90 { 00 01 {} 01 } 90 { 00 02 {} 00 }").await;
    session.wait_ready(SOON).await.expect("ready");
    let asked = options(&broker).subscribe("b", QoS::AtMostOnce).subscribe("c", QoS::AtMostOnce);
    session.reconfigure(asked.build().expect("valid")).expect("changed");
    peer.expect_type(0xa2).await;
    peer.expect_type(0x82).await;
    peer.expect("e0 {}").await;
    let (mut peer, _) = broker.accept_and_answer(RESUMED).await;
    // In a session that was kept, what had no answer is asked for again.
    peer.expect_type(0xa2).await;
    peer.expect_type(0x82).await;
    peer.expect_silence(QUIET).await;
}

#[tokio::test]
async fn a_session_at_rest_stays_there_and_one_that_failed_tries_again() {
    let broker = ScriptedBroker::start().await;
    let (_manager, session, mut peer) = connected(&broker).await;
    session.disconnect().await;
    peer.expect("e0 {}").await;
    let changed = options(&broker).keep_alive(Duration::from_secs(7)).build().expect("valid");
    assert_eq!(session.reconfigure(changed).ok(), Some(true));
    assert_eq!(session.status(), SessionStatus::Disconnected);
    session.connect();
    let (_peer, connect) = broker.accept_and_answer("20 { 00 87 {} }").await;
    assert_eq!(connect, hex("10 { <MQTT> 05 00 00 07 { 11 ff ff ff ff } <c> }"));
    session.wait_connected(SOON).await.expect_err("refused");
    assert_eq!(session.status(), SessionStatus::Failed);
    session.reconfigure(options(&broker).build().expect("valid")).expect("changed");
    let (_peer, _) = broker.accept_and_answer(ACCEPTED).await;
    session.wait_connected(SOON).await.expect("connected");
}

#[tokio::test]
async fn a_driver_that_stands_still_has_no_pulse() {
    let broker = ScriptedBroker::start().await;
    // Sessions have a runtime of their own here: a worker that stands still may take the clock with it.
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(1).enable_all().build().expect("a runtime");
    let (manager, session, mut peer) = {
        let manager = SessionManager::new();
        let options = options(&broker).build().expect("valid");
        let session = {
            let _inside = runtime.enter();
            manager.add_session(options).expect("a session")
        };
        let (peer, _) = broker.accept_and_answer(ACCEPTED).await;
        session.wait_ready(SOON).await.expect("ready");
        (manager, session, peer)
    };
    assert!(session.pulse(SOON).await, "it sleeps");
    let (release, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    let (reached, mut stuck) = tokio::sync::mpsc::unbounded_channel();
    let handler = move |_: &mqttx::MessageRef<'_>| {
        let _ = reached.send(());
        let _ = held.lock().expect("not poisoned").recv();
    };
    let route = session.route("t").subscribe(false).inline(handler).expect("a route");
    peer.send("30 { <t> {} 'x' }").await;
    stuck.recv().await.expect("the handler runs");
    assert!(!session.pulse(QUIET).await, "it stands still");
    drop(release);
    assert!(session.pulse(SOON).await, "it moves again");
    session.disconnect().await;
    assert!(session.pulse(SOON).await, "also without a connection");
    drop((route, manager));
    runtime.shutdown_background();
}

//! Authentication again, on a connection that is in use.

use std::time::Duration;

use mqttx::{ErrorKind, EventKind, QoS, ReasonCode, Session, SessionManager};
use mqttx_test::{Peer, ScriptedBroker};

use super::steps::Echo;
use super::{ACCEPTED, SOON, add, options};

async fn online(broker: &ScriptedBroker) -> (SessionManager, Session, Peer) {
    let (manager, session) = add(options(broker).authenticator(Echo::default()));
    let (peer, _) = broker.accept_and_answer("20 { 00 00 { 15 <ECHO> } }").await;
    session.wait_ready(SOON).await.expect("ready");
    (manager, session, peer)
}

#[tokio::test]
async fn messages_go_on_while_the_session_authenticates_again() {
    let broker = ScriptedBroker::start().await;
    let echo = Echo::default();
    let (manager, session) = add(options(&broker).authenticator(echo.clone()));
    let (mut peer, _) = broker.accept_and_answer("20 { 00 00 { 15 <ECHO> } }").await;
    session.wait_ready(SOON).await.expect("ready");
    let mut events = manager.events();
    let again = session.reauthenticate();
    let server = async {
        peer.expect("f0 { 19 { 15 <ECHO> } }").await;
        let first = session.publish("t", "1", QoS::AtLeastOnce, false);
        let answer = async {
            peer.expect("32 { <t> 00 01 {} '1' }").await;
            peer.send("40 { 00 01 }").await;
        };
        tokio::join!(first, answer).0.expect("acknowledged");
        peer.send("f0 { 18 { 15 <ECHO> 16 <x> } }").await;
        peer.expect("f0 { 18 { 15 <ECHO> 16 <x> } }").await;
        let second = session.enqueue(mqttx::Publish::new("t", "2").qos(QoS::AtLeastOnce)).await;
        peer.expect("32 { <t> 00 02 {} '2' }").await;
        peer.send("f0 { 00 { 15 <ECHO> } } 40 { 00 02 }").await;
        second.expect("accepted").await.expect("acknowledged");
    };
    let (again, ()) = tokio::join!(again, server);
    again.expect("authenticated again");
    while !matches!(events.next().await.expect("an event").kind, EventKind::SessionReauthenticated)
    {
    }
    assert_eq!(session.metrics().reconnects, 0);
    // And once more, by two at the same time: both get the same one.
    let server = async {
        peer.expect("f0 { 19 { 15 <ECHO> } }").await;
        peer.send("f0 { 00 { 15 <ECHO> } }").await;
    };
    let (one, two, ()) = tokio::join!(session.reauthenticate(), session.reauthenticate(), server);
    one.and(two).expect("authenticated again");
    assert_eq!(*echo.begun.lock().expect("free"), [false, true, true]);
}

#[tokio::test]
async fn what_cannot_be_done_again_is_an_error() {
    let broker = ScriptedBroker::start().await;
    let (_manager, session) = add(options(&broker));
    let error = session.reauthenticate().await.expect_err("not connected");
    assert_eq!(error.kind(), ErrorKind::Session);
    let (mut peer, _) = broker.accept_and_answer(ACCEPTED).await;
    session.wait_ready(SOON).await.expect("ready");
    let error = session.reauthenticate().await.expect_err("without a method");
    assert_eq!(error.kind(), ErrorKind::Session);
    peer.expect_silence(Duration::from_millis(50)).await;
}

#[tokio::test]
async fn a_refusal_or_a_loss_ends_the_wait() {
    let broker = ScriptedBroker::start().await;
    for refused in [true, false] {
        let (_manager, session, mut peer) = online(&broker).await;
        let server = async {
            peer.expect("f0 { 19 { 15 <ECHO> } }").await;
            if refused {
                peer.send("e0 { 87 }").await;
                peer.expect_closed().await;
            } else {
                peer.close().await;
            }
        };
        let (again, ()) = tokio::join!(session.reauthenticate(), server);
        let reason = again.expect_err("it failed").reason_code();
        assert_eq!(reason == Some(ReasonCode::NOT_AUTHORIZED), refused);
        // The next connection authenticates anew.
        let mut peer = broker.accept().await;
        peer.expect("10 { <MQTT> 05 02 003c { 15 <ECHO> } <c> }").await;
    }
}

#[tokio::test]
async fn an_authenticator_that_fails_on_the_way_closes_the_connection() {
    let broker = ScriptedBroker::start().await;
    let (_manager, session, mut peer) = online(&broker).await;
    let server = async {
        peer.expect("f0 { 19 { 15 <ECHO> } }").await;
        peer.send("f0 { 18 { 15 <ECHO> 16 <fail> } }").await;
        peer.expect("e0 { 80 }").await;
        peer.expect_closed().await;
    };
    let (again, ()) = tokio::join!(session.reauthenticate(), server);
    assert_eq!(again.expect_err("it failed").kind(), ErrorKind::Authentication);
    let _next = broker.accept().await;
}

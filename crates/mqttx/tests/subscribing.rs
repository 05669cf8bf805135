//! Subscribing where the server says little, byte for byte.

use std::time::Duration;

use mqttx::{Backoff, Jitter, QoS, ReasonCode, Session, SessionManager, SessionOptions, Version};
use mqttx_test::{Peer, ScriptedBroker};
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(10);
/// Long enough for a wrong packet to arrive.
const QUIET: Duration = Duration::from_millis(60);

/// A session that the broker accepted, and that has nothing to do.
async fn connected(broker: &ScriptedBroker, connack: &str) -> (SessionManager, Session, Peer) {
    let manager = SessionManager::new();
    let backoff = Backoff::new(Duration::from_millis(10), Duration::from_millis(40));
    let options = SessionOptions::quick_connect("s", broker.url())
        .protocol(Version::V5)
        .clean_start(false)
        .receive_maximum(None)
        .reconnect(backoff.jitter(Jitter::None))
        .build()
        .unwrap();
    let session = manager.add_session(options).unwrap();
    let (peer, _) = broker.accept_and_answer(connack).await;
    session.wait_ready(SOON).await.unwrap();
    assert!(session.pulse(SOON).await);
    (manager, session, peer)
}

/// Answers a SUBSCRIBE or UNSUBSCRIBE of one filter.
async fn answer(peer: &mut Peer, packet: &[u8], code: u8) {
    let first = if packet[0] == 0x82 { 0x90 } else { 0xb0 };
    peer.send_bytes(&[first, 4, packet[2], packet[3], 0, code]).await;
}

#[tokio::test]
async fn what_the_connection_rules_out_is_refused_without_waiting_for_the_driver_to_wake() {
    let broker = ScriptedBroker::start().await;
    let (_manager, session, mut peer) = connected(&broker, "20 { 00 00 { 28 00 } }").await;
    // The driver's alarm would tell after ten seconds.
    let refused = timeout(SOON / 2, session.subscribe("a/#", QoS::AtLeastOnce)).await.unwrap();
    let code = refused.expect_err("refused").reason_code();
    assert_eq!(code, Some(ReasonCode::WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED));
    peer.expect_silence(QUIET).await;
}

#[tokio::test]
async fn callers_that_gave_up_leave_eight_requests_and_the_next_one_gets_its_answer() {
    let broker = ScriptedBroker::start().await;
    let (_manager, session, mut peer) = connected(&broker, "20 { 00 00 {} }").await;
    for _ in 0..20 {
        let asked = session.subscribe("a", QoS::AtLeastOnce);
        assert!(timeout(Duration::ZERO, asked).await.is_err(), "nobody answered");
    }
    let mut sent = Vec::new();
    for _ in 0..8 {
        sent.push(peer.expect_type(0x82).await);
    }
    let waiting = tokio::spawn({
        let session = session.clone();
        async move { session.subscribe("a", QoS::ExactlyOnce).await }
    });
    peer.expect_silence(QUIET).await;
    answer(&mut peer, &sent[0], 1).await;
    peer.expect("82 { 00 09 { 0b 01 } <a> 02 }").await;
    peer.send("90 { 00 09 {} 02 }").await;
    assert_eq!(waiting.await.unwrap().unwrap(), ReasonCode::GRANTED_QOS_2);
}

#[tokio::test]
async fn what_was_held_is_sent_on_the_next_connection_without_what_it_replaced() {
    let broker = ScriptedBroker::start().await;
    let (_manager, session, mut peer) = connected(&broker, "20 { 00 00 {} }").await;
    for _ in 0..12 {
        for asked in [true, false] {
            // Neither is answered.
            let nothing = if asked {
                timeout(Duration::ZERO, session.subscribe("a", QoS::AtLeastOnce)).await.is_err()
            } else {
                timeout(Duration::ZERO, session.unsubscribe("a")).await.is_err()
            };
            assert!(nothing);
        }
    }
    for _ in 0..8 {
        peer.expect_type(0x82).await;
        peer.expect_type(0xa2).await;
    }
    let waiting = tokio::spawn({
        let session = session.clone();
        async move { session.subscribe("a", QoS::AtLeastOnce).await }
    });
    peer.expect_silence(QUIET).await;
    peer.close().await;
    let (mut peer, _) = broker.accept_and_answer("20 { 01 00 {} }").await;
    let subscribe = peer.expect_type(0x82).await;
    peer.expect_silence(QUIET).await;
    answer(&mut peer, &subscribe, 1).await;
    assert_eq!(waiting.await.unwrap().unwrap(), ReasonCode::GRANTED_QOS_1);
    session.wait_ready(SOON).await.unwrap();
}

//! What a session promises, whatever carries it.

use std::sync::Arc;
use std::time::Duration;

use mqttx::{Event, EventKind, EventName, EventStream, QoS, ReasonCode, SessionStatus, Version};
use mqttx_test::{LoadOptions, LoadPeer, Peer, ScriptedBroker};
use tokio::task::JoinSet;

use crate::ways::*;

const CONNACK: &str = "20 { 00 00 {} }";

/// A PUBLISH of that size with QoS 1 and packet id 1.
fn publish(payload: &[u8]) -> Vec<u8> {
    let mut left = 3 + 2 + 1 + payload.len();
    let mut packet = vec![0x32];
    loop {
        let more = if left > 127 { 0x80 } else { 0 };
        packet.push(more | (left % 128) as u8);
        left /= 128;
        if left == 0 {
            break;
        }
    }
    packet.extend_from_slice(b"\x00\x01t\x00\x01\x00");
    packet.extend_from_slice(payload);
    packet
}

async fn event(events: &mut EventStream, name: EventName) -> Arc<Event> {
    let found = async {
        loop {
            let event = events.next().await.expect("the manager lives");
            if event.name() == name {
                return event;
            }
        }
    };
    tokio::time::timeout(PATIENCE, found).await.unwrap_or_else(|_| panic!("no event {name}"))
}

every_way! {
    async fn messages_go_both_ways_at_every_qos(way: Way) {
        let broker = ScriptedBroker::start().await;
        let path = Path::to(way, broker.address()).await;
        for version in [Version::V311, Version::V5] {
            let (connack, end) = match version {
                Version::V311 => ("20 { 00 00 }", ""),
                Version::V5 => (CONNACK, "{}"),
            };
            let (manager, session) = path.start(path.options("s").protocol(version));
            let (mut peer, _) = broker.accept_and_answer(connack).await;
            let mut messages = session.route("in").qos(QoS::ExactlyOnce).listen().expect("a route");
            let subscribe = peer.expect_type(0x82).await;
            peer.send(&format!("90 {{ {:02x} {:02x} {end} 02 }}", subscribe[2], subscribe[3])).await;
            session.publish("t", "zero", QoS::AtMostOnce, false).await.expect("written");
            peer.expect(&format!("30 {{ <t> {end} 'zero' }}")).await;
            let once = session.publish("t", "one", QoS::AtLeastOnce, false);
            let serve = async {
                let id = peer.expect_type(0x32).await;
                peer.send(&format!("40 {{ {:02x} {:02x} }}", id[5], id[6])).await;
            };
            tokio::join!(async { once.await.expect("acknowledged") }, serve);
            let twice = session.publish("t", "two", QoS::ExactlyOnce, false);
            let serve = async {
                let id = peer.expect_type(0x34).await;
                peer.send(&format!("50 {{ {:02x} {:02x} }}", id[5], id[6])).await;
                peer.expect(&format!("62 {{ {:02x} {:02x} }}", id[5], id[6])).await;
                peer.send(&format!("70 {{ {:02x} {:02x} }}", id[5], id[6])).await;
            };
            tokio::join!(async { twice.await.expect("acknowledged") }, serve);
            // In pieces of one byte, as far as the way lets them be.
            peer.send_split(&format!(
                "30 {{ <in> {end} '0' }} 32 {{ <in> 0007 {end} '1' }} 34 {{ <in> 0008 {end} '2' }}"
            ))
            .await;
            for expected in ["0", "1", "2"] {
                let message = messages.next().await.expect("a message");
                assert_eq!(message.payload_str(), Ok(expected));
                messages.done();
            }
            peer.expect("40 { 0007 }").await;
            peer.expect("50 { 0008 }").await;
            peer.send("62 { 0008 }").await;
            peer.expect("70 { 0008 }").await;
            drop(messages);
            let unsubscribe = peer.expect_type(0xa2).await;
            assert_eq!(&unsubscribe[unsubscribe.len() - 2..], b"in");
            let farewell = async {
                assert_eq!(peer.recv_packet().await[0], 0xe0, "DISCONNECT");
                peer.expect_closed().await;
                drop(peer);
            };
            tokio::join!(session.disconnect(), farewell);
            manager.shutdown(PATIENCE).await;
        }
    }

    async fn a_message_of_a_mebibyte_goes_both_ways(way: Way) {
        let broker = ScriptedBroker::start().await;
        let path = Path::to(way, broker.address()).await;
        let payload: Vec<u8> = (0..1 << 20).map(|n: u32| (n * 7 % 251) as u8).collect();
        let (_manager, session) = path.start(path.options("s"));
        let (mut peer, _) = broker.accept_and_answer(CONNACK).await;
        let mut messages = session.route("t").qos(QoS::AtLeastOnce).listen().expect("a route");
        let subscribe = peer.expect_type(0x82).await;
        peer.send(&format!("90 {{ {:02x} {:02x} {{}} 01 }}", subscribe[2], subscribe[3])).await;
        let sent = session.publish("t", payload.clone(), QoS::AtLeastOnce, false);
        let serve = async {
            let packet = peer.expect_type(0x32).await;
            assert!(packet.ends_with(&payload), "{} bytes arrived", packet.len());
            let id = &packet[packet.len() - payload.len() - 3..][..2];
            peer.send(&format!("40 {{ {:02x} {:02x} }}", id[0], id[1])).await;
        };
        tokio::join!(async { sent.await.expect("acknowledged") }, serve);
        peer.send_bytes(&publish(&payload)).await;
        let message = messages.next().await.expect("a message");
        assert!(message.payload() == payload, "{} bytes arrived", message.payload().len());
    }

    async fn a_server_that_disconnects_says_why_and_the_session_comes_back(way: Way) {
        let broker = ScriptedBroker::start().await;
        let path = Path::to(way, broker.address()).await;
        let (manager, session) = path.start(path.options("s").manual_connect(true));
        let mut events = manager.events();
        session.connect();
        let (mut peer, _) = broker.accept_and_answer(CONNACK).await;
        peer.send("e0 { 8b {} }").await;
        peer.close().await;
        let event = event(&mut events, EventName::SessionDisconnected).await;
        let EventKind::SessionDisconnected { reason, .. } = &event.kind else {
            unreachable!("asked for by name")
        };
        assert_eq!(*reason, Some(ReasonCode::SERVER_SHUTTING_DOWN));
        let _peer = broker.accept_and_answer(CONNACK).await;
        session.wait_connected(PATIENCE).await.expect("connected again");
    }

    async fn a_connection_that_ends_without_a_word_is_made_again(way: Way) {
        let broker = ScriptedBroker::start().await;
        let path = Path::to(way, broker.address()).await;
        let (manager, session) = path.start(path.options("s").manual_connect(true));
        let mut events = manager.events();
        session.connect();
        for reset in [false, true] {
            let (peer, _) = broker.accept_and_answer(CONNACK).await;
            event(&mut events, EventName::SessionConnected).await;
            if reset {
                peer.reset();
            } else {
                peer.close().await;
            }
            event(&mut events, EventName::SessionDisconnected).await;
        }
        let _peer = broker.accept_and_answer(CONNACK).await;
        session.wait_connected(PATIENCE).await.expect("connected again");
    }

    async fn a_message_survives_a_cut_at_any_byte(way: Way) {
        let peer = LoadPeer::start(LoadOptions::default());
        let path = Path::to(way, peer.address()).await;
        // What a connection without a cut passes.
        publish_once(&path, "whole").await;
        let all = path.cutter.passed();
        assert!(all > 40, "{all} bytes");
        // A handshake of TLS has thousands, of which each is like the others.
        let every = all.div_ceil(100);
        for at in (0..all).step_by(every as usize) {
            path.cutter.cut_next_after(at);
            publish_once(&path, &format!("cut-{at}")).await;
        }
        assert!(peer.counters().connects > 1 && peer.counters().publishes >= all / every);
    }
}

/// It takes seconds that nothing can shorten: all ways at once.
#[tokio::test]
async fn a_peer_that_falls_silent_is_noticed_by_the_keep_alive() {
    let mut claims: JoinSet<()> =
        Way::ALL.into_iter().map(|way| in_time(fall_silent(way))).collect();
    while let Some(outcome) = claims.join_next().await {
        outcome.expect("the claim holds");
    }
}

async fn fall_silent(way: Way) {
    let broker = ScriptedBroker::start().await;
    let path = Path::to(way, broker.address()).await;
    let options = path.options("s").keep_alive(Duration::from_secs(2));
    let (_manager, session) = path.start(options);
    let (mut silent, _) = broker.accept_and_answer(CONNACK).await;
    silent.expect("c0 {}").await;
    silent.send("d0 {}").await;
    silent.expect("c0 {}").await;
    // The connection is open, and nothing comes: the next one is made without its end.
    let (mut peer, _) = broker.accept_and_answer(CONNACK).await;
    session.wait_connected(PATIENCE).await.expect("connected again");
    let error = session.last_error();
    assert!(error.is_none(), "forgotten with the connection: {error:?}");
    drop(silent);
    ping(&mut peer).await;
}

async fn ping(peer: &mut Peer) {
    peer.expect("c0 {}").await;
    peer.send("d0 {}").await;
}

/// A session that publishes one message, and ends once that is acknowledged.
async fn publish_once(path: &Path, name: &str) {
    let (manager, session) = path.start(path.options(name).client_id("s"));
    let published = session.publish("t", name.to_owned(), QoS::ExactlyOnce, false);
    let published = tokio::time::timeout(PATIENCE, published).await;
    let outcome = published.unwrap_or_else(|_| panic!("{name}: {:?}", session.last_error()));
    outcome.unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(session.status(), SessionStatus::Connected, "{name}");
    manager.shutdown(PATIENCE).await;
}

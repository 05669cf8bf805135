//! What a message carries keeps it from the short way of submitted messages, where it must.

use std::time::Duration;

use tokio::time::advance;

use super::Session;
use crate::options::{Backoff, Jitter, Outbox, SessionBuilder, SessionOptions};
use crate::transport::mem::{Listener, Peer};
use crate::{ManagerBuilder, Properties, Property, Publish, QoS, SessionManager};

const ACCEPTED: &str = "20 { 00 00 {} }";

async fn connected(
    change: impl FnOnce(SessionBuilder) -> SessionBuilder,
) -> (SessionManager, Session, Listener, Peer) {
    let mut listener = Listener::bind("mem");
    let manager = ManagerBuilder::default().connect_rate(0).build();
    let backoff = Backoff::default().jitter(Jitter::None);
    let builder = SessionOptions::quick_connect("s", "mem").receive_maximum(None);
    let options = change(builder.reconnect(backoff)).build().expect("valid");
    let session = manager.add_session(options).expect("a session");
    let peer = listener.accept_and_answer(ACCEPTED).await;
    session.wait_ready(Duration::from_secs(5)).await.expect("ready");
    (manager, session, listener, peer)
}

#[tokio::test(start_paused = true)]
async fn submitted_messages_keep_their_properties() {
    let (_manager, session, _listener, mut peer) = connected(|options| options).await;
    let mut properties = Properties::new();
    properties.push(Property::ContentType("text")).expect("a text");
    let message = Publish::new("t", "x").qos(QoS::AtLeastOnce).properties(properties);
    session.submit(&message).await.expect("accepted");
    session.try_submit(&message).expect("accepted");
    session.begin_submit(message).await.expect("accepted").stored().await.expect("no store");
    for id in ["0001", "0002", "0003"] {
        peer.expect(&format!("32 {{ <t> {id} {{ 03 <text> }} 'x' }}")).await;
    }
}

const TTL: Duration = Duration::from_secs(5);

/// Sends them, and waits until the time of some is over and the server has lost the session: what it gets then.
async fn sent_again(outbox: Outbox, messages: &[Publish]) -> Vec<u8> {
    let (_manager, session, mut listener, mut peer) = connected(|o| o.outbox(outbox)).await;
    // What is used for the first time is not there yet for the short way.
    session.submit(Publish::new("t", "first")).await.expect("accepted");
    assert_eq!(peer.recv().await[0], 0x30);
    for message in messages {
        session.submit(message).await.expect("accepted");
        assert_eq!(peer.recv().await[0], 0x32);
    }
    advance(2 * TTL).await;
    drop(peer);
    let mut peer = listener.accept_and_answer(ACCEPTED).await;
    let mut payloads = Vec::new();
    while let Ok(packet) = tokio::time::timeout(TTL, peer.recv()).await {
        payloads.extend(packet.last());
    }
    payloads
}

fn message(payload: &'static str) -> Publish {
    Publish::new("t", payload).qos(QoS::AtLeastOnce)
}

#[tokio::test(start_paused = true)]
async fn a_submitted_message_whose_time_is_over_is_not_sent_to_a_new_session() {
    let messages = [message("1").ttl(TTL), message("2"), message("3").ttl(20 * TTL)];
    assert_eq!(sent_again(Outbox::default(), &messages).await, *b"23");
}

#[tokio::test(start_paused = true)]
async fn the_time_of_the_session_counts_for_submitted_messages() {
    let outbox = Outbox { ttl: Some(TTL), ..Outbox::default() };
    let messages = [message("1"), message("2").ttl(20 * TTL)];
    assert_eq!(sent_again(outbox, &messages).await, *b"2");
}

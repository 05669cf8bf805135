//! Sessions in stopped time: what takes minutes in the field takes a moment here.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::{Session, SessionStatus};
use crate::options::{
    Backoff, Jitter, Outbox, Performance, Reaction, Reactions, SessionBuilder, SessionOptions,
};
use crate::transport::mem::{Listener, Peer};
use crate::{DropReason, Event, EventKind, ManagerBuilder, Publish, QoS, SessionManager};

const ACCEPTED: &str = "20 { 00 00 {} }";
const HOUR: Duration = Duration::from_secs(3600);

fn options() -> SessionBuilder {
    let backoff = Backoff::default().jitter(Jitter::None);
    SessionOptions::quick_connect("s", "mem").receive_maximum(None).reconnect(backoff)
}

fn add(builder: SessionBuilder) -> (SessionManager, Session) {
    let manager = ManagerBuilder::default().connect_rate(0).build();
    let session = manager.add_session(builder.build().expect("valid")).expect("a session");
    (manager, session)
}

async fn connected(builder: SessionBuilder) -> (SessionManager, Session, Listener, Peer) {
    let mut listener = Listener::bind("mem");
    let (manager, session) = add(builder);
    let peer = listener.accept_and_answer(ACCEPTED).await;
    session.wait_ready(HOUR).await.expect("ready");
    (manager, session, listener, peer)
}

fn message(qos: QoS) -> Publish {
    Publish::new("t", "x").qos(qos)
}

#[tokio::test(start_paused = true)]
async fn a_half_open_link_is_noticed_by_the_keep_alive() {
    let (_manager, session, mut listener, mut silent) = connected(options()).await;
    let start = Instant::now();
    assert_eq!(silent.recv().await, [0xc0, 0], "a ping after a minute of silence");
    assert_eq!(start.elapsed().as_secs(), 60);
    let _peer = listener.accept_and_answer(ACCEPTED).await;
    assert_eq!(start.elapsed().as_secs(), 121, "another minute, then the first delay");
    session.wait_connected(HOUR).await.expect("connected");
    assert_eq!(session.metrics().errors, 1);
}

#[tokio::test(start_paused = true)]
async fn pings_are_answered_for_a_day_without_another_connection() {
    let (_manager, session, _listener, mut peer) = connected(options()).await;
    let start = Instant::now();
    while start.elapsed() < 24 * HOUR {
        peer.expect("c0 {}").await;
        peer.send("d0 {}").await;
    }
    assert!(session.is_connected());
    assert_eq!(session.metrics().reconnects, 0);
}

#[tokio::test(start_paused = true)]
async fn delays_grow_also_before_the_first_connection() {
    let mut listener = Listener::bind("mem");
    let (_manager, session) = add(options());
    let start = Instant::now();
    let mut times = Vec::new();
    for _ in 0..8 {
        drop(listener.accept().await);
        times.push(start.elapsed().as_secs());
    }
    assert_eq!(times, [0, 1, 3, 7, 15, 31, 63, 123], "doubled up to a minute");
    assert_eq!(session.status(), SessionStatus::Reconnecting { attempt: 8 });
}

#[tokio::test(start_paused = true)]
async fn a_connack_alone_does_not_reset_the_delay() {
    let mut listener = Listener::bind("mem");
    let (_manager, session) = add(options());
    let start = Instant::now();
    let mut times = Vec::new();
    for _ in 0..4 {
        let peer = listener.accept_and_answer(ACCEPTED).await;
        session.wait_connected(HOUR).await.expect("connected");
        times.push(start.elapsed().as_secs());
        drop(peer);
    }
    assert_eq!(times, [0, 1, 3, 7]);
    let peer = listener.accept_and_answer(ACCEPTED).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    drop(peer);
    let stable = start.elapsed();
    listener.accept().await;
    assert_eq!((start.elapsed() - stable).as_secs(), 1, "ten seconds are stable");
}

#[tokio::test(start_paused = true)]
async fn a_reaction_that_is_slow_waits_for_the_longest_delay() {
    let slowly = Some(Reaction::RetrySlowly);
    let on = Reactions {
        bad_credentials: slowly,
        banned: slowly,
        taken_over: slowly,
        quota: slowly,
        server_moved: slowly,
    };
    for refusal in ["86", "87", "8c", "8a", "97", "9c"] {
        let mut listener = Listener::bind("mem");
        let backoff = Backoff::default().jitter(Jitter::None).on(on);
        let (_manager, _session) = add(options().reconnect(backoff));
        let _peer = listener.accept_and_answer(&format!("20 {{ 00 {refusal} {{}} }}")).await;
        let start = Instant::now();
        let _peer = listener.accept_and_answer(ACCEPTED).await;
        assert_eq!(start.elapsed().as_secs(), 60, "CONNACK {refusal}");
    }
    for refusal in ["87", "8e", "97", "9d"] {
        let backoff = Backoff::default().jitter(Jitter::None).on(on);
        let (_manager, _session, mut listener, mut peer) =
            connected(options().reconnect(backoff)).await;
        peer.send(&format!("e0 {{ {refusal} }}")).await;
        let start = Instant::now();
        let _peer = listener.accept_and_answer(ACCEPTED).await;
        assert_eq!(start.elapsed().as_secs(), 60, "DISCONNECT {refusal}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_says_nothing_is_left_after_the_timeout() {
    let mut listener = Listener::bind("mem");
    let (_manager, session) = add(options().connect_timeout(Duration::from_secs(5)));
    let _silent = listener.accept().await;
    let start = Instant::now();
    let _next = listener.accept().await;
    assert_eq!(start.elapsed().as_secs(), 6);
    let error = session.last_error().expect("an error");
    assert!(error.is_timeout() && error.is_temporary(), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn without_auto_reconnect_the_first_failure_is_final() {
    let mut listener = Listener::bind("mem");
    let (_manager, session) = add(options().auto_reconnect(false));
    drop(listener.accept().await);
    let error = session.wait_connected(HOUR).await.expect_err("failed");
    assert_eq!(error.session(), Some("s"));
    assert_eq!(session.status(), SessionStatus::Failed);
    assert!(timeout(HOUR, listener.accept()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_message_expires_while_the_session_is_away() {
    let (_manager, session) = add(options().manual_connect(true));
    let start = Instant::now();
    let mortal = message(QoS::AtLeastOnce).ttl(Duration::from_secs(30));
    let delivery = session.try_publish(mortal).expect("accepted");
    let error = delivery.await.expect_err("expired");
    assert_eq!(start.elapsed().as_secs(), 30);
    assert_eq!(error.code(), "publish.dropped");
    assert_eq!(session.metrics().dropped.of(DropReason::Expired), 1);
    assert_eq!(session.metrics().outbox_messages, 0);
}

#[tokio::test(start_paused = true)]
async fn the_options_time_to_live_counts_for_messages_without_one() {
    let outbox = Outbox { ttl: Some(Duration::from_secs(5)), ..Outbox::default() };
    let (_manager, session) = add(options().manual_connect(true).outbox(outbox));
    let start = Instant::now();
    let delivery = session.try_publish(message(QoS::AtLeastOnce)).expect("accepted");
    delivery.await.expect_err("expired");
    assert_eq!(start.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn flush_waits_for_the_acknowledgement_and_no_longer() {
    let (_manager, session, _listener, mut peer) = connected(options()).await;
    session.flush(HOUR).await.expect("nothing to wait for");
    let delivery = session.try_publish(message(QoS::AtLeastOnce)).expect("accepted");
    let late = session.flush(Duration::from_secs(1)).await.expect_err("not acknowledged");
    assert!(late.is_timeout() && late.to_string().starts_with("1 messages"), "{late}");
    peer.expect("32 { <t> 00 01 {} 'x' }").await;
    let (flushed, ()) = tokio::join!(session.flush(HOUR), peer.send("40 { 00 01 }"));
    flushed.expect("acknowledged");
    delivery.await.expect("acknowledged");
}

#[tokio::test(start_paused = true)]
async fn a_blocked_publisher_that_gives_up_leaves_its_place() {
    let outbox = Outbox { messages: Some(1), ..Outbox::default() };
    let (_manager, session, _listener, mut peer) = connected(options().outbox(outbox)).await;
    let first = session.enqueue(message(QoS::AtLeastOnce)).await.expect("room");
    let blocked = timeout(Duration::from_secs(1), session.enqueue(message(QoS::AtLeastOnce)));
    assert!(blocked.await.is_err(), "no room");
    let third = session.enqueue(message(QoS::AtLeastOnce));
    let answer = async {
        peer.expect("32 { <t> 00 01 {} 'x' }").await;
        peer.send("40 { 00 01 }").await;
        first.await.expect("acknowledged");
    };
    let _third = tokio::join!(third, answer).0.expect("room again");
    peer.expect("32 { <t> 00 02 {} 'x' }").await;
}

#[tokio::test(start_paused = true)]
async fn a_publisher_that_never_waits_lets_the_driver_have_turns() {
    let (_manager, session, _listener, _peer) = connected(options()).await;
    let message = Publish::new("t", vec![b'x'; 1000]);
    for number in 1..=1000 {
        // There is room for all: nothing else makes this task pause.
        session.submit(&message).await.expect("accepted");
        let before_the_first_turn = session.metrics().messages_sent == 0;
        assert!(number < 500 || !before_the_first_turn, "{number} messages, and no turn");
    }
    let sent = session.metrics().messages_sent;
    assert!((100..1000).contains(&sent), "neither every message has a turn nor all one: {sent}");
}

#[tokio::test(start_paused = true)]
async fn limits_and_the_end_of_a_session_hold_for_submitted_messages() {
    let performance = Performance { max_message_size: 3, ..Performance::default() };
    let (manager, session, _listener, mut peer) =
        connected(options().performance(performance)).await;
    session.submit(Publish::new("t", "abc")).await.expect("small enough");
    let refused = session.submit(Publish::new("t", "abcd")).await.expect_err("too large");
    assert_eq!(refused.error().code(), "publish.too_large");
    let refused = session.try_submit(&Publish::new("t", "abcd")).expect_err("too large");
    assert_eq!(refused.code(), "publish.too_large");
    session.try_submit(&Publish::new("u", "abc")).expect("small enough");
    peer.expect("30 { <t> {} 'abc' }").await;
    peer.expect("30 { <u> {} 'abc' }").await;
    manager.remove_session("s").await.expect("removed");
    session.submit(message(QoS::AtMostOnce)).await.expect_err("the session is gone");
    session.try_submit(&message(QoS::AtMostOnce)).expect_err("the session is gone");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_acknowledge_hardly_delays_publishers() {
    let (_manager, session, _listener, _peer) = connected(options().max_in_flight(10)).await;
    let message = message(QoS::AtLeastOnce);
    let start = Instant::now();
    for _ in 0..10 + 128 {
        session.submit(&message).await.expect("accepted");
    }
    assert_eq!(start.elapsed(), Duration::ZERO, "few wait");
    for _ in 0..1000 {
        session.submit(&message).await.expect("accepted");
    }
    let pauses = start.elapsed().as_millis();
    assert!((20..30).contains(&pauses), "four pauses of five milliseconds, not {pauses} ms");
}

#[tokio::test(start_paused = true)]
async fn acknowledgements_end_the_pause_of_a_publisher_that_is_ahead() {
    let (_manager, session, _listener, mut peer) = connected(options().max_in_flight(100)).await;
    let message = message(QoS::AtLeastOnce);
    let start = Instant::now();
    let publish = async {
        for _ in 0..229 {
            session.submit(&message).await.expect("accepted");
        }
        session.metrics().outbox_messages
    };
    let acknowledge = async {
        for id in 1..=229 {
            peer.expect(&format!("32 {{ <t> 00 {id:02x} {{}} 'x' }}")).await;
            peer.send(&format!("40 {{ 00 {id:02x} }}")).await;
        }
    };
    let (left, ()) = tokio::join!(publish, acknowledge);
    assert!(left <= 100, "{left} messages, and none waits any more");
    assert_eq!(start.elapsed(), Duration::ZERO, "nobody waited for the time");
}

#[tokio::test(start_paused = true)]
async fn a_message_that_was_submitted_by_reference_is_handed_back_as_a_copy() {
    let (_manager, session) = add(options().manual_connect(true));
    let message = message(QoS::AtLeastOnce);
    session.submit(&message).await.expect("accepted");
    session.submit(message.clone()).await.expect("accepted");
    assert_eq!(session.metrics().outbox_messages, 2);
    let wildcard = Publish::new("t/+", "x");
    let refused = session.submit(&wildcard).await.expect_err("not a topic name");
    assert_eq!(refused.into_message(), wildcard);
}

#[tokio::test(start_paused = true)]
async fn a_slow_server_does_not_stop_what_arrives() {
    let (_manager, session, _listener, mut peer) = connected(options()).await;
    let mut stream = session.listen("in").expect("a route");
    peer.expect("82 { 00 01 { 0b 01 } <in> 01 }").await;
    peer.send("90 { 00 01 {} 01 }").await;
    // Far more than the pipe holds, and the server does not read.
    let stuck = session.try_publish(Publish::new("t", vec![0; 100_000])).expect("accepted");
    peer.send("30 { <in> {} '1' } 30 { <in> {} '2' }").await;
    assert_eq!(stream.next().await.expect("a message").payload(), b"1");
    assert_eq!(stream.next().await.expect("a message").payload(), b"2");
    drop(stuck);
}

#[tokio::test(start_paused = true)]
async fn a_full_inbound_buffer_stops_the_server_and_loses_nothing() {
    let builder = options().inbound_buffer(64 << 10);
    let (_manager, session, _listener, mut peer) = connected(builder).await;
    let mut stream = session.route("in").capacity(1).listen().expect("a route");
    peer.expect("82 { 00 01 { 0b 01 } <in> 01 }").await;
    peer.send("90 { 00 01 {} 01 }").await;
    let payload = "x".repeat(100);
    let count = 3000;
    let flood = async {
        for n in 0..count {
            peer.send(&format!("30 {{ <in> {{}} '{n:06}{payload}' }}")).await;
        }
        peer
    };
    let drain = async {
        tokio::time::sleep(Duration::from_secs(20)).await;
        let parked = session.metrics().parked_bytes;
        assert!((64 << 10..256 << 10).contains(&parked), "{parked}");
        for n in 0..count {
            let message = stream.next().await.expect("a message");
            assert_eq!(&message.payload()[..6], format!("{n:06}").as_bytes());
        }
    };
    let (_peer, ()) = tokio::join!(flood, drain);
    assert_eq!(session.metrics().parked_bytes, 0);
    assert!(session.is_connected());
}

#[tokio::test(start_paused = true)]
async fn a_full_inbound_buffer_never_holds_back_an_acknowledgement() {
    let builder = options().inbound_buffer(64 << 10);
    let (_manager, session, _listener, mut peer) = connected(builder).await;
    let stream = session.route("in").capacity(1).listen().expect("a route");
    peer.expect("82 { 00 01 { 0b 01 } <in> 01 }").await;
    peer.send("90 { 00 01 {} 01 }").await;
    let delivery = session.try_publish(message(QoS::AtLeastOnce)).expect("accepted");
    let payload = "x".repeat(100);
    for _ in 0..3000 {
        peer.send(&format!("30 {{ <in> {{}} '{payload}' }}")).await;
    }
    peer.send("40 { 00 02 }").await;
    delivery.await.expect("acknowledged although nobody takes the messages");
    let metrics = session.metrics();
    let dropped = metrics.dropped.of(DropReason::InboundFull);
    assert!(dropped > 0, "QoS 0 was dropped, and counted");
    assert_eq!(stream.route().stats().received, 3000);
}

#[tokio::test(start_paused = true)]
async fn a_persistent_session_leaves_with_the_server_what_has_no_room() {
    let builder = options().inbound_buffer(64 << 10).client_id("c").persistent(true);
    let (_manager, session, mut listener, mut peer) = connected(builder).await;
    let mut stream = session.route("in").capacity(1).listen().expect("a route");
    peer.expect("82 { 00 01 { 0b 01 } <in> 01 }").await;
    peer.send("90 { 00 01 {} 01 }").await;
    let delivery = session.try_publish(message(QoS::AtLeastOnce)).expect("accepted");
    peer.expect("32 { <t> 00 02 {} 'x' }").await;
    let payload = "x".repeat(100);
    for id in 1..=1000 {
        peer.send(&format!("32 {{ <in> {id:04x} {{}} '{payload}' }}")).await;
    }
    peer.send("40 { 00 02 }").await;
    delivery.await.expect("acknowledged although nobody takes the messages");
    assert!(timeout(Duration::from_secs(10), peer.recv()).await.is_err(), "the buffer is full");
    let (mut taken, mut acknowledged) = (0, 0);
    loop {
        tokio::select! {
            biased;
            packet = peer.recv() => match packet[0] {
                0x40 => acknowledged += 1,
                _ => {
                    assert_eq!(packet, mqttx_test::hex("e0 {}"));
                    break;
                }
            },
            message = stream.next() => taken += usize::from(message.is_some()),
        }
    }
    assert!((200..400).contains(&taken), "what had room, not {taken}");
    assert_eq!(acknowledged, taken, "nothing will come twice");
    drop(peer);
    let mut again = listener.accept_and_answer("20 { 01 00 {} }").await;
    again.send("3a { <in> 03e8 {} 'again' }").await;
    while stream.next().await.expect("a message").payload() != b"again" {}
}

#[tokio::test(start_paused = true)]
async fn events_tell_the_life_of_a_session() {
    let mut listener = Listener::bind("mem");
    let manager = ManagerBuilder::default().build();
    let mut events = manager.events();
    let session = manager.add_session(options().build().expect("valid")).expect("a session");
    let peer = listener.accept_and_answer(ACCEPTED).await;
    session.wait_ready(HOUR).await.expect("ready");
    drop(peer);
    let _peer = listener.accept_and_answer(ACCEPTED).await;
    session.wait_ready(HOUR).await.expect("ready");
    manager.remove_session("s").await.expect("there");
    let mut names = Vec::new();
    while let Some(event) = events.try_next() {
        if !matches!(event.kind, EventKind::SessionStateChanged { .. }) {
            names.push(Event::name(&event).as_str());
        }
    }
    assert_eq!(
        names,
        [
            "session_added",
            "session_connecting",
            "session_connected",
            "session_ready",
            "session_disconnected",
            "session_reconnecting",
            "session_connecting",
            "session_connected",
            "session_ready",
            "session_disconnected",
            "session_removed",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_driver_that_is_gone_resolves_everything() {
    let (_manager, session) = add(options().manual_connect(true));
    let delivery = session.try_publish(message(QoS::AtLeastOnce)).expect("accepted");
    let subscribing = session.subscribe("a", QoS::AtMostOnce);
    let closing = async {
        tokio::task::yield_now().await;
        session.close().await;
    };
    let (subscribed, ()) = tokio::join!(subscribing, closing);
    assert_eq!(subscribed.expect_err("closed").kind(), crate::ErrorKind::Closed);
    assert_eq!(delivery.await.expect_err("closed").kind(), crate::ErrorKind::Closed);
    assert_eq!(session.status(), SessionStatus::Stopped);
}

//! One session against a broker whose every byte the test decides.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use mqttx::{
    Backoff, Jitter, OnFull, Outbox, Publish, QoS, ReasonCode, Session, SessionBuilder,
    SessionManager, SessionOptions, SessionStatus, Version, WireLog,
};
use mqttx_test::{LoadOptions, LoadPeer, Peer, ScriptedBroker, hex};

const ACCEPTED: &str = "20 { 00 00 {} }";
const RESUMED: &str = "20 { 01 00 {} }";
const SOON: Duration = Duration::from_secs(10);

fn quick() -> Backoff {
    Backoff::new(Duration::from_millis(10), Duration::from_millis(40)).jitter(Jitter::None)
}

fn options(broker: &ScriptedBroker) -> SessionBuilder {
    SessionOptions::quick_connect("s", broker.url()).receive_maximum(None).reconnect(quick())
}

/// A session that the broker accepted.
async fn connected(
    builder: SessionBuilder,
    broker: &ScriptedBroker,
) -> (SessionManager, Session, Peer) {
    let manager = SessionManager::new();
    let session = manager.add_session(builder.build().expect("valid options")).expect("a session");
    let (peer, _) = broker.accept_and_answer(ACCEPTED).await;
    session.wait_ready(SOON).await.expect("ready");
    (manager, session, peer)
}

fn message(payload: &str, qos: QoS) -> Publish {
    Publish::new("t", payload.to_owned()).qos(qos)
}

#[tokio::test]
async fn connect_carries_nothing_that_was_not_asked_for() {
    let broker = ScriptedBroker::start().await;
    let manager = SessionManager::new();
    let session = manager.add_session(options(&broker).build().expect("valid")).expect("a session");
    let (mut peer, connect) = broker.accept_and_answer(ACCEPTED).await;
    assert_eq!(connect, hex("10 { <MQTT> 05 02 00 3c {} <> }"));
    session.wait_connected(SOON).await.expect("connected");
    session.disconnect().await;
    peer.expect("e0 {}").await;
    peer.expect_closed().await;
    assert_eq!(session.status(), SessionStatus::Disconnected);
}

#[tokio::test]
async fn publish_completes_at_the_acknowledgement() {
    let broker = ScriptedBroker::start().await;
    let (_manager, session, mut peer) = connected(options(&broker), &broker).await;
    let publish = session.publish("a/b", "hi", QoS::AtLeastOnce, true);
    let answer = async {
        peer.expect("33 { <a/b> 00 01 {} 'hi' }").await;
        peer.send("40 { 00 01 10 }").await;
    };
    let (published, ()) = tokio::join!(publish, answer);
    let published = published.expect("acknowledged");
    assert_eq!(published.reason, ReasonCode::NO_MATCHING_SUBSCRIBERS);
    assert_eq!(published.packet_id.map(mqttx::PacketId::get), Some(1));
}

#[tokio::test]
async fn a_refused_message_comes_back_with_the_reason() {
    let broker = ScriptedBroker::start().await;
    let (_manager, session, mut peer) = connected(options(&broker), &broker).await;
    let publish = session.publish_message(message("hi", QoS::AtLeastOnce));
    let answer = async {
        peer.expect("32 { <t> 00 01 {} 'hi' }").await;
        peer.send("40 { 00 01 87 }").await;
    };
    let (published, ()) = tokio::join!(publish, answer);
    let refused = published.expect_err("refused");
    assert_eq!(refused.error().reason_code(), Some(ReasonCode::NOT_AUTHORIZED));
    assert_eq!(refused.error().topic(), Some("t"));
    assert_eq!(&refused.into_message().payload[..], b"hi");
}

#[tokio::test]
async fn a_delivery_resolves_across_reconnects() {
    let broker = ScriptedBroker::start().await;
    let builder = options(&broker).client_id("c").persistent(true);
    let (_manager, session, mut peer) = connected(builder, &broker).await;
    let delivery = session.enqueue(message("hi", QoS::ExactlyOnce)).await.expect("accepted");
    peer.expect("34 { <t> 00 01 {} 'hi' }").await;
    peer.reset();
    let (mut peer, _) = broker.accept_and_answer(RESUMED).await;
    peer.expect("3c { <t> 00 01 {} 'hi' }").await;
    peer.send("50 { 00 01 }").await;
    peer.expect("62 { 00 01 }").await;
    peer.close().await;
    let (mut peer, _) = broker.accept_and_answer(RESUMED).await;
    peer.expect("62 { 00 01 }").await;
    peer.send("70 { 00 01 }").await;
    assert_eq!(delivery.await.expect("acknowledged").reason, ReasonCode::SUCCESS);
    assert_eq!(session.metrics().reconnects, 2);
    assert_eq!(session.metrics().resends, 1);
    assert_eq!(session.metrics().messages_sent, 1);
}

#[tokio::test]
async fn messages_accepted_before_the_first_connection_are_sent() {
    let broker = ScriptedBroker::start().await;
    let manager = SessionManager::new();
    let options = options(&broker).manual_connect(true).build().expect("valid");
    let session = manager.add_session(options).expect("a session");
    let first = session.try_publish(message("1", QoS::AtLeastOnce)).expect("accepted");
    let second = session.try_publish(message("2", QoS::AtMostOnce)).expect("accepted");
    assert_eq!(session.status(), SessionStatus::Stopped);
    session.connect();
    let (mut peer, _) = broker.accept_and_answer(ACCEPTED).await;
    let mut packets = [peer.recv_packet().await, peer.recv_packet().await];
    packets.sort();
    assert_eq!(packets, [hex("30 { <t> {} '2' }"), hex("32 { <t> 00 01 {} '1' }")]);
    peer.send("40 { 00 01 }").await;
    first.await.expect("acknowledged");
    assert_eq!(second.await.expect("written").packet_id, None);
}

#[tokio::test]
async fn a_full_outbox_blocks_until_an_acknowledgement_makes_room() {
    let broker = ScriptedBroker::start().await;
    let builder = options(&broker).outbox(Outbox { messages: Some(1), ..Outbox::default() });
    let (_manager, session, mut peer) = connected(builder, &broker).await;
    let first = session.enqueue(message("1", QoS::AtLeastOnce)).await.expect("room");
    let full = session.try_publish(message("2", QoS::AtLeastOnce)).expect_err("full");
    assert_eq!(full.error().code(), "outbox.full");
    let tasks: Vec<_> = (0..20)
        .map(|n| {
            let session = session.clone();
            tokio::spawn(async move {
                session.publish_message(message(&n.to_string(), QoS::AtLeastOnce)).await
            })
        })
        .collect();
    for _ in 0..21 {
        let packet = peer.expect_type(0x32).await;
        peer.send_bytes(&[0x40, 2, packet[5], packet[6]]).await;
    }
    first.await.expect("acknowledged");
    for task in tasks {
        task.await.expect("no panic").expect("acknowledged");
    }
}

#[tokio::test]
async fn the_oldest_message_makes_room_when_asked_to() {
    let broker = ScriptedBroker::start().await;
    let outbox = Outbox { messages: Some(2), on_full: OnFull::DropOldest, ..Outbox::default() };
    let manager = SessionManager::new();
    let options = options(&broker).outbox(outbox).manual_connect(true).build().expect("valid");
    let session = manager.add_session(options).expect("a session");
    let mut deliveries = Vec::new();
    for n in 0..3 {
        let accepted = session.enqueue(message(&n.to_string(), QoS::AtLeastOnce)).await;
        deliveries.push(accepted.expect("accepted"));
    }
    let error = deliveries.remove(0).await.expect_err("dropped");
    assert_eq!(error.code(), "publish.dropped");
    session.connect();
    let (mut peer, _) = broker.accept_and_answer(ACCEPTED).await;
    peer.expect("32 { <t> 00 01 {} '1' }").await;
    peer.expect("32 { <t> 00 02 {} '2' }").await;
}

#[tokio::test]
async fn removal_resolves_every_delivery() {
    let broker = ScriptedBroker::start().await;
    let (manager, session, mut peer) = connected(options(&broker), &broker).await;
    let delivery = session.enqueue(message("1", QoS::AtLeastOnce)).await.expect("accepted");
    peer.expect("32 { <t> 00 01 {} '1' }").await;
    let (removed, ()) = tokio::join!(manager.remove_session("s"), async {
        peer.expect("e0 {}").await;
        peer.expect_closed().await;
        drop(peer);
    });
    removed.expect("removed");
    assert_eq!(delivery.await.expect_err("closed").kind(), mqttx::ErrorKind::Closed);
    let late = session.enqueue(message("2", QoS::AtLeastOnce)).await.expect_err("closed");
    assert_eq!(late.error().kind(), mqttx::ErrorKind::Closed);
    session.subscribe("a", QoS::AtMostOnce).await.expect_err("closed");
}

#[tokio::test]
async fn disconnect_stays_away_until_connect() {
    let broker = ScriptedBroker::start().await;
    let (_manager, session, mut peer) = connected(options(&broker), &broker).await;
    session.disconnect_with(ReasonCode::DISCONNECT_WITH_WILL, mqttx::Properties::new()).await;
    peer.expect("e0 { 04 }").await;
    peer.expect_closed().await;
    let waiting = session.enqueue(message("1", QoS::AtLeastOnce)).await.expect("accepted");
    broker.expect_no_connection(Duration::from_millis(100)).await;
    session.connect();
    let (mut peer, _) = broker.accept_and_answer(ACCEPTED).await;
    peer.expect("32 { <t> 00 01 {} '1' }").await;
    peer.send("40 { 00 01 }").await;
    waiting.await.expect("acknowledged");
}

#[tokio::test]
async fn reconnect_makes_a_new_connection_at_once() {
    let broker = ScriptedBroker::start().await;
    let slow = Backoff::new(Duration::from_secs(100), Duration::from_secs(100));
    let (_manager, session, mut peer) = connected(options(&broker).reconnect(slow), &broker).await;
    session.reconnect();
    peer.expect("e0 {}").await;
    drop(peer);
    let (peer, _) = broker.accept_and_answer(ACCEPTED).await;
    session.wait_connected(SOON).await.expect("connected");
    drop(peer);
    while session.is_connected() {
        tokio::task::yield_now().await;
    }
    // The delay of a hundred seconds does not count.
    session.reconnect();
    let _peer = broker.accept_and_answer(ACCEPTED).await;
}

#[tokio::test]
async fn the_next_broker_is_tried_when_one_fails() {
    let (first, second) = (ScriptedBroker::start().await, ScriptedBroker::start().await);
    let slow = Backoff::new(Duration::from_secs(100), Duration::from_secs(100));
    let builder = options(&first).broker(second.url()).reconnect(slow);
    let manager = SessionManager::new();
    let session = manager.add_session(builder.build().expect("valid")).expect("a session");
    first.accept().await.reset();
    let (_peer, _) = second.accept_and_answer(ACCEPTED).await;
    session.wait_connected(SOON).await.expect("connected");
}

#[tokio::test]
async fn bad_credentials_end_the_session_until_it_is_asked_again() {
    let broker = ScriptedBroker::start().await;
    let manager = SessionManager::new();
    let session = manager.add_session(options(&broker).build().expect("valid")).expect("a session");
    let queued = session.enqueue(message("1", QoS::AtLeastOnce)).await.expect("accepted");
    let _refused = broker.accept_and_answer("20 { 00 86 { 1f <no> } }").await;
    let error = session.wait_connected(SOON).await.expect_err("refused");
    assert_eq!(error.reason_code(), Some(ReasonCode::BAD_USER_NAME_OR_PASSWORD));
    assert!(error.to_string().contains("no"), "{error}");
    assert_eq!(session.status(), SessionStatus::Failed);
    broker.expect_no_connection(Duration::from_millis(100)).await;
    session.connect();
    let (mut peer, _) = broker.accept_and_answer(ACCEPTED).await;
    peer.expect("32 { <t> 00 01 {} '1' }").await;
    peer.send("40 { 00 01 }").await;
    queued.await.expect("acknowledged");
}

#[tokio::test]
async fn a_busy_server_is_asked_again() {
    let broker = ScriptedBroker::start().await;
    let manager = SessionManager::new();
    let session = manager.add_session(options(&broker).build().expect("valid")).expect("a session");
    for _ in 0..3 {
        let _refused = broker.accept_and_answer("20 { 00 89 {} }").await;
    }
    let _peer = broker.accept_and_answer(ACCEPTED).await;
    session.wait_connected(SOON).await.expect("connected");
    assert_eq!(session.metrics().errors, 3);
    assert_eq!(session.metrics().reconnects, 0, "the first connection is not a reconnect");
}

#[tokio::test]
async fn a_redirect_is_followed() {
    let (old, new) = (ScriptedBroker::start().await, ScriptedBroker::start().await);
    let manager = SessionManager::new();
    let session = manager.add_session(options(&old).build().expect("valid")).expect("a session");
    let connack = format!("20 {{ 00 9d {{ 1c <{}> }} }}", new.address());
    let _redirected = old.accept_and_answer(&connack).await;
    let _peer = new.accept_and_answer(ACCEPTED).await;
    session.wait_connected(SOON).await.expect("connected");
}

#[tokio::test]
async fn a_takeover_is_final() {
    let broker = ScriptedBroker::start().await;
    let (_manager, session, mut peer) = connected(options(&broker), &broker).await;
    peer.send("e0 { 8e }").await;
    while session.status() != SessionStatus::Failed {
        tokio::task::yield_now().await;
    }
    broker.expect_no_connection(Duration::from_millis(100)).await;
    assert_eq!(
        session.last_error().and_then(|error| error.reason_code()),
        Some(ReasonCode::SESSION_TAKEN_OVER)
    );
}

#[tokio::test]
async fn packets_may_come_byte_by_byte() {
    let broker = ScriptedBroker::start().await;
    let manager = SessionManager::new();
    let session = manager.add_session(options(&broker).build().expect("valid")).expect("a session");
    let mut stream = session.listen("#").expect("a route");
    let mut peer = broker.accept().await;
    peer.expect_type(0x10).await;
    peer.send_split(ACCEPTED).await;
    peer.expect("82 { 00 01 { 0b 01 } <#> 01 }").await;
    peer.send_split("90 { 00 01 {} 01 }").await;
    peer.send_split("32 { <a> 00 07 { 0b 01 } 'one' } 30 { <b> {} 'two' }").await;
    let one = stream.next().await.expect("a message");
    assert_eq!((one.topic(), one.payload()), ("a", &b"one"[..]));
    let two = stream.next().await.expect("a message");
    assert_eq!((two.topic(), two.payload()), ("b", &b"two"[..]));
    peer.expect("40 { 00 07 }").await;
}

#[tokio::test]
async fn a_packet_larger_than_the_read_buffer_arrives_whole() {
    let broker = ScriptedBroker::start().await;
    let (_manager, session, mut peer) = connected(options(&broker), &broker).await;
    let mut stream = session.listen("big").expect("a route");
    peer.expect_type(0x82).await;
    peer.send("90 { 00 01 {} 01 }").await;
    let payload: String = (0..1_000_000).map(|n| char::from(b'a' + (n % 26) as u8)).collect();
    peer.send_bytes(&hex(&format!("30 {{ <big> {{}} '{payload}' }} 30 {{ <big> {{}} 'end' }}")))
        .await;
    let big = stream.next().await.expect("a message");
    assert_eq!(big.payload_str().expect("text"), payload);
    let end = stream.next().await.expect("a message");
    assert_eq!(end.payload(), b"end");
}

#[tokio::test]
async fn a_message_without_a_route_waits_for_one() {
    let broker = ScriptedBroker::start().await;
    let builder = options(&broker).client_id("c").persistent(true);
    let (_manager, session, mut peer) = connected(builder, &broker).await;
    peer.send("32 { <a> 00 07 {} 'x' }").await;
    while session.metrics().messages_received == 0 {
        tokio::task::yield_now().await;
    }
    let mut stream = session.listen("a").expect("a route");
    peer.expect_type(0x82).await;
    peer.send("90 { 00 01 {} 01 }").await;
    assert_eq!(stream.next().await.expect("a message").payload(), b"x");
    drop(stream);
    // Done with the message, and with the filter.
    let mut packets = [peer.recv_packet().await, peer.recv_packet().await];
    packets.sort();
    assert_eq!(packets, [hex("40 { 00 07 }"), hex("a2 { 00 02 {} <a> }")]);
    assert_eq!(session.metrics().parked_bytes, 0);
}

#[tokio::test]
async fn a_message_in_one_piece_with_the_connack_waits_for_a_route() {
    let broker = ScriptedBroker::start().await;
    let builder = options(&broker).client_id("c").persistent(true);
    let manager = SessionManager::new();
    let session = manager.add_session(builder.build().expect("valid")).expect("a session");
    let answer = format!("{RESUMED} 32 {{ <a> 00 07 {{}} 'x' }}");
    let (mut peer, _) = broker.accept_and_answer(&answer).await;
    session.wait_ready(SOON).await.expect("ready");
    let mut stream = session.listen("a").expect("a route");
    assert_eq!(stream.next().await.expect("a message").payload(), b"x");
    stream.done();
    peer.expect_type(0x82).await;
    peer.expect("40 { 00 07 }").await;
    assert_eq!(session.metrics().dropped.total(), 0);
}

#[tokio::test]
async fn a_message_that_nobody_wants_is_acknowledged_and_counted_in_the_end() {
    let broker = ScriptedBroker::start().await;
    let builder = options(&broker).unrouted_hold(Duration::from_millis(50));
    let (_manager, session, mut peer) = connected(builder, &broker).await;
    peer.send("32 { <a> 00 07 {} 'x' }").await;
    peer.expect("40 { 00 07 }").await;
    assert_eq!(session.metrics().dropped.of(mqttx::DropReason::Unrouted), 1);
}

#[tokio::test]
async fn two_routes_share_one_subscription() {
    let broker = ScriptedBroker::start().await;
    let (_manager, session, mut peer) = connected(options(&broker), &broker).await;
    let first = session.handle("a/+", |_| {}).expect("a route");
    let second = session.handle("a/+", |_| {}).expect("a route");
    peer.expect("82 { 00 01 { 0b 01 } <a/+> 01 }").await;
    peer.send("90 { 00 01 {} 01 }").await;
    drop(first);
    let echo = session.publish("p", "", QoS::AtLeastOnce, false);
    let answer = async {
        peer.expect("32 { <p> 00 02 {} }").await;
        peer.send("40 { 00 02 }").await;
    };
    tokio::join!(echo, answer).0.expect("acknowledged");
    drop(second);
    peer.expect("a2 { 00 03 {} <a/+> }").await;
}

#[tokio::test]
async fn a_refused_filter_is_an_error_with_its_code() {
    let broker = ScriptedBroker::start().await;
    let (_manager, session, mut peer) = connected(options(&broker), &broker).await;
    let answer = async {
        peer.expect_type(0x82).await;
        peer.send("90 { 00 01 {} 87 }").await;
    };
    let (refused, ()) = tokio::join!(session.subscribe("secret/#", QoS::AtMostOnce), answer);
    let error = refused.expect_err("refused");
    assert_eq!(error.reason_code(), Some(ReasonCode::NOT_AUTHORIZED));
    assert_eq!(error.topic(), Some("secret/#"));
    let error = session.subscribe("a/#/b", QoS::AtMostOnce).await.expect_err("invalid");
    assert_eq!(error.kind(), mqttx::ErrorKind::Subscribe);
}

#[tokio::test]
async fn a_socket_that_takes_nothing_is_a_lost_connection() {
    let broker = ScriptedBroker::start_with_small_buffers();
    let builder = options(&broker).timeouts(SOON, Duration::from_millis(200));
    let (_manager, session, _stalled) = connected(builder, &broker).await;
    let payload = vec![b'x'; 8 << 20];
    let lost = session.publish("t", payload, QoS::AtMostOnce, false).await.expect_err("lost");
    assert_eq!(lost.error().code(), "publish.connection_lost");
    let _again = broker.accept_and_answer(ACCEPTED).await;
}

#[tokio::test]
async fn version_3_1_1_speaks_without_properties() {
    let broker = ScriptedBroker::start().await;
    let builder = options(&broker).protocol(Version::V311).client_id("c").auth("u", "p");
    let manager = SessionManager::new();
    let session = manager.add_session(builder.build().expect("valid")).expect("a session");
    let (mut peer, connect) = broker.accept_and_answer("20 { 00 00 }").await;
    assert_eq!(connect, hex("10 { <MQTT> 04 c0 00 3c <c> <u> <p> }"));
    let delivery = session.enqueue(message("x", QoS::AtLeastOnce)).await.expect("accepted");
    peer.expect("32 { <t> 00 01 'x' }").await;
    peer.send("40 { 00 01 }").await;
    delivery.await.expect("acknowledged");
}

#[tokio::test]
async fn the_servers_last_words_are_heard_while_writing() {
    let broker = ScriptedBroker::start_with_small_buffers();
    let (_manager, session, mut peer) = connected(options(&broker), &broker).await;
    let stuck = session.try_publish(Publish::new("t", vec![b'x'; 8 << 20])).expect("accepted");
    peer.send("e0 { 8e }").await;
    peer.close().await;
    stuck.await.expect_err("lost");
    let failed = async {
        while session.status() != SessionStatus::Failed {
            tokio::task::yield_now().await;
        }
    };
    let failed = tokio::time::timeout(SOON, failed).await;
    let error = session.last_error().expect("an error");
    assert!(failed.is_ok(), "{error} {:?}", session.status());
    assert_eq!(error.reason_code(), Some(ReasonCode::SESSION_TAKEN_OVER), "{error}");
}

#[tokio::test]
async fn a_server_that_breaks_the_protocol_is_told_so_and_left() {
    let broker = ScriptedBroker::start().await;
    let (_manager, session, mut peer) = connected(options(&broker), &broker).await;
    peer.send("00 00").await;
    peer.expect("e0 { 81 }").await;
    peer.expect_closed().await;
    drop(peer);
    let _peer = broker.accept_and_answer(ACCEPTED).await;
    session.wait_connected(SOON).await.expect("connected again");
    assert_eq!(session.metrics().errors, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_publishers_of_a_narrow_session_all_get_through() {
    let peer = LoadPeer::start(LoadOptions { receive_maximum: Some(2), ..LoadOptions::default() });
    let manager = SessionManager::new();
    let options = SessionOptions::quick_connect("s", peer.url())
        .outbox(Outbox { messages: Some(3), ..Outbox::default() })
        .build()
        .expect("valid");
    let session = manager.add_session(options).expect("a session");
    let tasks: Vec<_> = (0..32)
        .map(|n| {
            let session = session.clone();
            tokio::spawn(async move {
                for k in 0..100 {
                    let qos = QoS::from_u8((n + k) % 3).expect("a QoS");
                    session.publish("t", "x", qos, false).await.expect("published");
                }
            })
        })
        .collect();
    for task in tasks {
        tokio::time::timeout(SOON, task).await.expect("none hangs").expect("no panic");
    }
    session.flush(SOON).await.expect("nothing is left");
    assert_eq!(peer.wait_for(|c| c.publishes >= 3200).await.publishes, 3200);
}

#[derive(Default)]
struct Recorder(Mutex<Vec<(bool, Vec<u8>)>>);

impl WireLog for Recorder {
    fn sent(&self, _: &str, packets: &[u8]) {
        self.0.lock().expect("no panic").push((true, packets.to_vec()));
    }

    fn received(&self, _: &str, packets: &[u8]) {
        self.0.lock().expect("no panic").push((false, packets.to_vec()));
    }
}

#[tokio::test]
async fn the_wire_log_sees_whole_packets_in_both_directions() {
    let broker = ScriptedBroker::start().await;
    let log = Arc::new(Recorder::default());
    let builder = options(&broker).wire_log(log.clone());
    let (_manager, session, mut peer) = connected(builder, &broker).await;
    let payload = "y".repeat(10_000);
    let publish = session.publish("t", payload.clone(), QoS::AtLeastOnce, false);
    let answer = async {
        peer.expect_type(0x32).await;
        peer.send_split("40 { 00 01 }").await;
    };
    tokio::join!(publish, answer).0.expect("acknowledged");
    let seen = std::mem::take(&mut *log.0.lock().expect("no panic"));
    let expected = [
        (true, hex("10 { <MQTT> 05 02 00 3c {} <> }")),
        (false, hex(ACCEPTED)),
        (true, hex(&format!("32 {{ <t> 00 01 {{}} '{payload}' }}"))),
        (false, hex("40 { 00 01 }")),
    ];
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn ready_waits_for_filters_that_came_after_the_connection() {
    let broker = ScriptedBroker::start().await;
    let (_manager, session, mut peer) = connected(options(&broker), &broker).await;
    let _route = session.handle("late", |_| {}).expect("a route");
    peer.expect("82 { 00 01 { 0b 01 } <late> 01 }").await;
    assert!(!session.is_ready());
    let (ready, ()) = tokio::join!(session.wait_ready(SOON), peer.send("90 { 00 01 {} 01 }"));
    ready.expect("the filter is granted");
}

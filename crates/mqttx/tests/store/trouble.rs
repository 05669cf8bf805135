//! Stores that are slow, full, away or broken: nothing is sent that is not stored, and everybody is told.

use std::time::Duration;

use mqttx::{
    Error, ErrorKind, EventFilter, EventName, OnFull, Outbox, Publish, QoS, Session,
    SessionManager, SessionOptions, SessionStatus,
};
use mqttx_test::ScriptedBroker;

use super::manual::ManualStore;

const LONG: Duration = Duration::from_secs(20);

fn session(manager: &SessionManager, broker: &ScriptedBroker, store: &ManualStore) -> Session {
    with_keep_alive(manager, broker, store, Duration::from_secs(60))
}

/// A session whose pings the test waits for.
fn pinging(manager: &SessionManager, broker: &ScriptedBroker, store: &ManualStore) -> Session {
    with_keep_alive(manager, broker, store, Duration::from_secs(2))
}

fn with_keep_alive(
    manager: &SessionManager,
    broker: &ScriptedBroker,
    store: &ManualStore,
    keep_alive: Duration,
) -> Session {
    let options = SessionOptions::quick_connect("kept", broker.url())
        .client_id("kept")
        .subscription_identifiers(false)
        .receive_maximum(None)
        .keep_alive(keep_alive)
        .storage(store.clone())
        .build()
        .expect("the options are good");
    manager.add_session(options).expect("a new name")
}

fn message(payload: &'static str) -> Publish {
    Publish::new("t", payload).qos(QoS::AtLeastOnce)
}

#[tokio::test]
async fn nothing_is_begun_before_the_store_is_open() {
    let broker = ScriptedBroker::start().await;
    let (manager, store) = (SessionManager::new(), ManualStore::closed());
    let session = session(&manager, &broker, &store);
    let refused = session.try_publish(message("now")).expect_err("not open");
    assert!(refused.into_error().is_temporary());
    let route = session.handle("a/#", |_| {}).expect("a route");
    let accepted = tokio::spawn({
        let session = session.clone();
        async move { session.enqueue(message("first")).await.map(drop) }
    });
    tokio::task::yield_now().await;
    assert!(!accepted.is_finished());
    store.open_now();
    let (mut peer, _) = broker.accept_and_answer("20 { 00 00 {} }").await;
    peer.expect("82 { 0001 {} <a/#> 01 }").await;
    accepted.await.expect("no panic").expect("accepted");
    peer.expect("32 { <t> 0002 {} 'first' }").await;
    drop(route);
}

/// Whoever has thousands of sessions whose store is away has other use for the processor.
#[tokio::test(start_paused = true)]
async fn a_session_sleeps_while_its_store_is_being_opened() {
    let broker = ScriptedBroker::start().await;
    let (manager, store) = (SessionManager::new(), ManualStore::closed());
    let _session = session(&manager, &broker, &store);
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    assert!(store.asked() < 10, "{} turns without a reason", store.asked());
    tokio::time::sleep(LONG).await;
    // It looks every 250 ms, as long as there is nothing to tell.
    let (looks, most) = (store.asked(), LONG.as_millis() as usize / 250 + 10);
    assert!((most / 2..most).contains(&looks), "{looks} looks");
    store.set_trouble(Error::store("nobody answers"));
    tokio::time::sleep(LONG).await;
    let told = store.asked();
    assert!(told <= looks + 2);
    tokio::time::sleep(LONG).await;
    assert_eq!(store.asked(), told, "nothing is to be told any more");
}

#[tokio::test]
async fn why_a_store_does_not_open_is_told_once() {
    let broker = ScriptedBroker::start().await;
    let (manager, store) = (SessionManager::new(), ManualStore::closed());
    let names = EventFilter::none().and(EventName::StoreUnavailable);
    let mut events = manager.events_matching(names.and(EventName::StoreAvailable));
    let session = session(&manager, &broker, &store);
    store.set_trouble(Error::store("nobody answers"));
    let event = events.next().await.expect("told");
    assert_eq!(event.kind.name(), EventName::StoreUnavailable);
    assert!(session.last_error().expect("the reason").to_string().contains("nobody answers"));
    store.open_now();
    let event = events.next().await.expect("told, and nothing twice");
    assert_eq!(event.kind.name(), EventName::StoreAvailable);
    let (_peer, _) = broker.accept_and_answer("20 { 00 00 {} }").await;
    session.wait_ready(LONG).await.expect("it goes on");
}

#[tokio::test]
async fn accepted_is_told_once_the_message_is_durable() {
    let broker = ScriptedBroker::start().await;
    let (manager, store) = (SessionManager::new(), ManualStore::new());
    let session = pinging(&manager, &broker, &store);
    let (mut peer, _) = broker.accept_and_answer("20 { 00 00 {} }").await;
    session.wait_ready(LONG).await.expect("ready");
    store.stall();
    let before = store.submitted();
    let accepting = session.enqueue(message("x"));
    let submitting = session.submit(message("y"));
    tokio::pin!(accepting, submitting);
    // A keep-alive passes while the disk hangs: pings go on, and neither call returns.
    tokio::select! {
        biased;
        _ = &mut accepting => panic!("accepted before it is durable"),
        _ = &mut submitting => panic!("accepted before it is durable"),
        () = peer.expect("c0 00") => {}
    }
    peer.send("d0 00").await;
    assert!(store.submitted() > before);
    store.go_on();
    let delivery = accepting.await.expect("accepted");
    submitting.await.expect("accepted");
    peer.expect("32 { <t> 0001 {} 'x' }").await;
    peer.expect("32 { <t> 0002 {} 'y' }").await;
    peer.send("40 { 0001 } 40 { 0002 }").await;
    delivery.await.expect("acknowledged");
    session.flush(LONG).await.expect("nothing is left");
}

#[tokio::test]
async fn a_hanging_disk_holds_up_neither_pings_nor_other_sessions_nor_qos0() {
    let (broker, other_broker) = (ScriptedBroker::start().await, ScriptedBroker::start().await);
    let (manager, store) = (SessionManager::new(), ManualStore::new());
    let session = pinging(&manager, &broker, &store);
    let options = SessionOptions::quick_connect("other", other_broker.url()).client_id("other");
    let options = options.receive_maximum(None).build().expect("good options");
    let other = manager.add_session(options).expect("a new name");
    let (mut peer, _) = broker.accept_and_answer("20 { 00 00 {} }").await;
    let (mut other_peer, _) = other_broker.accept_and_answer("20 { 00 00 {} }").await;
    session.wait_ready(LONG).await.expect("ready");
    store.stall();
    let stuck = session.try_publish(message("stuck")).expect("room in memory");
    session.publish("t", "fast", QoS::AtMostOnce, false).await.expect("written");
    peer.expect("30 { <t> {} 'fast' }").await;
    let published = other.publish("t", "else", QoS::AtLeastOnce, false);
    let answer = async {
        other_peer.expect("32 { <t> 0001 {} 'else' }").await;
        other_peer.send("40 { 0001 }").await;
    };
    let (published, ()) = tokio::join!(published, answer);
    published.expect("the other session goes on");
    peer.expect("c0 00").await;
    peer.send("d0 00").await;
    store.go_on();
    peer.expect("32 { <t> 0001 {} 'stuck' }").await;
    peer.send("40 { 0001 }").await;
    stuck.await.expect("acknowledged");
}

#[tokio::test]
async fn a_full_store_makes_new_messages_wait_and_heals() {
    let broker = ScriptedBroker::start().await;
    let (manager, store) = (SessionManager::new(), ManualStore::new());
    let mut events = manager.events_matching(EventName::StoreFull);
    let session = session(&manager, &broker, &store);
    let (mut peer, _) = broker.accept_and_answer("20 { 00 00 {} }").await;
    session.wait_ready(LONG).await.expect("ready");
    store.set_full(true);
    events.next().await.expect("told");
    let error = session.try_publish(message("x")).expect_err("full").into_error();
    assert_eq!(error.code(), "store.full");
    session.publish("t", "q0", QoS::AtMostOnce, false).await.expect("QoS 0 needs no store");
    peer.expect("30 { <t> {} 'q0' }").await;
    let waiting = session.enqueue(message("x"));
    tokio::pin!(waiting);
    tokio::select! {
        biased;
        _ = &mut waiting => panic!("there is no room"),
        () = tokio::task::yield_now() => {}
    }
    store.set_full(false);
    drop(waiting.await.expect("there is room again"));
    peer.expect("32 { <t> 0001 {} 'x' }").await;
}

#[tokio::test]
async fn who_publishes_without_the_store_waits_for_the_outbox_only() {
    let broker = ScriptedBroker::start().await;
    let (manager, store) = (SessionManager::new(), ManualStore::new());
    let mut events = manager.events_matching(EventName::StoreFull);
    let options = SessionOptions::quick_connect("kept", broker.url())
        .client_id("kept")
        .outbox(Outbox { messages: Some(1), ..Outbox::default() })
        .storage(store.clone());
    let session = manager.add_session(options.build().expect("good")).expect("a new name");
    store.set_full(true);
    events.next().await.expect("told");
    let q0 = |payload| Publish::new("t", payload).qos(QoS::AtMostOnce);
    session.submit(q0("first")).await.expect("there is room for one");
    let second = tokio::spawn({
        let session = session.clone();
        async move { session.submit(q0("second")).await }
    });
    tokio::task::yield_now().await;
    assert!(!second.is_finished(), "there is no room");
    let (mut peer, _) = broker.accept_and_answer("20 { 00 00 {} }").await;
    peer.expect("30 { <t> {} 'first' }").await;
    peer.expect("30 { <t> {} 'second' }").await;
    second.await.expect("no panic").expect("accepted");
}

#[tokio::test]
async fn a_full_store_that_rejects_hands_the_message_back() {
    let broker = ScriptedBroker::start().await;
    let (manager, store) = (SessionManager::new(), ManualStore::new().when_full(OnFull::Reject));
    let mut events = manager.events_matching(EventName::StoreFull);
    let session = session(&manager, &broker, &store);
    store.set_full(true);
    events.next().await.expect("told");
    let refused = session.enqueue(message("back")).await.expect_err("full");
    assert_eq!(refused.message().payload, "back");
    assert_eq!(refused.into_error().code(), "store.full");
}

#[tokio::test]
async fn a_full_store_that_drops_the_oldest_makes_room_by_it() {
    let store = ManualStore::new().when_full(OnFull::DropOldest);
    let manager = SessionManager::new();
    let mut events = manager.events_matching(EventName::StoreFull);
    let options = SessionOptions::quick_connect("kept", "127.0.0.1:1").client_id("kept");
    let options = options.manual_connect(true).storage(store.clone()).build().expect("good");
    let session = manager.add_session(options).expect("a new name");
    let oldest = session.enqueue(message("oldest")).await.expect("accepted");
    store.set_full(true);
    events.next().await.expect("told");
    let newest = session.enqueue(message("newest")).await.expect("in its place");
    let error = oldest.await.expect_err("it made room");
    assert_eq!(error.code(), "publish.dropped");
    assert_eq!(session.unacknowledged(), 1);
    drop(newest);
}

#[tokio::test]
async fn who_made_room_is_told_although_that_was_not_enough() {
    let store = ManualStore::new().when_full(OnFull::DropOldest);
    let manager = SessionManager::new();
    let mut events = manager.events_matching(EventName::StoreFull);
    let options = SessionOptions::quick_connect("kept", "127.0.0.1:1").client_id("kept");
    let options = options.outbox(Outbox { bytes: Some(1000), ..Outbox::default() });
    let options = options.manual_connect(true).storage(store.clone()).build().expect("good");
    let session = manager.add_session(options).expect("a new name");
    let large = || Publish::new("t", vec![0; 800]).qos(QoS::AtLeastOnce);
    let oldest = tokio::spawn(session.enqueue(message("oldest")).await.expect("accepted"));
    let _kept = session.enqueue(large()).await.expect("accepted");
    tokio::task::yield_now().await;
    store.set_full(true);
    events.next().await.expect("told");
    tokio::select! {
        biased;
        _ = session.enqueue(large()) => panic!("there is no room for it"),
        ended = tokio::time::timeout(LONG, oldest) => {
            let error = ended.expect("told").expect("no panic").expect_err("it made room");
            assert_eq!(error.code(), "publish.dropped");
        }
    }
}

#[tokio::test]
async fn a_store_that_fails_ends_the_session_and_comes_back_by_a_call() {
    let broker = ScriptedBroker::start().await;
    let (manager, store) = (SessionManager::new(), ManualStore::new());
    let session = session(&manager, &broker, &store);
    let (mut peer, _) = broker.accept_and_answer("20 { 00 00 {} }").await;
    let kept = session.enqueue(message("kept")).await.expect("accepted");
    peer.expect("32 { <t> 0001 {} 'kept' }").await;
    store.stall();
    let unsure = session.enqueue(message("unsure"));
    let fail = async {
        tokio::task::yield_now().await;
        store.fail(Error::store("the disk is gone"));
        peer.expect("e0 { 80 }").await;
        peer.close().await;
    };
    let (unsure, ()) = tokio::join!(unsure, fail);
    let error = unsure.expect_err("not durable").into_error();
    assert_eq!(error.kind(), ErrorKind::Store, "{error}");
    assert_eq!(kept.await.expect_err("told").kind(), ErrorKind::Store);
    let error = session.wait_connected(LONG).await.expect_err("failed");
    assert!(error.to_string().contains("the disk is gone"), "{error}");
    assert_eq!(session.status(), SessionStatus::Failed);
    let refused = session.enqueue(message("later")).await.expect_err("nothing is kept");
    assert_eq!(refused.into_error().kind(), ErrorKind::Store);
    // Somebody mended it.
    store.go_on();
    session.connect();
    let (mut peer, _) = broker.accept_and_answer("20 { 01 00 {} }").await;
    peer.expect("3a { <t> 0001 {} 'kept' }").await;
    assert_eq!(store.opened(), 2);
    peer.close().await;
    manager.shutdown(Duration::ZERO).await;
}

/// Positions begin again in another log: what the failed one never had is not durable in the next.
#[tokio::test]
async fn a_message_that_a_failed_store_did_not_keep_is_never_told_as_stored() {
    let broker = ScriptedBroker::start().await;
    let (manager, store) = (SessionManager::new(), ManualStore::new());
    let mut changes = manager.events_matching(EventName::SessionStateChanged);
    let session = session(&manager, &broker, &store);
    let (mut peer, _) = broker.accept_and_answer("20 { 00 00 {} }").await;
    session.wait_ready(LONG).await.expect("ready");
    store.stall();
    let unsure = session.begin_submit(message("unsure")).await.expect("the session has it");
    store.fail(Error::store("the disk is gone"));
    peer.expect("e0 { 80 }").await;
    peer.close().await;
    while session.status() != SessionStatus::Failed {
        changes.next().await.expect("another status");
    }
    store.go_on();
    session.connect();
    let (_peer, _) = broker.accept_and_answer("20 { 01 00 {} }").await;
    session.wait_ready(LONG).await.expect("ready");
    for _ in 0..8 {
        session.submit(message("after it")).await.expect("stored");
    }
    let error = unsure.stored().await.expect_err("nobody knows");
    assert_eq!(error.kind(), ErrorKind::Store, "{error}");
}

#[test]
fn what_was_acknowledged_right_before_the_end_of_the_runtime_is_on_record() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let store = ManualStore::new();
    let (manager, _stream, message, before) = runtime.block_on(async {
        let broker = ScriptedBroker::start().await;
        let manager = SessionManager::new();
        let session = session(&manager, &broker, &store);
        let route = session.route("t").qos(QoS::ExactlyOnce).manual_ack(true);
        let mut stream = route.listen().expect("a route");
        let (mut peer, _) = broker.accept_and_answer("20 { 00 00 {} }").await;
        peer.expect("82 { 0001 {} <t> 02 }").await;
        peer.send("90 { 0001 {} 02 }").await;
        session.wait_ready(LONG).await.expect("ready");
        peer.send("34 { <t> 0007 {} 'x' }").await;
        let message = stream.next().await.expect("a message");
        tokio::task::yield_now().await;
        (manager, stream, message, store.submitted())
    });
    message.ack();
    drop(runtime);
    assert!(store.submitted() > before, "the acknowledgement");
    drop(manager);
}

#[tokio::test]
async fn a_backlog_beyond_memory_is_sent_in_order_and_survives() {
    const MESSAGES: u64 = 20_000;
    let broker = ScriptedBroker::start().await;
    let store = ManualStore::new().spilling();
    let manager = SessionManager::new();
    let options = SessionOptions::quick_connect("kept", broker.url())
        .client_id("kept")
        .manual_connect(true)
        .storage(store.clone())
        .build()
        .expect("the options are good");
    let first = manager.add_session(options.clone()).expect("a new name");
    for n in 0..MESSAGES {
        let message = Publish::new("t", n.to_string()).qos(QoS::AtLeastOnce);
        first.submit(message).await.expect("accepted");
    }
    assert_eq!(first.metrics().outbox_messages as u64, MESSAGES);
    assert!(first.metrics().outbox_spilled as u64 > MESSAGES / 2);
    manager.remove_session("kept").await.expect("it exists");
    let second = manager.add_session(options).expect("the name is free");
    assert_eq!(second.metrics().outbox_messages as u64, MESSAGES);
    second.connect();
    let (mut peer, _) = broker.accept_and_answer("20 { 00 00 { 21 0040 } }").await;
    for n in 0..MESSAGES {
        let packet = peer.recv_packet().await;
        let id = &packet[5..7];
        assert_eq!(&packet[8..], n.to_string().as_bytes(), "in order");
        peer.send_bytes(&[0x40, 2, id[0], id[1]]).await;
    }
    second.flush(LONG).await.expect("everything is acknowledged");
    let metrics = second.metrics();
    assert_eq!((metrics.outbox_messages, metrics.outbox_spilled, metrics.outbox_bytes), (0, 0, 0));
}

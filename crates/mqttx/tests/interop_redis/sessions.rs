//! Whole sessions whose state is in Redis.

use std::time::Duration;

use mqttx::{
    EventKind, OnStoreError, Publish, QoS, RedisStore, Session, SessionBuilder, SessionManager,
    SessionOptions,
};
use mqttx_test::{Redis, ScriptedBroker};

use super::support::{store, within};

const LONG: Duration = Duration::from_secs(60);

fn session(broker: &ScriptedBroker, store: &RedisStore) -> SessionBuilder {
    SessionOptions::quick_connect("kept", broker.url())
        .client_id("kept")
        .subscription_identifiers(false)
        .receive_maximum(None)
        .storage(store.clone())
}

fn add(manager: &SessionManager, session: SessionBuilder) -> Session {
    manager.add_session(session.build().expect("the options are good")).expect("a new name")
}

fn message(payload: impl ToString) -> Publish {
    Publish::new("t", payload.to_string()).qos(QoS::AtLeastOnce)
}

#[tokio::test]
async fn a_backlog_is_sent_in_order_by_the_next_process() {
    const MESSAGES: u64 = 20_000;
    let Some(mut redis) = Redis::builder().append_only(true).start().await else { return };
    let broker = ScriptedBroker::start().await;
    let manager = SessionManager::new();
    let first = add(&manager, session(&broker, &store(&redis.url())).manual_connect(true));
    for n in 0..MESSAGES {
        first.submit(message(n)).await.expect("accepted");
        if n == MESSAGES / 2 {
            redis.restart().await;
        }
    }
    assert!(first.metrics().outbox_spilled as u64 > MESSAGES / 4);
    within(manager.shutdown(Duration::ZERO)).await;
    redis.restart().await;

    let manager = SessionManager::new();
    let second = add(&manager, session(&broker, &store(&redis.url())));
    let (mut peer, _) = broker.accept_and_answer("20 { 00 00 { 21 0040 } }").await;
    assert_eq!(second.metrics().outbox_messages as u64, MESSAGES);
    for n in 0..MESSAGES {
        let packet = peer.recv_packet().await;
        let id = &packet[5..7];
        assert_eq!(&packet[8..], n.to_string().as_bytes(), "in order");
        peer.send_bytes(&[0x40, 2, id[0], id[1]]).await;
    }
    second.flush(LONG).await.expect("everything is acknowledged");
    within(manager.shutdown(Duration::ZERO)).await;
    assert_eq!(redis.command(&["HLEN", "mqttx:{kept}:messages"]), ":0");
}

#[tokio::test]
async fn nothing_is_sent_that_redis_does_not_have() {
    let Some(mut redis) = Redis::builder().append_only(true).start().await else { return };
    let broker = ScriptedBroker::start().await;
    let manager = SessionManager::new();
    let mut events = manager.events();
    let session = add(&manager, session(&broker, &store(&redis.url())));
    let (mut peer, _) = broker.accept_and_answer("20 { 00 00 {} }").await;
    let _first = session.enqueue(message("first")).await.expect("accepted");
    peer.expect("32 { <t> 0001 {} 'first' }").await;
    redis.kill();
    let second = tokio::spawn({
        let session = session.clone();
        async move { session.publish("t", "second", QoS::AtLeastOnce, false).await }
    });
    let mut until = async |wanted: fn(&EventKind) -> bool| {
        within(async {
            while !wanted(&events.next().await.expect("the manager is there").kind) {}
        })
        .await;
    };
    until(|kind| matches!(kind, EventKind::StoreUnavailable { .. })).await;
    session.publish("t", "not stored", QoS::AtMostOnce, false).await.expect("it needs no store");
    peer.expect("30 { <t> {} 'not stored' }").await;
    assert!(!second.is_finished());
    redis.restart().await;
    until(|kind| matches!(kind, EventKind::StoreAvailable)).await;
    peer.expect("32 { <t> 0002 {} 'second' }").await;
    peer.send("40 { 0001 } 40 { 0002 }").await;
    within(second).await.expect("it does not panic").expect("acknowledged");
}

#[tokio::test]
async fn a_session_fails_with_a_store_that_must_not_wait() {
    let Some(mut redis) = Redis::builder().start().await else { return };
    let broker = ScriptedBroker::start().await;
    let manager = SessionManager::new();
    let store = store(&redis.url()).on_error(OnStoreError::Fail);
    let session = add(&manager, session(&broker, &store));
    let (mut peer, _) = broker.accept_and_answer("20 { 00 00 {} }").await;
    redis.kill();
    let published = tokio::spawn({
        let session = session.clone();
        async move { session.publish("t", "x", QoS::AtLeastOnce, false).await }
    });
    peer.expect_type(0xe0).await;
    peer.close().await;
    within(published).await.expect("it does not panic").expect_err("it cannot be stored");
}

//! Steady traffic allocates nothing per message beyond the payload's own storage.
//!
//! Only the thread of the test is counted: the session, its publishers and its inline handlers run
//! there, the peer does not.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use allocation_counter::measure;
use bytes::Bytes;
use mqttx::{Publish, QoS, Session, SessionManager, SessionOptions};
use mqttx_test::{Flood, LoadOptions, LoadPeer};
use tokio::runtime::{Builder, Runtime};

const MESSAGES: u64 = 20_000;
/// What a hundred messages may allocate together: growing tables, tasks, timers.
const PER_HUNDRED: u64 = 1;

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

async fn connect(peer: &LoadPeer) -> (SessionManager, Session) {
    let manager = SessionManager::new();
    let options = SessionOptions::quick_connect("s", peer.url()).build().expect("valid");
    let session = manager.add_session(options).expect("a session");
    session.wait_ready(Duration::from_secs(10)).await.expect("ready");
    (manager, session)
}

/// Publishes with up to 1000 deliveries in hand.
async fn publish(session: &Session, message: &Publish, count: u64) {
    let mut deliveries = VecDeque::with_capacity(1000);
    for _ in 0..count {
        if deliveries.len() == 1000
            && let Some(oldest) = deliveries.pop_front()
        {
            let oldest: mqttx::Delivery = oldest;
            oldest.await.expect("acknowledged");
        }
        deliveries.push_back(session.enqueue(message.clone()).await.expect("accepted"));
    }
    for delivery in deliveries {
        delivery.await.expect("acknowledged");
    }
}

fn publishing(qos: QoS) {
    let peer = LoadPeer::start(LoadOptions::default());
    let runtime = runtime();
    let (_manager, session) = runtime.block_on(connect(&peer));
    let message = Publish::new("bench/topic", Bytes::from_static(&[7; 64])).qos(qos);
    runtime.block_on(publish(&session, &message, MESSAGES));
    let counted = measure(|| runtime.block_on(publish(&session, &message, MESSAGES)));
    let limit = MESSAGES * PER_HUNDRED / 100;
    assert!(counted.count_total < limit, "{} allocations, {limit} allowed", counted.count_total);
    drop(runtime);
}

#[test]
fn publishing_at_qos_0_allocates_nothing() {
    publishing(QoS::AtMostOnce);
}

#[test]
fn publishing_at_qos_1_allocates_nothing() {
    publishing(QoS::AtLeastOnce);
}

#[test]
fn publishing_at_qos_2_allocates_nothing() {
    publishing(QoS::ExactlyOnce);
}

fn receiving(qos: u8) {
    let flood = Flood {
        topic: "bench/topic".to_owned(),
        payload: 64,
        qos,
        messages: MESSAGES,
        window: 1000,
    };
    let peer = LoadPeer::start(LoadOptions { flood: Some(flood), ..LoadOptions::default() });
    let runtime = runtime();
    let (_manager, session) = runtime.block_on(connect(&peer));
    let received = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&received);
    let done = Arc::new(tokio::sync::Notify::new());
    let tell = Arc::clone(&done);
    let route = session
        .route("bench/#")
        .qos(QoS::from_u8(qos).expect("a QoS"))
        .inline(move |message| {
            assert_eq!(message.payload().len(), 64);
            if count.fetch_add(1, Ordering::Relaxed) + 1 == MESSAGES {
                tell.notify_one();
            }
        })
        .expect("a route");
    // All of it, the subscription included.
    let counted = measure(|| runtime.block_on(done.notified()));
    assert_eq!(received.load(Ordering::Relaxed), MESSAGES);
    let limit = MESSAGES * PER_HUNDRED / 100;
    assert!(counted.count_total < limit, "{} allocations, {limit} allowed", counted.count_total);
    drop(route);
}

#[test]
fn receiving_at_qos_0_allocates_nothing() {
    receiving(0);
}

#[test]
fn receiving_at_qos_1_allocates_nothing() {
    receiving(1);
}

#[test]
fn receiving_at_qos_2_allocates_nothing() {
    receiving(2);
}

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
use mqttx::{Message, Publish, QoS, RouteBuilder, Session, SessionManager, SessionOptions};
use mqttx_test::{Flood, LoadOptions, LoadPeer};
use tokio::runtime::{Builder, Runtime};

const MESSAGES: u64 = 50_000;
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
    assert_per_message(counted.count_total, 0);
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

/// Counts the messages that a handler saw, and tells of the last one.
#[derive(Default)]
struct Meter {
    received: AtomicU64,
    last: tokio::sync::Notify,
}

impl Meter {
    fn on_message(&self, payload: &[u8]) {
        assert_eq!(payload.len(), 64);
        if self.received.fetch_add(1, Ordering::Relaxed) + 1 == MESSAGES {
            self.last.notify_one();
        }
    }
}

/// Allocations from the subscription to the last message, with the route that `start` starts.
fn receiving(qos: u8, start: impl Fn(RouteBuilder, Arc<Meter>)) -> u64 {
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
    let meter = Arc::new(Meter::default());
    let counted = measure(|| {
        runtime.block_on(async {
            let route = session.route("bench/#").qos(QoS::from_u8(qos).expect("a QoS"));
            start(route, Arc::clone(&meter));
            meter.last.notified().await;
        });
    });
    counted.count_total
}

fn inline(route: RouteBuilder, meter: Arc<Meter>) {
    route.inline(move |message| meter.on_message(message.payload())).expect("a route").detach();
}

fn stream(route: RouteBuilder, meter: Arc<Meter>) {
    let mut stream = route.listen().expect("a route");
    tokio::spawn(async move {
        while let Some(message) = stream.next().await {
            meter.on_message(message.payload());
        }
    });
}

fn callback(route: RouteBuilder, meter: Arc<Meter>) {
    route.handle(move |message| meter.on_message(message.payload())).expect("a route").detach();
}

fn async_callback(route: RouteBuilder, meter: Arc<Meter>) {
    let handler = move |message: Message| {
        meter.on_message(message.payload());
        std::future::ready(())
    };
    route.handle_async(handler).expect("a route").detach();
}

/// At most that many, and a few for growing tables, tasks and timers.
#[track_caller]
fn assert_per_message(counted: u64, each: u64) {
    let limit = MESSAGES * each + MESSAGES * PER_HUNDRED / 100;
    assert!(counted < limit, "{counted} allocations, {limit} allowed");
}

#[test]
fn an_inline_handler_costs_no_allocation() {
    for qos in [0, 1, 2] {
        assert_per_message(receiving(qos, inline), 0);
    }
}

#[test]
fn a_stream_costs_the_message_itself() {
    for qos in [0, 1, 2] {
        assert_per_message(receiving(qos, stream), 1);
    }
}

/// The second one makes the storage shared: a copy is kept in case that the handler panics.
#[test]
fn an_async_callback_costs_the_message_itself_twice() {
    for qos in [0, 1, 2] {
        assert_per_message(receiving(qos, async_callback), 2);
    }
}

/// One job for each burst of messages, which at worst has one message. The job itself runs on another
/// thread, which is not counted.
#[test]
fn a_callback_costs_the_message_itself_and_a_job_for_each_burst() {
    for qos in [0, 1, 2] {
        assert_per_message(receiving(qos, callback), 2);
    }
}

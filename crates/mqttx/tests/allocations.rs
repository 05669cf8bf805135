//! Steady traffic allocates nothing per message, unless its consumer keeps the message.
//!
//! All threads of the process count: the session, its publishers and handlers wherever they run,
//! and the peer, which allocates nothing for a message either.

use std::alloc::System;
use std::collections::VecDeque;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use mqttx::{
    ForwarderBuilder, ForwarderManager, ForwarderSource, Message, Publish, QoS, RouteBuilder,
    Session, SessionManager, SessionOptions,
};
use mqttx_test::{Flood, LoadOptions, LoadPeer};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tokio::runtime::{Builder, Runtime};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Counted together.
const MESSAGES: u64 = 20_000;
/// Received, ten times as many.
const ALL: u64 = 10 * MESSAGES;
/// What a hundred messages may allocate together: growing tables, tasks, timers.
const PER_HUNDRED: u64 = 2;

/// One test at a time: what another one allocates would count.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Allocations, and enlargements of what was allocated.
fn allocations(region: &Region<'_, System>) -> u64 {
    let stats = region.change();
    (stats.allocations + stats.reallocations) as u64
}

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
    let _alone = alone();
    let peer = LoadPeer::start(LoadOptions::default());
    let runtime = runtime();
    let (_manager, session) = runtime.block_on(connect(&peer));
    let message = Publish::new("bench/topic", Bytes::from_static(&[7; 64])).qos(qos);
    runtime.block_on(publish(&session, &message, MESSAGES));
    let region = Region::new(ALLOCATOR);
    runtime.block_on(publish(&session, &message, MESSAGES));
    assert_per_message(allocations(&region), 0);
    // Nor does it keep anything: the packets take 1.6 MB.
    let change = region.change();
    let kept = change.bytes_allocated.saturating_sub(change.bytes_deallocated);
    assert!(kept < 400_000, "{kept} bytes more for {MESSAGES} messages");
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

/// Counts the messages that a handler saw, and what was allocated from window to window.
struct Meter {
    payload: usize,
    received: AtomicU64,
    region: Mutex<Region<'static, System>>,
    /// The least of all windows.
    least: AtomicU64,
    last: tokio::sync::Notify,
}

impl Meter {
    fn new(payload: usize) -> Self {
        Self {
            payload,
            received: AtomicU64::new(0),
            region: Mutex::new(Region::new(ALLOCATOR)),
            least: AtomicU64::new(u64::MAX),
            last: tokio::sync::Notify::new(),
        }
    }

    fn on_message(&self, payload: &[u8]) {
        assert_eq!(payload.len(), self.payload);
        let received = self.received.fetch_add(1, Ordering::Relaxed) + 1;
        if received.is_multiple_of(MESSAGES) {
            let mut region = self.region.lock().unwrap();
            self.least.fetch_min(allocations(&region), Ordering::Relaxed);
            if received == ALL {
                self.last.notify_one();
            }
            region.reset();
        }
    }
}

/// The topics of a flood: two messages of each in a row, then another one.
fn topics() -> Vec<String> {
    (0..200).map(|number| format!("bench/topic/{}", number / 2)).collect()
}

/// Allocations of steady receiving for [`MESSAGES`], with the route that `start` starts: the least of ten windows. In the others
/// the machine may have had more to do than this, so that a backlog grew to a length that it did not have before.
fn receiving(qos: u8, start: impl Fn(RouteBuilder, Arc<Meter>)) -> u64 {
    receiving_payloads(64, qos, start)
}

/// [`receiving`], with payloads of that size.
fn receiving_payloads(payload: usize, qos: u8, start: impl Fn(RouteBuilder, Arc<Meter>)) -> u64 {
    let _alone = alone();
    let flood = Flood { topics: topics(), payload, qos, messages: ALL, window: 1000 };
    let peer = LoadPeer::start(LoadOptions { flood: Some(flood), ..LoadOptions::default() });
    let runtime = runtime();
    let (_manager, session) = runtime.block_on(connect(&peer));
    let meter = Arc::new(Meter::new(payload));
    runtime.block_on(async {
        let route = session.route("bench/#").qos(QoS::from_u8(qos).expect("a QoS"));
        start(route, Arc::clone(&meter));
        meter.last.notified().await;
    });
    meter.least.load(Ordering::Relaxed)
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

#[test]
fn an_async_callback_that_keeps_no_message_costs_no_allocation() {
    for qos in [0, 1, 2] {
        assert_per_message(receiving(qos, async_callback), 0);
    }
}

#[test]
fn a_callback_that_keeps_no_message_costs_no_allocation() {
    for qos in [0, 1, 2] {
        assert_per_message(receiving(qos, callback), 0);
    }
}

#[test]
fn a_callback_that_drops_its_clones_costs_no_allocation() {
    let cloning = |route: RouteBuilder, meter: Arc<Meter>| {
        let handler = move |message: &Message| {
            let clones = [message.clone(), message.clone()];
            meter.on_message(clones[0].payload());
        };
        route.handle(handler).expect("a route").detach();
    };
    assert_per_message(receiving(1, cloning), 0);
}

/// Allocations of steady forwarding for [`MESSAGES`]: the least of nine parts of a flood.
fn forwarding(qos: u8, window: usize) -> u64 {
    let _alone = alone();
    let flood = Flood { topics: topics(), payload: 64, qos, messages: ALL, window: 1000 };
    let peer = LoadPeer::start(LoadOptions { flood: Some(flood), ..LoadOptions::default() });
    let runtime = runtime();
    runtime.block_on(async {
        let (manager, _source) = connect(&peer).await;
        let target = SessionOptions::quick_connect("target", peer.url()).build().expect("valid");
        let target = manager.add_session(target).expect("a session");
        target.wait_ready(Duration::from_secs(10)).await.expect("ready");
        let forwarders = ForwarderManager::new(&manager);
        let source = ForwarderSource::new("s").topic("bench/#");
        let rules = ForwarderBuilder::new("fw")
            .from(source.qos(QoS::from_u8(qos).expect("a QoS")))
            .target("target")
            .topic("site/{#}")
            .window(window)
            .enabled(false);
        let rules = rules.build().expect("valid");
        let forwarder = forwarders.add_forwarder(rules).expect("a forwarder");
        let looking = Region::new(ALLOCATOR);
        drop(forwarder.metrics());
        // What this test itself costs.
        let look = allocations(&looking);
        let mut region = Region::new(ALLOCATOR);
        forwarder.start().await.expect("started");
        let (mut least, mut next, mut looks) = (u64::MAX, MESSAGES, 0);
        let end = tokio::time::Instant::now() + Duration::from_secs(60);
        while next < ALL {
            assert!(tokio::time::Instant::now() < end, "{:?}", forwarder.metrics());
            tokio::task::yield_now().await;
            let forwarded = forwarder.metrics().forwarded;
            looks += 1;
            if forwarded >= next {
                let counted = allocations(&region).saturating_sub(looks * look);
                least = least.min(counted * MESSAGES / (forwarded - next + MESSAGES));
                region.reset();
                looks = 0;
                next = forwarded + MESSAGES;
            }
        }
        least
    })
}

#[test]
fn forwarding_what_goes_at_once_costs_no_allocation() {
    for qos in [0, 1, 2] {
        assert_per_message(forwarding(qos, 1000), 0);
    }
}

#[test]
fn forwarding_what_has_to_wait_costs_no_allocation() {
    assert_per_message(forwarding(1, 100), 0);
}

#[test]
fn a_message_too_large_for_memory_that_is_used_again_costs_two_allocations() {
    assert_per_message(receiving_payloads(1500, 1, inline), 0);
    assert_per_message(receiving_payloads(1500, 1, callback), 2);
}

/// Nothing of it remains: no request, no route, no task. And it goes on within the first poll, so that no other task takes part.
#[test]
fn starting_and_stopping_offline_costs_a_few_allocations_that_do_not_stay() {
    let _alone = alone();
    runtime().block_on(async {
        let manager = SessionManager::new();
        for name in ["s", "target"] {
            let options = SessionOptions::quick_connect(name, "mqtt://127.0.0.1:1");
            let options = options.manual_connect(true).build().expect("valid");
            manager.add_session(options).expect("a session");
        }
        let forwarders = ForwarderManager::new(&manager);
        let rules = ForwarderBuilder::new("fw").source("s", "bench/#").target("target");
        let rules = rules.enabled(false).build().expect("valid");
        let forwarder = forwarders.add_forwarder(rules).expect("a forwarder");
        let rounds = async || {
            for _ in 0..ROUNDS {
                assert!(matches!(at_once(forwarder.start()), Some(Ok(()))));
                assert_eq!(at_once(forwarder.stop(Duration::from_secs(10))), Some(0));
                // A task that never yields gets nothing at once in the end.
                tokio::task::yield_now().await;
            }
        };
        rounds().await;
        let region = Region::new(ALLOCATOR);
        rounds().await;
        let stats = region.change();
        let counted = allocations(&region);
        assert!(counted <= ROUNDS * PER_ROUND, "{counted} allocations in {ROUNDS} rounds");
        let left = stats.bytes_allocated as isize + stats.bytes_reallocated;
        let left = left - stats.bytes_deallocated as isize;
        assert!(left <= 1024, "{left} bytes are left of {ROUNDS} rounds");
    });
}

const ROUNDS: u64 = 1000;
/// Of one start and one stop.
const PER_ROUND: u64 = 30;

/// What a future says when it is asked once.
fn at_once<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut context = Context::from_waker(Waker::noop());
    match pin!(future).poll(&mut context) {
        Poll::Ready(done) => Some(done),
        Poll::Pending => None,
    }
}

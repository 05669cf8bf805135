//! Steady-state receiving and publishing allocate nothing per message beyond the payload's own
//! storage.
//!
//! Everything of mqttx runs on the thread that is measured; the peer has its own. Two runs that
//! differ in nothing but the number of messages are compared.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use allocation_counter::measure;
use mqttx::{Publish, QoS, Session, SessionManager, SessionOptions};
use mqttx_test::{Flood, LoadOptions, LoadPeer};
use tokio::runtime::Runtime;
use tokio::sync::Notify;

const FEW: u64 = 5_000;
const MANY: u64 = 25_000;
/// For what happens now and then: buffers that grow, timers, the runtime.
const NOISE: u64 = 300;
const PAYLOAD: usize = 64;
const LONG: Duration = Duration::from_secs(60);

fn session(manager: &SessionManager, peer: &LoadPeer) -> Session {
    let options = SessionOptions::quick_connect("s", peer.url()).build().unwrap();
    manager.add_session(options).unwrap()
}

/// Allocations of a run with `count` messages, more than those of one with `FEW`.
fn growth(run: impl Fn(&Runtime, u64)) -> u64 {
    let [few, many] = [FEW, MANY].map(|count| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        measure(|| run(&runtime, count)).count_total
    });
    many.saturating_sub(few)
}

/// Receives `count` messages; `listen` makes the route, which calls its argument for each.
fn receive<R>(
    runtime: &Runtime,
    qos: u8,
    count: u64,
    listen: impl FnOnce(&Session, Box<dyn Fn() + Send + Sync>) -> R,
) {
    let topic = "load/1/x".to_owned();
    let flood = Flood { topic, payload: PAYLOAD, qos, messages: count, window: 500 };
    let peer = LoadPeer::start(LoadOptions { flood: Some(flood), ..LoadOptions::default() });
    let _context = runtime.enter();
    let manager = SessionManager::new();
    let all = Arc::new(Notify::new());
    let (seen, told) = (AtomicU64::new(0), Arc::clone(&all));
    let meter = Box::new(move || {
        if seen.fetch_add(1, Ordering::Relaxed) + 1 == count {
            told.notify_one();
        }
    });
    let _route = listen(&session(&manager, &peer), meter);
    runtime.block_on(async { tokio::time::timeout(LONG, all.notified()).await.unwrap() });
}

#[test]
fn an_inline_route_allocates_nothing_per_message() {
    for qos in [0, 1, 2] {
        let growth = growth(|runtime, count| {
            receive(runtime, qos, count, |session, meter| {
                session.route("load/+/#").qos(QoS::ExactlyOnce).inline(move |message| {
                    assert_eq!(message.payload().len(), PAYLOAD);
                    meter();
                })
            });
        });
        assert!(growth < NOISE, "{growth} allocations for {} messages of QoS {qos}", MANY - FEW);
    }
}

#[test]
fn a_stream_allocates_the_message_and_nothing_else() {
    for qos in [0, 1] {
        let growth = growth(|runtime, count| {
            receive(runtime, qos, count, |session, meter| {
                let mut stream =
                    session.route("load/+/#").capacity(MANY as usize).listen().unwrap();
                runtime.spawn(async move {
                    while stream.next().await.is_some() {
                        meter();
                    }
                });
            });
        });
        let messages = MANY - FEW;
        assert!(growth + NOISE > messages, "{growth}: each message has storage of its own");
        assert!(growth < messages + NOISE, "{growth} allocations for {messages} of QoS {qos}");
    }
}

#[test]
fn publishing_allocates_nothing_per_message() {
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let growth = growth(|runtime, count| {
            let peer = LoadPeer::start(LoadOptions::default());
            let _context = runtime.enter();
            let manager = SessionManager::new();
            let session = session(&manager, &peer);
            let message = Publish::new("load/1/x", vec![7; PAYLOAD]).qos(qos);
            runtime.block_on(async {
                for _ in 0..count {
                    drop(session.enqueue(message.clone()).await.unwrap());
                }
                session.flush(LONG).await.unwrap();
            });
        });
        assert!(growth < NOISE, "{growth} allocations for {} messages of QoS {qos}", MANY - FEW);
    }
}

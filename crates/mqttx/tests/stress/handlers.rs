//! Handlers that sleep for ages, and handlers that panic.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use mqttx::{
    EventKind, EventName, Message, Publish, QoS, Route, RouteBuilder, SessionManager, Version,
};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;

use crate::broker::{Broker, Conduct};
use crate::{LONG, VERSIONS, on_both_runtimes, options};

/// A route whose handler does not return before the gate opens.
fn sleeper(
    route: RouteBuilder,
    blocking: bool,
    gate: &watch::Sender<bool>,
    seen: UnboundedSender<Vec<u8>>,
) -> Route {
    let gated = gate.subscribe();
    let tell = move |message: &Message| seen.send(message.payload().to_vec()).unwrap();
    if blocking {
        let (open, opened) = mpsc::channel::<()>();
        let mut watched = gated;
        tokio::spawn(async move {
            let _ = watched.wait_for(|open| *open).await;
            drop(open);
        });
        let opened = Mutex::new(opened);
        // A thread that does nothing at all, as in `std::thread::sleep`.
        route
            .handle(move |message| {
                tell(message);
                let _ = opened.lock().unwrap().recv();
            })
            .unwrap()
    } else {
        let tell = Arc::new(tell);
        route
            .handle_async(move |message| {
                let (tell, mut gated) = (Arc::clone(&tell), gated.clone());
                async move {
                    tell(&message);
                    gated.wait_for(|open| *open).await.unwrap();
                }
            })
            .unwrap()
    }
}

async fn take(seen: &mut UnboundedReceiver<Vec<u8>>, count: usize) -> Vec<String> {
    let mut texts = Vec::new();
    while texts.len() < count {
        texts.push(String::from_utf8(seen.recv().await.unwrap()).unwrap());
    }
    texts
}

#[test]
fn a_handler_that_sleeps_costs_no_connection_no_message_and_no_other_route() {
    on_both_runtimes("a sleeping handler", async || {
        let rounds = VERSIONS.map(|version| async move {
            tokio::join!(sleeping(version, true), sleeping(version, false));
        });
        let [one, two] = rounds;
        tokio::join!(one, two);
    });
}

async fn sleeping(version: Version, blocking: bool) {
    let broker = Broker::start(Conduct::default());
    let manager = SessionManager::new();
    let listener = options("listener", &broker, version).keep_alive(Duration::from_secs(2));
    let listener = manager.add_session(listener.build().unwrap()).unwrap();
    let source = manager.add_session(options("source", &broker, version).build().unwrap()).unwrap();
    let (seen, mut slow) = unbounded_channel();
    let gate = watch::Sender::new(false);
    let asleep = sleeper(listener.route("slow").capacity(1), blocking, &gate, seen);
    let mut quick = listener.listen("quick").unwrap();
    manager.wait_for_all_sessions(LONG).await.unwrap();
    let publish = async |topic: &str, text: String| {
        source.publish(topic, text, QoS::AtLeastOnce, false).await.unwrap();
    };
    for i in 0..5 {
        publish("slow", i.to_string()).await;
    }
    assert_eq!(take(&mut slow, 1).await, ["0"]);
    for i in 0..5 {
        publish("quick", i.to_string()).await;
        assert_eq!(quick.next().await.unwrap().payload(), i.to_string().as_bytes());
    }
    // The sleeper holds back the acknowledgements of all that came after its message.
    broker.until("pings", |b| b.pings() >= 2).await;
    assert_eq!((broker.silent(), broker.connects().len()), (0, 2));
    assert_eq!(broker.unacknowledged_by("listener"), 10);
    assert!(listener.is_connected());

    // The server sends them again after a reconnect, also to those that handled them.
    listener.reconnect();
    for i in 0..5 {
        let message = quick.next().await.unwrap();
        assert_eq!(message.payload(), i.to_string().as_bytes());
        assert!(message.dup());
    }
    gate.send_replace(true);
    // What waited in the queue, and what was sent again.
    let mut texts = take(&mut slow, 9).await;
    assert_eq!(texts.split_off(4), ["0", "1", "2", "3", "4"]);
    assert_eq!(texts, ["1", "2", "3", "4"]);
    drop(quick);
    broker.until("acknowledgements", |b| b.unacknowledged_by("listener") == 0).await;
    assert_eq!(asleep.stats().dropped, 0);
    assert!(manager.shutdown(LONG).await.clean);
}

#[test]
fn a_message_whose_handler_slept_over_a_reconnect_is_delivered_once_at_qos_2() {
    on_both_runtimes("sleeping at QoS 2", async || {
        for version in VERSIONS {
            for blocking in [true, false] {
                let broker = Broker::start(Conduct::default());
                let manager = SessionManager::new();
                let session = options("s", &broker, version).build().unwrap();
                let session = manager.add_session(session).unwrap();
                let (seen, mut slow) = unbounded_channel();
                let gate = watch::Sender::new(false);
                let route = session.route("in").qos(QoS::ExactlyOnce).capacity(1);
                let route = sleeper(route, blocking, &gate, seen);
                session.wait_ready(LONG).await.unwrap();
                for i in 0..3 {
                    let text = i.to_string();
                    session.publish("in", text, QoS::ExactlyOnce, false).await.unwrap();
                }
                assert_eq!(take(&mut slow, 1).await, ["0"]);
                for n in 2..4 {
                    session.reconnect();
                    broker.until("a connection", |b| b.connects().len() == n).await;
                }
                session.wait_ready(LONG).await.unwrap();
                gate.send_replace(true);
                assert_eq!(take(&mut slow, 2).await, ["1", "2"]);
                session.settle(LONG).await.unwrap();
                broker.until("acknowledgements", |b| b.unacknowledged_by("s") == 0).await;
                assert_eq!(route.stats().received, 3, "{version}");
                assert!(slow.try_recv().is_err());
            }
        }
    });
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Blocking,
    Async,
    Inline,
}

/// Starts a route that panics on every message that starts with `!`.
fn fragile(route: RouteBuilder, kind: Kind, calls: &Arc<AtomicUsize>) -> Route {
    let calls = Arc::clone(calls);
    let check = move |payload: &[u8]| {
        calls.fetch_add(1, SeqCst);
        assert!(!payload.starts_with(b"!"), "cannot handle {}", String::from_utf8_lossy(payload));
    };
    let started = match kind {
        Kind::Blocking => route.handle(move |message| check(message.payload())),
        Kind::Inline => route.inline(move |message| check(message.payload())),
        Kind::Async => {
            let check = Arc::new(check);
            route.handle_async(move |message| {
                let check = Arc::clone(&check);
                async move {
                    tokio::task::yield_now().await;
                    check(message.payload());
                }
            })
        }
    };
    started.unwrap()
}

#[test]
fn a_message_whose_handler_panics_is_tried_four_times_and_reported() {
    on_both_runtimes("a panic", async || {
        let mut jobs = tokio::task::JoinSet::new();
        for version in VERSIONS {
            for kind in [Kind::Blocking, Kind::Async, Kind::Inline] {
                jobs.spawn(panicking(version, kind));
            }
        }
        jobs.join_all().await;
    });
}

async fn panicking(version: Version, kind: Kind) {
    let broker = Broker::start(Conduct::default());
    let manager = SessionManager::new();
    let mut failures = manager.events_matching(EventName::HandlerFailed);
    let session = manager.add_session(options("s", &broker, version).build().unwrap()).unwrap();
    let calls = Arc::default();
    let route = fragile(session.route("in").capacity(1), kind, &calls);
    let mut others = session.listen("#").unwrap();
    session.wait_ready(LONG).await.unwrap();
    for text in ["one", "!two", "three"] {
        session.publish("in", text, QoS::AtLeastOnce, false).await.unwrap();
    }
    for text in ["one", "!two", "three"] {
        assert_eq!(others.next().await.unwrap().payload(), text.as_bytes());
    }
    let event = failures.next().await.unwrap();
    let EventKind::HandlerFailed { topic, payload, panic, attempts, .. } = &event.kind else {
        panic!("{event:?}");
    };
    assert_eq!((topic.as_str(), &payload[..], *attempts), ("in", &b"!two"[..], 4));
    assert!(panic.contains("cannot handle !two"), "{panic}");
    drop(others);
    broker.until("acknowledgements", |b| b.unacknowledged_by("s") == 0).await;
    assert_eq!(calls.load(SeqCst), 6, "once, four times, once");
    let stats = route.stats();
    assert_eq!((stats.handled, stats.failed, stats.received), (2, 1, 3), "{kind:?}");
    assert_eq!(session.metrics().handler_failed, 1);
    assert_eq!(broker.connects().len(), 1, "the connection is the first one");
}

/// More sleeping handlers than there are threads to sleep on.
#[tokio::test]
async fn async_handlers_may_sleep_by_the_thousand() {
    const ROUTES: usize = 1000;
    let broker = Broker::start(Conduct { window: 2000, backlog: None });
    let manager = SessionManager::new();
    let session = options("s", &broker, Version::V5).receive_maximum(2000).build().unwrap();
    let session = manager.add_session(session).unwrap();
    let (seen, mut slow) = unbounded_channel();
    let gate = watch::Sender::new(false);
    let routes: Vec<Route> = (0..ROUTES)
        .map(|i| sleeper(session.route(&format!("in/{i}")), false, &gate, seen.clone()))
        .collect();
    session.wait_ready(LONG).await.unwrap();
    for i in 0..ROUTES {
        let message = Publish::new(format!("in/{i}"), "x").qos(QoS::AtLeastOnce);
        drop(session.enqueue(message).await.unwrap());
    }
    take(&mut slow, ROUTES).await;
    session.publish("elsewhere", "x", QoS::AtLeastOnce, false).await.unwrap();
    gate.send_replace(true);
    session.settle(LONG).await.unwrap();
    assert!(routes.iter().all(|route| route.stats().handled == 1));
}

use std::sync::atomic::AtomicBool;
use std::sync::mpsc;
use std::time::Duration;

use super::*;
use crate::event::EventKind;

/// What a handler was called with, and when.
type Calls = Arc<Mutex<Vec<(String, Duration)>>>;

/// Panics on the first `failures` calls, and notes when it was called.
fn flaky(failures: usize) -> (impl Fn(&str) + Send + Sync, Calls) {
    let calls = Calls::default();
    let (log, start) = (Arc::clone(&calls), tokio::time::Instant::now());
    let left = AtomicUsize::new(failures);
    let handler = move |payload: &str| {
        log.lock().unwrap().push((payload.to_owned(), start.elapsed()));
        if left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok() {
            panic!("cannot handle {payload}");
        }
    };
    (handler, calls)
}

fn expected(calls: &[(&str, u64)]) -> Vec<(String, Duration)> {
    calls.iter().map(|(p, ms)| ((*p).to_owned(), Duration::from_millis(*ms))).collect()
}

#[tokio::test(start_paused = true)]
async fn after_a_panic_the_same_message_comes_again_before_the_next() {
    let mut bench = Bench::new();
    let (handler, calls) = flaky(2);
    let route = bench.route("t").handle(move |m| handler(m.payload_str().unwrap())).unwrap();
    let tickets = ["1", "2"].map(|payload| bench.qos1("t", payload).1);
    assert_eq!(bench.acks(2).await, tickets);
    let log = calls.lock().unwrap();
    let payloads: Vec<&str> = log.iter().map(|(p, _)| p.as_str()).collect();
    assert_eq!(payloads, ["1", "1", "1", "2"]);
    assert!(log[1].1 >= Duration::from_millis(100) && log[2].1 >= Duration::from_millis(300));
    assert_eq!((route.stats().handled, route.stats().failed), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn an_async_handler_that_panics_gets_the_message_again_after_a_growing_delay() {
    let mut bench = Bench::new();
    let (handler, calls) = flaky(3);
    let handler = Arc::new(handler);
    let _route = bench
        .route("t")
        .handle_async(move |message| {
            let handler = Arc::clone(&handler);
            async move {
                tokio::task::yield_now().await;
                handler(message.payload_str().unwrap());
            }
        })
        .unwrap();
    let tickets = ["1", "2"].map(|payload| bench.qos1("t", payload).1);
    assert_eq!(bench.acks(2).await, tickets);
    assert_eq!(
        *calls.lock().unwrap(),
        expected(&[("1", 0), ("1", 100), ("1", 300), ("1", 700), ("2", 700)])
    );
}

#[tokio::test(start_paused = true)]
async fn a_message_that_always_panics_is_given_up_with_an_event_that_holds_it() {
    let mut bench = Bench::new();
    let mut events = bench.events();
    let route =
        bench.route("t").retries(1).handle(|m| assert!(m.payload() != b"poison", "bad")).unwrap();
    let tickets = ["poison", "good"].map(|payload| bench.qos1("t", payload).1);
    assert_eq!(bench.acks(2).await, tickets, "the rest goes on");
    let stats = route.stats();
    assert_eq!((stats.handled, stats.failed, stats.received), (1, 1, 2));
    assert_eq!(bench.metrics().handler_failed, 1);
    let failed = std::iter::from_fn(|| events.try_next())
        .find(|e| matches!(e.kind, EventKind::HandlerFailed { .. }))
        .unwrap();
    let EventKind::HandlerFailed { route, topic, payload, panic, attempts } = &failed.kind else {
        unreachable!()
    };
    assert_eq!((route.as_str(), topic.as_str(), *attempts), ("t", "t", 2));
    assert_eq!(&payload[..], b"poison");
    assert_eq!(panic, "bad");
}

#[tokio::test]
async fn an_inline_handler_that_panics_is_called_again_at_once_and_then_given_up() {
    let mut bench = Bench::new();
    let (handler, calls) = flaky(5);
    let route = bench.route("t").inline(move |m| handler(m.payload_str().unwrap())).unwrap();
    assert_eq!(bench.qos1("t", "1").0, Dispatched::DoneNow);
    assert_eq!(bench.qos1("t", "2").0, Dispatched::DoneNow);
    assert_eq!(calls.lock().unwrap().len(), 4 + 2);
    assert_eq!((route.stats().failed, route.stats().handled), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_manual_message_answered_before_the_panic_does_not_come_again() {
    let mut bench = Bench::new();
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&calls);
    let _route = bench
        .route("t")
        .manual_ack(true)
        .handle(move |message| {
            let first = counter.fetch_add(1, Ordering::SeqCst) == 0;
            message.ack();
            assert!(!first, "after the answer");
        })
        .unwrap();
    let tickets = ["1", "2"].map(|payload| bench.qos1("t", payload).1);
    assert_eq!(bench.acks(2).await, tickets);
    assert_eq!(calls.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_handler_that_blocks_delays_no_other_route() {
    let mut bench = Bench::new();
    let (release, gate) = mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    let _slow =
        bench.route("t").capacity(1).handle(move |_| gate.lock().unwrap().recv().unwrap()).unwrap();
    let mut fast = bench.route("#").listen().unwrap();
    let tickets: Vec<_> = ["1", "2", "3", "4"].map(|payload| bench.qos1("t", payload).1).into();
    assert_eq!(waiting(&mut fast), ["1", "2", "3", "4"]);
    fast.done();
    assert!(bench.acked().is_empty(), "the slow route holds back the acknowledgements only");
    for _ in 0..4 {
        release.send(()).unwrap();
    }
    assert_eq!(bench.acks(4).await, tickets);
    assert_eq!(bench.parked(), 0);
}

#[tokio::test]
async fn a_handler_may_stop_its_own_route() {
    type Slot = Arc<Mutex<Option<Route>>>;
    fn take(slot: &Slot, calls: &AtomicUsize) {
        calls.fetch_add(1, Ordering::SeqCst);
        if let Some(route) = slot.lock().unwrap().take() {
            route.stop();
        }
    }
    for kind in ["inline", "blocking", "async"] {
        let mut bench = Bench::new();
        let (slot, calls): (Slot, Arc<AtomicUsize>) = Default::default();
        let (inner, counter) = (Arc::clone(&slot), Arc::clone(&calls));
        let builder = bench.route("t").capacity(1);
        let route = match kind {
            "inline" => builder.inline(move |_| take(&inner, &counter)),
            "blocking" => builder.handle(move |_| take(&inner, &counter)),
            _ => builder.handle_async(move |_| {
                let (inner, counter) = (Arc::clone(&inner), Arc::clone(&counter));
                async move { take(&inner, &counter) }
            }),
        };
        let mut others = bench.route("other").listen().unwrap();
        let owed = arrive_while_locked(&mut bench, &slot, route.unwrap(), kind == "inline");
        bench.acks(owed).await;
        assert_eq!(calls.load(Ordering::SeqCst), 1, "{kind}");
        assert_eq!(bench.qos1("t", "4").0, Dispatched::Unrouted, "{kind}");
        assert_eq!(bench.parked(), 0);
        bench.qos0("other", "x");
        assert_eq!(waiting(&mut others), ["x"]);
    }
}

/// Puts the route into the slot only when its messages are there; how many owe an acknowledgement.
fn arrive_while_locked(
    bench: &mut Bench,
    slot: &Mutex<Option<Route>>,
    route: Route,
    inline: bool,
) -> usize {
    let mut guard = slot.lock().unwrap();
    *guard = Some(route);
    if inline {
        drop(guard);
        assert_eq!(bench.qos1("t", "1").0, Dispatched::DoneNow);
        return 0;
    }
    let pending = ["1", "2", "3"].map(|payload| bench.qos1("t", payload).0 == Dispatched::Pending);
    assert_eq!(pending, [true; 3]);
    pending.len()
}

#[tokio::test(start_paused = true)]
async fn stopping_while_a_retry_waits_is_the_end_of_it() {
    let mut bench = Bench::new();
    let (called, mut calls) = tokio::sync::mpsc::unbounded_channel();
    let route = bench
        .route("t")
        .handle(move |_| {
            called.send(()).unwrap();
            panic!("again");
        })
        .unwrap();
    let (_, ticket) = bench.qos1("t", "1");
    calls.recv().await.unwrap();
    route.stop();
    assert_eq!(bench.acks(1).await, [ticket]);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(calls.try_recv().is_err(), "not handed over after the stop");
}

#[tokio::test]
async fn a_detached_route_outlives_its_handle() {
    let mut bench = Bench::new();
    let called = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&called);
    bench.route("t").inline(move |_| seen.store(true, Ordering::SeqCst)).unwrap().detach();
    assert_eq!(bench.qos1("t", "1").0, Dispatched::DoneNow);
    assert!(called.load(Ordering::SeqCst));
}

#[tokio::test]
async fn messages_reach_an_async_handler_in_order() {
    let mut bench = Bench::new();
    let (seen, mut received) = tokio::sync::mpsc::unbounded_channel();
    let _route = bench
        .route("t")
        .capacity(2)
        .handle_async(move |message| {
            let seen = seen.clone();
            async move { seen.send(message.payload_str().unwrap().to_owned()).unwrap() }
        })
        .unwrap();
    let tickets: Vec<_> = (0..50).map(|i| bench.qos1("t", &i.to_string()).1).collect();
    assert_eq!(bench.acks(50).await, tickets);
    for i in 0..50 {
        assert_eq!(received.recv().await.unwrap(), i.to_string());
    }
}

/// A backlog is no reason to keep a thread.
#[tokio::test]
async fn a_consumer_with_a_backlog_lets_other_tasks_run() {
    for is_stream in [false, true] {
        let mut bench = Bench::new();
        let (told, taken) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
        let witness = tokio::spawn({
            let (told, taken) = (Arc::clone(&told), Arc::clone(&taken));
            async move {
                told.notified().await;
                taken.load(Ordering::SeqCst)
            }
        });
        let take = move || {
            let start = std::time::Instant::now();
            while start.elapsed() < Duration::from_micros(100) {
                std::hint::spin_loop();
            }
            taken.fetch_add(1, Ordering::SeqCst);
            told.notify_one();
        };
        let route = bench.route("t").capacity(10_000);
        let _route = if is_stream {
            let mut stream = route.listen().unwrap();
            tokio::spawn(async move {
                while stream.next().await.is_some() {
                    take();
                }
            });
            None
        } else {
            let handler = move |_| {
                take();
                std::future::ready(())
            };
            Some(route.handle_async(handler).unwrap())
        };
        for _ in 0..500 {
            bench.qos0("t", "x");
        }
        let before = witness.await.unwrap();
        assert!((1..100).contains(&before), "{before} messages, stream: {is_stream}");
    }
}

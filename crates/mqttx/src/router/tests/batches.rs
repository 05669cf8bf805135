//! Messages that go through a queue together.

use super::*;

fn arrive(bench: &mut Bench, count: usize, payload: &str) {
    for _ in 0..count {
        bench.arrives_with_others("t", payload, QoS::AtMostOnce);
    }
}

#[test]
fn batches_beyond_the_capacity_are_parked_and_move_up() {
    let mut bench = Bench::new();
    let mut stream = bench.route("t").capacity(16).listen().unwrap();
    arrive(&mut bench, 16, "x");
    bench.read_ends();
    assert_eq!(bench.parked(), 0, "as many as there is room for");
    arrive(&mut bench, 3, "x");
    bench.read_ends();
    let parked = bench.parked();
    assert!(parked > 3 * "tx".len());
    assert_eq!(stream.route().stats().queued, 19);
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    let mut next = || {
        let next = futures_core::Stream::poll_next(std::pin::Pin::new(&mut stream), &mut cx);
        assert!(next.is_ready());
    };
    // The capacity comes in steps of an eighth.
    next();
    assert_eq!(bench.parked(), parked / 3);
    next();
    next();
    assert_eq!(bench.parked(), 0);
    assert_eq!(stream.route().stats().queued, 16);
    assert_eq!(waiting(&mut stream).len(), 16);
    assert_eq!(stream.route().stats().queued, 0);
}

#[test]
fn a_few_messages_do_not_wait_in_the_memory_of_many() {
    let mut bench = Bench::new();
    let mut stream = bench.route("t").listen().unwrap();
    for _ in 0..3 {
        arrive(&mut bench, 64, &"x".repeat(200));
        bench.read_ends();
        let target = Arc::clone(stream.route().target());
        let room = target.state().queue.room();
        assert!(room >= 64 * 200, "{room} bytes for many");
        waiting(&mut stream);
        bench.qos0("t", "x");
        let room = target.state().queue.room();
        assert!((1..=2048).contains(&room), "{room} bytes for one message");
        assert_eq!(waiting(&mut stream), ["x"]);
    }
}

#[test]
fn messages_that_a_stream_handed_out_stay_as_they_were() {
    let mut bench = Bench::new();
    let mut stream = bench.route("t").listen().unwrap();
    let payload = |n: usize| "abcdefghijklmnopqrstuvwxyz".repeat(80)[..n * 37 % 2000].to_owned();
    let mut kept = Vec::new();
    for n in 0..300 {
        arrive(&mut bench, 1, &payload(n));
        if n % 7 > 0 {
            continue;
        }
        bench.read_ends();
        kept.extend(waiting_messages(&mut stream, |message| {
            (message.payload().len() % 3 == 0).then(|| message.clone())
        }));
    }
    assert!(kept.len() > 290);
    for (n, message) in kept.iter().enumerate() {
        assert_eq!(message.is_some(), payload(n).len() % 3 == 0);
        assert!(
            message.as_ref().is_none_or(|message| message.payload_str().unwrap() == payload(n))
        );
    }
}

#[tokio::test]
async fn a_job_starts_with_enough_messages_or_at_the_end_of_the_read() {
    let mut bench = Bench::new();
    let route = bench.route("t").handle(|_| ()).unwrap();
    let target = Arc::clone(route.target());
    arrive(&mut bench, 500, "x");
    assert!(!target.state().running, "more may come");
    arrive(&mut bench, 64, "x");
    assert!(target.state().running || target.state().queue.len() < 512, "enough for a job");
    let route = bench.route("few").handle(|_| ()).unwrap();
    let (outcome, ticket) = bench.arrives_with_others("few", "x", QoS::AtLeastOnce);
    assert_eq!(outcome, Dispatched::Pending);
    assert!(!route.target().state().running);
    bench.read_ends();
    assert_eq!(bench.acks(1).await, [ticket.unwrap()]);
    // A whole number of batches, and nothing behind them.
    let first = bench.arrives_with_others("few", "x", QoS::AtLeastOnce).1;
    for _ in 1..64 {
        bench.arrives_with_others("few", "x", QoS::AtLeastOnce);
    }
    assert!(first.is_some());
    bench.read_ends();
    assert_eq!(bench.acks(65).await.len(), 65);
}

#[test]
fn each_message_keeps_the_time_at_which_it_arrived() {
    let mut bench = Bench::new();
    let mut stream = bench.route("t").listen().unwrap();
    let mut times = Vec::new();
    for step in [0, 0, 1, 2, 2] {
        bench.read_at += std::time::Duration::from_secs(step);
        times.push(bench.read_at);
        arrive(&mut bench, 1, "x");
    }
    bench.read_ends();
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    for expected in times {
        let next = futures_core::Stream::poll_next(std::pin::Pin::new(&mut stream), &mut cx);
        let std::task::Poll::Ready(Some(message)) = next else { panic!("no message") };
        assert_eq!(message.received_at(), expected);
    }
}

#[tokio::test]
async fn what_a_callback_keeps_is_a_copy_that_its_clones_share() {
    let mut bench = Bench::new();
    let kept = Arc::new(Mutex::new(Vec::new()));
    let keep = Arc::clone(&kept);
    bench.properties.push(Property::ContentType("text")).unwrap();
    let handler = move |message: &Message| {
        // In the pack, and in the copy.
        assert_eq!(message.properties().content_type(), Some("text"));
        keep.lock().unwrap().push([message.clone(), message.clone()]);
        assert_eq!(message.properties().content_type(), Some("text"));
    };
    let _route = bench.route("t").manual_ack(true).handle(handler).unwrap();
    let tickets: Vec<_> = (0..100)
        .map(|n| bench.arrives_with_others("t", &format!("{n}"), QoS::AtLeastOnce).1.unwrap())
        .collect();
    bench.read_ends();
    while kept.lock().unwrap().len() < 100 {
        tokio::task::yield_now().await;
    }
    for (n, [one, other]) in kept.lock().unwrap().iter().enumerate() {
        assert_eq!((one.topic(), one.payload_str()), ("t", Ok(&*format!("{n}"))));
        assert_eq!(one.properties().content_type(), Some("text"));
        assert_eq!(one.payload().as_ptr(), other.payload().as_ptr());
        assert!(!one.is_acked());
        other.ack();
        assert!(one.is_acked());
    }
    assert_eq!(bench.acked(), tickets);
}

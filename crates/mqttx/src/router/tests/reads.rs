//! Several messages in one read: what the driver remembers from one to the next changes nothing.

use std::sync::Mutex;

use super::*;

fn at_most_once(bench: &mut Bench, topic: &str, payload: &str) -> Dispatched {
    bench.arrives_with_others(topic, payload, QoS::AtMostOnce).0
}

#[test]
fn queues_get_their_messages_in_order_once_the_read_is_through() {
    let mut bench = Bench::new();
    let mut all = bench.route("#").listen().unwrap();
    let mut a = bench.route("a").listen().unwrap();
    for (topic, payload) in [("a", "1"), ("b", "2"), ("a", "3"), ("a", "4"), ("c", "5")] {
        assert_ne!(at_most_once(&mut bench, topic, payload), Dispatched::Unrouted);
    }
    bench.read_ends();
    assert_eq!(waiting(&mut all), ["1", "2", "3", "4", "5"]);
    assert_eq!(waiting(&mut a), ["1", "3", "4"]);
}

#[test]
fn a_long_read_does_not_wait_for_its_end() {
    let mut bench = Bench::new();
    let mut stream = bench.route("a").listen().unwrap();
    for _ in 0..100 {
        at_most_once(&mut bench, "a", "x");
    }
    let early = waiting(&mut stream).len();
    assert!(early > 0, "its consumer works while the rest is read");
    bench.read_ends();
    assert_eq!(early + waiting(&mut stream).len(), 100);
}

#[test]
fn more_routes_than_are_collected_for_get_everything() {
    let mut bench = Bench::new();
    let mut streams: Vec<_> =
        (0..100).map(|n| bench.route(&format!("t/{n}")).listen().unwrap()).collect();
    for round in 0..3 {
        for n in 0..100 {
            at_most_once(&mut bench, &format!("t/{n}"), &format!("{round}"));
        }
    }
    assert_eq!(bench.scratch.collects_for(), 64);
    bench.read_ends();
    for stream in &mut streams {
        assert_eq!(waiting(stream), ["0", "1", "2"]);
    }
}

#[test]
fn more_topics_than_are_remembered_find_their_own_routes() {
    let mut bench = Bench::new();
    let mut streams: Vec<_> =
        (0..300).map(|n| bench.route(&format!("{n}/temperature")).listen().unwrap()).collect();
    for n in (0..300).chain(0..300) {
        at_most_once(&mut bench, &format!("{n}/temperature"), &format!("{n}"));
    }
    bench.read_ends();
    for (n, stream) in streams.iter_mut().enumerate() {
        assert_eq!(waiting(stream), [format!("{n}"), format!("{n}")]);
    }
}

#[test]
fn a_route_that_is_added_in_the_middle_gets_the_rest() {
    let mut bench = Bench::new();
    let mut first = bench.route("a").listen().unwrap();
    at_most_once(&mut bench, "a", "1");
    let mut second = bench.route("a").listen().unwrap();
    at_most_once(&mut bench, "a", "2");
    bench.read_ends();
    assert_eq!(waiting(&mut first), ["1", "2"]);
    assert_eq!(waiting(&mut second), ["2"]);
}

#[test]
fn routes_that_take_the_place_of_others_in_the_middle_get_the_rest() {
    let mut bench = Bench::new();
    let mut first = bench.route("a").listen().unwrap();
    let mut second = bench.route("a").listen().unwrap();
    assert!(bench.host.router.remove(second.route().target()));
    at_most_once(&mut bench, "a", "1");
    let new = (Arc::clone(second.route().target()), 0);
    bench.host.router.replace(&[new], &[first.route().target()]);
    at_most_once(&mut bench, "a", "2");
    bench.read_ends();
    assert_eq!((waiting(&mut first), waiting(&mut second)), (vec!["1".into()], vec!["2".into()]));
}

#[test]
fn a_route_that_is_stopped_in_the_middle_gets_nothing_and_owes_nothing() {
    let mut bench = Bench::new();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let stream = bench.route("a").listen().unwrap();
    let (_, queued) = bench.arrives_with_others("a", "1", QoS::AtLeastOnce);
    drop(stream);
    let kept = Arc::clone(&seen);
    let _inline = bench.route("a").inline(move |m| kept.lock().unwrap().push(m.to_message()));
    let (outcome, _) = bench.arrives_with_others("a", "2", QoS::AtLeastOnce);
    assert_eq!(outcome, Dispatched::DoneNow);
    bench.read_ends();
    assert_eq!(bench.acked(), [queued.unwrap()], "the stopped route is done with its message");
    let seen: Vec<_> = seen.lock().unwrap().iter().map(|m| m.payload().to_vec()).collect();
    assert_eq!(seen, [b"2"]);
}

#[test]
fn what_is_remembered_does_not_outlive_the_read() {
    let mut bench = Bench::new();
    let token = Arc::new(());
    let kept = Arc::clone(&token);
    let route = bench.route("a").inline(move |_| drop(Arc::clone(&kept))).unwrap();
    for _ in 0..3 {
        at_most_once(&mut bench, "a", "x");
    }
    route.stop();
    bench.read_ends();
    assert_eq!(Arc::strong_count(&token), 1, "the handler is gone");
}

#[test]
fn messages_of_one_topic_in_a_row_find_their_routes() {
    let mut bench = Bench::new();
    let mut streams = ["a", "b", "+"].map(|filter| bench.route(filter).listen().unwrap());
    let zero = QoS::AtMostOnce;
    let order = ["a", "a", "b", "a", "c", "c", "b", "b", "a"];
    let outcomes = super::lots::read(&mut bench, &order.map(|topic| (topic, zero)));
    assert!(outcomes.iter().all(|(outcome, _)| *outcome != Dispatched::Unrouted));
    let counts = streams.each_mut().map(|stream| waiting(stream).len());
    assert_eq!(counts, [4, 3, order.len()]);
}

#[test]
fn a_handler_that_stops_its_route_gets_no_more_of_a_row() {
    let mut bench = Bench::new();
    let (slot, calls) = (Arc::new(Mutex::new(None::<Route>)), Arc::new(AtomicUsize::new(0)));
    let (own, counter) = (Arc::clone(&slot), Arc::clone(&calls));
    let route = bench.route("a").inline(move |_| {
        counter.fetch_add(1, Ordering::SeqCst);
        drop(own.lock().unwrap().take());
    });
    *slot.lock().unwrap() = route.ok();
    let outcomes = super::lots::read(&mut bench, &[("a", QoS::AtMostOnce); 3]);
    let outcomes: Vec<_> = outcomes.iter().map(|(outcome, _)| *outcome).collect();
    let unrouted = Dispatched::Unrouted;
    assert_eq!(outcomes, [Dispatched::DoneNow, unrouted, unrouted]);
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

#[test]
fn identifiers_are_told_apart() {
    let mut bench = Bench::new();
    let mut one = bench.identified("a/#", 1);
    let mut two = bench.identified("a/+", 2);
    for id in [1, 2, 1, 2] {
        bench.properties = Properties::new();
        bench.properties.push(Property::SubscriptionIdentifier(id)).unwrap();
        at_most_once(&mut bench, "a/b", &format!("{id}"));
    }
    bench.read_ends();
    assert_eq!(waiting(&mut one), ["1", "1"]);
    assert_eq!(waiting(&mut two), ["2", "2"]);
}

#[tokio::test]
async fn memory_of_handled_messages_serves_others_and_kept_messages_stay() {
    let mut bench = Bench::new();
    let kept = Arc::new(Mutex::new(Vec::new()));
    let keep = Arc::clone(&kept);
    let _route = bench
        .route("a/#")
        .handle(move |message| {
            let keeps = message.payload().len() % 3 == 0;
            keep.lock().unwrap().extend(keeps.then(|| message.clone()));
        })
        .unwrap();
    let payload = |n: usize| "abcdefghijklmnopqrstuvwxyz".repeat(80)[..n * 37 % 2000].to_owned();
    let mut tickets = 0;
    for n in 0..500 {
        bench.arrives(&format!("a/{n}"), &payload(n), QoS::AtLeastOnce);
        tickets += 1;
        bench.acks(tickets).await;
    }
    let kept = kept.lock().unwrap();
    let expected: Vec<_> = (0..500).filter(|&n| payload(n).len() % 3 == 0).collect();
    assert_eq!(kept.len(), expected.len());
    for (message, n) in kept.iter().zip(expected) {
        assert_eq!(message.topic(), format!("a/{n}"));
        assert_eq!(message.payload_str().unwrap(), payload(n));
        assert_eq!(message.payload_bytes(), payload(n));
    }
}

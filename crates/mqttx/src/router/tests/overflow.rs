use super::*;
use crate::event::EventKind;

fn stream(bench: &Bench, overflow: Overflow) -> MessageStream {
    bench.route("t").capacity(1).overflow(overflow).listen().unwrap()
}

#[tokio::test]
async fn block_keeps_every_message_in_order_and_counts_the_parked_bytes() {
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
        let mut bench = Bench::new();
        let mut stream = stream(&bench, Overflow::Block);
        bench.arrives("t", "1", qos);
        assert_eq!(bench.parked(), 0);
        bench.arrives("t", "22", qos);
        let one = bench.parked();
        assert!(one > "t22".len());
        bench.arrives("t", "333", qos);
        let two = bench.parked();
        assert_eq!(two, one + one + 1, "the third is one byte longer");

        assert_eq!(stream.next().await.unwrap().payload(), b"1");
        assert_eq!(bench.parked(), two - one, "the second moved up");
        assert_eq!(stream.next().await.unwrap().payload(), b"22");
        assert_eq!(bench.parked(), 0);
        assert_eq!(stream.next().await.unwrap().payload(), b"333");
        assert_eq!(stream.route().stats().dropped, 0);
    }
}

#[tokio::test]
async fn qos0_is_dropped_by_the_policy_and_counted() {
    for (overflow, kept) in [(Overflow::DropNewest, "1"), (Overflow::DropOldest, "3")] {
        let mut bench = Bench::new();
        let mut stream = stream(&bench, overflow);
        for payload in ["1", "2", "3"] {
            bench.qos0("t", payload);
        }
        assert_eq!(waiting(&mut stream), [kept], "{overflow:?}");
        assert_eq!(stream.route().stats().dropped, 2);
        assert_eq!(bench.dropped(DropReason::RouteFull), 2);
        assert_eq!(bench.parked(), 0);
    }
}

#[tokio::test]
async fn qos1_of_mqtt5_is_never_dropped_by_a_route() {
    for overflow in [Overflow::DropNewest, Overflow::DropOldest] {
        let mut bench = Bench::new();
        let mut stream = stream(&bench, overflow);
        for payload in ["1", "2", "3"] {
            assert_eq!(bench.qos1("t", payload).0, Dispatched::Pending);
        }
        assert!(bench.parked() > 0);
        assert_eq!(waiting(&mut stream), ["1", "2", "3"], "{overflow:?}");
        assert_eq!(bench.parked(), 0);
        assert_eq!(bench.metrics().dropped.total(), 0);
    }
}

#[tokio::test]
async fn qos1_of_mqtt311_follows_the_policy_and_a_dropped_message_is_done() {
    let mut bench = Bench::v311();
    let mut newest = stream(&bench, Overflow::DropNewest);
    assert_eq!(bench.qos1("t", "1").0, Dispatched::Pending);
    assert_eq!(bench.qos1("t", "2").0, Dispatched::DoneNow, "the driver acknowledges it");
    assert_eq!(waiting(&mut newest), ["1"]);

    let mut bench = Bench::v311();
    let mut oldest = stream(&bench, Overflow::DropOldest);
    let (_, first) = bench.qos1("t", "1");
    assert_eq!(bench.qos1("t", "2").0, Dispatched::Pending);
    assert_eq!(bench.acked(), [first], "the one that made room is acknowledged");
    assert_eq!(waiting(&mut oldest), ["2"]);

    let mut bench = Bench::v311();
    let mut block = stream(&bench, Overflow::Block);
    bench.qos1("t", "1");
    assert_eq!(bench.qos1("t", "2").0, Dispatched::Pending);
    assert_eq!(waiting(&mut block), ["1", "2"]);
}

#[tokio::test]
async fn drop_oldest_spares_what_must_not_be_dropped() {
    let mut bench = Bench::new();
    let mut stream = stream(&bench, Overflow::DropOldest);
    bench.qos1("t", "must");
    bench.qos0("t", "may");
    assert_eq!(waiting(&mut stream), ["must"], "nothing could make room");

    bench.qos0("t", "may 1");
    bench.qos1("t", "must 1");
    assert!(bench.parked() > 0);
    bench.qos0("t", "may 2");
    assert_eq!(bench.parked(), 0, "the parked one moved up when the oldest went");
    assert_eq!(waiting(&mut stream), ["must 1", "may 2"]);
    assert_eq!(stream.route().stats().dropped, 2);
}

#[tokio::test]
async fn full_inbound_buffer_sheds_qos0_only() {
    let mut bench = Bench::new();
    let mut full = stream(&bench, Overflow::Block);
    let mut roomy = bench.route("t").listen().unwrap();
    bench.qos0("t", "1");
    bench.shed = true;
    bench.qos0("t", "2");
    let (dispatched, _) = bench.qos1("t", "3");
    assert_eq!(dispatched, Dispatched::Pending);
    assert_eq!(waiting(&mut full), ["1", "3"]);
    assert_eq!(waiting(&mut roomy), ["1", "2", "3"], "a route with room loses nothing");
    assert_eq!(bench.dropped(DropReason::InboundFull), 1);
    assert_eq!(bench.dropped(DropReason::RouteFull), 0);
}

#[tokio::test]
async fn stopping_with_parked_messages_acknowledges_and_unparks_them() {
    let mut bench = Bench::new();
    let stream = stream(&bench, Overflow::Block);
    let tickets: Vec<_> = ["1", "2", "3"].map(|payload| bench.qos1("t", payload).1).into();
    assert!(bench.parked() > 0);
    drop(stream);
    assert_eq!(bench.acked(), tickets);
    assert_eq!(bench.parked(), 0);
    assert_eq!(bench.qos1("t", "4").0, Dispatched::Unrouted);
}

#[tokio::test]
async fn drops_within_a_second_make_one_event() {
    let mut bench = Bench::new();
    let mut events = bench.events();
    let stream = stream(&bench, Overflow::DropNewest);
    let begun = std::time::Instant::now();
    for payload in ["1", "2", "3", "4"] {
        bench.qos0("t", payload);
    }
    drop(stream);
    let took = begun.elapsed();
    let mut told = Vec::new();
    while let Some(event) = events.try_next() {
        if let EventKind::MessageDropped { reason, count, route, .. } = &event.kind {
            assert_eq!(*reason, DropReason::RouteFull);
            assert_eq!(route.as_deref(), Some("t"));
            assert_eq!(event.session.as_deref(), Some("plant"));
            told.push(*count);
        }
    }
    assert_eq!(told.iter().sum::<u64>(), 3);
    // On a machine that stood still it was not within a second.
    let told_together = told == [1, 2] || took.as_secs() > 0;
    assert!(told_together, "the first at once, the rest when the route stopped: {told:?}");
}

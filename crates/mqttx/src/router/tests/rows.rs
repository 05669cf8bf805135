//! Messages for one route in a row: they go there together, and are what they would be one by one.

use super::lots::{read, read_all};
use super::*;

/// What a route's consumer saw of a message.
type Seen = (String, Vec<u8>, QoS, bool, bool, Option<PacketId>, Vec<u8>);

fn seen(message: &Message) -> Seen {
    (
        message.topic().to_owned(),
        message.payload().to_vec(),
        message.qos(),
        message.retain(),
        message.dup(),
        message.packet_id(),
        message.properties().as_bytes().to_vec(),
    )
}

fn plain(topic: &'static str, payload: &'static [u8], qos: QoS) -> Publish<'static> {
    let properties = PropertiesRef::EMPTY;
    Publish { dup: false, qos, retain: false, topic, packet_id: None, properties, payload }
}

/// Rows of all lengths, of one topic and of several, and everything that ends one: other routes, properties, levels, and payloads that
/// are too large.
fn mixed<'a>(properties: &'a Properties, bytes: &'a [u8]) -> Vec<Publish<'a>> {
    let mut state = 7_u32;
    let mut below = |limit: u32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 16) % limit
    };
    let mut publishes = Vec::new();
    while publishes.len() < 1000 {
        let qos = [QoS::AtMostOnce, QoS::AtLeastOnce][below(2) as usize];
        let carries = below(3) == 0;
        let first = Publish {
            dup: qos > QoS::AtMostOnce && below(4) == 0,
            qos,
            retain: below(4) == 0,
            topic: ["a/b", "a/much/longer/topic", "a"][below(3) as usize],
            packet_id: None,
            properties: if carries { properties.as_ref() } else { PropertiesRef::EMPTY },
            payload: &[],
        };
        let others = below(2) == 0;
        let most = [1, 30, 300, 1100][below(4) as usize];
        for _ in 0..below(90) {
            let payload = &bytes[..below(most) as usize];
            let topic = if others {
                ["a/1", "a/other/topic", "a/b"][below(3) as usize]
            } else {
                first.topic
            };
            publishes.push(Publish { topic, payload, ..first });
        }
    }
    publishes
}

fn expected(publishes: &[Publish<'_>]) -> Vec<Seen> {
    let ids = (1..).map(PacketId::new);
    let each = publishes.iter().zip(ids).map(|(publish, id)| {
        let packet_id = id.filter(|_| publish.qos > QoS::AtMostOnce);
        let Publish { qos, retain, dup, .. } = *publish;
        let properties = publish.properties.as_bytes().to_vec();
        (
            publish.topic.to_owned(),
            publish.payload.to_vec(),
            qos,
            retain,
            dup,
            packet_id,
            properties,
        )
    });
    each.collect()
}

fn properties() -> Properties {
    let mut properties = Properties::new();
    properties.push(Property::ContentType("text")).unwrap();
    properties.push(Property::UserProperty("name", "value")).unwrap();
    properties
}

#[test]
fn a_stream_sees_the_messages_of_rows_as_they_came() {
    let mut bench = Bench::new();
    let mut stream = bench.route("a/#").capacity(2000).listen().unwrap();
    let (properties, bytes) = (properties(), [7; 1100].map(|byte: u8| byte));
    let publishes = mixed(&properties, &bytes);
    let outcomes = read_all(&mut bench, &publishes);
    assert!(outcomes.iter().all(|(outcome, _)| *outcome == Dispatched::Pending));
    let all = waiting_messages(&mut stream, |message| {
        assert!(message.received_at().elapsed().as_secs() < 60);
        seen(message)
    });
    assert!(all == expected(&publishes), "something was lost, or is not what it was");
    let tickets: Vec<_> = outcomes.iter().filter_map(|(_, ticket)| *ticket).collect();
    assert_eq!(bench.acked(), tickets, "in the order of arrival");
    let stats = stream.route().stats();
    assert_eq!((stats.received, stats.handled), (publishes.len() as u64, publishes.len() as u64));
}

#[tokio::test]
async fn a_callback_sees_the_messages_of_rows_as_they_came() {
    let mut bench = Bench::new();
    let all = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&all);
    let route = bench
        .route("a/#")
        .capacity(2000)
        .handle(move |message| kept.lock().unwrap().extend([seen(message), seen(&message.clone())]))
        .unwrap();
    let (properties, bytes) = (properties(), [7; 1100]);
    let publishes = mixed(&properties, &bytes);
    let outcomes = read_all(&mut bench, &publishes);
    while route.stats().handled < publishes.len() as u64 {
        tokio::task::yield_now().await;
    }
    // Each of them where it lies, and as a copy.
    let twice = expected(&publishes).into_iter().flat_map(|seen| [seen.clone(), seen]);
    assert!(*all.lock().unwrap() == twice.collect::<Vec<_>>(), "lost, or not what it was");
    let tickets: Vec<_> = outcomes.iter().filter_map(|(_, ticket)| *ticket).collect();
    assert_eq!(bench.acks(tickets.len()).await, tickets, "in the order of arrival");
}

#[test]
fn an_inline_handler_sees_the_messages_of_rows_as_they_came() {
    let mut bench = Bench::new();
    let all = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&all);
    let route = bench
        .route("a/#")
        .inline(move |message| kept.lock().unwrap().push(seen(&message.to_message())))
        .unwrap();
    let (properties, bytes) = (properties(), [7; 1100]);
    let publishes = mixed(&properties, &bytes);
    let outcomes = read_all(&mut bench, &publishes);
    assert!(*all.lock().unwrap() == expected(&publishes), "lost, or not what it was");
    let owed = outcomes.iter().filter(|(_, ticket)| ticket.is_some());
    assert!(owed.into_iter().all(|(outcome, _)| *outcome == Dispatched::DoneNow));
    let stats = route.stats();
    assert_eq!((stats.received, stats.handled), (publishes.len() as u64, publishes.len() as u64));
}

#[test]
fn a_route_that_is_added_within_a_row_gets_what_follows() {
    let mut bench = Bench::new();
    let added = Arc::new(Mutex::new(None));
    let kept = Arc::clone(&added);
    let late = bench.route("a/+");
    let late = Mutex::new(Some(late));
    let first = bench
        .route("#")
        .inline(move |message| {
            if message.payload() == b"3"
                && let Some(late) = late.lock().unwrap().take()
            {
                *kept.lock().unwrap() = Some(late.listen().unwrap());
            }
        })
        .unwrap();
    let one = QoS::AtLeastOnce;
    read(
        &mut bench,
        &[("a/1", one), ("a/2", one), ("a/1", one), ("a/3", one), ("a/4", one), ("a/4", one)],
    );
    assert_eq!(first.stats().handled, 6);
    let mut stream = added.lock().unwrap().take().unwrap();
    assert_eq!(waiting(&mut stream), ["4", "5"]);
}

#[test]
fn a_lot_has_the_messages_of_rows_in_their_order() {
    let (mut bench, keeper) = (Bench::new(), super::lots::Keeper::default());
    let _route = keeper.route(&bench, "a/#");
    let (one, none) = (QoS::AtLeastOnce, QoS::AtMostOnce);
    let topics = [("a/1", one), ("a/2", one), ("b", one), ("a/2", none), ("a/3", none)];
    let outcomes = read(&mut bench, &topics);
    assert_eq!(keeper.lots(), [["0", "1", "3", "4"]]);
    let tickets: Vec<_> = outcomes.iter().filter_map(|(_, ticket)| *ticket).collect();
    assert_eq!(keeper.settle(), tickets[..2]);
}

#[test]
fn only_the_first_of_a_row_is_looked_at_by_itself() {
    let mut bench = Bench::new();
    let mut stream = bench.route("t").listen().unwrap();
    let inline = bench.route("inline").inline(|_| ()).unwrap();
    let (mut bytes, mut inbound) = (Vec::new(), Vec::new());
    for topic in ["t"; 50].iter().chain(&["inline"; 50]) {
        plain(topic, b"x", QoS::AtMostOnce).encode(Version::V5, &mut bytes).unwrap();
    }
    bench.core.handle_input(Instant::now(), &bytes, &mut inbound);
    let received_at = bench.read_at;
    let meta = InboundMeta { ticket: None, received_at, flow_controlled: true, shed: false };
    let (router, source, mut run) = (&bench.host.router, &bench.as_source, Run::of(&bytes));
    for first in [0, 50] {
        let (scratch, mut done) = (&mut bench.scratch, Vec::new());
        router.dispatch(&inbound[first].publish(), &meta, source, scratch, &mut run);
        let next = &inbound[first + 1..];
        assert_eq!(router.dispatch_row(next, &meta, source, scratch, &run, &mut done), 49);
    }
    bench.read_ends();
    assert_eq!(waiting(&mut stream).len(), 50);
    assert_eq!(inline.stats().handled, 50);
}

#[test]
fn a_row_fills_batches_only_as_far_as_the_capacity_allows() {
    let mut bench = Bench::new();
    let mut stream = bench.route("t").capacity(80).listen().unwrap();
    read_all(&mut bench, &[plain("t", b"x", QoS::AtMostOnce); 95]);
    // Batches of ten: fifteen messages are beyond the capacity, and counted as such.
    assert_eq!(bench.parked(), 15 * (2 + 160));
    assert_eq!(stream.route().stats().queued, 95);
    assert_eq!(waiting(&mut stream).len(), 95);
    assert_eq!(bench.parked(), 0);
}

#[test]
fn a_row_of_large_payloads_is_bounded_in_bytes() {
    let mut bench = Bench::new();
    let mut stream = bench.route("t").listen().unwrap();
    read_all(&mut bench, &[plain("t", &[b'x'; 1000], QoS::AtMostOnce); 60]);
    let room = stream.route().target().state().queue.largest();
    assert!((1000..=18 * 1024).contains(&room), "{room} bytes in one batch");
    assert_eq!(waiting(&mut stream).len(), 60);
}

#[test]
fn what_a_policy_may_drop_does_not_go_in_rows() {
    let mut bench = Bench::new();
    let mut newest = bench.route("t").capacity(3).overflow(Overflow::DropNewest).listen().unwrap();
    read_all(&mut bench, &[plain("t", b"x", QoS::AtMostOnce); 10]);
    assert_eq!(bench.dropped(DropReason::RouteFull), 7);
    assert_eq!(waiting(&mut newest).len(), 3);
    drop(newest);
    // Neither when the inbound buffer is full.
    let mut stream = bench.route("t").capacity(3).listen().unwrap();
    bench.shed = true;
    read_all(&mut bench, &[plain("t", b"x", QoS::AtMostOnce); 10]);
    assert_eq!(bench.dropped(DropReason::InboundFull), 7);
    assert_eq!(waiting(&mut stream).len(), 3);
}

#[test]
fn a_row_is_for_all_routes_of_its_topic() {
    let mut bench = Bench::new();
    let mut streams = ["t", "#"].map(|filter| bench.route(filter).listen().unwrap());
    let outcomes = read_all(&mut bench, &[plain("t", b"x", QoS::AtLeastOnce); 100]);
    let tickets: Vec<_> = outcomes.iter().filter_map(|(_, ticket)| *ticket).collect();
    assert_eq!(waiting(&mut streams[0]).len(), 100);
    assert!(bench.acked().is_empty(), "the other route has them still");
    assert_eq!(waiting(&mut streams[1]).len(), 100);
    assert_eq!(bench.acked(), tickets);
}

#[test]
fn what_is_between_two_messages_of_a_row_is_not_copied_if_it_is_much() {
    let mut bench = Bench::new();
    let mut stream = bench.route("a").listen().unwrap();
    let (mut bytes, mut inbound) = (Vec::new(), Vec::new());
    let twice =
        |payload| Publish { packet_id: PacketId::new(1), ..plain("a", payload, QoS::ExactlyOnce) };
    let last = plain("a", b"2", QoS::AtMostOnce);
    // The third has the packet id of the second, and so is the same message.
    for publish in [plain("a", b"0", QoS::AtMostOnce), twice(b"1"), twice(&[b'x'; 1000]), last] {
        publish.encode(Version::V5, &mut bytes).unwrap();
    }
    bench.core.handle_input(Instant::now(), &bytes, &mut inbound);
    assert_eq!(inbound.len(), 3);
    let received_at = bench.read_at;
    let meta = InboundMeta { ticket: None, received_at, flow_controlled: true, shed: false };
    let (router, source, mut run) = (&bench.host.router, &bench.as_source, Run::of(&bytes));
    let (scratch, mut done) = (&mut bench.scratch, Vec::new());
    router.dispatch(&inbound[0].publish(), &meta, source, scratch, &mut run);
    let handed = router.dispatch_row(&inbound[1..], &meta, source, scratch, &run, &mut done);
    assert_eq!(handed, 2, "in two pieces");
    bench.read_ends();
    let room = stream.route().target().state().queue.largest();
    assert!(room < 100, "{room} bytes for three messages");
    assert_eq!(waiting(&mut stream), ["0", "1", "2"]);
}

#[test]
fn messages_of_one_topic_in_a_row_go_where_their_identifiers_say() {
    let mut bench = Bench::new();
    let mut streams = [("a/#", 1), ("a/+", 2)].map(|(filter, id)| bench.identified(filter, id));
    let identified = [1, 2].map(|id| {
        let mut properties = Properties::new();
        properties.push(Property::SubscriptionIdentifier(id)).unwrap();
        properties
    });
    let (first, second) = (identified[0].as_ref(), identified[1].as_ref());
    let of = |payload, properties| Publish { properties, ..plain("a/b", payload, QoS::AtMostOnce) };
    let publishes =
        [of(b"0", first), of(b"1", first), of(b"2", second), of(b"3", second), of(b"4", first)];
    read_all(&mut bench, &publishes);
    assert_eq!(waiting(&mut streams[0]), ["0", "1", "4"]);
    assert_eq!(waiting(&mut streams[1]), ["2", "3"]);
}

/// Without `resume_subscriptions` identifiers are given anew when the server lost the session, and routes keep those of before.
#[test]
fn an_identifier_of_two_filters_finds_both_whatever_came_before() {
    let mut properties = Properties::new();
    properties.push(Property::SubscriptionIdentifier(1)).unwrap();
    for filters in [["a/+", "a/b"], ["a/b", "a/+"]] {
        let mut bench = Bench::new();
        let mut streams = filters.map(|filter| bench.identified(filter, 1));
        let publishes = ["a/c", "a/b", "a/c"].map(|topic| Publish {
            properties: properties.as_ref(),
            ..plain(topic, b"x", QoS::AtMostOnce)
        });
        read_all(&mut bench, &publishes);
        let found = filters.map(|filter| if filter == "a/b" { 1 } else { 3 });
        assert_eq!(streams.each_mut().map(|stream| waiting(stream).len()), found, "{filters:?}");
    }
}

/// So it is with a subscription of an earlier process that has the identifier of another one today.
#[test]
fn a_message_with_an_identifier_twice_comes_once() {
    let mut bench = Bench::new();
    let mut stream = bench.identified("a/#", 1);
    let mut properties = Properties::new();
    for id in [1, 1] {
        properties.push(Property::SubscriptionIdentifier(id)).unwrap();
    }
    let properties = properties.as_ref();
    read_all(&mut bench, &[Publish { properties, ..plain("a/b", b"x", QoS::AtMostOnce) }; 2]);
    assert_eq!(waiting(&mut stream), ["x", "x"]);
}

#[test]
fn a_route_that_comes_in_the_middle_of_a_row_gets_the_rest() {
    let mut bench = Bench::new();
    let mut before = bench.route("t").listen().unwrap();
    let (mut bytes, mut inbound) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        plain("t", b"x", QoS::AtMostOnce).encode(Version::V5, &mut bytes).unwrap();
    }
    bench.core.handle_input(Instant::now(), &bytes, &mut inbound);
    let received_at = bench.read_at;
    let meta = InboundMeta { ticket: None, received_at, flow_controlled: true, shed: false };
    let (mut run, mut done) = (Run::default(), Vec::new());
    let (router, source, scratch) = (&bench.host.router, &bench.as_source, &mut bench.scratch);
    router.dispatch(&inbound[0].publish(), &meta, source, scratch, &mut run);
    let mut after =
        RouteBuilder::new(Arc::clone(&bench.host) as Arc<dyn RouteHost>, "#").listen().unwrap();
    let handed = router.dispatch_row(&inbound[1..], &meta, source, scratch, &run, &mut done);
    assert_eq!(handed, 0);
    for message in &inbound[1..] {
        router.dispatch(&message.publish(), &meta, source, scratch, &mut run);
    }
    bench.read_ends();
    assert_eq!((waiting(&mut before).len(), waiting(&mut after).len()), (3, 2));
}

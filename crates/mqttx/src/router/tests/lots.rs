//! Routes that take the messages of a read together.

use mqttx_proto::Inbound;

use super::*;

/// Keeps what it gets: payloads, one list for each call, and what is due for them.
#[derive(Clone, Default)]
pub(super) struct Keeper(Arc<Kept>);

#[derive(Default)]
pub(super) struct Kept {
    lots: Mutex<Vec<Vec<String>>>,
    due: Mutex<Vec<Due>>,
    shrunk: AtomicUsize,
}

impl LotHandler for Keeper {
    fn take(&self, lot: &Lot<'_>, items: &mut Vec<LotItem>) {
        let payload = |index| lot.read.get(index).unwrap().payload.to_vec();
        let payloads =
            items.iter().map(|item| String::from_utf8(payload(item.index)).unwrap()).collect();
        self.0.lots.lock().unwrap().push(payloads);
        self.0.due.lock().unwrap().extend(items.drain(..).map(|item| item.due));
    }

    fn shrink(&self) {
        self.0.shrunk.fetch_add(1, Ordering::SeqCst);
    }
}

impl Keeper {
    pub(super) fn lots(&self) -> Vec<Vec<String>> {
        self.0.lots.lock().unwrap().clone()
    }

    pub(super) fn take_lots(&self) -> Vec<Vec<String>> {
        std::mem::take(&mut self.0.lots.lock().unwrap())
    }

    /// Is done with everything: what is to be acknowledged now.
    pub(super) fn settle(&self) -> Vec<AckTicket> {
        self.0.due.lock().unwrap().drain(..).filter_map(Due::settle).collect()
    }

    pub(super) fn route(&self, bench: &Bench, filter: &str) -> Route {
        bench.route(filter).by_lot(self.clone()).unwrap()
    }
}

/// Messages of one read, and what became of each.
pub(super) fn read(
    bench: &mut Bench,
    topics: &[(&str, QoS)],
) -> Vec<(Dispatched, Option<AckTicket>)> {
    let payloads: Vec<_> = (0..topics.len()).map(|n| n.to_string()).collect();
    let publishes: Vec<_> = topics
        .iter()
        .zip(&payloads)
        .map(|(&(topic, qos), payload)| Publish {
            dup: false,
            qos,
            retain: false,
            topic,
            packet_id: None,
            properties: PropertiesRef::EMPTY,
            payload: payload.as_bytes(),
        })
        .collect();
    read_all(bench, &publishes)
}

/// The same for any messages, dispatched as the driver does it. Packet ids are given here.
pub(super) fn read_all(
    bench: &mut Bench,
    publishes: &[Publish<'_>],
) -> Vec<(Dispatched, Option<AckTicket>)> {
    let mut bytes = Vec::new();
    for publish in publishes {
        bench.next += 1;
        let packet_id = PacketId::new(bench.next).filter(|_| publish.qos > QoS::AtMostOnce);
        Publish { packet_id, ..*publish }.encode(Version::V5, &mut bytes).unwrap();
    }
    let mut inbound: Vec<Inbound<'_>> = Vec::new();
    bench.core.handle_input(Instant::now(), &bytes, &mut inbound);
    assert_eq!(inbound.len(), publishes.len());
    let (received_at, shed, flow_controlled) = (bench.read_at, bench.shed, bench.flow_controlled);
    let meta = |ticket| InboundMeta { ticket, received_at, flow_controlled, shed };
    let (mut outcomes, mut run, mut done) = (Vec::new(), Run::of(&bytes), Vec::new());
    for (chunk, read) in inbound.chunks(LOT).enumerate() {
        let mut index = 0;
        while let Some(item) = read.get(index) {
            let (router, source) = (&bench.host.router, &bench.as_source);
            bench.scratch.at(index);
            let (publish, meta) = (item.publish(), meta(item.ticket));
            let scratch = &mut bench.scratch;
            let outcome = router.dispatch(&publish, &meta, source, scratch, &mut run);
            outcomes.push((outcome, item.ticket));
            index += 1;
            let next = read.get(index..).filter(|_| !shed).unwrap_or_default();
            index += router.dispatch_row(next, &meta, source, scratch, &run, &mut done);
            let row = inbound.get(outcomes.len()..chunk * LOT + index).unwrap();
            outcomes.extend(row.iter().map(|item| {
                let is_done = item.ticket.is_some_and(|ticket| done.contains(&ticket));
                (if is_done { Dispatched::DoneNow } else { Dispatched::Pending }, item.ticket)
            }));
        }
        bench.scratch.hand_over(Read::Many(read), &meta(None), &bench.as_source);
    }
    bench.read_ends();
    outcomes
}

#[test]
fn a_route_gets_its_messages_of_a_read_in_one_call() {
    let (mut bench, a, all) = (Bench::new(), Keeper::default(), Keeper::default());
    let _routes = [a.route(&bench, "a"), all.route(&bench, "#")];
    let one = QoS::AtLeastOnce;
    let outcomes = read(&mut bench, &[("a", one), ("b", one), ("a", QoS::AtMostOnce)]);
    assert_eq!(a.lots(), [["0", "2"]]);
    assert_eq!(all.lots(), [["0", "1", "2"]]);
    let tickets: Vec<_> = outcomes.iter().filter_map(|(_, ticket)| *ticket).collect();
    assert!(outcomes[..2].iter().all(|(outcome, _)| *outcome == Dispatched::Pending));
    assert_eq!(all.settle(), tickets[1..], "the first message is still with the other route");
    assert_eq!(a.settle(), tickets[..1]);
    assert!(bench.acked().is_empty(), "they acknowledge themselves");
}

#[test]
fn more_routes_than_are_collected_for_get_everything_in_order() {
    let mut bench = Bench::new();
    let keepers: Vec<_> = (0..80).map(|_| Keeper::default()).collect();
    let _routes: Vec<_> = keepers.iter().map(|keeper| keeper.route(&bench, "a")).collect();
    let outcomes = read(&mut bench, &[("a", QoS::AtLeastOnce); 3]);
    for (n, keeper) in keepers.iter().enumerate() {
        assert_eq!(keeper.lots().concat(), ["0", "1", "2"]);
        let last = n + 1 == keepers.len();
        assert_eq!(keeper.settle().len(), if last { outcomes.len() } else { 0 });
    }
}

#[test]
fn a_lot_that_was_handed_over_does_not_come_again() {
    let (mut bench, keeper) = (Bench::new(), Keeper::default());
    let _route = keeper.route(&bench, "a");
    for _ in 0..2 {
        read(&mut bench, &[("a", QoS::AtMostOnce)]);
    }
    assert_eq!(keeper.lots(), [["0"], ["0"]]);
}

#[test]
fn a_stopped_route_gets_nothing_and_owes_nothing() {
    let (mut bench, keeper) = (Bench::new(), Keeper::default());
    let route = keeper.route(&bench, "a");
    route.target().end();
    let outcomes = read(&mut bench, &[("a", QoS::AtLeastOnce)]);
    assert_eq!(outcomes[0].0, Dispatched::DoneNow);
    assert!(keeper.lots().is_empty());
}

/// As when a driver found the route a moment before.
#[test]
fn an_abandoned_route_is_not_done_with_what_still_comes() {
    let (mut bench, keeper) = (Bench::new(), Keeper::default());
    let route = keeper.route(&bench, "a");
    route.target().abandon();
    let outcomes = read(&mut bench, &[("a", QoS::AtLeastOnce)]);
    assert_eq!(outcomes[0].0, Dispatched::Pending);
    assert_eq!(keeper.lots(), [["0"]], "its handler knows what to do");
}

#[test]
fn memory_is_given_back_once_after_each_burst() {
    let (mut bench, keeper) = (Bench::new(), Keeper::default());
    let _route = keeper.route(&bench, "a");
    for bursts in 1..=2 {
        for _ in 0..3 {
            read(&mut bench, &[("a", QoS::AtMostOnce)]);
            bench.host.router.on_quiet();
            assert_eq!(keeper.0.shrunk.load(Ordering::SeqCst), bursts - 1, "something came");
        }
        for _ in 0..3 {
            bench.host.router.on_quiet();
            assert_eq!(keeper.0.shrunk.load(Ordering::SeqCst), bursts);
        }
    }
}

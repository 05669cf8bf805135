//! Random routes and messages beside a naive model: the filters one by one, and a list for each queue.

use std::collections::{HashSet, VecDeque};
use std::sync::Condvar;

use super::lots::{Keeper, read_all};
use super::*;

struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Self {
        // Seeds that follow each other would all begin alike.
        let mut dice = Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        dice.below(2);
        dice
    }

    fn below(&mut self, limit: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }

    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}

const FILTERS: [&str; 18] = [
    "#",
    "+",
    "a",
    "a/#",
    "a/+",
    "a/b",
    "+/b",
    "/+",
    "a//c",
    "a/+/c",
    "a/b/c",
    "+/+/#",
    "$SYS/#",
    "$SYS/+/x",
    "$share/group/a/+",
    "é/+",
    "1/+/3/4/5/6/7/8/+",
    "1/2/3/4/5/6/7/#",
];

const TOPICS: [&str; 20] = [
    "a",
    "b",
    "a/b",
    "a/c",
    "a/",
    "ab/b",
    "/b",
    "x/b",
    "a//c",
    "a/b/c",
    "a/x/c",
    "a/b/d",
    "$SYS/b",
    "$SYS/b/x",
    "é/b",
    "é/è",
    "1/2/3/4/5/6/7",
    "1/2/3/4/5/6/7/8/9",
    "1/x/3/4/5/6/7/8/x",
    "1/2/3/4/5/6/7/8/9/10",
];

/// The definition, level by level.
fn is_for(filter: &str, topic: &str) -> bool {
    let filter = filter.strip_prefix("$share/group/").unwrap_or(filter);
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let (filter, topic): (Vec<_>, Vec<_>) =
        (filter.split('/').collect(), topic.split('/').collect());
    for (i, level) in filter.iter().enumerate() {
        match (*level, topic.get(i)) {
            ("#", _) => return true,
            (_, None) => return false,
            ("+", Some(_)) => {}
            (level, Some(name)) if level == *name => {}
            _ => return false,
        }
    }
    filter.len() == topic.len()
}

/// A message, and the identifiers that it comes with.
#[derive(Clone)]
struct Sent {
    topic: &'static str,
    qos: QoS,
    identifiers: Vec<u32>,
    payload: String,
}

/// Topics that follow each other are often the same, or nearly.
fn messages(dice: &mut Dice, first: usize, count: usize, routes: &[(&str, u32)]) -> Vec<Sent> {
    let mut sent: Vec<Sent> = Vec::new();
    for number in first..first + count {
        let topic = match sent.last() {
            Some(last) if dice.below(3) > 0 => last.topic,
            _ => dice.one_of(&TOPICS),
        };
        let qos = match sent.last() {
            Some(last) if dice.below(4) > 0 => last.qos,
            _ => dice.one_of(&[QoS::AtMostOnce, QoS::AtLeastOnce]),
        };
        let mut identifiers: Vec<u32> = routes
            .iter()
            .filter(|(filter, id)| *id > 0 && is_for(filter, topic))
            .map(|(_, id)| *id)
            .collect();
        // Servers send one message for all subscriptions, or one for each; or they have subscriptions of before.
        match dice.below(4) {
            0 => {}
            1 if !identifiers.is_empty() => identifiers = vec![99],
            _ if !identifiers.is_empty() => identifiers = vec![dice.one_of(&identifiers)],
            _ => {}
        }
        let length = dice.one_of(&[4, 4, 4, 40, 1100]);
        sent.push(Sent { topic, qos, identifiers, payload: format!("{number:length$}") });
    }
    sent
}

/// The routes that a message is for.
fn expected(routes: &[(&str, u32)], sent: &Sent) -> Vec<usize> {
    let matching = (0..routes.len()).filter(|route| is_for(routes[*route].0, sent.topic));
    let known = |route: &usize| sent.identifiers.contains(&routes[*route].1);
    let bound = matching.clone().any(|route| known(&route));
    matching.filter(|route| !bound || routes[*route].1 == 0 || known(route)).collect()
}

fn arrive(bench: &mut Bench, sent: &[Sent]) -> Vec<(Dispatched, Option<AckTicket>)> {
    let properties: Vec<Properties> = sent
        .iter()
        .map(|sent| {
            let mut properties = Properties::new();
            for id in &sent.identifiers {
                properties.push(Property::SubscriptionIdentifier(*id)).unwrap();
            }
            properties
        })
        .collect();
    let publishes: Vec<_> = sent
        .iter()
        .zip(&properties)
        .map(|(sent, properties)| Publish {
            dup: false,
            qos: sent.qos,
            retain: false,
            topic: sent.topic,
            packet_id: None,
            properties: properties.as_ref(),
            payload: sent.payload.as_bytes(),
        })
        .collect();
    read_all(bench, &publishes)
}

/// A queue as the policy has it: how many may go, of those that wait.
struct Model {
    capacity: usize,
    overflow: Overflow,
    waiting: VecDeque<(String, bool)>,
}

impl Model {
    fn push(&mut self, sent: &Sent, flow_controlled: bool) {
        let droppable = sent.qos == QoS::AtMostOnce || !flow_controlled;
        if droppable && self.waiting.len() >= self.capacity {
            match self.overflow {
                Overflow::Block => {}
                Overflow::DropNewest => return,
                Overflow::DropOldest => {
                    let Some(oldest) = self.waiting.iter().position(|(_, may_go)| *may_go) else {
                        return;
                    };
                    self.waiting.remove(oldest);
                }
            }
        }
        self.waiting.push_back((sent.payload.clone(), droppable));
    }
}

enum Consumer {
    Stream(MessageStream, Model),
    Inline(Route, Arc<Mutex<Vec<String>>>),
    Lot(Route, Keeper),
}

impl Consumer {
    fn new(bench: &Bench, dice: &mut Dice, filter: &str) -> Self {
        match dice.below(5) {
            0 => {
                let seen = Arc::<Mutex<Vec<String>>>::default();
                let kept = Arc::clone(&seen);
                let keep = move |message: &MessageRef<'_>| {
                    kept.lock().unwrap().push(message.payload_str().unwrap().to_owned());
                };
                Self::Inline(bench.route(filter).inline(keep).unwrap(), seen)
            }
            1 => {
                let keeper = Keeper::default();
                Self::Lot(keeper.route(bench, filter), keeper)
            }
            _ => {
                let overflow = dice.one_of(&[
                    Overflow::Block,
                    Overflow::Block,
                    Overflow::DropOldest,
                    Overflow::DropNewest,
                ]);
                let capacity = dice.one_of(&[1, 3, 10, 100, 1000]);
                let route = bench.route(filter).capacity(capacity).overflow(overflow);
                let model = Model { capacity, overflow, waiting: VecDeque::new() };
                Self::Stream(route.listen().unwrap(), model)
            }
        }
    }

    fn route(&self) -> &Route {
        match self {
            Self::Stream(stream, _) => stream.route(),
            Self::Inline(route, _) | Self::Lot(route, _) => route,
        }
    }

    /// What it got in a read.
    fn take(&mut self, acked: &mut Vec<AckTicket>) -> Vec<String> {
        match self {
            Self::Stream(stream, _) => waiting(stream),
            Self::Inline(_, seen) => std::mem::take(&mut *seen.lock().unwrap()),
            Self::Lot(_, keeper) => {
                acked.extend(keeper.settle());
                keeper.take_lots().concat()
            }
        }
    }
}

/// Each route gets what is for it, in order, as its policy has it; each message is acknowledged once.
#[test]
fn random_reads_reach_the_routes_that_a_naive_model_says() {
    for seed in 0..60 {
        let mut dice = Dice::new(seed);
        let mut bench = if dice.below(3) == 0 { Bench::v311() } else { Bench::new() };
        let numbered = dice.below(3);
        let (mut routes, mut consumers): (Vec<(&str, u32)>, Vec<Consumer>) = Default::default();
        let (mut owed, mut acked) = (Vec::new(), Vec::new());
        let mut first = 0;
        for _ in 0..6 {
            for _ in 0..dice.below(5) {
                if routes.len() > 2 && dice.below(3) == 0 {
                    let gone = dice.below(routes.len());
                    drop((routes.swap_remove(gone), consumers.swap_remove(gone)));
                    continue;
                }
                let filter = dice.one_of(&FILTERS);
                // No filter has an identifier, all have one, or some.
                let id = match numbered {
                    1 => 1 + FILTERS.iter().position(|known| *known == filter).unwrap() as u32,
                    2 if filter.contains('+') => 1 + filter.len() as u32,
                    _ => 0,
                };
                let consumer = Consumer::new(&bench, &mut dice, filter);
                assert!(bench.host.router.remove(consumer.route().target()));
                bench.host.router.add(consumer.route().target(), id);
                routes.push((filter, id));
                consumers.push(consumer);
            }
            let count = dice.below(200);
            let sent = messages(&mut dice, first, count, &routes);
            first += count;
            let mut expected: Vec<Vec<String>> = vec![Vec::new(); routes.len()];
            let mut found = Vec::new();
            for sent in &sent {
                let to = self::expected(&routes, sent);
                for route in &to {
                    match &mut consumers[*route] {
                        Consumer::Stream(_, model) => model.push(sent, bench.flow_controlled),
                        _ => expected[*route].push(sent.payload.clone()),
                    }
                }
                found.push(!to.is_empty());
            }
            let outcomes = arrive(&mut bench, &sent);
            for ((found, sent), (outcome, ticket)) in found.iter().zip(&sent).zip(&outcomes) {
                assert_eq!(*outcome != Dispatched::Unrouted, *found, "{seed} {}", sent.topic);
                owed.extend(ticket.filter(|_| *found));
                acked.extend(ticket.filter(|_| *outcome == Dispatched::DoneNow));
            }
            for (at, consumer) in consumers.iter_mut().enumerate() {
                if let Consumer::Stream(_, model) = consumer {
                    expected[at] = model.waiting.drain(..).map(|(payload, _)| payload).collect();
                }
                let got = consumer.take(&mut acked);
                assert!(
                    got == expected[at],
                    "{seed} {:?}: {got:?}, not {:?}",
                    routes[at],
                    expected[at]
                );
            }
            assert_eq!(bench.parked(), 0, "{seed}");
        }
        acked.extend(bench.acked());
        let once: HashSet<_> = acked.iter().copied().collect();
        assert_eq!(once.len(), acked.len(), "{seed}: one was acknowledged twice");
        assert_eq!(once, owed.into_iter().collect(), "{seed}");
    }
}

/// What handlers did, and what they wait for.
#[derive(Default)]
struct Log {
    /// Route, number of the message, and how many acknowledgements there were right before it returned.
    returned: Mutex<Vec<(usize, usize, usize)>>,
    changed: Condvar,
    told: Notify,
    panicked: Mutex<HashSet<(usize, usize)>>,
}

impl Log {
    /// A call of a handler.
    fn call(&self, source: &Source, route: usize, payload: &str, conduct: &Conduct) {
        let number: usize = payload.trim().parse().unwrap();
        let mut dice = Dice::new((number * 31 + route) as u64 ^ conduct.seed << 20);
        match dice.below(8) {
            0 => (0..dice.below(20)).for_each(|_| std::thread::yield_now()),
            1 if conduct.panics && self.panicked.lock().unwrap().insert((route, number)) => {
                panic!("on purpose");
            }
            2 if !conduct.panics => self.wait_for(conduct.before(route, number, &mut dice), number),
            _ => {}
        }
        let acked = source.acked.lock().unwrap().len();
        self.returned.lock().unwrap().push((route, number, acked));
        self.changed.notify_all();
        self.told.notify_one();
    }

    /// Blocks until another route has that message behind it.
    fn wait_for(&self, other: Option<usize>, number: usize) {
        let Some(other) = other else { return };
        let has = |all: &Vec<(usize, usize, usize)>| {
            all.iter().any(|(route, of, _)| (*route, *of) == (other, number))
        };
        let returned = self.returned.lock().unwrap();
        drop(self.changed.wait_while(returned, |all| !has(all)).unwrap());
    }
}

struct Conduct {
    seed: u64,
    panics: bool,
    filters: Vec<&'static str>,
    topics: Mutex<Vec<&'static str>>,
}

impl Conduct {
    /// One of the routes before this one that get the message, too: so no two wait for each other.
    fn before(&self, route: usize, number: usize, dice: &mut Dice) -> Option<usize> {
        let topic = self.topics.lock().unwrap()[number];
        let others: Vec<_> =
            (0..route).filter(|other| is_for(self.filters[*other], topic)).collect();
        (!others.is_empty()).then(|| dice.one_of(&others))
    }
}

async fn handlers(seed: u64, panics: bool) {
    let mut dice = Dice::new(seed);
    let mut bench = Bench::new();
    bench.host = Arc::new(Host::new(Some(HandlerJobs::new(Handle::current()))));
    let filters: Vec<_> = (0..30).map(|_| dice.one_of(&FILTERS)).collect();
    let (log, topics) = (Arc::<Log>::default(), Mutex::default());
    let conduct = Arc::new(Conduct { seed, panics, filters, topics });
    let mut routes = Vec::new();
    for (at, filter) in conduct.filters.iter().enumerate() {
        let (log, source) = (Arc::clone(&log), Arc::clone(&bench.source));
        let conduct = Arc::clone(&conduct);
        let route = bench.route(filter).capacity(dice.one_of(&[1, 10, 1000]));
        // Who waits for others needs a thread.
        let is_async = panics && dice.below(3) == 0;
        routes.push(if is_async {
            route.handle_async(move |message| {
                let (log, source, conduct) =
                    (Arc::clone(&log), Arc::clone(&source), Arc::clone(&conduct));
                async move {
                    tokio::task::yield_now().await;
                    log.call(&source, at, message.payload_str().unwrap(), &conduct);
                }
            })
        } else {
            route.handle(move |message| {
                log.call(&source, at, message.payload_str().unwrap(), &conduct);
            })
        });
    }
    let _routes: Vec<_> = routes.into_iter().map(Result::unwrap).collect();
    let unnumbered: Vec<_> = conduct.filters.iter().map(|filter| (*filter, 0)).collect();
    let (mut expected, mut tickets) = (vec![Vec::new(); conduct.filters.len()], Vec::new());
    for _ in 0..5 {
        let count = dice.below(60);
        let sent = messages(&mut dice, tickets.len(), count, &unnumbered);
        conduct.topics.lock().unwrap().extend(sent.iter().map(|sent| sent.topic));
        for (number, sent) in (tickets.len()..).zip(&sent) {
            let to = self::expected(&unnumbered, sent);
            to.iter().for_each(|route| expected[*route].push(number));
        }
        let outcomes = arrive(&mut bench, &sent);
        let pending = |(outcome, ticket): &(Dispatched, Option<AckTicket>)| {
            ticket.filter(|_| *outcome == Dispatched::Pending)
        };
        tickets.extend(outcomes.iter().map(pending));
        tokio::task::yield_now().await;
    }
    let owed: HashSet<_> = tickets.iter().flatten().copied().collect();
    let acked = bench.acks(owed.len()).await;
    let calls: usize = expected.iter().map(Vec::len).sum();
    while log.returned.lock().unwrap().len() < calls {
        log.told.notified().await;
    }
    assert_eq!(bench.acked(), acked, "{seed}: one was acknowledged twice");
    assert_eq!(acked.iter().copied().collect::<HashSet<_>>(), owed, "{seed}");
    let mut returned: Vec<Vec<usize>> = vec![Vec::new(); conduct.filters.len()];
    for (route, number, before) in &*log.returned.lock().unwrap() {
        returned[*route].push(*number);
        let at = acked.iter().position(|ticket| Some(*ticket) == tickets[*number]);
        assert!(at.is_none_or(|at| at >= *before), "{seed}: {number} was acknowledged too early");
    }
    assert_eq!(returned, expected, "{seed}: each once and in order");
    assert_eq!(bench.parked(), 0);
}

#[tokio::test(start_paused = true)]
async fn random_handlers_that_panic_get_each_message_in_order_before_it_is_acknowledged() {
    for seed in 0..10 {
        handlers(seed, true).await;
    }
}

#[tokio::test]
async fn random_handlers_that_wait_for_each_other_all_go_on() {
    for seed in 0..10 {
        handlers(seed, false).await;
    }
}

//! One story: what befalls the servers, the forwarder, and the process.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mqttx::{
    Backoff, Forwarder, ForwarderBuilder, ForwarderManager, ForwarderSource, ForwarderTarget,
    Jitter, Outbox, QoS, SessionBuilder, SessionManager, SessionOptions,
};
use tokio::time::sleep;

use crate::server::{Ledger, Net, POISON, Role, Server, SharedLedger, Sink};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// One target, always the same, and nothing is given back: the order stays, and QoS 2 comes once while the process lives.
    Steady,
    /// With a failover, sessions and forwarders that come and go, and messages that are given back.
    Wild,
}

/// Tells one story.
pub(crate) fn tell(seed: u64, kind: Kind) {
    let mut random = Random::new(seed);
    let lives = 1 + random.below(3);
    let world = World::new(&mut random, kind, lives);
    for life in 1..=lives {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        world.heal();
        runtime.block_on(async {
            let mut process = Process::start(&world, &mut random);
            let steps = 5 + random.below(25);
            for step in 0..steps {
                let deed = process.act(&mut random).await;
                let most = if random.one_in(8) { 8000 } else { 400 };
                sleep(random.millis(most)).await;
                world.check(&format!("seed {seed}, life {life}, step {step}, after {deed}"));
            }
            if life == lives {
                process.finish(&format!("seed {seed}, {:?}", world.rules)).await;
            }
        });
        // A process that dies: nothing of it runs on.
        drop(runtime);
    }
    world.check(&format!("seed {seed}, at the end"));
    if kind == Kind::Steady {
        world.check_order(seed, lives);
    }
}

/// Xorshift; any state but zero.
pub(crate) struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        let mut random = Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        random.below(1);
        random
    }

    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn millis(&mut self, end: u64) -> Duration {
        Duration::from_millis(self.below(end))
    }
}

/// What all processes of a story have in common.
#[derive(Clone, Debug)]
struct Rules {
    kind: Kind,
    filters: &'static [&'static str],
    qos: QoS,
    window: u64,
    failover: bool,
    side: bool,
    ack_timeout: Option<Duration>,
    outbox: Option<usize>,
}

struct World {
    rules: Rules,
    ledger: SharedLedger,
    servers: Arc<BTreeMap<&'static str, Arc<Server>>>,
}

impl World {
    fn new(random: &mut Random, kind: Kind, lives: u64) -> Self {
        let wild = kind == Kind::Wild;
        let rules = Rules {
            kind,
            // A process does not know what the one before it had subscribed.
            filters: if lives == 1 { &["a/+", "a/#"] } else { &["a/+"] },
            qos: if random.one_in(2) { QoS::AtLeastOnce } else { QoS::ExactlyOnce },
            window: 1 + random.below(8),
            failover: wild && !random.one_in(3),
            side: wild && random.one_in(3),
            ack_timeout: random.one_in(2).then(|| Duration::from_millis(500 + random.below(3000))),
            outbox: random.one_in(2).then(|| 1 + random.below(6) as usize),
        };
        let ledger = SharedLedger::default();
        let target = || Server::new(Role::Target(Sink::default()), &ledger);
        let source = Server::source(rules.qos, 1 + random.below(20) as usize, &ledger);
        let servers = BTreeMap::from([
            ("src", source),
            ("one", target()),
            ("two", target()),
            ("letters", Server::new(Role::Letters(Sink::default()), &ledger)),
            ("side", Server::new(Role::Side(Sink::default()), &ledger)),
        ]);
        Self { rules, ledger, servers: Arc::new(servers) }
    }

    fn server(&self, name: &str) -> &Arc<Server> {
        &self.servers[name]
    }

    fn heal(&self) {
        self.servers.values().for_each(|server| server.heal());
    }

    fn check(&self, moment: &str) {
        let ledger = self.ledger.lock().unwrap();
        assert!(ledger.broken.is_empty(), "{moment}: {:?}, {:?}", ledger.broken, self.rules);
    }

    /// By what arrived first of each message, topic by topic.
    fn check_order(&self, seed: u64, lives: u64) {
        let Ledger { arrived, .. } = &*self.ledger.lock().unwrap();
        for topic in 0..3 {
            let of_topic = arrived.iter().filter(|number| *number % 3 == topic);
            let mut last = 0;
            for number in of_topic {
                let again = arrived.iter().filter(|other| *other == number).count() > 1;
                assert!(
                    *number > last || again,
                    "seed {seed}: {number} behind {last}, {:?}: {arrived:?}",
                    self.rules
                );
                last = last.max(*number);
            }
        }
        if self.rules.qos == QoS::ExactlyOnce && lives == 1 {
            let mut once = arrived.clone();
            once.sort_unstable();
            once.dedup();
            assert_eq!(once.len(), arrived.len(), "seed {seed}, {:?}: {arrived:?}", self.rules);
        }
    }
}

struct Process<'a> {
    world: &'a World,
    sessions: SessionManager,
    forwarders: ForwarderManager,
    forwarder: Forwarder,
    version: u64,
}

impl<'a> Process<'a> {
    fn start(world: &'a World, random: &mut Random) -> Self {
        let sessions = SessionManager::builder().connect_rate(0).build();
        for name in ["src", "one", "two", "letters", "side"] {
            sessions.add_session(session(world, name).build().unwrap()).unwrap();
        }
        let forwarders = ForwarderManager::named(&sessions, "d");
        let forwarder =
            forwarders.add_forwarder(rules(&world.rules, random, 0).build().unwrap()).unwrap();
        Self { world, sessions, forwarders, forwarder, version: 0 }
    }

    /// Something happens; what it was.
    async fn act(&mut self, random: &mut Random) -> &'static str {
        let wild = self.world.rules.kind == Kind::Wild;
        match random.below(if wild { 18 } else { 13 }) {
            0..=7 => self.befall(random),
            8..=12 => self.steer(random).await,
            _ => self.uproot(random).await,
        }
    }

    fn some(random: &mut Random) -> &'static str {
        ["one", "one", "two", "letters", "side"][random.below(5) as usize]
    }

    /// Something befalls the servers.
    fn befall(&self, random: &mut Random) -> &'static str {
        let name = Self::some(random);
        let (source, server) = (self.world.server("src"), self.world.server(name));
        match random.below(8) {
            0..=2 => {
                source.produce(1 + random.below(30) as u32);
                "more messages"
            }
            3 => {
                source.cut();
                "the source was cut"
            }
            4 => {
                server.cut();
                "a target was cut"
            }
            5 => {
                server.go_down();
                // Long enough for a failover, or not.
                let most = if random.one_in(2) { 2000 } else { 15_000 };
                self.later(name, random.millis(most));
                "a target went down"
            }
            6 => {
                server.lock().silent = true;
                self.later(name, random.millis(4000));
                "a target fell silent"
            }
            _ => {
                server.lock().delay = random.millis(150);
                "a target is slow"
            }
        }
    }

    /// The forwarder is to do something else.
    async fn steer(&mut self, random: &mut Random) -> &'static str {
        match random.below(5) {
            0 | 1 => {
                self.change(random).await;
                "other rules"
            }
            2 => {
                self.forwarder.pause().await;
                self.rest(random, 3000).await;
                "a pause"
            }
            3 => {
                self.forwarder.stop(random.millis(1000)).await;
                self.rest(random, 1000).await;
                "a stop"
            }
            _ => {
                // Whoever waits may give up.
                let patience = random.millis(300);
                let stop = self.forwarder.stop(Duration::from_secs(1));
                let _ = tokio::time::timeout(patience, stop).await;
                self.forwarder.start().await.unwrap();
                // Perhaps the stop came behind that.
                sleep(Duration::from_millis(1100)).await;
                self.forwarder.start().await.unwrap();
                "a stop for which nobody waited"
            }
        }
    }

    /// It does nothing for a while.
    async fn rest(&mut self, random: &mut Random, most: u64) {
        sleep(random.millis(most)).await;
        if random.one_in(3) {
            self.change(random).await;
        }
        self.forwarder.start().await.unwrap();
    }

    /// What was built is taken down, and built again.
    async fn uproot(&mut self, random: &mut Random) -> &'static str {
        let (world, name) = (self.world, Self::some(random));
        match random.below(if world.rules.failover { 8 } else { 5 }) {
            5.. => {
                // It goes down with messages that it did not acknowledge, for longer than a failover waits.
                let one = world.server("one");
                one.lock().delay = Duration::from_millis(100);
                world.server("src").produce(1 + random.below(10) as u32);
                sleep(random.millis(300)).await;
                one.go_down();
                self.later("one", Duration::from_secs(6) + random.millis(6000));
                sleep(Duration::from_secs(5) + random.millis(2000)).await;
                "a target gave way"
            }
            0 => {
                self.forwarder.settle(random.millis(500)).await;
                "old rules were given up"
            }
            1 | 2 => {
                self.sessions.remove_session(name).await.unwrap();
                sleep(random.millis(3000)).await;
                self.sessions.add_session(session(world, name).build().unwrap()).unwrap();
                "a target was removed and added"
            }
            3 => {
                self.forwarders.remove("fw", random.millis(500)).await.unwrap();
                sleep(random.millis(1000)).await;
                let rules = rules(&world.rules, random, self.version).build().unwrap();
                self.forwarder = self.forwarders.add_forwarder(rules).unwrap();
                "the forwarder was removed and added"
            }
            4 => {
                self.sessions.session(name).unwrap().reconnect();
                "a target connects anew"
            }
        }
    }

    /// It heals by itself.
    fn later(&self, server: &str, time: Duration) {
        let server = Arc::clone(self.world.server(server));
        tokio::spawn(async move {
            sleep(time).await;
            server.heal();
        });
    }

    async fn change(&mut self, random: &mut Random) {
        self.version += 1;
        let rules = vec![rules(&self.world.rules, random, self.version).build().unwrap()];
        self.forwarders.reconfigure(rules, &[], Duration::from_secs(1)).await.unwrap();
    }

    /// Everything is well again: nothing may be left.
    async fn finish(&mut self, story: &str) {
        let source = self.world.server("src");
        source.produce(3);
        self.world.heal();
        self.forwarder.settle(Duration::from_secs(60)).await;
        let patience = tokio::time::Instant::now() + Duration::from_secs(600);
        while !source.progress().1 {
            let (metrics, ledger) = (self.forwarder.metrics(), self.world.ledger.lock().unwrap());
            assert!(
                tokio::time::Instant::now() < patience,
                "{story}: {:?} {metrics:?} forwarded {:?} letters {:?}",
                source.progress(),
                ledger.forwarded,
                ledger.letters,
            );
            drop(ledger);
            sleep(Duration::from_millis(100)).await;
        }
        let total = source.progress().0;
        {
            let ledger = self.world.ledger.lock().unwrap();
            let missing = |n: &u32| !ledger.forwarded.contains(n) && !ledger.letters.contains(n);
            let missing: Vec<u32> = (1..=total).filter(missing).collect();
            assert!(missing.is_empty(), "{story}: {missing:?} of {total} are lost");
            assert_eq!(ledger.letters.len() as u32, total / POISON, "{story}");
        }
        // What its server acknowledged is finished, and so are copies that came again.
        let held = async {
            while self.forwarder.metrics().in_flight > 0 {
                sleep(Duration::from_millis(100)).await;
            }
        };
        let held = tokio::time::timeout(Duration::from_secs(600), held).await;
        let m = self.forwarder.metrics();
        assert!(held.is_ok(), "{story}: {m:?}");
        assert_eq!(
            m.received,
            m.forwarded + m.filtered + m.dropped + m.dead_lettered,
            "{story}: {m:?}"
        );
        for name in ["src", "one", "two", "letters"] {
            let session = self.sessions.session(name).unwrap();
            assert_eq!(session.peek().parked_bytes, 0, "{story}: {name}");
        }
        let left = self.forwarders.shutdown(Duration::from_secs(60)).await;
        assert_eq!(left, 0, "{story}");
        let report = self.sessions.shutdown(Duration::from_secs(60)).await;
        assert!(report.clean, "{story}: {report:?}");
    }
}

fn session(world: &World, name: &str) -> SessionBuilder {
    let quick = Backoff::new(Duration::from_millis(10), Duration::from_secs(1));
    let options = SessionOptions::quick_connect(name, format!("mqtt://{name}"))
        .transport(Net(Arc::clone(&world.servers)))
        .client_id(name)
        .clean_start(false)
        .reconnect(quick.jitter(Jitter::None).stable_after(Duration::from_secs(1)));
    let outbox = Outbox { messages: world.rules.outbox, ..Outbox::default() };
    if name == "src" { options } else { options.outbox(outbox) }
}

fn rules(rules: &Rules, random: &mut Random, version: u64) -> ForwarderBuilder {
    let filter = rules.filters[random.below(rules.filters.len() as u64) as usize];
    let source = ForwarderSource::new("src").topic(filter).qos(QoS::ExactlyOnce);
    let mut target = ForwarderTarget::new("one").topic(format!("v{version}/{{topic}}"));
    if rules.failover {
        target = target.failover("two");
    }
    let mut builder = ForwarderBuilder::new("fw")
        .from(source)
        .to(target)
        .dead_letter("letters", "dlq")
        .window(if random.one_in(4) { 50 } else { rules.window as usize });
    if rules.side {
        builder = builder.to(ForwarderTarget::new("side").required(false));
    }
    match rules.ack_timeout {
        Some(timeout) => builder.ack_timeout(timeout),
        None => builder,
    }
}

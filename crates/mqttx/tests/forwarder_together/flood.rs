//! Floods of QoS 0 between servers that are slow, in virtual time: stories that a seed tells.
//!
//! Three servers send what others are to get, in every direction, through sockets that hold little. They stop reading, go down and
//! cut connections; forwarders are paused, stopped, changed, removed and added again, and so are sessions. What arrives is in order
//! and comes once, the counters agree, and once all is well again everything that is sent arrives: nothing keeps a source from
//! being read. A failure prints its seed; `MQTTX_TEST_SEED=n cargo test -p mqttx --test forwarder_together` plays it again, and
//! `MQTTX_TEST_LONG` tells thousands.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mqttx::{
    Backoff, Forwarder, ForwarderBuilder, ForwarderManager, Jitter, Outbox, Performance,
    SessionManager, SessionOptions, Version,
};
use tokio::time::{Instant, sleep};

use crate::host::{Host, Net, Random};

const STORIES: u64 = 25;
const MANY: u64 = 3000;

const HOSTS: [&str; 3] = ["one", "two", "three"];

/// From, to.
const WAYS: [(usize, usize); 6] = [(0, 1), (1, 0), (1, 2), (2, 0), (0, 2), (2, 1)];

#[test]
fn floods_arrive_once_and_in_order_and_hold_no_source_for_ever() {
    if let Ok(seed) = std::env::var("MQTTX_TEST_SEED") {
        return tell(seed.parse().expect("a number"));
    }
    let stories = if std::env::var_os("MQTTX_TEST_LONG").is_some() { MANY } else { STORIES };
    (1..=stories).for_each(tell);
}

fn tell(seed: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut random = Random::new(seed);
        let mut story = Story::new(seed, &mut random);
        for _ in 0..3 + random.below(15) {
            story.act(&mut random).await;
            let most = if random.one_in(8) { 30_000 } else { 300 };
            sleep(Duration::from_millis(random.below(most))).await;
            story.check();
        }
        story.finish().await;
    });
}

struct Story {
    seed: u64,
    /// What happened.
    deeds: Vec<String>,
    hosts: BTreeMap<&'static str, Arc<Host>>,
    sessions: SessionManager,
    forwarders: ForwarderManager,
    /// The limit of outboxes in messages.
    outbox: Option<usize>,
    write_buffer: usize,
    /// The ways that are open, and the size of their queue.
    ways: Vec<(usize, usize, usize)>,
    /// The number of the last message of each host.
    last: [u64; 3],
    /// The numbers of the messages that arrived, by forwarder.
    arrived: BTreeMap<String, Vec<u64>>,
}

fn name(from: usize, to: usize) -> String {
    format!("{}-{}", HOSTS[from], HOSTS[to])
}

impl Story {
    fn new(seed: u64, random: &mut Random) -> Self {
        let hosts = HOSTS.map(|name| {
            let capacity = random.of(&[4 << 10, 32 << 10, 300 << 10]);
            (name, Host::new(Version::V5, &[0], capacity))
        });
        let hosts = BTreeMap::from(hosts);
        let sessions = SessionManager::builder().connect_rate(0).build();
        let forwarders = ForwarderManager::named(&sessions, "d");
        let (deeds, ways, last) = (Vec::new(), Vec::new(), [0; 3]);
        let arrived = BTreeMap::new();
        let (outbox, write_buffer) = (random.of(&[None, Some(7)]), random.of(&[4096, 1 << 20]));
        let mut story = Self {
            outbox,
            write_buffer,
            seed,
            deeds,
            hosts,
            sessions,
            forwarders,
            ways,
            last,
            arrived,
        };
        HOSTS.into_iter().for_each(|name| story.add_session(name));
        for _ in 0..1 + random.below(4) {
            let (from, to) = random.of(&WAYS);
            if story.ways.iter().all(|way| (way.0, way.1) != (from, to)) {
                let way = (from, to, random.of(&[16, 200, 10_000, 10_000]));
                story.ways.push(way);
                story.forwarders.add_forwarder(rules(way).build().unwrap()).unwrap();
            }
        }
        story
    }

    fn add_session(&self, name: &'static str) {
        let quick = Backoff::new(Duration::from_millis(10), Duration::from_secs(1));
        let options = SessionOptions::quick_connect(name, format!("mqtt://{name}"))
            .transport(Net(Arc::new(self.hosts.clone())))
            .outbox(Outbox { messages: self.outbox, ..Outbox::default() })
            .performance(Performance { write_buffer: self.write_buffer, ..Performance::default() })
            .reconnect(quick.jitter(Jitter::None));
        self.sessions.add_session(options.build().unwrap()).unwrap();
    }

    fn forwarder(&self, way: (usize, usize, usize)) -> Forwarder {
        self.forwarders.get(&name(way.0, way.1)).unwrap()
    }

    async fn act(&mut self, random: &mut Random) {
        let way = random.of(&self.ways);
        let (host, forwarder) = (HOSTS[random.below(3) as usize], self.forwarder(way));
        let server = Arc::clone(&self.hosts[host]);
        let deed = match random.below(20) {
            0..=5 => {
                let sizes = random.of(&[100, 3000, 20_000]);
                self.produce(way.0, random.below(if sizes < 3000 { 1500 } else { 150 }), sizes);
                "messages".to_owned()
            }
            6..=8 => {
                server.change(|state| state.deaf ^= true);
                format!("{host} reads or not")
            }
            9 => {
                server.change(|state| state.rude ^= true);
                format!("{host} is rude or not")
            }
            10 => {
                server.cut();
                format!("{host} was cut")
            }
            11 => {
                if random.one_in(3) {
                    server.go_down()
                } else {
                    server.heal()
                }
                format!("{host} is down or well")
            }
            12 => {
                forwarder.stop(Duration::from_millis(random.below(500))).await;
                "a stop".to_owned()
            }
            13 => {
                forwarder.pause().await;
                "a pause".to_owned()
            }
            14 | 15 => {
                forwarder.start().await.unwrap();
                "a start".to_owned()
            }
            16 => {
                let rules = self.ways.iter().map(|way| rules(*way).window(1 + self.deeds.len()));
                let rules = rules.map(|rules| rules.build().unwrap()).collect();
                self.forwarders.reconfigure(rules, &[], Duration::from_millis(100)).await.unwrap();
                "other rules".to_owned()
            }
            17 => {
                self.forwarders.remove(forwarder.name(), Duration::from_millis(50)).await.unwrap();
                self.forwarders.add_forwarder(rules(way).build().unwrap()).unwrap();
                "removed and added".to_owned()
            }
            18 => {
                self.sessions.session(host).unwrap().reconnect();
                format!("{host} anew")
            }
            _ => {
                self.sessions.remove_session(host).await.unwrap();
                sleep(Duration::from_millis(random.below(100))).await;
                self.add_session(host);
                format!("{host} was removed and added")
            }
        };
        self.deeds.push(deed);
    }

    /// A host has more messages, if somebody asks for them.
    fn produce(&mut self, host: usize, count: u64, size: usize) {
        let server = &self.hosts[HOSTS[host]];
        if !server.is_asked() || server.unsent() > 20 {
            return;
        }
        let mut bytes = Vec::new();
        for _ in 0..count {
            self.last[host] += 1;
            let mut payload = self.last[host].to_string().into_bytes();
            payload.resize(payload.len() + size, b' ');
            let topic = [b'a', b'/', b'0' + (self.last[host] / 5 % 10) as u8];
            let mut length = 6 + payload.len();
            bytes.push(0x30);
            while length >= 0x80 {
                bytes.push(length as u8 | 0x80);
                length >>= 7;
            }
            bytes.push(length as u8);
            bytes.extend([0, 3]);
            bytes.extend(topic);
            bytes.push(0);
            bytes.extend(payload);
        }
        server.send(bytes);
    }

    fn told(&self) -> String {
        let Self { seed, outbox, write_buffer, ways, deeds, .. } = self;
        format!("seed {seed}, {outbox:?} {write_buffer} {ways:?}: {deeds:?}")
    }

    /// The counters agree, and what arrived by each way came once and in order.
    fn check(&mut self) {
        for way in &self.ways {
            let m = self.forwarder(*way).metrics();
            let finished = m.forwarded + m.filtered + m.dropped;
            assert_eq!(m.received, finished + m.in_flight, "{}", self.told());
        }
        let mut arrived = std::mem::take(&mut self.arrived);
        for host in self.hosts.values() {
            for packet in std::mem::take(&mut host.lock().published) {
                let (by, number) = read(&packet);
                let numbers = arrived.entry(by).or_default();
                let in_order = numbers.last().is_none_or(|last| *last < number);
                assert!(in_order, "{number} behind {:?}: {}", numbers.last(), self.told());
                numbers.push(number);
            }
        }
        self.arrived = arrived;
    }

    /// All is well again, but that nobody reads before it has sent everything.
    async fn finish(&mut self) {
        for host in self.hosts.values() {
            host.heal();
        }
        for way in self.ways.clone() {
            self.forwarder(way).start().await.unwrap();
        }
        let patience = Instant::now() + Duration::from_secs(300);
        let mut before = Vec::new();
        while !self.is_quiet() || !self.is_ready() || before != self.counts() {
            assert!(Instant::now() < patience, "it never rests: {}", self.told());
            before = self.counts();
            sleep(Duration::from_secs(3)).await;
        }
        self.check();
        for host in self.hosts.values() {
            host.change(|state| state.rude = true);
        }
        let last = self.last;
        for host in 0..3 {
            self.produce(host, 100, 20_000);
        }
        // Sooner than a connection that takes nothing is given up.
        sleep(Duration::from_secs(15)).await;
        assert_eq!(self.counts(), before, "connections ended: {}", self.told());
        assert!(self.is_quiet(), "it stands still: {}", self.told());
        self.check();
        for way in &self.ways {
            let numbers = &self.arrived[&name(way.0, way.1)];
            let count = numbers.iter().filter(|number| **number > last[way.0]).count();
            assert!(way.2 < 10_000 || count == 100, "{count} by {way:?}: {}", self.told());
        }
    }

    fn is_quiet(&self) -> bool {
        let ways = self.ways.iter();
        let held: u64 = ways.map(|way| self.forwarder(*way).metrics().in_flight).sum();
        held == 0 && self.hosts.values().all(|host| host.unsent() == 0)
    }

    fn is_ready(&self) -> bool {
        let sessions = HOSTS.iter().map(|name| self.sessions.session(name).unwrap());
        sessions.into_iter().all(|session| session.is_connected())
            && self.ways.iter().all(|way| self.hosts[HOSTS[way.0]].is_asked())
    }

    fn counts(&self) -> Vec<u64> {
        let sessions = HOSTS.iter().map(|name| self.sessions.session(name).unwrap());
        sessions.map(|session| session.metrics().reconnects).collect()
    }
}

fn rules((from, to, queue): (usize, usize, usize)) -> ForwarderBuilder {
    ForwarderBuilder::new(name(from, to))
        .source(HOSTS[from], "a/#")
        .target(HOSTS[to])
        .topic("{forwarder}")
        .qos0_queue(queue)
}

/// By which forwarder a message came, and its number.
fn read(packet: &[u8]) -> (String, u64) {
    let mut at = 1;
    while packet[at] >= 0x80 {
        at += 1;
    }
    let topic_len = usize::from(packet[at + 2]);
    let topic = String::from_utf8(packet[at + 3..][..topic_len].to_vec()).unwrap();
    let properties = at + 3 + topic_len;
    let payload = &packet[properties + 1 + usize::from(packet[properties])..];
    let number = std::str::from_utf8(payload).unwrap().trim_end();
    (topic, number.parse().unwrap())
}

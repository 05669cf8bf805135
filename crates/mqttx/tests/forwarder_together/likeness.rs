//! What goes together reaches its target as what goes one by one does: the same bytes, in the same order, with the same counts.
//!
//! Every story is told twice, in virtual time. The second time a filter that lets everything through makes each message go by
//! itself. A failure prints its seed; `MQTTX_TEST_SEED=n cargo test -p mqttx --test forwarder_together` plays it again, and
//! `MQTTX_TEST_LONG` tells thousands.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mqttx::proto::packet::Publish;
use mqttx::proto::{PacketId, Properties, Property};
use mqttx::{
    EventKind, Filter, ForwardDrop, ForwarderBuilder, ForwarderManager, ForwarderSource,
    ForwarderTarget, Performance, QoS, RetainRule, SessionManager, SessionOptions, Version,
};
use tokio::time::sleep;

use crate::host::{Host, Net, Random};

const STORIES: u64 = 60;
const MANY: u64 = 2000;

/// What is the same both times.
struct Outcome {
    published: Vec<Vec<u8>>,
    acknowledged: Vec<Vec<u8>>,
    counts: Counts,
}

#[derive(PartialEq, Debug)]
struct Counts {
    received: u64,
    forwarded: u64,
    dropped: Vec<(ForwardDrop, u64)>,
    in_flight: u64,
    /// By the events.
    told: BTreeMap<&'static str, u64>,
}

struct Story {
    source: Version,
    target: Version,
    /// Properties of CONNACK from the target.
    limits: Vec<u8>,
    /// The target comes only after the messages.
    late: bool,
    qos: QoS,
    target_qos: Option<QoS>,
    retain: RetainRule,
    /// What the target's session accepts.
    largest: usize,
    filters: &'static [&'static str],
    topic: &'static str,
    /// What the source sends, and after how many milliseconds.
    reads: Vec<(u64, Vec<u8>)>,
}

#[test]
fn what_goes_together_arrives_as_what_goes_one_by_one() {
    if let Ok(seed) = std::env::var("MQTTX_TEST_SEED") {
        return compare(seed.parse().expect("a number"));
    }
    let stories = if std::env::var_os("MQTTX_TEST_LONG").is_some() { MANY } else { STORIES };
    (1..=stories).for_each(compare);
}

fn compare(seed: u64) {
    let story = Story::new(&mut Random::new(seed));
    let together = story.tell(|rules| rules);
    let one_by_one = story.tell(|rules| rules.filter(Filter::from_fn(|_| true)));
    for (n, pair) in together.published.iter().zip(&one_by_one.published).enumerate() {
        let [a, b] = [pair.0, pair.1].map(|bytes| String::from_utf8_lossy(bytes));
        assert_eq!(pair.0, pair.1, "seed {seed}, number {n}: {a:.200} instead of {b:.200}");
    }
    // Payloads end with dots.
    let dots = |packet: &Vec<u8>| packet.iter().rev().take_while(|byte| **byte == b'.').count();
    let most = together.published.iter().map(dots).max().unwrap_or(0);
    assert!(most <= story.largest, "seed {seed}: a payload with {most} bytes");
    assert_eq!(together.published.len(), one_by_one.published.len(), "seed {seed}");
    assert!(together.acknowledged == one_by_one.acknowledged, "seed {seed}");
    assert_eq!(together.counts, one_by_one.counts, "seed {seed}");
}

impl Story {
    fn new(random: &mut Random) -> Self {
        let versions = [Version::V5, Version::V5, Version::V311];
        let (source, target) = (random.of(&versions), random.of(&versions));
        let limits = match random.below(6) {
            0 => vec![5, 0x27, 0, 0, 0, 60],
            1 => vec![2, 0x25, 0],
            2 => vec![3, 0x21, 0, 3],
            3 => vec![2, 0x24, 0],
            _ => vec![0],
        };
        let rest = ["{#}", "x/{#}", "{session}/{topic}", "one"];
        let filters: &[&str] = if random.one_in(4) { &["a/+", "a/#"] } else { &["a/#"] };
        let mut reads = Vec::new();
        let mut last_id = 0;
        for _ in 0..1 + random.below(6) {
            let mut bytes = Vec::new();
            for _ in 0..1 + random.below(150) {
                // One by one, what is beyond 1024 would wait, and others would go before it.
                if last_id > 900 {
                    break;
                }
                let row = if random.one_in(4) { 1 + random.below(20) } else { 1 };
                publish(random, source, row, &mut last_id, &mut bytes);
            }
            reads.push((random.of(&[0, 1, 1500]), bytes));
        }
        Self {
            source,
            target,
            limits,
            late: random.one_in(4),
            qos: random.of(&[QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce]),
            target_qos: random.one_in(4).then_some(QoS::AtMostOnce),
            retain: random.of(&[RetainRule::Source, RetainRule::Fixed(true)]),
            largest: random.of(&[40, 1 << 20, 1 << 20, 1 << 20]),
            filters,
            topic: if filters.len() == 1 { random.of(&rest) } else { "{topic}" },
            reads,
        }
    }

    fn tell(&self, rules: impl FnOnce(ForwarderBuilder) -> ForwarderBuilder) -> Outcome {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(self.play(rules))
    }

    async fn play(&self, rules: impl FnOnce(ForwarderBuilder) -> ForwarderBuilder) -> Outcome {
        let source = Host::new(self.source, &[0], 64 << 20);
        let target = Host::new(self.target, &self.limits, 64 << 20);
        let hosts = BTreeMap::from([("src", Arc::clone(&source)), ("dst", Arc::clone(&target))]);
        let net = Net(Arc::new(hosts));
        let sessions = SessionManager::builder().connect_rate(0).build();
        let performance = Performance { max_message_size: self.largest, ..Performance::default() };
        for (name, version) in [("src", self.source), ("dst", self.target)] {
            let options = SessionOptions::quick_connect(name, format!("mqtt://{name}"))
                .transport(net.clone())
                .protocol(version)
                .manual_connect(name == "dst" && self.late)
                .performance(performance);
            let options = match version {
                Version::V5 => options.topic_alias_maximum(4),
                Version::V311 => options,
            };
            sessions.add_session(options.build().unwrap()).unwrap();
        }
        let mut events = sessions.events();
        let mut from = ForwarderSource::new("src").qos(self.qos);
        for filter in self.filters {
            from = from.topic(*filter);
        }
        let mut to = ForwarderTarget::new("dst").topic(self.topic).retain(self.retain);
        if let Some(qos) = self.target_qos {
            to = to.qos(qos);
        }
        let forwarders = ForwarderManager::named(&sessions, "d");
        let builder = rules(ForwarderBuilder::new("fw").from(from).to(to).window(65_535));
        let forwarder = forwarders.add_forwarder(builder.build().unwrap()).unwrap();
        while source.lock().filters < self.filters.len() {
            sleep(Duration::from_millis(1)).await;
        }
        for (pause, bytes) in &self.reads {
            source.send(bytes.clone());
            sleep(Duration::from_millis(*pause)).await;
        }
        sleep(Duration::from_millis(100)).await;
        sessions.session("dst").unwrap().connect();
        sleep(Duration::from_secs(3)).await;
        let metrics = forwarder.metrics();
        let finished = metrics.forwarded + metrics.filtered + metrics.dropped;
        assert_eq!(metrics.received, finished + metrics.in_flight);
        assert_eq!(source.unsent(), 0, "everything was read");
        let mut told = BTreeMap::new();
        forwarder.stop(Duration::from_secs(1)).await;
        while let Some(event) = events.try_next() {
            if let EventKind::ForwarderMessageDropped { reason, count, .. } = event.kind {
                *told.entry(reason).or_default() += count;
            }
        }
        let (source, target) = (source.lock(), target.lock());
        Outcome {
            published: target.published.clone(),
            acknowledged: source.acknowledged.clone(),
            counts: Counts {
                received: metrics.received,
                forwarded: metrics.forwarded,
                dropped: metrics.dropped_by_reason,
                in_flight: metrics.in_flight,
                told,
            },
        }
    }
}

/// Appends `row` messages that differ in their payloads and ids.
fn publish(random: &mut Random, version: Version, row: u64, last_id: &mut u16, out: &mut Vec<u8>) {
    let topics = ["a/1", "a/2", "a/22", "a", "a/b/c", "a/", "a//"];
    let qos = match random.below(8) {
        0 => QoS::AtLeastOnce,
        1 => QoS::ExactlyOnce,
        _ => QoS::AtMostOnce,
    };
    let mut topic = random.of(&topics);
    let mut properties = Properties::new();
    if version == Version::V5 && random.one_in(3) {
        for _ in 0..=random.below(3) {
            let property = match random.below(11) {
                0 => Property::ContentType("text"),
                1 => Property::CorrelationData(b"\0c"),
                2 => Property::ResponseTopic("a/answer"),
                3 => Property::PayloadFormatIndicator(1),
                4 => Property::MessageExpiryInterval(random.of(&[0, 1, 9])),
                5 => Property::UserProperty("k", "v"),
                6 => Property::UserProperty("mqttx-via", random.of(&["d/fw", "e/fw"])),
                7 => Property::UserProperty("mqttx-hops", random.of(&["2", "99"])),
                // Set below, once and for all.
                8 | 9 => Property::TopicAlias(1 + random.below(4) as u16),
                _ => Property::SubscriptionIdentifier(1),
            };
            // What occurs twice is left out.
            let _ = properties.push(property);
        }
        if let Some(alias) = properties.as_ref().topic_alias() {
            // The first four messages set them.
            if *last_id > 0 && random.one_in(2) {
                topic = "";
            } else {
                topic = topics[usize::from(alias)];
            }
        }
    }
    if *last_id == 0 && version == Version::V5 {
        for alias in 1..=4 {
            let mut only = Properties::new();
            only.push(Property::TopicAlias(alias)).unwrap();
            let set = Publish {
                dup: false,
                qos: QoS::AtMostOnce,
                retain: false,
                topic: topics[usize::from(alias)],
                packet_id: None,
                properties: only.as_ref(),
                payload: b"alias",
            };
            set.encode(version, out).unwrap();
        }
    }
    let retain = random.one_in(5);
    for n in 0..row {
        *last_id += 1;
        let size = match random.below(40) {
            0 => 4090 + random.below(20),
            1 => 20_000,
            _ => random.below(60),
        };
        let mut payload = format!("{last_id} {n} ").into_bytes();
        payload.resize(payload.len() + size as usize, b'.');
        let packet_id = PacketId::new(*last_id).filter(|_| qos != QoS::AtMostOnce);
        let publish = Publish {
            dup: false,
            qos,
            retain,
            topic,
            packet_id,
            properties: properties.as_ref(),
            payload: &payload,
        };
        publish.encode(version, out).unwrap();
    }
}

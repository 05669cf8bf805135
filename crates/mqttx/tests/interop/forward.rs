//! Forwarders between two brokers, of which one goes away in the middle.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use mqttx::{
    ForwardDrop, Forwarder, ForwarderBuilder, ForwarderManager, Outbox, QoS, Session,
    SessionBuilder, SessionManager, Version,
};
use mqttx_test::Mosquitto;
use tokio::sync::Notify;

use crate::released::Released;
use crate::support::*;

const TOPICS: usize = 8;

/// Messages of one load: more in a long run.
fn messages() -> usize {
    if is_long() { 200_000 } else { 20_000 }
}

/// `in/+` of one broker forwarded to `out/+` of another one, and somebody who counts there.
struct Bridge {
    source: Mosquitto,
    target: Mosquitto,
    sessions: SessionManager,
    forwarder: Forwarder,
    publisher: Session,
    arrivals: Arc<Arrivals>,
    /// What the two brokers sent again.
    released: [Arc<Released>; 2],
}

/// The numbers that arrived at the target, by topic.
#[derive(Default)]
struct Arrivals {
    counts: Mutex<Counts>,
    changed: Notify,
}

#[derive(Default)]
struct Counts {
    by_topic: HashMap<String, Vec<usize>>,
    distinct: HashSet<usize>,
    total: usize,
}

impl Arrivals {
    fn add(&self, topic: &str, number: usize) {
        let mut counts = self.counts.lock().unwrap();
        match counts.by_topic.get_mut(topic) {
            Some(numbers) => numbers.push(number),
            None => drop(counts.by_topic.insert(topic.to_owned(), vec![number])),
        }
        counts.distinct.insert(number);
        counts.total += 1;
        drop(counts);
        self.changed.notify_one();
    }

    /// Those that came again included.
    fn total(&self) -> usize {
        self.counts.lock().unwrap().total
    }

    fn distinct(&self) -> usize {
        self.counts.lock().unwrap().distinct.len()
    }

    /// Waits until so many arrived, without those that came again.
    async fn reach(&self, count: usize) {
        let wait = async {
            while self.distinct() < count {
                self.changed.notified().await;
            }
        };
        let waited = tokio::time::timeout(LIMIT, wait).await;
        assert!(waited.is_ok(), "{} of {count} messages arrived", self.distinct());
    }

    /// Every number below `count` arrived in its topic, in order apart from those that came again.
    fn assert_complete(&self, count: usize) {
        let by_topic = &self.counts.lock().unwrap().by_topic;
        for k in 0..TOPICS {
            let arrived = by_topic.get(&format!("out/{k}")).map_or(&[][..], Vec::as_slice);
            let mut seen = vec![false; count];
            let mut is_new = |i: usize| !std::mem::replace(&mut seen[i], true);
            let first: Vec<usize> = arrived.iter().copied().filter(|&i| is_new(i)).collect();
            let expected: Vec<usize> = (0..count).filter(|i| i % TOPICS == k).collect();
            let lost: Vec<_> = expected.iter().filter(|&&i| !seen[i]).take(20).collect();
            assert!(lost.is_empty(), "lost in topic {k}: {lost:?} ..");
            assert!(first == expected, "out of order in topic {k}");
        }
    }
}

impl Bridge {
    /// `rules` get their source and their target here.
    async fn new(version: Version, qos: QoS, rules: ForwarderBuilder) -> Option<Self> {
        let source = Mosquitto::builder().persistence(true).start().await?;
        let mut target = Mosquitto::builder().persistence(true).start().await?;
        let sessions = SessionManager::new();
        let arrivals = Arc::new(Arrivals::default());
        let released = [(); 2].map(|()| Arc::new(Released::default()));

        // Without such a limit Mosquitto would hold messages that it acknowledged to the forwarder, and
        // a killed one would take them along.
        let observer = persistent("observer", &target.url(), Version::V5)
            .receive_maximum(u16::MAX)
            .wire_log(Arc::clone(&released[0]) as _);
        let observer = add(&sessions, observer);
        let counted = Arc::clone(&arrivals);
        observer
            .route("out/+")
            .qos(QoS::ExactlyOnce)
            .inline(move |message| counted.add(message.topic(), number(message.payload())))
            .unwrap()
            .detach();
        sessions.wait_for_all_sessions(PATIENCE).await.unwrap();
        // Now its subscription is on disk, and also counts after the broker was killed.
        target.stop().await;
        target.restart().await;

        let narrow = |options: SessionBuilder| {
            options.outbox(Outbox { messages: Some(8), ..Outbox::default() })
        };
        let incoming = persistent("source", &source.url(), version)
            .inbound_buffer(64 << 10)
            .wire_log(Arc::clone(&released[1]) as _);
        add(&sessions, incoming);
        add(&sessions, narrow(persistent("target", &target.url(), version)));
        let forwarders = ForwarderManager::new(&sessions);
        let rules = rules.from(mqttx::ForwarderSource::new("source").topic("in/+").qos(qos));
        let rules = rules.target("target").map_topic("in/+", "out/{1}");
        let forwarder = forwarders.add_forwarder(rules.build().unwrap()).unwrap();
        let publisher = add(&sessions, persistent("publisher", &source.url(), version));
        sessions.wait_for_all_sessions(PATIENCE).await.unwrap();
        Some(Self { source, target, sessions, forwarder, publisher, arrivals, released })
    }

    /// Publishes in the background, until the source has everything.
    fn publish(&self, count: usize, qos: QoS) -> tokio::task::JoinHandle<()> {
        let publisher = self.publisher.clone();
        tokio::spawn(async move {
            for i in 0..count {
                let topic = format!("in/{}", i % TOPICS);
                drop(publisher.enqueue(numbered(&topic, i, qos)).await.unwrap());
            }
            publisher.flush(LIMIT).await.unwrap();
        })
    }

    /// Nothing is on its way any more.
    async fn finish(&self) -> mqttx::ForwarderMetrics {
        self.sessions.session("source").unwrap().settle(LIMIT).await.unwrap();
        assert_eq!(self.forwarder.stop(LIMIT).await, 0);
        let metrics = self.forwarder.metrics();
        assert_eq!(metrics.received, metrics.forwarded + metrics.dropped);
        metrics
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_the_target_is_killed_and_all_queues_are_full() {
    in_time(async {
        let rules = ForwarderBuilder::new("f").window(16);
        let Some(mut bridge) = Bridge::new(Version::V5, QoS::AtLeastOnce, rules).await else {
            return;
        };
        let count = messages();
        let publishing = bridge.publish(count, QoS::AtLeastOnce);
        bridge.arrivals.reach(count / 4).await;
        bridge.target.kill();
        // The whole load waits at the source before the target is back.
        publishing.await.unwrap();
        bridge.target.restart().await;
        bridge.arrivals.reach(count).await;
        let metrics = bridge.finish().await;
        bridge.arrivals.assert_complete(count);
        assert_eq!(metrics.dropped, 0, "{:?}", metrics.dropped_by_reason);
        // What had no room waited with the broker, not for another connection.
        assert_eq!(bridge.sessions.session("source").unwrap().metrics().reconnects, 0);
    })
    .await;
}

both_versions! {
    async fn nothing_is_lost_when_both_brokers_stop_and_return(version: Version) {
        let rules = ForwarderBuilder::new("f").window(16);
        let Some(mut bridge) = Bridge::new(version, QoS::AtLeastOnce, rules).await else { return };
        let publishing = bridge.publish(5000, QoS::AtLeastOnce);
        for part in 1..3 {
            bridge.arrivals.reach(part * 1000).await;
            bridge.target.stop().await;
            bridge.source.stop().await;
            bridge.target.restart().await;
            bridge.source.restart().await;
        }
        publishing.await.unwrap();
        bridge.arrivals.reach(5000).await;
        let metrics = bridge.finish().await;
        bridge.arrivals.assert_complete(5000);
        assert_eq!(metrics.dropped, 0, "{:?}", metrics.dropped_by_reason);
    }

    async fn qos2_messages_cross_once_when_both_brokers_stop_and_return(version: Version) {
        let rules = ForwarderBuilder::new("f").window(16);
        let Some(mut bridge) = Bridge::new(version, QoS::ExactlyOnce, rules).await else { return };
        let publishing = bridge.publish(3000, QoS::ExactlyOnce);
        for part in 1..4 {
            bridge.arrivals.reach(part * 600).await;
            bridge.target.stop().await;
            bridge.source.stop().await;
            bridge.target.restart().await;
            bridge.source.restart().await;
        }
        publishing.await.unwrap();
        bridge.arrivals.reach(3000).await;
        bridge.finish().await;
        bridge.arrivals.assert_complete(3000);
        let theirs: usize = bridge.released.iter().map(|released| released.sent_again()).sum();
        assert_eq!(bridge.arrivals.total(), 3000 + theirs, "a message came twice");
    }

    async fn qos0_without_a_target_is_forwarded_or_counted_as_dropped(version: Version) {
        let rules = ForwarderBuilder::new("f").qos0_queue(100);
        let Some(mut bridge) = Bridge::new(version, QoS::AtMostOnce, rules).await else { return };
        bridge.publish(1000, QoS::AtMostOnce).await.unwrap();
        bridge.arrivals.reach(1).await;
        bridge.target.kill();
        let down = || !bridge.sessions.session("target").unwrap().is_connected();
        until(&bridge.sessions, "disconnected", down).await;
        bridge.publish(4000, QoS::AtMostOnce).await.unwrap();
        // Behind the others, and acknowledged by the forwarder's session only when they arrived.
        let source = bridge.sessions.session("source").unwrap();
        let mut marker = source.listen("marker").unwrap();
        source.wait_ready(PATIENCE).await.unwrap();
        bridge.publisher.publish("marker", "x", QoS::AtLeastOnce, false).await.unwrap();
        assert_eq!(text(&mut marker).await, "x");
        let metrics = bridge.forwarder.metrics();
        assert_eq!(metrics.received, 5000);
        assert!(metrics.in_flight <= 100, "{metrics:?}");
        assert!(metrics.dropped >= 3900 - 8, "{metrics:?}");

        bridge.target.restart().await;
        let metrics = bridge.finish().await;
        assert_eq!((metrics.received, metrics.in_flight), (5000, 0));
        assert_eq!(metrics.forwarded + metrics.dropped, 5000);
        let reasons = metrics.dropped_by_reason.iter();
        assert_eq!(reasons.clone().map(|(_, count)| count).sum::<u64>(), metrics.dropped);
        for (reason, _) in reasons {
            assert!(matches!(reason, ForwardDrop::QueueFull | ForwardDrop::ConnectionLost));
        }
        assert!(bridge.arrivals.total() as u64 <= metrics.forwarded);
    }
}

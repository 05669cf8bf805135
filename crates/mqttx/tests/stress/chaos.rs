//! Connections cut at random moments, and everything done at once.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use mqttx::{
    Backoff, Delivery, ErrorKind, Publish, QoS, Session, SessionBuilder, SessionManager,
    SessionStatus, Version,
};
use tokio::task::JoinSet;

use crate::broker::{Broker, Conduct};
use crate::{LONG, VERSIONS, on_both_runtimes, options};

/// Xorshift; any state but zero.
struct Random(u64);

impl Random {
    fn new() -> Self {
        Self(RandomState::new().build_hasher().finish() | 1)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

const LEVELS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

/// A session that comes back at once.
fn nimble(name: &str, broker: &Broker, version: Version) -> SessionBuilder {
    options(name, broker, version)
        .reconnect(Backoff::new(Duration::from_millis(1), Duration::from_millis(10)))
}

#[test]
fn cut_connections_lose_nothing_and_repeat_nothing_at_qos_2() {
    on_both_runtimes("cutting", async || {
        let mut jobs = JoinSet::new();
        for version in VERSIONS {
            for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
                jobs.spawn(cutting(version, qos));
            }
        }
        jobs.join_all().await;
    });
}

async fn cutting(version: Version, qos: QoS) {
    const MESSAGES: usize = 1500;
    let broker = Arc::new(Broker::start(Conduct::default()));
    let manager = SessionManager::new();
    let [source, target] = ["source", "target"]
        .map(|name| manager.add_session(nimble(name, &broker, version).build().unwrap()).unwrap());
    let mut stream = target.route("in").qos(qos).capacity(1).listen().unwrap();
    manager.wait_for_all_sessions(LONG).await.unwrap();
    let seen = Arc::new(AtomicUsize::new(0));
    let cutter = tokio::spawn({
        let (broker, seen) = (Arc::clone(&broker), Arc::clone(&seen));
        async move {
            let mut random = Random::new();
            while seen.load(SeqCst) < MESSAGES {
                tokio::time::sleep(Duration::from_micros(random.below(8_000))).await;
                broker.cut_all();
            }
        }
    });
    let publishing = tokio::spawn(async move {
        let mut deliveries = Vec::new();
        for i in 0..MESSAGES {
            let message = Publish::new("in", i.to_string()).qos(qos);
            deliveries.push(source.enqueue(message).await.unwrap());
        }
        for delivery in deliveries {
            delivery.await.unwrap();
        }
    });
    let mut counts = vec![0; MESSAGES];
    let mut order = Vec::new();
    while seen.load(SeqCst) < MESSAGES {
        let message = stream.next().await.unwrap();
        let number: usize = message.payload_str().unwrap().parse().unwrap();
        counts[number] += 1;
        if counts[number] == 1 {
            order.push(number);
            seen.fetch_add(1, SeqCst);
        }
    }
    cutter.await.unwrap();
    publishing.await.unwrap();
    assert!(order.is_sorted(), "{version} {qos:?}: {order:?}");
    if qos == QoS::ExactlyOnce {
        assert!(counts.iter().all(|count| *count == 1), "{version}: {counts:?}");
    }
    drop(stream);
    assert!(manager.shutdown(LONG).await.clean);
}

#[test]
fn nothing_hangs_whatever_is_done_at_once() {
    on_both_runtimes("everything at once", async || {
        for _ in 0..3 {
            everything_at_once().await;
        }
    });
}

/// Several tasks per session, each with its own mind.
async fn everything_at_once() {
    let broker = Arc::new(Broker::start(Conduct { window: 5, backlog: None }));
    let manager = SessionManager::builder().connect_rate(0).event_capacity(4).build();
    let mut jobs = JoinSet::new();
    for i in 0..12 {
        let (manager, broker) = (manager.clone(), Arc::clone(&broker));
        jobs.spawn(async move {
            let mut random = Random::new();
            let mut deliveries = Vec::new();
            let mut routes = Vec::new();
            for _ in 0..60 {
                let name = format!("s{}", (i + random.below(2)) % 4);
                let session = find_or_add(&manager, &name, &broker);
                act(&mut random, &manager, &session, &mut deliveries, &mut routes).await;
            }
            deliveries
        });
    }
    let cutter = tokio::spawn({
        let broker = Arc::clone(&broker);
        async move {
            let mut random = Random::new();
            loop {
                tokio::time::sleep(Duration::from_millis(random.below(60))).await;
                broker.accept(random.below(3) > 0);
                broker.cut_all();
            }
        }
    });
    let deliveries: Vec<Delivery> = jobs.join_all().await.into_iter().flatten().collect();
    cutter.abort();
    let _ = cutter.await;
    broker.accept(true);
    manager.connect_all();
    for delivery in deliveries {
        if let Err(error) = tokio::time::timeout(LONG, delivery).await.expect("no delivery hangs") {
            let kinds = [ErrorKind::Closed, ErrorKind::Connection, ErrorKind::Publish];
            assert!(kinds.contains(&error.kind()), "{error}");
        }
    }
    let report = manager.shutdown(LONG / 2).await;
    assert!(report.clean, "{report:?}");
    assert_eq!(broker.silent(), 0);
}

fn find_or_add(manager: &SessionManager, name: &str, broker: &Broker) -> Session {
    loop {
        if let Ok(session) = manager.session(name) {
            return session;
        }
        let version = VERSIONS[name.len() % 2];
        let options = nimble(name, broker, version).max_pending(4).message_channel_size(1);
        if let Ok(session) = manager.add_session(options.build().unwrap()) {
            return session;
        }
    }
}

async fn act(
    random: &mut Random,
    manager: &SessionManager,
    session: &Session,
    deliveries: &mut Vec<Delivery>,
    routes: &mut Vec<mqttx::Route>,
) {
    // Whoever waits may give up.
    let patience = Duration::from_millis(random.below(20));
    let qos = LEVELS[random.below(3) as usize];
    let topic = format!("t/{}", random.below(3));
    let message = Publish::new(topic.as_str(), "x").qos(qos);
    let waiting = async {
        match random.below(12) {
            0..=2 => deliveries.extend(session.try_publish(message).ok()),
            3 | 4 => deliveries.extend(session.enqueue(message).await.ok()),
            5 => drop(session.publish_message(message).await),
            6 => drop(session.subscribe(&topic, qos).await),
            7 => drop(session.unsubscribe(&topic).await),
            8 => routes.extend(add_route(random, session, &topic)),
            9 => drop(routes.pop()),
            10 => match random.below(3) {
                0 => session.disconnect().await,
                1 => session.reconnect(),
                _ => drop(session.wait_ready(LONG).await),
            },
            _ if random.below(4) == 0 => drop(manager.remove_session(session.name()).await),
            _ => drop(session.flush(LONG).await),
        }
    };
    let _ = tokio::time::timeout(patience, waiting).await;
    if session.status() == SessionStatus::Disconnected {
        session.connect();
    }
}

/// A route whose handler publishes on its own session.
fn add_route(random: &mut Random, session: &Session, filter: &str) -> Option<mqttx::Route> {
    let publisher = session.clone();
    let answer = Publish::new("answer", "x").qos(QoS::AtLeastOnce);
    let route = session.route(filter).capacity(1);
    match random.below(3) {
        0 => route.inline(move |_| drop(publisher.try_publish(answer.clone()))),
        1 => route.handle(move |_| drop(publisher.try_publish(answer.clone()))),
        _ => route.handle_async(move |_| {
            let (publisher, answer) = (publisher.clone(), answer.clone());
            async move { drop(publisher.publish_message(answer).await) }
        }),
    }
    .ok()
}

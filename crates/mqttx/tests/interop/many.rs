//! A thousand sessions at one broker.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use mqttx::{QoS, Session, SessionManager, Version};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use crate::support::*;

const SESSIONS: usize = 1000;

/// How long brokers come and go: a minute in a long run.
fn duration() -> Duration {
    Duration::from_secs(if is_long() { 60 } else { 8 })
}

/// Every session listens to a topic of its own, and tells what it gets.
struct Fleet {
    manager: SessionManager,
    sessions: Vec<Session>,
    received: Arc<[AtomicUsize]>,
    changed: Arc<Notify>,
}

impl Fleet {
    fn new(url: &str) -> Self {
        let manager = SessionManager::new();
        let received: Arc<[AtomicUsize]> = (0..SESSIONS).map(|_| AtomicUsize::new(0)).collect();
        let changed = Arc::new(Notify::new());
        let mut sessions = Vec::new();
        for i in 0..SESSIONS {
            let version = if i % 2 == 0 { Version::V5 } else { Version::V311 };
            let name = format!("device-{i}");
            let session =
                add(&manager, options(&name, url, version).client_id(&name).clean_start(true));
            let (received, changed) = (Arc::clone(&received), Arc::clone(&changed));
            let route = session.route(&format!("device/{i}")).inline(move |message| {
                assert_eq!(message.topic(), format!("device/{i}"));
                received[i].fetch_add(1, Ordering::Relaxed);
                changed.notify_one();
            });
            route.unwrap().detach();
            sessions.push(session);
        }
        Self { manager, sessions, received, changed }
    }

    /// Sends one message to every session, from another one, and waits until each has its own.
    async fn greet(&self) {
        let counts = |fleet: &Self| -> Vec<usize> {
            fleet.received.iter().map(|count| count.load(Ordering::Relaxed)).collect()
        };
        let before = counts(self);
        for i in 0..SESSIONS {
            let from = &self.sessions[(i * 7 + 1) % SESSIONS];
            drop(from.try_publish(numbered(&format!("device/{i}"), i, QoS::AtLeastOnce)).unwrap());
        }
        while !counts(self).iter().zip(&before).all(|(now, before)| now > before) {
            self.changed.notified().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_sessions_live_through_brokers_that_come_and_go() {
    tokio::time::timeout(duration() + LIMIT, live_through()).await.expect("in time");
}

async fn live_through() {
    let mut broker = broker!();
    let fleet = Fleet::new(&broker.url());
    fleet.manager.wait_for_all_sessions(PATIENCE).await.unwrap();
    assert_eq!(fleet.manager.metrics().connected, SESSIONS);
    in_time(fleet.greet()).await;

    let (stop, stopped) = watch::channel(false);
    let resolved = Arc::new(AtomicU64::new(0));
    let mut publishers = JoinSet::new();
    for (i, session) in fleet.sessions.iter().enumerate() {
        let (session, stopped) = (session.clone(), stopped.clone());
        let resolved = Arc::clone(&resolved);
        publishers.spawn(async move {
            let topic = format!("load/{i}");
            let mut sent = 0;
            while !*stopped.borrow() {
                let deliveries = [QoS::AtLeastOnce, QoS::ExactlyOnce]
                    .map(|qos| session.try_publish(numbered(&topic, sent, qos)).unwrap());
                for delivery in deliveries {
                    delivery.await.unwrap();
                    resolved.fetch_add(1, Ordering::Relaxed);
                    sent += 1;
                }
            }
            sent as u64
        });
    }
    let started = Instant::now();
    let mut events = fleet.manager.events_matching(mqttx::EventName::SessionReady);
    while started.elapsed() < duration() {
        broker.restart().await;
        // Killed again when some are back and others are on their way.
        for _ in 0..SESSIONS / 2 {
            events.next().await.unwrap();
        }
    }
    fleet.manager.wait_for_all_sessions(PATIENCE).await.unwrap();
    stop.send_replace(true);
    let sent: u64 = in_time(publishers.join_all()).await.into_iter().sum();
    assert_eq!(resolved.load(Ordering::Relaxed), sent);
    assert!(sent >= 2 * SESSIONS as u64, "every session got some through");
    assert!(fleet.manager.metrics().reconnects >= SESSIONS as u64);
    in_time(fleet.greet()).await;
    let report = fleet.manager.shutdown(PATIENCE).await;
    assert!(report.clean, "{report:?}");
}

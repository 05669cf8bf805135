//! A thousand sessions at one broker that comes and goes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use mqttx::{Backoff, Delivery, ErrorKind, Publish, QoS, Session, SessionManager, Version};

use crate::broker::{Broker, Conduct};
use crate::{LONG, note_stalls, options};

const SESSIONS: usize = 1000;
/// Connections per second.
const RATE: u32 = 2000;
/// The first delay after a lost connection; half of it is random.
const DELAY: Duration = Duration::from_millis(600);

/// The most CONNECTs within any `span`.
fn densest(times: &[Instant], span: Duration) -> usize {
    let from = |i: usize| times[i..].iter().take_while(|at| **at - times[i] < span).count();
    (0..times.len()).map(from).max().unwrap_or_default()
}

/// 200 at once and 200 more would be the rule; who stood still for a moment catches up.
fn assert_no_storm(times: &[Instant], stalls: Duration) {
    let span = Duration::from_millis(100);
    let most = densest(times, span);
    let late = (f64::from(RATE) * stalls.as_secs_f64()) as usize;
    assert!(most <= SESSIONS * 3 / 4 + late, "{most} connections within {span:?}, {stalls:?}");
}

fn message(n: usize) -> Publish {
    Publish::new("up", n.to_string()).qos([QoS::AtLeastOnce, QoS::ExactlyOnce][n % 2])
}

fn publish_on_all(sessions: &[Session], deliveries: &mut Vec<Delivery>) {
    let all = sessions.iter().enumerate();
    deliveries.extend(all.map(|(i, session)| session.try_publish(message(i)).unwrap()));
}

async fn all_connected(manager: &SessionManager) {
    manager.wait_for_all_sessions(LONG).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_sessions_survive_a_broker_that_comes_and_goes() {
    let broker = Broker::start(Conduct::default());
    let ours = Arc::new(AtomicU64::new(0));
    tokio::spawn(note_stalls(Arc::clone(&ours)));
    let stalls = || broker.stalls() + Duration::from_micros(ours.load(Ordering::Relaxed));
    let manager = SessionManager::builder().connect_rate(RATE).build();
    let start = Instant::now();
    let sessions: Vec<Session> = (0..SESSIONS)
        .map(|i| {
            let version = [Version::V311, Version::V5][i % 2];
            let options = options(&format!("device-{i}"), &broker, version)
                .reconnect(Backoff::new(DELAY, 4 * DELAY));
            manager.add_session(options.build().unwrap()).unwrap()
        })
        .collect();
    let mut deliveries = Vec::new();
    publish_on_all(&sessions, &mut deliveries);
    all_connected(&manager).await;
    let rate = Duration::from_secs(SESSIONS as u64) / RATE;
    assert!(start.elapsed() >= rate * 8 / 10, "the rate was not kept: {:?}", start.elapsed());
    assert_no_storm(&broker.connects(), stalls());

    // Everything is lost at once, and comes back spread over the random half of the delay.
    let before = broker.connects().len();
    broker.withhold_acks(true);
    publish_on_all(&sessions, &mut deliveries);
    let cut = Instant::now();
    broker.cut_all();
    broker.withhold_acks(false);
    broker.until("everybody", |b| b.connects().len() - before >= SESSIONS).await;
    let back = broker.connects().split_off(before);
    assert!(back[0] - cut >= DELAY / 4, "nobody comes back at once");
    assert!(*back.last().unwrap() - back[0] + stalls() >= rate / 4, "attempts are spread");
    assert_no_storm(&back, stalls());

    // Gone for a while, then cut in the middle of everything.
    publish_on_all(&sessions, &mut deliveries);
    broker.accept(false);
    broker.cut_all();
    broker.until("nobody is left", |b| b.clients() == 0).await;
    publish_on_all(&sessions, &mut deliveries);
    broker.accept(true);
    broker.until("half of them", |b| b.clients() > SESSIONS / 2).await;
    broker.cut_all();

    for delivery in deliveries {
        let outcome = tokio::time::timeout(LONG, delivery).await.expect("no delivery hangs");
        outcome.unwrap();
    }
    all_connected(&manager).await;
    let report = manager.shutdown(LONG).await;
    assert!(report.clean, "{report:?}");
    assert_eq!((report.sessions, broker.silent()), (SESSIONS, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_deliveries_of_a_thousand_sessions_end_with_them() {
    let broker = Broker::start(Conduct::default());
    broker.withhold_acks(true);
    let manager = SessionManager::builder().connect_rate(0).build();
    let sessions: Vec<Session> = (0..SESSIONS)
        .map(|i| {
            let options = options(&format!("device-{i}"), &broker, Version::V5);
            manager.add_session(options.build().unwrap()).unwrap()
        })
        .collect();
    let mut deliveries = Vec::new();
    publish_on_all(&sessions, &mut deliveries);
    broker.until("half of the messages", |b| b.published("up") > SESSIONS / 2).await;
    // Some are being connected, some wait for an answer; a third goes one by one, the rest with all.
    for i in 0..SESSIONS / 3 {
        manager.remove_session(&format!("device-{i}")).await.unwrap();
    }
    let report = manager.shutdown(Duration::from_millis(100)).await;
    assert!(!report.clean);
    assert_eq!(report.sessions, SESSIONS - SESSIONS / 3);
    for delivery in deliveries {
        let outcome = tokio::time::timeout(LONG, delivery).await.expect("no delivery hangs");
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Closed);
    }
}

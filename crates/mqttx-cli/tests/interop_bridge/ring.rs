//! Three brokers, and between each two of them a daemon that forwards both ways.

use std::time::Duration;

use mqttx::{QoS, SessionManager, Version};
use mqttx_test::Mosquitto;
use tokio::time::sleep;

use super::daemon::{Daemon, SOON};
use super::plant::{Seen, broker, client, publish_numbers};

const MESSAGES: u32 = 100;

fn config(one: &Mosquitto, other: &Mosquitto) -> String {
    let forwarder = |name, from, to| {
        format!(
            "[forwarders.{name}]\nfrom = [{{ session = '{from}', topics = ['ring/#'] }}]\n\
             to = [{{ session = '{to}' }}]\n"
        )
    };
    format!(
        "[sessions.one]\nbrokers = ['{}']\n[sessions.other]\nbrokers = ['{}']\n{}{}",
        one.url(),
        other.url(),
        forwarder("there", "one", "other"),
        forwarder("back", "other", "one")
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_message_runs_in_circles_through_three_daemons() {
    let (Some(a), Some(b), Some(c)) =
        (broker(false, &[]).await, broker(false, &[]).await, broker(false, &[]).await)
    else {
        return;
    };
    let mut daemons = Vec::new();
    for (name, one, other) in [("ab", &a, &b), ("bc", &b, &c), ("ca", &c, &a)] {
        daemons.push(Daemon::start(name, &config(one, other)).await);
    }
    for daemon in &daemons {
        daemon.ready().await;
    }
    let manager = SessionManager::new();
    let all = [("a", &a), ("b", &b), ("c", &c)].map(|(name, broker)| {
        let seen = Seen::default();
        let session = client(&manager, name, broker, Version::V5);
        let route = seen.watch(&session, "ring/#", QoS::AtLeastOnce);
        (session, seen, route)
    });
    manager.wait_for_all_sessions(SOON).await.expect("ready");
    publish_numbers(all[0].0.clone(), "ring/x", QoS::AtLeastOnce, MESSAGES).await;
    // Until nothing moves any more: each look sees what the one before saw.
    let mut before = Vec::new();
    let patience = std::time::Instant::now() + SOON;
    loop {
        let now: Vec<usize> = all.iter().map(|(_, seen, _)| seen.all()).collect();
        let arrived = all.iter().all(|(_, seen, _)| seen.different() == MESSAGES as usize);
        if arrived && now == before {
            break;
        }
        assert!(std::time::Instant::now() < patience, "it never ends: {now:?}");
        before = now;
        sleep(Duration::from_millis(300)).await;
    }
    // Once each way around, and what was published.
    assert!(before.iter().all(|count| *count <= 3 * MESSAGES as usize), "{before:?} copies");
    for mut daemon in daemons {
        assert_eq!(daemon.stop().await, Some(0), "{}", daemon.log());
    }
}

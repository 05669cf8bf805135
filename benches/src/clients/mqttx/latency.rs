//! The time from a publish to its acknowledgement, on one of many sessions, with little else going on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mqttx::{Error, QoS, Session, SessionManager};

use super::{connected, options};
use crate::child::Task;
use crate::workload::{ADD, Noise, TOPIC, Work};

/// How often metrics are scraped: far more often than a monitoring system does.
const SCRAPE: Duration = Duration::from_millis(100);

pub(super) async fn run(task: &Arc<Task>) -> Result<(), Error> {
    let (manager, sessions) = connected(task, task.case.sessions).await?;
    task.released().await;
    match task.case.work {
        Work::Latency(Noise::Scrape) => {
            drop(tokio::spawn(scrape(manager.clone(), sessions.clone())))
        }
        Work::Latency(Noise::Adding) => drop(tokio::spawn(add(manager.clone(), Arc::clone(task)))),
        _ => {}
    }
    let session = sessions[sessions.len() / 2].clone();
    let task = Arc::clone(task);
    // Where an application publishes: in a task, not on the thread that waits for `main`.
    tokio::spawn(async move { measure(&task, &session).await }).await.expect("no panic")?;
    std::future::pending().await
}

async fn measure(task: &Task, session: &Session) -> Result<(), Error> {
    let mut ticks = tokio::time::interval(crate::workload::TICK);
    let mut times = Vec::new();
    for _ in 0..task.messages {
        ticks.tick().await;
        let start = Instant::now();
        session.publish(TOPIC, task.payload(), QoS::AtLeastOnce, false).await?;
        times.push(start.elapsed());
    }
    task.latencies(times);
    task.done();
    Ok(())
}

/// What an exporter does for one scrape.
async fn scrape(manager: SessionManager, sessions: Vec<Session>) {
    let mut ticks = tokio::time::interval(SCRAPE);
    loop {
        ticks.tick().await;
        std::hint::black_box(manager.metrics());
        for session in &sessions {
            std::hint::black_box(session.metrics());
        }
    }
}

/// As many sessions again as there are.
async fn add(manager: SessionManager, task: Arc<Task>) {
    let mut ticks = tokio::time::interval(ADD);
    for number in 0..task.case.sessions {
        ticks.tick().await;
        let options = options(&task, task.case.sessions + number).build().expect("valid options");
        manager.add_session(options).expect("a new name");
    }
}

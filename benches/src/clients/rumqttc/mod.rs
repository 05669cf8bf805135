//! The family of rumqttc: the original and its successor, in both versions. Each has an event loop that somebody polls,
//! and clients that send requests to it.

mod api;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use api::{Api, Heard};

use crate::child::Task;
use crate::contestant::{Family, Variant, Version};
use crate::workload::{TOPIC, Work};

/// As by default: with one write for each packet, waiting for the acknowledgement of the segment before makes the original
/// three times as fast, since it sends fewer.
const NODELAY: bool = false;

pub(super) fn run(task: Task) -> Result<(), String> {
    match (task.contestant.family, task.contestant.version) {
        (Family::RumqttcNext, Version::V311) => run_with::<api::NextV4>(task),
        (Family::RumqttcNext, Version::V5) => run_with::<api::NextV5>(task),
        (_, Version::V311) => run_with::<api::V4>(task),
        (_, Version::V5) => run_with::<api::V5>(task),
    }
}

fn run_with<A: Api>(task: Task) -> Result<(), String> {
    let runtime = match task.contestant.variant {
        Variant::CurrentThread => {
            tokio::runtime::Builder::new_current_thread().enable_all().build()
        }
        _ => tokio::runtime::Builder::new_multi_thread().enable_all().build(),
    };
    let task = Arc::new(task);
    runtime.expect("a runtime").block_on(async move {
        match task.case.work {
            Work::Publish => publish::<A>(&task).await,
            Work::Receive => receive::<A>(&task).await,
            Work::Forward => forward::<A>(&task).await,
        }?;
        std::future::pending().await
    })
}

/// Connected clients; each event loop stops being polled at CONNACK.
async fn connected<A: Api>(
    task: &Task,
    sessions: usize,
) -> Result<Vec<(A::Client, A::Loop)>, String> {
    let mut all = Vec::new();
    for number in 0..sessions {
        let (client, mut events) = A::connect(task.peer, number, task.case.window, NODELAY);
        while !matches!(A::poll(&mut events).await?, Heard::Connected) {}
        all.push((client, events));
    }
    Ok(all)
}

async fn publish<A: Api>(task: &Arc<Task>) -> Result<(), String> {
    let sessions = connected::<A>(task, task.case.sessions).await?;
    task.released().await;
    let parts = sessions.len();
    let left = Left::new(task, if task.case.qos > 0 { task.messages } else { 0 });
    for (number, (client, mut events)) in sessions.into_iter().enumerate() {
        let left = Arc::clone(&left);
        tokio::spawn(async move {
            loop {
                if let Heard::Acknowledged = A::poll(&mut events).await.expect("a connection") {
                    left.one_less();
                }
            }
        });
        let task = Arc::clone(task);
        tokio::spawn(async move {
            let payload = task.payload();
            for _ in 0..task.share(number, parts) {
                A::publish(&client, TOPIC, &payload, task.case.qos).await.expect("an event loop");
            }
            std::future::pending::<()>().await;
        });
    }
    // With QoS 0 only the test peer can tell.
    if task.case.qos == 0 {
        task.done();
    }
    Ok(())
}

async fn receive<A: Api>(task: &Arc<Task>) -> Result<(), String> {
    let sessions = connected::<A>(task, task.case.sessions).await?;
    task.released().await;
    let left = Left::new(task, task.messages);
    for (client, mut events) in sessions {
        let (left, qos) = (Arc::clone(&left), task.case.qos);
        tokio::spawn(async move {
            A::subscribe(&client, TOPIC, qos).await.expect("an event loop");
            loop {
                if let Heard::Message(_) = A::poll(&mut events).await.expect("a connection") {
                    left.one_less();
                }
            }
        });
    }
    Ok(())
}

/// The event loop of the source acknowledges by itself, before its message is forwarded: a message is lost when the process
/// ends in between.
async fn forward<A: Api>(task: &Arc<Task>) -> Result<(), String> {
    let mut sessions = connected::<A>(task, 2).await?;
    let (Some((target, mut target_events)), Some((source, mut source_events))) =
        (sessions.pop(), sessions.pop())
    else {
        return Err("two sessions".to_owned());
    };
    task.released().await;
    tokio::spawn(async move { while A::poll(&mut target_events).await.is_ok() {} });
    let qos = task.case.qos;
    tokio::spawn(async move {
        A::subscribe(&source, TOPIC, qos).await.expect("an event loop");
        loop {
            if let Heard::Message(message) =
                A::poll(&mut source_events).await.expect("a connection")
            {
                let topic =
                    String::from_utf8_lossy(A::topic(&message)).replacen("bench", "site", 1);
                let payload = A::payload(&message);
                A::publish(&target, &topic, payload, qos).await.expect("an event loop");
            }
        }
    });
    task.done();
    Ok(())
}

/// What is still to come.
struct Left {
    task: Arc<Task>,
    count: AtomicU64,
}

impl Left {
    fn new(task: &Arc<Task>, count: u64) -> Arc<Self> {
        Arc::new(Self { task: Arc::clone(task), count: AtomicU64::new(count) })
    }

    fn one_less(&self) {
        if self.count.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.task.done();
        }
    }
}

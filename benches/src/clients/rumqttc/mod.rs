//! The family of rumqttc: the original and its successor, in both versions. Each has an event loop that somebody polls,
//! and clients that send requests to it.

mod api;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use api::{Api, Heard};

use crate::child::Task;
use crate::contestant::{Family, Variant, Version};
use crate::workload::{TICK, TOPIC, Work};

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
            Work::Latency(_) => {
                // In a task, as an application would: the thread that waits here is none of the workers.
                let publishing = async move { latency::<A>(&task).await };
                tokio::spawn(publishing).await.map_err(|error| error.to_string())?
            }
            Work::Idle => idle::<A>(&task).await,
            _ => Err("not its workload".to_owned()),
        }?;
        std::future::pending().await
    })
}

/// Connected clients; each event loop stops being polled at CONNACK.
async fn connected<A: Api>(
    task: &Task,
    sessions: usize,
) -> Result<Vec<(A::Client, A::Loop)>, String> {
    // As by default where throughput counts: with a write for each packet, the original is three times as fast when the
    // system waits for more before it sends.
    let nodelay = matches!(task.case.work, Work::Latency(_));
    let mut all = Vec::new();
    for number in 0..sessions {
        let (client, mut events) = A::connect(task.peer, number, task.case.window, nodelay);
        while !matches!(A::poll(&mut events).await?, Heard::Connected) {}
        all.push((client, events));
    }
    Ok(all)
}

async fn publish<A: Api>(task: &Arc<Task>) -> Result<(), String> {
    let sessions = connected::<A>(task, task.case.sessions).await?;
    task.released().await;
    let tasks = task.case.tasks;
    let parts = sessions.len() * tasks;
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
        for part in number * tasks..(number + 1) * tasks {
            let (task, client) = (Arc::clone(task), client.clone());
            tokio::spawn(async move {
                let payload = task.payload();
                let topics = task.case.topic_names();
                for topic in topics.iter().cycle().take(task.share(part, parts) as usize) {
                    let publish = A::publish(&client, topic, &payload, task.case.qos);
                    publish.await.expect("an event loop");
                }
                // The event loop ends when its last client is gone.
                std::future::pending::<()>().await;
            });
        }
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
        let filter = task.case.filter();
        tokio::spawn(async move {
            A::subscribe(&client, filter, qos).await.expect("an event loop");
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
    let (qos, filter) = (task.case.qos, task.case.filter());
    tokio::spawn(async move {
        A::subscribe(&source, filter, qos).await.expect("an event loop");
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

/// One message at a time: its acknowledgement is the next that the event loop reports.
async fn latency<A: Api>(task: &Arc<Task>) -> Result<(), String> {
    let mut sessions = connected::<A>(task, task.case.sessions).await?;
    let (client, mut events) = sessions.swap_remove(task.case.sessions / 2);
    for (client, events) in sessions {
        tokio::spawn(keep::<A>(client, events));
    }
    let (acknowledged, mut acknowledgements) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            if let Heard::Acknowledged = A::poll(&mut events).await.expect("a connection") {
                acknowledged.send(()).expect("somebody who waits");
            }
        }
    });
    task.released().await;
    let mut ticks = tokio::time::interval(TICK);
    let (payload, mut times) = (task.payload(), Vec::new());
    for _ in 0..task.messages {
        ticks.tick().await;
        let start = Instant::now();
        A::publish(&client, TOPIC, &payload, 1).await?;
        acknowledgements.recv().await.ok_or("no event loop")?;
        times.push(start.elapsed());
    }
    task.latencies(times);
    task.done();
    // The event loop ends when its last client is gone.
    std::future::pending().await
}

async fn idle<A: Api>(task: &Arc<Task>) -> Result<(), String> {
    task.baseline();
    let start = Instant::now();
    for (client, events) in connected::<A>(task, task.case.sessions).await? {
        tokio::spawn(keep::<A>(client, events));
    }
    task.value("connect s", start.elapsed().as_secs_f64());
    task.released().await;
    Ok(())
}

/// Polls an event loop while its client lives.
async fn keep<A: Api>(client: A::Client, mut events: A::Loop) {
    while A::poll(&mut events).await.is_ok() {}
    drop(client);
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

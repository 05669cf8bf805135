//! Publishing: handed over one after the other, finished when the session has nothing unacknowledged.

use std::collections::VecDeque;
use std::sync::Arc;

use mqttx::{Error, Publish, Session};

use super::{connected, qos};
use crate::child::{LONG, Task};
use crate::contestant::Variant;
use crate::workload::{TOPIC, Work};

pub(super) async fn run(task: &Arc<Task>) -> Result<(), Error> {
    let (_manager, sessions) = connected(task, task.case.sessions).await?;
    task.released().await;
    if let (Variant::Main, [session]) = (task.contestant.variant, &sessions[..]) {
        submitted(task, session, task.messages).await?;
        task.done();
        return std::future::pending().await;
    }
    let tasks = task.case.tasks;
    let parts = sessions.len() * tasks;
    let publishing: Vec<_> = (0..parts)
        .map(|number| {
            let (task, session) = (Arc::clone(task), sessions[number / tasks].clone());
            tokio::spawn(async move {
                let messages = task.share(number, parts);
                match task.contestant.variant {
                    Variant::Awaited => awaited(&task, &session, messages).await,
                    _ if task.case.work == Work::Durable => begun(&task, &session, messages).await,
                    _ => submitted(&task, &session, messages).await,
                }
            })
        })
        .collect();
    for one in publishing {
        one.await.expect("no panic")?;
    }
    task.done();
    std::future::pending().await
}

/// Nobody waits for the acknowledgement of a message: the session does, for all.
async fn submitted(task: &Task, session: &Session, messages: u64) -> Result<(), Error> {
    for message in prepared(task).iter().cycle().take(messages as usize) {
        session.submit(message).await?;
    }
    session.flush(LONG).await
}

/// A message for each topic.
fn prepared(task: &Task) -> Vec<Publish> {
    let topics = task.case.topic_names().into_iter();
    topics.map(|topic| Publish::new(topic, task.payload()).qos(qos(task))).collect()
}

/// Many messages become durable together: the outbox, not the disk, holds the publisher back.
async fn begun(task: &Task, session: &Session, messages: u64) -> Result<(), Error> {
    let message = Publish::new(TOPIC, task.payload()).qos(qos(task));
    for _ in 0..messages {
        drop(session.begin_submit(message.clone()).await?);
    }
    session.flush(LONG).await
}

/// The application waits for each acknowledgement, a window of messages behind; many tasks share the window.
async fn awaited(task: &Task, session: &Session, messages: u64) -> Result<(), Error> {
    let window = usize::from(task.case.window).div_ceil(task.case.tasks);
    let mut flight = VecDeque::with_capacity(window);
    for message in prepared(task).iter().cycle().take(messages as usize) {
        if flight.len() == window
            && let Some(oldest) = flight.pop_front()
        {
            oldest.await?;
        }
        flight.push_back(session.enqueue(message.clone()).await?);
    }
    for delivery in flight {
        delivery.await?;
    }
    Ok(())
}

//! Receiving: counted in a callback, an inline callback, or the consumer of a stream.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mqttx::Error;

use super::{connected, qos};
use crate::child::{LONG, Task};
use crate::contestant::Variant;
use crate::workload::TOPIC;

pub(super) async fn run(task: &Arc<Task>) -> Result<(), Error> {
    let (_manager, sessions) = connected(task, task.case.sessions).await?;
    task.released().await;
    let left = Arc::new(Left::new(task, sessions.len()));
    let mut routes = Vec::new();
    for session in &sessions {
        let route = session.route(TOPIC).qos(qos(task));
        let left = Arc::clone(&left);
        match task.contestant.variant {
            Variant::Inline => routes.push(route.inline(move |_| left.one_less())?),
            Variant::Stream => {
                let mut stream = route.listen()?;
                tokio::spawn(async move {
                    while stream.next().await.is_some() {
                        left.one_less();
                    }
                });
            }
            _ => routes.push(route.handle(move |_| left.one_less())?),
        }
    }
    for session in &sessions {
        session.wait_ready(LONG).await?;
    }
    std::future::pending().await
}

/// How many messages are still to come.
struct Left {
    task: Arc<Task>,
    count: AtomicU64,
}

impl Left {
    fn new(task: &Arc<Task>, sessions: usize) -> Self {
        let sessions = sessions as u64;
        let count = AtomicU64::new(task.messages / sessions * sessions);
        Self { task: Arc::clone(task), count }
    }

    fn one_less(&self) {
        if self.count.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.task.done();
        }
    }
}

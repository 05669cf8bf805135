//! Receiving: counted in a callback, an inline callback, or the consumer of a stream.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mqttx::{Error, Route, Session};

use super::{connected, qos};
use crate::child::{LONG, Task};
use crate::contestant::Variant;
use crate::workload::TOPIC;

pub(super) async fn run(task: &Arc<Task>) -> Result<(), Error> {
    let (manager, sessions) = connected(task, task.case.sessions).await?;
    let mut routes = other_routes(task, &sessions[0])?;
    let left = Arc::new(Left::new(task, sessions.len()));
    task.released().await;
    let route = match &sessions[..] {
        [session] => session.route(TOPIC),
        _ => manager.route(TOPIC),
    };
    let route = route.qos(qos(task));
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
    for session in &sessions {
        session.wait_ready(LONG).await?;
    }
    std::future::pending().await
}

/// Filters that do not match what comes, but look like the one that does.
fn other_routes(task: &Task, session: &Session) -> Result<Vec<Route>, Error> {
    (1..task.case.filters)
        .map(|number| {
            let filter = format!("bench/plant/line/{}/+", 7 + number);
            session.route(&filter).subscribe(false).inline(|_| ())
        })
        .collect()
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

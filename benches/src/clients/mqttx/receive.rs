//! Receiving: counted in a callback, an inline callback, or the consumer of a stream.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mqttx::{Error, Route, RouteBuilder, Session};

use super::{connected, qos};
use crate::child::{LONG, Task};
use crate::contestant::Variant;

pub(super) async fn run(task: &Arc<Task>) -> Result<(), Error> {
    let (manager, sessions) = connected(task, task.case.sessions).await?;
    let left = Arc::new(Left::new(task, sessions.len()));
    let mut routes = other_routes(task, &sessions[0], &left)?;
    task.released().await;
    let filter = asked_for(task);
    let route = match &sessions[..] {
        [session] => session.route(&filter),
        _ => manager.route(&filter),
    };
    let route = route.qos(qos(task));
    if task.contestant.variant == Variant::Stream {
        let mut stream = route.listen()?;
        tokio::spawn(async move {
            while stream.next().await.is_some() {
                left.one_less();
            }
        });
    } else {
        routes.push(handle(task, route, &left)?);
    }
    for session in &sessions {
        session.wait_ready(LONG).await?;
    }
    std::future::pending().await
}

/// The filter for which the flood comes: where each topic has its own, that of the last.
fn asked_for(task: &Task) -> String {
    let last = || task.case.topic_names().pop().unwrap_or_default();
    if task.case.has_exact_filters() { last() } else { task.case.filter().to_owned() }
}

fn handle(task: &Task, route: RouteBuilder, left: &Arc<Left>) -> Result<Route, Error> {
    let left = Arc::clone(left);
    match task.contestant.variant {
        Variant::Inline => route.inline(move |_| left.one_less()),
        _ => route.handle(move |_| left.one_less()),
    }
}

/// The filters of the other topics; else some that do not match what comes, but look like the one that does.
fn other_routes(task: &Task, session: &Session, left: &Arc<Left>) -> Result<Vec<Route>, Error> {
    if task.case.has_exact_filters() {
        let mut others = task.case.topic_names();
        others.pop();
        let route = |topic: &String| session.route(topic).subscribe(false);
        return others.iter().map(|topic| handle(task, route(topic), left)).collect();
    }
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

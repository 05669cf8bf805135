//! Many sessions that do nothing but connect, or nothing at all.

use std::sync::Arc;
use std::time::Instant;

use mqttx::{Error, SessionManager};

use super::{connected, options};
use crate::child::{LONG, Task};

/// From adding the first session to the connection of the last.
pub(super) async fn connect(task: &Arc<Task>) -> Result<(), Error> {
    let manager = SessionManager::builder().connect_rate(0).build();
    task.released().await;
    for number in 0..task.messages as usize {
        manager.add_session(options(task, number).build()?)?;
    }
    manager.wait_for_all_sessions(LONG).await?;
    task.done();
    std::future::pending().await
}

pub(super) async fn idle(task: &Arc<Task>) -> Result<(), Error> {
    task.baseline();
    let start = Instant::now();
    let (_manager, _sessions) = connected(task, task.case.sessions).await?;
    task.value("connect s", start.elapsed().as_secs_f64());
    task.released().await;
    std::future::pending().await
}

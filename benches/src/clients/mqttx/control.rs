//! What is done around messages: metrics read, forwarders started and stopped. No connection is needed for it.

use std::sync::Arc;
use std::time::Duration;

use mqttx::{Error, ForwarderBuilder, ForwarderManager, SessionManager};

use super::options;
use crate::child::Task;

/// Snapshots of a session's metrics.
pub(super) async fn metrics(task: &Arc<Task>) -> Result<(), Error> {
    let manager = SessionManager::new();
    let session = manager.add_session(options(task, 0).manual_connect(true).build()?)?;
    task.released().await;
    for _ in 0..task.messages {
        std::hint::black_box(session.metrics());
    }
    task.done();
    std::future::pending().await
}

/// A forwarder between two sessions, started and stopped.
pub(super) async fn lifecycles(task: &Arc<Task>) -> Result<(), Error> {
    let manager = SessionManager::new();
    for number in 0..2 {
        manager.add_session(options(task, number).manual_connect(true).build()?)?;
    }
    let forwarders = ForwarderManager::new(&manager);
    let options =
        ForwarderBuilder::new("bench").source("s0", "bench/#").target("s1").topic("site/{#}");
    let forwarder = forwarders.add_forwarder(options.build()?)?;
    forwarder.stop(Duration::ZERO).await;
    task.released().await;
    for _ in 0..task.messages {
        forwarder.start().await?;
        forwarder.stop(Duration::ZERO).await;
    }
    task.done();
    std::future::pending().await
}

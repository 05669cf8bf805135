//! Forwarding: a forwarder, which acknowledges its source once the target acknowledged.

use std::sync::Arc;

use mqttx::{Error, ForwarderBuilder, ForwarderManager};

use super::connected;
use crate::child::{LONG, Task};

pub(super) async fn run(task: &Arc<Task>) -> Result<(), Error> {
    let (manager, sessions) = connected(task, 2).await?;
    let forwarders = ForwarderManager::new(&manager);
    let options = ForwarderBuilder::new("bench")
        .source("s0", "bench/#")
        .target("s1")
        .topic("site/{#}")
        .window(task.case.window.into());
    let forwarder = forwarders.add_forwarder(options.build()?)?;
    task.released().await;
    forwarder.start().await?;
    sessions[0].wait_ready(LONG).await?;
    task.done();
    std::future::pending().await
}

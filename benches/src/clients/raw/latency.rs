//! The round trip of one packet and its acknowledgement on one of many sockets.

use std::io::Result;
use std::sync::Arc;
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{many, publish_packet};
use crate::child::Task;
use crate::workload::{TICK, TOPIC};

pub(super) async fn run(task: &Arc<Task>) -> Result<()> {
    let mut streams = many::open(task, task.case.sessions).await?;
    let middle = streams.len() / 2;
    let stream = &mut streams[middle];
    let packet = publish_packet(TOPIC, task.case.payload, 1, 1);
    task.released().await;
    let mut ticks = tokio::time::interval(TICK);
    let mut times = Vec::new();
    for _ in 0..task.messages {
        ticks.tick().await;
        let start = Instant::now();
        stream.write_all(&packet).await?;
        stream.read_exact(&mut [0; 4]).await?;
        times.push(start.elapsed());
    }
    task.latencies(times);
    Ok(())
}

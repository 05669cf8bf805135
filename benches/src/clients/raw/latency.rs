//! The round trip of one packet and its acknowledgement on one of many sockets.

use std::io::Result;
use std::sync::Arc;
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{connect, many, publish_packet};
use crate::child::Task;
use crate::workload::{ADD, Noise, TICK, TOPIC, Work};

pub(super) async fn run(task: &Arc<Task>) -> Result<()> {
    let mut streams = many::open(task, task.case.sessions).await?;
    let middle = streams.len() / 2;
    let stream = &mut streams[middle];
    let packet = publish_packet(TOPIC, task.case.payload, 1, 1);
    task.released().await;
    if task.case.work == Work::Latency(Noise::Adding) {
        drop(tokio::spawn(add(Arc::clone(task))));
    }
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

/// As many connections again as there are.
async fn add(task: Arc<Task>) -> Result<()> {
    let mut ticks = tokio::time::interval(ADD);
    let mut added = Vec::new();
    for number in 0..task.case.sessions {
        ticks.tick().await;
        added.push(tokio::spawn({
            let task = Arc::clone(&task);
            async move { connect(&task, task.case.sessions + number).await }
        }));
    }
    std::future::pending().await
}

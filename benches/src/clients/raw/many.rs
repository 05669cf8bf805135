//! Many sockets: connected as fast as they can be, or idle.

use std::io::Result;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use tokio::net::TcpStream;

use super::connect;
use crate::child::Task;

/// Connections being made at the same time.
const AT_ONCE: usize = 100;

pub(super) async fn storm(task: &Arc<Task>) -> Result<()> {
    task.released().await;
    let streams = open(task, task.messages as usize).await?;
    task.done();
    keep(streams).await
}

pub(super) async fn idle(task: &Arc<Task>) -> Result<()> {
    task.baseline();
    let start = Instant::now();
    let streams = open(task, task.case.sessions).await?;
    task.value("connect s", start.elapsed().as_secs_f64());
    task.released().await;
    keep(streams).await
}

pub(super) async fn open(task: &Arc<Task>, count: usize) -> Result<Vec<TcpStream>> {
    let next = Arc::new(AtomicUsize::new(0));
    let openers: Vec<_> = (0..AT_ONCE)
        .map(|_| {
            let (task, next) = (Arc::clone(task), Arc::clone(&next));
            tokio::spawn(async move {
                let mut own = Vec::new();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return Ok::<_, std::io::Error>(own);
                    }
                    own.push(connect(&task, number).await?);
                }
            })
        })
        .collect();
    let mut all = Vec::new();
    for opener in openers {
        all.extend(opener.await.expect("no panic")?);
    }
    Ok(all)
}

async fn keep(_streams: Vec<TcpStream>) -> Result<()> {
    std::future::pending().await
}

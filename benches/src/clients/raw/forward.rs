//! Forwarding: bytes from one socket to the other, acknowledgements the other way, nothing looked at.

use std::io::Result;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{BLOCK, connect, subscribe};
use crate::child::Task;

pub(super) async fn run(task: &Arc<Task>) -> Result<()> {
    let mut source = connect(task, 0).await?;
    let target = connect(task, 1).await?;
    task.released().await;
    subscribe(&mut source, task.case.filter(), task.case.qos).await?;
    let (source_in, source_out) = source.into_split();
    let (target_in, target_out) = target.into_split();
    tokio::spawn(pump(source_in, target_out));
    tokio::spawn(pump(target_in, source_out));
    Ok(())
}

async fn pump(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) -> Result<()> {
    let mut block = vec![0; BLOCK];
    loop {
        let count = from.read(&mut block).await?;
        if count == 0 {
            return Ok(());
        }
        to.write_all(&block[..count]).await?;
    }
}

//! Receiving: packets walked in large reads, the answers to one read in one write.

use std::io::{ErrorKind, Result};
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{BLOCK, connect, subscribe};
use crate::child::Task;

pub(super) async fn run(task: &Arc<Task>) -> Result<()> {
    let mut connections = Vec::new();
    for number in 0..task.case.sessions {
        connections.push(connect(task, number).await?);
    }
    task.released().await;
    let each = task.messages / task.case.sessions as u64;
    let running: Vec<_> = connections
        .into_iter()
        .map(|stream| tokio::spawn(receive(stream, task.case.filter(), task.case.qos, each)))
        .collect();
    for one in running {
        one.await.expect("no panic")?;
    }
    Ok(())
}

async fn receive(mut stream: TcpStream, filter: &str, qos: u8, messages: u64) -> Result<()> {
    subscribe(&mut stream, filter, qos).await?;
    let mut input = vec![0; BLOCK];
    let (mut kept, mut finished) = (0, 0);
    let mut answers = Vec::new();
    while finished < messages {
        let count = stream.read(&mut input[kept..]).await?;
        if count == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let end = kept + count;
        let mut rest = &input[..end];
        while let Some((packet, after)) = split(rest) {
            finished += u64::from(answer(packet, &mut answers));
            rest = after;
        }
        kept = rest.len();
        input.copy_within(end - kept..end, 0);
        if !answers.is_empty() {
            stream.write_all(&answers).await?;
            answers.clear();
        }
    }
    Ok(())
}

/// The first packet and what follows it.
fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut length = 0;
    for at in 0..4 {
        let byte = *bytes.get(1 + at)?;
        length |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return bytes.split_at_checked(2 + at + length);
        }
    }
    None
}

/// Appends the answer to a packet; whether it was the last that the message needs.
fn answer(packet: &[u8], answers: &mut Vec<u8>) -> bool {
    if packet[0] == 0x62 {
        answers.extend([0x70, 2, packet[2], packet[3]]);
        return true;
    }
    let qos = packet[0] >> 1 & 3;
    if qos == 0 {
        return true;
    }
    let header = 2 + packet[1..].iter().take_while(|&&byte| byte & 0x80 != 0).count();
    let topic = usize::from(u16::from_be_bytes([packet[header], packet[header + 1]]));
    let id = header + 2 + topic;
    let first = if qos == 1 { 0x40 } else { 0x50 };
    answers.extend([first, 2, packet[id], packet[id + 1]]);
    qos == 1
}

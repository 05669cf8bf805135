//! Publishing: a ring of encoded packets is written over and over, as far as the window allows.

use std::io::{Error, ErrorKind, Result};
use std::sync::Arc;

use tokio::io::Interest;
use tokio::net::TcpStream;

use super::{BLOCK, connect, publish_packet};
use crate::child::Task;

pub(super) async fn run(task: &Arc<Task>) -> Result<()> {
    let mut connections = Vec::new();
    for number in 0..task.case.sessions {
        let messages = task.share(number, task.case.sessions);
        connections.push(Publisher::new(task, connect(task, number).await?, messages));
    }
    task.released().await;
    let running: Vec<_> = connections.into_iter().map(|one| tokio::spawn(one.run())).collect();
    for one in running {
        one.await.expect("no panic")?;
    }
    Ok(())
}

struct Publisher {
    stream: TcpStream,
    ring: Arc<[u8]>,
    packet: u64,
    messages: u64,
    window: u64,
    qos: u8,
    /// Bytes of PUBLISH packets written.
    written: u64,
    /// Messages with their last acknowledgement.
    finished: u64,
    /// Answers to PUBREC.
    releases: Vec<u8>,
    input: Vec<u8>,
    /// Bytes at the start of `input` that are a part of a packet.
    kept: usize,
}

impl Publisher {
    fn new(task: &Task, stream: TcpStream, messages: u64) -> Self {
        let case = &task.case;
        let topics = case.topic_names();
        let packet = publish_packet(&topics[0], case.payload, case.qos, 1).len();
        // A packet id is free again before its packet is written again.
        let packets = (BLOCK / packet).max(usize::from(case.window)).min(65_535);
        let ring: Vec<u8> = (0..packets)
            .flat_map(|n| {
                publish_packet(&topics[n % topics.len()], case.payload, case.qos, n as u16 + 1)
            })
            .collect();
        Self {
            stream,
            ring: ring.into(),
            packet: packet as u64,
            messages,
            window: u64::from(case.window),
            qos: case.qos,
            written: 0,
            finished: 0,
            releases: Vec::new(),
            input: if case.qos > 0 { vec![0; 64 << 10] } else { Vec::new() },
            kept: 0,
        }
    }

    async fn run(mut self) -> Result<()> {
        while !self.is_finished() {
            let writes = self.allowed() > 0 || !self.releases.is_empty();
            let interest = match (self.qos > 0, writes) {
                (false, _) => Interest::WRITABLE,
                (true, true) => Interest::READABLE | Interest::WRITABLE,
                (true, false) => Interest::READABLE,
            };
            let ready = self.stream.ready(interest).await?;
            if ready.is_readable() {
                or_later(self.read())?;
            }
            if ready.is_writable() {
                or_later(self.write())?;
            }
        }
        Ok(())
    }

    fn is_finished(&self) -> bool {
        match self.qos {
            0 => self.written == self.messages * self.packet,
            _ => self.finished == self.messages,
        }
    }

    /// Bytes of PUBLISH packets that may be written.
    fn allowed(&self) -> u64 {
        let messages = match self.qos {
            0 => self.messages,
            _ => self.messages.min(self.finished + self.window),
        };
        messages * self.packet - self.written
    }

    fn write(&mut self) -> Result<()> {
        let inside_packet = !self.written.is_multiple_of(self.packet);
        if !self.releases.is_empty() && !inside_packet {
            let count = self.stream.try_write(&self.releases)?;
            self.releases.drain(..count);
            return Ok(());
        }
        let at = (self.written % self.ring.len() as u64) as usize;
        let end = (at as u64 + self.allowed()).min(self.ring.len() as u64) as usize;
        if at < end {
            self.written += self.stream.try_write(&self.ring[at..end])? as u64;
        }
        Ok(())
    }

    fn read(&mut self) -> Result<()> {
        let count = self.stream.try_read(&mut self.input[self.kept..])?;
        if count == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let end = self.kept + count;
        let whole = end / 4 * 4;
        if self.qos == 1 {
            self.finished += whole as u64 / 4;
        } else {
            for packet in self.input[..whole].chunks_exact(4) {
                match packet[0] {
                    0x50 => self.releases.extend([0x62, 2, packet[2], packet[3]]),
                    _ => self.finished += 1,
                }
            }
        }
        self.input.copy_within(whole..end, 0);
        self.kept = end - whole;
        Ok(())
    }
}

/// A socket that was not ready after all is tried again later.
fn or_later(result: Result<()>) -> Result<()> {
    result.or_else(|error: Error| match error.kind() {
        ErrorKind::WouldBlock => Ok(()),
        _ => Err(error),
    })
}

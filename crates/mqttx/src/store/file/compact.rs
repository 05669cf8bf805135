//! Copies the few messages that are left over in a segment into a cold one, so that the segment can go.
//!
//! It works on the reader's thread, a part at a time, when nobody waits for messages. The commit thread says which messages
//! are unfinished, and learns at the end, when the copies are durable, where they are.

use std::io;
use std::sync::Arc;

use super::disk::{DiskFile, write_all_at};
use super::engine::{Request, Shared};
use super::format::{FRAME_HEADER, GroupInfo, Kind, move_frame, put_frame};
use super::scan::{Found, READ_AHEAD, Scan};

/// A segment to be copied.
#[derive(Debug)]
pub(super) struct CompactJob {
    pub(super) source: Place,
    /// Where its frames end.
    pub(super) used: u64,
    pub(super) target: Place,
    /// Where the copies begin.
    pub(super) at: u64,
}

/// A segment, for the reader.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) slot: u32,
    pub(super) id: u64,
    pub(super) file: Arc<dyn DiskFile>,
}

/// A message in the source.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Candidate {
    pub(super) session: u32,
    pub(super) sequence: u64,
    pub(super) offset: u64,
    pub(super) len: usize,
}

/// Which of these are unfinished?
#[derive(Debug)]
pub(super) struct Candidates {
    pub(super) source: u32,
    pub(super) messages: Vec<Candidate>,
}

/// All unfinished messages were copied, or that failed.
#[derive(Debug)]
pub(super) struct Compacted {
    pub(super) source: u32,
    pub(super) target: u32,
    /// The messages, and the offsets of their copies.
    pub(super) moved: Vec<(Candidate, u64)>,
    /// Where the copies end.
    pub(super) used: u64,
    pub(super) result: io::Result<()>,
}

/// The segment that is being copied, if there is one.
#[derive(Debug, Default)]
pub(super) struct Compaction {
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    job: CompactJob,
    scan: Scan,
    moved: Vec<(Candidate, u64)>,
    at: u64,
    /// Waiting for the commit thread's word on these.
    asked: Vec<Candidate>,
    unix_ms: u64,
}

impl Compaction {
    /// Whether it is its turn.
    pub(super) fn can_go_on(&self) -> bool {
        self.running.as_ref().is_some_and(|running| running.asked.is_empty())
    }

    pub(super) fn begin(&mut self, job: CompactJob) {
        let scan = Scan::new(Arc::clone(&job.source.file), job.source.id, job.used);
        let at = job.at;
        let running = Running { job, scan, moved: Vec::new(), at, asked: Vec::new(), unix_ms: 0 };
        self.running = Some(running);
    }

    /// Looks at the next part, and asks about its messages.
    pub(super) fn step(&mut self, shared: &Shared) {
        let Some(running) = &mut self.running else { return };
        match running.look() {
            Ok(()) if running.asked.is_empty() => self.end(Ok(()), shared),
            Ok(()) => {
                let messages = running.asked.clone();
                let source = running.job.source.slot;
                shared.request(Request::Candidates(Candidates { source, messages }));
            }
            Err(error) => self.end(Err(error), shared),
        }
    }

    /// Copies those that are unfinished.
    pub(super) fn on_live(&mut self, live: Vec<bool>, shared: &Shared) {
        let Some(running) = &mut self.running else { return };
        if let Err(error) = running.copy(&live) {
            self.end(Err(error), shared);
        }
    }

    fn end(&mut self, result: io::Result<()>, shared: &Shared) {
        let Some(running) = self.running.take() else { return };
        let Running { job, moved, at, .. } = running;
        let result = result.and_then(|()| job.target.file.sync());
        let (source, target) = (job.source.slot, job.target.slot);
        shared.request(Request::Compacted(Compacted { source, target, moved, used: at, result }));
    }
}

impl Running {
    fn look(&mut self) -> io::Result<()> {
        let start = self.scan.offset();
        while self.scan.offset() < start + READ_AHEAD as u64 || self.asked.is_empty() {
            let Some(found) = self.scan.next()? else { break };
            let Found::Frame(header, offset) = found else { continue };
            match header.kind {
                Kind::Group => {
                    let info = self.scan.group(&header, offset)?;
                    self.unix_ms = info.map_or(self.unix_ms, |info| info.unix_ms);
                }
                Kind::Message => self.asked.push(Candidate {
                    session: header.session,
                    sequence: header.sequence,
                    offset,
                    len: header.frame_len() as usize,
                }),
                _ => {}
            }
        }
        Ok(())
    }

    /// A damaged message is copied as it is: who reads it sees that.
    fn copy(&mut self, live: &[bool]) -> io::Result<()> {
        let asked = std::mem::take(&mut self.asked);
        let wanted: Vec<_> = asked
            .into_iter()
            .zip(live)
            .filter(|(_, live)| **live)
            .map(|(message, _)| message)
            .collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let (id, base) = (self.job.target.id, self.at);
        let len: usize = wanted.iter().map(|message| message.len).sum();
        let info = GroupInfo { unix_ms: self.unix_ms, durable: 0, len: len as u32 };
        let mut out = Vec::with_capacity(len + 2 * FRAME_HEADER);
        put_frame(&mut out, (id, base), (Kind::Group, 0), &info.encode());
        for message in wanted {
            let start = out.len();
            let to = base + start as u64;
            out.extend_from_slice(self.scan.bytes(message.offset, message.len)?);
            if out.len() - start != message.len {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            move_frame(&mut out[start..], Kind::Message, id, to);
            self.moved.push((message, to));
        }
        write_all_at(&*self.job.target.file, &out, base)?;
        self.at += out.len() as u64;
        Ok(())
    }
}

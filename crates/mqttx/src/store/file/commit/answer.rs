//! Answers to sessions: their logs, and messages that they want back.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::oneshot;

use super::super::engine::Engine;
use super::super::index::Position;
use super::super::log::{FileLog, LogShared};
use super::super::reader::{FetchJob, Files, Job, OpenJob};
use super::Committer;
use crate::error::Error;
use crate::store::{Fetch, Opened, StoreNotice, Update};

/// A session wants its log.
#[derive(Debug)]
pub(super) struct OpenRequest {
    pub(super) name: String,
    pub(super) engine: Arc<Engine>,
    pub(super) reply: oneshot::Sender<Result<Opened, Error>>,
}

impl Committer {
    pub(super) fn answer(&mut self) -> Result<(), Error> {
        self.look_for_room();
        if self.stopping {
            // Whoever opens a log now opens the store anew.
            return Ok(());
        }
        for open in std::mem::take(&mut self.opens) {
            // What it submitted before waits for room; until then its state is not complete.
            if self.backlog.iter().any(|batch| *batch.log.name == *open.name) {
                self.opens.push(open);
            } else {
                self.open(open);
            }
        }
        if !self.flushes.is_empty() && (self.backlog.is_empty() || self.is_out_of_patience()) {
            if !self.unsynced.is_empty() {
                self.sync()?;
            }
            self.flushes.drain(..).for_each(|reply| reply.send(()).unwrap_or_default());
        }
        Ok(())
    }

    fn open(&mut self, open: OpenRequest) {
        let OpenRequest { name, engine, reply } = open;
        let number = self.catalog.number(&name);
        let log = Arc::new(LogShared::new(number, &name));
        if let Some(before) = self.owners.insert(number, Arc::clone(&log)) {
            before.fail(Error::fenced(&name));
        }
        if self.room.is_full() {
            log.tell(Update::Full(true));
        }
        let Some(session) = self.catalog.sessions.get(&number) else { return };
        let in_flight = session.in_flight();
        let job = OpenJob {
            number,
            files: self.files(in_flight.iter().map(|message| message.position)),
            records: session.small(),
            in_flight,
            lanes: session.lanes(),
            log: Box::new(FileLog::new(Arc::clone(&log), engine)),
            notices: std::mem::take(&mut self.notices),
            shared: log,
            reply,
        };
        self.reader.send(Job::Open(job));
    }

    /// Everything that was submitted before is written by now, if there was room for it.
    pub(super) fn serve_fetches(&mut self) {
        for (log, wanted) in std::mem::take(&mut self.fetches) {
            let job = self.fetch(Arc::clone(&log), wanted);
            if !self.reader.send(Job::Fetch(job)) {
                log.fail(Error::store("the thread that reads the store is gone"));
            }
        }
    }

    fn fetch(&self, log: Arc<LogShared>, wanted: Fetch) -> FetchJob {
        let number = log.number;
        let mut messages = Vec::with_capacity(wanted.messages.min(4096));
        let mut next = wanted.from;
        if let Some(session) = self.catalog.sessions.get(&number) {
            let (mut bytes, limit) = (0, wanted.bytes as u64);
            let mut queued = session.queued(wanted.priority, wanted.from);
            loop {
                match queued.next() {
                    Some((number, _)) if messages.len() >= wanted.messages.max(1) => {
                        next = number;
                        break;
                    }
                    // The reader knows the exact lengths, and stops.
                    Some((number, position)) if bytes > limit + limit / 8 => {
                        let _ = position;
                        next = number;
                        break;
                    }
                    Some((number, position)) => {
                        bytes += position.len();
                        messages.push((number, position));
                    }
                    None => {
                        let end = session.ends()[usize::from(wanted.priority.get())];
                        next = end.max(wanted.from);
                        break;
                    }
                }
            }
        }
        let files = self.files(messages.iter().map(|&(_, position)| position));
        FetchJob { log, number, wanted, messages, next, files }
    }

    /// The files in which these messages are.
    fn files(&self, positions: impl Iterator<Item = Position>) -> Files {
        let mut files: Files = HashMap::default();
        let mut last = None;
        for position in positions {
            let slot = position.slot();
            if last != Some(slot)
                && let Some(segment) = self.catalog.segments.get(slot)
            {
                files
                    .entry(slot)
                    .or_insert_with(|| (segment.id, Arc::clone(&segment.file), segment.used));
            }
            last = Some(slot);
        }
        files
    }

    pub(super) fn on_notice(&mut self, log: &LogShared, notice: StoreNotice) {
        let lost = notice.lost_records;
        self.shared.counters.damaged_records.fetch_add(lost, Ordering::Relaxed);
        log.tell(Update::Notice(notice));
    }
}

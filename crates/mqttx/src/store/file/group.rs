//! Building a group: everything that waits, of all sessions, as frames in one buffer.

use std::sync::Arc;

use mqttx_proto::{Lsn, Record, RecordBatch, Sequence};

use super::catalog::Catalog;
use super::changes::{Change, Changes};
use super::format::{
    FRAME_HEADER, GROUP_FRAME, Kind, MAX_PAYLOAD, MESSAGE_HEADER, RECORD_PREFIX, put_frame,
    put_message, u64_at,
};
use super::index::Position;
use super::log::{ENQUEUE, LogShared};
use crate::error::Error;

/// Records of one log that are not written.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) log: Arc<LogShared>,
    pub(super) records: RecordBatch,
    /// The position before the first of them.
    pub(super) before: Lsn,
    /// Somebody waits until they, or earlier ones, are durable.
    pub(super) hurry: bool,
    /// How many of them are in groups.
    pub(super) done: usize,
    /// How many of them were looked through for what may go ahead while there is no room.
    pub(super) looked: usize,
}

/// A group that is being built.
#[derive(Debug, Default)]
pub(super) struct Group {
    /// Room for the group frame, then frames.
    pub(super) bytes: Vec<u8>,
    /// Where it will stand.
    pub(super) base: u64,
    pub(super) segment: u64,
    pub(super) slot: u32,
    /// The logs whose records are in it, up to which position, and whether something waits for them to be written.
    pub(super) logs: Vec<(Arc<LogShared>, Lsn, bool)>,
    pub(super) records: u64,
    /// Whether something waits for it to be durable.
    pub(super) sync: bool,
    /// Whether it has messages that nobody waits for.
    pub(super) soon: bool,
    changes: Changes,
    /// Sessions whose names stand at its beginning, and again at its end: without a name a session is lost.
    named: Vec<u32>,
    named_bytes: usize,
    /// What the name of the session at hand takes, twice.
    name_bytes: usize,
}

/// How far a segment may be filled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Limits {
    /// With messages.
    pub(super) messages: u64,
    /// With everything.
    pub(super) all: u64,
}

/// Why a group ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fit {
    Whole,
    /// The group is large enough.
    GroupFull,
    /// The next thing needs a segment with room for so many bytes behind its header.
    SegmentFull(u64),
}

/// A group this large does not grow: who waits for it can go on while the rest is written.
const GROUP_CAP: usize = 96 << 10;

impl Group {
    pub(super) fn begin(&mut self, slot: u32, segment: u64, base: u64) {
        self.bytes.clear();
        self.bytes.resize(GROUP_FRAME, 0);
        (self.slot, self.segment, self.base) = (slot, segment, base);
        self.logs.clear();
        self.named.clear();
        (self.named_bytes, self.records) = (0, 0);
        (self.sync, self.soon) = (false, false);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.len() == GROUP_FRAME
    }

    /// Writes the names again.
    pub(super) fn finish(&mut self, catalog: &Catalog) {
        for number in std::mem::take(&mut self.named) {
            self.put_name(catalog, number);
        }
    }

    /// Takes records of a batch as far as there is room.
    pub(super) fn add(&mut self, catalog: &mut Catalog, batch: &mut Batch, limits: Limits) -> Fit {
        let number = batch.log.number;
        self.name_bytes = 2 * (FRAME_HEADER + batch.log.name.len());
        if let fit @ Fit::SegmentFull(_) = self.introduce(catalog, number, limits.all) {
            return fit;
        }
        let (mut fit, mut awaited, first) = (Fit::Whole, false, batch.done);
        let mut too_large = None;
        for raw in batch.records.iter().raw().skip(first) {
            let is_message = raw.first() == Some(&ENQUEUE) && raw.len() > RECORD_PREFIX;
            if raw.len() > MAX_PAYLOAD {
                too_large = Some(raw.len());
                break;
            }
            let limit = if is_message { limits.messages } else { limits.all };
            let need = MESSAGE_HEADER + raw.len();
            fit = self.fits(need, limit);
            if fit != Fit::Whole {
                break;
            }
            if is_message {
                self.add_message(catalog, number, raw);
            } else if let Ok(record) = Record::decode(raw) {
                awaited |= self.add_change(catalog, number, &record, raw);
            }
            batch.done += 1;
        }
        self.end_changes(number);
        self.records += (batch.done - first) as u64;
        if batch.done > first {
            self.sync |= batch.hurry;
            let position = batch.before + batch.done as Lsn;
            self.logs.push((Arc::clone(&batch.log), position, awaited));
        }
        if let Some(len) = too_large {
            let text = format!("a record of {len} bytes is larger than the store takes");
            batch.log.fail(Error::store(text));
            // The log ends before it.
            batch.records.clear();
            batch.done = 0;
        }
        fit
    }

    /// What may go ahead of messages that have no room: it finishes others, and makes room.
    pub(super) fn add_ahead(&mut self, catalog: &mut Catalog, batch: &mut Batch, limits: Limits) {
        let number = batch.log.number;
        if self.introduce(catalog, number, limits.all) != Fit::Whole {
            return;
        }
        let from = batch.looked.max(batch.done);
        for record in batch.records.iter().skip(from) {
            if let Ok(record @ Record::Done { sequence }) = record
                && catalog.position(number, sequence).is_some()
            {
                if self.fits(FRAME_HEADER + RECORD_PREFIX, limits.all) != Fit::Whole {
                    break;
                }
                self.add_change(catalog, number, &record, &[]);
            }
            batch.looked += 1;
        }
        self.end_changes(number);
    }

    /// Tells the small state of a session again.
    pub(super) fn add_snapshot(&mut self, catalog: &mut Catalog, number: u32, limit: u64) -> Fit {
        let Some(session) = catalog.sessions.get_mut(&number) else { return Fit::Whole };
        self.name_bytes = 2 * (FRAME_HEADER + session.name.len());
        self.changes.clear();
        session.snapshot(&mut self.changes);
        let need = FRAME_HEADER + self.changes.bytes().len();
        let fit = match self.fits(need, limit) {
            Fit::SegmentFull(need) => Fit::SegmentFull(need),
            _ => self.introduce(catalog, number, limit),
        };
        if fit == Fit::Whole {
            if let Some(session) = catalog.sessions.get_mut(&number) {
                session.state_from = self.segment;
            }
            self.sync = true;
            self.end_changes(number);
        }
        self.changes.clear();
        fit
    }

    /// Tells again that messages are finished.
    pub(super) fn add_tombs(
        &mut self,
        catalog: &mut Catalog,
        number: u32,
        runs: &[(u64, u64)],
        limit: u64,
    ) -> Fit {
        let name = catalog.sessions.get(&number).map_or(0, |session| session.name.len());
        self.name_bytes = 2 * (FRAME_HEADER + name);
        let fit = self.fits(FRAME_HEADER + runs.len() * 2 * RECORD_PREFIX, limit);
        let fit = if fit == Fit::Whole { self.introduce(catalog, number, limit) } else { fit };
        if fit == Fit::Whole {
            for &(first, count) in runs {
                self.changes.push_done_run(Sequence::from_bits(first), count);
            }
            self.sync = true;
            self.end_changes(number);
        }
        fit
    }

    fn add_message(&mut self, catalog: &mut Catalog, number: u32, raw: &[u8]) {
        let at = self.base + self.bytes.len() as u64;
        let sequence = Sequence::from_bits(u64_at(raw, 1));
        let qos2 = raw.get(RECORD_PREFIX).is_some_and(|flags| flags & 3 == 2);
        let len = MESSAGE_HEADER + raw.len() - RECORD_PREFIX;
        put_message(&mut self.bytes, (self.segment, self.base), number, raw);
        catalog.enqueue(number, sequence, Position::new(self.slot, at, len, qos2));
        self.sync |= qos2;
        self.soon = true;
    }

    /// Returns whether something waits for the record to be written.
    fn add_change(
        &mut self,
        catalog: &mut Catalog,
        number: u32,
        record: &Record<'_>,
        raw: &[u8],
    ) -> bool {
        self.changes.push(record, raw);
        let (written, synced) = match *record {
            Record::Done { .. } => (false, false),
            // With QoS 1 nothing waits for more than the id's being written.
            Record::Assign { sequence, .. } => {
                (true, catalog.position(number, sequence).is_some_and(Position::is_qos2))
            }
            _ => (true, true),
        };
        self.sync |= synced;
        catalog.apply(number, &Change::Record(*record), self.slot);
        written
    }

    fn end_changes(&mut self, number: u32) {
        if !self.changes.is_empty() {
            let place = (self.segment, self.base);
            put_frame(&mut self.bytes, place, (Kind::Changes, number), self.changes.bytes());
            self.changes.clear();
        }
    }

    /// Names the session, if the segment does not know it.
    fn introduce(&mut self, catalog: &mut Catalog, number: u32, limit: u64) -> Fit {
        let known =
            catalog.sessions.get(&number).map(|s| (s.touched_in == self.segment, s.name.len()));
        let Some((false, len)) = known else { return Fit::Whole };
        let need = 2 * (FRAME_HEADER + len);
        if let fit @ Fit::SegmentFull(_) = self.fits(need + SLACK, limit) {
            return fit;
        }
        catalog.touch(number, self.slot);
        self.put_name(catalog, number);
        self.named.push(number);
        self.named_bytes += FRAME_HEADER + len;
        Fit::Whole
    }

    fn put_name(&mut self, catalog: &Catalog, number: u32) {
        let name = catalog.sessions.get(&number).map_or("", |session| &session.name);
        let place = (self.segment, self.base);
        put_frame(&mut self.bytes, place, (Kind::Name, number), name.as_bytes());
    }

    fn fits(&self, need: usize, limit: u64) -> Fit {
        let rest = FRAME_HEADER + self.changes.bytes().len() + SLACK;
        let end = self.named_bytes as u64 + self.base + (self.bytes.len() + rest + need) as u64;
        if end > limit || self.changes.bytes().len() > MAX_PAYLOAD / 2 {
            let need = need + rest + self.name_bytes + GROUP_FRAME + SLACK;
            return Fit::SegmentFull(need as u64);
        }
        if self.bytes.len() > GROUP_CAP { Fit::GroupFull } else { Fit::Whole }
    }
}

/// Room for what ends a segment.
const SLACK: usize = 2 * GROUP_FRAME + 64;

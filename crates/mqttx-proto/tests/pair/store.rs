//! The store of a pair: a log that lags behind, loses its end in a crash, and may give queued messages back.

use std::collections::BTreeMap;
use std::time::Instant;

use mqttx_proto::{
    FetchRequest, PacketId, Priority, Record, RecordBatch, Sequence, Session, StoredLane,
};

use super::rng::Rng;

#[derive(Debug, Default)]
pub(crate) struct Store {
    /// Queued messages are given back by fetches, not by the records.
    pub(crate) spills: bool,
    /// What earlier lives of the process left.
    inherited: Vec<Vec<u8>>,
    /// What this life submitted.
    records: Vec<Vec<u8>>,
    written: usize,
    pub(crate) synced: usize,
    fetch: Option<FetchRequest>,
}

/// What the records come to.
#[derive(Default)]
struct Folded<'a> {
    others: Vec<&'a [u8]>,
    messages: BTreeMap<Sequence, Message<'a>>,
    ends: [u64; Priority::COUNT],
}

struct Message<'a> {
    enqueue: &'a [u8],
    assigned: Option<(u64, &'a [u8])>,
    released: Option<&'a [u8]>,
}

impl Store {
    /// Takes what the session has to store.
    pub(crate) fn take(&mut self, session: &mut Session) {
        let mut batch = RecordBatch::new();
        session.poll_store(&mut batch);
        self.records.extend(batch.iter().raw().map(<[u8]>::to_vec));
    }

    /// Writes and syncs some of what was taken.
    pub(crate) fn advance(&mut self, rng: &mut Rng, session: &mut Session, now: Instant) {
        self.written += rng.below(self.records.len() - self.written + 1);
        if rng.chance(70) {
            self.synced += rng.below(self.written - self.synced + 1);
        }
        session.handle_stored(now, self.written as u64, self.synced as u64);
    }

    pub(crate) fn is_behind(&self) -> bool {
        self.records.len() > self.synced || self.fetch.is_some()
    }

    /// Begins or answers a fetch.
    pub(crate) fn serve(&mut self, session: &mut Session, now: Instant) {
        if let Some(wanted) = self.fetch.take() {
            // It sees everything that was submitted before the answer.
            self.take(session);
            let (next, records) = self.fetched(&wanted);
            session.handle_fetched(now, wanted.priority, next, &records);
        } else {
            self.fetch = session.poll_fetch();
        }
    }

    fn fetched(&self, wanted: &FetchRequest) -> (u64, RecordBatch) {
        let folded = self.fold();
        let mut batch = RecordBatch::new();
        let from = Sequence::new(wanted.priority, wanted.from);
        for (sequence, message) in folded.messages.range(from..) {
            if sequence.priority() != wanted.priority {
                break;
            }
            if message.assigned.is_some() {
                continue;
            }
            batch.push_raw(message.enqueue);
            if batch.len() >= wanted.messages || batch.byte_len() >= wanted.bytes {
                return (sequence.number() + 1, batch);
            }
        }
        (folded.ends[usize::from(wanted.priority.get())], batch)
    }

    /// The process is killed, the machine perhaps with it: what was synced stays, of what was written maybe a part. Returns the
    /// records that are lost.
    pub(crate) fn crash(&mut self, rng: &mut Rng, session: &mut Session) -> Vec<Vec<u8>> {
        self.take(session);
        let kept = self.synced + rng.below(self.written - self.synced + 1);
        let lost = self.records.split_off(kept);
        self.inherited.append(&mut self.records);
        (self.written, self.synced, self.fetch) = (0, 0, None);
        lost
    }

    /// What a new life gets.
    pub(crate) fn state(&self, rng: &mut Rng) -> (RecordBatch, [StoredLane; Priority::COUNT]) {
        let folded = self.fold();
        let mut batch = RecordBatch::new();
        let mut lanes = folded.ends.map(|end| StoredLane { next: end, end, ..Default::default() });
        if !self.spills && rng.chance(50) {
            self.inherited.iter().for_each(|record| batch.push_raw(record));
            return (batch, lanes);
        }
        folded.others.iter().for_each(|record| batch.push_raw(record));
        for (sequence, message) in &folded.messages {
            if self.spills && message.assigned.is_none() {
                let lane = &mut lanes[usize::from(sequence.priority().get())];
                lane.next = lane.next.min(sequence.number());
                lane.messages += 1;
                lane.bytes += message.enqueue.len() as u64;
            } else {
                batch.push_raw(message.enqueue);
            }
        }
        let mut assigned: Vec<_> =
            folded.messages.values().filter_map(|m| Some((m.assigned?, m.released))).collect();
        assigned.sort_by_key(|((order, _), _)| *order);
        for ((_, assign), release) in assigned {
            batch.push_raw(assign);
            release.into_iter().for_each(|release| batch.push_raw(release));
        }
        (batch, lanes)
    }

    fn fold(&self) -> Folded<'_> {
        let mut folded = Folded::default();
        for raw in self.inherited.iter().chain(&self.records) {
            match Record::decode(raw).unwrap() {
                Record::Enqueue { sequence, .. } => {
                    let message = Message { enqueue: raw, assigned: None, released: None };
                    folded.messages.insert(sequence, message);
                    let end = &mut folded.ends[usize::from(sequence.priority().get())];
                    assert!(*end <= sequence.number(), "number {sequence} is used twice");
                    *end = sequence.number() + 1;
                }
                Record::Assign { sequence, order, .. } => {
                    let message = folded.messages.get_mut(&sequence).unwrap();
                    message.assigned = Some((order, raw));
                }
                Record::Release { sequence } => {
                    folded.messages.get_mut(&sequence).unwrap().released = Some(raw);
                }
                Record::Requeue { sequence } => {
                    let message = folded.messages.get_mut(&sequence).unwrap();
                    (message.assigned, message.released) = (None, None);
                }
                Record::Done { sequence } => {
                    assert!(folded.messages.remove(&sequence).is_some(), "finished twice");
                }
                _ => folded.others.push(raw),
            }
        }
        folded
    }
}

/// The id of a record that says that a message was received.
pub(crate) fn received(record: &[u8]) -> Option<PacketId> {
    match Record::decode(record).unwrap() {
        Record::Received { id } => Some(id),
        _ => None,
    }
}

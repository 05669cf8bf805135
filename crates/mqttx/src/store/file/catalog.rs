//! What is known of all sessions: their small state, and where their messages are. Recovery builds it, and the commit
//! thread keeps it.

use std::collections::HashMap;

use mqttx_proto::{PacketId, Priority, Record, RecordBatch, Sequence};

use super::changes::{Change, Changes};
use super::index::{LaneIndex, Position};
use super::segment::{FastMap, Segments};
use crate::store::{FoldedState, Lane};

/// All sessions and all segments.
#[derive(Debug, Default)]
pub(super) struct Catalog {
    pub(super) sessions: FastMap<u32, SessionState>,
    pub(super) numbers: HashMap<Box<str>, u32>,
    pub(super) segments: Segments,
    pub(super) last_number: u32,
}

/// The state of one session.
#[derive(Debug, Default)]
pub(super) struct SessionState {
    /// Empty until it is known.
    pub(super) name: Box<str>,
    /// Everything but messages.
    small: FoldedState,
    lanes: [LaneIndex; Priority::COUNT],
    assigned: FastMap<u64, Assigned>,
    /// The id of the segment from which on its state is told; 0: nowhere yet.
    pub(super) state_from: u64,
    /// The id of the last segment that knows of it.
    pub(super) touched_in: u64,
    /// About how many bytes its small state takes.
    small_bytes: u64,
}

#[derive(Clone, Copy, Debug)]
struct Assigned {
    order: u64,
    id: PacketId,
    released: bool,
}

/// A message with a packet id.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct InFlight {
    pub(super) sequence: Sequence,
    pub(super) id: PacketId,
    pub(super) order: u64,
    pub(super) released: bool,
    pub(super) position: Position,
}

impl Catalog {
    /// The number of the session with that name, which is made if it is not there.
    pub(super) fn number(&mut self, name: &str) -> u32 {
        if let Some(&number) = self.numbers.get(name) {
            return number;
        }
        self.last_number += 1;
        self.name(self.last_number, name);
        self.last_number
    }

    /// A session has that name.
    pub(super) fn name(&mut self, number: u32, name: &str) {
        self.last_number = self.last_number.max(number);
        let session = self.sessions.entry(number).or_default();
        if !session.name.is_empty() {
            return;
        }
        let mut name = name.to_owned();
        while self.numbers.contains_key(&*name) {
            name.push_str(" (twice)");
        }
        session.name = name.clone().into_boxed_str();
        self.numbers.insert(name.into_boxed_str(), number);
    }

    /// Notes that the segment tells of the session. Returns whether it is the first time.
    pub(super) fn touch(&mut self, number: u32, slot: u32) -> bool {
        let Some(segment) = self.segments.get_mut(slot) else { return false };
        let session = self.sessions.entry(number).or_default();
        self.last_number = self.last_number.max(number);
        if session.touched_in == segment.id {
            return false;
        }
        session.touched_in = segment.id;
        if session.state_from == 0 && !segment.cold {
            session.state_from = segment.id;
        }
        segment.touched.push(number);
        true
    }

    /// A message stands at `position`.
    pub(super) fn enqueue(&mut self, number: u32, sequence: Sequence, position: Position) {
        let Some(session) = self.sessions.get_mut(&number) else { return };
        if let Some(old) = session.lane(sequence.priority()).insert(sequence.number(), position) {
            self.segments.leave(old);
            self.add_source(position.slot(), old.slot());
        }
        self.segments.keep(position);
    }

    /// The messages in `slot` have older copies in `source`.
    pub(super) fn add_source(&mut self, slot: u32, source: u32) {
        if slot != source
            && let Some(segment) = self.segments.get_mut(slot)
            && !segment.sources.contains(&source)
        {
            segment.sources.push(source);
        }
    }

    /// A message was copied from one place to another. Returns whether it was still there.
    pub(super) fn moved(
        &mut self,
        number: u32,
        sequence: Sequence,
        from: Position,
        to: Position,
    ) -> bool {
        let Some(session) = self.sessions.get_mut(&number) else { return false };
        let lane = session.lane(sequence.priority());
        if lane.get(sequence.number()) != Some(from) {
            return false;
        }
        lane.insert(sequence.number(), to);
        self.segments.leave(from);
        self.segments.keep(to);
        true
    }

    /// Where the message is, if it is not finished.
    pub(super) fn position(&self, number: u32, sequence: Sequence) -> Option<Position> {
        self.sessions.get(&number)?.position(sequence)
    }

    /// Applies a change of which the segment in `slot` tells.
    pub(super) fn apply(&mut self, number: u32, change: &Change<'_>, slot: u32) {
        match *change {
            Change::Record(Record::Done { sequence }) => self.done(number, sequence, slot),
            Change::Record(ref record) => {
                if let Some(session) = self.sessions.get_mut(&number) {
                    session.apply(record);
                }
            }
            Change::Reset(ends) => {
                let id = self.segments.get(slot).map_or(0, |segment| segment.id);
                if let Some(session) = self.sessions.get_mut(&number) {
                    session.reset(ends);
                    session.state_from = id;
                }
            }
            Change::DoneRun(first, count) => self.done_run(number, first, count, slot),
        }
    }

    fn done(&mut self, number: u32, sequence: Sequence, slot: u32) {
        let Some(session) = self.sessions.get_mut(&number) else { return };
        session.assigned.remove(&sequence.to_bits());
        let lane = session.lane(sequence.priority());
        lane.raise_end(sequence.number().saturating_add(1));
        if let Some(position) = lane.remove(sequence.number()) {
            self.segments.finish(position, number, sequence.to_bits(), slot);
        }
    }

    fn done_run(&mut self, number: u32, first: Sequence, count: u64, slot: u32) {
        let Some(session) = self.sessions.get(&number) else { return };
        let end = first.number().saturating_add(count);
        let lane = &session.lanes[usize::from(first.priority().get())];
        let finished: Vec<u64> = lane
            .from(first.number())
            .map(|(message, _)| message)
            .take_while(|&message| message < end)
            .collect();
        for message in finished {
            self.done(number, Sequence::new(first.priority(), message), slot);
        }
    }
}

impl SessionState {
    fn lane(&mut self, priority: Priority) -> &mut LaneIndex {
        &mut self.lanes[usize::from(priority.get())]
    }

    pub(super) fn position(&self, sequence: Sequence) -> Option<Position> {
        self.lanes[usize::from(sequence.priority().get())].get(sequence.number())
    }

    fn apply(&mut self, record: &Record<'_>) {
        match *record {
            Record::Assign { sequence, id, order } => {
                if self.position(sequence).is_some() {
                    let new = Assigned { order, id, released: false };
                    let kept = self.assigned.entry(sequence.to_bits()).or_insert(new);
                    *kept = Assigned { released: kept.released, ..new };
                }
            }
            Record::Release { sequence } => {
                if let Some(assigned) = self.assigned.get_mut(&sequence.to_bits()) {
                    assigned.released = true;
                }
            }
            Record::Requeue { sequence } => {
                self.assigned.remove(&sequence.to_bits());
            }
            Record::Received { .. } | Record::Forgotten { .. } => self.small.apply(record),
            ref other => {
                self.small.apply(other);
                self.small_bytes += 64;
            }
        }
    }

    fn reset(&mut self, ends: [u64; Priority::COUNT]) {
        self.small = FoldedState::default();
        self.assigned.clear();
        self.small_bytes = 0;
        self.raise_ends(ends);
    }

    pub(super) fn raise_ends(&mut self, ends: [u64; Priority::COUNT]) {
        self.lanes.iter_mut().zip(ends).for_each(|(lane, end)| lane.raise_end(end));
    }

    pub(super) fn ends(&self) -> [u64; Priority::COUNT] {
        std::array::from_fn(|at| self.lanes[at].end())
    }

    /// Its state but for messages, as changes that begin with a reset.
    pub(super) fn snapshot(&mut self, out: &mut Changes) {
        out.push_reset(self.ends());
        let small = self.small.records();
        self.small_bytes = small.byte_len() as u64;
        for (record, raw) in small.iter().zip(small.iter().raw()) {
            if let Ok(record) = record {
                out.push(&record, raw);
            }
        }
        for message in self.in_flight() {
            let InFlight { sequence, id, order, released, .. } = message;
            out.push(&Record::Assign { sequence, id, order }, &[]);
            if released {
                out.push(&Record::Release { sequence }, &[]);
            }
        }
    }

    /// About how many bytes a snapshot takes, rather more.
    pub(super) fn snapshot_bytes(&self) -> u64 {
        64 + self.name.len() as u64 * 2 + self.small_bytes + self.assigned.len() as u64 * 8
    }

    /// Everything but messages.
    pub(super) fn small(&self) -> RecordBatch {
        self.small.records()
    }

    /// The messages with packet ids, in the order of their assignment.
    pub(super) fn in_flight(&self) -> Vec<InFlight> {
        let mut all: Vec<_> = self
            .assigned
            .iter()
            .filter_map(|(&bits, assigned)| {
                let sequence = Sequence::from_bits(bits);
                let &Assigned { id, order, released } = assigned;
                let position = self.position(sequence)?;
                Some(InFlight { sequence, id, order, released, position })
            })
            .collect();
        all.sort_unstable_by_key(|message| message.order);
        all
    }

    pub(super) fn in_flight_len(&self) -> u64 {
        self.assigned.len() as u64
    }

    /// Messages of one priority without a packet id, from `number` on.
    pub(super) fn queued(
        &self,
        priority: Priority,
        number: u64,
    ) -> impl Iterator<Item = (u64, Position)> {
        self.lanes[usize::from(priority.get())].from(number).filter(move |&(number, _)| {
            let sequence = Sequence::new(priority, number);
            self.assigned.is_empty() || !self.assigned.contains_key(&sequence.to_bits())
        })
    }

    /// Messages of one priority from `number` on.
    pub(super) fn messages_from(
        &self,
        priority: Priority,
        number: u64,
    ) -> impl Iterator<Item = (u64, Position)> {
        self.lanes[usize::from(priority.get())].from(number)
    }

    /// What a session that opens has to know of its queued messages.
    pub(super) fn lanes(&self) -> [Lane; Priority::COUNT] {
        let mut lanes: [Lane; Priority::COUNT] = std::array::from_fn(|at| {
            let index = &self.lanes[at];
            Lane { next: 0, end: index.end(), messages: index.messages(), bytes: index.bytes() }
        });
        for &bits in self.assigned.keys() {
            let sequence = Sequence::from_bits(bits);
            if let Some(position) = self.position(sequence) {
                let lane = &mut lanes[usize::from(sequence.priority().get())];
                lane.messages = lane.messages.saturating_sub(1);
                lane.bytes = lane.bytes.saturating_sub(position.len());
            }
        }
        for priority in Priority::descending() {
            let lane = &mut lanes[usize::from(priority.get())];
            lane.next = self.queued(priority, 0).next().map_or(lane.end, |(number, _)| number);
        }
        lanes
    }

    /// Unfinished messages, and about their bytes.
    pub(super) fn messages(&self) -> (u64, u64) {
        self.lanes.iter().fold((0, 0), |(messages, bytes), lane| {
            (messages + lane.messages(), bytes + lane.bytes())
        })
    }

    /// Desired filters, and ids of inbound messages.
    pub(super) fn small_counts(&self) -> (u64, u64) {
        let received = self.small.records();
        let received = received.iter().flatten().filter(|r| matches!(r, Record::Received { .. }));
        (self.small.filters() as u64, received.count() as u64)
    }
}

//! What happened to one session in one group, in few bytes.
//!
//! Numbers are written as differences to the one before, seven bits a byte: the usual `Done` of the next message takes one
//! byte, as does the usual `Assign`. Records that are rare are kept as they are.

use mqttx_proto::{PacketId, Priority, Record, Sequence};

/// One change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Change<'a> {
    Record(Record<'a>),
    /// Everything that was known of the session but its messages is void: its state follows. The numbers of messages go on
    /// from these.
    Reset([u64; Priority::COUNT]),
    /// So many messages from this one on are finished, as far as they are still there.
    DoneRun(Sequence, u64),
}

/// Writes changes.
#[derive(Debug, Default)]
pub(super) struct Changes {
    bytes: Vec<u8>,
    last: Last,
}

/// Reads changes, until the first that makes no sense.
#[derive(Debug)]
pub(super) struct ReadChanges<'a> {
    rest: &'a [u8],
    last: Last,
}

#[derive(Clone, Copy, Debug, Default)]
struct Last {
    assigned: u64,
    id: u16,
    order: u64,
    done: u64,
    released: u64,
}

const ASSIGN: u8 = 1;
const ASSIGN_NEXT: u8 = 2;
const DONE: u8 = 3;
const DONE_NEXT: u8 = 4;
const DONE_RUN: u8 = 5;
const RELEASE: u8 = 6;
const RELEASE_NEXT: u8 = 7;
const REQUEUE: u8 = 8;
const RECEIVED: u8 = 9;
const FORGOTTEN: u8 = 10;
const RAW: u8 = 11;
const RESET: u8 = 12;

impl Changes {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.last = Last::default();
    }

    /// Appends a record that is no message; `raw` are its bytes.
    pub(super) fn push(&mut self, record: &Record<'_>, raw: &[u8]) {
        match *record {
            Record::Assign { sequence, id, order } => self.push_assign(sequence, id, order),
            Record::Done { sequence } => {
                self.push_sequence((DONE, DONE_NEXT), |last| &mut last.done, sequence);
            }
            Record::Release { sequence } => {
                self.push_sequence((RELEASE, RELEASE_NEXT), |last| &mut last.released, sequence);
            }
            Record::Requeue { sequence } => self.push_number(REQUEUE, sequence.to_bits()),
            Record::Received { id } => self.push_number(RECEIVED, id.get().into()),
            Record::Forgotten { id } => self.push_number(FORGOTTEN, id.get().into()),
            _ => {
                self.push_number(RAW, raw.len() as u64);
                self.bytes.extend_from_slice(raw);
            }
        }
    }

    pub(super) fn push_reset(&mut self, ends: [u64; Priority::COUNT]) {
        self.bytes.push(RESET);
        ends.iter().for_each(|&end| put_varint(&mut self.bytes, end));
    }

    pub(super) fn push_done_run(&mut self, first: Sequence, count: u64) {
        self.push_number(DONE_RUN, first.to_bits());
        put_varint(&mut self.bytes, count);
    }

    fn push_assign(&mut self, sequence: Sequence, id: PacketId, order: u64) {
        let last = self.last;
        let (sequence, id) = (sequence.to_bits(), id.get());
        let steps = [
            sequence.wrapping_sub(last.assigned),
            u64::from(id).wrapping_sub(last.id.into()),
            order.wrapping_sub(last.order),
        ];
        if steps == [1; 3] {
            self.bytes.push(ASSIGN_NEXT);
        } else {
            self.bytes.push(ASSIGN);
            steps.iter().for_each(|&step| put_varint(&mut self.bytes, zigzag(step)));
        }
        self.last = Last { assigned: sequence, id, order, ..last };
    }

    fn push_sequence(
        &mut self,
        (any, next): (u8, u8),
        last: fn(&mut Last) -> &mut u64,
        sequence: Sequence,
    ) {
        let last = last(&mut self.last);
        let step = sequence.to_bits().wrapping_sub(std::mem::replace(last, sequence.to_bits()));
        if step == 1 {
            self.bytes.push(next);
        } else {
            self.push_number(any, zigzag(step));
        }
    }

    fn push_number(&mut self, op: u8, number: u64) {
        self.bytes.push(op);
        put_varint(&mut self.bytes, number);
    }
}

impl<'a> ReadChanges<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, last: Last::default() }
    }

    /// `None` as well when what follows makes no sense.
    fn read(&mut self) -> Option<Change<'a>> {
        let (&op, rest) = self.rest.split_first()?;
        self.rest = rest;
        let record = match op {
            ASSIGN | ASSIGN_NEXT => self.read_assign(op == ASSIGN_NEXT)?,
            DONE | DONE_NEXT => Record::Done {
                sequence: self.read_sequence(op == DONE_NEXT, |last| &mut last.done)?,
            },
            RELEASE | RELEASE_NEXT => Record::Release {
                sequence: self.read_sequence(op == RELEASE_NEXT, |last| &mut last.released)?,
            },
            REQUEUE => Record::Requeue { sequence: Sequence::from_bits(self.varint()?) },
            RECEIVED => Record::Received { id: self.id()? },
            FORGOTTEN => Record::Forgotten { id: self.id()? },
            RAW => {
                let len = usize::try_from(self.varint()?).ok()?;
                let (raw, rest) = self.rest.split_at_checked(len)?;
                self.rest = rest;
                Record::decode(raw).ok()?
            }
            RESET => {
                let mut ends = [0; Priority::COUNT];
                for end in &mut ends {
                    *end = self.varint()?;
                }
                return Some(Change::Reset(ends));
            }
            DONE_RUN => {
                let first = Sequence::from_bits(self.varint()?);
                return Some(Change::DoneRun(first, self.varint()?));
            }
            _ => return None,
        };
        Some(Change::Record(record))
    }

    fn read_assign(&mut self, next: bool) -> Option<Record<'a>> {
        let mut steps = [1; 3];
        if !next {
            for step in &mut steps {
                *step = unzigzag(self.varint()?);
            }
        }
        let last = &mut self.last;
        last.assigned = last.assigned.wrapping_add(steps[0]);
        last.id = last.id.wrapping_add(steps[1] as u16);
        last.order = last.order.wrapping_add(steps[2]);
        Some(Record::Assign {
            sequence: Sequence::from_bits(last.assigned),
            id: PacketId::new(last.id)?,
            order: last.order,
        })
    }

    fn read_sequence(&mut self, next: bool, last: fn(&mut Last) -> &mut u64) -> Option<Sequence> {
        let step = if next { 1 } else { unzigzag(self.varint()?) };
        let last = last(&mut self.last);
        *last = last.wrapping_add(step);
        Some(Sequence::from_bits(*last))
    }

    fn id(&mut self) -> Option<PacketId> {
        PacketId::new(u16::try_from(self.varint()?).ok()?)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.rest.split_first()?;
            self.rest = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }
}

impl<'a> Iterator for ReadChanges<'a> {
    type Item = Change<'a>;

    fn next(&mut self) -> Option<Change<'a>> {
        self.read()
    }
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Small steps in either direction become small numbers.
const fn zigzag(step: u64) -> u64 {
    step << 1 ^ ((step as i64) >> 63) as u64
}

const fn unzigzag(value: u64) -> u64 {
    value >> 1 ^ (value & 1).wrapping_neg()
}

//! What Redis keeps of a session, turned into records.

use std::collections::HashMap;

use ::redis::Value;
use mqttx_proto::{Priority, Record, RecordBatch, Sequence};

use crate::error::Error;
use crate::store::{Lane, StoreNotice};

/// Before each message: when it was accepted.
pub(super) const TIME: usize = 8;
const ASSIGNMENT: usize = 19;

/// A session as the structures of Redis have it.
#[derive(Debug, Default)]
pub(super) struct Parts {
    pub(super) owner: String,
    /// Whether Redis knew the session.
    pub(super) known: bool,
    pub(super) state: HashMap<Vec<u8>, Vec<u8>>,
    /// How many messages are queued, the first and the last.
    pub(super) lanes: Vec<(u64, Option<Sequence>, Option<Sequence>)>,
    pub(super) messages: Vec<(Sequence, Vec<u8>)>,
    pub(super) assigned: Vec<Vec<u8>>,
    pub(super) received: Vec<Vec<u8>>,
    pub(super) filters: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Parts {
    /// The answer of `open.lua`.
    pub(super) fn of_answer(answer: Value) -> Result<Self, Error> {
        let strange =
            || Error::store("Redis answered the opening of a session with something else");
        let Value::Array(values) = answer else { return Err(strange()) };
        let [owner, known, state, lanes, messages, assigned, received, filters] =
            <[Value; 8]>::try_from(values).map_err(|_| strange())?;
        let lane = |value: Value| {
            let Value::Array(values) = value else { return None };
            let [count, first, last] = <[Value; 3]>::try_from(values).ok()?;
            let Value::Int(count) = count else { return None };
            Some((count as u64, sequence(&bytes(first)), sequence(&bytes(last))))
        };
        let lanes =
            list(lanes).into_iter().map(lane).collect::<Option<Vec<_>>>().ok_or_else(strange)?;
        Ok(Self {
            owner: String::from_utf8(bytes(owner)).map_err(|_| strange())?,
            known: matches!(known, Value::Int(1)),
            state: pairs(state).into_iter().collect(),
            lanes,
            messages: messages_of(messages),
            assigned: pairs(assigned).into_iter().map(|(_, assignment)| assignment).collect(),
            received: list(received).into_iter().map(bytes).collect(),
            filters: pairs(filters),
        })
    }

    /// The records of the session, and what is wrong with what is there.
    pub(super) fn records(&self, notices: &mut Vec<StoreNotice>) -> RecordBatch {
        let mut batch = RecordBatch::new();
        self.push_filters(&mut batch, notices);
        let mut received: Vec<_> =
            self.received.iter().filter_map(|id| Some([6, *id.first()?, *id.get(1)?])).collect();
        received.sort_unstable();
        received.iter().for_each(|record| push(&mut batch, record, notices));
        let mut messages: Vec<_> = self.messages.iter().collect();
        messages.sort_unstable();
        for (sequence, stored) in messages {
            push_message(&mut batch, *sequence, stored, notices);
        }
        let order = |assignment: &[u8]| {
            let order = assignment.get(ASSIGNMENT - 8..ASSIGNMENT)?;
            Some(u64::from_le_bytes(order.try_into().ok()?))
        };
        let mut assigned: Vec<_> =
            self.assigned.iter().map(|assignment| (order(assignment), assignment)).collect();
        assigned.sort_unstable();
        for (_, assignment) in assigned {
            let (record, released) = assignment.split_at(assignment.len().min(ASSIGNMENT));
            push(&mut batch, record, notices);
            if let (false, Ok(Record::Assign { sequence, .. })) =
                (released.is_empty(), Record::decode(record))
            {
                batch.push(&Record::Release { sequence });
            }
        }
        batch
    }

    fn push_filters(&self, batch: &mut RecordBatch, notices: &mut Vec<StoreNotice>) {
        let (mut filters, mut granted) = (Vec::new(), HashMap::new());
        for (field, value) in &self.filters {
            match field.split_first() {
                Some((b's', filter)) => {
                    let at = value.iter().position(|&byte| byte == b':').unwrap_or_default();
                    let (order, record) = value.split_at(at);
                    let order: u64 = str::from_utf8(order)
                        .ok()
                        .and_then(|order| order.parse().ok())
                        .unwrap_or_default();
                    filters.push((order, filter, record.get(1..).unwrap_or_default()));
                }
                Some((_, filter)) => {
                    granted.insert(filter, value);
                }
                None => {}
            }
        }
        filters.sort_unstable();
        filters.iter().for_each(|(.., record)| push(batch, record, notices));
        self.state.get(&b"epoch"[..]).into_iter().for_each(|epoch| push(batch, epoch, notices));
        let granted = filters.iter().filter_map(|(_, filter, _)| granted.get(filter));
        granted.for_each(|record| push(batch, record, notices));
        if self.state.contains_key(&b"connecting"[..]) {
            batch.push(&Record::Connecting);
        }
    }

    /// The messages that are not among the records.
    pub(super) fn queued(&self) -> [Lane; Priority::COUNT] {
        let mut lanes = [Lane::default(); Priority::COUNT];
        for (n, lane) in lanes.iter_mut().enumerate() {
            let (messages, first, last) = self.lanes.get(n).copied().unwrap_or_default();
            let priority = n as u8;
            let kept = self.field(&format!("end{}", n + 1)).and_then(sequence);
            let assigned = self
                .messages
                .iter()
                .map(|(sequence, _)| *sequence)
                .filter(|s| s.priority().get() == priority);
            let highest = assigned.chain(last).chain(kept).map(Sequence::number).max();
            lane.end = highest.map_or(0, |number| number + 1);
            lane.next = first.map_or(lane.end, Sequence::number);
            lane.messages = messages;
            let bytes = self
                .field(&format!("bytes{}", n + 1))
                .and_then(|text| str::from_utf8(text).ok()?.parse::<i64>().ok());
            lane.bytes = if messages == 0 { 0 } else { bytes.unwrap_or_default().max(0) as u64 };
        }
        lanes
    }

    pub(super) fn field(&self, name: &str) -> Option<&[u8]> {
        self.state.get(name.as_bytes()).map(Vec::as_slice)
    }

    /// The structures are there, and what holds them together is not.
    pub(super) fn is_headless(&self) -> bool {
        !self.known
            && (self.lanes.iter().any(|(messages, ..)| *messages > 0)
                || !self.messages.is_empty()
                || !self.received.is_empty()
                || !self.filters.is_empty())
    }
}

/// The record of a message, without the time before it.
pub(super) fn push_message(
    batch: &mut RecordBatch,
    name: Sequence,
    stored: &[u8],
    notices: &mut Vec<StoreNotice>,
) {
    let record = stored.get(TIME..).unwrap_or_default();
    match Record::decode(record) {
        Ok(Record::Enqueue { sequence, .. }) if sequence == name => batch.push_raw(record),
        _ => notices.push(damaged(&format!("message {name} is damaged and left out"))),
    }
}

/// When a message was accepted, in milliseconds of Unix time.
pub(super) fn time_of(stored: &[u8]) -> Option<u64> {
    stored.first_chunk::<TIME>().map(|time| u64::from_le_bytes(*time)).filter(|&time| time != 0)
}

fn push(batch: &mut RecordBatch, record: &[u8], notices: &mut Vec<StoreNotice>) {
    match Record::decode(record) {
        Ok(_) => batch.push_raw(record),
        Err(error) => notices.push(damaged(&format!("a record is damaged and left out: {error}"))),
    }
}

fn damaged(text: &str) -> StoreNotice {
    StoreNotice { text: format!("Redis: {text}"), lost_records: 1 }
}

/// The name of a message in Redis: its number, the most significant byte first, so that names are in order.
pub(super) fn sequence(name: &[u8]) -> Option<Sequence> {
    name.try_into().ok().map(|bits| Sequence::from_bits(u64::from_be_bytes(bits)))
}

pub(super) fn messages_of(value: Value) -> Vec<(Sequence, Vec<u8>)> {
    pairs(value).into_iter().filter_map(|(name, stored)| Some((sequence(&name)?, stored))).collect()
}

pub(super) fn bytes(value: Value) -> Vec<u8> {
    match value {
        Value::BulkString(bytes) => bytes,
        Value::SimpleString(text) => text.into_bytes(),
        _ => Vec::new(),
    }
}

pub(super) fn list(value: Value) -> Vec<Value> {
    match value {
        Value::Array(values) | Value::Set(values) => values,
        _ => Vec::new(),
    }
}

/// Fields and values, which come one behind the other.
pub(super) fn pairs(value: Value) -> Vec<(Vec<u8>, Vec<u8>)> {
    if let Value::Map(pairs) = value {
        return pairs.into_iter().map(|(field, value)| (bytes(field), bytes(value))).collect();
    }
    let mut values = list(value).into_iter();
    std::iter::from_fn(|| Some((bytes(values.next()?), bytes(values.next()?)))).collect()
}

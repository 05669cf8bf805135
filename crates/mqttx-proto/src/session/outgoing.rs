//! The outbox: messages accepted for sending, queued and in flight.
//!
//! ```text
//!   lanes, by priority                flight, in the order of sending
//!  ┌──────────────────────┐   id, quota    ┌───────────────────────────────────┐
//!  │ (in the store) Queued ├──────────────▶│ Queued ──▶ Sent ──PUBREC──▶ Released │
//!  └──────────▲───────────┘                └────┬────────┬───────────────┬─────┘
//!             │            session lost         │        │ PUBACK, error │ PUBCOMP
//!             └─────────────────────────────────┘        └──────▶ Gone ◀─┘
//! ```
//!
//! A message waits in the lane of its priority until it gets a packet id; from then on it is part of the *flight*, which keeps the
//! order in which messages are sent. Two cursors walk the flight on each connection: `admitted` takes quota, and takes the next
//! messages from the lanes at its end; `sent` follows it and encodes what is durable. After a reconnect both start at the front
//! again, so that replay is nothing but the same walk: Sent goes out with DUP, Released as PUBREL, in the order of sending, before
//! anything new `[MQTT-4.4.0-1]`, `[MQTT-4.6.0-1]`.
//!
//! With a store that gives messages back, only the front of each lane is in memory ([`spill`]).
mod at_once;
mod checked;
mod encoded;
mod end;
mod failed;
mod flight;
mod happened;
mod payload;
mod plain;
mod publish;
mod pump;
mod restored;
mod spill;

use std::collections::VecDeque;
use std::time::Instant;

use crate::{PacketId, PacketType, PropertiesRef, QoS, ReasonCode};

use super::Context;
use super::arena::Arena;
use super::config::OutboxLimits;
use super::event::{NO_TOKEN, Token};
use super::id_guard::IdGuard;
use super::incoming::encode_ack;
use super::lazy::Blank;
use super::record::{Lsn, Origin, Priority, Sequence};
use encoded::{Encoded, earliest};
pub use failed::FailedMessage;
use flight::Flight;
pub use payload::Payload;
pub use plain::{PlainMessage, PlainProperties};
pub use spill::FetchRequest;
use spill::Spill;

/// A message to send.
#[derive(Debug, Clone, Copy)]
pub struct Outgoing<'a> {
    /// Where it goes: a topic name without wildcards.
    pub topic: &'a str,
    /// What it carries.
    pub payload: Payload<'a>,
    /// At which level.
    pub qos: QoS,
    /// Whether the server retains it.
    pub retain: bool,
    /// Properties of PUBLISH; ignored in 3.1.1. A message expiry interval counts down while the message waits.
    pub properties: PropertiesRef<'a>,
    /// When to give up a message that was never sent; `None`: only by its message expiry.
    pub expires_at: Option<Instant>,
    /// Which of the messages that wait for a packet id goes first; QoS 0 does not wait for one.
    pub priority: Priority,
    /// Who is to learn that the server does not take it, if nobody waits for its end.
    pub origin: Option<Origin>,
}

/// What is in the outbox.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OutboxStatus {
    /// Everything accepted and not finished, in messages.
    pub messages: usize,
    /// The same in bytes of encoded packets.
    pub bytes: usize,
    /// QoS 1 and 2 messages that take part of the quota on this connection.
    pub in_flight: usize,
    /// Of `messages`, those that are in the store only.
    pub spilled: usize,
}

/// Totals since the session began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SendTotals {
    /// First transmissions of PUBLISH.
    pub messages: u64,
    /// Their bytes, whole packets.
    pub bytes: u64,
    /// Transmissions of the same PUBLISH again.
    pub resent: u64,
    /// Messages that were in flight when the server lost the session, sent as new ones.
    pub requeued: u64,
    /// Messages given up before they were sent.
    pub dropped: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Not sent yet; in the flight: it has an id, and waits for its record or the socket.
    Queued,
    /// PUBREL asks a server that may still hold this id to forget it; the message itself waits.
    Clearing,
    Sent,
    Released,
    Gone,
}

#[derive(Debug)]
struct Entry {
    sequence: Sequence,
    encoded: Encoded,
    state: State,
    /// `Some` in the flight, until it is gone.
    id: Option<PacketId>,
    /// PUBREL left on this connection.
    released_here: bool,
    /// PUBREL left again after a reconnect: the server may have forgotten the id.
    recovered: bool,
    token: Token,
    /// The record that must be durable before the next step.
    lsn: Lsn,
}

impl Entry {
    fn queued(sequence: Sequence, encoded: Encoded, token: Token, lsn: Lsn) -> Self {
        Self {
            sequence,
            encoded,
            state: State::Queued,
            id: None,
            released_here: false,
            recovered: false,
            token,
            lsn,
        }
    }

    /// Whether it is that message, and not only where it or another one was.
    fn is(&self, sequence: Sequence) -> bool {
        self.sequence == sequence && self.state != State::Gone
    }

    /// Stands where nothing is any more.
    fn gone() -> Self {
        let sequence = Sequence::new(Priority::LOWEST, 0);
        let nothing = Self::queued(sequence, Encoded::nothing(), NO_TOKEN, 0);
        Self { state: State::Gone, ..nothing }
    }
}

/// The messages of one priority without a packet id, those in memory.
#[derive(Debug)]
struct Lane {
    /// By their numbers.
    entries: VecDeque<Entry>,
    /// The number of the next message.
    end: u64,
}

#[derive(Debug)]
pub(crate) struct Outbox {
    lanes: [Lane; Priority::COUNT],
    /// Messages in memory, in all lanes, and their bytes.
    queued: usize,
    queued_bytes: usize,
    flight: Flight,
    /// The place of the first entry of the flight: places rise and name an entry as long as it lives there.
    base: u64,
    admitted: u64,
    sent: u64,
    /// Entries below this were there when the connection began.
    replay_end: u64,
    /// QoS 0 messages that wait for a connection or the socket.
    qos0: VecDeque<(Encoded, Token)>,
    arena: Arena,
    status: OutboxStatus,
    /// Unfinished QoS 1 and 2 messages.
    unfinished: usize,
    next_expiry: Option<Instant>,
    /// Counts assignments of packet ids.
    assignments: u64,
    /// Releases whose record is not durable yet, by their place.
    releases: VecDeque<(Lsn, u64)>,
    guard: Option<Box<IdGuard>>,
    /// What of the lanes is in the store only; with a store that gives it back.
    spill: Option<Box<Spill>>,
    pub(crate) totals: SendTotals,
}

impl Blank for Outbox {
    const BLANK: Self = Self {
        lanes: [const { Lane { entries: VecDeque::new(), end: 0 } }; Priority::COUNT],
        queued: 0,
        queued_bytes: 0,
        flight: Flight::new(),
        base: 0,
        admitted: 0,
        sent: 0,
        replay_end: 0,
        qos0: VecDeque::new(),
        arena: Arena::new(),
        status: OutboxStatus { messages: 0, bytes: 0, in_flight: 0, spilled: 0 },
        unfinished: 0,
        next_expiry: None,
        assignments: 0,
        releases: VecDeque::new(),
        guard: None,
        spill: None,
        totals: SendTotals { messages: 0, bytes: 0, resent: 0, requeued: 0, dropped: 0 },
    };
    const SHARED: &'static Self = &Self::BLANK;
}

impl Outbox {
    /// `window`: what may be in memory of a lane, with a store that gives the rest back.
    pub(crate) fn new(window: OutboxLimits) -> Self {
        Self { spill: Some(Box::new(Spill::new(window))), ..Self::BLANK }
    }

    pub(crate) fn status(&self) -> OutboxStatus {
        self.status
    }

    /// Messages in memory that wait for a packet id.
    pub(crate) fn queued(&self) -> usize {
        self.queued
    }

    pub(crate) fn unfinished(&self) -> usize {
        self.unfinished
    }

    /// The first of the messages that left on this connection and are not finished.
    pub(crate) fn oldest_sent(&self) -> Option<(Sequence, bool)> {
        let first = self.flight.front().filter(|_| self.base < self.sent)?;
        match first.state {
            State::Sent => Some((first.sequence, false)),
            State::Released => Some((first.sequence, true)),
            State::Queued | State::Clearing | State::Gone => None,
        }
    }

    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        self.next_expiry
    }

    fn lane_mut(&mut self, priority: Priority) -> &mut Lane {
        // There is a lane for each priority.
        let [lowest, second, third, highest] = &mut self.lanes;
        match priority.get() {
            0 => lowest,
            1 => second,
            2 => third,
            _ => highest,
        }
    }

    /// The lane whose front is sent next.
    fn next_lane(&mut self) -> Option<&mut Lane> {
        self.lanes.iter_mut().rev().find(|lane| !lane.entries.is_empty())
    }

    fn end(&self) -> u64 {
        self.base + self.flight.len() as u64
    }

    fn at(&self, place: u64) -> Option<&Entry> {
        self.flight.get(place.checked_sub(self.base)? as usize)
    }

    fn rewind(&mut self) {
        self.admitted = self.base;
        self.sent = self.base;
        self.replay_end = 0;
        self.status.in_flight = 0;
        for entry in self.flight.iter_mut() {
            entry.released_here = false;
            if entry.state == State::Clearing {
                entry.state = State::Queued;
            }
        }
    }

    /// Puts a message that waits for its packet id at the end of its lane.
    #[inline(always)]
    fn push_queued(&mut self, entry: Entry) {
        self.queued += 1;
        self.queued_bytes += entry.encoded.len as usize;
        self.note_expiry(&entry.encoded);
        let lane = self.lane_mut(entry.sequence.priority());
        lane.end = lane.end.max(entry.sequence.number() + 1);
        lane.entries.push_back(entry);
    }

    fn flush_releases(&mut self, cx: &mut Context) {
        while let Some((lsn, place)) = self.releases.front().copied() {
            if !cx.journal.is_synced(lsn) {
                return;
            }
            self.releases.pop_front();
            let id = self.at(place).and_then(|e| e.id);
            if let (Some(id), Some(link)) = (id, cx.link.as_mut()) {
                encode_ack(link, cx.config.version, PacketType::PubRel, id, ReasonCode::SUCCESS);
            }
        }
    }

    fn note_expiry(&mut self, encoded: &Encoded) {
        self.next_expiry = earliest(self.next_expiry, encoded.expires_at());
    }
}

fn at_mut(flight: &mut Flight, base: u64, place: u64) -> Option<&mut Entry> {
    flight.get_mut(place.checked_sub(base)? as usize)
}

//! The outbox: messages accepted for sending, queued and in flight, as one ordered sequence.
//!
//! ```text
//!            pump: id, quota, durable            PUBREC (QoS 2)
//!  Queued ───────────────────────────▶ Sent ───────────────────▶ Released
//!    │  ▲                               │ │                          │
//!    │  └─────── session lost ──────────┼─┼──────────────────────────┤
//!    │                                  │ └─▶ PUBACK, error          │ PUBCOMP
//!    └─▶ expired, evicted, not allowed ─┴────────▶ Gone ◀────────────┘
//! ```
//!
//! Two cursors walk the sequence on each connection: `assigned` gives packet ids within the quota, `sent` follows it and encodes
//! what is durable. After a reconnect both start at the front again, so that replay is nothing but the same walk: Sent goes out
//! with DUP, Released as PUBREL, in the original order, before anything new `[MQTT-4.4.0-1]`, `[MQTT-4.6.0-1]`.
mod encoded;
mod happened;
mod publish;
mod pump;
mod restored;

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;

use crate::{PacketId, PacketType, PropertiesRef, QoS, ReasonCode};

use super::Context;
use super::arena::Arena;
use super::event::{DropReason, Event, NO_TOKEN, Outcome, Token};
use super::id_guard::IdGuard;
use super::incoming::encode_ack;
use super::record::{Lsn, Priority, Record, Sequence};
use encoded::{Encoded, earliest};

/// A message to send.
#[derive(Debug, Clone, Copy)]
pub struct Outgoing<'a> {
    /// Where it goes: a topic name without wildcards.
    pub topic: &'a str,
    /// What it carries. Large payloads are shared, not copied.
    pub payload: &'a Bytes,
    /// At which level.
    pub qos: QoS,
    /// Whether the server retains it.
    pub retain: bool,
    /// Properties of PUBLISH; ignored in 3.1.1. A message expiry interval counts down while the message waits.
    pub properties: PropertiesRef<'a>,
    /// When to give up a message that was never sent; `None`: only by its message expiry.
    pub expires_at: Option<Instant>,
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
    Queued,
    /// PUBREL asks a server that may still hold this id to forget it; the message itself waits.
    Clearing,
    Sent,
    Released,
    Gone,
}

#[derive(Debug)]
struct Entry {
    encoded: Encoded,
    state: State,
    id: Option<PacketId>,
    /// PUBREL left on this connection.
    released_here: bool,
    /// PUBREL left again after a reconnect: the server may have forgotten the id.
    recovered: bool,
    token: Token,
    /// The record that must be durable before the next step.
    lsn: Lsn,
}

#[derive(Debug, Default)]
pub(crate) struct Outbox {
    entries: VecDeque<Entry>,
    /// The sequence number of the first entry.
    base: u64,
    assigned: u64,
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
    /// Releases whose record is not durable yet.
    releases: VecDeque<(Lsn, u64)>,
    guard: Option<Box<IdGuard>>,
    pub(crate) totals: SendTotals,
}

impl Outbox {
    pub(crate) fn status(&self) -> OutboxStatus {
        self.status
    }

    pub(crate) fn unfinished(&self) -> usize {
        self.unfinished
    }

    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        self.next_expiry
    }

    fn end(&self) -> u64 {
        self.base + self.entries.len() as u64
    }

    fn entry(&self, sequence: u64) -> Option<&Entry> {
        self.entries.get(sequence.checked_sub(self.base)? as usize)
    }

    fn rewind(&mut self) {
        self.assigned = self.base;
        self.sent = self.base;
        self.replay_end = 0;
        self.status.in_flight = 0;
        for entry in &mut self.entries {
            entry.released_here = false;
            if entry.state == State::Clearing {
                entry.state = State::Queued;
            }
        }
    }

    fn flush_releases(&mut self, cx: &mut Context) {
        while let Some((lsn, sequence)) = self.releases.front().copied() {
            if !cx.journal.is_synced(lsn) {
                return;
            }
            self.releases.pop_front();
            let id = self.entry(sequence).and_then(|e| e.id);
            if let (Some(id), Some(link)) = (id, cx.link.as_mut()) {
                encode_ack(link, cx.config.version, PacketType::PubRel, id, ReasonCode::SUCCESS);
            }
        }
    }

    /// An accepted QoS 1 or 2 message that will not be sent.
    fn give_up(&mut self, cx: &mut Context, sequence: u64, reason: DropReason) {
        self.totals.dropped += 1;
        cx.events.push_back(Event::MessageDropped { reason, count: 1 });
        // `finish` takes back the quota of every entry below `assigned`; this one has none yet.
        if sequence < self.assigned {
            self.status.in_flight += 1;
        }
        self.finish(cx, sequence, Outcome::Dropped(reason));
    }

    fn finish(&mut self, cx: &mut Context, sequence: u64, outcome: Outcome) {
        let assigned = self.assigned;
        let Some(entry) = entry_mut(&mut self.entries, self.base, sequence) else { return };
        if entry.state == State::Gone {
            return;
        }
        let counted = sequence < assigned || entry.released_here;
        entry.state = State::Gone;
        entry.encoded.payload = None;
        if let Some(id) = entry.id.take() {
            cx.ids.free(id);
        }
        let token = std::mem::replace(&mut entry.token, NO_TOKEN);
        let (span, len) = (entry.encoded.span, entry.encoded.len);
        self.arena.remove(span);
        self.status.messages -= 1;
        self.status.bytes -= len as usize;
        self.unfinished -= 1;
        if counted {
            self.status.in_flight = self.status.in_flight.saturating_sub(1);
        }
        cx.journal.push(|| Record::Done { sequence: named(sequence) });
        cx.complete(token, outcome);
        while self.entries.front().is_some_and(|e| e.state == State::Gone) {
            self.entries.pop_front();
            self.base += 1;
        }
        self.assigned = self.assigned.max(self.base);
        self.sent = self.sent.max(self.base);
    }

    fn forget_qos0(
        &mut self,
        cx: &mut Context,
        encoded: &Encoded,
        token: Token,
        reason: DropReason,
    ) {
        self.totals.dropped += 1;
        cx.events.push_back(Event::MessageDropped { reason, count: 1 });
        cx.complete(token, Outcome::Dropped(reason));
        self.discard(encoded);
    }

    fn discard(&mut self, encoded: &Encoded) {
        self.arena.remove(encoded.span);
        self.status.messages -= 1;
        self.status.bytes -= encoded.len as usize;
    }

    fn note_expiry(&mut self, encoded: &Encoded) {
        self.next_expiry = earliest(self.next_expiry, encoded.expires_at());
    }
}

/// Its name in the store.
fn named(sequence: u64) -> Sequence {
    Sequence::new(Priority::LOWEST, sequence)
}

fn entry_mut(entries: &mut VecDeque<Entry>, base: u64, sequence: u64) -> Option<&mut Entry> {
    entries.get_mut(sequence.checked_sub(base)? as usize)
}

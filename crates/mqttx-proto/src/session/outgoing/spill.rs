//! An outbox larger than memory: of each lane the front is in memory, the rest in the store only.
//!
//! ```text
//!   number   0 ───────── next ─────────────────────── end
//!            │ in memory  │      in the store only     │
//!            ◀── sent      ◀── fetched when the front    ◀── accepted
//!                              is half used up
//! ```
//!
//! A message is accepted into memory while its lane has nothing in the store only and the window has room. What is in the store
//! only costs memory just for a caller that waits for it.

use std::collections::VecDeque;
use std::time::Instant;

use super::{Entry, Outbox};
use crate::session::Context;
use crate::session::config::OutboxLimits;
use crate::session::event::{DropReason, Event, NO_TOKEN, Outcome, Token};
use crate::session::record::{Priority, Record, RecordBatch, Sequence, StoredLane};

/// The lanes beyond memory.
#[derive(Debug)]
pub(super) struct Spill {
    /// What may be in memory, in all lanes together.
    window: OutboxLimits,
    lanes: [SpilledLane; Priority::COUNT],
    fetching: bool,
}

#[derive(Debug, Default)]
struct SpilledLane {
    /// The number of the first message that is in the store only.
    next: u64,
    messages: u64,
    bytes: u64,
    /// Who waits for which number.
    tokens: VecDeque<(u64, Token)>,
}

/// Queued messages that are wanted back from the store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FetchRequest {
    /// Of this priority.
    pub priority: Priority,
    /// From this number on.
    pub from: u64,
    /// At most so many.
    pub messages: usize,
    /// Not beyond the message that reaches so many bytes.
    pub bytes: usize,
}

impl Spill {
    pub(super) fn new(window: OutboxLimits) -> Self {
        Self { window, lanes: Default::default(), fetching: false }
    }

    fn lane(&self, priority: Priority) -> Option<&SpilledLane> {
        self.lanes.get(usize::from(priority.get()))
    }

    fn lane_mut(&mut self, priority: Priority) -> Option<&mut SpilledLane> {
        self.lanes.get_mut(usize::from(priority.get()))
    }

    pub(super) fn take_tokens(&mut self, mut each: impl FnMut(Token)) {
        for lane in &mut self.lanes {
            lane.tokens.drain(..).for_each(|(_, token)| each(token));
        }
    }
}

impl Outbox {
    /// Whether a new message of this priority stays in the store.
    pub(super) fn spills(&self, priority: Priority) -> bool {
        self.spill.as_ref().is_some_and(|spill| {
            self.queued >= spill.window.messages
                || self.queued_bytes >= spill.window.bytes
                || spill.lane(priority).is_some_and(|lane| lane.messages > 0)
        })
    }

    /// A message of `len` bytes was recorded and is kept by the store alone.
    pub(super) fn push_spilled(&mut self, sequence: Sequence, len: usize, token: Token) {
        let Some(lane) = self.spill.as_mut().and_then(|s| s.lane_mut(sequence.priority())) else {
            return;
        };
        if lane.messages == 0 {
            lane.next = sequence.number();
        }
        lane.messages += 1;
        lane.bytes += len as u64;
        if token != NO_TOKEN {
            lane.tokens.push_back((sequence.number(), token));
        }
        self.status.spilled += 1;
        self.lane_mut(sequence.priority()).end = sequence.number() + 1;
    }

    /// What the store had besides its records.
    pub(crate) fn restore_spilled(&mut self, stored: &[StoredLane; Priority::COUNT]) {
        for (priority, stored) in Priority::ascending().zip(stored) {
            let lane = self.lane_mut(priority);
            lane.end = lane.end.max(stored.end);
            let Some(lane) = self.spill.as_mut().and_then(|s| s.lane_mut(priority)) else {
                continue;
            };
            lane.next = stored.next;
            lane.messages = stored.messages.min(MOST);
            lane.bytes = stored.bytes.min(MOST);
            self.status.spilled += lane.messages as usize;
            self.status.messages += lane.messages as usize;
            self.status.bytes += lane.bytes as usize;
            self.unfinished += lane.messages as usize;
        }
    }

    /// The messages that are wanted next: while there is a connection to send them on.
    pub(crate) fn poll_fetch(&mut self, cx: &Context) -> Option<FetchRequest> {
        if self.status.spilled == 0 || !cx.link.as_ref().is_some_and(|link| link.is_online()) {
            return None;
        }
        let spill = self.spill.as_mut().filter(|spill| !spill.fetching)?;
        let room = spill.window.messages.saturating_sub(self.queued);
        for priority in Priority::descending() {
            let index = usize::from(priority.get());
            let (Some(lane), Some(stored)) = (self.lanes.get(index), spill.lanes.get(index)) else {
                continue;
            };
            let starved = lane.entries.is_empty();
            let low = self.queued <= spill.window.messages / 2
                && self.queued_bytes <= spill.window.bytes / 2;
            if stored.messages > 0 && (starved || low) {
                spill.fetching = true;
                let bytes = spill.window.bytes.saturating_sub(self.queued_bytes);
                let (from, messages) = (stored.next, room.max(AT_LEAST));
                return Some(FetchRequest { priority, from, messages, bytes: bytes.max(1) });
            }
        }
        None
    }

    /// The store gave messages back: all that it has of that lane below `next`.
    pub(crate) fn handle_fetched(
        &mut self,
        cx: &mut Context,
        now: Instant,
        priority: Priority,
        next: u64,
        records: &RecordBatch,
    ) {
        for record in records.iter().flatten() {
            if let Record::Enqueue { sequence, message } = record
                && sequence.priority() == priority
                && self.is_spilled(sequence)
            {
                let encoded = self.encode_stored(cx, &message);
                let len = encoded.as_ref().map_or(0, |encoded| encoded.len as usize);
                let token = self.unspill(cx, sequence, len);
                match encoded {
                    Some(encoded) => {
                        self.push_queued(Entry::queued(sequence, encoded, token, 0));
                    }
                    None => self.lose(cx, sequence, token),
                }
            }
        }
        let Some(spill) = &mut self.spill else { return };
        spill.fetching = false;
        let end = self.lanes.get(usize::from(priority.get())).map_or(0, |lane| lane.end);
        let Some(lane) = spill.lane_mut(priority) else { return };
        lane.next = lane.next.max(next);
        if next >= end && lane.messages > 0 {
            self.lose_rest(cx, priority);
        }
        self.pump(cx, now);
    }

    /// Whether the message can be in the store only: none comes back twice.
    fn is_spilled(&self, sequence: Sequence) -> bool {
        let lane = self.spill.as_ref().and_then(|s| s.lane(sequence.priority()));
        lane.is_some_and(|lane| lane.next <= sequence.number())
    }

    /// A message is in memory again: who waits for it? Those before it that did not come are lost.
    fn unspill(&mut self, cx: &mut Context, sequence: Sequence, len: usize) -> Token {
        let mut found = NO_TOKEN;
        let mut lost = Vec::new();
        let Some(lane) = self.spill.as_mut().and_then(|s| s.lane_mut(sequence.priority())) else {
            return found;
        };
        // What the store said of the bytes was an estimate, perhaps: the last message settles it.
        let share = if lane.messages <= 1 { lane.bytes } else { lane.bytes.min(len as u64) };
        lane.bytes -= share;
        self.status.bytes = self.status.bytes.saturating_sub(share as usize) + len;
        lane.next = sequence.number() + 1;
        if lane.messages == 0 {
            // The store has more than it said.
            self.status.messages += 1;
            self.unfinished += 1;
        } else {
            lane.messages -= 1;
            self.status.spilled -= 1;
        }
        while let Some(&(number, token)) = lane.tokens.front()
            && number <= sequence.number()
        {
            lane.tokens.pop_front();
            if number == sequence.number() {
                found = token;
            } else {
                lost.push(token);
            }
        }
        lost.into_iter()
            .for_each(|token| cx.complete(token, Outcome::Dropped(DropReason::Damaged)));
        found
    }

    /// The store has nothing more of a lane, although it should: what is missing is damaged.
    fn lose_rest(&mut self, cx: &mut Context, priority: Priority) {
        let Some(lane) = self.spill.as_mut().and_then(|s| s.lane_mut(priority)) else { return };
        let count = std::mem::take(&mut lane.messages) as usize;
        let bytes = std::mem::take(&mut lane.bytes) as usize;
        let tokens = std::mem::take(&mut lane.tokens);
        for (_, token) in tokens {
            cx.complete(token, Outcome::Dropped(DropReason::Damaged));
        }
        self.status.spilled -= count;
        self.status.messages -= count;
        self.status.bytes = self.status.bytes.saturating_sub(bytes);
        self.unfinished -= count;
        self.totals.dropped += count as u64;
        cx.events.push_back(Event::MessageDropped { reason: DropReason::Damaged, count });
    }

    /// A message that came back cannot be encoded.
    fn lose(&mut self, cx: &mut Context, sequence: Sequence, token: Token) {
        cx.journal.push(|| Record::Done { sequence });
        self.status.messages -= 1;
        self.unfinished -= 1;
        self.count_drop(cx, DropReason::Damaged);
        cx.complete(token, Outcome::Dropped(DropReason::Damaged));
    }
}

/// Messages in a fetch, even if those of other priorities fill the window.
const AT_LEAST: usize = 16;
/// More messages or bytes than any disk holds: what is above it is damage, and must not overflow.
const MOST: u64 = 1 << 48;

//! The end of messages: finished, given up, lost.

use super::encoded::Encoded;
use super::{Entry, Outbox, State, at_mut};
use crate::session::Context;
use crate::session::event::{DropReason, Event, NO_TOKEN, Outcome, Token};
use crate::session::record::Record;

impl Outbox {
    /// A message of the flight is finished. A refusal for which nobody waits becomes an event.
    pub(super) fn finish(&mut self, cx: &mut Context, place: u64, outcome: Outcome) {
        if let Outcome::Refused { reason, reason_string, .. } = &outcome
            && let Some(entry) = self.at(place)
            && entry.state != State::Gone
            && entry.token == NO_TOKEN
        {
            let topic = super::encoded::topic_of(self.arena.get(entry.encoded.span)).to_owned();
            let (reason, reason_string) = (*reason, reason_string.clone());
            cx.events.push_back(Event::MessageRefused { topic, reason, reason_string });
        }
        let failed = match &outcome {
            Outcome::Acknowledged { .. } => None,
            other => self.at(place).and_then(|entry| self.failed(cx, entry, other)),
        };
        let token = match failed {
            Some(failed) => {
                let kept = failed.sequence.is_some();
                cx.events.push_back(Event::MessageFailed(failed));
                self.take_out(cx, place, kept)
            }
            None => self.retire(cx, place),
        };
        cx.complete(token, outcome);
    }

    /// Takes a message out of the flight, and says who waits for it.
    #[inline]
    pub(super) fn retire(&mut self, cx: &mut Context, place: u64) -> Token {
        self.take_out(cx, place, false)
    }

    /// `kept`: it stays in the store.
    #[inline(always)]
    fn take_out(&mut self, cx: &mut Context, place: u64, kept: bool) -> Token {
        let Some(entry) = at_mut(&mut self.flight, self.base, place) else { return NO_TOKEN };
        if entry.state == State::Gone {
            return NO_TOKEN;
        }
        entry.state = State::Gone;
        entry.encoded.payload = None;
        if place < self.admitted || entry.released_here {
            self.status.in_flight = self.status.in_flight.saturating_sub(1);
        }
        if let Some(id) = entry.id.take() {
            cx.ids.free(id);
        }
        let (sequence, token) = (entry.sequence, std::mem::replace(&mut entry.token, NO_TOKEN));
        self.status.bytes -= entry.encoded.len as usize;
        self.status.messages -= 1;
        self.unfinished -= 1;
        self.arena.remove(entry.encoded.span);
        cx.journal.push(|| match kept {
            // Without its id, which is free now.
            true => Record::Requeue { sequence },
            false => Record::Done { sequence },
        });
        self.pop_gone();
        token
    }

    /// Forgets what is finished at the front of the flight.
    #[inline(always)]
    pub(super) fn pop_gone(&mut self) {
        while self.flight.front().is_some_and(|e| e.state == State::Gone) {
            self.flight.drop_front();
            self.base += 1;
        }
        self.admitted = self.admitted.max(self.base);
        self.sent = self.sent.max(self.base);
    }

    /// A message of the flight will not be sent on.
    pub(super) fn give_up(&mut self, cx: &mut Context, place: u64, reason: DropReason) {
        self.count_drop(cx, reason);
        // `finish` takes back the quota of every entry below `admitted`; this one has none yet.
        if place < self.admitted {
            self.status.in_flight += 1;
        }
        self.finish(cx, place, Outcome::Dropped(reason));
    }

    /// A message that left its lane will not be sent.
    pub(super) fn give_up_queued(&mut self, cx: &mut Context, entry: Entry, reason: DropReason) {
        self.count_drop(cx, reason);
        self.queued -= 1;
        self.queued_bytes -= entry.encoded.len as usize;
        self.unfinished -= 1;
        let outcome = Outcome::Dropped(reason);
        let failed = self.failed(cx, &entry, &outcome);
        if failed.as_ref().is_none_or(|failed| failed.sequence.is_none()) {
            cx.journal.push(|| Record::Done { sequence: entry.sequence });
        }
        if let Some(failed) = failed {
            cx.events.push_back(Event::MessageFailed(failed));
        }
        cx.complete(entry.token, outcome);
        self.discard(&entry.encoded);
    }

    pub(super) fn forget_qos0(
        &mut self,
        cx: &mut Context,
        encoded: &Encoded,
        token: Token,
        reason: DropReason,
    ) {
        self.count_drop(cx, reason);
        cx.complete(token, Outcome::Dropped(reason));
        self.discard(encoded);
    }

    pub(super) fn discard(&mut self, encoded: &Encoded) {
        self.arena.remove(encoded.span);
        self.status.messages -= 1;
        self.status.bytes -= encoded.len as usize;
    }

    pub(super) fn count_drop(&mut self, cx: &mut Context, reason: DropReason) {
        self.totals.dropped += 1;
        cx.events.push_back(Event::MessageDropped { reason, count: 1 });
    }

    /// The session ends, or what it knows: everybody who waits is told.
    pub(crate) fn close(&mut self, cx: &mut Context, outcome: &Outcome) {
        for (_, token) in std::mem::take(&mut self.qos0) {
            cx.complete(token, outcome.clone());
        }
        let queued = self.lanes.iter_mut().rev().flat_map(|lane| &mut lane.entries);
        for entry in self.flight.iter_mut().chain(queued) {
            cx.complete(std::mem::replace(&mut entry.token, NO_TOKEN), outcome.clone());
        }
        if let Some(spill) = &mut self.spill {
            spill.take_tokens(|token| cx.complete(token, outcome.clone()));
        }
    }
}

//! The outbox from the records of a store.

use super::{Entry, Outbox, State};
use crate::PacketId;
use crate::session::Context;
use crate::session::event::NO_TOKEN;
use crate::session::packet_ids::Owner;
use crate::session::record::{Sequence, StoredMessage};

impl Outbox {
    pub(crate) fn restore_message(
        &mut self,
        cx: &mut Context,
        sequence: Sequence,
        message: &StoredMessage<'_>,
    ) {
        if sequence.number() < self.lane_mut(sequence.priority()).end {
            return;
        }
        let Some(encoded) = self.encode_stored(cx, message) else { return };
        self.status.messages += 1;
        self.status.bytes += encoded.len as usize;
        self.unfinished += 1;
        self.push_queued(Entry::queued(sequence, encoded, NO_TOKEN, 0));
    }

    /// The message may have left with this id: it goes out again with DUP.
    pub(crate) fn restore_id(
        &mut self,
        cx: &mut Context,
        sequence: Sequence,
        id: PacketId,
        order: u64,
    ) {
        let place = self.end();
        self.assignments = self.assignments.max(order.saturating_add(1));
        let Some(mut entry) = self.take_queued(sequence) else { return };
        if cx.ids.restore(id, Owner::Publish(place)) {
            entry.id = Some(id);
            entry.state = State::Sent;
            self.flight.push_back(entry);
        } else {
            self.put_back(entry);
        }
    }

    pub(crate) fn restore_release(&mut self, sequence: Sequence) {
        let found = self.flight.iter_mut().rev().find(|entry| entry.is(sequence));
        if let Some(entry) = found.filter(|entry| entry.state == State::Sent) {
            entry.state = State::Released;
        }
    }

    pub(crate) fn restore_requeue(&mut self, cx: &mut Context, sequence: Sequence) {
        let Some(index) = self.flight.iter().position(|entry| entry.is(sequence)) else { return };
        let Some(entry) = self.flight.get_mut(index) else { return };
        let Some(id) = entry.id.take() else { return };
        cx.ids.free(id);
        // The place stays, so that those behind it keep theirs: without an encoded packet it is nothing.
        let mut entry = std::mem::replace(entry, Entry::gone());
        entry.state = State::Queued;
        self.put_back(entry);
        self.drop_gone();
    }

    pub(crate) fn restore_done(&mut self, cx: &mut Context, sequence: Sequence) {
        if let Some(entry) = self.take_queued(sequence) {
            self.unfinished -= 1;
            self.discard(&entry.encoded);
        } else if let Some(entry) = self.flight.iter_mut().find(|entry| entry.is(sequence)) {
            entry.state = State::Gone;
            if let Some(id) = entry.id.take() {
                cx.ids.free(id);
            }
            let (span, len) = (entry.encoded.span, entry.encoded.len);
            entry.encoded.payload = None;
            self.arena.remove(span);
            self.status.messages -= 1;
            self.status.bytes -= len as usize;
            self.unfinished -= 1;
            self.drop_gone();
        }
    }

    /// Everything is restored: connections begin at the front.
    pub(crate) fn restored(&mut self) {
        self.rewind();
    }

    fn drop_gone(&mut self) {
        while self.flight.front().is_some_and(|entry| entry.state == State::Gone) {
            self.flight.drop_front();
            self.base += 1;
        }
        (self.admitted, self.sent) = (self.base, self.base);
    }

    fn take_queued(&mut self, sequence: Sequence) -> Option<Entry> {
        let entries = &mut self.lane_mut(sequence.priority()).entries;
        let index = entries.binary_search_by_key(&sequence, |entry| entry.sequence).ok()?;
        let entry = entries.remove(index)?;
        self.queued -= 1;
        self.queued_bytes -= entry.encoded.len as usize;
        Some(entry)
    }

    /// Into its lane again, at its place.
    fn put_back(&mut self, entry: Entry) {
        self.queued += 1;
        self.queued_bytes += entry.encoded.len as usize;
        let entries = &mut self.lane_mut(entry.sequence.priority()).entries;
        let index = entries.partition_point(|other| other.sequence < entry.sequence);
        entries.insert(index, entry);
    }
}

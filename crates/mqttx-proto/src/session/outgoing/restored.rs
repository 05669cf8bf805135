//! The outbox from the records of a store.

use std::time::Instant;

use super::{Entry, Outbox, Outgoing, State, entry_mut};
use crate::PacketId;
use crate::session::Context;
use crate::session::event::{NO_TOKEN, Outcome};
use crate::session::packet_ids::Owner;
use crate::session::record::{Journal, StoredMessage};

impl Outbox {
    pub(crate) fn restore_message(
        &mut self,
        cx: &mut Context,
        now: Instant,
        sequence: u64,
        message: &StoredMessage<'_>,
    ) {
        if self.entries.is_empty() {
            self.base = sequence;
            self.rewind();
        }
        if sequence != self.end() {
            return;
        }
        let payload = bytes::Bytes::copy_from_slice(message.payload);
        let outgoing = Outgoing {
            topic: message.topic,
            payload: &payload,
            qos: message.qos,
            retain: message.retain,
            properties: message.properties,
            expires_at: None,
        };
        let Ok(encoded) = self.encode(cx.config.version, now, &outgoing) else { return };
        self.status.messages += 1;
        self.status.bytes += encoded.len as usize;
        self.unfinished += 1;
        self.note_expiry(&encoded);
        self.entries.push_back(Entry {
            encoded,
            state: State::Queued,
            id: None,
            released_here: false,
            recovered: false,
            token: NO_TOKEN,
            lsn: 0,
        });
    }

    /// The message may have left with this id: it goes out again with DUP.
    pub(crate) fn restore_id(&mut self, cx: &mut Context, sequence: u64, id: PacketId) {
        if let Some(entry) = entry_mut(&mut self.entries, self.base, sequence)
            && entry.state == State::Queued
            && cx.ids.restore(id, Owner::Publish(sequence))
        {
            entry.id = Some(id);
            entry.state = State::Sent;
        }
    }

    pub(crate) fn restore_release(&mut self, sequence: u64) {
        if let Some(entry) = entry_mut(&mut self.entries, self.base, sequence)
            && entry.state == State::Sent
        {
            entry.state = State::Released;
        }
    }

    pub(crate) fn restore_requeue(&mut self, cx: &mut Context, sequence: u64) {
        if let Some(entry) = entry_mut(&mut self.entries, self.base, sequence)
            && let Some(id) = entry.id.take()
        {
            cx.ids.free(id);
            entry.state = State::Queued;
        }
    }

    pub(crate) fn restore_done(&mut self, cx: &mut Context, sequence: u64) {
        // Not a change of ours: it is in the store already.
        let mut silent = std::mem::replace(&mut cx.journal, Journal::new(false));
        self.finish(cx, sequence, Outcome::Closed);
        std::mem::swap(&mut silent, &mut cx.journal);
    }
}

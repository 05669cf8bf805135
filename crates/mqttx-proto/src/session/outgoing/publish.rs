//! Accepting messages: checks, limits, the way into the write queue or the outbox.

use std::time::Instant;

use super::encoded::{Encoded, alias_of, check_properties};
use super::{Entry, Outbox, Outgoing, State};
use crate::session::Context;
use crate::session::event::{Accepted, DropReason, PublishError, Token};
use crate::session::record::{Lsn, Record, StoredMessage};
use crate::write_queue::BY_REFERENCE;
use crate::{QoS, encode_publish, validate_topic};

impl Outbox {
    pub(crate) fn publish(
        &mut self,
        cx: &mut Context,
        now: Instant,
        message: &Outgoing<'_>,
        token: Token,
    ) -> Result<Accepted, PublishError> {
        validate_topic(message.topic).map_err(PublishError::Topic)?;
        if !message.properties.is_empty() {
            check_properties(message.properties).map_err(PublishError::Property)?;
        }
        if self.status.messages >= cx.config.outbox.messages {
            return Err(PublishError::OutboxFull);
        }
        let direct = message.qos == QoS::AtMostOnce
            && self.qos0.is_empty()
            && message.expires_at.is_none()
            && cx.link.as_ref().is_some_and(|link| link.is_online() && link.has_room());
        if direct {
            return self.publish_direct(cx, message, token);
        }
        let encoded = self.encode(cx.config.version, now, message)?;
        let len = encoded.len as usize;
        let allowed = match cx.link.as_ref().filter(|link| link.is_online()) {
            Some(link) => link.allows(&encoded).map_err(PublishError::NotAllowed),
            None => Ok(()),
        };
        let full = self.status.bytes + len > cx.config.outbox.bytes && self.status.messages > 0;
        if full || allowed.is_err() {
            self.arena.remove(encoded.span);
            allowed?;
            return Err(PublishError::OutboxFull);
        }
        self.status.messages += 1;
        self.status.bytes += len;
        self.note_expiry(&encoded);
        let lsn = if encoded.qos == QoS::AtMostOnce {
            self.qos0.push_back((encoded, token));
            0
        } else {
            self.enqueue(cx, encoded, message, token)
        };
        self.pump(cx, now);
        Ok(Accepted { lsn, packet_len: len })
    }

    pub(super) fn enqueue(
        &mut self,
        cx: &mut Context,
        encoded: Encoded,
        message: &Outgoing<'_>,
        token: Token,
    ) -> Lsn {
        let sequence = self.end();
        let lsn = cx.journal.push(|| Record::Enqueue {
            sequence: super::named(sequence),
            message: StoredMessage {
                topic: message.topic,
                payload: message.payload,
                qos: message.qos,
                retain: message.retain,
                properties: message.properties,
                expires_at: None,
                give_up_at: None,
            },
        });
        self.unfinished += 1;
        self.entries.push_back(Entry {
            encoded,
            state: State::Queued,
            id: None,
            released_here: false,
            recovered: false,
            token,
            lsn,
        });
        lsn
    }

    /// QoS 0 with a connection and room: encoded straight into the write queue.
    pub(super) fn publish_direct(
        &mut self,
        cx: &mut Context,
        message: &Outgoing<'_>,
        token: Token,
    ) -> Result<Accepted, PublishError> {
        let Some(link) = cx.link.as_mut() else { return Err(PublishError::OutboxFull) };
        let alias = alias_of(message.properties);
        let by_reference = message.payload.len() >= BY_REFERENCE;
        let out = link.writes.bytes_mut();
        let start = out.len();
        let layout = encode_publish(
            cx.config.version,
            false,
            message.qos,
            message.retain,
            message.topic,
            0,
            message.properties,
            message.payload.len(),
            out,
        )
        .map_err(PublishError::Encode)?;
        let encoded_len = layout.total_len;
        if let Err(reason) = link.limits_allow(encoded_len, alias, message.qos, message.retain) {
            link.writes.bytes_mut().truncate(start);
            return Err(PublishError::NotAllowed(reason));
        }
        if by_reference {
            link.writes.push_payload(message.payload.clone());
        } else {
            link.writes.bytes_mut().extend_from_slice(message.payload);
        }
        link.on_qos0_encoded(token);
        self.totals.messages += 1;
        self.totals.bytes += encoded_len as u64;
        Ok(Accepted { lsn: 0, packet_len: encoded_len })
    }
    /// Gives up the oldest message that was never sent, so that a newer one fits.
    pub(crate) fn drop_oldest(&mut self, cx: &mut Context) -> bool {
        if let Some((encoded, token)) = self.qos0.pop_front() {
            self.forget_qos0(cx, &encoded, token, DropReason::Evicted);
            return true;
        }
        let from = self.assigned.max(self.base);
        for sequence in from..self.end() {
            if self.entry(sequence).is_some_and(|e| e.state == State::Queued) {
                self.give_up(cx, sequence, DropReason::Evicted);
                return true;
            }
        }
        false
    }
}

//! Accepting messages: checks, limits, the way into the write queue, the outbox or the store.

use std::time::Instant;

use super::checked::Checked;
use super::encoded::Encoded;
use super::{Entry, Outbox, Outgoing, PlainMessage};
use crate::session::Context;
use crate::session::event::{Accepted, DropReason, PublishError, Token};
use crate::session::record::{Lsn, Record, Sequence, StoredMessage};
use crate::write_queue::BY_REFERENCE;
use crate::{Publish, QoS};

impl Outbox {
    #[inline]
    pub(crate) fn publish(
        &mut self,
        cx: &mut Context,
        now: Instant,
        message: &Outgoing<'_>,
        token: Token,
    ) -> Result<Accepted, PublishError> {
        // A look at what stops most messages saves those two ways.
        let waits = self.queued > 0 || !cx.journal.is_off();
        let plain = match message.qos {
            QoS::AtLeastOnce | QoS::ExactlyOnce if waits => None,
            _ => PlainMessage::of(message),
        };
        match plain.and_then(|plain| self.publish_plain(cx, &plain, token)) {
            Some(packet_len) => Ok(Accepted { lsn: 0, packet_len }),
            None => self.publish_any(cx, now, message, token),
        }
    }

    #[inline(never)]
    fn publish_any(
        &mut self,
        cx: &mut Context,
        now: Instant,
        message: &Outgoing<'_>,
        token: Token,
    ) -> Result<Accepted, PublishError> {
        let message = &Checked::new(message)?;
        let (limits, qos0) = (&cx.config.outbox, message.qos == QoS::AtMostOnce);
        // QoS 0 does not wait for the store.
        if self.status.messages >= limits.messages || !(qos0 || self.store_keeps_up(cx)) {
            return Err(PublishError::OutboxFull);
        }
        if self.is_clear(cx, message) {
            return self.publish_at_once(cx, message, token);
        }
        self.publish_in_turn(cx, now, message, token)
    }

    /// The message waits for others, for quota, the socket, the store or a connection.
    fn publish_in_turn(
        &mut self,
        cx: &mut Context,
        now: Instant,
        message: &Checked<'_>,
        token: Token,
    ) -> Result<Accepted, PublishError> {
        if message.qos != QoS::AtMostOnce && self.spills(message.priority) {
            return self.publish_spilled(cx, now, message, token);
        }
        let expiry = message.expiry(now);
        let encoded = self.encode(cx.config.version, expiry, message)?;
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
        let lsn = if encoded.qos == QoS::AtMostOnce {
            self.note_expiry(&encoded);
            self.qos0.push_back((encoded, token));
            0
        } else {
            self.enqueue(cx, expiry, encoded, message, token)
        };
        self.pump(cx, now);
        Ok(Accepted { lsn, packet_len: len })
    }

    /// Whether anything more is accepted: within the limits, and while the store keeps up.
    pub(crate) fn has_room(&self, cx: &Context) -> bool {
        let limits = &cx.config.outbox;
        self.status.messages < limits.messages
            && self.status.bytes < limits.bytes
            && self.store_keeps_up(cx)
    }

    fn store_keeps_up(&self, cx: &Context) -> bool {
        cx.journal.pending_bytes() < cx.config.journal_limit
    }

    #[inline(always)]
    fn enqueue(
        &mut self,
        cx: &mut Context,
        expiry: Option<Instant>,
        encoded: Encoded,
        message: &Checked<'_>,
        token: Token,
    ) -> Lsn {
        let (sequence, lsn) = self.record(cx, expiry, message);
        self.push_queued(Entry::queued(sequence, encoded, token, lsn));
        lsn
    }

    /// Gives the message its name and its record.
    #[inline(always)]
    fn record(
        &mut self,
        cx: &mut Context,
        expiry: Option<Instant>,
        message: &Checked<'_>,
    ) -> (Sequence, Lsn) {
        let sequence = Sequence::new(message.priority, self.lane_mut(message.priority).end);
        let clock = cx.config.clock;
        let lsn = cx.journal.push(|| Record::Enqueue {
            sequence,
            message: StoredMessage {
                topic: message.topic,
                payload: &message.payload,
                qos: message.qos,
                retain: message.retain,
                properties: message.properties,
                expires_at: expiry.and_then(|at| Some(clock?.unix_ms(at))),
                give_up_at: message.expires_at.and_then(|at| Some(clock?.unix_ms(at))),
                origin: message.origin,
            },
        });
        self.unfinished += 1;
        (sequence, lsn)
    }

    /// Memory has its share: the store alone keeps the message.
    fn publish_spilled(
        &mut self,
        cx: &mut Context,
        now: Instant,
        message: &Checked<'_>,
        token: Token,
    ) -> Result<Accepted, PublishError> {
        let len = self.check_encodable(cx, message)?;
        if let Some(link) = cx.link.as_ref().filter(|link| link.is_online()) {
            link.limits_allow(len, message.alias(), message.qos, message.retain)
                .map_err(PublishError::NotAllowed)?;
        }
        if self.status.bytes + len > cx.config.outbox.bytes {
            return Err(PublishError::OutboxFull);
        }
        let (sequence, lsn) = self.record(cx, message.expiry(now), message);
        self.status.messages += 1;
        self.status.bytes += len;
        self.push_spilled(sequence, len, token);
        Ok(Accepted { lsn, packet_len: len })
    }

    /// The size of the packet, if there can be one.
    fn check_encodable(
        &mut self,
        cx: &Context,
        message: &Checked<'_>,
    ) -> Result<usize, PublishError> {
        let publish = Publish {
            dup: false,
            qos: message.qos,
            retain: message.retain,
            topic: message.topic,
            packet_id: None,
            properties: message.properties,
            payload: &message.payload,
        };
        let len = publish.encoded_len(cx.config.version);
        if message.payload.len() < BY_REFERENCE && message.topic.len() < BY_REFERENCE {
            return Ok(len);
        }
        // Only what is near a limit is encoded to see whether it can be.
        let encoded = self.encode(cx.config.version, None, message)?;
        self.arena.remove(encoded.span);
        Ok(encoded.len as usize)
    }

    /// Gives up the oldest message of the lowest priority that was never sent, so that a newer one fits.
    pub(crate) fn drop_oldest(&mut self, cx: &mut Context) -> bool {
        if let Some((encoded, token)) = self.qos0.pop_front() {
            self.forget_qos0(cx, &encoded, token, DropReason::Evicted);
            return true;
        }
        let oldest = self.lanes.iter_mut().find_map(|lane| lane.entries.pop_front());
        let Some(entry) = oldest else { return false };
        self.give_up_queued(cx, entry, DropReason::Evicted);
        true
    }
}

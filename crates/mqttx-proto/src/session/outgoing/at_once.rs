//! The short way: a message before which nothing waits is encoded straight into the write queue.
//!
//! It leaves the outbox as the long way, by lane and walk ([`pump`](super::pump)), would leave it.

use bytes::Bytes;

use super::checked::Checked;
use super::encoded::{Encoded, overwrite};
use super::{Outbox, State};
use crate::session::Context;
use crate::session::event::{Accepted, PublishError, Token};
use crate::session::link::Link;
use crate::session::packet_ids::Owner;
use crate::session::record::{Priority, Sequence};
use crate::write_queue::BY_REFERENCE;
use crate::{PacketId, PublishLayout, QoS, Version};

impl Outbox {
    /// Whether the message would go through to the write queue without a stop: nothing is before it, there is a connection with
    /// room and quota, no store is to have it first, and it does not expire.
    pub(super) fn is_clear(&self, cx: &Context, message: &Checked<'_>) -> bool {
        let Some(link) = cx.link.as_deref() else { return false };
        if !link.is_online() || !link.has_room() || message.expires_at.is_some() {
            return false;
        }
        if message.qos == QoS::AtMostOnce {
            return self.qos0.is_empty();
        }
        self.queued == 0
            && self.sent == self.end()
            && self.status.in_flight < Self::quota(link, &cx.config, message.qos)
            && cx.journal.is_off()
            && self.guard.is_none()
            && !cx.ids.are_exhausted()
            && !message.expires()
    }

    /// Sends a message whose way [`is_clear`](Self::is_clear).
    #[inline]
    pub(super) fn publish_at_once(
        &mut self,
        cx: &mut Context,
        message: &Checked<'_>,
        token: Token,
    ) -> Result<Accepted, PublishError> {
        let Some(link) = cx.link.as_deref_mut() else { return Err(PublishError::OutboxFull) };
        let start = link.writes.bytes_mut().len();
        let layout = link.encode_head(cx.config.version, message)?;
        let len = layout.total_len;
        let shared = (message.payload.len() >= BY_REFERENCE).then(|| message.payload.to_bytes());
        if shared.is_none() {
            link.writes.bytes_mut().extend_from_slice(&message.payload);
        }
        if message.qos != QoS::AtMostOnce {
            let fits =
                self.status.messages == 0 || self.status.bytes + len <= cx.config.outbox.bytes;
            let id = if fits { cx.ids.allocate(Owner::Publish(self.end())) } else { None };
            let Some(id) = id else {
                link.writes.bytes_mut().truncate(start);
                return Err(PublishError::OutboxFull);
            };
            let packet = link.writes.bytes_mut().get_mut(start..).unwrap_or_default();
            self.keep(packet, shared.clone(), &layout, message, id, token);
        }
        if let Some(payload) = shared {
            link.writes.push_payload(payload);
        }
        if message.qos == QoS::AtMostOnce {
            link.on_qos0_encoded(len as u32, token);
        }
        self.totals.messages += 1;
        self.totals.bytes += len as u64;
        Ok(Accepted { lsn: 0, packet_len: len })
    }

    /// Gives the packet its id, and keeps it in the flight until it is acknowledged.
    #[inline]
    fn keep(
        &mut self,
        packet: &mut [u8],
        payload: Option<Bytes>,
        layout: &PublishLayout,
        message: &Checked<'_>,
        id: PacketId,
        token: Token,
    ) {
        let id_offset = layout.packet_id_offset.unwrap_or(0);
        overwrite(packet, id_offset, &id.get().to_be_bytes());
        let span = self.arena.keep(packet);
        let Some(place) = self.take_off(message.priority, id, token, layout.total_len) else {
            return;
        };
        *place = Encoded {
            span,
            payload,
            len: layout.total_len as u32,
            id_offset: id_offset as u32,
            expiry_offset: 0,
            expiry: None,
            alias: message.alias(),
            qos: message.qos,
            retain: message.retain,
            origin: message.origin,
        };
    }

    /// A packet of `len` bytes that left without having waited is in the flight until it is acknowledged. The caller writes
    /// where it lies, all but a payload and an expiry, of which there are none.
    #[inline(always)]
    pub(super) fn take_off(
        &mut self,
        priority: Priority,
        id: PacketId,
        token: Token,
        len: usize,
    ) -> Option<&mut Encoded> {
        let lane = self.lane_mut(priority);
        let sequence = Sequence::new(priority, lane.end);
        lane.end += 1;
        self.admitted += 1;
        self.sent += 1;
        self.assignments += 1;
        self.unfinished += 1;
        self.status.in_flight += 1;
        self.status.messages += 1;
        self.status.bytes += len;
        let entry = self.flight.push_slot()?;
        (entry.sequence, entry.token, entry.lsn) = (sequence, token, 0);
        (entry.state, entry.id) = (State::Sent, Some(id));
        (entry.released_here, entry.recovered) = (false, false);
        Some(&mut entry.encoded)
    }
}

impl Link {
    /// Encodes what of the packet comes before the payload, if CONNACK allows the whole.
    #[inline]
    fn encode_head(
        &mut self,
        version: Version,
        message: &Checked<'_>,
    ) -> Result<PublishLayout, PublishError> {
        let out = self.writes.bytes_mut();
        let start = out.len();
        let layout = message.head().encode(version, out);
        let layout = layout.map_err(PublishError::Encode)?;
        match self.limits_allow(layout.total_len, message.alias(), message.qos, message.retain) {
            Ok(()) => Ok(layout),
            Err(reason) => {
                self.writes.bytes_mut().truncate(start);
                Err(PublishError::NotAllowed(reason))
            }
        }
    }
}

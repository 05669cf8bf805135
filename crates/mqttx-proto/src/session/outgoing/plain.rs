//! The shortest way, that of most messages: small, with no properties or known ones, and nothing is before them.
//!
//! What stops such a message is asked for in a few comparisons, and it leaves the outbox as
//! [`at_once`](super::at_once) would. The same for their end: a PUBACK for the oldest message in flight.

use super::{Outbox, Outgoing, State};
use crate::packet::Plain;
use crate::session::Context;
use crate::session::event::{Outcome, Token};
use crate::session::packet_ids::Owner;
use crate::session::record::Priority;
use crate::topic::is_topic;
use crate::write_queue::BY_REFERENCE;
use crate::{PacketId, PacketType, PropertiesRef, PropertyContext, PropertyId, QoS, ReasonCode};

/// Properties that say nothing of a message's way, and are short: they were looked at once, and go out as they are.
#[derive(Debug, Clone, Copy)]
pub struct PlainProperties<'a>(&'a [u8]);

impl<'a> PlainProperties<'a> {
    /// None.
    pub const EMPTY: Self = Self(&[]);

    /// `None` if a PUBLISH of a client must not carry these, if they are longer than 127 bytes, or if there is a topic alias or a
    /// message expiry interval among them.
    #[must_use]
    pub fn of(properties: PropertiesRef<'a>) -> Option<Self> {
        let kinds = properties.kinds();
        let bytes = properties.as_bytes();
        let others = [
            PropertyId::TopicAlias,
            PropertyId::MessageExpiryInterval,
            PropertyId::SubscriptionIdentifier,
        ];
        let plain = bytes.len() < 0x80
            && properties.check_kinds(kinds, PropertyContext::Publish).is_ok()
            && !others.iter().any(|id| kinds.has(*id));
        plain.then_some(Self(bytes))
    }
}

/// A message with plain properties, which does not expire and has no origin: see
/// [`Session::publish_plain`](crate::Session::publish_plain).
#[derive(Debug, Clone, Copy)]
pub struct PlainMessage<'a> {
    /// Where it goes: a topic name without wildcards.
    pub topic: &'a str,
    /// Properties of PUBLISH; ignored in 3.1.1.
    pub properties: PlainProperties<'a>,
    /// What it carries.
    pub payload: &'a [u8],
    /// At which level.
    pub qos: QoS,
    /// Whether the server retains it.
    pub retain: bool,
    /// Which of the messages that wait for a packet id goes first.
    pub priority: Priority,
}

impl<'a> PlainMessage<'a> {
    /// The message as a plain one, if it is one.
    #[inline(always)]
    pub(super) fn of(message: &'a Outgoing<'a>) -> Option<Self> {
        let Outgoing { topic, qos, retain, priority, .. } = *message;
        let plain = message.properties.is_empty()
            && message.expires_at.is_none()
            && message.origin.is_none();
        let properties = PlainProperties::EMPTY;
        plain.then(|| Self { topic, properties, payload: &message.payload, qos, retain, priority })
    }
}

impl Outbox {
    /// Sends a message before which nothing is; `None`: it has to take a longer way, and nothing was changed.
    ///
    /// By itself, so that few registers are saved for it.
    #[inline(never)]
    pub(crate) fn publish_plain(
        &mut self,
        cx: &mut Context,
        message: &PlainMessage<'_>,
        token: Token,
    ) -> Option<usize> {
        let PlainMessage { topic, properties, payload, qos, retain, priority } = *message;
        let packet = Plain { qos, retain, topic, properties: properties.0, payload };
        let (version, limits) = (cx.config.version, &cx.config.outbox);
        let link = cx.link.as_deref_mut()?;
        let len = packet.len(version);
        let passes = packet.payload.len() < BY_REFERENCE
            && packet.topic.len() + packet.payload.len() <= Plain::LARGEST
            && link.is_online()
            && link.has_room()
            && self.status.messages < limits.messages
            && link.limits_allow(len, 0, packet.qos, packet.retain).is_ok();
        if !passes {
            return None;
        }
        if packet.qos == QoS::AtMostOnce {
            if !self.qos0.is_empty() || !is_topic(packet.topic) {
                return None;
            }
            packet.write(version, 0, link.writes.append(len));
            link.on_qos0_encoded(len as u32, token);
        } else {
            let clear = self.queued == 0
                && self.sent == self.end()
                && self.status.in_flight < Self::quota(link, &cx.config, packet.qos)
                && (self.status.messages == 0 || self.status.bytes + len <= limits.bytes)
                && cx.journal.is_off()
                && self.guard.is_none();
            if !clear || !is_topic(packet.topic) {
                return None;
            }
            let id = cx.ids.allocate(Owner::Publish(self.end()))?;
            let out = link.writes.append(len);
            packet.write(version, id.get(), out);
            let span = self.arena.keep(out);
            if let Some(encoded) = self.take_off(priority, id, token, len) {
                encoded.span = span;
                (encoded.len, encoded.id_offset) = (len as u32, packet.id_offset(len) as u32);
                (encoded.qos, encoded.retain) = (packet.qos, packet.retain);
                (encoded.expiry_offset, encoded.alias, encoded.origin) = (0, 0, None);
            }
        }
        self.totals.messages += 1;
        self.totals.bytes += len as u64;
        Some(len)
    }

    /// The first byte of each PUBACK.
    pub(crate) const PUBACK: u8 = (PacketType::PubAck as u8) << 4;

    /// Takes the PUBACKs at the start of `input`, as long as each of them is for the oldest message in flight; the bytes of those.
    pub(crate) fn on_pubacks(&mut self, cx: &mut Context, input: &[u8]) -> usize {
        let takes = cx.journal.is_off()
            && cx.link.as_ref().is_some_and(|link| {
                link.is_online() && link.accepts_packets_up_to as usize >= PUBACK_LEN
            });
        if !takes {
            return 0;
        }
        let mut rest = input;
        loop {
            let after = self.retire_oldest(cx, rest);
            if after.len() == rest.len() {
                return input.len() - rest.len();
            }
            rest = after;
        }
    }

    /// Ends the messages of a run of PUBACKs, each for the oldest in flight, and gives what comes after the run. What is counted is
    /// counted once for all of them.
    #[inline(always)]
    fn retire_oldest<'a>(&mut self, cx: &mut Context, input: &'a [u8]) -> &'a [u8] {
        let mut rest = input;
        let (mut count, mut bytes) = (0, 0);
        let sent = self.sent.saturating_sub(self.base) as usize;
        while let Some((&[Self::PUBACK, REMAINING, high, low], after)) = rest.split_first_chunk()
            && let Some(id) = PacketId::new(u16::from_be_bytes([high, low]))
            && let Some(first) = self.flight.front()
            && first.id == Some(id)
            && (first.state, first.encoded.qos) == (State::Sent, QoS::AtLeastOnce)
            && count < sent
        {
            let (span, token) = (first.encoded.span, first.token);
            (count, bytes) = (count + 1, bytes + first.encoded.len as usize);
            rest = after;
            self.flight.drop_front();
            cx.ids.free(id);
            self.arena.remove(span);
            let reason = ReasonCode::SUCCESS;
            cx.complete(token, Outcome::Acknowledged { reason, packet_id: id });
        }
        self.base += count as u64;
        self.unfinished -= count;
        self.status.in_flight -= count;
        self.status.messages -= count;
        self.status.bytes -= bytes;
        // Behind them may be some that ended before.
        self.pop_gone();
        rest
    }
}

/// The usual PUBACK: success without a word more, in both versions.
const REMAINING: u8 = 2;
const PUBACK_LEN: usize = 4;

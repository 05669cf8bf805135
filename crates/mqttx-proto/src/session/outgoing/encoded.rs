//! A PUBLISH as it lies in the outbox, and what it takes to send it.

use std::time::Instant;

use bytes::Bytes;

use super::checked::Checked;
use super::{Outbox, Outgoing};
use crate::session::Context;
use crate::session::arena::Arena;
use crate::session::arena::Span;
use crate::session::event::{DropReason, PublishError};
use crate::session::link::Link;
use crate::session::record::{Origin, Priority, StoredMessage};
use crate::write_queue::BY_REFERENCE;
use crate::{PacketId, QoS, Version};

/// An encoded PUBLISH.
#[derive(Debug)]
pub(super) struct Encoded {
    pub(super) span: Span,
    /// A large payload, which follows the span's bytes.
    pub(super) payload: Option<Bytes>,
    /// Of the whole packet, in bytes.
    pub(super) len: u32,
    pub(super) id_offset: u32,
    pub(super) expiry_offset: u32,
    pub(super) expiry: Option<Box<Expiry>>,
    pub(super) alias: u16,
    pub(super) qos: QoS,
    pub(super) retain: bool,
    pub(super) origin: Option<Origin>,
}

/// The two ways for a message to become worthless.
#[derive(Debug)]
pub(super) struct Expiry {
    /// The outbox gives it up.
    time_to_live: Option<Instant>,
    /// Its message expiry interval, counted from its acceptance.
    message: Option<Instant>,
}

impl Outbox {
    /// Encodes a message; `expiry`: when its message expiry interval is over.
    #[inline(always)]
    pub(super) fn encode(
        &mut self,
        version: Version,
        expiry: Option<Instant>,
        message: &Checked<'_>,
    ) -> Result<Encoded, PublishError> {
        let by_reference = message.payload.len() >= BY_REFERENCE;
        let copied = if by_reference { 0 } else { message.payload.len() };
        let bound = message.topic.len() + message.properties.as_bytes().len() + copied + 16;
        let (out, start) = self.arena.begin(bound);
        let layout = match message.head().encode(version, out) {
            Ok(layout) => layout,
            Err(error) => {
                out.truncate(start);
                return Err(PublishError::Encode(error));
            }
        };
        if !by_reference {
            out.extend_from_slice(&message.payload);
        }
        let span = self.arena.end(start);
        let message_expiry = expiry.filter(|_| layout.message_expiry_offset.is_some());
        let expiry = (message_expiry.is_some() || message.expires_at.is_some()).then(|| {
            Box::new(Expiry { time_to_live: message.expires_at, message: message_expiry })
        });
        Ok(Encoded {
            span,
            payload: by_reference.then(|| message.payload.to_bytes()),
            len: layout.total_len as u32,
            id_offset: layout.packet_id_offset.unwrap_or(0) as u32,
            expiry_offset: layout.message_expiry_offset.unwrap_or(0) as u32,
            expiry,
            alias: message.alias(),
            qos: message.qos,
            retain: message.retain,
            origin: message.origin,
        })
    }

    /// Encodes what a store kept; `None`: it is not a message that can be sent.
    pub(super) fn encode_stored(
        &mut self,
        cx: &Context,
        stored: &StoredMessage<'_>,
    ) -> Option<Encoded> {
        let message = Outgoing {
            topic: stored.topic,
            payload: stored.payload.into(),
            qos: stored.qos,
            retain: stored.retain,
            properties: stored.properties,
            expires_at: stored.give_up_at.and_then(|at| cx.clock_instant(at)),
            priority: Priority::LOWEST,
            origin: stored.origin,
        };
        let expiry = stored.expires_at.and_then(|at| cx.clock_instant(at));
        self.encode(cx.config.version, expiry, &Checked::stored(&message)).ok()
    }
}

impl Encoded {
    /// Stands where nothing is.
    pub(super) fn nothing() -> Self {
        Self {
            span: Span::EMPTY,
            payload: None,
            len: 0,
            id_offset: 0,
            expiry_offset: 0,
            expiry: None,
            alias: 0,
            qos: QoS::AtLeastOnce,
            retain: false,
            origin: None,
        }
    }

    pub(super) fn expires_at(&self) -> Option<Instant> {
        self.expiry.as_ref().and_then(|expiry| earliest(expiry.time_to_live, expiry.message))
    }

    pub(super) fn is_expired(&self, now: Instant) -> bool {
        self.expiry.is_some() && self.expires_at().is_some_and(|at| at <= now)
    }

    /// Appends the packet to the write queue, with this transmission's DUP, id and remaining expiry.
    #[inline]
    pub(super) fn write(
        &self,
        arena: &Arena,
        link: &mut Link,
        now: Instant,
        dup: bool,
        id: Option<PacketId>,
    ) {
        let out = link.writes.bytes_mut();
        let start = out.len();
        out.extend_from_slice(arena.get(self.span));
        let Some(packet) = out.get_mut(start..) else { return };
        if let (true, Some(first)) = (dup, packet.first_mut()) {
            *first |= DUP;
        }
        if let Some(id) = id {
            overwrite(packet, self.id_offset as usize, &id.get().to_be_bytes());
        }
        if let Some(at) = self.expiry.as_ref().and_then(|expiry| expiry.message) {
            let left = at.saturating_duration_since(now).as_millis().div_ceil(1000) as u32;
            overwrite(packet, self.expiry_offset as usize, &left.to_be_bytes());
        }
        if let Some(payload) = &self.payload {
            link.writes.push_payload(payload.clone());
        }
    }
}
impl Link {
    pub(super) fn allows(&self, encoded: &Encoded) -> Result<(), DropReason> {
        self.limits_allow(encoded.len as usize, encoded.alias, encoded.qos, encoded.retain)
    }

    /// What CONNACK forbids is not sent `[MQTT-3.2.2-11]`, `[MQTT-3.2.2-14]`, `[MQTT-3.2.2-15]`, `[MQTT-3.2.2-17]`.
    pub(super) fn limits_allow(
        &self,
        size: usize,
        alias: u16,
        qos: QoS,
        retain: bool,
    ) -> Result<(), DropReason> {
        let limits = &self.limits;
        if size > limits.maximum_packet_size as usize {
            Err(DropReason::TooLarge { size, limit: limits.maximum_packet_size })
        } else if qos > limits.maximum_qos {
            Err(DropReason::QoSNotSupported { maximum: limits.maximum_qos })
        } else if retain && !limits.retain_available {
            Err(DropReason::RetainNotAvailable)
        } else if alias > limits.topic_alias_maximum {
            Err(DropReason::TopicAlias { alias, maximum: limits.topic_alias_maximum })
        } else {
            Ok(())
        }
    }
}
const DUP: u8 = 0b1000;

/// The topic name of an encoded PUBLISH.
pub(super) fn topic_of(packet: &[u8]) -> &str {
    // Behind the first byte and one to four bytes of length, the last of which is below 128.
    let length_len = packet.iter().skip(1).position(|byte| byte & 0x80 == 0).unwrap_or(0) + 1;
    let topic = packet.get(1 + length_len..).and_then(|rest| {
        let (len, rest) = rest.split_first_chunk::<2>()?;
        rest.get(..usize::from(u16::from_be_bytes(*len)))
    });
    topic.and_then(|topic| str::from_utf8(topic).ok()).unwrap_or_default()
}

pub(super) fn overwrite(packet: &mut [u8], offset: usize, bytes: &[u8]) {
    if let Some(place) = packet.get_mut(offset..offset + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

pub(super) fn earliest(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

//! PUBLISH packets that follow one of the same kind: what was checked there is only compared, and a topic only where it is another.

use std::sync::Arc;

use crate::packet::check_topic;
use crate::scan::strip_prefix;
use crate::{DecodeError, Frame, PacketId, Publish, QoS};

use super::Session;
use super::event::Inbound;
use super::incoming::Admission;

/// How a PUBLISH begins, up to its payload.
#[derive(Clone, Copy)]
pub(super) struct Head<'a> {
    first_byte: u8,
    topic: &'a str,
    /// The topic with its length; what follows it as well, where that is not the packet id.
    front: &'a [u8],
    /// What is between topic and payload, but for the packet id.
    back: &'a [u8],
    /// The largest packet that is accepted.
    most: usize,
}

/// A PUBLISH that begins in the same way, but for its topic, which the head has from now on.
struct Same<'a> {
    packet_id: Option<PacketId>,
    payload: &'a [u8],
    packet_len: usize,
    after: &'a [u8],
}

impl<'a> Head<'a> {
    /// Of the packet at the front of `input`, from which `arrived` was decoded; `None` where its beginning does not say it all.
    fn of(frame: &Frame, input: &'a [u8], arrived: &Inbound<'a>, most: u32) -> Option<Self> {
        let publish = &arrived.publish;
        // An alias may mean another topic the next time.
        if !publish.properties.is_empty() && publish.properties.topic_alias().is_some() {
            return None;
        }
        let body = frame.body(input);
        let head = body.get(..body.len().checked_sub(publish.payload.len())?)?;
        let (topic, behind) = head.split_at_checked(2 + publish.topic.len())?;
        let (front, back) = match publish.qos {
            QoS::AtMostOnce => (head, behind),
            QoS::AtLeastOnce | QoS::ExactlyOnce => (topic, behind.get(2..)?),
        };
        let (first_byte, topic) = (frame.first_byte, publish.topic);
        Some(Self { first_byte, topic, front, back, most: most as usize })
    }

    /// The packet at the front of `input`, if it is whole and begins in the same way.
    #[inline(always)]
    fn split(&mut self, input: &'a [u8]) -> Option<Same<'a>> {
        let (remaining, header_len) = match *input {
            [first, ..] if first != self.first_byte => return None,
            [_, length, ..] if length < 0x80 => (usize::from(length), 2),
            [_, low, high, ..] if high < 0x80 && high > 0 => {
                (usize::from(low & 0x7f) | usize::from(high) << 7, 3)
            }
            _ => return None,
        };
        let packet_len = header_len + remaining;
        if packet_len > self.most {
            return None;
        }
        let (packet, after) = input.split_at_checked(packet_len)?;
        let body = packet.get(header_len..)?;
        let mut payload = match strip_prefix(body, self.front) {
            Some(rest) => rest,
            None => self.turn_to_topic_of(body)?,
        };
        let mut packet_id = None;
        if !self.is_at_most_once() {
            let (id, rest) = payload.split_first_chunk()?;
            packet_id = Some(PacketId::new(u16::from_be_bytes(*id))?);
            payload = strip_prefix(rest, self.back)?;
        }
        Some(Same { packet_id, payload, packet_len, after })
    }

    /// A body that differs in its topic, perhaps: what follows the front of it. `None`: it differs in more, or its topic cannot be.
    #[inline(never)]
    fn turn_to_topic_of(&mut self, body: &'a [u8]) -> Option<&'a [u8]> {
        let (len, rest) = body.split_first_chunk()?;
        let (topic, behind) = rest.split_at_checked(u16::from_be_bytes(*len).into())?;
        let at_most_once = self.is_at_most_once();
        // What costs more comes last.
        let back = if at_most_once { behind } else { behind.get(2..)? };
        if topic.is_empty() || strip_prefix(back, self.back).is_none() {
            return None;
        }
        self.topic = check_topic(topic).ok()?;
        let behind_topic = if at_most_once { self.back.len() } else { 0 };
        let (front, rest) = body.split_at_checked(2 + topic.len() + behind_topic)?;
        self.front = front;
        Some(rest)
    }

    fn is_at_most_once(&self) -> bool {
        self.first_byte & 0b110 == 0
    }
}

impl Session {
    /// Takes the packets behind the one at the front of `input`, from which the last of `inbound` was decoded, as long as they begin
    /// as that one does, but for their topics; returns the rest.
    pub(super) fn take_row<'a>(
        &mut self,
        frame: &Frame,
        input: &'a [u8],
        inbound: &mut Vec<Inbound<'a>>,
    ) -> &'a [u8] {
        let mut rest = input.get(frame.total_len..).unwrap_or_default();
        let Some(link) = self.cx.link.as_ref().filter(|link| link.is_online()) else { return rest };
        let Some(last) = inbound.last() else { return rest };
        let Some(mut head) = Head::of(frame, input, last, link.accepts_packets_up_to) else {
            return rest;
        };
        let first = last.publish;
        while let Some(same) = head.split(rest) {
            rest = same.after;
            let Same { packet_id, payload, packet_len, .. } = same;
            let publish = Publish { topic: head.topic, packet_id, payload, ..first };
            if let Err(error) = self.admit(publish, None, packet_len, inbound) {
                self.cx.fault(error);
                break;
            }
        }
        rest
    }

    /// A PUBLISH is to be delivered, unless it was before; `topic` is what its alias means.
    #[inline(always)]
    pub(super) fn admit<'a>(
        &mut self,
        publish: Publish<'a>,
        topic: Option<Arc<str>>,
        packet_len: usize,
        inbound: &mut Vec<Inbound<'a>>,
    ) -> Result<(), DecodeError> {
        let ticket = match (publish.qos, publish.packet_id) {
            (QoS::AtMostOnce, _) | (_, None) => None,
            (qos, Some(id)) => {
                match self.incoming.on_publish(&mut self.cx, id, qos, publish.dup)? {
                    Admission::Deliver(ticket) => Some(ticket),
                    Admission::Duplicate => return Ok(()),
                }
            }
        };
        // With room for sure, the message is written where it stays. Else it is built on the stack first, and its copy waits for that.
        while inbound.len() == inbound.capacity() {
            inbound.reserve(1);
        }
        inbound.push(Inbound { ticket, packet_len, publish, topic });
        Ok(())
    }
}

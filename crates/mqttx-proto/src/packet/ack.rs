//! PUBACK, PUBREC, PUBREL and PUBCOMP, sections 3.4 to 3.7: one form, four meanings.

use super::{PacketType, check_reason, put_packet, read_packet_id};
use crate::error::{DecodeError, EncodeError};
use crate::property::{PropertiesRef, PropertyContext};
use crate::reason::ReasonCode;
use crate::types::{PacketId, Version};
use crate::wire::{Reader, put_u16};

/// An answer to a PUBLISH, or to another answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ack<'a> {
    /// The message that is answered.
    pub packet_id: PacketId,
    /// How it went; always success in 3.1.1.
    pub reason: ReasonCode,
    /// The properties; empty in 3.1.1.
    pub properties: PropertiesRef<'a>,
}

impl<'a> Ack<'a> {
    /// A success without properties.
    #[must_use]
    #[inline]
    pub const fn new(packet_id: PacketId) -> Self {
        Self { packet_id, reason: ReasonCode::SUCCESS, properties: PropertiesRef::EMPTY }
    }

    /// The same with a reason, which 3.1.1 does not send.
    #[must_use]
    #[inline]
    pub const fn with_reason(packet_id: PacketId, reason: ReasonCode) -> Self {
        Self { packet_id, reason, properties: PropertiesRef::EMPTY }
    }

    /// Decodes the body of an acknowledgement of this type.
    ///
    /// # Errors
    /// 0x81 for what cannot be parsed and a packet identifier of 0; 0x82 for a reason code that
    /// this packet type does not have, or when `packet_type` is no acknowledgement.
    #[inline]
    pub fn decode(
        packet_type: PacketType,
        version: Version,
        flags: u8,
        body: &'a [u8],
    ) -> Result<Self, DecodeError> {
        packet_type.check_flags(flags)?;
        let mut reader = Reader::new(body);
        let packet_id = read_packet_id(&mut reader)?;
        if reader.is_empty() {
            return Ok(Self::new(packet_id));
        }
        Self::decode_long(packet_type, version, packet_id, reader)
    }

    fn decode_long(
        packet_type: PacketType,
        version: Version,
        packet_id: PacketId,
        mut reader: Reader<'a>,
    ) -> Result<Self, DecodeError> {
        let mut ack = Self::new(packet_id);
        if version == Version::V5 {
            ack.reason = check_reason(packet_type, ReasonCode::new(reader.u8()?))?;
            if !reader.is_empty() {
                let context = context(packet_type).ok_or(NO_ACK)?;
                ack.properties = PropertiesRef::read(&mut reader, version, context)?;
            }
        }
        reader.finish()?;
        Ok(ack)
    }

    /// Appends the whole packet in its shortest form.
    ///
    /// In 3.1.1 neither reason nor properties are written.
    ///
    /// # Errors
    /// The properties are too long; nothing was appended.
    #[inline]
    pub fn encode(
        &self,
        packet_type: PacketType,
        version: Version,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        let plain = self.reason == ReasonCode::SUCCESS && self.properties.is_empty();
        if plain || version == Version::V311 {
            let [high, low] = self.packet_id.get().to_be_bytes();
            out.extend_from_slice(&[packet_type.first_byte(), 2, high, low]);
            return Ok(());
        }
        self.encode_long(packet_type, version, out)
    }

    fn encode_long(
        &self,
        packet_type: PacketType,
        version: Version,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        let properties_len =
            if self.properties.is_empty() { 0 } else { self.properties.wire_len(version) };
        put_packet(out, packet_type.first_byte(), 3 + properties_len, |out| {
            put_u16(out, self.packet_id.get());
            out.push(self.reason.value());
            if self.properties.is_empty() { Ok(()) } else { self.properties.put(version, out) }
        })
    }
}

const fn context(packet_type: PacketType) -> Option<PropertyContext> {
    match packet_type {
        PacketType::PubAck => Some(PropertyContext::PubAck),
        PacketType::PubRec => Some(PropertyContext::PubRec),
        PacketType::PubRel => Some(PropertyContext::PubRel),
        PacketType::PubComp => Some(PropertyContext::PubComp),
        _ => None,
    }
}

const NO_ACK: DecodeError = DecodeError::protocol("the packet type is no acknowledgement");

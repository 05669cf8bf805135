//! SUBACK, section 3.9, and UNSUBACK, section 3.11.

use super::{FOREIGN_REASON, PacketType, check_reason, put_packet, read_packet_id};
use crate::error::{DecodeError, EncodeError};
use crate::property::{PropertiesRef, PropertyContext};
use crate::reason::ReasonCode;
use crate::types::{PacketId, Version};
use crate::wire::{Reader, put_u16};

/// The server's answer to SUBSCRIBE or UNSUBSCRIBE.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SubAck<'a> {
    /// The packet that is answered.
    pub packet_id: PacketId,
    /// The properties; empty in 3.1.1.
    pub properties: PropertiesRef<'a>,
    /// One validated code per filter, in the order of the filters; none in an UNSUBACK of 3.1.1.
    pub codes: &'a [u8],
}

impl<'a> SubAck<'a> {
    /// The codes, one per filter.
    pub fn reasons(&self) -> impl ExactSizeIterator<Item = ReasonCode> + use<'a> {
        self.codes.iter().map(|code| ReasonCode::new(*code))
    }

    /// Decodes the body of a SUBACK or UNSUBACK.
    ///
    /// # Errors
    /// 0x81 for what cannot be parsed, a packet identifier of 0, and in 3.1.1 a reserved return
    /// code `[MQTT-3.9.3-2]`; 0x82 for no code at all, and for one that this packet type does not
    /// have, or when `packet_type` is neither of the two.
    pub fn decode(
        packet_type: PacketType,
        version: Version,
        flags: u8,
        body: &'a [u8],
    ) -> Result<Self, DecodeError> {
        packet_type.check_flags(flags)?;
        let mut reader = Reader::new(body);
        let packet_id = read_packet_id(&mut reader)?;
        let context = match packet_type {
            PacketType::SubAck => PropertyContext::SubAck,
            PacketType::UnsubAck => PropertyContext::UnsubAck,
            _ => return Err(FOREIGN_REASON),
        };
        let properties = PropertiesRef::read(&mut reader, version, context)?;
        if version == Version::V311 && packet_type == PacketType::UnsubAck {
            reader.finish()?;
        } else if reader.is_empty() {
            return Err(NO_CODE);
        }
        let codes = reader.rest();
        for code in codes {
            match version {
                Version::V311 if !matches!(code, 0..=2 | 0x80) => return Err(RESERVED_CODE),
                Version::V311 => {}
                Version::V5 => {
                    check_reason(packet_type, ReasonCode::new(*code))?;
                }
            }
        }
        Ok(Self { packet_id, properties, codes })
    }

    /// Appends the whole packet.
    ///
    /// An UNSUBACK of 3.1.1 has no codes: they are not written.
    ///
    /// # Errors
    /// The packet is too large, or has no code; nothing was appended.
    pub fn encode(
        &self,
        packet_type: PacketType,
        version: Version,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        let codeless = version == Version::V311 && packet_type == PacketType::UnsubAck;
        let codes = if codeless { &[] } else { self.codes };
        if codes.is_empty() && !codeless {
            return Err(EncodeError::NothingInside);
        }
        let remaining = 2 + self.properties.wire_len(version) + codes.len();
        put_packet(out, packet_type.first_byte(), remaining, |out| {
            put_u16(out, self.packet_id.get());
            self.properties.put(version, out)?;
            out.extend_from_slice(codes);
            Ok(())
        })
    }
}

const NO_CODE: DecodeError = DecodeError::protocol("the acknowledgement has no code");
const RESERVED_CODE: DecodeError = DecodeError::malformed("SUBACK has a reserved return code");

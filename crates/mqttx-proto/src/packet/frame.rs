//! Finding a packet in a stream of bytes, section 2.1.

use super::{PacketType, RESERVED_FLAGS, TYPE_0, publish};
use crate::error::DecodeError;
use crate::reason::ReasonCode;
use crate::types::Version;
use crate::wire::{LONG_VARINT, OVER_LONG_VARINT, Varint, split_varint};

/// Where a packet lies in the input.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Frame {
    /// Packet type and flags.
    pub first_byte: u8,
    /// The bytes before the body: 2 to 5.
    pub header_len: usize,
    /// The bytes of header and body.
    pub total_len: usize,
}

impl Frame {
    /// The packet's type.
    #[must_use]
    #[inline]
    pub const fn packet_type(&self) -> Option<PacketType> {
        PacketType::from_first_byte(self.first_byte)
    }

    /// The packet's body, cut from the input in which the frame was found.
    #[must_use]
    #[inline]
    pub fn body<'a>(&self, input: &'a [u8]) -> &'a [u8] {
        input.get(self.header_len..self.total_len).unwrap_or_default()
    }
}

/// What [`frame`] found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FrameStatus {
    /// A whole packet.
    Complete(Frame),
    /// More bytes are needed.
    Incomplete {
        /// The bytes of the whole packet, once its length field is complete.
        total_len: Option<usize>,
    },
}

/// Finds the packet at the start of `input`, without copying.
///
/// What is wrong with the fixed header is reported as soon as the bytes that show it are there, so
/// that no memory is kept for a body that will be refused. `max_packet_size` counts the whole
/// packet, in bytes `[MQTT-3.1.2-24]`; `u32::MAX` is no limit.
///
/// # Errors
/// 0x81 for packet type 0 (and 15 in 3.1.1), wrong flags, and a remaining length of more than four
/// bytes, or in MQTT 5 of more than its value needs; 0x95 for a packet that is too large.
#[inline]
pub fn frame(
    input: &[u8],
    version: Version,
    max_packet_size: u32,
) -> Result<FrameStatus, DecodeError> {
    let Some((&first_byte, rest)) = input.split_first() else {
        return Ok(FrameStatus::Incomplete { total_len: None });
    };
    check_first_byte(first_byte, version)?;
    let (remaining, length_len) = match rest.split_first() {
        Some((&length, _)) if length < 0x80 => (usize::from(length), 1),
        _ => match split_varint(rest) {
            Varint::Complete { minimal: false, .. } if version == Version::V5 => {
                return Err(OVER_LONG_VARINT);
            }
            Varint::Complete { value, len, .. } => (value as usize, len),
            Varint::Incomplete => return Ok(FrameStatus::Incomplete { total_len: None }),
            Varint::TooLong => return Err(LONG_VARINT),
        },
    };
    let header_len = 1 + length_len;
    let total_len = header_len + remaining;
    if total_len > max_packet_size as usize {
        return Err(TOO_LARGE);
    }
    if input.len() < total_len {
        return Ok(FrameStatus::Incomplete { total_len: Some(total_len) });
    }
    Ok(FrameStatus::Complete(Frame { first_byte, header_len, total_len }))
}

#[inline]
fn check_first_byte(first_byte: u8, version: Version) -> Result<(), DecodeError> {
    match first_byte {
        0x30..=0x3F => publish::check_flags(first_byte & 0x0F),
        0x10 | 0x20 | 0x40 | 0x50 | 0x62 | 0x70 | 0x82 | 0x90 | 0xA2 | 0xB0 | 0xC0 | 0xD0
        | 0xE0 => Ok(()),
        0xF0 if version == Version::V5 => Ok(()),
        0xF0..=0xFF if version == Version::V311 => Err(TYPE_15),
        0x00..=0x0F => Err(TYPE_0),
        _ => Err(RESERVED_FLAGS),
    }
}

pub(super) const TYPE_15: DecodeError =
    DecodeError::malformed("packet type 15 is reserved in MQTT 3.1.1");
const TOO_LARGE: DecodeError = DecodeError::new(
    ReasonCode::PACKET_TOO_LARGE,
    "the packet is larger than the maximum packet size",
);

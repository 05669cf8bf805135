//! PINGREQ and PINGRESP, sections 3.12 and 3.13: a fixed header and nothing else.

use super::PacketType;
use crate::error::DecodeError;
use crate::wire::Reader;

/// A whole PINGREQ.
pub const PINGREQ: [u8; 2] = [PacketType::PingReq.first_byte(), 0];

/// A whole PINGRESP.
pub const PINGRESP: [u8; 2] = [PacketType::PingResp.first_byte(), 0];

pub(super) fn decode(packet_type: PacketType, flags: u8, body: &[u8]) -> Result<(), DecodeError> {
    packet_type.check_flags(flags)?;
    Reader::new(body).finish()
}

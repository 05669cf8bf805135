//! CONNACK, section 3.2.

use super::{PacketType, check_reason, put_packet};
use crate::error::{DecodeError, EncodeError};
use crate::property::{PropertiesRef, PropertyContext};
use crate::reason::ReasonCode;
use crate::types::Version;
use crate::wire::Reader;

/// The server's answer to CONNECT.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConnAck<'a> {
    /// The server kept a session from before; never with an error.
    pub session_present: bool,
    /// Whether the connection was accepted. The return codes of 3.1.1 appear as the MQTT 5 codes
    /// with the same meaning.
    pub reason: ReasonCode,
    /// The properties; empty in 3.1.1.
    pub properties: PropertiesRef<'a>,
}

impl<'a> ConnAck<'a> {
    /// Decodes the body of a CONNACK.
    ///
    /// A server that speaks only 3.1.1 answers an MQTT 5 CONNECT in its own form, with return code
    /// 1: that is read as 0x84, Unsupported Protocol Version.
    ///
    /// # Errors
    /// 0x81 for what cannot be parsed and set reserved flags; 0x82 for a session that is present
    /// in spite of an error `[MQTT-3.2.2-6]` and for a reason code that a CONNACK does not have.
    pub fn decode(version: Version, flags: u8, body: &'a [u8]) -> Result<Self, DecodeError> {
        PacketType::ConnAck.check_flags(flags)?;
        let mut reader = Reader::new(body);
        let session_present = match reader.u8()? {
            0 => false,
            1 => true,
            _ => return Err(RESERVED_BITS),
        };
        let code = reader.u8()?;
        let foreign = version == Version::V5 && code == 1 && reader.is_empty();
        let version = if foreign { Version::V311 } else { version };
        let reason = match version {
            Version::V311 => ReasonCode::from_connack_v311(code).ok_or(RESERVED_CODE)?,
            Version::V5 => check_reason(PacketType::ConnAck, ReasonCode::new(code))?,
        };
        let properties = PropertiesRef::read(&mut reader, version, PropertyContext::ConnAck)?;
        reader.finish()?;
        if session_present && reason != ReasonCode::SUCCESS {
            return Err(PRESENT_WITH_ERROR);
        }
        Ok(Self { session_present, reason, properties })
    }

    /// Appends the whole packet.
    ///
    /// # Errors
    /// The properties are too long, or 3.1.1 has no return code for the reason; nothing was
    /// appended.
    pub fn encode(&self, version: Version, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let code = match version {
            Version::V5 => self.reason.value(),
            Version::V311 => self
                .reason
                .to_connack_v311()
                .ok_or(EncodeError::NotInV311 { what: "return code for this reason" })?,
        };
        let remaining = 2 + self.properties.wire_len(version);
        put_packet(out, PacketType::ConnAck.first_byte(), remaining, |out| {
            out.extend_from_slice(&[u8::from(self.session_present), code]);
            self.properties.put(version, out)
        })
    }
}

const RESERVED_BITS: DecodeError =
    DecodeError::malformed("CONNACK has reserved acknowledge flags set");
const RESERVED_CODE: DecodeError = DecodeError::malformed("CONNACK has a reserved return code");
const PRESENT_WITH_ERROR: DecodeError =
    DecodeError::protocol("CONNACK has both an error and a present session");

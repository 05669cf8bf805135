//! AUTH, section 3.15: only in MQTT 5.

use super::frame::TYPE_15;
use super::{PacketType, check_reason, put_packet};
use crate::error::{DecodeError, EncodeError};
use crate::property::{PropertiesRef, PropertyContext};
use crate::reason::ReasonCode;
use crate::types::Version;
use crate::wire::Reader;

/// One step of an enhanced authentication.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Auth<'a> {
    /// Success, continue, or begin again.
    pub reason: ReasonCode,
    /// The properties: method and data.
    pub properties: PropertiesRef<'a>,
}

impl<'a> Auth<'a> {
    /// Decodes the body of an AUTH.
    ///
    /// # Errors
    /// 0x81 for what cannot be parsed, and for any AUTH in 3.1.1; 0x82 for a reason code that an
    /// AUTH does not have, and for one other than the empty form without authentication method.
    pub fn decode(version: Version, flags: u8, body: &'a [u8]) -> Result<Self, DecodeError> {
        if version == Version::V311 {
            return Err(TYPE_15);
        }
        PacketType::Auth.check_flags(flags)?;
        let mut reader = Reader::new(body);
        if reader.is_empty() {
            return Ok(Self { reason: ReasonCode::SUCCESS, properties: PropertiesRef::EMPTY });
        }
        let reason = check_reason(PacketType::Auth, ReasonCode::new(reader.u8()?))?;
        let properties = PropertiesRef::read(&mut reader, version, PropertyContext::Auth)?;
        reader.finish()?;
        if properties.authentication_method().is_none() {
            return Err(NO_METHOD);
        }
        Ok(Self { reason, properties })
    }

    /// Appends the whole packet in its shortest form.
    ///
    /// # Errors
    /// The properties are too long, or the version is 3.1.1; nothing was appended.
    pub fn encode(&self, version: Version, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        if version == Version::V311 {
            return Err(EncodeError::NotInV311 { what: "AUTH packet" });
        }
        let empty = self.reason == ReasonCode::SUCCESS && self.properties.is_empty();
        let remaining = if empty { 0 } else { 1 + self.properties.wire_len(version) };
        put_packet(out, PacketType::Auth.first_byte(), remaining, |out| {
            if empty {
                return Ok(());
            }
            out.push(self.reason.value());
            self.properties.put(version, out)
        })
    }
}

const NO_METHOD: DecodeError = DecodeError::protocol("AUTH has no authentication method");

//! DISCONNECT, section 3.14.

use super::{PacketType, check_reason, put_packet};
use crate::error::{DecodeError, EncodeError};
use crate::property::{PropertiesRef, PropertyContext};
use crate::reason::ReasonCode;
use crate::types::Version;
use crate::wire::Reader;

/// The end of a connection, said by either side.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Disconnect<'a> {
    /// Why; always normal in 3.1.1.
    pub reason: ReasonCode,
    /// The properties; empty in 3.1.1.
    pub properties: PropertiesRef<'a>,
}

impl<'a> Disconnect<'a> {
    /// A DISCONNECT without properties.
    #[must_use]
    pub const fn new(reason: ReasonCode) -> Self {
        Self { reason, properties: PropertiesRef::EMPTY }
    }

    /// Decodes the body of a DISCONNECT in each of its forms.
    ///
    /// # Errors
    /// 0x81 for what cannot be parsed; 0x82 for a reason code that a DISCONNECT does not have.
    pub fn decode(version: Version, flags: u8, body: &'a [u8]) -> Result<Self, DecodeError> {
        PacketType::Disconnect.check_flags(flags)?;
        let mut reader = Reader::new(body);
        let mut disconnect = Self::new(ReasonCode::NORMAL_DISCONNECTION);
        if version == Version::V5 && !reader.is_empty() {
            let reason = ReasonCode::new(reader.u8()?);
            disconnect.reason = check_reason(PacketType::Disconnect, reason)?;
            if !reader.is_empty() {
                disconnect.properties =
                    PropertiesRef::read(&mut reader, version, PropertyContext::Disconnect)?;
            }
        }
        reader.finish()?;
        Ok(disconnect)
    }

    /// Appends the whole packet in its shortest form.
    ///
    /// In 3.1.1 neither reason nor properties are written.
    ///
    /// # Errors
    /// The properties are too long; nothing was appended.
    pub fn encode(&self, version: Version, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let with_properties = version == Version::V5 && !self.properties.is_empty();
        let with_reason = with_properties
            || version == Version::V5 && self.reason != ReasonCode::NORMAL_DISCONNECTION;
        let properties_len = if with_properties { self.properties.wire_len(version) } else { 0 };
        let remaining = usize::from(with_reason) + properties_len;
        put_packet(out, PacketType::Disconnect.first_byte(), remaining, |out| {
            if with_reason {
                out.push(self.reason.value());
            }
            if with_properties { self.properties.put(version, out) } else { Ok(()) }
        })
    }
}

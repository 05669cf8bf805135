//! UNSUBSCRIBE, section 3.10.

use std::fmt;

use super::subscribe::{NO_FILTER, read_filter};
use super::{PacketType, put_packet, read_packet_id};
use crate::error::{DecodeError, EncodeError};
use crate::property::{PropertiesRef, PropertyContext};
use crate::types::{PacketId, Version};
use crate::wire::{Reader, put_binary, put_u16};

/// The end of a wish for messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unsubscribe<'a> {
    /// The identifier that the UNSUBACK will carry.
    pub packet_id: PacketId,
    /// The properties; empty in 3.1.1.
    pub properties: PropertiesRef<'a>,
    /// The subscriptions that end: at least one filter.
    pub filters: UnsubscribeFilters<'a>,
}

impl<'a> Unsubscribe<'a> {
    /// Decodes the body of an UNSUBSCRIBE.
    ///
    /// # Errors
    /// 0x81 for what cannot be parsed and a packet identifier of 0; 0x82 for no filter; 0x8F for a
    /// filter that breaks the rules of section 4.7.
    pub fn decode(version: Version, flags: u8, body: &'a [u8]) -> Result<Self, DecodeError> {
        PacketType::Unsubscribe.check_flags(flags)?;
        let mut reader = Reader::new(body);
        let packet_id = read_packet_id(&mut reader)?;
        let properties = PropertiesRef::read(&mut reader, version, PropertyContext::Unsubscribe)?;
        let filters = UnsubscribeFilters(reader.rest());
        if filters.0.is_empty() {
            return Err(NO_FILTER);
        }
        let mut reader = Reader::new(filters.0);
        while !reader.is_empty() {
            read_filter(&mut reader)?;
        }
        Ok(Self { packet_id, properties, filters })
    }

    /// Appends the whole packet.
    ///
    /// # Errors
    /// The packet or a filter is too long, or there is no filter; nothing was appended.
    pub fn encode(&self, version: Version, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        encode_unsubscribe(version, self.packet_id, self.properties, self.filters.iter(), out)
    }
}

/// Appends an UNSUBSCRIBE with these filters.
///
/// In 3.1.1 the properties are not written. The filters are written as they are: check them before.
///
/// # Errors
/// The packet or a filter is too long, or there is no filter; nothing was appended.
pub fn encode_unsubscribe<'f>(
    version: Version,
    packet_id: PacketId,
    properties: PropertiesRef<'_>,
    filters: impl Iterator<Item = &'f str> + Clone,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    let filters_len: usize = filters.clone().map(|filter| filter.len() + 2).sum();
    if filters_len == 0 {
        return Err(EncodeError::NothingInside);
    }
    let remaining = 2 + properties.wire_len(version) + filters_len;
    put_packet(out, PacketType::Unsubscribe.first_byte(), remaining, |out| {
        put_u16(out, packet_id.get());
        properties.put(version, out)?;
        for filter in filters {
            put_binary(out, "topic filter", filter.as_bytes())?;
        }
        Ok(())
    })
}

/// The filters of an UNSUBSCRIBE, validated.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct UnsubscribeFilters<'a>(&'a [u8]);

impl<'a> UnsubscribeFilters<'a> {
    /// The filters, in the order of the packet.
    pub fn iter(&self) -> impl Iterator<Item = &'a str> + Clone + use<'a> {
        let mut reader = Reader::new(self.0);
        std::iter::from_fn(move || reader.utf8().ok())
    }
}

impl fmt::Debug for UnsubscribeFilters<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

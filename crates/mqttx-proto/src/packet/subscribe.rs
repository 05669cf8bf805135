//! SUBSCRIBE, section 3.8.

use std::fmt;

use super::{PacketType, put_packet, read_packet_id};
use crate::error::{DecodeError, EncodeError};
use crate::property::{PropertiesRef, PropertyContext};
use crate::reason::ReasonCode;
use crate::topic::{split_shared, validate_filter};
use crate::types::{PacketId, QoS, Version};
use crate::wire::{Reader, put_binary, put_u16};

/// A wish for messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Subscribe<'a> {
    /// The identifier that the SUBACK will carry.
    pub packet_id: PacketId,
    /// The properties; empty in 3.1.1.
    pub properties: PropertiesRef<'a>,
    /// What is subscribed to: at least one filter.
    pub filters: SubscribeFilters<'a>,
}

impl<'a> Subscribe<'a> {
    /// Decodes the body of a SUBSCRIBE.
    ///
    /// # Errors
    /// 0x81 for what cannot be parsed, reserved option bits and a packet identifier of 0; 0x82 for
    /// no filter, QoS 3, retain handling 3, and no-local on a shared subscription
    /// `[MQTT-3.8.3-4]`; 0x8F for a filter that breaks the rules of section 4.7.
    pub fn decode(version: Version, flags: u8, body: &'a [u8]) -> Result<Self, DecodeError> {
        PacketType::Subscribe.check_flags(flags)?;
        let mut reader = Reader::new(body);
        let packet_id = read_packet_id(&mut reader)?;
        let properties = PropertiesRef::read(&mut reader, version, PropertyContext::Subscribe)?;
        let filters = SubscribeFilters(reader.rest());
        if filters.0.is_empty() {
            return Err(NO_FILTER);
        }
        let mut reader = Reader::new(filters.0);
        while !reader.is_empty() {
            let filter = read_filter(&mut reader)?;
            let options = SubscribeOptions::decode(version, reader.u8()?)?;
            if options.no_local && split_shared(filter).is_some() {
                return Err(SHARED_NO_LOCAL);
            }
        }
        Ok(Self { packet_id, properties, filters })
    }

    /// Appends the whole packet.
    ///
    /// # Errors
    /// The packet or a filter is too long, or there is no filter; nothing was appended.
    pub fn encode(&self, version: Version, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let filters = self.filters.iter().map(|filter| (filter.filter, filter.options));
        encode_subscribe(version, self.packet_id, self.properties, filters, out)
    }
}

/// Appends a SUBSCRIBE with these filters.
///
/// In 3.1.1 neither properties nor options other than QoS are written. The filters are written as
/// they are: check them before.
///
/// ```
/// use mqttx_proto::{PacketId, PropertiesRef, QoS, Version, encode_subscribe};
///
/// let id = PacketId::new(1).expect("not 0");
/// let filters = [("a/b", QoS::AtLeastOnce.into())].into_iter();
/// let mut out = Vec::new();
/// encode_subscribe(Version::V311, id, PropertiesRef::EMPTY, filters, &mut out)?;
/// assert_eq!(out, b"\x82\x08\x00\x01\x00\x03a/b\x01");
/// # Ok::<(), mqttx_proto::EncodeError>(())
/// ```
///
/// # Errors
/// The packet or a filter is too long, or there is no filter; nothing was appended.
pub fn encode_subscribe<'f>(
    version: Version,
    packet_id: PacketId,
    properties: PropertiesRef<'_>,
    filters: impl Iterator<Item = (&'f str, SubscribeOptions)> + Clone,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    let filters_len: usize = filters.clone().map(|(filter, _)| filter.len() + 3).sum();
    if filters_len == 0 {
        return Err(EncodeError::NothingInside);
    }
    let remaining = 2 + properties.wire_len(version) + filters_len;
    put_packet(out, PacketType::Subscribe.first_byte(), remaining, |out| {
        put_u16(out, packet_id.get());
        properties.put(version, out)?;
        for (filter, options) in filters {
            put_binary(out, "topic filter", filter.as_bytes())?;
            out.push(options.encode(version));
        }
        Ok(())
    })
}

/// The filters of a SUBSCRIBE, validated.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SubscribeFilters<'a>(&'a [u8]);

impl<'a> SubscribeFilters<'a> {
    /// The filters, in the order of the packet.
    pub fn iter(&self) -> impl Iterator<Item = SubscribeFilter<'a>> + Clone + use<'a> {
        let mut reader = Reader::new(self.0);
        std::iter::from_fn(move || {
            let filter = reader.utf8().ok()?;
            let options = SubscribeOptions::decode(Version::V5, reader.u8().ok()?).ok()?;
            Some(SubscribeFilter { filter, options })
        })
    }
}

impl fmt::Debug for SubscribeFilters<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// One filter of a SUBSCRIBE.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SubscribeFilter<'a> {
    /// The topic filter.
    pub filter: &'a str,
    /// How messages are to be delivered.
    pub options: SubscribeOptions,
}

/// How the messages of a subscription are delivered, section 3.8.3.1; 3.1.1 knows only the QoS.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Default)]
pub struct SubscribeOptions {
    /// The largest QoS to be delivered with.
    pub qos: QoS,
    /// Not the messages of this client itself.
    pub no_local: bool,
    /// Keep the RETAIN flag as it was published.
    pub retain_as_published: bool,
    /// Whether to send the retained messages.
    pub retain_handling: RetainHandling,
}

/// When a new subscription gets the retained messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Default)]
#[repr(u8)]
pub enum RetainHandling {
    /// At every SUBSCRIBE, as in 3.1.1.
    #[default]
    SendAtSubscribe = 0,
    /// Only when the subscription does not exist yet.
    SendIfNew = 1,
    /// Never.
    DoNotSend = 2,
}

impl RetainHandling {
    /// The value of the wire; `None` for 3 and above.
    #[must_use]
    pub const fn from_u8(value: u8) -> Option<Self> {
        match value {
            0 => Some(Self::SendAtSubscribe),
            1 => Some(Self::SendIfNew),
            2 => Some(Self::DoNotSend),
            _ => None,
        }
    }
}

impl SubscribeOptions {
    /// This QoS, and the defaults of the specification, which are the behaviour of 3.1.1.
    #[must_use]
    pub const fn new(qos: QoS) -> Self {
        Self {
            qos,
            no_local: false,
            retain_as_published: false,
            retain_handling: RetainHandling::SendAtSubscribe,
        }
    }

    /// The options byte; in 3.1.1 only the QoS.
    #[must_use]
    pub const fn encode(self, version: Version) -> u8 {
        let qos = self.qos as u8;
        match version {
            Version::V311 => qos,
            Version::V5 => {
                qos | (self.no_local as u8) << 2
                    | (self.retain_as_published as u8) << 3
                    | (self.retain_handling as u8) << 4
            }
        }
    }

    /// Reads the options byte.
    ///
    /// # Errors
    /// 0x81 for reserved bits `[MQTT-3.8.3-5]`; 0x82 for QoS 3 and retain handling 3.
    pub fn decode(version: Version, byte: u8) -> Result<Self, DecodeError> {
        let reserved = match version {
            Version::V311 => 0b1111_1100,
            Version::V5 => 0b1100_0000,
        };
        if byte & reserved != 0 {
            return Err(RESERVED_OPTIONS);
        }
        Ok(Self {
            qos: QoS::from_u8(byte & 0b11).ok_or(QOS_3)?,
            no_local: byte & 1 << 2 != 0,
            retain_as_published: byte & 1 << 3 != 0,
            retain_handling: RetainHandling::from_u8(byte >> 4 & 0b11).ok_or(RETAIN_HANDLING_3)?,
        })
    }

    /// All options in one byte, that of MQTT 5, whatever the version of a connection: for stores.
    #[must_use]
    pub const fn to_byte(self) -> u8 {
        self.encode(Version::V5)
    }

    /// The opposite of [`to_byte`](Self::to_byte); `None` for bytes that no options have.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Self> {
        Self::decode(Version::V5, byte).ok()
    }
}

impl From<QoS> for SubscribeOptions {
    fn from(qos: QoS) -> Self {
        Self::new(qos)
    }
}

/// Takes a topic filter and checks it.
pub(super) fn read_filter<'a>(reader: &mut Reader<'a>) -> Result<&'a str, DecodeError> {
    let filter = reader.utf8()?;
    validate_filter(filter).map_err(|_| FILTER)?;
    Ok(filter)
}

pub(super) const NO_FILTER: DecodeError = DecodeError::protocol("the packet has no topic filter");
const FILTER: DecodeError =
    DecodeError::new(ReasonCode::TOPIC_FILTER_INVALID, "the topic filter is not valid");
const SHARED_NO_LOCAL: DecodeError =
    DecodeError::protocol("a shared subscription has the no-local option");
const RESERVED_OPTIONS: DecodeError =
    DecodeError::malformed("the subscription options have reserved bits set");
const QOS_3: DecodeError = DecodeError::protocol("the subscription options have QoS 3");
const RETAIN_HANDLING_3: DecodeError =
    DecodeError::protocol("the subscription options have retain handling 3");

//! PUBLISH, section 3.3.

use super::read_packet_id;
use crate::error::{DecodeError, EncodeError};
use crate::property::{PropertiesRef, PropertyContext, PropertyId};
use crate::scan::contains_any;
use crate::types::{PacketId, QoS, Version};
use crate::wire::{ILL_FORMED, NUL, Reader, checked_length, put_varint, varint_len};

/// A message on its way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Publish<'a> {
    /// Sent before, perhaps; never with QoS 0 `[MQTT-3.3.1-2]`.
    pub dup: bool,
    /// The delivery guarantee.
    pub qos: QoS,
    /// To the server: keep it for later subscribers. From the server: kept, not new.
    pub retain: bool,
    /// The topic name; empty only in MQTT 5, with a topic alias.
    pub topic: &'a str,
    /// Present if, and only if, QoS is 1 or 2.
    pub packet_id: Option<PacketId>,
    /// The properties; empty in 3.1.1.
    pub properties: PropertiesRef<'a>,
    /// The message itself.
    pub payload: &'a [u8],
}

impl<'a> Publish<'a> {
    /// Decodes the body of a PUBLISH.
    ///
    /// # Errors
    /// 0x81 for what cannot be parsed, QoS 3, DUP with QoS 0, and a packet identifier of 0; 0x82
    /// for an empty topic name without alias.
    #[inline]
    pub fn decode(version: Version, flags: u8, body: &'a [u8]) -> Result<Self, DecodeError> {
        Self::decode_after(version, flags, body, Known::default())
    }

    /// Like [`decode`](Self::decode). What is the same as in an earlier message needs no check: topics and properties often come
    /// many times in a row, and comparing costs a fifth.
    #[inline(always)]
    pub(crate) fn decode_after(
        version: Version,
        flags: u8,
        body: &'a [u8],
        known: Known<'a>,
    ) -> Result<Self, DecodeError> {
        check_flags(flags)?;
        let qos = QoS::from_u8(flags >> 1 & 0b11).ok_or(QOS_3)?;
        let mut reader = Reader::new(body);
        let topic = read_topic(&mut reader, known.topic)?;
        let packet_id = match qos {
            QoS::AtMostOnce => None,
            QoS::AtLeastOnce | QoS::ExactlyOnce => Some(read_packet_id(&mut reader)?),
        };
        let context = PropertyContext::Publish;
        let properties =
            PropertiesRef::read_after(&mut reader, version, context, known.properties)?;
        if topic.is_empty() && properties.topic_alias().is_none() {
            return Err(NO_TOPIC);
        }
        Ok(Self {
            dup: flags & DUP != 0,
            qos,
            retain: flags & RETAIN != 0,
            topic,
            packet_id,
            properties,
            payload: reader.rest(),
        })
    }

    /// Appends the whole packet.
    ///
    /// # Errors
    /// The packet or the topic name is too long, or packet identifier and QoS do not agree;
    /// nothing was appended.
    pub fn encode(&self, version: Version, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        if self.packet_id.is_some() != (self.qos != QoS::AtMostOnce) {
            return Err(EncodeError::PacketId);
        }
        let packet_id = self.packet_id.map_or(0, PacketId::get);
        let head = Head {
            dup: self.dup,
            qos: self.qos,
            retain: self.retain,
            topic: self.topic,
            packet_id,
            properties: self.properties,
            may_expire: true,
            payload_len: self.payload.len(),
        };
        head.encode(version, out)?;
        out.extend_from_slice(self.payload);
        Ok(())
    }

    /// The bytes that [`encode`](Self::encode) appends, if the packet is not too large.
    #[must_use]
    #[inline]
    pub fn encoded_len(&self, version: Version) -> usize {
        let remaining = remaining_length(
            version,
            self.qos,
            self.topic.len(),
            self.properties,
            self.payload.len(),
        );
        1 + varint_len(remaining as u32) + remaining
    }
}

/// What an earlier PUBLISH of the same connection had, and was checked there.
#[derive(Clone, Copy, Default)]
pub(crate) struct Known<'a> {
    topic: &'a str,
    properties: PropertiesRef<'a>,
}

impl<'a> From<&Publish<'a>> for Known<'a> {
    fn from(earlier: &Publish<'a>) -> Self {
        Self { topic: earlier.topic, properties: earlier.properties }
    }
}

/// Where the parts of an encoded PUBLISH are that may change before it is sent (again).
///
/// Offsets count from the packet's first byte.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PublishLayout {
    /// The packet's first byte, which holds DUP (bit 3): always 0.
    pub header_offset: usize,
    /// The two bytes of the packet identifier; `None` with QoS 0.
    pub packet_id_offset: Option<usize>,
    /// The four bytes of the message expiry interval, if there is one.
    pub message_expiry_offset: Option<usize>,
    /// The bytes of the whole packet, payload included.
    pub total_len: usize,
}

/// Appends a PUBLISH up to its payload, which the caller appends (or sends) behind it.
///
/// With QoS 1 and 2 `packet_id` may be 0 when the identifier is not known yet: it is written at
/// [`PublishLayout::packet_id_offset`] later. With QoS 0 it is not used. Properties are not written
/// in 3.1.1. The topic name is written as it is: check it before.
///
/// ```
/// use mqttx_proto::{PropertiesRef, QoS, Version, encode_publish};
///
/// let (payload, mut out) = (b"hi", Vec::new());
/// let layout = encode_publish(
///     Version::V5,
///     false,
///     QoS::AtLeastOnce,
///     false,
///     "a/b",
///     0,
///     PropertiesRef::EMPTY,
///     payload.len(),
///     &mut out,
/// )?;
/// out.extend_from_slice(payload);
/// if let Some(at) = layout.packet_id_offset {
///     out[at..at + 2].copy_from_slice(&7_u16.to_be_bytes());
/// }
/// assert_eq!(out, b"\x32\x0A\x00\x03a/b\x00\x07\x00hi");
/// # Ok::<(), mqttx_proto::EncodeError>(())
/// ```
///
/// # Errors
/// The packet or the topic name is too long; nothing was appended.
#[expect(clippy::too_many_arguments, reason = "these are the fields of the packet")]
pub fn encode_publish(
    version: Version,
    dup: bool,
    qos: QoS,
    retain: bool,
    topic: &str,
    packet_id: u16,
    properties: PropertiesRef<'_>,
    payload_len: usize,
    out: &mut Vec<u8>,
) -> Result<PublishLayout, EncodeError> {
    let may_expire = true;
    let head = Head { dup, qos, retain, topic, packet_id, properties, may_expire, payload_len };
    head.encode(version, out)
}

/// A PUBLISH but for its payload.
pub(crate) struct Head<'a> {
    pub(crate) dup: bool,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) topic: &'a str,
    pub(crate) packet_id: u16,
    pub(crate) properties: PropertiesRef<'a>,
    /// Whether there may be a message expiry interval, whose place is to be found.
    pub(crate) may_expire: bool,
    pub(crate) payload_len: usize,
}

impl Head<'_> {
    /// [`encode_publish`], part of its caller: what that knows is decided when it is compiled.
    #[inline(always)]
    pub(crate) fn encode(
        &self,
        version: Version,
        out: &mut Vec<u8>,
    ) -> Result<PublishLayout, EncodeError> {
        let Self { dup, qos, retain, topic, packet_id, properties, payload_len, .. } = *self;
        let remaining = remaining_length(version, qos, topic.len(), properties, payload_len);
        let length = checked_length(remaining)?;
        let Ok(topic_len) = u16::try_from(topic.len()) else {
            return Err(EncodeError::FieldTooLong { field: "topic name", len: topic.len() });
        };
        let flags = (qos as u8) << 1 | if dup { DUP } else { 0 } | if retain { RETAIN } else { 0 };
        let header_len = 1 + varint_len(length);
        out.reserve(header_len + remaining - payload_len);
        put_start(out, 0x30 | flags, length, topic_len);
        out.extend_from_slice(topic.as_bytes());
        let behind_topic = header_len + 2 + topic.len();
        let packet_id_offset = (qos != QoS::AtMostOnce).then_some(behind_topic);
        let [high, low] = packet_id.to_be_bytes();
        let mut message_expiry_offset = None;
        // Without properties a few bytes follow, written at once.
        match (qos, version, properties.is_empty()) {
            (QoS::AtMostOnce, Version::V311, _) => {}
            (QoS::AtMostOnce, Version::V5, true) => out.push(0),
            (_, Version::V311, _) => out.extend_from_slice(&[high, low]),
            (_, Version::V5, true) => out.extend_from_slice(&[high, low, 0]),
            (_, Version::V5, false) => {
                if qos != QoS::AtMostOnce {
                    out.extend_from_slice(&[high, low]);
                }
                properties.put(version, out)?;
                let end = header_len + remaining - payload_len;
                if self.may_expire {
                    let offset = properties.value_offset(PropertyId::MessageExpiryInterval);
                    message_expiry_offset =
                        offset.map(|offset| end - properties.as_bytes().len() + offset);
                }
            }
        }
        Ok(PublishLayout {
            header_offset: 0,
            packet_id_offset,
            message_expiry_offset,
            total_len: header_len + remaining,
        })
    }
}

/// A whole PUBLISH with few properties, of up to [`LARGEST`](Self::LARGEST) bytes of topic name and payload: nothing in it can fail.
#[derive(Clone, Copy)]
pub(crate) struct Plain<'a> {
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) topic: &'a str,
    /// Up to 127 bytes; not in 3.1.1.
    pub(crate) properties: &'a [u8],
    pub(crate) payload: &'a [u8],
}

impl Plain<'_> {
    /// Far from where a length takes three bytes.
    pub(crate) const LARGEST: usize = 8 * 1024;

    /// The bytes of the properties with their length.
    #[inline(always)]
    fn properties_len(&self, version: Version) -> usize {
        if version == Version::V5 { 1 + self.properties.len() } else { 0 }
    }

    #[inline(always)]
    fn remaining(&self, version: Version) -> usize {
        let id_len = if self.qos == QoS::AtMostOnce { 0 } else { 2 };
        2 + self.topic.len() + id_len + self.properties_len(version) + self.payload.len()
    }

    /// The bytes of the whole packet.
    #[inline(always)]
    pub(crate) fn len(&self, version: Version) -> usize {
        let remaining = self.remaining(version);
        remaining + if remaining < 0x80 { 2 } else { 3 }
    }

    /// Where the packet identifier is in a packet of `len` bytes.
    #[inline(always)]
    pub(crate) fn id_offset(&self, len: usize) -> usize {
        self.topic.len() + if len < 0x82 { 4 } else { 5 }
    }

    /// Writes the packet, as long as `out` has its [`len`](Self::len); with QoS 0 `packet_id` is not used.
    #[inline(always)]
    pub(crate) fn write(&self, version: Version, packet_id: u16, out: &mut [u8]) -> Option<()> {
        let remaining = self.remaining(version);
        let first_byte = 0x30 | (self.qos as u8) << 1 | u8::from(self.retain);
        let [high, low] = (self.topic.len() as u16).to_be_bytes();
        let rest = if remaining < 0x80 {
            let (start, rest) = out.split_first_chunk_mut()?;
            *start = [first_byte, remaining as u8, high, low];
            rest
        } else {
            let (start, rest) = out.split_first_chunk_mut()?;
            *start = [first_byte, remaining as u8 | 0x80, (remaining >> 7) as u8, high, low];
            rest
        };
        let (topic, rest) = rest.split_at_mut_checked(self.topic.len())?;
        topic.copy_from_slice(self.topic.as_bytes());
        let rest = if self.qos == QoS::AtMostOnce {
            rest
        } else {
            let (id, rest) = rest.split_first_chunk_mut()?;
            *id = packet_id.to_be_bytes();
            rest
        };
        let payload = if version == Version::V5 {
            let (properties_len, rest) = rest.split_first_mut()?;
            *properties_len = self.properties.len() as u8;
            // To copy nothing is a call, too.
            if self.properties.is_empty() {
                rest
            } else {
                let (properties, rest) = rest.split_at_mut_checked(self.properties.len())?;
                properties.copy_from_slice(self.properties);
                rest
            }
        } else {
            rest
        };
        (payload.len() == self.payload.len()).then(|| payload.copy_from_slice(self.payload))
    }
}

/// Appends the fixed header and the length of the topic name; nearly always four or five bytes, written at once.
#[inline(always)]
fn put_start(out: &mut Vec<u8>, first_byte: u8, length: u32, topic_len: u16) {
    let [high, low] = topic_len.to_be_bytes();
    match length {
        0..=0x7F => out.extend_from_slice(&[first_byte, length as u8, high, low]),
        0x80..=0x3FFF => {
            let (first, second) = (length as u8 | 0x80, (length >> 7) as u8);
            out.extend_from_slice(&[first_byte, first, second, high, low]);
        }
        _ => {
            out.push(first_byte);
            put_varint(out, length);
            out.extend_from_slice(&[high, low]);
        }
    }
}

#[inline]
fn remaining_length(
    version: Version,
    qos: QoS,
    topic_len: usize,
    properties: PropertiesRef<'_>,
    payload_len: usize,
) -> usize {
    let id_len = if qos == QoS::AtMostOnce { 0 } else { 2 };
    (2 + topic_len + id_len + properties.wire_len(version)).saturating_add(payload_len)
}

/// Takes the topic name; it may be empty. One that equals `checked` is not checked again.
#[inline]
fn read_topic<'a>(reader: &mut Reader<'a>, checked: &'a str) -> Result<&'a str, DecodeError> {
    let bytes = reader.binary()?;
    if bytes == checked.as_bytes() {
        return Ok(checked);
    }
    check_topic(bytes)
}

/// Takes bytes as a topic name, which may be empty.
#[inline]
pub(crate) fn check_topic(bytes: &[u8]) -> Result<&str, DecodeError> {
    let topic = str::from_utf8(bytes).map_err(|_| ILL_FORMED)?;
    if contains_any(bytes, [0, b'+', b'#']) {
        return Err(if bytes.contains(&0) { NUL } else { WILDCARD });
    }
    Ok(topic)
}

/// Refuses QoS 3 `[MQTT-3.3.1-4]` and DUP with QoS 0 `[MQTT-3.3.1-2]`.
#[inline]
pub(super) const fn check_flags(flags: u8) -> Result<(), DecodeError> {
    match flags & 0b1110 {
        0b0110 | 0b1110 => Err(QOS_3),
        0b1000 => Err(DUP_WITH_QOS_0),
        _ => Ok(()),
    }
}

const DUP: u8 = 0b1000;
const RETAIN: u8 = 0b0001;

const QOS_3: DecodeError = DecodeError::malformed("PUBLISH has QoS 3");
const DUP_WITH_QOS_0: DecodeError = DecodeError::malformed("PUBLISH has DUP set with QoS 0");
const NO_TOPIC: DecodeError =
    DecodeError::protocol("PUBLISH has neither a topic name nor a topic alias");
// Not 0x90, which says that a correctly formed name is not accepted.
const WILDCARD: DecodeError = DecodeError::malformed("the topic name contains a wildcard");

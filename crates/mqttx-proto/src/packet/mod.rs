//! The control packets, sections 3.1 to 3.15: one file per family, both versions in each.

mod ack;
mod auth;
mod connack;
mod connect;
mod disconnect;
mod frame;
mod ping;
mod properties;
mod publish;
mod suback;
mod subscribe;
mod unsubscribe;

use std::fmt;

pub use ack::Ack;
pub use auth::Auth;
pub use connack::ConnAck;
pub use connect::{Connect, Will};
pub use disconnect::Disconnect;
pub use frame::{Frame, FrameStatus, frame};
pub use ping::{PINGREQ, PINGRESP};
pub(crate) use publish::{Head, Known, Plain, check_topic};
pub use publish::{Publish, PublishLayout, encode_publish};
pub use suback::SubAck;
pub use subscribe::{
    RetainHandling, Subscribe, SubscribeFilter, SubscribeFilters, SubscribeOptions,
    encode_subscribe,
};
pub use unsubscribe::{Unsubscribe, UnsubscribeFilters, encode_unsubscribe};

use crate::error::{DecodeError, EncodeError};
use crate::reason::ReasonCode;
use crate::types::{PacketId, Version};
use crate::wire::{Reader, checked_length, put_header};

/// The type of a control packet, section 2.1.2.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[repr(u8)]
#[expect(missing_docs, reason = "the names are those of the specification")]
pub enum PacketType {
    Connect = 1,
    ConnAck = 2,
    Publish = 3,
    PubAck = 4,
    PubRec = 5,
    PubRel = 6,
    PubComp = 7,
    Subscribe = 8,
    SubAck = 9,
    Unsubscribe = 10,
    UnsubAck = 11,
    PingReq = 12,
    PingResp = 13,
    Disconnect = 14,
    Auth = 15,
}

impl PacketType {
    /// The type that the first byte of a packet says; `None` for 0.
    #[must_use]
    #[inline]
    pub const fn from_first_byte(first_byte: u8) -> Option<Self> {
        Some(match first_byte >> 4 {
            1 => Self::Connect,
            2 => Self::ConnAck,
            3 => Self::Publish,
            4 => Self::PubAck,
            5 => Self::PubRec,
            6 => Self::PubRel,
            7 => Self::PubComp,
            8 => Self::Subscribe,
            9 => Self::SubAck,
            10 => Self::Unsubscribe,
            11 => Self::UnsubAck,
            12 => Self::PingReq,
            13 => Self::PingResp,
            14 => Self::Disconnect,
            15 => Self::Auth,
            _ => return None,
        })
    }

    /// The name in the specification, for example `PUBLISH`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect => "CONNECT",
            Self::ConnAck => "CONNACK",
            Self::Publish => "PUBLISH",
            Self::PubAck => "PUBACK",
            Self::PubRec => "PUBREC",
            Self::PubRel => "PUBREL",
            Self::PubComp => "PUBCOMP",
            Self::Subscribe => "SUBSCRIBE",
            Self::SubAck => "SUBACK",
            Self::Unsubscribe => "UNSUBSCRIBE",
            Self::UnsubAck => "UNSUBACK",
            Self::PingReq => "PINGREQ",
            Self::PingResp => "PINGRESP",
            Self::Disconnect => "DISCONNECT",
            Self::Auth => "AUTH",
        }
    }

    /// The first byte of a packet other than PUBLISH: type and reserved flags, section 2.1.3.
    #[must_use]
    #[inline]
    pub const fn first_byte(self) -> u8 {
        (self as u8) << 4 | self.reserved_flags()
    }

    /// The flags that the packet must have `[MQTT-2.1.3-1]`; those of PUBLISH have a meaning.
    const fn reserved_flags(self) -> u8 {
        match self {
            Self::PubRel | Self::Subscribe | Self::Unsubscribe => 0b0010,
            _ => 0,
        }
    }

    /// Refuses flags other than the reserved ones.
    #[inline]
    const fn check_flags(self, flags: u8) -> Result<(), DecodeError> {
        if flags == self.reserved_flags() { Ok(()) } else { Err(RESERVED_FLAGS) }
    }
}

impl fmt::Display for PacketType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A control packet, borrowed from the bytes that it was decoded from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the names are those of the specification")]
pub enum Packet<'a> {
    Connect(Connect<'a>),
    ConnAck(ConnAck<'a>),
    Publish(Publish<'a>),
    PubAck(Ack<'a>),
    PubRec(Ack<'a>),
    PubRel(Ack<'a>),
    PubComp(Ack<'a>),
    Subscribe(Subscribe<'a>),
    SubAck(SubAck<'a>),
    Unsubscribe(Unsubscribe<'a>),
    UnsubAck(SubAck<'a>),
    PingReq,
    PingResp,
    Disconnect(Disconnect<'a>),
    Auth(Auth<'a>),
}

/// Decodes the body of a packet that [`frame`] found, of any type.
///
/// A CONNECT says its version itself and must agree with `version`; a server that does not know it
/// yet calls [`Connect::decode`].
///
/// ```
/// use mqttx_proto::{FrameStatus, Packet, Version, decode, frame};
///
/// let input = b"\x30\x07\x00\x03a/b\x00!";
/// let FrameStatus::Complete(found) = frame(input, Version::V5, u32::MAX)? else { panic!() };
/// let body = &input[found.header_len..found.total_len];
/// let Packet::Publish(publish) = decode(Version::V5, found.first_byte, body)? else { panic!() };
/// assert_eq!((publish.topic, publish.payload), ("a/b", &b"!"[..]));
/// # Ok::<(), mqttx_proto::DecodeError>(())
/// ```
///
/// # Errors
/// The body is not that of such a packet in this version, or says something forbidden.
#[inline]
pub fn decode(version: Version, first_byte: u8, body: &[u8]) -> Result<Packet<'_>, DecodeError> {
    let flags = first_byte & 0x0F;
    let ack = |packet_type| Ack::decode(packet_type, version, flags, body);
    match PacketType::from_first_byte(first_byte) {
        Some(PacketType::Publish) => Publish::decode(version, flags, body).map(Packet::Publish),
        Some(PacketType::PubAck) => ack(PacketType::PubAck).map(Packet::PubAck),
        Some(PacketType::PubRec) => ack(PacketType::PubRec).map(Packet::PubRec),
        Some(PacketType::PubRel) => ack(PacketType::PubRel).map(Packet::PubRel),
        Some(PacketType::PubComp) => ack(PacketType::PubComp).map(Packet::PubComp),
        _ => decode_rare(version, first_byte, body),
    }
}

/// The packets that no message needs, kept out of the way of those above.
fn decode_rare(version: Version, first_byte: u8, body: &[u8]) -> Result<Packet<'_>, DecodeError> {
    let flags = first_byte & 0x0F;
    let sub_ack = |packet_type| SubAck::decode(packet_type, version, flags, body);
    let ping = |packet_type| ping::decode(packet_type, flags, body);
    match PacketType::from_first_byte(first_byte) {
        Some(PacketType::Connect) => match Connect::decode(flags, body)? {
            (found, connect) if found == version => Ok(Packet::Connect(connect)),
            _ => Err(OTHER_VERSION),
        },
        Some(PacketType::ConnAck) => ConnAck::decode(version, flags, body).map(Packet::ConnAck),
        Some(PacketType::Subscribe) => {
            Subscribe::decode(version, flags, body).map(Packet::Subscribe)
        }
        Some(PacketType::SubAck) => sub_ack(PacketType::SubAck).map(Packet::SubAck),
        Some(PacketType::Unsubscribe) => {
            Unsubscribe::decode(version, flags, body).map(Packet::Unsubscribe)
        }
        Some(PacketType::UnsubAck) => sub_ack(PacketType::UnsubAck).map(Packet::UnsubAck),
        Some(PacketType::PingReq) => ping(PacketType::PingReq).map(|()| Packet::PingReq),
        Some(PacketType::PingResp) => ping(PacketType::PingResp).map(|()| Packet::PingResp),
        Some(PacketType::Disconnect) => {
            Disconnect::decode(version, flags, body).map(Packet::Disconnect)
        }
        Some(PacketType::Auth) => Auth::decode(version, flags, body).map(Packet::Auth),
        _ => Err(TYPE_0),
    }
}

impl Packet<'_> {
    /// The packet's type.
    #[must_use]
    pub const fn packet_type(&self) -> PacketType {
        match self {
            Self::Connect(_) => PacketType::Connect,
            Self::ConnAck(_) => PacketType::ConnAck,
            Self::Publish(_) => PacketType::Publish,
            Self::PubAck(_) => PacketType::PubAck,
            Self::PubRec(_) => PacketType::PubRec,
            Self::PubRel(_) => PacketType::PubRel,
            Self::PubComp(_) => PacketType::PubComp,
            Self::Subscribe(_) => PacketType::Subscribe,
            Self::SubAck(_) => PacketType::SubAck,
            Self::Unsubscribe(_) => PacketType::Unsubscribe,
            Self::UnsubAck(_) => PacketType::UnsubAck,
            Self::PingReq => PacketType::PingReq,
            Self::PingResp => PacketType::PingResp,
            Self::Disconnect(_) => PacketType::Disconnect,
            Self::Auth(_) => PacketType::Auth,
        }
    }

    /// Appends the whole packet, fixed header included.
    ///
    /// # Errors
    /// It is too large, or this version cannot express it; nothing was appended.
    pub fn encode(&self, version: Version, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        match self {
            Self::Connect(packet) => packet.encode(version, out),
            Self::ConnAck(packet) => packet.encode(version, out),
            Self::Publish(packet) => packet.encode(version, out),
            Self::PubAck(ack) | Self::PubRec(ack) | Self::PubRel(ack) | Self::PubComp(ack) => {
                ack.encode(self.packet_type(), version, out)
            }
            Self::Subscribe(packet) => packet.encode(version, out),
            Self::SubAck(packet) | Self::UnsubAck(packet) => {
                packet.encode(self.packet_type(), version, out)
            }
            Self::Unsubscribe(packet) => packet.encode(version, out),
            Self::PingReq => {
                out.extend_from_slice(&PINGREQ);
                Ok(())
            }
            Self::PingResp => {
                out.extend_from_slice(&PINGRESP);
                Ok(())
            }
            Self::Disconnect(packet) => packet.encode(version, out),
            Self::Auth(packet) => packet.encode(version, out),
        }
    }
}

/// Appends a packet whose body has exactly `remaining` bytes; nothing when that fails.
#[inline]
fn put_packet(
    out: &mut Vec<u8>,
    first_byte: u8,
    remaining: usize,
    put_body: impl FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    let start = out.len();
    let length = checked_length(remaining)?;
    out.reserve(5 + remaining);
    put_header(out, first_byte, length);
    let body = out.len();
    let result = put_body(out);
    if result.is_err() {
        out.truncate(start);
    } else {
        debug_assert_eq!(out.len() - body, remaining, "the announced length is the written one");
    }
    result
}

/// Takes a packet identifier, which is never 0 `[MQTT-2.2.1-3]`.
#[inline]
fn read_packet_id(reader: &mut Reader<'_>) -> Result<PacketId, DecodeError> {
    PacketId::new(reader.u16()?).ok_or(PACKET_ID_0)
}

/// Refuses a code that the packet must not carry in MQTT 5.
#[inline]
fn check_reason(packet_type: PacketType, reason: ReasonCode) -> Result<ReasonCode, DecodeError> {
    if reason.is_valid_in(packet_type) { Ok(reason) } else { Err(FOREIGN_REASON) }
}

const TYPE_0: DecodeError = DecodeError::malformed("packet type 0 is reserved");
const RESERVED_FLAGS: DecodeError =
    DecodeError::malformed("the fixed header has wrong reserved flags");
const PACKET_ID_0: DecodeError = DecodeError::malformed("the packet identifier is 0");
const FOREIGN_REASON: DecodeError =
    DecodeError::protocol("the reason code is not one of this packet type");
const OTHER_VERSION: DecodeError = DecodeError::new(
    ReasonCode::UNSUPPORTED_PROTOCOL_VERSION,
    "CONNECT asks for another protocol version",
);

//! The errors of the codec: a peer's bytes, our own packets, topics, properties.

use std::error::Error;
use std::fmt;

use crate::property::{PropertyContext, PropertyId};
use crate::reason::ReasonCode;

/// The peer sent bytes that are not the MQTT of this connection.
///
/// The connection cannot go on: close it, in MQTT 5 after a DISCONNECT (or CONNACK) with
/// [`reason`](Self::reason) `[MQTT-4.13.1-1]`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct DecodeError {
    /// What to tell the peer: 0x81 when the bytes cannot be parsed, 0x82 when they can but are
    /// forbidden, or a more exact code where the specification names one.
    pub reason: ReasonCode,
    /// What is wrong, for people.
    pub detail: &'static str,
}

impl DecodeError {
    /// An error with any reason code.
    #[must_use]
    pub const fn new(reason: ReasonCode, detail: &'static str) -> Self {
        Self { reason, detail }
    }

    /// The bytes cannot be parsed: 0x81.
    #[must_use]
    pub const fn malformed(detail: &'static str) -> Self {
        Self::new(ReasonCode::MALFORMED_PACKET, detail)
    }

    /// The bytes can be parsed, but say something forbidden: 0x82.
    #[must_use]
    pub const fn protocol(detail: &'static str) -> Self {
        Self::new(ReasonCode::PROTOCOL_ERROR, detail)
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason, self.detail)
    }
}

impl Error for DecodeError {}

/// A packet cannot be written; nothing was appended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[non_exhaustive]
pub enum EncodeError {
    /// A string or binary field is longer than 65 535 bytes `[MQTT-1.5.4]`.
    FieldTooLong {
        /// The field's name.
        field: &'static str,
        /// Its length in bytes.
        len: usize,
    },
    /// The packet is longer than a remaining length can say (268 435 455 bytes).
    PacketTooLarge {
        /// The remaining length that would be needed, in bytes.
        len: usize,
    },
    /// QoS 1 and 2 need a packet identifier, QoS 0 has none `[MQTT-2.2.1-2]`.
    PacketId,
    /// A SUBSCRIBE or UNSUBSCRIBE needs at least one filter, an acknowledgement at least one code.
    NothingInside,
    /// MQTT 3.1.1 cannot express this.
    NotInV311 {
        /// What cannot be expressed.
        what: &'static str,
    },
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FieldTooLong { field, len } => {
                write!(f, "the {field} has {len} bytes: at most 65535 are allowed")
            }
            Self::PacketTooLarge { len } => write!(
                f,
                "the packet would have a remaining length of {len} bytes: at most 268435455 are \
                 allowed"
            ),
            Self::PacketId => {
                f.write_str("a PUBLISH has a packet identifier if, and only if, its QoS is 1 or 2")
            }
            Self::NothingInside => f.write_str("the packet needs at least one filter or code"),
            Self::NotInV311 { what } => write!(f, "MQTT 3.1.1 has no {what}: use MQTT 5"),
        }
    }
}

impl Error for EncodeError {}

/// A topic name or topic filter that the specification forbids.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[non_exhaustive]
pub enum TopicError {
    /// No character at all `[MQTT-4.7.3-1]`.
    Empty,
    /// More than 65 535 bytes `[MQTT-4.7.3-3]`.
    TooLong(usize),
    /// It contains U+0000 `[MQTT-4.7.3-2]`.
    Nul,
    /// A topic *name* contains `+` or `#` `[MQTT-3.3.2-2]`.
    Wildcard,
    /// `#` is not the last level of the filter, or shares its level `[MQTT-4.7.1-1]`.
    MultiLevel,
    /// `+` shares its level with other characters `[MQTT-4.7.1-2]`.
    SingleLevel,
    /// `$share/` is not followed by a group name without `+` and `#` `[MQTT-4.8.2-1]`.
    ShareName,
    /// `$share/{group}` is not followed by a filter `[MQTT-4.8.2-2]`.
    ShareFilter,
}

impl fmt::Display for TopicError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("must have at least one character"),
            Self::TooLong(len) => write!(f, "has {len} bytes: at most 65535 are allowed"),
            Self::Nul => f.write_str("must not contain the character U+0000"),
            Self::Wildcard => {
                f.write_str("is a topic name: '+' and '#' are allowed only in filters")
            }
            Self::MultiLevel => {
                f.write_str("'#' must be the whole last level of the filter, as in 'a/b/#'")
            }
            Self::SingleLevel => f.write_str("'+' must be a whole level, as in 'a/+/b'"),
            Self::ShareName => f.write_str(
                "'$share/' must be followed by a group name without '+' and '#', as in \
                 '$share/group/filter'",
            ),
            Self::ShareFilter => f.write_str(
                "'$share/group' must be followed by '/' and a filter, as in '$share/group/filter'",
            ),
        }
    }
}

impl Error for TopicError {}

/// A property that must not be added, or a property list that does not suit its packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[non_exhaustive]
pub enum PropertyError {
    /// This property may occur only once.
    Duplicate(PropertyId),
    /// This property is not allowed in that packet.
    NotAllowed {
        /// The property.
        id: PropertyId,
        /// The packet.
        context: PropertyContext,
    },
    /// The value is longer than 65 535 bytes.
    TooLong {
        /// The property.
        id: PropertyId,
        /// The length of the value in bytes.
        len: usize,
    },
    /// The value is out of its range.
    Value {
        /// The property.
        id: PropertyId,
        /// What its value must be.
        must: &'static str,
    },
}

impl fmt::Display for PropertyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Duplicate(id) => write!(f, "property {id} is allowed only once"),
            Self::NotAllowed { id, context } => {
                write!(f, "property {id} is not allowed in {context}")
            }
            Self::TooLong { id, len } => {
                write!(f, "property {id} has {len} bytes: at most 65535 are allowed")
            }
            Self::Value { id, must } => write!(f, "property {id} must {must}"),
        }
    }
}

impl Error for PropertyError {}

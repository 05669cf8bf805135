//! Small value types that every packet and the session share.

use std::fmt;
use std::num::{NonZeroU16, NonZeroU64};
use std::str::FromStr;
use std::time::Duration;

/// The protocol version of a connection.
///
/// A value, not a type: the message model is MQTT 5's, and 3.1.1 is the same without properties.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Default)]
pub enum Version {
    /// MQTT 3.1.1 (protocol level 4).
    V311,
    /// MQTT 5.0 (protocol level 5).
    #[default]
    V5,
}

impl Version {
    /// The protocol level byte of CONNECT `[MQTT-3.1.2-2]`.
    #[must_use]
    pub const fn level(self) -> u8 {
        match self {
            Self::V311 => 4,
            Self::V5 => 5,
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V311 => "3.1.1",
            Self::V5 => "5",
        })
    }
}

/// The text is not a protocol version that this crate speaks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ParseVersionError(String);

impl fmt::Display for ParseVersionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown protocol version '{}': allowed are 5 and 3.1.1", self.0)
    }
}

impl std::error::Error for ParseVersionError {}

impl FromStr for Version {
    type Err = ParseVersionError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        match s {
            "5" | "5.0" | "mqttv5" => Ok(Self::V5),
            "311" | "3.1.1" | "mqttv311" => Ok(Self::V311),
            other => Err(ParseVersionError(other.to_owned())),
        }
    }
}

/// The delivery guarantee of a message `[MQTT-4.3]`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash, Default)]
#[repr(u8)]
pub enum QoS {
    /// Sent once, not acknowledged.
    #[default]
    AtMostOnce = 0,
    /// Sent until acknowledged; duplicates are possible.
    AtLeastOnce = 1,
    /// Delivered exactly once by the two-step acknowledgement.
    ExactlyOnce = 2,
}

impl QoS {
    /// The level of a wire value; `None` for 3 and above.
    #[must_use]
    pub const fn from_u8(value: u8) -> Option<Self> {
        match value {
            0 => Some(Self::AtMostOnce),
            1 => Some(Self::AtLeastOnce),
            2 => Some(Self::ExactlyOnce),
            _ => None,
        }
    }
}

impl fmt::Display for QoS {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", *self as u8)
    }
}

/// A packet identifier: never zero `[MQTT-2.2.1-3]`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct PacketId(NonZeroU16);

impl PacketId {
    /// `None` for zero.
    #[must_use]
    pub const fn new(value: u16) -> Option<Self> {
        match NonZeroU16::new(value) {
            Some(id) => Some(Self(id)),
            None => None,
        }
    }

    pub(crate) fn non_zero(self) -> NonZeroU64 {
        self.0.into()
    }

    /// The wire value, 1 to 65 535.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0.get()
    }
}

impl fmt::Display for PacketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The longest silence of a client, in seconds; 0 turns the mechanism off `[MQTT-3.1.2.10]`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct KeepAlive(u16);

impl KeepAlive {
    /// No keep-alive: a dead link is noticed only by the transport.
    pub const OFF: Self = Self(0);

    /// 0 to 65 535 seconds.
    #[must_use]
    pub const fn from_secs(seconds: u16) -> Self {
        Self(seconds)
    }

    /// The wire value.
    #[must_use]
    pub const fn as_secs(self) -> u16 {
        self.0
    }

    /// `None` when the mechanism is off.
    #[must_use]
    pub const fn as_duration(self) -> Option<Duration> {
        match self.0 {
            0 => None,
            seconds => Some(Duration::from_secs(seconds as u64)),
        }
    }
}

impl Default for KeepAlive {
    /// 60 s.
    fn default() -> Self {
        Self(60)
    }
}

/// How long the server keeps a session after the connection ended, in seconds `[MQTT-3.1.2.11.2]`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash, Default)]
pub struct SessionExpiry(u32);

impl SessionExpiry {
    /// The session ends with the connection.
    pub const ZERO: Self = Self(0);
    /// The session never expires.
    pub const NEVER: Self = Self(u32::MAX);

    /// 0 to 4 294 967 295 seconds; the largest value means never.
    #[must_use]
    pub const fn from_secs(seconds: u32) -> Self {
        Self(seconds)
    }

    /// The wire value.
    #[must_use]
    pub const fn as_secs(self) -> u32 {
        self.0
    }
}

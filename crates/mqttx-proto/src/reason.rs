//! Reason codes of MQTT 5, section 2.4, and the return codes of 3.1.1 as a view of them.

use std::fmt;

use crate::packet::PacketType;

/// Why a packet says yes or no, section 2.4.
///
/// Unknown values can be represented, so that a peer's code can be reported as it came.
///
/// ```
/// use mqttx_proto::ReasonCode;
///
/// assert_eq!(ReasonCode::new(0x87), ReasonCode::NOT_AUTHORIZED);
/// assert_eq!(ReasonCode::NOT_AUTHORIZED.to_string(), "0x87 (Not authorized)");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ReasonCode(u8);

/// The table 2.6: value, constant, name, packets.
macro_rules! reason_codes {
    ($($value:literal $konst:ident $name:literal [$($packet:ident)*];)*) => {
        impl ReasonCode {
            $(
                #[doc = concat!($name, ".")]
                pub const $konst: Self = Self($value);
            )*

            /// The name in the specification, or `"Unknown reason"`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self.0 {
                    $($value => $name,)*
                    _ => "Unknown reason",
                }
            }

            /// One bit per packet type that may carry this code in MQTT 5.
            const fn packets(self) -> u16 {
                match self.0 {
                    $($value => 0 $(| (1 << (PacketType::$packet as u16)))*,)*
                    _ => 0,
                }
            }
        }
    };
}

reason_codes! {
    0x00 SUCCESS "Success"
        [ConnAck PubAck PubRec PubRel PubComp SubAck UnsubAck Disconnect Auth];
    0x01 GRANTED_QOS_1 "Granted QoS 1" [SubAck];
    0x02 GRANTED_QOS_2 "Granted QoS 2" [SubAck];
    0x04 DISCONNECT_WITH_WILL "Disconnect with Will Message" [Disconnect];
    0x10 NO_MATCHING_SUBSCRIBERS "No matching subscribers" [PubAck PubRec];
    0x11 NO_SUBSCRIPTION_EXISTED "No subscription existed" [UnsubAck];
    0x18 CONTINUE_AUTHENTICATION "Continue authentication" [Auth];
    0x19 RE_AUTHENTICATE "Re-authenticate" [Auth];
    0x80 UNSPECIFIED_ERROR "Unspecified error"
        [ConnAck PubAck PubRec SubAck UnsubAck Disconnect];
    0x81 MALFORMED_PACKET "Malformed Packet" [ConnAck Disconnect];
    0x82 PROTOCOL_ERROR "Protocol Error" [ConnAck Disconnect];
    0x83 IMPLEMENTATION_SPECIFIC_ERROR "Implementation specific error"
        [ConnAck PubAck PubRec SubAck UnsubAck Disconnect];
    0x84 UNSUPPORTED_PROTOCOL_VERSION "Unsupported Protocol Version" [ConnAck];
    0x85 CLIENT_IDENTIFIER_NOT_VALID "Client Identifier not valid" [ConnAck];
    0x86 BAD_USER_NAME_OR_PASSWORD "Bad User Name or Password" [ConnAck];
    0x87 NOT_AUTHORIZED "Not authorized"
        [ConnAck PubAck PubRec SubAck UnsubAck Disconnect];
    0x88 SERVER_UNAVAILABLE "Server unavailable" [ConnAck];
    0x89 SERVER_BUSY "Server busy" [ConnAck Disconnect];
    0x8A BANNED "Banned" [ConnAck];
    0x8B SERVER_SHUTTING_DOWN "Server shutting down" [Disconnect];
    0x8C BAD_AUTHENTICATION_METHOD "Bad authentication method" [ConnAck Disconnect];
    0x8D KEEP_ALIVE_TIMEOUT "Keep Alive timeout" [Disconnect];
    0x8E SESSION_TAKEN_OVER "Session taken over" [Disconnect];
    0x8F TOPIC_FILTER_INVALID "Topic Filter invalid" [SubAck UnsubAck Disconnect];
    0x90 TOPIC_NAME_INVALID "Topic Name invalid" [ConnAck PubAck PubRec Disconnect];
    0x91 PACKET_IDENTIFIER_IN_USE "Packet Identifier in use"
        [PubAck PubRec SubAck UnsubAck];
    0x92 PACKET_IDENTIFIER_NOT_FOUND "Packet Identifier not found" [PubRel PubComp];
    0x93 RECEIVE_MAXIMUM_EXCEEDED "Receive Maximum exceeded" [Disconnect];
    0x94 TOPIC_ALIAS_INVALID "Topic Alias invalid" [Disconnect];
    0x95 PACKET_TOO_LARGE "Packet too large" [ConnAck Disconnect];
    0x96 MESSAGE_RATE_TOO_HIGH "Message rate too high" [Disconnect];
    0x97 QUOTA_EXCEEDED "Quota exceeded" [ConnAck PubAck PubRec SubAck Disconnect];
    0x98 ADMINISTRATIVE_ACTION "Administrative action" [Disconnect];
    0x99 PAYLOAD_FORMAT_INVALID "Payload format invalid"
        [ConnAck PubAck PubRec Disconnect];
    0x9A RETAIN_NOT_SUPPORTED "Retain not supported" [ConnAck Disconnect];
    0x9B QOS_NOT_SUPPORTED "QoS not supported" [ConnAck Disconnect];
    0x9C USE_ANOTHER_SERVER "Use another server" [ConnAck Disconnect];
    0x9D SERVER_MOVED "Server moved" [ConnAck Disconnect];
    0x9E SHARED_SUBSCRIPTIONS_NOT_SUPPORTED "Shared Subscriptions not supported"
        [SubAck Disconnect];
    0x9F CONNECTION_RATE_EXCEEDED "Connection rate exceeded" [ConnAck Disconnect];
    0xA0 MAXIMUM_CONNECT_TIME "Maximum connect time" [Disconnect];
    0xA1 SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED "Subscription Identifiers not supported"
        [SubAck Disconnect];
    0xA2 WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED "Wildcard Subscriptions not supported"
        [SubAck Disconnect];
}

impl ReasonCode {
    /// Normal disconnection: 0x00 in DISCONNECT.
    pub const NORMAL_DISCONNECTION: Self = Self::SUCCESS;
    /// Granted QoS 0: 0x00 in SUBACK.
    pub const GRANTED_QOS_0: Self = Self::SUCCESS;

    /// Any value, known or not.
    #[must_use]
    pub const fn new(value: u8) -> Self {
        Self(value)
    }

    /// The wire value.
    #[must_use]
    pub const fn value(self) -> u8 {
        self.0
    }

    /// Whether the operation failed: 0x80 and above.
    #[must_use]
    pub const fn is_error(self) -> bool {
        self.0 >= 0x80
    }

    /// Whether an MQTT 5 packet of this type may carry the code, whoever sends it.
    #[must_use]
    pub const fn is_valid_in(self, packet: PacketType) -> bool {
        self.packets() & (1 << (packet as u16)) != 0
    }

    /// The MQTT 5 code with the meaning of a 3.1.1 CONNACK return code; `None` above 5, which is
    /// reserved `[MQTT-3.2.2.3]`.
    #[must_use]
    pub const fn from_connack_v311(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::SUCCESS),
            1 => Some(Self::UNSUPPORTED_PROTOCOL_VERSION),
            2 => Some(Self::CLIENT_IDENTIFIER_NOT_VALID),
            3 => Some(Self::SERVER_UNAVAILABLE),
            4 => Some(Self::BAD_USER_NAME_OR_PASSWORD),
            5 => Some(Self::NOT_AUTHORIZED),
            _ => None,
        }
    }

    /// The 3.1.1 CONNACK return code with this meaning, if there is one.
    #[must_use]
    pub const fn to_connack_v311(self) -> Option<u8> {
        match self {
            Self::SUCCESS => Some(0),
            Self::UNSUPPORTED_PROTOCOL_VERSION => Some(1),
            Self::CLIENT_IDENTIFIER_NOT_VALID => Some(2),
            Self::SERVER_UNAVAILABLE => Some(3),
            Self::BAD_USER_NAME_OR_PASSWORD => Some(4),
            Self::NOT_AUTHORIZED => Some(5),
            _ => None,
        }
    }
}

impl From<u8> for ReasonCode {
    fn from(value: u8) -> Self {
        Self(value)
    }
}

impl fmt::Display for ReasonCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:02X} ({})", self.0, self.name())
    }
}

impl fmt::Debug for ReasonCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReasonCode({self})")
    }
}

//! The properties of MQTT 5, section 2.2.2: one table, from which everything about them comes.

mod kinds;
mod list;
mod value;

use std::fmt;

pub(crate) use kinds::Kinds;
pub use list::{Iter, Properties, PropertiesRef};
pub use value::WireType;
use value::{Row, Rule, Value};

use crate::error::{DecodeError, PropertyError};
use crate::wire::Reader;

/// Writes the enums, the conversions and the getters from the table below.
macro_rules! properties {
    (<$a:lifetime> $(
        $value:literal $name:literal $Id:ident = $Wire:ident($($field:ident: $ty:ty),+)
        $Rule:ident $Often:ident [$($Context:ident)*] $section:literal
        $(, $getter:ident -> $get:ty)?;
    )*) => {
        /// The identifier of a property.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
        #[repr(u8)]
        #[non_exhaustive]
        pub enum PropertyId {
            $(
                #[doc = concat!("`", $name, "`, section ", $section, ".")]
                $Id = $value,
            )*
        }

        impl PropertyId {
            /// Every property, in the order of the identifiers.
            pub const ALL: &[Self] = &[$(Self::$Id),*];

            /// The property with this identifier, if there is one.
            #[must_use]
            pub const fn from_u8(value: u8) -> Option<Self> {
                match value {
                    $($value => Some(Self::$Id),)*
                    _ => None,
                }
            }

            /// The property with this name, for example `user-property`.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                match name {
                    $($name => Some(Self::$Id),)*
                    _ => None,
                }
            }

            const fn row(self) -> &'static Row {
                match self {
                    $(Self::$Id => const {
                        &Row {
                            name: $name,
                            wire_type: WireType::$Wire,
                            rule: Rule::$Rule,
                            repeatable: matches!(Often::$Often, Often::Many),
                            contexts: 0 $(| PropertyContext::$Context.bit())*,
                            section: $section,
                            duplicate: DecodeError::protocol(
                                concat!("property ", $name, " occurs twice")
                            ),
                            misplaced: DecodeError::malformed(
                                concat!("property ", $name, " is not allowed in this packet")
                            ),
                            forbidden: DecodeError::protocol(
                                concat!("property ", $name, " has a forbidden value")
                            ),
                        }
                    },)*
                }
            }
        }

        /// One property with its value.
        #[derive(Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Property<$a> {
            $(
                #[doc = concat!("`", $name, "`, section ", $section, ".")]
                $Id($($ty),+),
            )*
        }

        impl<$a> Property<$a> {
            /// Which property this is.
            #[must_use]
            pub const fn id(self) -> PropertyId {
                match self {
                    $(Self::$Id(..) => PropertyId::$Id,)*
                }
            }

            fn show(self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$Id($($field),+) => {
                        f.debug_tuple(stringify!($Id))$(.field(&$field))+.finish()
                    })*
                }
            }

            const fn value(self) -> Value<$a> {
                match self {
                    $(Self::$Id($($field),+) => Value::$Wire($($field),+),)*
                }
            }

            const fn from_value(id: PropertyId, value: Value<$a>) -> Option<Self> {
                match (id, value) {
                    $((PropertyId::$Id, Value::$Wire($($field),+)) => {
                        Some(Self::$Id($($field),+))
                    })*
                    _ => None,
                }
            }
        }

        impl<$a> PropertiesRef<$a> {
            $($(
                #[doc = concat!("`", $name, "`, section ", $section, "; `None` when absent.")]
                #[must_use]
                #[inline]
                pub fn $getter(self) -> Option<$get> {
                    match self.find(PropertyId::$Id) {
                        Some(Property::$Id(value)) => Some(value),
                        _ => None,
                    }
                }
            )?)*
        }
    };
}

// Identifier, name, variant = wire type(value), rule for the value, how often, packets, section,
// getter. `Many` of the subscription identifier holds only in PUBLISH: see `repeatable_in`.
properties! { <'a>
    0x01 "payload-format-indicator" PayloadFormatIndicator = Byte(v: u8)
        Boolean Once [Publish Will] "3.3.2.3.2", payload_format_indicator -> u8;
    0x02 "message-expiry-interval" MessageExpiryInterval = FourByte(v: u32)
        Any Once [Publish Will] "3.3.2.3.3", message_expiry_interval -> u32;
    0x03 "content-type" ContentType = Utf8(v: &'a str)
        Any Once [Publish Will] "3.3.2.3.9", content_type -> &'a str;
    0x08 "response-topic" ResponseTopic = Utf8(v: &'a str)
        NoWildcard Once [Publish Will] "3.3.2.3.5", response_topic -> &'a str;
    0x09 "correlation-data" CorrelationData = Binary(v: &'a [u8])
        Any Once [Publish Will] "3.3.2.3.6", correlation_data -> &'a [u8];
    0x0B "subscription-identifier" SubscriptionIdentifier = VarInt(v: u32)
        NonZero Many [Publish Subscribe] "3.3.2.3.8", subscription_identifier -> u32;
    0x11 "session-expiry-interval" SessionExpiryInterval = FourByte(v: u32)
        Any Once [Connect ConnAck Disconnect] "3.1.2.11.2", session_expiry_interval -> u32;
    0x12 "assigned-client-identifier" AssignedClientIdentifier = Utf8(v: &'a str)
        Any Once [ConnAck] "3.2.2.3.7", assigned_client_identifier -> &'a str;
    0x13 "server-keep-alive" ServerKeepAlive = TwoByte(v: u16)
        Any Once [ConnAck] "3.2.2.3.14", server_keep_alive -> u16;
    0x15 "authentication-method" AuthenticationMethod = Utf8(v: &'a str)
        Any Once [Connect ConnAck Auth] "3.1.2.11.9", authentication_method -> &'a str;
    0x16 "authentication-data" AuthenticationData = Binary(v: &'a [u8])
        Any Once [Connect ConnAck Auth] "3.1.2.11.10", authentication_data -> &'a [u8];
    0x17 "request-problem-information" RequestProblemInformation = Byte(v: u8)
        Boolean Once [Connect] "3.1.2.11.7", request_problem_information -> u8;
    0x18 "will-delay-interval" WillDelayInterval = FourByte(v: u32)
        Any Once [Will] "3.1.3.2.2", will_delay_interval -> u32;
    0x19 "request-response-information" RequestResponseInformation = Byte(v: u8)
        Boolean Once [Connect] "3.1.2.11.6", request_response_information -> u8;
    0x1A "response-information" ResponseInformation = Utf8(v: &'a str)
        Any Once [ConnAck] "3.2.2.3.15", response_information -> &'a str;
    0x1C "server-reference" ServerReference = Utf8(v: &'a str)
        Any Once [ConnAck Disconnect] "3.2.2.3.16", server_reference -> &'a str;
    0x1F "reason-string" ReasonString = Utf8(v: &'a str)
        Any Once [ConnAck PubAck PubRec PubRel PubComp SubAck UnsubAck Disconnect Auth]
        "3.2.2.3.9", reason_string -> &'a str;
    0x21 "receive-maximum" ReceiveMaximum = TwoByte(v: u16)
        NonZero Once [Connect ConnAck] "3.1.2.11.3", receive_maximum -> u16;
    0x22 "topic-alias-maximum" TopicAliasMaximum = TwoByte(v: u16)
        Any Once [Connect ConnAck] "3.1.2.11.5", topic_alias_maximum -> u16;
    0x23 "topic-alias" TopicAlias = TwoByte(v: u16)
        Any Once [Publish] "3.3.2.3.4", topic_alias -> u16;
    0x24 "maximum-qos" MaximumQoS = Byte(v: u8)
        Boolean Once [ConnAck] "3.2.2.3.4", maximum_qos -> u8;
    0x25 "retain-available" RetainAvailable = Byte(v: u8)
        Boolean Once [ConnAck] "3.2.2.3.5", retain_available -> u8;
    0x26 "user-property" UserProperty = Utf8Pair(k: &'a str, v: &'a str)
        Any Many [Connect ConnAck Publish Will PubAck PubRec PubRel PubComp Subscribe SubAck
            Unsubscribe UnsubAck Disconnect Auth] "3.1.2.11.8";
    0x27 "maximum-packet-size" MaximumPacketSize = FourByte(v: u32)
        NonZero Once [Connect ConnAck] "3.1.2.11.4", maximum_packet_size -> u32;
    0x28 "wildcard-subscription-available" WildcardSubscriptionAvailable = Byte(v: u8)
        Boolean Once [ConnAck] "3.2.2.3.11", wildcard_subscription_available -> u8;
    0x29 "subscription-identifier-available" SubscriptionIdentifierAvailable = Byte(v: u8)
        Boolean Once [ConnAck] "3.2.2.3.12", subscription_identifier_available -> u8;
    0x2A "shared-subscription-available" SharedSubscriptionAvailable = Byte(v: u8)
        Boolean Once [ConnAck] "3.2.2.3.13", shared_subscription_available -> u8;
}

/// How often a property may occur in one packet.
enum Often {
    Once,
    Many,
}

impl PropertyId {
    /// The name in the specification, in lower case with dashes: `user-property`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.row().name
    }

    /// How the value is written.
    #[must_use]
    pub const fn wire_type(self) -> WireType {
        self.row().wire_type
    }

    /// Whether that packet may carry the property.
    #[must_use]
    pub const fn allowed_in(self, context: PropertyContext) -> bool {
        self.row().contexts & context.bit() != 0
    }

    /// Whether some packet may carry the property more than once.
    #[must_use]
    pub const fn repeatable(self) -> bool {
        self.row().repeatable
    }

    /// Whether that packet may carry the property more than once: user properties everywhere,
    /// subscription identifiers in PUBLISH only (one per matching subscription).
    #[must_use]
    pub const fn repeatable_in(self, context: PropertyContext) -> bool {
        match self {
            Self::SubscriptionIdentifier => matches!(context, PropertyContext::Publish),
            _ => self.repeatable(),
        }
    }

    /// The section of the MQTT 5 specification that says most about it.
    #[must_use]
    pub const fn section(self) -> &'static str {
        self.row().section
    }
}

impl fmt::Display for PropertyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Without authentication data, which may be a password.
impl fmt::Debug for Property<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AuthenticationData(_) => f.write_str("AuthenticationData(***)"),
            shown => shown.show(f),
        }
    }
}

impl<'a> Property<'a> {
    fn read(id: PropertyId, reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let row = id.row();
        let value = Value::read(row.wire_type, reader)?;
        let property = Self::from_value(id, value).ok_or(row.forbidden)?;
        if row.rule.allows(value) { Ok(property) } else { Err(row.forbidden) }
    }

    fn check(self) -> Result<(), PropertyError> {
        let (id, value) = (self.id(), self.value());
        if let Some(len) = value.too_long() {
            return Err(PropertyError::TooLong { id, len });
        }
        value.must().map_or(Ok(()), |must| Err(PropertyError::Value { id, must }))?;
        let rule = id.row().rule;
        if rule.allows(value) {
            Ok(())
        } else {
            Err(PropertyError::Value { id, must: rule.must() })
        }
    }

    /// Appends identifier and value, which [`check`](Self::check) has let pass.
    fn write(self, out: &mut Vec<u8>) {
        out.push(self.id() as u8);
        self.value().write(out);
    }
}

/// The packet that carries properties.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[repr(u8)]
pub enum PropertyContext {
    /// CONNECT, except its will.
    Connect,
    /// CONNACK.
    ConnAck,
    /// PUBLISH.
    Publish,
    /// The will inside CONNECT.
    Will,
    /// PUBACK.
    PubAck,
    /// PUBREC.
    PubRec,
    /// PUBREL.
    PubRel,
    /// PUBCOMP.
    PubComp,
    /// SUBSCRIBE.
    Subscribe,
    /// SUBACK.
    SubAck,
    /// UNSUBSCRIBE.
    Unsubscribe,
    /// UNSUBACK.
    UnsubAck,
    /// DISCONNECT.
    Disconnect,
    /// AUTH.
    Auth,
}

impl PropertyContext {
    /// Every packet that can carry properties.
    pub const ALL: &[Self] = &[
        Self::Connect,
        Self::ConnAck,
        Self::Publish,
        Self::Will,
        Self::PubAck,
        Self::PubRec,
        Self::PubRel,
        Self::PubComp,
        Self::Subscribe,
        Self::SubAck,
        Self::Unsubscribe,
        Self::UnsubAck,
        Self::Disconnect,
        Self::Auth,
    ];

    /// The packet's name: `PUBLISH`, `the will`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect => "CONNECT",
            Self::ConnAck => "CONNACK",
            Self::Publish => "PUBLISH",
            Self::Will => "the will",
            Self::PubAck => "PUBACK",
            Self::PubRec => "PUBREC",
            Self::PubRel => "PUBREL",
            Self::PubComp => "PUBCOMP",
            Self::Subscribe => "SUBSCRIBE",
            Self::SubAck => "SUBACK",
            Self::Unsubscribe => "UNSUBSCRIBE",
            Self::UnsubAck => "UNSUBACK",
            Self::Disconnect => "DISCONNECT",
            Self::Auth => "AUTH",
        }
    }

    const fn bit(self) -> u16 {
        1 << (self as u16)
    }
}

impl fmt::Display for PropertyContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

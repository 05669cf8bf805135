//! `-D PACKET NAME VALUE [VALUE2]`: MQTT 5 properties, checked against the core's table.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use mqttx::proto::{Properties, Property, PropertyContext, PropertyId, WireType, validate_topic};

use crate::args::WORD_BREAK;

/// The properties of every packet that the command line can add to.
#[derive(Clone, Debug, Default)]
pub(crate) struct PacketProperties {
    pub(crate) connect: Properties,
    pub(crate) will: Properties,
    pub(crate) publish: Properties,
    pub(crate) subscribe: Properties,
    pub(crate) unsubscribe: Properties,
    pub(crate) disconnect: Properties,
}

/// One `-D`.
#[derive(Clone, Debug)]
pub(crate) struct PropertyArg {
    packet: Packet,
    /// Exactly one property.
    property: Properties,
}

impl PropertyArg {
    /// Reads the words that were joined before parsing.
    ///
    /// # Errors
    /// Unknown packets and properties, a property where the specification does not allow it or a
    /// client does not send it, a value of the wrong type or range.
    pub(crate) fn parse(joined: &OsStr) -> Result<Self, String> {
        let words: Vec<&[u8]> = joined.as_bytes().split(|b| *b == WORD_BREAK as u8).collect();
        let [packet, name, values @ ..] = words.as_slice() else {
            return Err(format!("expected PACKET NAME VALUE, PACKET being {}", Packet::NAMES));
        };
        let (packet, name) = (Packet::parse(text(packet)?)?, text(name)?);
        let id = PropertyId::from_name(&name.to_ascii_lowercase())
            .ok_or_else(|| format!("unknown property '{name}': {}", packet.allowed()))?;
        if !packet.may_carry(id) {
            return Err(format!(
                "a client's {} cannot carry {name}: {}",
                packet.name(),
                packet.allowed()
            ));
        }
        let mut property = Properties::new();
        push(&mut property, id, values)?;
        property.check(packet.context()).map_err(|error| error.to_string())?;
        Ok(Self { packet, property })
    }

    pub(crate) const fn packet(&self) -> Packet {
        self.packet
    }
}

impl PacketProperties {
    /// Sorts the properties by packet, in the order given.
    ///
    /// # Errors
    /// A property twice that may stand only once.
    pub(crate) fn collect(args: &[PropertyArg]) -> Result<Self, String> {
        let mut all = Self::default();
        for arg in args {
            let list = match arg.packet {
                Packet::Connect => &mut all.connect,
                Packet::Will => &mut all.will,
                Packet::Publish => &mut all.publish,
                Packet::Subscribe => &mut all.subscribe,
                Packet::Unsubscribe => &mut all.unsubscribe,
                Packet::Disconnect => &mut all.disconnect,
            };
            for property in arg.property.as_ref().iter() {
                list.push(property)
                    .map_err(|error| format!("-D {}: {error}", arg.packet.name()))?;
            }
            list.check(arg.packet.context())
                .map_err(|error| format!("-D {}: {error}", arg.packet.name()))?;
        }
        Ok(all)
    }
}

/// A packet that a client sends and that the command line can add properties to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Packet {
    Connect,
    Will,
    Publish,
    Subscribe,
    Unsubscribe,
    Disconnect,
}

impl Packet {
    const NAMES: &'static str = "connect, will, publish, subscribe, unsubscribe or disconnect";

    fn parse(name: &str) -> Result<Self, String> {
        Ok(match name.to_ascii_lowercase().as_str() {
            "connect" => Self::Connect,
            "will" => Self::Will,
            "publish" => Self::Publish,
            "subscribe" => Self::Subscribe,
            "unsubscribe" => Self::Unsubscribe,
            "disconnect" => Self::Disconnect,
            _ => return Err(format!("unknown packet '{name}': allowed are {}", Self::NAMES)),
        })
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Will => "will",
            Self::Publish => "publish",
            Self::Subscribe => "subscribe",
            Self::Unsubscribe => "unsubscribe",
            Self::Disconnect => "disconnect",
        }
    }

    const fn context(self) -> PropertyContext {
        match self {
            Self::Connect => PropertyContext::Connect,
            Self::Will => PropertyContext::Will,
            Self::Publish => PropertyContext::Publish,
            Self::Subscribe => PropertyContext::Subscribe,
            Self::Unsubscribe => PropertyContext::Unsubscribe,
            Self::Disconnect => PropertyContext::Disconnect,
        }
    }

    /// The table says what a packet may carry from either side; two of these only servers send
    /// `[MQTT-3.3.4-6]` (and section 3.14.2.2.5).
    fn may_carry(self, id: PropertyId) -> bool {
        id.allowed_in(self.context())
            && !matches!(
                (self, id),
                (Self::Publish, PropertyId::SubscriptionIdentifier)
                    | (Self::Disconnect, PropertyId::ServerReference)
            )
    }

    fn allowed(self) -> String {
        let names: Vec<&str> =
            PropertyId::ALL.iter().filter(|id| self.may_carry(**id)).map(|id| id.name()).collect();
        format!("{} allows {}", self.name(), names.join(", "))
    }
}

fn push(list: &mut Properties, id: PropertyId, values: &[&[u8]]) -> Result<(), String> {
    let name = id.name();
    let value = match (id.wire_type(), values) {
        (WireType::Utf8Pair, [key, value]) => {
            let property = Property::UserProperty(text(key)?, text(value)?);
            return list.push(property).map_err(|error| error.to_string());
        }
        (WireType::Utf8Pair, _) => return Err(format!("{name} needs a key and a value")),
        (_, [value]) => *value,
        _ => return Err(format!("{name} needs one value")),
    };
    let number = |max: u64| match text(value)?.parse::<u64>() {
        Ok(number) if number <= max && value.first().is_some_and(u8::is_ascii_digit) => Ok(number),
        _ => Err(format!("{name} is a number from 0 to {max}, not '{}'", value.escape_ascii())),
    };
    let property = match id {
        PropertyId::PayloadFormatIndicator => Property::PayloadFormatIndicator(number(1)? as u8),
        PropertyId::RequestProblemInformation => {
            Property::RequestProblemInformation(number(1)? as u8)
        }
        PropertyId::RequestResponseInformation => {
            Property::RequestResponseInformation(number(1)? as u8)
        }
        PropertyId::MessageExpiryInterval => {
            Property::MessageExpiryInterval(number(u64::from(u32::MAX))? as u32)
        }
        PropertyId::SessionExpiryInterval => {
            Property::SessionExpiryInterval(number(u64::from(u32::MAX))? as u32)
        }
        PropertyId::WillDelayInterval => {
            Property::WillDelayInterval(number(u64::from(u32::MAX))? as u32)
        }
        PropertyId::MaximumPacketSize => {
            Property::MaximumPacketSize(number(u64::from(u32::MAX))? as u32)
        }
        PropertyId::ReceiveMaximum => Property::ReceiveMaximum(number(65_535)? as u16),
        PropertyId::TopicAliasMaximum => Property::TopicAliasMaximum(number(65_535)? as u16),
        PropertyId::TopicAlias => match number(65_535)? {
            0 => return Err("topic-alias is a number from 1 to 65535, not '0'".to_owned()),
            alias => Property::TopicAlias(alias as u16),
        },
        PropertyId::SubscriptionIdentifier => {
            Property::SubscriptionIdentifier(number(268_435_455)? as u32)
        }
        PropertyId::ContentType => Property::ContentType(text(value)?),
        PropertyId::ResponseTopic => {
            let topic = text(value)?;
            validate_topic(topic).map_err(|error| format!("{name} '{topic}': {error}"))?;
            Property::ResponseTopic(topic)
        }
        PropertyId::ReasonString => Property::ReasonString(text(value)?),
        PropertyId::AuthenticationMethod => Property::AuthenticationMethod(text(value)?),
        PropertyId::AuthenticationData => Property::AuthenticationData(value),
        PropertyId::CorrelationData => Property::CorrelationData(value),
        // Those that only servers send were refused by the packet.
        _ => return Err(format!("{name} is not sent by clients")),
    };
    list.push(property).map_err(|error| error.to_string())
}

fn text(word: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(word).map_err(|_| format!("'{}' is not UTF-8", word.escape_ascii()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<PropertyArg, String> {
        PropertyArg::parse(OsStr::new(&words.join("\0")))
    }

    #[test]
    fn properties_are_sorted_by_packet_in_the_order_given() {
        let args: Vec<_> = [
            &["publish", "user-property", "b", "-1"][..],
            &["PUBLISH", "Content-Type", "text/plain"],
            &["connect", "request-problem-information", "0"],
            &["publish", "user-property", "a", ""],
            &["will", "will-delay-interval", "4294967295"],
            &["subscribe", "subscription-identifier", "268435455"],
            &["disconnect", "reason-string", "bye"],
            &["unsubscribe", "user-property", "k", "v"],
        ]
        .iter()
        .map(|words| parse(words).unwrap())
        .collect();
        let all = PacketProperties::collect(&args).unwrap();
        assert_eq!(
            all.publish.as_ref().iter().collect::<Vec<_>>(),
            [
                Property::UserProperty("b", "-1"),
                Property::ContentType("text/plain"),
                Property::UserProperty("a", "")
            ]
        );
        assert_eq!(all.connect.as_ref().request_problem_information(), Some(0));
        assert_eq!(all.will.as_ref().will_delay_interval(), Some(u32::MAX));
        assert_eq!(all.subscribe.as_ref().subscription_identifier(), Some(268_435_455));
        assert_eq!(all.disconnect.as_ref().reason_string(), Some("bye"));
        assert_eq!(all.unsubscribe.as_ref().user_properties().next(), Some(("k", "v")));
    }

    #[test]
    fn what_the_specification_forbids_is_refused() {
        for (words, part) in [
            (&["publish"][..], "PACKET NAME VALUE"),
            (&["publish", "content-type"], "needs one value"),
            (&["publish", "user-property", "k"], "key and a value"),
            (&["pub", "content-type", "x"], "unknown packet 'pub'"),
            (&["publish", "content_type", "x"], "unknown property"),
            (&["publish", "will-delay-interval", "1"], "cannot carry"),
            (&["publish", "subscription-identifier", "1"], "cannot carry"),
            (&["disconnect", "server-reference", "h"], "cannot carry"),
            (&["connect", "server-keep-alive", "1"], "cannot carry"),
            (&["connect", "message-expiry-interval", "1"], "cannot carry"),
            (&["unsubscribe", "reason-string", "1"], "cannot carry"),
            (&["publish", "topic-alias", "0"], "from 1 to 65535"),
            (&["publish", "topic-alias", "65536"], "0 to 65535"),
            (&["publish", "payload-format-indicator", "2"], "0 to 1"),
            (&["publish", "message-expiry-interval", "-1"], "0 to 4294967295"),
            (&["publish", "message-expiry-interval", "+1"], "0 to 4294967295"),
            (&["publish", "message-expiry-interval", "4294967296"], "0 to 4294967295"),
            (&["publish", "response-topic", "a/+"], "response-topic"),
            (&["publish", "response-topic", ""], "response-topic"),
            (&["connect", "receive-maximum", "0"], "receive-maximum"),
            (&["connect", "maximum-packet-size", "0"], "maximum-packet-size"),
            (&["connect", "request-response-information", "2"], "0 to 1"),
            (&["subscribe", "subscription-identifier", "0"], "subscription-identifier"),
            (&["subscribe", "subscription-identifier", "268435456"], "268435455"),
        ] {
            let error = parse(words).unwrap_err();
            assert!(error.contains(part), "{words:?}: {error}");
        }
        let long = "x".repeat(65_536);
        assert!(parse(&["publish", "content-type", &long]).is_err());
        assert!(parse(&["publish", "user-property", &long, ""]).is_err());
    }

    #[test]
    fn only_user_properties_may_repeat() {
        let twice = |words: &[&str]| {
            PacketProperties::collect(&[parse(words).unwrap(), parse(words).unwrap()])
        };
        assert!(twice(&["connect", "user-property", "k", "v"]).is_ok());
        assert!(twice(&["connect", "receive-maximum", "5"]).is_err());
        assert!(twice(&["publish", "content-type", "x"]).is_err());
        assert!(twice(&["subscribe", "subscription-identifier", "5"]).is_err());
    }
}

//! The property table: every property in every packet, once and twice, with good and bad values.

#![expect(clippy::expect_used, reason = "a sample that is not valid fails the test")]

use mqttx_proto::{
    Properties, PropertiesRef, Property, PropertyContext, PropertyError, PropertyId, ReasonCode,
    WireType,
};

/// Table 2-4 of the MQTT 5 specification, written a second time so that the table in the code is
/// checked against something: identifier, type, packets.
const SPECIFICATION: [(u8, WireType, &str); 27] = [
    (0x01, WireType::Byte, "PUBLISH, Will"),
    (0x02, WireType::FourByte, "PUBLISH, Will"),
    (0x03, WireType::Utf8, "PUBLISH, Will"),
    (0x08, WireType::Utf8, "PUBLISH, Will"),
    (0x09, WireType::Binary, "PUBLISH, Will"),
    (0x0B, WireType::VarInt, "PUBLISH, SUBSCRIBE"),
    (0x11, WireType::FourByte, "CONNECT, CONNACK, DISCONNECT"),
    (0x12, WireType::Utf8, "CONNACK"),
    (0x13, WireType::TwoByte, "CONNACK"),
    (0x15, WireType::Utf8, "CONNECT, CONNACK, AUTH"),
    (0x16, WireType::Binary, "CONNECT, CONNACK, AUTH"),
    (0x17, WireType::Byte, "CONNECT"),
    (0x18, WireType::FourByte, "Will"),
    (0x19, WireType::Byte, "CONNECT"),
    (0x1A, WireType::Utf8, "CONNACK"),
    (0x1C, WireType::Utf8, "CONNACK, DISCONNECT"),
    (
        0x1F,
        WireType::Utf8,
        "CONNACK, PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK, UNSUBACK, DISCONNECT, AUTH",
    ),
    (0x21, WireType::TwoByte, "CONNECT, CONNACK"),
    (0x22, WireType::TwoByte, "CONNECT, CONNACK"),
    (0x23, WireType::TwoByte, "PUBLISH"),
    (0x24, WireType::Byte, "CONNACK"),
    (0x25, WireType::Byte, "CONNACK"),
    (
        0x26,
        WireType::Utf8Pair,
        "CONNECT, CONNACK, PUBLISH, Will, PUBACK, PUBREC, PUBREL, PUBCOMP, SUBSCRIBE, SUBACK, \
         UNSUBSCRIBE, UNSUBACK, DISCONNECT, AUTH",
    ),
    (0x27, WireType::FourByte, "CONNECT, CONNACK"),
    (0x28, WireType::Byte, "CONNACK"),
    (0x29, WireType::Byte, "CONNACK"),
    (0x2A, WireType::Byte, "CONNACK"),
];

#[test]
fn the_table_is_that_of_the_specification() {
    let ids: Vec<u8> = PropertyId::ALL.iter().map(|id| *id as u8).collect();
    assert_eq!(ids, SPECIFICATION.map(|(id, ..)| id));
    for (value, wire_type, packets) in SPECIFICATION {
        let id = PropertyId::from_u8(value).expect("known");
        assert_eq!(id.wire_type(), wire_type, "{id}");
        let packets: Vec<&str> = packets.split(", ").collect();
        for context in PropertyContext::ALL {
            let name = if *context == PropertyContext::Will { "Will" } else { context.name() };
            assert_eq!(id.allowed_in(*context), packets.contains(&name), "{id} in {context}");
        }
    }
}

#[test]
fn names_and_identifiers_lead_to_each_other() {
    for id in PropertyId::ALL {
        assert_eq!(PropertyId::from_name(id.name()), Some(*id));
        assert_eq!(PropertyId::from_u8(*id as u8), Some(*id));
        assert_eq!(id.to_string(), id.name());
        assert!(id.section().starts_with("3."), "{id}");
    }
    assert_eq!(PropertyId::from_name("User Property"), None);
    let known = (0..=255).filter(|value| PropertyId::from_u8(*value).is_some()).count();
    assert_eq!(known, PropertyId::ALL.len());
}

#[test]
fn every_property_is_refused_where_it_is_not_allowed() {
    for id in PropertyId::ALL {
        let raw = encoded(*id);
        for context in PropertyContext::ALL {
            let parsed = PropertiesRef::parse(&raw, *context);
            let checked = from_pushes(&[*id]).check(*context);
            if id.allowed_in(*context) {
                assert_eq!(parsed.expect("allowed").as_bytes(), raw);
                assert_eq!(checked, Ok(()));
            } else {
                // Section 2.2.2.2: an identifier that is not valid for the packet is malformed.
                let error = parsed.expect_err("forbidden");
                assert_eq!(error.reason, ReasonCode::MALFORMED_PACKET, "{id} in {context}");
                assert!(error.detail.contains(id.name()));
                let forbidden = PropertyError::NotAllowed { id: *id, context: *context };
                assert_eq!(checked, Err(forbidden));
            }
        }
    }
}

#[test]
fn every_property_but_two_may_occur_only_once() {
    for id in PropertyId::ALL {
        let raw = encoded(*id).repeat(2);
        for context in PropertyContext::ALL.iter().filter(|context| id.allowed_in(**context)) {
            let may_repeat = *id == PropertyId::UserProperty
                || *id == PropertyId::SubscriptionIdentifier
                    && *context == PropertyContext::Publish;
            let parsed = PropertiesRef::parse(&raw, *context);
            let taken = Properties::from_raw(raw.clone(), *context).map(|p| p.check(*context));
            if may_repeat {
                assert_eq!(parsed.expect("repeatable").iter().count(), 2);
                assert_eq!(taken, Ok(Ok(())));
            } else {
                let error = parsed.expect_err("twice");
                assert_eq!(error.reason, ReasonCode::PROTOCOL_ERROR, "{id} in {context}");
                assert_eq!(taken, Err(error));
            }
        }
    }
}

#[test]
fn every_property_that_is_cut_short_is_malformed() {
    for id in PropertyId::ALL {
        let raw = encoded(*id);
        let context = PropertyContext::ALL.iter().find(|c| id.allowed_in(**c)).expect("some");
        for len in 1..raw.len() {
            let error = PropertiesRef::parse(&raw[..len], *context).expect_err("cut short");
            assert_eq!(error.reason, ReasonCode::MALFORMED_PACKET, "{id} of {len} bytes");
        }
    }
}

#[test]
fn values_out_of_range_are_neither_accepted_nor_pushed() {
    for (raw, context) in [
        (&b"\x01\x02"[..], PropertyContext::Publish),
        (b"\x01\xFF", PropertyContext::Will),
        (b"\x17\x02", PropertyContext::Connect),
        (b"\x19\x02", PropertyContext::Connect),
        (b"\x24\x02", PropertyContext::ConnAck),
        (b"\x25\x02", PropertyContext::ConnAck),
        (b"\x28\x02", PropertyContext::ConnAck),
        (b"\x29\x02", PropertyContext::ConnAck),
        (b"\x2A\x02", PropertyContext::ConnAck),
        (b"\x21\x00\x00", PropertyContext::ConnAck),
        (b"\x27\x00\x00\x00\x00", PropertyContext::Connect),
        (b"\x0B\x00", PropertyContext::Subscribe),
        (b"\x08\x00\x01+", PropertyContext::Publish),
    ] {
        let error = PropertiesRef::parse(raw, context).expect_err("out of range");
        assert_eq!(error.reason, ReasonCode::PROTOCOL_ERROR, "{raw:02x?}");
    }
    let mut properties = Properties::new();
    for property in [
        Property::PayloadFormatIndicator(2),
        Property::ReceiveMaximum(0),
        Property::MaximumPacketSize(0),
        Property::SubscriptionIdentifier(0),
        Property::SubscriptionIdentifier(268_435_456),
        Property::ResponseTopic("a/#"),
        Property::ContentType("a\0b"),
        Property::UserProperty("a\0b", ""),
        Property::UserProperty("", "\0"),
    ] {
        let error = properties.push(property).expect_err("out of range");
        assert!(matches!(error, PropertyError::Value { id, .. } if id == property.id()));
        assert_eq!(properties.set(property), Err(error));
    }
    let long = "x".repeat(65_536);
    for property in [
        Property::ContentType(&long),
        Property::CorrelationData(long.as_bytes()),
        Property::UserProperty(&long, ""),
        Property::UserProperty("", &long),
    ] {
        let id = property.id();
        assert_eq!(properties.push(property), Err(PropertyError::TooLong { id, len: 65_536 }));
    }
    assert!(properties.is_empty());
    assert_eq!(
        properties.push(Property::ReceiveMaximum(0)).unwrap_err().to_string(),
        "property receive-maximum must not be 0"
    );
}

#[test]
fn getters_find_their_property_among_all_others() {
    let mut properties = Properties::new();
    for id in PropertyId::ALL {
        properties.push(sample(*id)).expect("valid");
    }
    let p = properties.as_ref();
    assert_eq!(p.iter().map(Property::id).collect::<Vec<_>>(), PropertyId::ALL);
    assert_eq!(p.payload_format_indicator(), Some(1));
    assert_eq!(p.message_expiry_interval(), Some(0x0102_0304));
    assert_eq!(p.content_type(), Some("text"));
    assert_eq!(p.response_topic(), Some("text"));
    assert_eq!(p.correlation_data(), Some(&b"\x00\xFF"[..]));
    assert_eq!(p.subscription_identifier(), Some(300));
    assert_eq!(p.session_expiry_interval(), Some(0x0102_0304));
    assert_eq!(p.server_keep_alive(), Some(0x0102));
    assert_eq!(p.topic_alias(), Some(0x0102));
    assert_eq!(p.shared_subscription_available(), Some(1));
    assert_eq!(p.user_properties().collect::<Vec<_>>(), [("text", "more")]);
    assert_eq!(PropertiesRef::EMPTY.topic_alias(), None);
    assert_eq!(PropertiesRef::default(), PropertiesRef::EMPTY);
}

#[test]
fn user_properties_and_subscription_identifiers_keep_their_order() {
    let mut properties = Properties::new();
    properties.push(Property::SubscriptionIdentifier(9)).expect("valid");
    properties.user_property("k", "1").expect("valid");
    properties.push(Property::SubscriptionIdentifier(268_435_455)).expect("repeatable");
    properties.user_property("k", "2").expect("repeatable");
    let p = properties.as_ref();
    assert_eq!(p.user_properties().collect::<Vec<_>>(), [("k", "1"), ("k", "2")]);
    assert_eq!(p.subscription_identifiers().collect::<Vec<_>>(), [9, 268_435_455]);
    assert_eq!(
        properties.check(PropertyContext::Subscribe),
        Err(PropertyError::Duplicate(PropertyId::SubscriptionIdentifier))
    );
    assert_eq!(properties.check(PropertyContext::Publish), Ok(()));
}

#[test]
fn set_replaces_and_remove_takes_out_all_of_a_kind() {
    let mut properties = Properties::new();
    properties.user_property("a", "1").expect("valid");
    properties.push(Property::MessageExpiryInterval(5)).expect("valid");
    properties.user_property("b", "2").expect("valid");
    assert_eq!(
        properties.push(Property::MessageExpiryInterval(6)),
        Err(PropertyError::Duplicate(PropertyId::MessageExpiryInterval))
    );
    properties.set(Property::MessageExpiryInterval(6)).expect("replaces");
    assert_eq!(properties.as_ref().message_expiry_interval(), Some(6));
    assert!(properties.remove(PropertyId::UserProperty));
    assert!(!properties.remove(PropertyId::UserProperty));
    assert_eq!(
        properties.as_ref().iter().collect::<Vec<_>>(),
        [Property::MessageExpiryInterval(6)]
    );
    assert!(properties.remove(PropertyId::MessageExpiryInterval));
    assert!(properties.is_empty());
    assert_eq!(properties, Properties::new());
}

fn encoded(id: PropertyId) -> Vec<u8> {
    from_pushes(&[id]).as_ref().as_bytes().to_vec()
}

fn from_pushes(ids: &[PropertyId]) -> Properties {
    let mut properties = Properties::new();
    for id in ids {
        properties.push(sample(*id)).expect("a valid sample");
    }
    properties
}

/// A valid value by the wire type, through the bytes, so that a new row needs no new sample.
fn sample(id: PropertyId) -> Property<'static> {
    let value: &'static [u8] = match id.wire_type() {
        WireType::Byte => b"\x01",
        WireType::TwoByte => b"\x01\x02",
        WireType::FourByte => b"\x01\x02\x03\x04",
        WireType::VarInt => b"\xAC\x02",
        WireType::Utf8 => b"\x00\x04text",
        WireType::Binary => b"\x00\x02\x00\xFF",
        WireType::Utf8Pair => b"\x00\x04text\x00\x04more",
    };
    let raw = [&[id as u8], value].concat().leak();
    let context = PropertyContext::ALL.iter().find(|context| id.allowed_in(**context));
    let parsed = PropertiesRef::parse(raw, *context.expect("some packet")).expect("valid");
    parsed.iter().next().expect("one property")
}

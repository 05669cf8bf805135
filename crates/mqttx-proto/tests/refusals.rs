//! What cannot be sent is refused, and leaves nothing behind in the buffer.

use mqttx_proto::{
    Ack, Auth, ConnAck, Connect, EncodeError, FrameStatus, MAX_REMAINING_LENGTH, Packet, PacketId,
    Properties, PropertiesRef, Property, Publish, QoS, ReasonCode, SubAck, SubscribeOptions,
    Version, Will, decode, encode_publish, encode_subscribe, encode_unsubscribe, frame,
};

const ID: PacketId = PacketId::new(7).expect("not 0");

const PUBLISH: Publish<'static> = Publish {
    dup: false,
    qos: QoS::AtMostOnce,
    retain: false,
    topic: "t",
    packet_id: None,
    properties: PropertiesRef::EMPTY,
    payload: b"",
};

#[test]
fn fields_that_are_too_long_are_named() {
    let long = "x".repeat(65_536);
    let connect = Connect { client_id: "c", ..Connect::default() };
    let will = Will { topic: "t", ..Will::default() };
    let long_bytes = long.as_bytes();
    for (packet, field) in [
        (Packet::Publish(Publish { topic: &long, ..PUBLISH }), "topic name"),
        (Packet::Connect(Connect { client_id: &long, ..connect }), "client identifier"),
        (Packet::Connect(Connect { username: Some(&long), ..connect }), "user name"),
        (
            Packet::Connect(Connect { username: Some("u"), password: Some(long_bytes), ..connect }),
            "password",
        ),
        (
            Packet::Connect(Connect { will: Some(Will { topic: &long, ..will }), ..connect }),
            "will topic",
        ),
        (
            Packet::Connect(Connect {
                will: Some(Will { payload: long_bytes, ..will }),
                ..connect
            }),
            "will payload",
        ),
    ] {
        for version in [Version::V311, Version::V5] {
            let error = EncodeError::FieldTooLong { field, len: 65_536 };
            assert_refused(error, |out| packet.encode(version, out));
        }
    }
    let error = EncodeError::FieldTooLong { field: "topic filter", len: 65_536 };
    let subscriptions = [("a", SubscribeOptions::default()), (&long, SubscribeOptions::default())];
    assert_refused(error, |out| {
        encode_subscribe(Version::V5, ID, PropertiesRef::EMPTY, subscriptions.into_iter(), out)
    });
    assert_refused(error, |out| {
        let filters = ["a", &long].into_iter();
        encode_unsubscribe(Version::V311, ID, PropertiesRef::EMPTY, filters, out)
    });
}

#[test]
fn packets_without_content_are_refused() {
    for version in [Version::V311, Version::V5] {
        assert_refused(EncodeError::NothingInside, |out| {
            encode_subscribe(version, ID, PropertiesRef::EMPTY, std::iter::empty(), out)
        });
        assert_refused(EncodeError::NothingInside, |out| {
            encode_unsubscribe(version, ID, PropertiesRef::EMPTY, std::iter::empty(), out)
        });
        let nothing = SubAck { packet_id: ID, properties: PropertiesRef::EMPTY, codes: &[] };
        assert_refused(EncodeError::NothingInside, |out| {
            Packet::SubAck(nothing).encode(version, out)
        });
    }
}

#[test]
fn packet_identifier_and_qos_must_agree() {
    for wrong in [
        Publish { packet_id: Some(ID), ..PUBLISH },
        Publish { qos: QoS::AtLeastOnce, ..PUBLISH },
        Publish { qos: QoS::ExactlyOnce, ..PUBLISH },
    ] {
        assert_refused(EncodeError::PacketId, |out| wrong.encode(Version::V5, out));
    }
}

#[test]
fn what_3_1_1_cannot_say_is_refused() {
    let connect = Connect { password: Some(b"p"), ..Connect::default() };
    let banned = ConnAck {
        session_present: false,
        reason: ReasonCode::BANNED,
        properties: PropertiesRef::EMPTY,
    };
    let auth = Auth { reason: ReasonCode::SUCCESS, properties: PropertiesRef::EMPTY };
    for packet in [Packet::Connect(connect), Packet::ConnAck(banned), Packet::Auth(auth)] {
        let mut out = vec![];
        let error = packet.encode(Version::V311, &mut out).expect_err("not in 3.1.1");
        assert!(matches!(error, EncodeError::NotInV311 { .. }), "{error}");
        assert!(out.is_empty());
        assert_eq!(packet.encode(Version::V5, &mut out), Ok(()));
    }
}

#[test]
fn properties_are_left_out_in_3_1_1() {
    let mut properties = Properties::new();
    properties.push(Property::MessageExpiryInterval(60)).expect("valid");
    let publish = Publish { properties: properties.as_ref(), ..PUBLISH };
    let mut out = vec![];
    publish.encode(Version::V311, &mut out).expect("fits");
    assert_eq!(out, b"\x30\x03\x00\x01t");
    assert_eq!(publish.encoded_len(Version::V311), out.len());

    let mut out = vec![];
    let ack = Ack::with_reason(ID, ReasonCode::NOT_AUTHORIZED);
    Packet::PubAck(ack).encode(Version::V311, &mut out).expect("fits");
    assert_eq!(out, b"\x40\x02\x00\x07");
}

#[test]
fn the_largest_packet_fits_and_one_byte_more_does_not() {
    let header = |payload_len: usize, out: &mut Vec<u8>| {
        let (qos, empty) = (QoS::AtMostOnce, PropertiesRef::EMPTY);
        encode_publish(Version::V5, false, qos, false, "t", 0, empty, payload_len, out)
    };
    let most = MAX_REMAINING_LENGTH as usize - 4;
    let mut out = vec![];
    let layout = header(most, &mut out).expect("the largest");
    assert_eq!(layout.total_len, 268_435_455 + 5);
    assert_eq!(out, b"\x30\xFF\xFF\xFF\x7F\x00\x01t\x00");
    let error = EncodeError::PacketTooLarge { len: 268_435_456 };
    assert_refused(error, |out| header(most + 1, out).map(drop));
    assert_refused(EncodeError::PacketTooLarge { len: usize::MAX }, |out| {
        header(usize::MAX, out).map(drop)
    });
}

/// The limit holds from the moment the length is known: no body is waited for.
#[test]
fn a_packet_above_the_limit_is_refused_before_its_body_is_there() {
    let input = b"\x30\xFF\xFF\xFF\x7F";
    let error = frame(input, Version::V5, 1_000).expect_err("too large");
    assert_eq!(error.reason, ReasonCode::PACKET_TOO_LARGE);
    let total_len = Some(268_435_460);
    assert_eq!(
        frame(input, Version::V5, u32::MAX),
        Ok(FrameStatus::Incomplete { total_len }),
        "without a limit the length is reported, and nothing else is done with it"
    );
    let exactly = b"\x30\x05\x00\x01t\x00x";
    assert!(frame(exactly, Version::V5, 7).is_ok());
    assert!(frame(exactly, Version::V5, 6).is_err());
}

#[test]
fn type_0_is_refused_by_the_body_decoder_too() {
    for version in [Version::V311, Version::V5] {
        let error = decode(version, 0x00, b"").expect_err("reserved");
        assert_eq!(error.reason, ReasonCode::MALFORMED_PACKET);
        assert_eq!(error.to_string(), "0x81 (Malformed Packet): packet type 0 is reserved");
    }
}

fn assert_refused(error: EncodeError, encode: impl Fn(&mut Vec<u8>) -> Result<(), EncodeError>) {
    let mut out = vec![0xAA];
    assert_eq!(encode(&mut out), Err(error));
    assert_eq!(out, [0xAA], "something was left behind");
    assert!(!error.to_string().is_empty());
}

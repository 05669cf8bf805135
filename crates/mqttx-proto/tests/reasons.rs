//! Reason codes: section 2.4, and the return codes of 3.1.1.

use mqttx_proto::{PacketType, ReasonCode};

/// Table 2-6 of the specification, turned by packet.
const CODES: [(PacketType, &[u8]); 9] = [
    (
        PacketType::ConnAck,
        &[
            0x00, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x8C, 0x90,
            0x95, 0x97, 0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9F,
        ],
    ),
    (PacketType::PubAck, &[0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99]),
    (PacketType::PubRec, &[0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99]),
    (PacketType::PubRel, &[0x00, 0x92]),
    (PacketType::PubComp, &[0x00, 0x92]),
    (PacketType::SubAck, &[0x00, 0x01, 0x02, 0x80, 0x83, 0x87, 0x8F, 0x91, 0x97, 0x9E, 0xA1, 0xA2]),
    (PacketType::UnsubAck, &[0x00, 0x11, 0x80, 0x83, 0x87, 0x8F, 0x91]),
    (
        PacketType::Disconnect,
        &[
            0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8B, 0x8C, 0x8D, 0x8E, 0x8F, 0x90,
            0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9E, 0x9F, 0xA0,
            0xA1, 0xA2,
        ],
    ),
    (PacketType::Auth, &[0x00, 0x18, 0x19]),
];

#[test]
fn each_packet_has_exactly_the_codes_of_its_table() {
    for (packet, codes) in CODES {
        for value in 0..=255 {
            let valid = ReasonCode::new(value).is_valid_in(packet);
            assert_eq!(valid, codes.contains(&value), "0x{value:02X} in {packet}");
        }
    }
    for packet in [PacketType::Connect, PacketType::Publish, PacketType::PingResp] {
        assert!((0..=255).all(|value| !ReasonCode::new(value).is_valid_in(packet)));
    }
}

#[test]
fn codes_are_errors_from_0x80() {
    assert!(!ReasonCode::new(0x7F).is_error());
    assert!(ReasonCode::UNSPECIFIED_ERROR.is_error());
    assert_eq!(ReasonCode::NORMAL_DISCONNECTION, ReasonCode::GRANTED_QOS_0);
}

#[test]
fn codes_say_value_and_name() {
    assert_eq!(ReasonCode::NOT_AUTHORIZED.to_string(), "0x87 (Not authorized)");
    assert_eq!(ReasonCode::SUCCESS.to_string(), "0x00 (Success)");
    assert_eq!(ReasonCode::new(0x7E).to_string(), "0x7E (Unknown reason)");
}

#[test]
fn return_codes_of_3_1_1_have_their_meaning_in_5() {
    let mapped: Vec<u8> =
        (0..=5).map(|code| ReasonCode::from_connack_v311(code).unwrap().value()).collect();
    assert_eq!(mapped, [0, 132, 133, 136, 134, 135]);
    for code in 0..=255 {
        let reason = ReasonCode::from_connack_v311(code);
        assert_eq!(reason.is_some(), code <= 5);
        if let Some(reason) = reason {
            assert_eq!(reason.to_connack_v311(), Some(code));
        }
    }
    assert_eq!(ReasonCode::BANNED.to_connack_v311(), None);
}

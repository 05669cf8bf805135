//! Packets that come together are what they are one by one: what is only compared with the packet before is as good as checked.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic fails the test")]

use std::time::Instant;

use mqttx_proto::{
    Config, FrameStatus, Inbound, PacketId, Phase, Properties, PropertiesRef, Property, Publish,
    QoS, Session, Version, frame,
};
use mqttx_test::hex;

const LARGEST: u32 = 20_000;

/// A connected session, with room for aliases in v5.
fn session(version: Version) -> Session {
    session_with(version, LARGEST)
}

fn session_with(version: Version, largest: u32) -> Session {
    let mut config = Config::new(version);
    config.maximum_packet_size = Some(largest);
    config.topic_alias_maximum = Some(3);
    config.receive_maximum = Some(500);
    let mut session = Session::new(config);
    session.handle_connected(Instant::now(), 1);
    let connack: &[u8] = match version {
        Version::V5 => &[0x20, 3, 0, 0, 0],
        Version::V311 => &[0x20, 2, 0, 0],
    };
    assert_eq!(session.handle_input(Instant::now(), connack, &mut Vec::new()), connack.len());
    session
}

/// What a session says of its input.
#[derive(Debug, PartialEq)]
struct Said {
    messages: Vec<String>,
    phase: Phase,
    events: Vec<String>,
    duplicates: u64,
    bytes_to_send: usize,
}

fn said(session: &mut Session, messages: Vec<String>) -> Said {
    let mut events = Vec::new();
    while let Some(event) = session.poll_event() {
        events.push(format!("{event:?}"));
    }
    let mut out = mqttx_proto::Transmit::new();
    session.poll_transmit(&mut out);
    let (phase, duplicates) = (session.phase(), session.received_duplicates());
    Said { messages, phase, events, duplicates, bytes_to_send: out.remaining() }
}

fn describe(inbound: &[Inbound<'_>]) -> Vec<String> {
    let each = inbound.iter().map(|one| {
        let (publish, len) = (one.publish(), one.publish().payload.len());
        let payload = &publish.payload[..len.min(24)];
        format!("{:?} {len} {:?} {}", Publish { payload, ..publish }, one.ticket, one.packet_len)
    });
    each.collect()
}

fn together(version: Version, input: &[u8]) -> Said {
    let mut session = session(version);
    let mut inbound = Vec::new();
    session.handle_input(Instant::now(), input, &mut inbound);
    let messages = describe(&inbound);
    said(&mut session, messages)
}

fn one_by_one(version: Version, input: &[u8]) -> Said {
    let mut session = session(version);
    let (mut messages, mut rest) = (Vec::new(), input);
    while session.phase() == Phase::Online {
        let end = match frame(rest, version, LARGEST) {
            Ok(FrameStatus::Complete(found)) => found.total_len,
            _ => rest.len(),
        };
        let (packet, after) = rest.split_at(end);
        let mut inbound = Vec::new();
        session.handle_input(Instant::now(), packet, &mut inbound);
        messages.extend(describe(&inbound));
        rest = after;
        if rest.is_empty() {
            break;
        }
    }
    said(&mut session, messages)
}

/// Numbers that are the same each time.
struct Numbers(u32);

impl Numbers {
    fn below(&mut self, limit: u32) -> usize {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        ((self.0 >> 16) % limit) as usize
    }
}

/// Rows of packets, in each of which a byte of the beginning is changed now and then, and which may end in the middle of one.
fn input(version: Version, numbers: &mut Numbers) -> Vec<u8> {
    let mut named = Properties::new();
    named.push(Property::ContentType("text")).unwrap();
    let mut aliased = Properties::new();
    aliased.push(Property::TopicAlias(2)).unwrap();
    let payload = [b'x'; 20_100];
    let (mut input, mut packet) = (Vec::new(), Vec::new());
    for _ in 0..1 + numbers.below(6) {
        let qos = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce][numbers.below(3)];
        let properties = match (version, numbers.below(4)) {
            (Version::V5, 0) => named.as_ref(),
            (Version::V5, 1) => aliased.as_ref(),
            _ => PropertiesRef::EMPTY,
        };
        let first = Publish {
            dup: qos > QoS::AtMostOnce && numbers.below(3) == 0,
            qos,
            retain: numbers.below(3) == 0,
            topic: ["a", "a/b", "a/longer/topic"][numbers.below(3)],
            packet_id: None,
            properties,
            payload: &[],
        };
        for n in 0..numbers.below(12) {
            let most = [1, 40, 200, 17_000, 20_100][numbers.below(5)];
            let id = 1 + numbers.below(30) as u16;
            // Most rows have one topic, others a few.
            let topic = [first.topic, first.topic, "a/c", "", "d/\u{e9}t\u{e9}/e"]
                [if numbers.below(4) == 0 { numbers.below(5) } else { 0 }];
            let unnamed = n > 0 && properties == aliased.as_ref() && numbers.below(2) == 0;
            let publish = Publish {
                payload: &payload[..numbers.below(most)],
                packet_id: PacketId::new(id).filter(|_| qos > QoS::AtMostOnce),
                topic: if unnamed { "" } else { topic },
                ..first
            };
            packet.clear();
            publish.encode(version, &mut packet).unwrap();
            if numbers.below(20) == 0 {
                let at = numbers.below(packet.len().min(24) as u32);
                packet[at] ^= 1 << numbers.below(8);
            }
            input.extend_from_slice(&packet);
        }
        if numbers.below(3) == 0 {
            input.extend_from_slice(&[0xD0, 0]);
        }
    }
    if numbers.below(3) == 0 {
        input.truncate(input.len() - numbers.below(1 + input.len().min(100) as u32));
    }
    input
}

#[test]
fn packets_of_a_row_are_what_they_are_one_by_one() {
    let mut numbers = Numbers(1);
    let (mut messages, mut faults) = (0, 0);
    for round in 0..1500 {
        let version = if round % 3 == 0 { Version::V311 } else { Version::V5 };
        let input = input(version, &mut numbers);
        let expected = one_by_one(version, &input);
        let got = together(version, &input);
        assert!(got == expected, "round {round}, {input:?}\n{got:#?}\n{expected:#?}");
        messages += got.messages.len();
        faults += usize::from(got.phase == Phase::Closing);
    }
    assert!(messages > 12_000 && faults > 150, "{messages} messages, {faults} faults");
}

#[test]
fn a_row_beyond_our_receive_maximum_is_a_fault() {
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let mut input = Vec::new();
        // What comes behind the fault does not count, not even as a message that came again.
        for id in (1..=501).chain([1]) {
            let publish = Publish {
                dup: false,
                qos,
                retain: false,
                topic: "t",
                packet_id: PacketId::new(id),
                properties: PropertiesRef::EMPTY,
                payload: b"x",
            };
            publish.encode(Version::V5, &mut input).unwrap();
        }
        let said = together(Version::V5, &input);
        assert_eq!((said.messages.len(), said.phase), (500, Phase::Closing));
        assert_eq!(said, one_by_one(Version::V5, &input));
    }
}

/// A PUBLISH to `t` with QoS 1 and the payload `x`, and what may come behind it. None is of the row.
#[test]
fn what_only_looks_like_one_of_a_row_is_what_it_is() {
    let begins = |version| match version {
        Version::V311 => "32 06 0001 74",
        Version::V5 => "32 07 0001 74",
    };
    for version in [Version::V311, Version::V5] {
        let none = if version == Version::V5 { "00" } else { "" };
        let first = hex(&format!("{} 0001 {none} 78", begins(version)));
        let others = [
            // A packet id of 0.
            format!("32 {{ <t> 0000 {none} 78 }}"),
            // A length in more bytes than it needs.
            if version == Version::V5 {
                "32 8700 0001 74 0002 00 78".into()
            } else {
                "32 8600 0001 74 0002 78".into()
            },
            if version == Version::V5 {
                "32 878000 0001 74 0002 00 78".into()
            } else {
                "32 868000 0001 74 0002 78".into()
            },
            // A length that ends before topic, id or properties do.
            "32 00".into(),
            "32 02 0001".into(),
            "32 04 0001 74 00".into(),
            // DUP, and the same id.
            format!("3a {{ <t> 0001 {none} 78 }}"),
            format!("32 {{ <t> 0001 {none} 78 }}"),
            format!("32 {{ <t> 0001 {none} }}"),
            format!("34 {{ <t> 0001 {none} 78 }}"),
            format!("30 {{ <t> {none} 78 }}"),
            format!("36 {{ <t> 0001 {none} 78 }}"),
            // Other topics, and none.
            format!("32 {{ <u> 0001 {none} 78 }}"),
            format!("32 {{ <tt> 0001 {none} 78 }}"),
            format!("32 {{ 0001 ff 0002 {none} 78 }}"),
            format!("32 {{ 0000 0002 {none} 78 }}"),
            // Properties, if there are any: of more, of less, in more bytes, twice, and beyond the end.
            "32 { <t> 0002 02 0100 78 }".into(),
            "32 { <t> 0002 02 0102 78 }".into(),
            "32 { <t> 0002 8200 0100 78 }".into(),
            "32 { <t> 0002 04 0100 0100 78 }".into(),
            "32 { <t> 0002 03 78 }".into(),
        ];
        for other in &others {
            for last in [format!("32 {{ <t> 0003 {none} 79 }}"), other.clone()] {
                let input = [first.clone(), hex(other), hex(&last)].concat();
                let said = together(version, &input);
                assert!(!said.messages.is_empty(), "{other}");
                assert_eq!(said, one_by_one(version, &input), "{version}: {other}");
            }
        }
    }
}

#[test]
fn a_row_does_not_go_beyond_our_maximum_packet_size() {
    for (largest, messages) in [(300, 3), (299, 1)] {
        let mut session = session_with(Version::V5, largest);
        let (mut input, mut inbound) = (Vec::new(), Vec::new());
        // The second one is as large as may be, or one byte larger.
        for len in [200, 293, 200] {
            let (topic, properties) = ("t", PropertiesRef::EMPTY);
            let (qos, payload) = (QoS::AtMostOnce, &[b'x'; 300][..len]);
            let publish = Publish {
                dup: false,
                qos,
                retain: false,
                topic,
                packet_id: None,
                properties,
                payload,
            };
            publish.encode(Version::V5, &mut input).unwrap();
        }
        session.handle_input(Instant::now(), &input, &mut inbound);
        assert_eq!(inbound.len(), messages);
        assert_eq!(session.phase() == Phase::Closing, messages == 1);
    }
}

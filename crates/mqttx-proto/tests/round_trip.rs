//! Whatever is encoded decodes to the same, in any split; no bytes make the decoder panic.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic fails the test")]

#[path = "support/exercise.rs"]
mod exercise;
#[path = "support/strategies.rs"]
mod strategies;

use mqttx_proto::{
    Ack, Auth, ConnAck, Connect, Disconnect, FrameStatus, KeepAlive, Packet, PacketType, Property,
    PropertyContext as Context, Publish, QoS, ReasonCode, SubAck, Version, Will, decode,
    encode_publish, encode_subscribe, encode_unsubscribe, frame,
};
use proptest::prelude::*;
use strategies::*;

proptest! {
    #[test]
    fn publish_survives(m in message(), version in version(), id in packet_id(), dup: bool) {
        let packet_id = (m.qos != QoS::AtMostOnce).then_some(id);
        let publish = Publish {
            dup: dup && m.qos != QoS::AtMostOnce,
            qos: m.qos,
            retain: m.retain,
            topic: &m.topic,
            packet_id,
            properties: in_version(&m.properties, version),
            payload: &m.payload,
        };
        let bytes = assert_survives(version, &Packet::Publish(publish));
        prop_assert_eq!(publish.encoded_len(version), bytes.len());
    }

    /// The placeholders of an encoded PUBLISH can be filled in later.
    #[test]
    fn publish_layout_says_where_to_patch(m in message(), version in version(), id in packet_id()) {
        let properties = in_version(&m.properties, version);
        let mut out = vec![0xAA; 3];
        let layout = encode_publish(
            version, false, m.qos, m.retain, &m.topic, 0, properties, m.payload.len(), &mut out,
        ).unwrap();
        out.extend_from_slice(&m.payload);
        let packet = &mut out[3..];
        prop_assert_eq!(packet.len(), layout.total_len);
        prop_assert_eq!(layout.packet_id_offset.is_some(), m.qos != QoS::AtMostOnce);
        if let Some(at) = layout.packet_id_offset {
            packet[at..at + 2].copy_from_slice(&id.get().to_be_bytes());
            packet[layout.header_offset] |= 0b1000;
        }
        let expiry = properties.message_expiry_interval();
        prop_assert_eq!(layout.message_expiry_offset.is_some(), expiry.is_some());
        if let Some(at) = layout.message_expiry_offset {
            prop_assert_eq!(&packet[at..at + 4], &expiry.unwrap().to_be_bytes()[..]);
            packet[at..at + 4].copy_from_slice(&7_u32.to_be_bytes());
        }
        let Packet::Publish(publish) = decode_one(version, packet) else { panic!() };
        prop_assert_eq!(publish.packet_id, layout.packet_id_offset.map(|_| id));
        prop_assert_eq!(publish.dup, m.qos != QoS::AtMostOnce);
        prop_assert_eq!(publish.properties.message_expiry_interval(), expiry.map(|_| 7));
        prop_assert_eq!(publish.payload, &m.payload[..]);
    }

    #[test]
    fn connect_survives(
        version in version(),
        will in prop::option::of((message(), properties(Context::Will))),
        (clean, keep_alive, client_id) in (any::<bool>(), any::<u16>(), text()),
        username in prop::option::of(text()),
        password in prop::option::of(bytes()),
        properties in properties(Context::Connect),
    ) {
        let mut properties = properties;
        if properties.as_ref().authentication_data().is_some() {
            properties.set(Property::AuthenticationMethod("m")).unwrap();
        }
        let will = will.as_ref().map(|(m, properties)| Will {
            topic: &m.topic,
            payload: &m.payload,
            qos: m.qos,
            retain: m.retain,
            properties: in_version(properties, version),
        });
        let password = match version {
            Version::V311 => password.filter(|_| username.is_some()),
            Version::V5 => password,
        };
        let connect = Connect {
            clean_start: clean || client_id.is_empty(),
            keep_alive: KeepAlive::from_secs(keep_alive),
            client_id: &client_id,
            will,
            username: username.as_deref(),
            password: password.as_deref(),
            properties: in_version(&properties, version),
        };
        assert_survives(version, &Packet::Connect(connect));
    }

    #[test]
    fn connack_survives(
        version in version(),
        present: bool,
        reason in reason(PacketType::ConnAck),
        properties in properties(Context::ConnAck),
    ) {
        let sendable = version == Version::V5 || reason.to_connack_v311().is_some();
        let reason = if sendable { reason } else { ReasonCode::NOT_AUTHORIZED };
        let ack = ConnAck {
            session_present: present && !reason.is_error(),
            reason,
            properties: in_version(&properties, version),
        };
        assert_survives(version, &Packet::ConnAck(ack));
    }

    #[test]
    fn acknowledgements_survive(
        version in version(),
        packet_id in packet_id(),
        (kind, reason) in (0..4_usize).prop_flat_map(|kind| (Just(kind), reason(ACKS[kind].0))),
        properties in properties(Context::PubAck),
    ) {
        let (packet_type, wrap) = ACKS[kind];
        let reason = if version == Version::V5 { reason } else { ReasonCode::SUCCESS };
        let ack = Ack { packet_id, reason, properties: in_version(&properties, version) };
        let packet = wrap(ack);
        prop_assert_eq!(packet.packet_type(), packet_type);
        assert_survives(version, &packet);
    }

    #[test]
    fn subscribe_survives(
        version in version(),
        id in packet_id(),
        wanted in prop::collection::vec((filter(), options()), 1..5),
        properties in properties(Context::Subscribe),
    ) {
        let wanted: Vec<_> = wanted
            .iter()
            .map(|(filter, options)| (filter.as_str(), plain(*options, filter, version)))
            .collect();
        let mut out = vec![];
        let properties = in_version(&properties, version);
        encode_subscribe(version, id, properties, wanted.iter().copied(), &mut out).unwrap();
        let packet = decode_one(version, &out);
        let Packet::Subscribe(found) = packet else { panic!("{packet:?}") };
        prop_assert_eq!(found.packet_id, id);
        prop_assert_eq!(found.properties, properties);
        let filters: Vec<_> = found.filters.iter().map(|f| (f.filter, f.options)).collect();
        prop_assert_eq!(filters, wanted);
        prop_assert_eq!(assert_survives(version, &packet), out);
    }

    #[test]
    fn unsubscribe_survives(
        version in version(),
        id in packet_id(),
        wanted in prop::collection::vec(filter(), 1..5),
        properties in properties(Context::Unsubscribe),
    ) {
        let mut out = vec![];
        let properties = in_version(&properties, version);
        let filters = wanted.iter().map(String::as_str);
        encode_unsubscribe(version, id, properties, filters, &mut out).unwrap();
        let packet = decode_one(version, &out);
        let Packet::Unsubscribe(found) = packet else { panic!("{packet:?}") };
        prop_assert_eq!(found.filters.iter().collect::<Vec<_>>(), wanted);
        prop_assert_eq!(assert_survives(version, &packet), out);
    }

    #[test]
    fn suback_and_unsuback_survive(
        version in version(),
        packet_id in packet_id(),
        unsubscribed: bool,
        codes in prop::collection::vec(reason(PacketType::SubAck), 1..5),
        properties in properties(Context::SubAck),
    ) {
        let codes: Vec<u8> = match (version, unsubscribed) {
            (Version::V311, true) => vec![],
            (Version::V311, false) => codes.iter().map(|code| code.value().min(0x80)).collect(),
            // The codes that both have.
            (Version::V5, true) => vec![0x00, 0x80, 0x91],
            (Version::V5, false) => codes.iter().map(|code| code.value()).collect(),
        };
        let properties = in_version(&properties, version);
        let ack = SubAck { packet_id, properties, codes: &codes };
        let wrap = if unsubscribed { Packet::UnsubAck } else { Packet::SubAck };
        assert_survives(version, &wrap(ack));
    }

    #[test]
    fn disconnect_and_auth_survive(
        version in version(),
        reason in reason(PacketType::Disconnect),
        step in reason(PacketType::Auth),
        last in properties(Context::Disconnect),
        proof in properties(Context::Auth),
    ) {
        let reason = if version == Version::V5 { reason } else { ReasonCode::SUCCESS };
        let last = in_version(&last, version);
        assert_survives(version, &Packet::Disconnect(Disconnect { reason, properties: last }));
        let mut proof = proof;
        proof.set(Property::AuthenticationMethod("m")).unwrap();
        let auth = Auth { reason: step, properties: proof.as_ref() };
        assert_survives(Version::V5, &Packet::Auth(auth));
        prop_assert!(auth.encode(Version::V311, &mut vec![]).is_err());
    }

    /// A stream that arrives in pieces of any size holds the same packets.
    #[test]
    fn any_split_of_the_bytes_decodes_alike(
        messages in prop::collection::vec(message(), 1..6),
        pieces in prop::collection::vec(1..9_usize, 1..20),
    ) {
        let mut stream = vec![];
        for m in &messages {
            let id = if m.qos == QoS::AtMostOnce { 0 } else { 1 };
            let payload = m.payload.len();
            encode_publish(
                Version::V5, false, m.qos, m.retain, &m.topic, id, m.properties.as_ref(), payload,
                &mut stream,
            ).unwrap();
            stream.extend_from_slice(&m.payload);
        }
        let mut buffer: Vec<u8> = vec![];
        let mut found = vec![];
        let mut rest = &stream[..];
        let mut pieces = pieces.iter().cycle();
        while !rest.is_empty() {
            let (piece, after) = rest.split_at((*pieces.next().unwrap()).min(rest.len()));
            rest = after;
            buffer.extend_from_slice(piece);
            while let FrameStatus::Complete(one) = frame(&buffer, Version::V5, u32::MAX).unwrap() {
                found.push(buffer.drain(..one.total_len).collect::<Vec<_>>());
            }
        }
        prop_assert!(buffer.is_empty());
        prop_assert_eq!(found.concat(), stream);
        for (bytes, m) in found.iter().zip(&messages) {
            let Packet::Publish(publish) = decode_one(Version::V5, bytes) else { panic!() };
            prop_assert_eq!(publish.topic, &m.topic);
            prop_assert_eq!(publish.payload, &m.payload[..]);
        }
        prop_assert_eq!(found.len(), messages.len());
    }

    #[test]
    fn random_bytes_never_panic(data in prop::collection::vec(any::<u8>(), 0..64)) {
        exercise::exercise(&data);
    }

    /// Random bytes rarely get past the fixed header; these always do.
    #[test]
    fn random_bodies_never_panic(
        version in version(),
        first_byte: u8,
        body in prop::collection::vec(prop_oneof![0..4_u8, any::<u8>()], 0..64),
    ) {
        if let Ok(packet) = decode(version, first_byte, &body) {
            assert_survives(version, &packet);
        }
    }

    /// A valid packet with a few bytes changed gets far into the decoder.
    #[test]
    fn damaged_packets_never_panic(
        m in message(),
        version in version(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut data = vec![u8::from(version == Version::V5)];
        encode_publish(
            version, false, m.qos, m.retain, &m.topic, 1, m.properties.as_ref(), m.payload.len(),
            &mut data,
        ).unwrap();
        data.extend_from_slice(&m.payload);
        for (at, value) in damage {
            let at = at.index(data.len());
            data[at] = value;
        }
        exercise::exercise(&data);
    }
}

type Wrap = fn(Ack<'_>) -> Packet<'_>;

const ACKS: [(PacketType, Wrap); 4] = [
    (PacketType::PubAck, |ack| Packet::PubAck(ack)),
    (PacketType::PubRec, |ack| Packet::PubRec(ack)),
    (PacketType::PubRel, |ack| Packet::PubRel(ack)),
    (PacketType::PubComp, |ack| Packet::PubComp(ack)),
];

/// Encodes, checks that every cut is incomplete, decodes and compares; gives the bytes.
fn assert_survives(version: Version, packet: &Packet<'_>) -> Vec<u8> {
    let mut out = vec![];
    packet.encode(version, &mut out).unwrap();
    assert_eq!(decode_one(version, &out), *packet, "encoded as {out:02x?}");
    for len in 0..out.len() {
        let status = frame(&out[..len], version, u32::MAX);
        assert!(matches!(status, Ok(FrameStatus::Incomplete { .. })), "{len} bytes: {status:?}");
    }
    out
}

fn decode_one(version: Version, bytes: &[u8]) -> Packet<'_> {
    match frame(bytes, version, u32::MAX) {
        Ok(FrameStatus::Complete(found)) if found.total_len == bytes.len() => {
            decode(version, found.first_byte, found.body(bytes)).unwrap()
        }
        other => panic!("{bytes:02x?} is {other:?}"),
    }
}

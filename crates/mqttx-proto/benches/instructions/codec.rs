//! Packets to bytes and back.

use std::hint::black_box;

use mqttx_proto::{
    Ack, FrameStatus, PacketId, PacketType, Properties, PropertiesRef, Property, Publish, QoS,
    Version, frame,
};

pub(crate) const TOPIC: &str = "site/hall7/line3/temperature";
pub(crate) const PAYLOAD: [u8; 64] = [7; 64];

pub(crate) fn encode_publish(times: usize) {
    encode(&publish(PropertiesRef::EMPTY), times);
}

pub(crate) fn encode_publish_with_properties(times: usize) {
    let properties = properties();
    encode(&publish(properties.as_ref()), times);
}

pub(crate) fn encode_puback(times: usize) {
    let mut out = Vec::new();
    for _ in 0..times {
        out.clear();
        let ack = Ack::new(black_box(id()));
        ack.encode(PacketType::PubAck, Version::V5, &mut out).unwrap();
        black_box(&out);
    }
}

pub(crate) fn decode_publish(times: usize) {
    decode(&bytes(PropertiesRef::EMPTY), times);
}

pub(crate) fn decode_publish_with_properties(times: usize) {
    let properties = properties();
    decode(&bytes(properties.as_ref()), times);
}

pub(crate) fn decode_puback(times: usize) {
    let mut packet = Vec::new();
    Ack::new(id()).encode(PacketType::PubAck, Version::V5, &mut packet).unwrap();
    for _ in 0..times {
        let (flags, body) = body_of(black_box(&packet));
        black_box(Ack::decode(PacketType::PubAck, Version::V5, flags, body).unwrap());
    }
}

fn encode(publish: &Publish<'_>, times: usize) {
    let mut out = Vec::new();
    for _ in 0..times {
        out.clear();
        black_box(publish).encode(Version::V5, &mut out).unwrap();
        black_box(&out);
    }
}

fn decode(packet: &[u8], times: usize) {
    for _ in 0..times {
        let (flags, body) = body_of(black_box(packet));
        black_box(Publish::decode(Version::V5, flags, body).unwrap());
    }
}

fn body_of(packet: &[u8]) -> (u8, &[u8]) {
    let Ok(FrameStatus::Complete(found)) = frame(packet, Version::V5, u32::MAX) else {
        panic!("a whole packet");
    };
    (found.first_byte & 0x0f, &packet[found.header_len..found.total_len])
}

fn publish(properties: PropertiesRef<'_>) -> Publish<'_> {
    Publish {
        dup: false,
        qos: QoS::AtLeastOnce,
        retain: false,
        topic: TOPIC,
        packet_id: Some(id()),
        properties,
        payload: &PAYLOAD,
    }
}

/// What a request carries, and two properties of the application.
fn properties() -> Properties {
    let mut properties = Properties::new();
    properties.push(Property::ContentType("application/json")).unwrap();
    properties.push(Property::ResponseTopic("replies/7")).unwrap();
    properties.push(Property::CorrelationData(b"0123456789abcdef")).unwrap();
    properties.push(Property::MessageExpiryInterval(3600)).unwrap();
    properties.push(Property::UserProperty("unit", "celsius")).unwrap();
    properties.push(Property::UserProperty("source", "plc-7")).unwrap();
    properties
}

fn bytes(properties: PropertiesRef<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    publish(properties).encode(Version::V5, &mut out).unwrap();
    out
}

fn id() -> PacketId {
    PacketId::new(4711).unwrap()
}

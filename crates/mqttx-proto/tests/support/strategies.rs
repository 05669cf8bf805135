//! Random parts of packets.

use mqttx_proto::{
    PacketId, PacketType, Properties, PropertiesRef, PropertyContext, PropertyId, QoS, ReasonCode,
    RetainHandling, SubscribeOptions, Version, WireType, split_shared,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) topic: String,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) payload: Vec<u8>,
    pub(crate) properties: Properties,
}

pub(crate) fn message() -> impl Strategy<Value = Message> {
    let parts = ("[a-cü/$ ]{1,20}", qos(), any::<bool>(), bytes());
    (parts, properties(PropertyContext::Publish)).prop_map(|(parts, properties)| {
        let (topic, qos, retain, payload) = parts;
        Message { topic, qos, retain, payload, properties }
    })
}

pub(crate) fn version() -> impl Strategy<Value = Version> {
    select(vec![Version::V311, Version::V5])
}

pub(crate) fn qos() -> impl Strategy<Value = QoS> {
    select(vec![QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce])
}

pub(crate) fn packet_id() -> impl Strategy<Value = PacketId> {
    (1..=u16::MAX).prop_filter_map("not 0", PacketId::new)
}

pub(crate) fn text() -> impl Strategy<Value = String> {
    "[^\\x00+#]{0,12}"
}

pub(crate) fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![vec(any::<u8>(), 0..16), vec(any::<u8>(), 100..140)]
}

/// Any code that the packet may carry.
pub(crate) fn reason(packet_type: PacketType) -> impl Strategy<Value = ReasonCode> {
    let codes = (0..=255).map(ReasonCode::new);
    select(codes.filter(|code| code.is_valid_in(packet_type)).collect::<Vec<_>>())
}

pub(crate) fn filter() -> impl Strategy<Value = String> {
    ("[ab]?", vec("\\+|[ab]{0,2}", 0..4), any::<bool>(), any::<bool>())
        .prop_map(|(first, more, rest, shared)| {
            let filter = [&[first], &more[..]].concat().join("/");
            let filter = if rest { filter + "/#" } else { filter };
            if shared { format!("$share/g/{filter}") } else { filter }
        })
        .prop_filter("not empty", |filter| !filter.is_empty() && filter != "$share/g/")
}

pub(crate) fn options() -> impl Strategy<Value = SubscribeOptions> {
    let handling = select(vec![
        RetainHandling::SendAtSubscribe,
        RetainHandling::SendIfNew,
        RetainHandling::DoNotSend,
    ]);
    (qos(), any::<bool>(), any::<bool>(), handling).prop_map(
        |(qos, no_local, retain_as_published, retain_handling)| SubscribeOptions {
            qos,
            no_local,
            retain_as_published,
            retain_handling,
        },
    )
}

/// The options that this version can say about this filter.
pub(crate) fn plain(options: SubscribeOptions, filter: &str, version: Version) -> SubscribeOptions {
    match version {
        Version::V311 => SubscribeOptions::new(options.qos),
        Version::V5 => SubscribeOptions {
            no_local: options.no_local && split_shared(filter).is_none(),
            ..options
        },
    }
}

pub(crate) fn in_version(properties: &Properties, version: Version) -> PropertiesRef<'_> {
    if version == Version::V5 { properties.as_ref() } else { PropertiesRef::EMPTY }
}

/// Up to five properties that the packet may carry, with random values.
pub(crate) fn properties(context: PropertyContext) -> impl Strategy<Value = Properties> {
    let ids = PropertyId::ALL.iter().copied().filter(|id| id.allowed_in(context));
    let property = (select(ids.collect::<Vec<_>>()), any::<u32>(), text(), text(), bytes());
    vec(property, 0..6).prop_map(move |list| {
        let mut raw = vec![];
        for (id, number, name, value, bytes) in list {
            let mut longer = raw.clone();
            longer.push(id as u8);
            match id.wire_type() {
                WireType::Byte => longer.push(number as u8 & 1),
                WireType::TwoByte => longer.extend((number as u16).max(1).to_be_bytes()),
                WireType::FourByte => longer.extend(number.max(1).to_be_bytes()),
                WireType::VarInt => mqttx_proto::wire::put_varint(&mut longer, (number / 16) | 1),
                WireType::Utf8 => put(&mut longer, value.as_bytes()),
                WireType::Binary => put(&mut longer, &bytes),
                WireType::Utf8Pair => {
                    put(&mut longer, name.as_bytes());
                    put(&mut longer, value.as_bytes());
                }
            }
            // A second one of its kind is left out, where only one is allowed.
            if PropertiesRef::parse(&longer, context).is_ok() {
                raw = longer;
            }
        }
        Properties::from_raw(raw, context).unwrap()
    })
}

fn put(out: &mut Vec<u8>, value: &[u8]) {
    mqttx_proto::wire::put_binary(out, "value", value).unwrap();
}

//! Records as the claims need them, in short.

use mqttx_proto::{
    PacketId, Priority, PropertiesRef, QoS, ReasonCode, Record, Sequence, StoredMessage,
    SubscribeOptions,
};

/// Message `number` of the lowest priority.
pub(super) const fn low(number: u64) -> Sequence {
    Sequence::new(Priority::LOWEST, number)
}

pub(super) fn id(value: u16) -> PacketId {
    PacketId::new(value).expect("a packet id")
}

pub(super) const fn enqueue(sequence: Sequence, payload: &[u8]) -> Record<'_> {
    let message = StoredMessage {
        topic: "contract/of/stores",
        payload,
        qos: QoS::ExactlyOnce,
        retain: false,
        properties: PropertiesRef::EMPTY,
        expires_at: None,
        give_up_at: None,
        origin: None,
    };
    Record::Enqueue { sequence, message }
}

pub(super) fn assign(sequence: Sequence, packet: u16, order: u64) -> Record<'static> {
    Record::Assign { sequence, id: id(packet), order }
}

pub(super) const fn done(sequence: Sequence) -> Record<'static> {
    Record::Done { sequence }
}

pub(super) fn received(packet: u16) -> Record<'static> {
    Record::Received { id: id(packet) }
}

pub(super) fn forgotten(packet: u16) -> Record<'static> {
    Record::Forgotten { id: id(packet) }
}

pub(super) fn subscribe(filter: &str) -> Record<'_> {
    let options = SubscribeOptions::default();
    Record::Subscribe { filter, options, identifier: None, properties: PropertiesRef::EMPTY }
}

pub(super) const fn granted(filter: &str) -> Record<'_> {
    Record::Granted { filter, code: ReasonCode::GRANTED_QOS_1 }
}

pub(super) const fn epoch(epoch: u64) -> Record<'static> {
    Record::Epoch { epoch, broker: 0x0123_4567_89ab_cdef, client_id: "gateway" }
}

/// A record in a line, without its payload.
pub(super) fn line(record: &Record<'_>) -> String {
    match record {
        Record::Enqueue { sequence, message } => {
            format!("enqueue {sequence}, {} bytes", message.payload.len())
        }
        other => format!("{other:?}"),
    }
}

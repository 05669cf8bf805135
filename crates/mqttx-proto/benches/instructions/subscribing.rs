//! Filters that are subscribed and unsubscribed one by one while nothing has an answer yet.
//!
//! One operation is one filter, with all that happens to it. A walk over the others for each of them would show at once.

use std::hint::black_box;

use mqttx_proto::{
    Config, NO_TOKEN, PacketId, PacketType, PropertiesRef, QoS, SubAck, SubscribeOptions,
    Subscription, Version,
};

use crate::session::Turns;

/// Connected: all filters are subscribed before the server answers, and then all unsubscribed.
pub(crate) fn online(times: usize) {
    let mut turns = Turns::connect(Config::new(Version::V5));
    let filters = filters(times);
    subscribe(&mut turns, &filters);
    answer(&mut turns);
    assert_eq!(turns.session.subscriptions(), times);
    unsubscribe(&mut turns, &filters);
    answer(&mut turns);
    assert_eq!(turns.session.subscriptions(), 0);
}

/// Subscribed, unsubscribed and subscribed again without a connection; then lost by the server, with nothing answered.
pub(crate) fn offline(times: usize) {
    let mut config = Config::new(Version::V5);
    config.clean_start = false;
    let mut turns = Turns::connect(config);
    let filters = filters(times);
    turns.session.handle_disconnected();
    subscribe(&mut turns, &filters);
    unsubscribe(&mut turns, &filters);
    subscribe(&mut turns, &filters);
    for session_present in [false, true, false] {
        turns.reconnect(session_present);
        turns.transmitted();
        turns.session.handle_disconnected();
    }
    turns.reconnect(true);
    answer(&mut turns);
    assert!(filters.iter().all(|filter| turns.session.is_granted(filter)));
    turns.session.handle_disconnected();
    turns.reconnect(false);
    answer(&mut turns);
}

fn filters(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("plant/{number:06}/+")).collect()
}

fn subscribe(turns: &mut Turns, filters: &[String]) {
    let options = SubscribeOptions::new(QoS::AtLeastOnce);
    for filter in filters {
        let wanted = [Subscription { filter, options, identifier: None }];
        turns.session.subscribe(black_box(&wanted), PropertiesRef::EMPTY, NO_TOKEN).unwrap();
    }
}

fn unsubscribe(turns: &mut Turns, filters: &[String]) {
    for filter in filters {
        turns.session.unsubscribe(black_box(&[filter]), PropertiesRef::EMPTY, NO_TOKEN).unwrap();
    }
}

/// The server's answers to all that the client has to say.
fn answer(turns: &mut Turns) {
    while !turns.session.is_settled() {
        let sent = turns.transmitted();
        let mut rest = &sent[..];
        while let [first_byte, after @ ..] = rest {
            let (len, body) = remaining_length(after);
            let packet = Asked::read(*first_byte, &body[..len]);
            let codes = vec![0; packet.filters];
            let ack =
                SubAck { packet_id: packet.id, properties: PropertiesRef::EMPTY, codes: &codes };
            let mut bytes = Vec::new();
            ack.encode(packet.answer, Version::V5, &mut bytes).unwrap();
            turns.session.handle_input(turns.now, &bytes, &mut Vec::new());
            while turns.session.poll_event().is_some() {}
            rest = &body[len..];
        }
        assert!(!sent.is_empty(), "waits for nothing");
    }
}

/// A SUBSCRIBE or UNSUBSCRIBE without properties.
///
/// It is read here, since another caller of the decoder would change what the compiler makes of it in the other scenarios.
struct Asked {
    id: PacketId,
    filters: usize,
    answer: PacketType,
}

impl Asked {
    fn read(first_byte: u8, body: &[u8]) -> Self {
        let (answer, options) = match first_byte {
            0x82 => (PacketType::SubAck, 1),
            0xa2 => (PacketType::UnsubAck, 0),
            other => panic!("the client sent {other:#x}"),
        };
        let id = PacketId::new(u16::from_be_bytes([body[0], body[1]])).unwrap();
        assert_eq!(body[2], 0);
        let (mut at, mut filters) = (3, 0);
        while at < body.len() {
            at += 2 + usize::from(u16::from_be_bytes([body[at], body[at + 1]])) + options;
            filters += 1;
        }
        Self { id, filters, answer }
    }
}

fn remaining_length(bytes: &[u8]) -> (usize, &[u8]) {
    let size = 1 + bytes.iter().take_while(|byte| **byte >= 0x80).count();
    let (digits, body) = bytes.split_at(size);
    let len = digits.iter().rev().fold(0, |len, byte| len << 7 | usize::from(byte & 0x7f));
    (len, body)
}

//! Messages through a session that is connected, sixteen at a time as a driver's turn has them.
//!
//! One operation is the whole life of one message, as far as this side has a part in it. What the server sends is prepared: of its
//! side only the packet ids are written here.

use std::hint::black_box;
use std::io::IoSlice;
use std::time::Instant;

use bytes::Bytes;
use mqttx_proto::{
    Ack, Config, ConnAck, Inbound, NO_TOKEN, Outgoing, PacketId, PacketType, Priority,
    PropertiesRef, Publish, QoS, ReasonCode, RecordBatch, Session, Transmit, Version,
};

use crate::codec::{PAYLOAD, TOPIC};

/// Messages of one turn.
const TURN: usize = 16;
/// Turns until nothing grows any more.
const WARM_UP: usize = 64;

pub(crate) fn publish_qos0(times: usize) {
    publish(Config::new(Version::V5), QoS::AtMostOnce, &[], times);
}

pub(crate) fn publish_qos1(times: usize) {
    publish(Config::new(Version::V5), QoS::AtLeastOnce, &[PacketType::PubAck], times);
}

/// Nobody waits for the end of the messages.
pub(crate) fn submit_qos0(times: usize) {
    let flow = Flow { answers: &[], ahead: 0, awaited: false };
    publish_in(Config::new(Version::V5), QoS::AtMostOnce, &flow, times);
}

/// Nobody waits for the end of the messages.
pub(crate) fn submit_qos1(times: usize) {
    let flow = Flow { answers: &[PacketType::PubAck], ahead: 0, awaited: false };
    publish_in(Config::new(Version::V5), QoS::AtLeastOnce, &flow, times);
}

/// The publisher is ahead of the server: messages wait in the queue until those in flight are acknowledged.
pub(crate) fn submit_qos1_ahead(times: usize) {
    let mut config = Config::new(Version::V5);
    config.max_in_flight = TURN as u16;
    let flow = Flow { answers: &[PacketType::PubAck], ahead: 4 * TURN, awaited: false };
    publish_in(config, QoS::AtLeastOnce, &flow, times);
}

pub(crate) fn publish_qos2(times: usize) {
    let answers = [PacketType::PubRec, PacketType::PubComp];
    publish(Config::new(Version::V5), QoS::ExactlyOnce, &answers, times);
}

pub(crate) fn publish_qos1_v311(times: usize) {
    publish(Config::new(Version::V311), QoS::AtLeastOnce, &[PacketType::PubAck], times);
}

pub(crate) fn publish_qos1_stored(times: usize) {
    publish(stored(), QoS::AtLeastOnce, &[PacketType::PubAck], times);
}

pub(crate) fn publish_qos2_stored(times: usize) {
    publish(stored(), QoS::ExactlyOnce, &[PacketType::PubRec, PacketType::PubComp], times);
}

pub(crate) fn receive_qos0(times: usize) {
    receive(Config::new(Version::V5), QoS::AtMostOnce, &[TOPIC], times);
}

pub(crate) fn receive_qos0_topics(times: usize) {
    let topics: Vec<_> = (0..TURN).map(|number| format!("{TOPIC}/{number:04}")).collect();
    let topics: Vec<_> = topics.iter().map(String::as_str).collect();
    receive(Config::new(Version::V5), QoS::AtMostOnce, &topics, times);
}

pub(crate) fn receive_qos1(times: usize) {
    receive(Config::new(Version::V5), QoS::AtLeastOnce, &[TOPIC], times);
}

pub(crate) fn receive_qos2(times: usize) {
    receive(Config::new(Version::V5), QoS::ExactlyOnce, &[TOPIC], times);
}

pub(crate) fn receive_qos2_stored(times: usize) {
    receive(stored(), QoS::ExactlyOnce, &[TOPIC], times);
}

fn publish(config: Config, qos: QoS, answers: &[PacketType], times: usize) {
    publish_in(config, qos, &Flow { answers, ahead: 0, awaited: true }, times);
}

/// How messages are published.
struct Flow<'a> {
    /// What the server says to each message, in turn.
    answers: &'a [PacketType],
    /// Messages that are published before the first answer.
    ahead: usize,
    /// Somebody waits for their end.
    awaited: bool,
}

fn publish_in(config: Config, qos: QoS, flow: &Flow<'_>, times: usize) {
    let mut turns = Turns::connect(config);
    let mut answers: Vec<Vec<u8>> = flow.answers.iter().map(|&answer| acks(answer)).collect();
    let payload = Bytes::from_static(&PAYLOAD);
    let message = Outgoing {
        topic: TOPIC,
        payload: (&payload).into(),
        qos,
        retain: false,
        properties: PropertiesRef::EMPTY,
        expires_at: None,
        priority: Priority::LOWEST,
        origin: None,
    };
    for _ in 0..flow.ahead {
        turns.session.publish(turns.now, &message, NO_TOKEN).unwrap();
    }
    let mut next_id = 1;
    for _ in 0..WARM_UP + times / TURN {
        for number in 1..=TURN as u64 {
            let token = if flow.awaited { number } else { NO_TOKEN };
            turns.session.publish(turns.now, black_box(&message), token).unwrap();
        }
        turns.finish();
        answers.iter_mut().for_each(|answer| number(answer, next_id));
        next_id += TURN as u16;
        if usize::from(next_id) > usize::from(u16::MAX) - TURN {
            panic!("packet ids begin again: count fewer messages");
        }
        for answer in &answers {
            turns.session.handle_input(turns.now, black_box(answer), &mut Vec::new());
            turns.finish();
        }
        let mut completed = 0;
        while let Some(completion) = turns.session.poll_completion() {
            black_box(completion);
            completed += 1;
        }
        assert_eq!(completed, if flow.awaited { TURN } else { 0 });
    }
    assert_eq!(turns.session.outbox().messages, flow.ahead);
}

/// The topics take turns.
fn receive(config: Config, qos: QoS, topics: &[&str], times: usize) {
    let mut turns = Turns::connect(config);
    let version = Version::V5;
    let mut messages = Vec::new();
    for (number, &topic) in (1..=TURN as u16).zip(topics.iter().cycle()) {
        let publish = Publish {
            dup: false,
            qos,
            retain: false,
            topic,
            packet_id: PacketId::new(number).filter(|_| qos != QoS::AtMostOnce),
            properties: PropertiesRef::EMPTY,
            payload: &PAYLOAD,
        };
        publish.encode(version, &mut messages).unwrap();
    }
    let mut releases = acks(PacketType::PubRel);
    number(&mut releases, 1);
    let mut inbound: Vec<Inbound<'_>> = Vec::new();
    for _ in 0..WARM_UP + times / TURN {
        turns.session.handle_input(turns.now, black_box(&messages), &mut inbound);
        assert_eq!(inbound.len(), TURN);
        for message in inbound.drain(..) {
            black_box(message.publish());
            if let Some(ticket) = message.ticket {
                turns.session.ack(ticket);
            }
        }
        turns.finish();
        if qos == QoS::ExactlyOnce {
            turns.session.handle_input(turns.now, black_box(&releases), &mut inbound);
            turns.finish();
        }
    }
}

/// A session, and what its driver has.
pub(crate) struct Turns {
    pub(crate) session: Session,
    pub(crate) now: Instant,
    transmit: Transmit,
    records: RecordBatch,
}

impl Turns {
    pub(crate) fn connect(config: Config) -> Self {
        let mut turns = Self {
            session: Session::new(config),
            now: Instant::now(),
            transmit: Transmit::new(),
            records: RecordBatch::new(),
        };
        turns.reconnect(false);
        turns.finish();
        turns
    }

    /// Connected, with this CONNACK.
    pub(crate) fn reconnect(&mut self, session_present: bool) {
        self.session.handle_connected(self.now, 0);
        self.finish();
        let connack = ConnAck {
            session_present,
            reason: ReasonCode::SUCCESS,
            properties: PropertiesRef::EMPTY,
        };
        let mut answer = Vec::new();
        connack.encode(self.session.config().version, &mut answer).unwrap();
        self.session.handle_input(self.now, &answer, &mut Vec::new());
        while self.session.poll_event().is_some() {}
    }

    /// The bytes that a socket takes now.
    pub(crate) fn transmitted(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.session.poll_transmit(&mut self.transmit);
        while self.transmit.remaining() > 0 {
            let mut slices = [IoSlice::new(&[]); 16];
            let filled = self.transmit.io_slices(&mut slices);
            let before = bytes.len();
            slices[..filled].iter().for_each(|slice| bytes.extend_from_slice(slice));
            self.transmit.advance(bytes.len() - before);
        }
        self.session.handle_written(self.now, bytes.len());
        bytes
    }

    /// The rest of a turn: a store that is done at once, and a socket that takes everything.
    fn finish(&mut self) {
        if self.session.has_records() {
            let last = self.session.poll_store(&mut self.records);
            self.records.clear();
            self.session.handle_stored(self.now, last, last);
        }
        if self.session.poll_transmit(&mut self.transmit) {
            let bytes = black_box(&self.transmit).remaining();
            self.transmit.advance(bytes);
            self.session.handle_written(self.now, bytes);
        }
    }
}

fn stored() -> Config {
    let mut config = Config::new(Version::V5);
    config.journal = true;
    config
}

/// The answers of one turn, without their packet ids.
fn acks(packet: PacketType) -> Vec<u8> {
    let mut out = Vec::new();
    for _ in 0..TURN {
        Ack::new(PacketId::new(1).unwrap()).encode(packet, Version::V5, &mut out).unwrap();
    }
    out
}

/// Writes the packet ids of one turn, in order.
fn number(acks: &mut [u8], first: u16) {
    for (id, ack) in (first..).zip(acks.chunks_exact_mut(4)) {
        ack[2..].copy_from_slice(&id.to_be_bytes());
    }
}

//! Random stories told to three sessions at a time: one takes the shortest ways where it can, one those that encode at once and
//! look at each acknowledgement by itself, one the longest, by lane and walk. Nobody may see a difference.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic fails the test")]

use std::collections::VecDeque;
use std::io::IoSlice;
use std::time::{Duration, Instant};

use mqttx_proto::packet::PINGRESP;
use mqttx_proto::{
    Ack, Completion, Config, ConnAck, Event, FrameStatus, Origin, OutboxStatus, Outgoing, PacketId,
    PacketType, Phase, PlainMessage, PlainProperties, Priority, Properties, PropertiesRef,
    Property, Publish, QoS, ReasonCode, SendTotals, Sequence, Session, Transmit, Version, frame,
};

/// Numbers that are the same each time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % limit as u64) as usize
    }

    fn one_in(&mut self, limit: usize) -> bool {
        self.below(limit) == 0
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
}

/// The way that messages and acknowledgements take, if the session lets them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    Shortest,
    AtOnce,
    Longest,
}

/// A session with its socket.
struct Client {
    way: Way,
    session: Session,
    transmit: Transmit,
    /// Part of a packet.
    input: Vec<u8>,
}

/// What can be seen of a session after a step.
#[derive(PartialEq, Debug)]
struct Seen {
    answer: Option<String>,
    sent: Vec<u8>,
    phase: Phase,
    outbox: OutboxStatus,
    totals: SendTotals,
    unacknowledged: usize,
    awaiting_window: usize,
    has_room: bool,
    is_flushed: bool,
    oldest_sent: Option<(Sequence, bool)>,
    /// Tokens, counts and outcomes.
    completions: Vec<String>,
    events: Vec<String>,
}

impl Client {
    fn new(way: Way, config: &Config) -> Self {
        let session = Session::new(config.clone());
        Self { way, session, transmit: Transmit::new(), input: Vec::new() }
    }

    fn publish(&mut self, now: Instant, message: &PlainMessage<'_>, token: u64) -> String {
        if self.way == Way::Shortest
            && let Some(len) = self.session.publish_plain(message, token)
        {
            return format!("Ok({len})");
        }
        // A time to live of a day changes nothing but the way; an origin neither, as long as somebody waits for the end. What has
        // QoS 0 and need not wait takes nothing of the outbox: there the longest way is another matter.
        let longest = self.way == Way::Longest && message.qos != QoS::AtMostOnce;
        let expires_at = longest.then(|| now + Duration::from_secs(86_400));
        let origin = Origin::new(1).filter(|_| self.way != Way::Shortest);
        let properties = PropertiesRef::EMPTY;
        let PlainMessage { topic, payload, qos, retain, priority, .. } = *message;
        let outgoing = Outgoing {
            topic,
            payload: payload.into(),
            qos,
            retain,
            properties,
            expires_at,
            priority,
            origin,
        };
        let accepted = self.session.publish(now, &outgoing, token);
        format!("{:?}", accepted.map(|accepted| accepted.packet_len))
    }

    fn receive(&mut self, now: Instant, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        let mut input = std::mem::take(&mut self.input);
        if self.way != Way::Shortest && self.session.phase() == Phase::Online {
            // Only acknowledgements at the very beginning take the short way.
            input.splice(..0, PINGRESP);
        }
        let consumed = self.session.handle_input(now, &input, &mut Vec::new());
        self.input = input.split_off(consumed);
    }

    /// The socket takes up to `most` bytes.
    fn write(&mut self, now: Instant, most: usize) -> Vec<u8> {
        let mut sent = Vec::new();
        while sent.len() < most {
            if self.transmit.is_empty() && !self.session.poll_transmit(&mut self.transmit) {
                break;
            }
            let mut slices = [IoSlice::new(&[]); 4];
            let filled = self.transmit.io_slices(&mut slices);
            let before = sent.len();
            slices[..filled].iter().for_each(|slice| sent.extend_from_slice(slice));
            sent.truncate(most);
            let written = sent.len() - before;
            self.transmit.advance(written);
            self.session.handle_written(now, written);
        }
        sent
    }

    /// Publishes so many messages, all but the first two of which the server acknowledges, so that packet ids begin again soon.
    fn use_up(&mut self, now: Instant, ids: u16) {
        let payload = &[b'x'; 3][..];
        let properties = PlainProperties::EMPTY;
        let (qos, priority) = (QoS::AtLeastOnce, Priority::LOWEST);
        let message =
            PlainMessage { topic: "t", properties, payload, qos, retain: false, priority };
        self.session.handle_connected(now, 0);
        self.write(now, 1 << 20);
        let accepted: &[u8] = match self.session.config().version {
            Version::V311 => b"\x20\x02\0\0",
            Version::V5 => b"\x20\x03\0\0\0",
        };
        self.receive(now, accepted);
        for number in 1..=ids {
            self.publish(now, &message, 0);
            let sent = self.write(now, 1 << 20);
            if number > 2 {
                // Some ids are passed over, since the first two are in use.
                self.receive(now, &[0x40, 2, sent[5], sent[6]]);
            }
        }
        assert_eq!(self.session.unacknowledged(), 2);
        while self.session.poll_event().is_some() {}
    }

    fn disconnect(&mut self) {
        self.session.handle_disconnected();
        self.input.clear();
        self.transmit.clear();
    }

    fn seen(&mut self, answer: Option<String>, sent: Vec<u8>) -> Seen {
        let session = &mut self.session;
        let completions = std::iter::from_fn(|| session.poll_completion());
        let completions = completions
            .map(|Completion { token, count, outcome }| format!("{token} {count} {outcome:?}"));
        let completions = completions.collect();
        let events = std::iter::from_fn(|| session.poll_event());
        let events =
            events.filter(|event| !matches!(event, Event::Ready | Event::MessageFailed(_)));
        let events = events.map(|event| format!("{event:?}")).collect();
        Seen {
            answer,
            sent,
            phase: session.phase(),
            outbox: session.outbox(),
            totals: session.send_totals(),
            unacknowledged: session.unacknowledged(),
            awaiting_window: session.awaiting_window(),
            has_room: session.has_room(),
            is_flushed: session.is_flushed(),
            oldest_sent: session.oldest_sent(),
            completions,
            events,
        }
    }
}

/// What the server knows.
#[derive(Default)]
struct Server {
    input: Vec<u8>,
    /// QoS and id of what came and is not finished, in order.
    open: VecDeque<(QoS, u16)>,
    /// Ids that wait for PUBCOMP.
    released: VecDeque<u16>,
}

impl Server {
    fn read(&mut self, version: Version, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        while let Ok(FrameStatus::Complete(found)) = frame(&self.input, version, u32::MAX) {
            let body = &self.input[found.header_len..found.total_len];
            match found.first_byte >> 4 {
                3 => {
                    let publish = Publish::decode(version, found.first_byte & 15, body).unwrap();
                    let id = publish.packet_id.map(PacketId::get);
                    self.open.extend(id.map(|id| (publish.qos, id)));
                }
                6 => self.released.push_back(u16::from_be_bytes([body[0], body[1]])),
                _ => {}
            }
            self.input.drain(..found.total_len);
        }
    }

    /// Answers, most of them those of a server with manners.
    fn answers(&mut self, version: Version, numbers: &mut Numbers, out: &mut Vec<u8>) {
        for _ in 0..numbers.below(12) {
            let reason = match numbers.below(20) {
                0 => ReasonCode::NO_MATCHING_SUBSCRIBERS,
                1 => ReasonCode::QUOTA_EXCEEDED,
                _ => ReasonCode::SUCCESS,
            };
            let (packet, id) = if numbers.one_in(4) && !self.released.is_empty() {
                (PacketType::PubComp, self.released.pop_front().unwrap())
            } else if numbers.one_in(60) {
                (
                    numbers.of(&[PacketType::PubAck, PacketType::PubRec]),
                    1 + numbers.below(40) as u16,
                )
            } else {
                // Not always the oldest one.
                let at = if numbers.one_in(6) { numbers.below(self.open.len().max(1)) } else { 0 };
                let Some((qos, id)) = self.open.remove(at) else { continue };
                let twice = qos == QoS::ExactlyOnce;
                (if twice { PacketType::PubRec } else { PacketType::PubAck }, id)
            };
            let reason = if packet == PacketType::PubComp { ReasonCode::SUCCESS } else { reason };
            let mut ack = Ack::new(PacketId::new(id).unwrap());
            ack.reason = reason;
            ack.encode(packet, version, out).unwrap();
            if version == Version::V5 && packet == PacketType::PubAck && numbers.one_in(10) {
                // The same in more words.
                out.truncate(out.len() - if reason == ReasonCode::SUCCESS { 4 } else { 5 });
                out.extend([0x40, 4, (id >> 8) as u8, id as u8, reason.value(), 0]);
            }
            if numbers.one_in(15) {
                out.extend(PINGRESP);
            }
        }
    }

    /// It may answer on the next connection what it got on this one.
    fn disconnected(&mut self, numbers: &mut Numbers) {
        self.input.clear();
        if !numbers.one_in(3) {
            self.open.clear();
            self.released.clear();
        }
    }
}

fn connack(version: Version, numbers: &mut Numbers, present: bool) -> Vec<u8> {
    let (mut properties, mut bytes) = (Properties::new(), Vec::new());
    if version == Version::V5 {
        let most = numbers.of(&[1, 2, 5, 20, 65_535]);
        properties.push(Property::ReceiveMaximum(most)).unwrap();
        if numbers.one_in(4) {
            properties.push(Property::MaximumPacketSize(numbers.of(&[30, 200, 9000]))).unwrap();
        }
        if numbers.one_in(6) {
            properties.push(Property::MaximumQoS(1)).unwrap();
        }
        if numbers.one_in(6) {
            properties.push(Property::RetainAvailable(0)).unwrap();
        }
    }
    let (reason, properties) = (ReasonCode::SUCCESS, properties.as_ref());
    let connack = ConnAck { session_present: present, reason, properties };
    connack.encode(version, &mut bytes).unwrap();
    bytes
}

/// How much came of the stories.
#[derive(Default, Debug)]
struct Told {
    published: usize,
    completed: usize,
    reconnects: usize,
}

/// The three sessions, their server, and what happens.
struct Story {
    numbers: Numbers,
    version: Version,
    clients: [Client; 3],
    server: Server,
    now: Instant,
    token: u64,
}

/// What the three said, and what left them.
type Outcome = ([Option<String>; 3], [Vec<u8>; 3]);

impl Story {
    fn new(seed: u64) -> Self {
        let mut numbers = Numbers(seed);
        let version = numbers.of(&[Version::V311, Version::V5]);
        let mut config = Config::new(version);
        config.client_id = "ways".into();
        config.clean_start = false;
        config.max_in_flight = numbers.of(&[3, 10, 100, u16::MAX]);
        config.max_in_flight_qos2 = numbers.of(&[1, 3, u16::MAX]);
        config.outbox.messages = numbers.of(&[5, 40, 10_000]);
        config.outbox.bytes = numbers.of(&[200, 20_000, 1 << 26]);
        config.write_buffer_limit = numbers.of(&[1, 100, 1 << 20]);
        let clients =
            [Way::Shortest, Way::AtOnce, Way::Longest].map(|way| Client::new(way, &config));
        let (server, now) = (Server::default(), Instant::now());
        Self { numbers, version, clients, server, now, token: 1 }
    }

    fn step(&mut self, told: &mut Told) -> Outcome {
        self.now += Duration::from_millis(self.numbers.below(20) as u64);
        let nothing = Outcome::default();
        match (self.numbers.below(12), self.clients[0].session.phase()) {
            (_, Phase::Closing) => self.disconnect(),
            (0..4, _) => {
                let answers = self.publish();
                let is_ok = answers[0].as_ref().is_some_and(|answer| answer.starts_with("Ok"));
                told.published += usize::from(is_ok);
                return (answers, nothing.1);
            }
            (4..7, _) => {
                let (now, most) = (self.now, self.numbers.of(&[1, 7, 40, 5000, 1 << 20]));
                let sent = self.clients.each_mut().map(|client| client.write(now, most));
                self.server.read(self.version, &sent[0]);
                return (nothing.0, sent);
            }
            (7..10, Phase::Online) => self.answer(),
            (10, _) if self.numbers.one_in(4) => {
                let drop_oldest = |client: &mut Client| client.session.drop_oldest().to_string();
                return (self.clients.each_mut().map(drop_oldest).map(Some), nothing.1);
            }
            (_, Phase::Offline) => {
                self.connect(told.reconnects > 0);
                told.reconnects += 1;
            }
            _ if self.numbers.one_in(12) => self.disconnect(),
            _ => {}
        }
        nothing
    }

    fn publish(&mut self) -> [Option<String>; 3] {
        let numbers = &mut self.numbers;
        let payload =
            vec![self.token as u8; numbers.of(&[0, 1, 20, 110, 118, 125, 4095, 4096, 8190])];
        let topic = match numbers.one_in(40) {
            true => "a/+".to_owned(),
            false => "t".repeat(numbers.of(&[0, 1, 7, 30, 4096, 8300])),
        };
        let message = PlainMessage {
            topic: &topic,
            properties: PlainProperties::EMPTY,
            payload: &payload,
            qos: QoS::from_u8(numbers.below(3) as u8).unwrap(),
            retain: numbers.one_in(5),
            priority: Priority::new(if numbers.one_in(6) { 2 } else { 0 }).unwrap(),
        };
        self.token += 1;
        let (now, token) = (self.now, self.token);
        self.clients.each_mut().map(|client| Some(client.publish(now, &message, token)))
    }

    /// The server answers, and what it says is cut anywhere.
    fn answer(&mut self) {
        let mut bytes = Vec::new();
        self.server.answers(self.version, &mut self.numbers, &mut bytes);
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let part = 1 + self.numbers.below(rest.len());
            let at = if self.numbers.one_in(2) { rest.len() } else { part };
            self.clients.iter_mut().for_each(|client| client.receive(self.now, &rest[..at]));
            rest = &rest[at..];
        }
    }

    fn connect(&mut self, again: bool) {
        let present = again && !self.numbers.one_in(4);
        let connack = connack(self.version, &mut self.numbers, present);
        for client in &mut self.clients {
            client.session.handle_connected(self.now, 0);
            assert!(!client.write(self.now, 1 << 20).is_empty(), "CONNECT");
            client.receive(self.now, &connack);
        }
    }

    fn disconnect(&mut self) {
        self.clients.iter_mut().for_each(Client::disconnect);
        self.server.disconnected(&mut self.numbers);
    }
}

fn tell(seed: u64, ids_before: u16, told: &mut Told) {
    let mut story = Story::new(seed);
    if ids_before > 0 {
        story.clients.iter_mut().for_each(|client| client.use_up(story.now, ids_before));
    }
    for step in 0..250 {
        let (answers, sent) = story.step(told);
        let mut seen = Vec::new();
        for ((client, answer), sent) in story.clients.iter_mut().zip(answers).zip(sent) {
            seen.push(client.seen(answer, sent));
        }
        told.completed += seen[0].completions.len();
        for (client, other) in story.clients.iter().zip(&seen).skip(1) {
            let (way, first) = (client.way, &seen[0]);
            assert!(other == first, "seed {seed}, step {step}, {way:?}\n{other:#?}\n{first:#?}");
        }
    }
}

#[test]
fn the_three_ways_of_messages_and_acknowledgements_are_the_same_to_everybody() {
    let mut told = Told::default();
    for seed in 0..SEEDS {
        tell(seed, 0, &mut told);
    }
    let Told { published, completed, reconnects } = told;
    let enough = SEEDS as usize * 20;
    assert!(
        published > enough && completed > enough && reconnects > SEEDS as usize * 2,
        "{told:?}"
    );
}

#[test]
fn they_are_the_same_when_packet_ids_begin_again_and_some_are_in_use() {
    let mut told = Told::default();
    for seed in 0..2 {
        tell(seed, 65_520, &mut told);
    }
}

const SEEDS: u64 = 80;

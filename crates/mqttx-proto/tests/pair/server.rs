//! A server that keeps one session, checks the client's manners, and counts what it gets.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use mqttx_proto::packet::PINGRESP;
use mqttx_proto::{
    Ack, Auth, ConnAck, Connect, FrameStatus, Packet, PacketId, PacketType, Properties,
    PropertiesRef, Property, PropertyContext, Publish, QoS, ReasonCode, SubAck, Version, decode,
    frame,
};

/// A message on its way from the server to the client.
#[derive(Clone, Debug)]
struct Downlink {
    number: u32,
    qos: QoS,
    id: Option<PacketId>,
    released: bool,
    sent_here: bool,
}

/// The method of every story that has one.
pub(crate) const METHOD: &str = "M";
/// METHOD as a property.
const METHOD_PROPERTY: [u8; 4] = [0x15, 0, 1, b'M'];

fn auth(reason: ReasonCode) -> Auth<'static> {
    let context = PropertyContext::Auth;
    Auth { reason, properties: PropertiesRef::parse(&METHOD_PROPERTY, context).unwrap() }
}

#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) version: Version,
    pub(crate) receive_maximum: u16,
    /// Number of a message → how often it was taken as a new one.
    pub(crate) received: BTreeMap<u32, usize>,
    /// The order in which new messages were taken.
    pub(crate) order: Vec<u32>,
    pub(crate) subscribed: BTreeSet<String>,
    has_session: bool,
    /// Ids of received QoS 2 messages that wait for PUBREL.
    held: BTreeSet<u16>,
    /// QoS 1 and 2 messages of the client on this connection without PUBACK or PUBCOMP written.
    open: BTreeSet<u16>,
    /// Answers that the server is slow to give.
    answers: VecDeque<Vec<u8>>,
    downlink: VecDeque<Downlink>,
    next_down_id: u16,
    connected: bool,
    /// CONNECT named this method, and waits until the client answered.
    challenged: bool,
    input: Vec<u8>,
    output: Vec<u8>,
}

impl Server {
    pub(crate) fn new(version: Version, receive_maximum: u16) -> Self {
        Self {
            version,
            receive_maximum,
            received: BTreeMap::new(),
            order: Vec::new(),
            subscribed: BTreeSet::new(),
            has_session: false,
            held: BTreeSet::new(),
            open: BTreeSet::new(),
            answers: VecDeque::new(),
            downlink: VecDeque::new(),
            next_down_id: 1,
            connected: false,
            challenged: false,
            input: Vec::new(),
            output: Vec::new(),
        }
    }

    pub(crate) fn publish(&mut self, number: u32, qos: QoS) {
        self.downlink.push_back(Downlink {
            number,
            qos,
            id: None,
            released: false,
            sent_here: false,
        });
    }

    pub(crate) fn pending_downlink(&self) -> usize {
        self.downlink.len()
    }

    pub(crate) fn disconnected(&mut self) {
        (self.connected, self.challenged) = (false, false);
        self.input.clear();
        self.output.clear();
        self.answers.clear();
        self.open.clear();
        for message in &mut self.downlink {
            message.sent_here = false;
        }
    }

    /// The server loses the session, as after a restart without persistence. What it had queued is queued anew.
    pub(crate) fn forget(&mut self) {
        self.has_session = false;
        self.held.clear();
        self.subscribed.clear();
        for message in &mut self.downlink {
            message.id = None;
            message.released = false;
        }
    }

    pub(crate) fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }

    pub(crate) fn owes_answers(&self) -> bool {
        !self.answers.is_empty()
    }

    /// Writes the oldest `count` answers.
    pub(crate) fn answer(&mut self, count: usize) {
        for _ in 0..count.min(self.answers.len()) {
            let answer = self.answers.pop_front().unwrap();
            if matches!(answer[0] >> 4, 4 | 7) {
                self.open.remove(&u16::from_be_bytes([answer[2], answer[3]]));
            }
            self.output.extend(answer);
        }
        self.send_downlink();
    }

    pub(crate) fn input(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        loop {
            let input = std::mem::take(&mut self.input);
            let FrameStatus::Complete(found) = frame(&input, self.version, u32::MAX).unwrap()
            else {
                self.input = input;
                return;
            };
            let body = &input[found.header_len..found.total_len];
            if found.first_byte >> 4 == PacketType::Connect as u8 {
                let (version, connect) = Connect::decode(found.first_byte & 15, body).unwrap();
                assert_eq!(version, self.version);
                self.connect(&connect);
            } else {
                assert!(self.connected, "a packet before CONNECT");
                let packet = decode(self.version, found.first_byte, body).unwrap();
                self.packet(packet);
            }
            self.input = input[found.total_len..].to_vec();
        }
    }

    fn connect(&mut self, connect: &Connect<'_>) {
        assert!(!self.connected, "a second CONNECT");
        self.connected = true;
        if connect.clean_start {
            self.forget();
        }
        if connect.properties.authentication_method().is_some() {
            self.challenged = true;
            auth(ReasonCode::CONTINUE_AUTHENTICATION)
                .encode(self.version, &mut self.output)
                .unwrap();
        } else {
            self.accept(Properties::new());
        }
    }

    fn accept(&mut self, mut properties: Properties) {
        properties.push(Property::ReceiveMaximum(self.receive_maximum)).unwrap();
        let connack = ConnAck {
            session_present: self.has_session,
            reason: ReasonCode::SUCCESS,
            properties: properties.as_ref(),
        };
        connack.encode(self.version, &mut self.output).unwrap();
        self.has_session = true;
        self.send_downlink();
    }

    fn packet(&mut self, packet: Packet<'_>) {
        if self.challenged {
            // [MQTT-3.1.2-30]
            let Packet::Auth(answer) = packet else { panic!("{packet:?} before CONNACK") };
            assert_eq!(answer.reason, ReasonCode::CONTINUE_AUTHENTICATION);
            self.challenged = false;
            return self.accept(answer.properties.to_owned());
        }
        match packet {
            Packet::Auth(again) => {
                assert_eq!(again.reason, ReasonCode::RE_AUTHENTICATE);
                let mut bytes = Vec::new();
                auth(ReasonCode::SUCCESS).encode(self.version, &mut bytes).unwrap();
                self.answers.push_back(bytes);
            }
            Packet::Publish(publish) => self.on_publish(&publish),
            Packet::PubRel(ack) => {
                self.held.remove(&ack.packet_id.get());
                self.later(PacketType::PubComp, ack.packet_id);
            }
            Packet::PubAck(ack) => self.finish_downlink(ack.packet_id, QoS::AtLeastOnce),
            Packet::PubRec(ack) => {
                for message in self.downlink.iter_mut().filter(|m| m.id == Some(ack.packet_id)) {
                    assert_eq!(message.qos, QoS::ExactlyOnce);
                    message.released = true;
                }
                self.later(PacketType::PubRel, ack.packet_id);
            }
            Packet::PubComp(ack) => self.finish_downlink(ack.packet_id, QoS::ExactlyOnce),
            Packet::Subscribe(subscribe) => {
                let mut codes = Vec::new();
                for asked in subscribe.filters.iter() {
                    self.subscribed.insert(asked.filter.to_owned());
                    codes.push(asked.options.qos as u8);
                }
                self.suback(PacketType::SubAck, subscribe.packet_id, &codes);
            }
            Packet::Unsubscribe(unsubscribe) => {
                let mut codes = Vec::new();
                for filter in unsubscribe.filters.iter() {
                    codes.push(if self.subscribed.remove(filter) { 0 } else { 0x11 });
                }
                self.suback(PacketType::UnsubAck, unsubscribe.packet_id, &codes);
            }
            Packet::PingReq => self.answers.push_back(PINGRESP.to_vec()),
            other => panic!("the client sent {other:?}"),
        }
    }

    fn on_publish(&mut self, publish: &Publish<'_>) {
        let number: u32 = std::str::from_utf8(publish.payload).unwrap().parse().unwrap();
        let Some(id) = publish.packet_id else {
            self.take(number);
            return;
        };
        self.open.insert(id.get());
        assert!(
            self.version == Version::V311 || self.open.len() <= usize::from(self.receive_maximum),
            "the client exceeds the receive maximum"
        );
        match publish.qos {
            QoS::ExactlyOnce => {
                if self.held.insert(id.get()) {
                    self.take(number);
                }
                self.later(PacketType::PubRec, id);
            }
            _ => {
                self.take(number);
                self.later(PacketType::PubAck, id);
            }
        }
    }

    fn take(&mut self, number: u32) {
        *self.received.entry(number).or_default() += 1;
        self.order.push(number);
    }

    fn later(&mut self, packet: PacketType, id: PacketId) {
        let mut bytes = Vec::new();
        Ack::new(id).encode(packet, self.version, &mut bytes).unwrap();
        self.answers.push_back(bytes);
    }

    fn suback(&mut self, packet: PacketType, packet_id: PacketId, codes: &[u8]) {
        let mut bytes = Vec::new();
        let ack = SubAck { packet_id, properties: PropertiesRef::EMPTY, codes };
        ack.encode(packet, self.version, &mut bytes).unwrap();
        self.answers.push_back(bytes);
    }

    fn finish_downlink(&mut self, id: PacketId, qos: QoS) {
        if let Some(index) = self.downlink.iter().position(|m| m.id == Some(id)) {
            assert_eq!(self.downlink[index].qos, qos);
            assert!(qos == QoS::AtLeastOnce || self.downlink[index].released);
            self.downlink.remove(index);
        }
    }

    /// Sends what is queued, and again what is unfinished, on this connection; at most 8 at once.
    fn send_downlink(&mut self) {
        if !self.connected {
            return;
        }
        let mut window = 8;
        let used: BTreeSet<u16> =
            self.downlink.iter().filter_map(|m| m.id).map(PacketId::get).collect();
        for message in &mut self.downlink {
            if window == 0 {
                return;
            }
            window -= 1;
            if std::mem::replace(&mut message.sent_here, true) {
                continue;
            }
            let again = message.id.is_some();
            if message.qos == QoS::AtMostOnce {
                continue;
            }
            let id = message.id.unwrap_or_else(|| {
                while used.contains(&self.next_down_id) || self.next_down_id == 0 {
                    self.next_down_id = self.next_down_id.wrapping_add(1);
                }
                let id = PacketId::new(self.next_down_id).unwrap();
                self.next_down_id = self.next_down_id.wrapping_add(1);
                id
            });
            message.id = Some(id);
            if message.released {
                Ack::new(id).encode(PacketType::PubRel, self.version, &mut self.output).unwrap();
                continue;
            }
            let payload = message.number.to_string();
            let publish = Publish {
                dup: again,
                qos: message.qos,
                retain: false,
                topic: "down",
                packet_id: Some(id),
                properties: PropertiesRef::EMPTY,
                payload: payload.as_bytes(),
            };
            publish.encode(self.version, &mut self.output).unwrap();
        }
    }
}

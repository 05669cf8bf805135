//! What the broker knows of its clients, and how it answers them.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use mqttx::proto::packet::{Ack, ConnAck, Connect, Publish, SubAck};
use mqttx::proto::{Packet, PacketType};
use mqttx::{
    PacketId, Properties, PropertiesRef, Property, QoS, ReasonCode, SessionExpiry, Version, matches,
};

use super::{Conduct, Line};

/// Messages that a client may have unacknowledged, if nobody says otherwise.
const WINDOW: usize = 20;

pub(super) struct State {
    conduct: Conduct,
    clients: HashMap<String, Client>,
    pub(super) accepting: bool,
    pub(super) withhold: bool,
    pub(super) connects: Vec<Instant>,
    pub(super) published: HashMap<String, usize>,
    pub(super) delivered: HashMap<String, usize>,
    pub(super) pings: usize,
    pub(super) silent: usize,
}

/// A session, connected or not.
struct Client {
    version: Version,
    persistent: bool,
    line: Option<Line>,
    filters: Vec<Filter>,
    window: usize,
    last_id: u16,
    /// In the order in which they were sent.
    in_flight: VecDeque<Flight>,
    waiting: VecDeque<Arc<Message>>,
    /// QoS 2 messages whose PUBREL has not come.
    received: HashSet<PacketId>,
}

struct Filter {
    filter: String,
    qos: QoS,
    no_local: bool,
    identifier: Option<u32>,
}

struct Message {
    topic: String,
    payload: Vec<u8>,
    qos: QoS,
    properties: Properties,
}

struct Flight {
    id: PacketId,
    message: Arc<Message>,
    /// PUBREC came.
    released: bool,
}

impl State {
    pub(super) fn new(conduct: Conduct) -> Self {
        Self {
            conduct,
            clients: HashMap::new(),
            accepting: true,
            withhold: false,
            connects: Vec::new(),
            published: HashMap::new(),
            delivered: HashMap::new(),
            pings: 0,
            silent: 0,
        }
    }

    pub(super) fn lines(&self) -> impl Iterator<Item = &Line> {
        self.clients.values().filter_map(|client| client.line.as_ref())
    }

    pub(super) fn unacknowledged_by(&self, client: &str) -> usize {
        self.clients.get(client).map_or(0, |client| client.in_flight.len())
    }

    /// `false`: the client said goodbye.
    pub(super) fn on_packet(
        &mut self,
        version: Version,
        id: &str,
        line: &Line,
        packet: &Packet<'_>,
    ) -> bool {
        if let Packet::Connect(connect) = packet {
            self.on_connect(version, line, connect);
            return true;
        }
        let withhold = self.withhold;
        let Some(client) = self.clients.get_mut(id) else { return false };
        match packet {
            Packet::Publish(publish) => {
                *self.published.entry(publish.topic.to_owned()).or_default() += 1;
                let new = match publish.packet_id.filter(|_| publish.qos == QoS::ExactlyOnce) {
                    Some(packet_id) => client.received.insert(packet_id),
                    None => true,
                };
                if let Some(packet_id) = publish.packet_id.filter(|_| !withhold) {
                    let exactly_once = publish.qos == QoS::ExactlyOnce;
                    let answer = if exactly_once { PacketType::PubRec } else { PacketType::PubAck };
                    client.answer(answer, packet_id);
                }
                if new {
                    self.route(id, publish);
                }
            }
            Packet::PubAck(ack) | Packet::PubComp(ack) => {
                client.finish(ack.packet_id);
                self.pump(id);
            }
            Packet::PubRec(ack) => {
                let known = client.in_flight.iter_mut().find(|flight| flight.id == ack.packet_id);
                if let Some(flight) = known {
                    flight.released = true;
                }
                client.answer(PacketType::PubRel, ack.packet_id);
            }
            Packet::PubRel(ack) => {
                client.received.remove(&ack.packet_id);
                if !withhold {
                    client.answer(PacketType::PubComp, ack.packet_id);
                }
            }
            Packet::Subscribe(subscribe) => {
                let identifier = subscribe.properties.subscription_identifiers().next();
                let mut codes = Vec::new();
                for wanted in subscribe.filters.iter() {
                    client.filters.retain(|known| known.filter != wanted.filter);
                    client.filters.push(Filter {
                        filter: wanted.filter.to_owned(),
                        qos: wanted.options.qos,
                        no_local: wanted.options.no_local,
                        identifier,
                    });
                    codes.push(wanted.options.qos as u8);
                }
                client.answer_filters(PacketType::SubAck, subscribe.packet_id, &codes);
            }
            Packet::Unsubscribe(unsubscribe) => {
                let gone: Vec<_> = unsubscribe.filters.iter().collect();
                client.filters.retain(|known| !gone.contains(&known.filter.as_str()));
                let codes = vec![0; gone.len()];
                client.answer_filters(PacketType::UnsubAck, unsubscribe.packet_id, &codes);
            }
            Packet::PingReq => {
                self.pings += 1;
                line.send(vec![0xD0, 0x00]);
            }
            Packet::Disconnect(_) => return false,
            other => panic!("a client does not send {other:?}"),
        }
        true
    }

    /// The connection is gone; the session stays if it was asked for.
    pub(super) fn on_gone(&mut self, id: &str, line: &Line) {
        let Some(client) = self.clients.get_mut(id) else { return };
        if !client.line.as_ref().is_some_and(|known| known.out.same_channel(&line.out)) {
            return;
        }
        client.line = None;
        if !client.persistent {
            self.clients.remove(id);
        }
    }

    fn on_connect(&mut self, version: Version, line: &Line, connect: &Connect<'_>) {
        self.connects.push(Instant::now());
        let kept = self.clients.remove(connect.client_id);
        if let Some(old) = kept.as_ref().and_then(|client| client.line.as_ref()) {
            old.cut.notify_one();
        }
        let expiry = connect.properties.session_expiry_interval().unwrap_or(0);
        let kept = kept.filter(|client| !connect.clean_start && client.persistent);
        let session_present = kept.is_some();
        let mut client = kept.unwrap_or_else(|| Client {
            version,
            persistent: false,
            line: None,
            filters: Vec::new(),
            window: 0,
            last_id: 0,
            in_flight: VecDeque::new(),
            waiting: VecDeque::new(),
            received: HashSet::new(),
        });
        client.version = version;
        client.persistent = match version {
            Version::V311 => !connect.clean_start,
            Version::V5 => SessionExpiry::from_secs(expiry) != SessionExpiry::ZERO,
        };
        let asked = connect.properties.receive_maximum().map(usize::from);
        let own = if self.conduct.window == 0 { WINDOW } else { self.conduct.window.into() };
        client.window = asked.unwrap_or(usize::MAX).min(own);
        client.line = Some(line.clone());
        let mut properties = Properties::new();
        if version == Version::V5 && self.conduct.window > 0 {
            properties.push(Property::ReceiveMaximum(self.conduct.window)).unwrap();
        }
        let connack = ConnAck {
            session_present,
            reason: ReasonCode::SUCCESS,
            properties: properties.as_ref(),
        };
        let mut bytes = Vec::new();
        connack.encode(version, &mut bytes).unwrap();
        line.send(bytes);
        for flight in std::mem::take(&mut client.in_flight) {
            if flight.released {
                client.answer(PacketType::PubRel, flight.id);
            } else {
                *self.delivered.entry(flight.message.topic.clone()).or_default() += 1;
                client.send(&flight.message, Some(flight.id), true);
            }
            client.in_flight.push_back(flight);
        }
        self.clients.insert(connect.client_id.to_owned(), client);
        self.pump(connect.client_id);
    }

    fn route(&mut self, from: &str, publish: &Publish<'_>) {
        let mut behind = Vec::new();
        for (id, client) in &mut self.clients {
            let wanted = client.filters.iter().filter(|wanted| {
                matches(&wanted.filter, publish.topic) && !(wanted.no_local && id == from)
            });
            let (mut granted, mut properties) = (None, Properties::new());
            for filter in wanted {
                granted = granted.max(Some(filter.qos));
                if let Some(identifier) = filter.identifier {
                    properties.push(Property::SubscriptionIdentifier(identifier)).unwrap();
                }
            }
            let Some(granted) = granted else { continue };
            let message = Message {
                topic: publish.topic.to_owned(),
                payload: publish.payload.to_vec(),
                qos: granted.min(publish.qos),
                properties,
            };
            if message.qos > QoS::AtMostOnce {
                client.waiting.push_back(Arc::new(message));
                behind.push(id.clone());
            } else if client.line.is_some() {
                *self.delivered.entry(message.topic.clone()).or_default() += 1;
                client.send(&message, None, false);
            }
        }
        behind.iter().for_each(|id| self.pump(id));
    }

    /// Sends what waits and fits into the client's window.
    fn pump(&mut self, id: &str) {
        let Some(client) = self.clients.get_mut(id) else { return };
        while client.line.is_some() && client.in_flight.len() < client.window {
            let Some(message) = client.waiting.pop_front() else { return };
            *self.delivered.entry(message.topic.clone()).or_default() += 1;
            let id = client.free_id();
            client.send(&message, Some(id), false);
            client.in_flight.push_back(Flight { id, message, released: false });
        }
    }
}

impl Client {
    fn free_id(&mut self) -> PacketId {
        loop {
            self.last_id = self.last_id % u16::MAX + 1;
            let id = PacketId::new(self.last_id).unwrap();
            if self.in_flight.iter().all(|flight| flight.id != id) {
                return id;
            }
        }
    }

    fn send(&self, message: &Message, packet_id: Option<PacketId>, dup: bool) {
        let publish = Publish {
            dup,
            qos: message.qos,
            retain: false,
            topic: &message.topic,
            packet_id,
            properties: message.properties.as_ref(),
            payload: &message.payload,
        };
        self.line(|bytes| publish.encode(self.version, bytes).unwrap());
    }

    fn answer(&self, packet: PacketType, packet_id: PacketId) {
        let ack = Ack { packet_id, reason: ReasonCode::SUCCESS, properties: PropertiesRef::EMPTY };
        self.line(|bytes| ack.encode(packet, self.version, bytes).unwrap());
    }

    fn answer_filters(&self, packet: PacketType, packet_id: PacketId, codes: &[u8]) {
        let answer = SubAck { packet_id, properties: PropertiesRef::EMPTY, codes };
        self.line(|bytes| answer.encode(packet, self.version, bytes).unwrap());
    }

    fn line(&self, write: impl FnOnce(&mut Vec<u8>)) {
        if let Some(line) = &self.line {
            let mut bytes = Vec::new();
            write(&mut bytes);
            line.send(bytes);
        }
    }

    fn finish(&mut self, id: PacketId) {
        self.in_flight.retain(|flight| flight.id != id);
    }
}

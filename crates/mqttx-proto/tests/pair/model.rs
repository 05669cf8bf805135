//! The client of a pair: a session, its application, its store, and the two directions of the link.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::IoSlice;
use std::time::{Duration, Instant};

use bytes::Bytes;
use mqttx_proto::{
    AckTicket, Completion, Config, Event, Outcome, Outgoing, PacketId, Phase, Priority,
    PropertiesRef, QoS, Session, SubscribeOptions, Subscription, Transmit,
};

use super::rng::Rng;
use super::store::{Store, received};

/// A received message that the application still works on.
#[derive(Debug)]
struct Working {
    ticket: AckTicket,
    number: u32,
    qos: QoS,
    id: PacketId,
}

#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) session: Session,
    config: Config,
    pub(crate) now: Instant,
    transmit: Transmit,
    input: Vec<u8>,
    pub(crate) to_server: VecDeque<u8>,
    pub(crate) to_client: VecDeque<u8>,
    working: Vec<Working>,
    /// Number → how often it was handed to the application.
    pub(crate) delivered: BTreeMap<u32, usize>,
    /// QoS 2 messages that a crash caught between the application and the store.
    pub(crate) excused: BTreeSet<u32>,
    /// The application was told so.
    pub(crate) acknowledged: BTreeSet<u32>,
    /// Accepted, and durable where there is a store.
    pub(crate) accepted: BTreeSet<u32>,
    pub(crate) store: Store,
    /// The last message that was acknowledged with an id.
    last_acked: BTreeMap<PacketId, u32>,
    accepting: Vec<(u64, u32)>,
    pub(crate) closing: bool,
    pub(crate) events: Vec<String>,
    /// The application's own wish, which it repeats after a crash until it was told that it is fulfilled.
    wanted: Vec<&'static str>,
    subscribed: bool,
    /// What the authenticator was asked for, and has not answered.
    asked: Option<Asked>,
}

/// What the session asks its authenticator.
#[derive(Clone, Copy, Debug)]
enum Asked {
    Answer,
    Verdict,
}

impl Client {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            session: Session::new(config.clone()),
            config,
            now: Instant::now(),
            transmit: Transmit::new(),
            input: Vec::new(),
            to_server: VecDeque::new(),
            to_client: VecDeque::new(),
            working: Vec::new(),
            delivered: BTreeMap::new(),
            excused: BTreeSet::new(),
            acknowledged: BTreeSet::new(),
            accepted: BTreeSet::new(),
            store: Store::default(),
            last_acked: BTreeMap::new(),
            accepting: Vec::new(),
            closing: false,
            events: Vec::new(),
            wanted: Vec::new(),
            subscribed: false,
            asked: None,
        }
    }

    pub(crate) fn subscribe(&mut self, filters: &[&'static str]) {
        self.wanted = filters.to_vec();
        let options = SubscribeOptions::new(QoS::ExactlyOnce);
        let subscriptions: Vec<_> = filters
            .iter()
            .map(|filter| Subscription { filter, options, identifier: None })
            .collect();
        self.session.subscribe(&subscriptions, PropertiesRef::EMPTY, 1 << 40).unwrap();
    }

    pub(crate) fn advance(&mut self, by: Duration) {
        self.now += by;
        if self.session.poll_timeout().is_some_and(|at| at <= self.now) {
            self.session.handle_timeout(self.now);
        }
    }

    pub(crate) fn connect(&mut self) {
        assert_eq!(self.session.phase(), Phase::Offline);
        self.session.handle_connected(self.now, 1);
    }

    /// The link is cut: bytes under way are gone.
    pub(crate) fn cut(&mut self) {
        self.session.handle_disconnected();
        self.transmit.clear();
        self.input.clear();
        self.to_server.clear();
        self.to_client.clear();
        self.closing = false;
        self.asked = None;
    }

    /// The process is killed and started again: what the store has is all that is left.
    pub(crate) fn crash(&mut self, rng: &mut Rng) {
        self.cut();
        self.collect();
        // Delivered, but the store cannot know: the server sends again.
        self.excused.extend(self.working.drain(..).map(|working| working.number));
        for id in self.store.crash(rng, &mut self.session).iter().filter_map(|r| received(r)) {
            self.excused.extend(self.last_acked.get(&id));
        }
        self.accepting.clear();
        self.session = Session::new(self.config.clone());
        let (records, lanes) = self.store.state(rng);
        self.session.restore_state(self.now, &records, &lanes);
        if !self.subscribed {
            self.subscribe(&self.wanted.clone());
        }
    }

    pub(crate) fn publish(&mut self, number: u32, qos: QoS, priority: Priority) -> bool {
        let payload = Bytes::from(number.to_string());
        let message = Outgoing {
            topic: "up",
            payload: (&payload).into(),
            qos,
            retain: false,
            properties: PropertiesRef::EMPTY,
            expires_at: None,
            priority,
            origin: None,
        };
        match self.session.publish(self.now, &message, u64::from(number)) {
            Ok(accepted) if qos != QoS::AtMostOnce => {
                self.accepting.push((accepted.lsn, number));
                true
            }
            other => other.is_ok(),
        }
    }

    /// Moves some encoded bytes to the link.
    pub(crate) fn write(&mut self, rng: &mut Rng) {
        self.session.poll_transmit(&mut self.transmit);
        let mut slices = [IoSlice::new(&[]); 4];
        let filled = self.transmit.io_slices(&mut slices);
        let bytes: Vec<u8> = slices[..filled].iter().flat_map(|s| s.to_vec()).collect();
        let count = if rng.chance(50) { bytes.len() } else { rng.below(bytes.len() + 1) };
        self.to_server.extend(&bytes[..count]);
        self.transmit.advance(count);
        self.session.handle_written(self.now, count);
    }

    pub(crate) fn has_output(&self) -> bool {
        self.session.has_transmit() || !self.transmit.is_empty()
    }

    /// Takes some bytes from the link.
    pub(crate) fn read(&mut self, count: usize) {
        let count = count.min(self.to_client.len());
        self.input.extend(self.to_client.drain(..count));
        let input = std::mem::take(&mut self.input);
        let mut inbound = Vec::new();
        let consumed = self.session.handle_input(self.now, &input, &mut inbound);
        for message in &inbound {
            let publish = message.publish();
            let number: u32 = std::str::from_utf8(publish.payload).unwrap().parse().unwrap();
            *self.delivered.entry(number).or_default() += 1;
            if let Some(ticket) = message.ticket {
                let id = publish.packet_id.unwrap();
                self.working.push(Working { ticket, number, qos: publish.qos, id });
            }
        }
        drop(inbound);
        self.input = input[consumed..].to_vec();
    }

    /// The application finishes one of its messages, not always the oldest.
    pub(crate) fn work(&mut self, rng: &mut Rng) {
        if !self.working.is_empty() {
            let working = self.working.swap_remove(rng.below(self.working.len()));
            if working.qos == QoS::ExactlyOnce {
                self.last_acked.insert(working.id, working.number);
            }
            self.session.ack(working.ticket);
        }
    }

    pub(crate) fn is_working(&self) -> bool {
        !self.working.is_empty()
    }

    /// The authenticator says what it was asked for; at other times it may begin again.
    pub(crate) fn authenticate(&mut self, again: bool) {
        if self.closing {
            return;
        }
        match self.asked.take() {
            Some(Asked::Answer) => self.session.authenticate(None).unwrap(),
            Some(Asked::Verdict) => {
                self.session.confirm_authentication(self.now).unwrap();
                // What came behind CONNACK was kept back.
                self.read(0);
            }
            // Not without a method, not before CONNACK, and not while one is under way.
            None if again => drop(self.session.reauthenticate(self.now, None)),
            None => {}
        }
    }

    /// The store writes some of what it was given.
    pub(crate) fn store(&mut self, rng: &mut Rng) {
        if !self.config.journal {
            self.accepted.extend(self.accepting.drain(..).map(|(_, number)| number));
            return;
        }
        self.store.take(&mut self.session);
        self.store.advance(rng, &mut self.session, self.now);
        self.store.serve(&mut self.session, self.now);
        let synced = self.store.synced as u64;
        let durable = self.accepting.extract_if(.., |(lsn, _)| *lsn <= synced);
        self.accepted.extend(durable.map(|(_, number)| number));
    }

    pub(crate) fn store_is_behind(&self) -> bool {
        self.config.journal && self.store.is_behind()
    }

    /// Completions and events.
    pub(crate) fn collect(&mut self) {
        while let Some(Completion { token, count, outcome }) = self.session.poll_completion() {
            assert_eq!(count, 1, "every message has a token of its own");
            match outcome {
                Outcome::Acknowledged { .. } => {
                    assert!(self.acknowledged.insert(token as u32), "told twice: {token}");
                }
                Outcome::Subscribed(_) => self.subscribed = true,
                Outcome::Written | Outcome::ConnectionLost => {}
                other => panic!("message {token}: {other:?}"),
            }
        }
        while let Some(event) = self.session.poll_event() {
            match event {
                Event::Challenged { .. } => self.asked = Some(Asked::Answer),
                Event::Authenticated { .. } => self.asked = Some(Asked::Verdict),
                _ => {}
            }
            self.closing |= matches!(event, Event::Closing(_));
            self.events.push(format!("{event:?}"));
        }
    }
}

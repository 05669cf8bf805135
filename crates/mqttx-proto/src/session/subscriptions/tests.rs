//! What is counted as it changes, beside what a count from scratch finds, in random stories.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::IoSlice;
use std::sync::Arc;
use std::time::Instant;

use super::pending::{Pending, UNANSWERED};
use super::requests::{Item, Kind, Requests};
use crate::session::event::{NO_TOKEN, Outcome, Token};
use crate::session::record::RecordBatch;
use crate::session::{Config, Phase, Session, Subscription};
use crate::{
    ConnAck, FrameStatus, Packet, PacketId, PacketType, PropertiesRef, QoS, ReasonCode, SubAck,
    SubscribeOptions, Transmit, Version, decode, frame,
};

const FILTERS: [&str; 4] = ["a", "b/+", "c/#", "d"];

/// A server that does what it is told, and may forget to say so.
#[derive(Default)]
struct Server {
    subscribed: BTreeMap<String, QoS>,
    /// Answers that it owes: to be sent in order, or never.
    owed: VecDeque<Vec<u8>>,
}

struct Story {
    version: Version,
    session: Session,
    server: Server,
    records: RecordBatch,
    seed: u64,
    desired: BTreeMap<String, QoS>,
    /// Who waits, for how many codes.
    waiting: BTreeMap<Token, usize>,
    last_token: Token,
    /// How often somebody got an answer without the server.
    told: usize,
}

impl Story {
    fn new(seed: u64, version: Version) -> Self {
        let mut config = Config::new(version);
        config.client_id = "s".to_owned();
        config.clean_start = false;
        config.subscribe_batch = 2;
        config.journal = true;
        Self {
            version,
            session: Session::new(config),
            server: Server::default(),
            records: RecordBatch::new(),
            seed: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
            desired: BTreeMap::new(),
            waiting: BTreeMap::new(),
            last_token: 0,
            told: 0,
        }
    }

    fn below(&mut self, bound: usize) -> usize {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        (self.seed >> 16) as usize % bound
    }

    fn step(&mut self, silent: bool) {
        match self.below(20) {
            0..5 => self.subscribe(),
            5..10 => self.unsubscribe(),
            10..14 if !silent => self.answer(),
            14 => drop(self.server.owed.pop_front()),
            15..17 => self.abandon(),
            17 if self.below(8) == 0 => self.disconnect(),
            18 if self.below(8) == 0 => self.restore(),
            _ if self.session.phase() == Phase::Offline => self.connect(),
            _ => self.exchange(),
        }
        self.collect();
        if self.below(4) == 0 {
            recount(&self.session.subscriptions.asked);
        }
    }

    fn token(&mut self, codes: usize) -> Token {
        if self.below(2) == 0 {
            return NO_TOKEN;
        }
        self.last_token += 1;
        self.waiting.insert(self.last_token, codes);
        self.last_token
    }

    fn subscribe(&mut self) {
        let (first, count) = (self.below(FILTERS.len()), 1 + self.below(3));
        let qos = QoS::from_u8(self.below(3) as u8).unwrap();
        let options = SubscribeOptions::new(qos);
        let filters = FILTERS.iter().cycle().skip(first).take(count);
        let wanted: Vec<_> =
            filters.map(|filter| Subscription { filter, options, identifier: None }).collect();
        self.desired.extend(wanted.iter().map(|wanted| (wanted.filter.to_owned(), qos)));
        let token = self.token(count);
        self.session.subscribe(&wanted, PropertiesRef::EMPTY, token).unwrap();
    }

    fn unsubscribe(&mut self) {
        let (first, count) = (self.below(FILTERS.len()), 1 + self.below(3));
        let filters: Vec<_> = FILTERS.iter().copied().cycle().skip(first).take(count).collect();
        self.desired.retain(|filter, _| !filters.contains(&filter.as_str()));
        let token = self.token(count);
        self.session.unsubscribe(&filters, PropertiesRef::EMPTY, token).unwrap();
    }

    fn abandon(&mut self) {
        let which = self.below(self.waiting.len() + 1);
        if let Some(token) = self.waiting.keys().nth(which).copied()
            && self.session.abandon(token)
        {
            self.waiting.remove(&token);
        }
    }

    fn answer(&mut self) {
        if let Some(answer) = self.server.owed.pop_front() {
            self.receive(&answer);
        }
    }

    fn receive(&mut self, bytes: &[u8]) {
        if self.session.phase() != Phase::Offline {
            let taken = self.session.handle_input(Instant::now(), bytes, &mut Vec::new());
            assert_eq!((taken, self.session.phase()), (bytes.len(), Phase::Online));
        }
    }

    /// What is on its way in either direction is lost.
    fn disconnect(&mut self) {
        self.session.handle_disconnected();
        self.server.owed.clear();
    }

    /// The store failed, and another one begins with what it has.
    fn restore(&mut self) {
        self.disconnect();
        self.store();
        let records = std::mem::take(&mut self.records);
        self.session.restore_state(Instant::now(), &records, &Default::default());
        self.records = records;
    }

    fn connect(&mut self) {
        let kept = self.below(3) > 0;
        self.connect_to(kept);
    }

    fn connect_to(&mut self, kept: bool) {
        self.store();
        self.session.handle_connected(Instant::now(), 0);
        self.exchange();
        if !kept {
            self.server.subscribed.clear();
        }
        let connack = ConnAck {
            session_present: kept,
            reason: ReasonCode::SUCCESS,
            properties: PropertiesRef::EMPTY,
        };
        let mut bytes = Vec::new();
        connack.encode(self.version, &mut bytes).unwrap();
        self.receive(&bytes);
    }

    /// What the client has to say reaches the server.
    fn exchange(&mut self) {
        self.store();
        let mut transmit = Transmit::new();
        let mut bytes = Vec::new();
        while self.session.poll_transmit(&mut transmit) {
            let mut slices = [IoSlice::new(&[]); 64];
            let filled = transmit.io_slices(&mut slices);
            let some: Vec<u8> = slices[..filled].iter().flat_map(|slice| slice.to_vec()).collect();
            transmit.advance(some.len());
            self.session.handle_written(Instant::now(), some.len());
            bytes.extend(some);
        }
        let mut rest = &bytes[..];
        while let Ok(FrameStatus::Complete(found)) = frame(rest, self.version, u32::MAX) {
            let body = &rest[found.header_len..found.total_len];
            let packet = decode(self.version, found.first_byte, body).unwrap();
            self.server.serve(self.version, &packet);
            rest = &rest[found.total_len..];
        }
        assert!(rest.is_empty());
    }

    fn store(&mut self) {
        let last = self.session.poll_store(&mut self.records);
        self.session.handle_stored(Instant::now(), last, last);
    }

    fn collect(&mut self) {
        while self.session.poll_event().is_some() {}
        while let Some(completion) = self.session.poll_completion() {
            let expected = self.waiting.remove(&completion.token).expect("told once");
            let (Outcome::Subscribed(codes) | Outcome::Unsubscribed(codes)) = completion.outcome
            else {
                panic!("{:?}", completion.outcome)
            };
            assert_eq!(codes.len(), expected, "a code for each filter");
            self.told += usize::from(codes.contains(&ReasonCode::UNSPECIFIED_ERROR));
        }
    }

    /// From here on the server answers all that it gets.
    fn settle(&mut self) {
        self.disconnect();
        self.connect_to(true);
        while !self.session.is_settled() {
            self.exchange();
            assert!(!self.server.owed.is_empty(), "waits for nothing");
            self.answer();
            self.collect();
            recount(&self.session.subscriptions.asked);
        }
        self.store();
        self.collect();
        assert!(self.session.is_settled());
        assert!(self.session.subscriptions.asked.used().is_none(), "nothing is kept");
        assert!(self.waiting.is_empty(), "{:?} were never told", self.waiting);
        assert_eq!(self.server.subscribed, self.desired);
        assert!(FILTERS.iter().all(|filter| {
            self.session.is_granted(filter) == self.desired.contains_key(*filter)
        }));
    }
}

impl Server {
    fn serve(&mut self, version: Version, packet: &Packet<'_>) {
        match packet {
            Packet::Subscribe(subscribe) => {
                let mut codes = Vec::new();
                for asked in subscribe.filters.iter() {
                    self.subscribed.insert(asked.filter.to_owned(), asked.options.qos);
                    codes.push(asked.options.qos as u8);
                }
                self.owe(version, PacketType::SubAck, subscribe.packet_id, &codes);
            }
            Packet::Unsubscribe(unsubscribe) => {
                let mut codes = Vec::new();
                for filter in unsubscribe.filters.iter() {
                    let existed = self.subscribed.remove(filter).is_some();
                    codes.push(if existed { 0 } else { 0x11 });
                }
                self.owe(version, PacketType::UnsubAck, unsubscribe.packet_id, &codes);
            }
            _ => {}
        }
    }

    fn owe(&mut self, version: Version, kind: PacketType, packet_id: PacketId, codes: &[u8]) {
        let ack = SubAck { packet_id, properties: PropertiesRef::EMPTY, codes };
        let mut bytes = Vec::new();
        ack.encode(kind, version, &mut bytes).unwrap();
        self.owed.push_back(bytes);
    }
}

/// Compares what is counted with what is there.
fn recount(asked: &Requests) {
    let sent = asked.operations.values().flat_map(|operation| &operation.items);
    let sent: Vec<&Item> = sent.collect();
    let unsent = || asked.ready.values().chain(asked.held.values());
    let mut filters: BTreeSet<&Arc<str>> = BTreeSet::new();
    let mut open: BTreeMap<u64, usize> = BTreeMap::new();
    for item in unsent().chain(sent.iter().copied()) {
        filters.insert(&item.filter);
        *open.entry(item.request).or_default() += 1;
        let request = &asked.all[&item.request];
        assert!((item.request..=request.last).contains(&item.number));
    }
    assert_eq!(filters, asked.filters.keys().collect());
    assert_eq!(open, asked.all.iter().map(|(number, request)| (*number, request.open)).collect());
    let tokens = asked.all.iter().filter(|(_, request)| request.token != NO_TOKEN);
    let tokens: BTreeSet<_> = tokens.map(|(number, request)| (request.token, *number)).collect();
    assert_eq!(tokens, asked.tokens);
    for (filter, pending) in &asked.filters {
        let of_filter = |item: &&Item| item.filter == *filter;
        let held = asked.held.values().filter(of_filter).map(|item| item.number).collect();
        assert_eq!(pending.held, held);
        for kind in [Kind::Subscribe, Kind::Unsubscribe] {
            let mine = |item: &&Item| item.kind == kind && of_filter(item);
            let quiet = |item: &&Item| asked.all[&item.request].token == NO_TOKEN;
            let tally = pending.of(kind);
            assert_eq!(tally.sent, sent.iter().copied().filter(mine).count());
            assert_eq!(tally.open, tally.sent + unsent().filter(mine).count());
            assert!(tally.sent <= UNANSWERED);
            let quiet: Vec<_> = unsent().filter(mine).filter(quiet).map(|i| i.number).collect();
            assert_eq!(tally.quiet.as_slice(), quiet);
            let last = unsent().chain(sent.iter().copied()).filter(mine).map(|i| i.number).max();
            assert!(last.is_none_or(|last| last <= tally.newest));
        }
        check_order(asked, pending);
    }
}

/// Subscribes are held before unsubscribes, and nothing is held for no reason.
fn check_order(asked: &Requests, pending: &Pending) {
    let kinds: Vec<Kind> = pending.held.iter().map(|number| asked.held[number].kind).collect();
    assert!(kinds.is_sorted_by_key(|kind| *kind == Kind::Unsubscribe), "{kinds:?}");
    if let Some(first) = kinds.first() {
        assert_eq!(pending.of(*first).sent, UNANSWERED);
    }
}

fn tell(seed: u64, version: Version, steps: usize) -> usize {
    let mut story = Story::new(seed, version);
    for number in 0..steps {
        // For long stretches the server answers nothing.
        story.step(number / 200 % 2 == 1);
    }
    story.settle();
    story.told
}

#[test]
fn counts_are_those_of_what_is_there_and_the_server_has_what_is_desired_at_the_end() {
    let mut told = 0;
    for seed in 1..=25 {
        for version in [Version::V311, Version::V5] {
            let result = std::panic::catch_unwind(|| tell(seed, version, 500));
            told += result.unwrap_or_else(|_| panic!("story {seed} in version {version} failed"));
        }
    }
    assert!(told > 0, "no caller was ever overtaken");
}

//! The servers: a source that keeps its session, and sinks that take messages.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use mqttx::proto::packet::Publish;
use mqttx::proto::{FrameStatus, Packet, decode, frame};
use mqttx::{Endpoint, QoS, Transport, TransportFuture, Version};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::Notify;

/// Targets refuse every message whose number this divides.
pub(crate) const POISON: u32 = 11;

/// What is known of messages, beyond all processes.
#[derive(Default)]
pub(crate) struct Ledger {
    /// Acknowledged by a target.
    pub(crate) forwarded: BTreeSet<u32>,
    /// Acknowledged by the dead letters' server.
    pub(crate) letters: BTreeSet<u32>,
    /// As they arrived at targets.
    pub(crate) arrived: Vec<u32>,
    pub(crate) broken: Vec<String>,
}

pub(crate) type SharedLedger = Arc<Mutex<Ledger>>;

pub(crate) struct Server {
    state: Mutex<State>,
    news: Notify,
    ledger: SharedLedger,
}

pub(crate) struct State {
    pub(crate) up: bool,
    /// It answers pings and CONNECT, and nothing else.
    pub(crate) silent: bool,
    /// Before each answer.
    pub(crate) delay: Duration,
    /// It has the session of the client.
    known: bool,
    /// The connection that counts.
    connection: u64,
    pub(crate) role: Role,
}

pub(crate) enum Role {
    Source(Source),
    Target(Sink),
    Letters(Sink),
    /// A target that is not required.
    Side(Sink),
}

/// Messages from 1 on, for whoever subscribes.
pub(crate) struct Source {
    pub(crate) qos: QoS,
    pub(crate) window: usize,
    /// How many there are by now.
    pub(crate) total: u32,
    next: u32,
    next_id: u16,
    flight: VecDeque<Flying>,
    filters: BTreeSet<String>,
}

struct Flying {
    id: u16,
    number: u32,
    released: bool,
}

#[derive(Default)]
pub(crate) struct Sink {
    /// QoS 2 messages that are not released.
    open: BTreeMap<u16, u32>,
}

impl Server {
    pub(crate) fn new(role: Role, ledger: &SharedLedger) -> Arc<Self> {
        let state = State {
            up: true,
            silent: false,
            delay: Duration::ZERO,
            known: false,
            connection: 0,
            role,
        };
        Arc::new(Self { state: Mutex::new(state), news: Notify::new(), ledger: Arc::clone(ledger) })
    }

    pub(crate) fn source(qos: QoS, window: usize, ledger: &SharedLedger) -> Arc<Self> {
        let (flight, filters) = (VecDeque::new(), BTreeSet::new());
        let source = Source { qos, window, total: 0, next: 1, next_id: 0, flight, filters };
        Self::new(Role::Source(source), ledger)
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Ends the connection without a word; what is on its way is lost.
    pub(crate) fn cut(&self) {
        self.lock().connection += 1;
        self.news.notify_waiters();
    }

    pub(crate) fn go_down(&self) {
        self.lock().up = false;
        self.cut();
    }

    pub(crate) fn heal(&self) {
        let mut state = self.lock();
        // What it did not answer, it answers on another connection.
        state.connection += u64::from(state.silent);
        (state.up, state.silent, state.delay) = (true, false, Duration::ZERO);
        drop(state);
        self.news.notify_waiters();
    }

    /// There are so many more messages.
    pub(crate) fn produce(&self, more: u32) {
        if let Role::Source(source) = &mut self.lock().role {
            source.total += more;
        }
        self.news.notify_waiters();
    }

    /// How many messages there are, and whether all of them are acknowledged.
    pub(crate) fn progress(&self) -> (u32, bool) {
        match &self.lock().role {
            Role::Source(s) => (s.total, s.next > s.total && s.flight.is_empty()),
            _ => (0, true),
        }
    }

    async fn serve(self: Arc<Self>, mut stream: DuplexStream) {
        let (mut input, mut chunk, mut mine) = (Vec::new(), [0; 4096], None);
        loop {
            let news = self.news.notified();
            let Some(out) = self.unasked(mine) else { return };
            if stream.write_all(&out).await.is_err() {
                return;
            }
            tokio::select! {
                () = news => continue,
                read = stream.read(&mut chunk) => match read {
                    Ok(n) if n > 0 => input.extend_from_slice(&chunk[..n]),
                    _ => return,
                }
            }
            while let Ok(FrameStatus::Complete(found)) = frame(&input, Version::V5, u32::MAX) {
                let body = &input[found.header_len..found.total_len];
                let packet = decode(Version::V5, found.first_byte, body).expect("well-formed");
                let delay = self.lock().delay;
                if !delay.is_zero() {
                    tokio::time::sleep(delay).await;
                }
                let Some(answer) = self.take(&packet, &mut mine) else { return };
                input.drain(..found.total_len);
                if stream.write_all(&answer).await.is_err() {
                    return;
                }
            }
        }
    }
}

impl Server {
    /// What it sends by itself; `None`: the connection is over.
    fn unasked(&self, mine: Option<u64>) -> Option<Vec<u8>> {
        let mut state = self.lock();
        state.counts(mine).then(|| match &mut state.role {
            Role::Source(source) if mine.is_some() => source.send(),
            _ => Vec::new(),
        })
    }

    /// What it answers; `None`: the connection is over.
    fn take(&self, packet: &Packet<'_>, mine: &mut Option<u64>) -> Option<Vec<u8>> {
        let mut state = self.lock();
        if !state.counts(*mine) || matches!(packet, Packet::Disconnect(_)) {
            return None;
        }
        if matches!(packet, Packet::Connect(_)) {
            state.connection += 1;
            *mine = Some(state.connection);
            self.news.notify_waiters();
        }
        Some(state.answer(packet, &mut self.ledger.lock().unwrap()))
    }
}

impl State {
    fn counts(&self, mine: Option<u64>) -> bool {
        self.up && mine.is_none_or(|mine| mine == self.connection)
    }

    fn answer(&mut self, packet: &Packet<'_>, ledger: &mut Ledger) -> Vec<u8> {
        match packet {
            Packet::PingReq => return vec![0xd0, 0],
            Packet::Connect(_) => {
                let mut out = vec![0x20, 3, u8::from(self.known), 0, 0];
                self.known = true;
                if let Role::Source(source) = &self.role {
                    out.extend(source.replay());
                }
                return out;
            }
            _ if self.silent => return Vec::new(),
            _ => {}
        }
        match &mut self.role {
            Role::Source(source) => source.answer(packet, ledger),
            Role::Target(sink) => sink.answer(packet, ledger, Ledger::forward),
            Role::Letters(sink) => sink.answer(packet, ledger, Ledger::bury),
            Role::Side(sink) => sink.answer(packet, ledger, |_, _, _| true),
        }
    }
}

impl Ledger {
    /// A target gets a message (`false`), or has acknowledged it; whether it takes it.
    fn forward(&mut self, number: u32, done: bool) -> bool {
        if number.is_multiple_of(POISON) {
            return false;
        }
        if done {
            self.forwarded.insert(number);
        } else {
            self.arrived.push(number);
        }
        true
    }

    fn bury(&mut self, number: u32, done: bool) -> bool {
        if !number.is_multiple_of(POISON) {
            self.broken.push(format!("{number} became a dead letter"));
        }
        if done {
            self.letters.insert(number);
        }
        true
    }

    /// The source is told that it may forget a message.
    fn forget(&mut self, number: u32) {
        let safe = if number.is_multiple_of(POISON) { &self.letters } else { &self.forwarded };
        if !safe.contains(&number) {
            self.broken.push(format!("{number} was acknowledged, and nobody has it"));
        }
    }
}

impl Source {
    fn send(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        while !self.filters.is_empty() && self.flight.len() < self.window && self.next <= self.total
        {
            self.next_id = self.next_id % 1000 + 1;
            let flying = Flying { id: self.next_id, number: self.next, released: false };
            self.next += 1;
            out.extend(self.publish(&flying, false));
            self.flight.push_back(flying);
        }
        out
    }

    /// On a new connection.
    fn replay(&self) -> Vec<u8> {
        let again = self.flight.iter().map(|flying| match flying.released {
            true => short(0x62, flying.id),
            false => self.publish(flying, true),
        });
        again.flatten().collect()
    }

    fn publish(&self, flying: &Flying, dup: bool) -> Vec<u8> {
        let payload = flying.number.to_string();
        let mut out = vec![0x30 | u8::from(dup) << 3 | (self.qos as u8) << 1];
        out.push(u8::try_from(8 + payload.len()).unwrap());
        out.extend([0, 3, b'a', b'/', b'0' + u8::try_from(flying.number % 3).unwrap()]);
        out.extend(flying.id.to_be_bytes());
        out.push(0);
        out.extend(payload.as_bytes());
        out
    }

    fn answer(&mut self, packet: &Packet<'_>, ledger: &mut Ledger) -> Vec<u8> {
        match packet {
            Packet::Subscribe(subscribe) => {
                self.filters.extend(subscribe.filters.iter().map(|f| f.filter.to_owned()));
                granted(0x90, subscribe.packet_id.get(), subscribe.filters.iter().count(), 2)
            }
            Packet::Unsubscribe(unsubscribe) => {
                let count = unsubscribe.filters.iter().count();
                self.filters
                    .retain(|known| unsubscribe.filters.iter().all(|filter| filter != known));
                granted(0xb0, unsubscribe.packet_id.get(), count, 0)
            }
            Packet::PubAck(ack) => {
                let id = ack.packet_id.get();
                match self.flight.front() {
                    Some(front) if front.id == id => ledger.forget(front.number),
                    _ => ledger.broken.push(format!("PUBACK {id} out of turn")),
                }
                self.flight.pop_front();
                self.send()
            }
            Packet::PubRec(ack) => {
                let id = ack.packet_id.get();
                let Some(flying) = self.flight.iter_mut().find(|flying| flying.id == id) else {
                    ledger.broken.push(format!("PUBREC {id} for nothing"));
                    return Vec::new();
                };
                flying.released = true;
                ledger.forget(flying.number);
                short(0x62, id)
            }
            Packet::PubComp(ack) => {
                self.flight.retain(|flying| flying.id != ack.packet_id.get());
                self.send()
            }
            _ => Vec::new(),
        }
    }
}

impl Sink {
    fn answer(
        &mut self,
        packet: &Packet<'_>,
        ledger: &mut Ledger,
        mut take: impl FnMut(&mut Ledger, u32, bool) -> bool,
    ) -> Vec<u8> {
        match packet {
            Packet::Publish(publish) => {
                let (number, Some(id)) = (number(publish), publish.packet_id) else {
                    ledger.broken.push("QoS 0".to_owned());
                    return Vec::new();
                };
                let id = id.get();
                if publish.qos == QoS::AtLeastOnce {
                    if !take(ledger, number, false) {
                        return refused(0x40, id);
                    }
                    take(ledger, number, true);
                    return short(0x40, id);
                }
                if let Entry::Vacant(open) = self.open.entry(id) {
                    if !take(ledger, number, false) {
                        return refused(0x50, id);
                    }
                    open.insert(number);
                }
                short(0x50, id)
            }
            Packet::PubRel(ack) => {
                let id = ack.packet_id.get();
                if let Some(number) = self.open.remove(&id) {
                    take(ledger, number, true);
                }
                short(0x70, id)
            }
            _ => Vec::new(),
        }
    }
}

fn number(publish: &Publish<'_>) -> u32 {
    std::str::from_utf8(publish.payload).unwrap().parse().unwrap()
}

fn short(first_byte: u8, id: u16) -> Vec<u8> {
    let [high, low] = id.to_be_bytes();
    vec![first_byte, 2, high, low]
}

fn refused(first_byte: u8, id: u16) -> Vec<u8> {
    let [high, low] = id.to_be_bytes();
    vec![first_byte, 3, high, low, 0x87]
}

fn granted(first_byte: u8, id: u16, filters: usize, code: u8) -> Vec<u8> {
    let [high, low] = id.to_be_bytes();
    let mut out = vec![first_byte, u8::try_from(3 + filters).unwrap(), high, low, 0];
    out.resize(out.len() + filters, code);
    out
}

/// The way to the servers, by the names of their hosts.
#[derive(Clone)]
pub(crate) struct Net(pub(crate) Arc<BTreeMap<&'static str, Arc<Server>>>);

impl Transport for Net {
    fn connect<'a>(&'a self, endpoint: &'a Endpoint) -> TransportFuture<'a> {
        Box::pin(async move {
            let server = self.0.get(endpoint.host()).expect("a server");
            if !server.lock().up {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            let (near, far) = duplex(1 << 20);
            tokio::spawn(Arc::clone(server).serve(far));
            Ok(Box::new(near) as _)
        })
    }
}

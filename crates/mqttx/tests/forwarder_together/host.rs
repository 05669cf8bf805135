//! A server in memory, for virtual time: it sends what it is told to, and keeps what it gets.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use mqttx::proto::{FrameStatus, Packet, decode, frame};
use mqttx::{Endpoint, QoS, Transport, TransportFuture, Version};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, duplex, split};
use tokio::sync::Notify;

pub(crate) struct Host {
    version: Version,
    /// Properties of CONNACK, with their length before them.
    limits: Vec<u8>,
    /// Bytes that its sockets hold, each way.
    capacity: usize,
    state: Mutex<State>,
    news: Notify,
}

#[derive(Default)]
pub(crate) struct State {
    down: bool,
    /// It reads nothing.
    pub(crate) deaf: bool,
    /// It reads nothing before it has sent everything.
    pub(crate) rude: bool,
    /// The connection that counts.
    connection: u64,
    /// Filters that it was asked for on this connection.
    pub(crate) filters: usize,
    /// What it sends next.
    output: VecDeque<Vec<u8>>,
    /// Every PUBLISH that it got, as it came but for the packet id, which is 0.
    pub(crate) published: Vec<Vec<u8>>,
    /// Every PUBACK and PUBREC that it got.
    pub(crate) acknowledged: Vec<Vec<u8>>,
}

impl Host {
    pub(crate) fn new(version: Version, limits: &[u8], capacity: usize) -> Arc<Self> {
        let (state, news) = (Mutex::default(), Notify::new());
        Arc::new(Self { version, limits: limits.to_vec(), capacity, state, news })
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Something about it changed.
    pub(crate) fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.news.notify_waiters();
    }

    /// Ends the connection without a word; what is on its way is lost.
    pub(crate) fn cut(&self) {
        self.change(|state| {
            state.connection += 1;
            state.filters = 0;
            state.output.clear();
        });
    }

    /// Nobody can connect until [`heal`](Self::heal).
    pub(crate) fn go_down(&self) {
        self.lock().down = true;
        self.cut();
    }

    pub(crate) fn heal(&self) {
        self.change(|state| (state.down, state.deaf, state.rude) = (false, false, false));
    }

    pub(crate) fn send(&self, bytes: Vec<u8>) {
        self.change(|state| state.output.push_back(bytes));
    }

    /// Whether somebody asked for messages on this connection.
    pub(crate) fn is_asked(&self) -> bool {
        self.lock().filters > 0
    }

    /// Pieces that the socket did not take yet.
    pub(crate) fn unsent(&self) -> usize {
        self.lock().output.len()
    }

    fn accept(self: &Arc<Self>) -> Option<DuplexStream> {
        let mine = {
            let mut state = self.lock();
            if state.down {
                return None;
            }
            state.connection += 1;
            state.filters = 0;
            state.output.clear();
            state.connection
        };
        let (near, far) = duplex(self.capacity);
        let (input, output) = split(far);
        let host = Arc::clone(self);
        tokio::spawn(async move {
            tokio::select! {
                biased;
                () = host.write(mine, output) => {}
                () = host.read(mine, input) => {}
            }
        });
        Some(near)
    }

    /// Whether the connection counts, once something changed.
    fn counts(&self, mine: u64) -> bool {
        let state = self.lock();
        !state.down && state.connection == mine
    }

    /// Ends with the connection.
    async fn over(&self, mine: u64) {
        loop {
            let news = self.news.notified();
            if !self.counts(mine) {
                return;
            }
            news.await;
        }
    }

    async fn write(&self, mine: u64, mut stream: WriteHalf<DuplexStream>) {
        loop {
            let news = self.news.notified();
            if !self.counts(mine) {
                return;
            }
            let next = self.lock().output.front().cloned();
            let Some(next) = next else {
                news.await;
                continue;
            };
            tokio::select! {
                biased;
                written = stream.write_all(&next) => if written.is_err() { return },
                () = self.over(mine) => return,
            }
            self.change(|state| drop(state.output.pop_front()));
        }
    }

    async fn read(&self, mine: u64, mut stream: ReadHalf<DuplexStream>) {
        let (mut input, mut chunk) = (Vec::new(), vec![0; 16 << 10]);
        loop {
            let news = self.news.notified();
            if !self.counts(mine) {
                return;
            }
            let waits = {
                let state = self.lock();
                state.deaf || state.rude && !state.output.is_empty()
            };
            if waits {
                news.await;
                continue;
            }
            tokio::select! {
                biased;
                () = news => continue,
                read = stream.read(&mut chunk) => match read {
                    Ok(n) if n > 0 => input.extend_from_slice(&chunk[..n]),
                    _ => return,
                }
            }
            while let Ok(FrameStatus::Complete(found)) = frame(&input, self.version, u32::MAX) {
                let packet: Vec<u8> = input.drain(..found.total_len).collect();
                if let Some(answer) = self.take(&packet, found.header_len) {
                    self.send(answer);
                }
            }
        }
    }

    /// What it answers.
    fn take(&self, packet: &[u8], header_len: usize) -> Option<Vec<u8>> {
        let body = &packet[header_len..];
        let decoded = decode(self.version, packet[0], body).expect("well-formed");
        let is_v5 = self.version == Version::V5;
        let mut state = self.lock();
        match decoded {
            Packet::Connect(_) => {
                let limits: &[u8] = if is_v5 { &self.limits } else { &[] };
                let mut answer = vec![0x20, 2 + limits.len() as u8, 0, 0];
                answer.extend(limits);
                Some(answer)
            }
            Packet::PingReq => Some(vec![0xd0, 0]),
            Packet::Subscribe(subscribe) => {
                let codes = subscribe.filters.iter().count();
                state.filters += codes;
                Some(granted(0x90, subscribe.packet_id.get(), is_v5, &vec![2; codes]))
            }
            Packet::Unsubscribe(unsubscribe) => {
                let codes = if is_v5 { unsubscribe.filters.iter().count() } else { 0 };
                Some(granted(0xb0, unsubscribe.packet_id.get(), is_v5, &vec![0; codes]))
            }
            Packet::Publish(publish) => {
                let mut kept = packet.to_vec();
                if publish.packet_id.is_some() {
                    let id = header_len + 2 + publish.topic.len();
                    kept[id..id + 2].fill(0);
                }
                state.published.push(kept);
                let id = publish.packet_id?.get();
                Some(short(if publish.qos == QoS::AtLeastOnce { 0x40 } else { 0x50 }, id))
            }
            Packet::PubRel(ack) => Some(short(0x70, ack.packet_id.get())),
            Packet::PubAck(_) => {
                state.acknowledged.push(packet.to_vec());
                None
            }
            Packet::PubRec(ack) => {
                state.acknowledged.push(packet.to_vec());
                Some(short(0x62, ack.packet_id.get()))
            }
            _ => None,
        }
    }
}

fn short(first_byte: u8, id: u16) -> Vec<u8> {
    let [high, low] = id.to_be_bytes();
    vec![first_byte, 2, high, low]
}

fn granted(first_byte: u8, id: u16, is_v5: bool, codes: &[u8]) -> Vec<u8> {
    let [high, low] = id.to_be_bytes();
    let mut out = vec![first_byte, (2 + usize::from(is_v5) + codes.len()) as u8, high, low];
    out.extend(is_v5.then_some(0));
    out.extend(codes);
    out
}

/// The way to the hosts, by their names.
#[derive(Clone)]
pub(crate) struct Net(pub(crate) Arc<BTreeMap<&'static str, Arc<Host>>>);

impl Transport for Net {
    fn connect<'a>(&'a self, endpoint: &'a Endpoint) -> TransportFuture<'a> {
        Box::pin(async move {
            let host = self.0.get(endpoint.host()).expect("a host");
            let stream = host.accept().ok_or(io::ErrorKind::ConnectionRefused)?;
            Ok(Box::new(stream) as _)
        })
    }
}

/// Xorshift; any state but zero.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        random.below(1);
        random
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub(crate) fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize]
    }
}

//! A broker for one client, whose session outlives its connections and the client's lives.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use super::inbound::Inbound;
use super::outbound::Outbound;
use super::packet::{self, Packet, Version};
use super::random::Random;
use super::victim::Killer;

/// The listener; what it knows is in [`State`].
pub(crate) struct Broker {
    shared: Arc<Shared>,
    address: SocketAddr,
    task: JoinHandle<()>,
}

struct Shared {
    state: Mutex<State>,
    /// A connection began or ended, or a packet was handled.
    changed: Notify,
}

/// How the broker treats the client in one life.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Conduct {
    /// So many percent of the answers wait,
    pub(crate) hold: u64,
    /// up to this long. What waits keeps its order.
    pub(crate) patience: Duration,
    /// So many percent of the answers end the connection: before, within or after them.
    pub(crate) cut: u64,
    /// So many percent of the connections find the session gone.
    pub(crate) forget: u64,
    pub(crate) receive_maximum: Option<u16>,
}

impl Conduct {
    /// Answers at once.
    pub(crate) const KIND: Self =
        Self { hold: 0, patience: Duration::ZERO, cut: 0, forget: 0, receive_maximum: None };
}

/// An answer to a packet.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    PubAck(u16),
    PubRec(u16),
    PubComp(u16),
    /// PUBCOMP for an unknown id.
    UnknownId(u16),
    PubRel(u16),
    SubAck(u16),
    /// Anything else, which never waits.
    Other(Vec<u8>),
}

pub(crate) struct State {
    version: Version,
    random: Random,
    pub(crate) conduct: Conduct,
    pub(crate) inbound: Inbound,
    pub(crate) outbound: Outbound,
    /// Sees to the client's end, after so many packets in both directions.
    fuse: Option<(u64, Killer)>,
    session: bool,
    connected: bool,
    held: VecDeque<Answer>,
    release_at: Option<Instant>,
    /// The client is dead.
    dead: bool,
    /// Nothing more is sent on this connection.
    silent: bool,
    /// What the client did wrong.
    pub(crate) faults: Vec<String>,
}

/// What happens on the connection.
enum Step {
    Send(Vec<u8>),
    /// The client is killed; what it sent before is still read.
    Kill(Killer),
    Close,
    Reset,
}

impl Broker {
    pub(crate) async fn start(version: Version, qos: u8, seed: u64) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let state = State {
            version,
            random: Random::new(seed),
            conduct: Conduct::KIND,
            inbound: Inbound::new(qos),
            outbound: Outbound::new(version, qos),
            fuse: None,
            session: false,
            connected: false,
            held: VecDeque::new(),
            release_at: None,
            dead: false,
            silent: false,
            faults: Vec::new(),
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Notify::new() });
        let task = tokio::spawn(listen(listener, Arc::clone(&shared)));
        Self { shared, address, task }
    }

    pub(crate) fn port(&self) -> String {
        self.address.port().to_string()
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.shared.lock()
    }

    /// Waits until it is so. Cancel safe.
    pub(crate) async fn until(&self, ready: impl Fn(&State) -> bool) {
        loop {
            let changed = self.shared.changed.notified();
            if ready(&self.state()) {
                return;
            }
            changed.await;
        }
    }

    /// Waits for a connection. Cancel safe.
    pub(crate) async fn reached(&self) {
        self.until(|state| state.connected).await;
    }

    /// Waits until everything that the dead client sent was read.
    pub(crate) async fn drained(&self) {
        self.until(|state| !state.connected).await;
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn listen(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        stream.set_nodelay(true).expect("no delay");
        shared.lock().connection_begins();
        shared.changed.notify_one();
        attend(&mut stream, &shared).await;
        drop(stream);
        shared.lock().connected = false;
        shared.changed.notify_one();
    }
}

/// Serves one connection to its end.
async fn attend(stream: &mut TcpStream, shared: &Shared) {
    let mut received = Vec::new();
    loop {
        let release_at = shared.lock().release_at;
        let far = || Instant::now() + Duration::from_secs(3600);
        let mut steps = Vec::new();
        tokio::select! {
            more = fill(stream, &mut received) => {
                if !more {
                    return;
                }
                while let Some(length) = packet::length(&received) {
                    let packet: Vec<u8> = received.drain(..length).collect();
                    shared.lock().on_packet(&packet, &mut steps);
                }
            }
            () = sleep_until(release_at.unwrap_or_else(far)) => shared.lock().release(&mut steps),
        }
        for step in steps {
            if !step.take(stream).await {
                return;
            }
        }
        shared.changed.notify_one();
    }
}

/// Reads more; `false` at the end.
async fn fill(stream: &mut TcpStream, received: &mut Vec<u8>) -> bool {
    let mut chunk = [0; 16 * 1024];
    // A killed client may leave a reset instead of an end.
    let count = stream.read(&mut chunk).await.unwrap_or(0);
    received.extend_from_slice(&chunk[..count]);
    count > 0
}

impl Step {
    /// Whether the connection goes on.
    async fn take(self, stream: &mut TcpStream) -> bool {
        match self {
            // The client may be dead: then reading tells.
            Self::Send(bytes) => {
                let _ = stream.write_all(&bytes).await;
            }
            Self::Kill(killer) => killer.kill(),
            Self::Close => return false,
            Self::Reset => {
                let _ = stream.set_zero_linger();
                return false;
            }
        }
        true
    }
}

impl State {
    /// The next life of the client.
    pub(crate) fn begin(&mut self, conduct: Conduct, fuse: Option<(u64, Killer)>) {
        self.conduct = conduct;
        self.fuse = fuse;
        self.dead = false;
    }

    /// The client is being killed by somebody else.
    pub(crate) fn fall_silent(&mut self) {
        (self.dead, self.silent, self.fuse) = (true, true, None);
        self.outbound.doomed();
    }

    fn connection_begins(&mut self) {
        self.connected = true;
        self.silent = self.dead;
        self.held.clear();
        self.release_at = None;
    }

    fn on_packet(&mut self, bytes: &[u8], steps: &mut Vec<Step>) {
        self.burn(steps);
        let outcome =
            Packet::parse(self.version, bytes).and_then(|packet| self.handle(packet, steps));
        if let Err(fault) = outcome {
            self.faults.push(fault);
        }
    }

    fn handle(&mut self, packet: Packet, steps: &mut Vec<Step>) -> Result<(), String> {
        match packet {
            Packet::Connect { version, clean } => return self.on_connect(version, clean, steps),
            Packet::Publish { dup, qos, id, payload } => {
                let answer = self.inbound.on_publish(dup, qos, id, &payload)?;
                self.answer(answer, steps);
            }
            Packet::PubRel(id) => {
                let answer = self.inbound.on_pubrel(id)?;
                self.answer(answer, steps);
            }
            Packet::PubAck(id) => self.outbound.on_puback(id)?,
            Packet::PubRec(id) => {
                self.outbound.on_pubrec(id)?;
                self.answer(Answer::PubRel(id), steps);
            }
            Packet::PubComp(id) => self.outbound.on_pubcomp(id)?,
            Packet::Subscribe(id) => {
                self.outbound.on_subscribe()?;
                self.send(Answer::SubAck(id), steps);
            }
            Packet::Ping => self.send(Answer::Other(vec![0xd0, 0]), steps),
            Packet::Disconnect => return Ok(()),
        }
        self.send_more(steps);
        Ok(())
    }

    fn on_connect(
        &mut self,
        version: Version,
        clean: bool,
        steps: &mut Vec<Step>,
    ) -> Result<(), String> {
        if version != self.version || clean {
            return Err(format!("CONNECT in {version:?}, clean {clean}"));
        }
        if self.session && self.random.chance(self.conduct.forget) {
            self.session = false;
            self.inbound.forget();
        }
        let maximum = self.conduct.receive_maximum.filter(|_| version == Version::V5);
        self.inbound.connected(maximum);
        let present = std::mem::replace(&mut self.session, true);
        self.outbound.accepted();
        self.send(Answer::Other(packet::connack(version, present, maximum)), steps);
        for packet in self.outbound.resume() {
            self.send(Answer::Other(packet), steps);
        }
        self.send_more(steps);
        Ok(())
    }

    fn send_more(&mut self, steps: &mut Vec<Step>) {
        if !self.silent {
            for packet in self.outbound.fill() {
                self.send(Answer::Other(packet), steps);
            }
        }
    }

    /// Answers now or later.
    fn answer(&mut self, answer: Answer, steps: &mut Vec<Step>) {
        if self.held.is_empty() && !self.random.chance(self.conduct.hold) {
            self.send(answer, steps);
            return;
        }
        if self.held.is_empty() {
            self.release_at = Some(Instant::now() + self.random.up_to(self.conduct.patience));
        }
        self.held.push_back(answer);
    }

    /// Sends what waits.
    fn release(&mut self, steps: &mut Vec<Step>) {
        self.release_at = None;
        for answer in std::mem::take(&mut self.held) {
            self.send(answer, steps);
        }
    }

    /// Sends an answer, or part of it, or ends something.
    fn send(&mut self, answer: Answer, steps: &mut Vec<Step>) {
        if self.silent {
            return;
        }
        let mut bytes = self.encode(&answer);
        let whole = bytes.len();
        let cut = self.random.chance(self.conduct.cut);
        if cut || self.fuse.as_ref().is_some_and(|(left, _)| *left == 1) {
            bytes.truncate([0, whole / 2, whole][self.random.below(3) as usize]);
        }
        if bytes.len() == whole {
            self.inbound.answered(&answer);
            if matches!(answer, Answer::SubAck(_)) {
                self.outbound.granted();
            }
        }
        steps.push(Step::Send(bytes));
        if cut {
            self.silent = true;
            self.outbound.severed();
            steps.push(if self.random.chance(50) { Step::Close } else { Step::Reset });
        }
        self.burn(steps);
    }

    fn encode(&self, answer: &Answer) -> Vec<u8> {
        match answer {
            Answer::PubAck(id) => packet::ack(0x40, *id),
            Answer::PubRec(id) => packet::ack(0x50, *id),
            Answer::PubRel(id) => packet::ack(0x62, *id),
            Answer::PubComp(id) => packet::ack(0x70, *id),
            Answer::UnknownId(id) => packet::unknown_id(self.version, *id),
            Answer::SubAck(id) => packet::suback(self.version, *id, 2),
            Answer::Other(bytes) => bytes.clone(),
        }
    }

    /// One packet more: perhaps the client's last.
    fn burn(&mut self, steps: &mut Vec<Step>) {
        let Some((left, _)) = &mut self.fuse else { return };
        *left -= 1;
        if *left == 0
            && let Some((_, killer)) = self.fuse.take()
        {
            (self.dead, self.silent) = (true, true);
            self.outbound.doomed();
            steps.push(Step::Kill(killer));
        }
    }
}

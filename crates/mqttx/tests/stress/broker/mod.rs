//! A small, well-behaved broker: it routes between its clients at QoS 0, 1 and 2, in both versions, keeps
//! sessions, and enforces keep-alives. It runs on a thread of its own, in real time.

mod state;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mqttx::proto::{FrameStatus, Packet, decode, frame};
use mqttx::{KeepAlive, Version};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::{Notify, oneshot, watch};

use state::State;

/// What a broker does besides the usual.
#[derive(Clone, Copy, Default)]
pub(crate) struct Conduct {
    /// Its Receive Maximum, and the most that it sends unacknowledged; 0 is 20 and not told.
    pub(crate) window: u16,
    /// Head-of-line blocking: while more bytes than this wait for one client, it reads from none.
    pub(crate) backlog: Option<usize>,
}

pub(crate) struct Broker {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    conduct: Conduct,
    state: Mutex<State>,
    /// Sent after each packet, connection and disconnection.
    changed: watch::Sender<()>,
    /// Some output was written.
    drained: Notify,
    stalls: Arc<AtomicU64>,
}

/// The way to one connected client.
#[derive(Clone)]
struct Line {
    out: UnboundedSender<Vec<u8>>,
    /// Bytes that are not written.
    pending: Arc<AtomicUsize>,
    cut: Arc<Notify>,
}

impl Line {
    fn send(&self, bytes: Vec<u8>) {
        self.pending.fetch_add(bytes.len(), Ordering::SeqCst);
        let _ = self.out.send(bytes);
    }
}

impl Broker {
    pub(crate) fn start(conduct: Conduct) -> Self {
        let shared = Arc::new(Shared {
            conduct,
            state: Mutex::new(State::new(conduct)),
            changed: watch::Sender::new(()),
            drained: Notify::new(),
            stalls: Arc::default(),
        });
        let (stop, stopped) = oneshot::channel();
        let (report, reported) = std::sync::mpsc::channel();
        let serving = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                let socket = TcpSocket::new_v4().unwrap();
                socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
                let listener = socket.listen(4096).unwrap();
                report.send(listener.local_addr().unwrap()).unwrap();
                tokio::spawn(crate::note_stalls(Arc::clone(&serving.stalls)));
                tokio::select! {
                    () = accept(listener, serving) => {}
                    _ = stopped => {}
                }
            });
        });
        let address = reported.recv().unwrap();
        Self { address, shared, stop: Some(stop), thread: Some(thread) }
    }

    pub(crate) fn url(&self) -> String {
        format!("mqtt://{}", self.address)
    }

    /// Breaks every connection.
    pub(crate) fn cut_all(&self) {
        self.shared.state().lines().for_each(|line| line.cut.notify_one());
    }

    /// While off, connections are closed as they come.
    pub(crate) fn accept(&self, on: bool) {
        self.shared.state().accepting = on;
    }

    /// While on, nothing that is published is acknowledged.
    pub(crate) fn withhold_acks(&self, on: bool) {
        self.shared.state().withhold = on;
    }

    /// When each CONNECT came.
    pub(crate) fn connects(&self) -> Vec<Instant> {
        self.shared.state().connects.clone()
    }

    /// The longest time for which it stood still.
    pub(crate) fn stalls(&self) -> Duration {
        Duration::from_micros(self.shared.stalls.load(Ordering::Relaxed))
    }

    /// PUBLISH packets of a topic that came in, repeated ones included.
    pub(crate) fn published(&self, topic: &str) -> usize {
        self.shared.state().published.get(topic).copied().unwrap_or_default()
    }

    /// PUBLISH packets with that topic that were sent to clients, repeated ones included.
    pub(crate) fn delivered(&self, topic: &str) -> usize {
        self.shared.state().delivered.get(topic).copied().unwrap_or_default()
    }

    pub(crate) fn pings(&self) -> usize {
        self.shared.state().pings
    }

    /// Connections closed because the client was silent for 1.5 times its keep-alive.
    pub(crate) fn silent(&self) -> usize {
        self.shared.state().silent
    }

    /// Messages sent to the client and not acknowledged.
    pub(crate) fn unacknowledged_by(&self, client: &str) -> usize {
        self.shared.state().unacknowledged_by(client)
    }

    pub(crate) fn clients(&self) -> usize {
        self.shared.state().lines().count()
    }

    /// Waits until things are as `ok` wants them.
    pub(crate) async fn until(&self, what: &str, ok: impl Fn(&Self) -> bool) {
        let mut changes = self.shared.changed.subscribe();
        let reached = async {
            while !ok(self) {
                changes.changed().await.unwrap();
            }
        };
        let reached = tokio::time::timeout(crate::LONG, reached).await;
        assert!(reached.is_ok(), "the broker waited for: {what}");
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Waits until no client is behind by more than the conduct allows.
    async fn room(&self) {
        let Some(limit) = self.conduct.backlog else { return };
        loop {
            let mut drained = std::pin::pin!(self.drained.notified());
            drained.as_mut().enable();
            let behind = |line: &Line| line.pending.load(Ordering::SeqCst) > limit;
            if !self.state().lines().any(behind) {
                return;
            }
            drained.await;
        }
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        if !shared.state().accepting {
            continue;
        }
        stream.set_nodelay(true).unwrap();
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let mut client = None;
            serve(stream, &shared, &mut client).await;
            if let Some((id, line)) = client {
                shared.state().on_gone(&id, &line);
                shared.drained.notify_waiters();
            }
            shared.changed.send_replace(());
        });
    }
}

async fn serve(stream: TcpStream, shared: &Arc<Shared>, client: &mut Option<(String, Line)>) {
    let (mut reader, mut writer) = stream.into_split();
    let (out, mut outgoing) = unbounded_channel::<Vec<u8>>();
    let line = Line { out, pending: Arc::default(), cut: Arc::default() };
    let (pending, writing) = (Arc::clone(&line.pending), Arc::clone(shared));
    let written = tokio::spawn(async move {
        while let Some(bytes) = outgoing.recv().await {
            let done = writer.write_all(&bytes).await;
            pending.fetch_sub(bytes.len(), Ordering::SeqCst);
            writing.drained.notify_waiters();
            if done.is_err() {
                return;
            }
        }
    });
    let (mut input, mut version, mut patience) = (Vec::new(), Version::V311, Duration::MAX);
    loop {
        while let Ok(FrameStatus::Complete(found)) = frame(&input, version, u32::MAX) {
            let body = &input[found.header_len..found.total_len];
            if found.first_byte == 0x10 {
                // Byte 6 is the protocol level.
                version = if body[6] == 5 { Version::V5 } else { Version::V311 };
            }
            let packet = decode(version, found.first_byte, body).expect("well-formed");
            let id = match &packet {
                Packet::Connect(connect) => {
                    if connect.keep_alive != KeepAlive::OFF {
                        patience = Duration::from_secs(connect.keep_alive.as_secs().into()) * 3 / 2;
                    }
                    *client = Some((connect.client_id.to_owned(), line.clone()));
                    connect.client_id.to_owned()
                }
                _ => client.as_ref().expect("CONNECT comes first").0.clone(),
            };
            let open = shared.state().on_packet(version, &id, &line, &packet);
            shared.changed.send_replace(());
            if !open {
                return;
            }
            input.drain(..found.total_len);
            shared.room().await;
        }
        let mut chunk = [0; 16 * 1024];
        let read = tokio::select! {
            read = tokio::time::timeout(patience, reader.read(&mut chunk)) => read,
            () = line.cut.notified() => {
                written.abort();
                return;
            }
        };
        match read {
            Ok(Ok(n)) if n > 0 => input.extend_from_slice(&chunk[..n]),
            Ok(_) => return,
            Err(_) => {
                shared.state().silent += 1;
                return;
            }
        }
    }
}

//! A peer that counts and floods as fast as a socket can: the other end of measurements.

mod connection;

use connection::Connection;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{Notify, oneshot};

/// Accepts any number of clients, answers and counts what they send, and sends them floods.
///
/// It runs on a thread of its own, speaks both versions of MQTT, routes nothing between its
/// clients, and stops on drop.
#[derive(Debug)]
pub struct LoadPeer {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What a [`LoadPeer`] does besides counting.
#[derive(Debug, Clone, Default)]
pub struct LoadOptions {
    /// The Receive Maximum in its CONNACK to MQTT 5 clients; `None` sends none, which is 65 535.
    pub receive_maximum: Option<u16>,
    /// What every connection gets after its first SUBSCRIBE.
    pub flood: Option<Flood>,
}

/// PUBLISH packets to send to a subscriber.
#[derive(Debug, Clone)]
pub struct Flood {
    /// Their topics, one after the other and over again; at least one.
    pub topics: Vec<String>,
    /// Bytes of payload; from 8 on it starts with the message's number, counted from 0, in eight
    /// bytes, most significant first.
    pub payload: usize,
    /// 0, 1 or 2.
    pub qos: u8,
    /// How many, to each subscriber.
    pub messages: u64,
    /// How many may be unacknowledged, if the client's Receive Maximum is not smaller; at least 1.
    pub window: u16,
}

/// What a [`LoadPeer`] counted so far, over all connections.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// CONNECT packets answered.
    pub connects: u64,
    /// Connections that ended.
    pub closed: u64,
    /// SUBSCRIBE packets answered.
    pub subscribes: u64,
    /// PINGREQ packets answered.
    pub pings: u64,
    /// PUBLISH packets received.
    pub publishes: u64,
    /// Bytes of all PUBLISH packets received.
    pub publish_bytes: u64,
    /// PUBLISH packets received with DUP.
    pub duplicates: u64,
    /// QoS 2 messages received whose PUBREL came.
    pub released: u64,
    /// Messages of floods sent.
    pub flooded: u64,
    /// Messages of floods whose last acknowledgement came.
    pub acknowledged: u64,
}

impl LoadPeer {
    /// Listens on a free loopback port.
    ///
    /// # Panics
    /// When there is no port or no thread left, or a flood has a QoS above 2, a window of 0, or no topic.
    #[must_use]
    pub fn start(options: LoadOptions) -> Self {
        if let Some(flood) = &options.flood {
            let possible = flood.qos <= 2 && flood.window > 0 && !flood.topics.is_empty();
            assert!(possible, "an impossible flood: {flood:?}");
        }
        let shared = Arc::new(Shared::default());
        let (stop, stopped) = oneshot::channel();
        let (report, reported) = std::sync::mpsc::channel();
        let counted = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("load-peer".to_owned()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
            runtime.expect("a runtime").block_on(async {
                let listener = listen();
                report.send(listener.local_addr().expect("an address")).expect("a starter");
                tokio::select! {
                    () = serve(listener, Arc::new(options), counted) => {}
                    _ = stopped => {}
                }
            });
        });
        let address = reported.recv().expect("the peer listens");
        Self { address, shared, stop: Some(stop), thread: Some(thread.expect("a thread")) }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address as a client takes it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("mqtt://{}", self.address)
    }

    /// What it counted so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.shared.snapshot()
    }

    /// Waits until the counters are as asked for, and returns them.
    pub async fn wait_for(&self, reached: impl Fn(&Counters) -> bool) -> Counters {
        loop {
            let mut changed = std::pin::pin!(self.shared.changed.notified());
            changed.as_mut().enable();
            let counters = self.counters();
            if reached(&counters) {
                return counters;
            }
            changed.await;
        }
    }
}

impl Drop for LoadPeer {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The counters of a peer, in the order of [`Counters`].
#[derive(Debug, Default)]
struct Shared {
    values: [AtomicU64; 10],
    changed: Notify,
}

impl Shared {
    /// Adds what one connection counted since the last time.
    fn add(&self, more: &Counters) {
        for (value, more) in self.values.iter().zip(more.values()) {
            if more > 0 {
                value.fetch_add(more, Ordering::Relaxed);
            }
        }
        self.changed.notify_waiters();
    }

    fn snapshot(&self) -> Counters {
        let mut values = [0; 10];
        for (copy, value) in values.iter_mut().zip(&self.values) {
            *copy = value.load(Ordering::Relaxed);
        }
        Counters::of(values)
    }
}

impl Counters {
    fn values(&self) -> [u64; 10] {
        [
            self.connects,
            self.closed,
            self.subscribes,
            self.pings,
            self.publishes,
            self.publish_bytes,
            self.duplicates,
            self.released,
            self.flooded,
            self.acknowledged,
        ]
    }

    fn of(values: [u64; 10]) -> Self {
        let [
            connects,
            closed,
            subscribes,
            pings,
            publishes,
            publish_bytes,
            duplicates,
            released,
            flooded,
            acknowledged,
        ] = values;
        Self {
            connects,
            closed,
            subscribes,
            pings,
            publishes,
            publish_bytes,
            duplicates,
            released,
            flooded,
            acknowledged,
        }
    }
}

fn listen() -> TcpListener {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).expect("a free port");
    // Thousands of clients connect at once.
    socket.listen(4096).expect("a listener")
}

async fn serve(listener: TcpListener, options: Arc<LoadOptions>, shared: Arc<Shared>) {
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        stream.set_nodelay(true).expect("no delay");
        let connection = Connection::new(stream, Arc::clone(&options), Arc::clone(&shared));
        tokio::spawn(connection.run());
    }
}

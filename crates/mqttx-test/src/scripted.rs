//! A broker whose every byte a test decides.

use crate::notation::{hex, shown};
use crate::wire;
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// How long a peer waits for what a script expects before it fails the test.
const PATIENCE: Duration = Duration::from_secs(10);

/// A listener on the loopback interface; each connection to it is a [`Peer`].
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// use mqttx_test::ScriptedBroker;
/// use tokio::io::AsyncWriteExt;
///
/// let broker = ScriptedBroker::start().await;
/// let mut client = tokio::net::TcpStream::connect(broker.address()).await.unwrap();
/// client.write_all(&mqttx_test::hex("c0 {}")).await.unwrap();
///
/// let mut peer = broker.accept().await;
/// peer.expect("c0 {}").await;
/// peer.send("d0 {}").await;
/// # });
/// ```
#[derive(Debug)]
pub struct ScriptedBroker {
    listener: TcpListener,
    address: SocketAddr,
}

impl ScriptedBroker {
    /// Listens on a free port.
    ///
    /// # Panics
    /// When there is none.
    pub async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        Self { listener, address }
    }

    /// Listens on a free port, with receive buffers so small that a peer that does not read soon
    /// stops the client's writes.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn start_with_small_buffers() -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4096).expect("a small buffer");
        socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).expect("a free port");
        let listener = socket.listen(128).expect("a listener");
        let address = listener.local_addr().expect("an address");
        Self { listener, address }
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

    /// The next connection.
    ///
    /// # Panics
    /// When none comes in time.
    pub async fn accept(&self) -> Peer {
        let accepted = in_time("a connection", self.listener.accept()).await;
        let (stream, _) = accepted.expect("a connection");
        stream.set_nodelay(true).expect("no delay");
        Peer { stream, received: Vec::new() }
    }

    /// The next connection, after its CONNECT was answered with this CONNACK; returns the CONNECT.
    ///
    /// # Panics
    /// When none comes in time, or its first packet is not CONNECT.
    pub async fn accept_and_answer(&self, connack: &str) -> (Peer, Vec<u8>) {
        let mut peer = self.accept().await;
        let connect = peer.recv_packet().await;
        assert_eq!(connect[0], 0x10, "expected CONNECT, got {}", shown(&connect));
        peer.send(connack).await;
        (peer, connect)
    }

    /// Checks that nobody connects for this long.
    ///
    /// # Panics
    /// When somebody does.
    pub async fn expect_no_connection(&self, time: Duration) {
        let accepted = tokio::time::timeout(time, self.listener.accept()).await;
        assert!(accepted.is_err(), "an unexpected connection");
    }
}

/// The broker's end of one connection. A peer that is kept but not used stalls: it reads nothing.
#[derive(Debug)]
pub struct Peer {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Peer {
    /// The next whole packet.
    ///
    /// # Panics
    /// When the connection ends, or nothing comes in time.
    pub async fn recv_packet(&mut self) -> Vec<u8> {
        let packet = self.try_recv_packet().await;
        packet.unwrap_or_else(|| {
            panic!("the connection ended instead of a packet; before it: {}", shown(&self.received))
        })
    }

    /// The next whole packet, or `None` when the connection ended before it.
    ///
    /// # Panics
    /// When nothing comes in time.
    pub async fn try_recv_packet(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(length) = wire::packet_len(&self.received) {
                return Some(self.received.drain(..length).collect());
            }
            if !self.fill("a packet").await {
                return None;
            }
        }
    }

    /// Checks that the next packet is this one; `script` is in the notation of [`hex`].
    ///
    /// # Panics
    /// When another one comes, the connection ends, or nothing comes in time.
    pub async fn expect(&mut self, script: &str) {
        let expected = hex(script);
        let got = self.recv_packet().await;
        assert!(got == expected, "\nexpected {}\ngot      {}\n", shown(&expected), shown(&got));
    }

    /// The next packet, which must be of this type: its first byte, flags included.
    ///
    /// # Panics
    /// When another one comes, the connection ends, or nothing comes in time.
    pub async fn expect_type(&mut self, first_byte: u8) -> Vec<u8> {
        let got = self.recv_packet().await;
        assert_eq!(got[0], first_byte, "expected {first_byte:#04x}…, got {}", shown(&got));
        got
    }

    /// Checks that the client ends the connection, and sends nothing before.
    ///
    /// # Panics
    /// When it sends something, or does not close in time.
    pub async fn expect_closed(&mut self) {
        let open = self.received.is_empty() && self.fill("the end of the connection").await;
        let rest = &self.received;
        assert!(!open && rest.is_empty(), "expected the end, got {}", shown(rest));
    }

    /// Checks that the client neither sends anything nor ends the connection for this long.
    ///
    /// # Panics
    /// When it does.
    pub async fn expect_silence(&mut self, time: Duration) {
        // Not `readable`, which may be true of bytes that were read already.
        let quiet = self.received.is_empty()
            && tokio::time::timeout(time, self.stream.peek(&mut [0])).await.is_err();
        if !quiet {
            let open = self.fill("anything").await;
            panic!("expected silence, got {} (open: {open})", shown(&self.received));
        }
    }

    /// Sends this; `script` is in the notation of [`hex`].
    ///
    /// # Panics
    /// When the connection is gone.
    pub async fn send(&mut self, script: &str) {
        self.send_bytes(&hex(script)).await;
    }

    /// Sends these bytes.
    ///
    /// # Panics
    /// When the connection is gone.
    pub async fn send_bytes(&mut self, bytes: &[u8]) {
        in_time("room to write", self.stream.write_all(bytes)).await.expect("an open connection");
    }

    /// Sends this unless the connection is gone; `script` is in the notation of [`hex`].
    ///
    /// # Panics
    /// When there is no room to write in time.
    pub async fn try_send(&mut self, script: &str) {
        // The client may have ended the connection.
        let _ = in_time("room to write", self.stream.write_all(&hex(script))).await;
    }

    /// Sends this one byte a segment, so that the client sees it in as many reads as it can.
    ///
    /// # Panics
    /// When the connection is gone.
    pub async fn send_split(&mut self, script: &str) {
        for byte in hex(script) {
            self.send_bytes(&[byte]).await;
            tokio::task::yield_now().await;
        }
    }

    /// Ends the connection in order: the client reads everything sent, then the end.
    ///
    /// # Panics
    /// When the connection is gone already.
    pub async fn close(mut self) {
        self.stream.shutdown().await.expect("an open connection");
    }

    /// Breaks the connection: the client gets a reset, and may lose what was sent last.
    ///
    /// # Panics
    /// When the socket is unusable.
    pub fn reset(self) {
        self.stream.set_zero_linger().expect("a socket");
    }

    /// Reads more; whether the connection is still open.
    async fn fill(&mut self, expected: &str) -> bool {
        let mut chunk = [0; 16 * 1024];
        let read = tokio::time::timeout(PATIENCE, self.stream.read(&mut chunk)).await;
        let Ok(read) = read else {
            let had = shown(&self.received);
            panic!("waited {} s for {expected}; so far {had}", PATIENCE.as_secs());
        };
        // A reset ends a connection as well.
        let count = read.unwrap_or(0);
        self.received.extend_from_slice(&chunk[..count]);
        count > 0
    }
}

async fn in_time<T>(expected: &str, work: impl Future<Output = T>) -> T {
    let Ok(value) = tokio::time::timeout(PATIENCE, work).await else {
        panic!("waited {} s for {expected}", PATIENCE.as_secs());
    };
    value
}

//! An in-memory transport for tests: with a stopped clock, a whole day takes a moment.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc;

use super::{Endpoint, Stream};

/// Bytes that each direction holds.
const CAPACITY: usize = 4096;

thread_local! {
    static LISTENERS: RefCell<HashMap<String, mpsc::UnboundedSender<DuplexStream>>> =
        RefCell::default();
}

/// A broker on this thread, reached by its host name.
pub(crate) struct Listener(mpsc::UnboundedReceiver<DuplexStream>);

/// The broker's end of a connection.
pub(crate) struct Peer(DuplexStream);

impl Listener {
    /// From now on connections to `host` come here.
    pub(crate) fn bind(host: &str) -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        LISTENERS.with_borrow_mut(|listeners| listeners.insert(host.to_owned(), sender));
        Self(receiver)
    }

    pub(crate) async fn accept(&mut self) -> Peer {
        Peer(self.0.recv().await.expect("a connection"))
    }

    /// The next connection, after its CONNECT was answered with this CONNACK.
    pub(crate) async fn accept_and_answer(&mut self, connack: &str) -> Peer {
        let mut peer = self.accept().await;
        assert_eq!(peer.recv().await[0], 0x10, "CONNECT");
        peer.send(connack).await;
        peer
    }
}

impl Peer {
    /// The next packet; at most 127 bytes of body.
    pub(crate) async fn recv(&mut self) -> Vec<u8> {
        self.try_recv().await.expect("a packet")
    }

    /// The next packet, `None` at the end.
    pub(crate) async fn try_recv(&mut self) -> Option<Vec<u8>> {
        let mut packet = vec![0; 2];
        self.0.read_exact(&mut packet).await.ok()?;
        packet.resize(2 + usize::from(packet[1]), 0);
        self.0.read_exact(&mut packet[2..]).await.ok()?;
        Some(packet)
    }

    pub(crate) async fn expect(&mut self, script: &str) {
        let (got, expected) = (self.recv().await, mqttx_test::hex(script));
        assert_eq!(got, expected, "{}", mqttx_test::shown(&got));
    }

    pub(crate) async fn send(&mut self, script: &str) {
        assert!(self.try_send(script).await, "the connection is closed");
    }

    /// `false`: the connection is closed.
    pub(crate) async fn try_send(&mut self, script: &str) -> bool {
        self.0.write_all(&mqttx_test::hex(script)).await.is_ok()
    }
}

/// The connection to a listener of this thread, if it has that name.
pub(super) fn dial(endpoint: &Endpoint) -> Option<io::Result<Stream>> {
    LISTENERS.with_borrow(|listeners| {
        let listener = listeners.get(endpoint.host())?;
        let (near, far) = tokio::io::duplex(CAPACITY);
        Some(match listener.send(far) {
            Ok(()) => Ok(Stream::Memory(near)),
            Err(_) => Err(io::ErrorKind::ConnectionRefused.into()),
        })
    })
}

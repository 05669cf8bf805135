//! Connections that end after any byte.

use super::{Server, behind};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// Passes connections on to a peer, and ends some of them after a number of bytes.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// use mqttx_test::{Cutter, ScriptedBroker};
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
///
/// let broker = ScriptedBroker::start().await;
/// let cutter = Cutter::start(broker.address()).await;
/// cutter.cut_next_after(3);
/// let mut client = tokio::net::TcpStream::connect(cutter.address()).await.unwrap();
/// client.write_all(b"four").await.unwrap();
/// let end = client.read(&mut [0; 8]).await;
/// assert!(!matches!(end, Ok(1..)), "after three bytes the connection is over");
/// # });
/// ```
#[derive(Debug)]
pub struct Cutter {
    server: Server,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    cuts: Mutex<VecDeque<u64>>,
    passed: AtomicU64,
}

impl Cutter {
    /// Listens on a free port, in front of `peer`.
    ///
    /// # Panics
    /// When there is no port.
    pub async fn start(peer: SocketAddr) -> Self {
        let shared = Arc::new(Shared::default());
        let served = Arc::clone(&shared);
        let server = Server::start(move |stream| serve(stream, peer, Arc::clone(&served))).await;
        Self { server, shared }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.server.address
    }

    /// The next connection that has no cut yet ends after so many bytes, of both directions together.
    pub fn cut_next_after(&self, bytes: u64) {
        self.shared.cuts.lock().unwrap_or_else(PoisonError::into_inner).push_back(bytes);
    }

    /// The bytes that it passed so far, over all connections and directions.
    #[must_use]
    pub fn passed(&self) -> u64 {
        self.shared.passed.load(Ordering::SeqCst)
    }
}

async fn serve(client: TcpStream, peer: SocketAddr, shared: Arc<Shared>) {
    let cut = shared.cuts.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    let Some(peer) = behind(peer).await else { return };
    let left = AtomicU64::new(cut.unwrap_or(u64::MAX));
    let (mut client_in, mut client_out) = client.into_split();
    let (mut peer_in, mut peer_out) = peer.into_split();
    // With the first end that is a cut, both directions are dropped.
    tokio::select! {
        () = pass(&mut client_in, &mut peer_out, &left, &shared.passed) => {}
        () = pass(&mut peer_in, &mut client_out, &left, &shared.passed) => {}
    }
}

/// Passes bytes on until there is no more, or the connection is to be cut.
async fn pass(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    left: &AtomicU64,
    passed: &AtomicU64,
) {
    let mut buffer = vec![0; 16 << 10];
    loop {
        let Ok(count @ 1..) = from.read(&mut buffer).await else { return };
        let allowed = left.load(Ordering::SeqCst).min(count as u64);
        left.fetch_sub(allowed, Ordering::SeqCst);
        passed.fetch_add(allowed, Ordering::SeqCst);
        let some = usize::try_from(allowed).expect("a length");
        if to.write_all(&buffer[..some]).await.is_err() || some < count {
            return;
        }
    }
}

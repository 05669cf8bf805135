//! A socket of the file system in front of a peer.

use super::behind;
use crate::TempDir;
use std::net::SocketAddr;
use std::path::PathBuf;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::{JoinHandle, JoinSet};

/// Passes connections to a socket in a directory of its own on to a peer; ends on drop.
#[derive(Debug)]
pub struct UnixFront {
    directory: TempDir,
    accepting: JoinHandle<()>,
}

impl UnixFront {
    /// Listens in front of `peer`.
    ///
    /// # Panics
    /// When the socket cannot be made.
    #[must_use]
    pub fn start(peer: SocketAddr) -> Self {
        let directory = TempDir::new("unix");
        let listener = UnixListener::bind(directory.path().join("broker.sock")).expect("a socket");
        let accepting = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, peer));
                while connections.try_join_next().is_some() {}
            }
        });
        Self { directory, accepting }
    }

    /// Where the socket is.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.directory.path().join("broker.sock")
    }

    /// The address as a client takes it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("unix://{}", self.path().display())
    }
}

impl Drop for UnixFront {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn serve(mut client: UnixStream, peer: SocketAddr) {
    let Some(mut peer) = behind(peer).await else { return };
    // However it ends, both are closed.
    let _ = tokio::io::copy_bidirectional(&mut client, &mut peer).await;
}

//! What stands between a client and a peer: other transports, proxies, and cuts.

mod cutter;
mod http_proxy;
mod socks_proxy;
mod unix;
mod websocket;

pub use cutter::Cutter;
pub use http_proxy::HttpProxy;
pub use socks_proxy::SocksProxy;
pub use unix::UnixFront;
pub use websocket::WebSocketFront;

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// A listener on a free loopback port, and the task that serves its connections; all ends on drop.
#[derive(Debug)]
struct Server {
    address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl Server {
    /// Serves each connection in a task of its own.
    async fn start<F, T>(serve: F) -> Self
    where
        F: Fn(TcpStream) -> T + Send + 'static,
        T: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let accepting = tokio::spawn(async move {
            // They end with this task.
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).expect("no delay");
                connections.spawn(serve(stream));
                while connections.try_join_next().is_some() {}
            }
        });
        Self { address, accepting }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// A connection to the peer behind; `None` when it does not listen any more.
async fn behind(address: SocketAddr) -> Option<TcpStream> {
    let stream = TcpStream::connect(address).await.ok()?;
    stream.set_nodelay(true).ok()?;
    Some(stream)
}

//! An HTTP proxy.

use super::{Server, behind};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Opens tunnels by CONNECT; names lead to the loopback interface.
#[derive(Debug)]
pub struct HttpProxy {
    server: Server,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    /// What the client must say: the value of `Proxy-Authorization`.
    expected: Option<String>,
    asked: Mutex<Vec<String>>,
}

impl HttpProxy {
    /// Listens on a free port; with credentials, it asks for them.
    ///
    /// # Panics
    /// When there is no port.
    pub async fn start(credentials: Option<(&str, &str)>) -> Self {
        let basic = |(user, password): (&str, &str)| {
            format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")))
        };
        let state = Arc::new(State { expected: credentials.map(basic), asked: Mutex::default() });
        let served = Arc::clone(&state);
        let server = Server::start(move |stream| serve(stream, Arc::clone(&served))).await;
        Self { server, state }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.server.address
    }

    /// The address as a client takes it, without credentials.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// The targets that it was asked for, refused or not.
    #[must_use]
    pub fn asked(&self) -> Vec<String> {
        self.state.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn serve(mut client: TcpStream, state: Arc<State>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = client.read_u8().await else { return };
        head.push(byte);
    }
    let head = String::from_utf8(head).expect("text");
    let target = head.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next());
    let Some(target) = target.map(str::to_owned) else { return };
    state.asked.lock().unwrap_or_else(PoisonError::into_inner).push(target.clone());
    let given = head.lines().find_map(|line| line.strip_prefix("Proxy-Authorization: "));
    let port = target.rsplit(':').next().and_then(|port| port.parse().ok()).unwrap_or(0);
    let peer = if state.expected.is_some() && given != state.expected.as_deref() {
        Err("407 Proxy Authentication Required")
    } else {
        behind(SocketAddr::from(([127, 0, 0, 1], port))).await.ok_or("502 Bad Gateway")
    };
    let status = peer.as_ref().err().unwrap_or(&"200 Connection established");
    if client.write_all(format!("HTTP/1.1 {status}\r\n\r\n").as_bytes()).await.is_err() {
        return;
    }
    if let Ok(mut peer) = peer {
        let _ = tokio::io::copy_bidirectional(&mut client, &mut peer).await;
    }
}

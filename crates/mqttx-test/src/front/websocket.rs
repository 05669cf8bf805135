//! WebSocket in front of a peer.

use super::{Server, behind};
use futures_util::{SinkExt, StreamExt};
use http::{HeaderName, HeaderValue};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_websockets::{CloseCode, Config, Limits, Message, ServerBuilder};

/// The most payload of a frame to the client: a message of MQTT may need several.
const FRAME: usize = 1000;
/// After so many messages to the client comes a ping.
const PING_EVERY: u32 = 7;

/// Accepts WebSockets with the subprotocol `mqtt`, and passes the bytes of their messages on to a peer.
///
/// To the client it sends fragmented messages, and pings between them.
#[derive(Debug)]
pub struct WebSocketFront {
    server: Server,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Debug, Default)]
struct Seen {
    requests: Vec<http::Request<()>>,
    closes: Vec<u16>,
    pongs: u64,
}

impl WebSocketFront {
    /// Listens on a free port, in front of `peer`.
    ///
    /// # Panics
    /// When there is no port.
    pub async fn start(peer: SocketAddr) -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let noted = Arc::clone(&seen);
        let server = Server::start(move |stream| serve(stream, peer, Arc::clone(&noted))).await;
        Self { server, seen }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.server.address
    }

    /// The address as a client takes it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("ws://{}/mqtt", self.address())
    }

    /// The requests of the handshakes so far: path and query, and the value of that header field.
    #[must_use]
    pub fn requests(&self, field: &str) -> Vec<(String, Option<String>)> {
        let seen = lock(&self.seen);
        let value = |value: &HeaderValue| value.to_str().expect("text").to_owned();
        let told = |request: &http::Request<()>| {
            (request.uri().to_string(), request.headers().get(field).map(value))
        };
        seen.requests.iter().map(told).collect()
    }

    /// The codes of the close frames that clients sent.
    #[must_use]
    pub fn closes(&self) -> Vec<u16> {
        lock(&self.seen).closes.clone()
    }

    /// How many pings were answered.
    #[must_use]
    pub fn pongs(&self) -> u64 {
        lock(&self.seen).pongs
    }
}

fn lock(seen: &Mutex<Seen>) -> std::sync::MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(client: TcpStream, peer: SocketAddr, seen: Arc<Mutex<Seen>>) {
    let subprotocol = HeaderName::from_static("sec-websocket-protocol");
    let builder = ServerBuilder::new()
        .config(Config::default().frame_size(FRAME).flush_threshold(1))
        .limits(Limits::unlimited())
        .add_header(subprotocol, HeaderValue::from_static("mqtt"))
        .expect("a header field");
    let Ok((request, mut client)) = builder.accept(client).await else { return };
    lock(&seen).requests.push(request);
    let Some(mut peer) = behind(peer).await else { return };
    let mut buffer = vec![0; 64 << 10];
    let mut messages = 0_u32;
    loop {
        tokio::select! {
            message = client.next() => match message {
                Some(Ok(message)) if message.is_binary() => {
                    if peer.write_all(message.as_payload()).await.is_err() {
                        return;
                    }
                }
                Some(Ok(message)) if message.is_pong() => lock(&seen).pongs += 1,
                Some(Ok(message)) => {
                    if let Some((code, _)) = message.as_close() {
                        lock(&seen).closes.push(code.into());
                    }
                }
                // The end, or what no client may send.
                Some(Err(_)) | None => break,
            },
            count = peer.read(&mut buffer) => match count {
                Ok(0) => {
                    let _ = client.send(Message::close(Some(CloseCode::NORMAL_CLOSURE), "")).await;
                    // The client answers, and the stream ends.
                    while let Some(Ok(_)) = client.next().await {}
                    return;
                }
                Ok(count) => {
                    let message = Message::binary(buffer[..count].to_vec());
                    if client.send(message).await.is_err() {
                        return;
                    }
                    messages += 1;
                    if messages.is_multiple_of(PING_EVERY) {
                        let _ = client.send(Message::ping(vec![7])).await;
                    }
                }
                // A reset is passed on as the end of the stream below.
                Err(_) => return,
            },
        }
    }
    let _ = peer.shutdown().await;
}

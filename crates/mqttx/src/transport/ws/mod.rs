//! WebSocket (RFC 6455): MQTT in binary frames, on whatever stream there is.
//!
//! The handshake's keys and the headers of frames are tungstenite's. Its messages are not: they are kept
//! whole in memory, with buffers for each connection, where a stream of bytes needs neither.

mod decoder;
mod encoder;
mod handshake;
mod stream;

use tokio::io::{AsyncRead, AsyncWrite};

use super::{ConnectError, Endpoint};
use crate::options::WebSocketOptions;
use stream::WebSocket;

/// Opens a WebSocket on `stream`; the caller limits the time.
///
/// # Errors
/// A server that refuses, and one that does not speak WebSocket.
pub(super) async fn open<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    endpoint: &Endpoint,
    options: &WebSocketOptions,
) -> Result<impl AsyncRead + AsyncWrite + Unpin + use<S>, ConnectError> {
    let early = handshake::shake_hands(&mut stream, endpoint, options).await?;
    Ok(WebSocket::new(stream, early))
}

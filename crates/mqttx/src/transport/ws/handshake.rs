//! The opening handshake: a request, and what makes its answer one (RFC 6455, section 4).

use std::io;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tungstenite::handshake::client::generate_key;
use tungstenite::handshake::derive_accept_key;

use crate::options::WebSocketOptions;
use crate::transport::http::{Head, shown};
use crate::transport::{ConnectError, Endpoint};

/// The subprotocol of MQTT `[MQTT-6.0.0-3]`.
const SUBPROTOCOL: &str = "mqtt";

/// Asks the server to switch protocols; returns what it sent behind its answer.
///
/// # Errors
/// A server that refuses, and an answer that is none.
pub(super) async fn shake_hands(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    endpoint: &Endpoint,
    options: &WebSocketOptions,
) -> Result<Vec<u8>, ConnectError> {
    let key = generate_key();
    let request = request(endpoint, &key, options);
    let head = ask(stream, &request).await.map_err(unanswered)?;
    verify(&head, &key)?;
    Ok(head.rest)
}

async fn ask(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    request: &[u8],
) -> io::Result<Head> {
    stream.write_all(request).await?;
    stream.flush().await?;
    Head::read(stream).await
}

/// What the end of the connection means that comes instead of an answer.
fn unanswered(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::UnexpectedEof => {
            let ask = "does it speak WebSocket at this port?";
            let text = format!("the server broke off the WebSocket handshake ({error}): {ask}");
            io::Error::new(error.kind(), text)
        }
        _ => error,
    }
}

fn request(endpoint: &Endpoint, key: &str, options: &WebSocketOptions) -> Vec<u8> {
    let target = endpoint.resource().unwrap_or("/");
    let mut request = format!(
        "GET {target} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\n",
        endpoint.http_host()
    )
    .into_bytes();
    for (name, value) in &options.headers {
        request.extend_from_slice(name.as_bytes());
        request.extend_from_slice(b": ");
        request.extend_from_slice(value.expose());
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    request
}

fn verify(head: &Head, key: &str) -> Result<(), ConnectError> {
    if head.status != 101 {
        // A server in trouble, or one that is busy, may take the next attempt.
        let permanent = !matches!(head.status, 408 | 425 | 429 | 500..);
        let text = format!("the server refused the WebSocket: HTTP {head}");
        let kind = io::ErrorKind::ConnectionRefused;
        return Err(ConnectError {
            code: "connection.websocket.refused",
            permanent,
            error: io::Error::new(kind, text),
        });
    }
    if head.field("upgrade").is_none_or(|upgrade| !upgrade.eq_ignore_ascii_case("websocket"))
        || !head.lists("connection", "upgrade")
    {
        return Err(invalid("it does not upgrade the connection to websocket".to_owned()));
    }
    if head.field("sec-websocket-accept") != Some(derive_accept_key(key.as_bytes()).as_str()) {
        return Err(invalid("its Sec-WebSocket-Accept does not fit our key".to_owned()));
    }
    if let Some(extensions) = head.field("sec-websocket-extensions") {
        let text = format!("it uses extensions that nobody asked for: {}", shown(extensions));
        return Err(invalid(text));
    }
    // [MQTT-6.0.0-4]
    match head.field("sec-websocket-protocol") {
        Some(SUBPROTOCOL) => Ok(()),
        Some(other) => {
            Err(invalid(format!("it chose the subprotocol '{}' instead of mqtt", shown(other))))
        }
        None => Err(invalid(
            "it did not choose the subprotocol mqtt: there is no MQTT at this path".to_owned(),
        )),
    }
}

fn invalid(problem: String) -> ConnectError {
    let text = format!("the server's answer opens no WebSocket: {problem}");
    ConnectError {
        code: "connection.websocket.handshake",
        permanent: true,
        error: io::Error::new(io::ErrorKind::InvalidData, text),
    }
}

#[cfg(test)]
#[path = "handshake_tests.rs"]
mod tests;

//! How brokers are reached.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use super::check::Problems;
use super::{Secret, SessionOptions, human};
use crate::transport::{Dialer, Proxies};

/// What is asked of TCP.
///
/// ```
/// let mut tcp = mqttx::TcpOptions::default();
/// tcp.keep_alive = Some(std::time::Duration::from_secs(60));
/// let options = mqttx::SessionOptions::quick_connect("plant", "plant:1883").tcp(tcp).build()?;
/// assert!(options.tcp.nodelay);
/// # Ok::<(), mqttx::ConfigErrors>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct TcpOptions {
    /// Whether small writes leave at once (`TCP_NODELAY`). Default `true`: the writes of a session are whole turns already,
    /// and acknowledgements would wait for the peer's delayed ones, some 40 ms.
    pub nodelay: bool,
    /// How long a silent connection is probed after, and the time between probes (`SO_KEEPALIVE`): 1 s to 32767 s.
    /// Default: never, since the keep-alive of MQTT finds a dead connection sooner, the whole way to the broker
    /// instead of to the next proxy. Useful where that is off.
    #[serde(deserialize_with = "human::optional_duration")]
    pub keep_alive: Option<Duration>,
    /// Bytes of the socket's send buffer (`SO_SNDBUF`), 4 KiB to 1 GiB; the system may take more or less.
    /// Default: the system's, which grows with the connection; a fixed one does not.
    #[serde(deserialize_with = "human::optional_bytes")]
    pub send_buffer: Option<usize>,
    /// Bytes of the socket's receive buffer (`SO_RCVBUF`), in the same way.
    #[serde(deserialize_with = "human::optional_bytes")]
    pub receive_buffer: Option<usize>,
}

impl Default for TcpOptions {
    fn default() -> Self {
        Self { nodelay: true, keep_alive: None, send_buffer: None, receive_buffer: None }
    }
}

/// What WebSocket servers are sent besides what the protocol asks for.
///
/// ```
/// let options = mqttx::SessionOptions::quick_connect("plant", "ws://plant/mqtt")
///     .ws_header("Authorization", "Bearer 4711")
///     .build()?;
/// assert_eq!(format!("{:?}", options.ws.headers), r#"{"Authorization": ***}"#);
/// # Ok::<(), mqttx::ConfigErrors>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct WebSocketOptions {
    /// Header fields of the handshake's request, by name. Default: none.
    pub headers: BTreeMap<String, Secret>,
}

/// Fields of the handshake itself.
const OWN_FIELDS: [&str; 10] = [
    "connection",
    "content-length",
    "host",
    "sec-websocket-accept",
    "sec-websocket-extensions",
    "sec-websocket-key",
    "sec-websocket-protocol",
    "sec-websocket-version",
    "transfer-encoding",
    "upgrade",
];

impl SessionOptions {
    /// What opens the connections, without TLS.
    pub(super) fn dialer(&self) -> Dialer {
        Dialer {
            bind: self.bind,
            tcp: self.tcp,
            proxies: Proxies::new(self.proxy.as_ref()),
            transport: self.transport.clone(),
            tls: None,
            #[cfg(feature = "websocket")]
            ws: self.ws.clone(),
        }
    }

    pub(super) fn check_ways(&self, found: &mut Problems) {
        if let Some(time) = self.tcp.keep_alive
            && !(1..=32_767).contains(&time.as_secs())
        {
            found.duration("tcp.keep_alive", time, "1s to 32767s are allowed");
        }
        let buffers = [
            ("tcp.send_buffer", self.tcp.send_buffer),
            ("tcp.receive_buffer", self.tcp.receive_buffer),
        ];
        for (field, size) in buffers {
            found.range(field, size.unwrap_or(4 << 10), 4 << 10..=1 << 30);
        }
        for (name, value) in &self.ws.headers {
            let field = format!("ws.headers.{name}");
            if name.is_empty() || !name.bytes().all(is_token) {
                let text = "the name of a header field has letters, digits and !#$%&'*+-.^_`|~";
                found.add("ws.headers", &format!("{name:?}"), text);
            } else if OWN_FIELDS.iter().any(|own| name.eq_ignore_ascii_case(own)) {
                found.add(&field, "***", "the handshake sets this field itself");
            }
            if !value.expose().iter().all(|&byte| byte == b'\t' || (byte >= b' ' && byte != 0x7f)) {
                found.add(&field, "***", "a header field has no control characters");
            }
        }
    }
}

/// Whether a name may have this byte (RFC 9110, section 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

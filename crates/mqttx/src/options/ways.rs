//! How brokers are reached.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::check::Problems;
use super::{Secret, SessionOptions};
use crate::transport::Dialer;

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
    /// What opens the connections.
    pub(super) fn dialer(&self) -> Dialer {
        Dialer {
            bind: self.bind,
            #[cfg(feature = "websocket")]
            ws: self.ws.clone(),
        }
    }

    pub(super) fn check_ways(&self, found: &mut Problems) {
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

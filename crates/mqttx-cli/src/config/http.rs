//! `[http]`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use mqttx::Secret;
use serde::Deserialize;
use serde::de::{Deserializer, Error};

use super::extract::{extract, place_of};
use super::layout::Layout;
use super::report::Report;

/// Where the daemon is asked, and by whom.
#[derive(Debug)]
pub(crate) struct HttpSection {
    pub(crate) listen: SocketAddr,
    pub(crate) token: Option<Secret>,
    /// With more sessions `/metrics` shows their sum.
    pub(crate) per_session_limit: usize,
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Table {
    #[serde(deserialize_with = "listen")]
    listen: Option<SocketAddr>,
    token: Option<Secret>,
    per_session_limit: usize,
}

impl Default for Table {
    fn default() -> Self {
        Self { listen: None, token: None, per_session_limit: 2000 }
    }
}

/// `None` without the table: then nothing listens.
pub(super) fn read(layout: &Layout<'_>, report: &mut Report<'_>) -> Option<HttpSection> {
    let part = layout.http.as_ref()?;
    let mut readable = part.clone();
    let Table { listen, token, per_session_limit } = extract(&mut readable, report)?;
    if let Some(wrong) = token.as_ref().and_then(wrong_in) {
        report.add(part.file, &place_of(part, "token"), wrong);
    }
    let Some(listen) = listen else {
        if !part.table.contains_key("listen") && report.is_complete() {
            report.add(
                part.file,
                &part.key,
                "http.listen is missing: an address, as 127.0.0.1:9464",
            );
        }
        return None;
    };
    if token.is_none() && !part.table.contains_key("token") && !listen.ip().is_loopback() {
        let message = format!(
            "http.listen = {listen}: others can reach this address, so that it needs a http.token; without one listen on \
             127.0.0.1"
        );
        report.add(part.file, &place_of(part, "listen"), message);
    }
    Some(HttpSection { listen, token, per_session_limit })
}

/// Why nobody could show that token in a header.
fn wrong_in(token: &Secret) -> Option<&'static str> {
    match token.expose() {
        [] => Some("http.token is empty"),
        [b' ', ..] | [.., b' '] => Some("http.token begins or ends with a space"),
        all if all.iter().any(u8::is_ascii_control) => {
            Some("http.token has a line break, or another control character")
        }
        _ => None,
    }
}

/// `ADDRESS:PORT`; `localhost` is 127.0.0.1.
fn listen<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SocketAddr>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let local = text.strip_prefix("localhost:").and_then(|port| port.parse().ok());
    let local = local.map(|port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port));
    let address = local.or_else(|| text.parse().ok());
    address.map(Some).ok_or_else(|| {
        D::Error::custom(format!("'{text}' is not an address with a port, as 127.0.0.1:9464"))
    })
}

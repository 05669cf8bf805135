//! What an application asks of a session. The same struct is a table of the configuration file.

mod access;
mod asked;
mod builder;
mod check;
pub mod human;
mod parts;
mod properties;
mod reconnect;
#[cfg(test)]
mod tests;
mod tls;
mod ways;
mod will;

pub(crate) use access::Access;
pub(crate) use asked::{Answers, Asked, Kinds};
pub use builder::SessionBuilder;
use check::core_config;
pub use parts::{Jitter, OnFull, OnRefusal, Outbox, Performance, Secret, WireLog};
pub use reconnect::{Backoff, Reaction, Reactions};
pub use tls::{TlsOptions, TlsSource, TlsVersion};
pub use ways::{TcpOptions, WebSocketOptions};
pub use will::Will;

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use mqttx_proto::{Properties, QoS, SessionExpiry, Version};
use serde::{Deserialize, Deserializer};

use crate::auth::{AuthOptions, Authenticator, CredentialsProvider};
use crate::store::Store;
use crate::transport::{Endpoint, EndpointError, Proxy, Scheme, Transport};

/// What an application asks of a session.
///
/// Made by [`SessionBuilder`], or read from a table whose keys are the fields' names. Unknown keys
/// are errors.
///
/// ```
/// let options = mqttx::SessionOptions::new("plant")
///     .broker("mqtt://127.0.0.1:1883")
///     .client_id("gateway-7")
///     .persistent(true)
///     .build()?;
/// assert_eq!(options.name, "plant");
/// # Ok::<(), mqttx::ConfigErrors>(())
/// ```
#[derive(Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct SessionOptions {
    /// The session's name in its manager: not empty. In a file it is the key of the table.
    #[serde(skip)]
    pub name: String,
    /// `false`: the session is known, but never connects by itself. Default `true`.
    pub enabled: bool,
    /// The brokers, tried in this order: `mqtt://host:port`, `tcp://host:port`, `mqtts://host:port`, `ws://host:port/path`,
    /// `wss://host:port/path`, `unix:///path`, or bare `host:port`, which means TLS when there is `tls`, else plain TCP; see
    /// [`Endpoint`]. A later one is used when an attempt at the one before failed. At least one.
    pub brokers: Vec<String>,
    /// Whom to trust and who we are, for brokers that are reached by TLS. Default: [`TlsOptions::new`].
    pub tls: Option<TlsOptions>,
    /// The local address of the connections. Default: the system chooses.
    pub bind: Option<IpAddr>,
    /// What is asked of TCP.
    pub tcp: TcpOptions,
    /// Through what the brokers are reached. Default: directly; the environment counts only for
    /// [`Proxy::Environment`].
    pub proxy: Option<Proxy>,
    /// What WebSocket servers are sent besides what the protocol asks for.
    pub ws: WebSocketOptions,
    /// Opens the connections in place of TCP, Unix sockets and proxies. Default: none.
    #[serde(skip)]
    pub transport: Option<Arc<dyn Transport>>,
    /// The client id, at most 65 535 bytes. Default: empty, the server assigns one
    /// `[MQTT-3.1.3-6]`, which is kept for reconnects.
    pub client_id: Option<String>,
    /// The protocol version. Default 5.
    #[serde(deserialize_with = "version")]
    pub protocol: Version,
    /// The longest silence, 0 (off) to 65 535 s. Default 60 s `[MQTT-3.1.2.10]`.
    #[serde(deserialize_with = "human::duration")]
    pub keep_alive: Duration,
    /// Whether the server forgets the earlier session, at every connect. Default: `false` when there
    /// is a client id, otherwise `true` `[MQTT-3.1.2-4]`.
    pub clean_start: Option<bool>,
    /// How long the server keeps the session after a disconnect, in whole seconds; never ends with
    /// `"never"`. MQTT 5 only. Default: never when `clean_start` is off, otherwise not sent.
    #[serde(deserialize_with = "session_expiry")]
    pub session_expiry: Option<SessionExpiry>,
    /// The user name. The URL's user is used when there is none here.
    pub username: Option<String>,
    /// The password.
    pub password: Option<Secret>,
    /// A file that holds the password; one newline at its end is not part of it. It must be readable at the start, and is read
    /// again at every attempt: one that cannot be read then fails the attempt.
    pub password_file: Option<PathBuf>,
    /// Enhanced authentication (MQTT 5) with a built-in method.
    pub auth: Option<AuthOptions>,
    /// Enhanced authentication (MQTT 5) with any method: user name and password are not part of it.
    #[serde(skip)]
    pub authenticator: Option<Arc<dyn Authenticator>>,
    /// Says user name and password at every attempt; what it leaves out comes from the options.
    #[serde(skip)]
    pub credentials: Option<Arc<dyn CredentialsProvider>>,
    /// Whether a failed or lost connection is tried again. Default `true`.
    pub auto_reconnect: bool,
    /// The delays between attempts, and what follows on which refusal.
    pub reconnect: Backoff,
    /// What happens after a refusal that a retry will hardly change. Default [`OnRefusal::Stop`].
    pub on_refusal: OnRefusal,
    /// The time for the transport to connect, and again for the CONNACK; before both as much for credentials that have to be
    /// asked for. Default 10 s.
    #[serde(deserialize_with = "human::duration")]
    pub connect_timeout: Duration,
    /// Whether the session waits for `connect` before its first attempt. Default `false`.
    pub manual_connect: bool,
    /// The limits of what waits to be sent or acknowledged.
    pub outbox: Outbox,
    /// Most unacknowledged messages with QoS > 0, if the server's Receive Maximum is not smaller.
    /// Default 65 535; at least 1.
    ///
    /// MQTT 3.1.1 has no Receive Maximum. There, by default, a QoS 2 message is sent only while fewer
    /// than 20 are unacknowledged: Mosquitto drops what exceeds its `max_inflight_messages`, 20 unless
    /// configured, and answers it as if it were accepted. A value set here counts for QoS 2, too.
    pub max_in_flight: u16,
    /// Most unacknowledged messages that the server may send (MQTT 5). Default 1024; `None` does not
    /// send it, which means 65 535 `[MQTT-3.1.2.11.3]`.
    pub receive_maximum: Option<u16>,
    /// Whether a server that sends more than `receive_maximum` is disconnected with 0x93 (MQTT 5).
    /// Default: not for the default of 1024, which is announced to keep memory small; set by
    /// [`SessionBuilder::receive_maximum`]. Some servers lose count under load.
    #[serde(skip)]
    pub enforce_receive_maximum: bool,
    /// The largest packet that the server may send, in bytes. Default: no limit but the protocol's.
    pub maximum_packet_size: Option<u32>,
    /// Topic aliases that the server may use (MQTT 5). Default: none.
    pub topic_alias_maximum: Option<u16>,
    /// The message that the server publishes when the connection is lost.
    pub will: Option<Will>,
    /// User properties of CONNECT (MQTT 5).
    #[serde(deserialize_with = "properties::deserialize_user")]
    pub user_properties: Vec<(String, String)>,
    /// Further properties of CONNECT (MQTT 5), for what has no option of its own.
    #[serde(skip)]
    pub connect_properties: Properties,
    /// Filters to subscribe from the start, without a route.
    #[serde(skip)]
    pub subscriptions: Vec<(String, QoS)>,
    /// Whether filters are subscribed with identifiers, so that copies of one message for overlapping
    /// filters are told apart (MQTT 5). Default `true`.
    pub subscription_identifiers: bool,
    /// Whether filters are subscribed again after a session was lost. Default `true`.
    pub resume_subscriptions: bool,
    /// Whether filters that only the store knows, since nothing in this process asked for them, are subscribed when the server
    /// does not have them. Otherwise they are given up. Default `true`.
    pub restore_subscriptions: bool,
    /// Whether all brokers share one session store, as the nodes of a cluster do. Otherwise a session
    /// counts only at the broker that gave it. Default `false`.
    pub shared_session: bool,
    /// How long after a connect a message with QoS > 0 that matches no route stays unacknowledged.
    /// Default 10 s.
    #[serde(deserialize_with = "human::duration")]
    pub unrouted_hold: Duration,
    /// Bytes of received messages that wait for slow routes. Default 8 MiB; at least 64 KiB.
    #[serde(deserialize_with = "human::bytes")]
    pub inbound_buffer: usize,
    /// Buffer sizes and time limits.
    pub performance: Performance,
    /// Where the session's state outlives it. Default: nowhere, it ends with the session.
    #[serde(skip)]
    pub store: Option<Arc<dyn Store>>,
    /// Sees the bytes of every connection.
    #[serde(skip)]
    pub wire_log: Option<Arc<dyn WireLog>>,
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self {
            name: String::new(),
            enabled: true,
            brokers: Vec::new(),
            tls: None,
            bind: None,
            tcp: TcpOptions::default(),
            proxy: None,
            ws: WebSocketOptions::default(),
            transport: None,
            client_id: None,
            protocol: Version::V5,
            keep_alive: Duration::from_secs(60),
            clean_start: None,
            session_expiry: None,
            username: None,
            password: None,
            password_file: None,
            auth: None,
            authenticator: None,
            credentials: None,
            auto_reconnect: true,
            reconnect: Backoff::default(),
            on_refusal: OnRefusal::Stop,
            connect_timeout: Duration::from_secs(10),
            manual_connect: false,
            outbox: Outbox::default(),
            max_in_flight: u16::MAX,
            receive_maximum: Some(Self::DEFAULT_RECEIVE_MAXIMUM),
            enforce_receive_maximum: false,
            maximum_packet_size: None,
            topic_alias_maximum: None,
            will: None,
            user_properties: Vec::new(),
            connect_properties: Properties::new(),
            subscriptions: Vec::new(),
            subscription_identifiers: true,
            resume_subscriptions: true,
            restore_subscriptions: true,
            shared_session: false,
            unrouted_hold: Duration::from_secs(10),
            inbound_buffer: 8 << 20,
            performance: Performance::default(),
            store: None,
            wire_log: None,
        }
    }
}

impl SessionOptions {
    /// What a session announces as its Receive Maximum unless it is told otherwise.
    pub const DEFAULT_RECEIVE_MAXIMUM: u16 = 1024;

    /// Starts options for the session `name`; nothing else is set.
    #[expect(clippy::new_ret_no_self, reason = "options are built, not set one after the other")]
    #[must_use]
    pub fn new(name: impl Into<String>) -> SessionBuilder {
        SessionBuilder::new(name)
    }

    /// Starts options for the session `name` at one broker.
    #[must_use]
    pub fn quick_connect(name: impl Into<String>, broker: impl Into<String>) -> SessionBuilder {
        SessionBuilder::new(name).broker(broker)
    }

    /// Starts options for the session `name` at one broker that is reached by TLS; `ca` has the authorities that are
    /// trusted. A `broker` without a scheme means `mqtts://`.
    #[must_use]
    pub fn secure_connect(
        name: impl Into<String>,
        broker: impl Into<String>,
        ca: impl Into<TlsSource>,
    ) -> SessionBuilder {
        SessionBuilder::new(name).broker(broker).tls(TlsOptions::new().ca(ca))
    }

    /// How a broker's address is read: without a scheme it means TLS when there are options for it.
    pub(crate) fn endpoint(&self, broker: &str) -> Result<Endpoint, EndpointError> {
        Endpoint::parse_as(broker, if self.tls.is_some() { Scheme::Tls } else { Scheme::Tcp })
    }

    /// Whether a broker is reached by TLS.
    pub(crate) fn encrypts(&self) -> bool {
        let encrypted = |broker: &String| {
            self.endpoint(broker).is_ok_and(|endpoint| endpoint.scheme().is_encrypted())
        };
        self.brokers.iter().any(encrypted)
    }

    /// Whether CONNECT asks for a new session.
    #[must_use]
    pub fn starts_clean(&self) -> bool {
        self.clean_start.unwrap_or_else(|| self.client_id.as_deref().is_none_or(str::is_empty))
    }

    /// Whether the server keeps the session until the next connect.
    #[must_use]
    pub fn is_persistent(&self) -> bool {
        !self.starts_clean()
            && (self.protocol == Version::V311
                || self.effective_session_expiry().is_some_and(|e| e != SessionExpiry::ZERO))
    }

    /// The Session Expiry Interval that CONNECT carries.
    #[must_use]
    pub fn effective_session_expiry(&self) -> Option<SessionExpiry> {
        match self.protocol {
            Version::V311 => None,
            Version::V5 if self.starts_clean() => self.session_expiry,
            Version::V5 => self.session_expiry.or(Some(SessionExpiry::NEVER)),
        }
    }
}

impl fmt::Debug for SessionOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionOptions")
            .field("name", &self.name)
            .field("brokers", &self.brokers)
            .field("client_id", &self.client_id)
            .field("protocol", &self.protocol)
            .field("clean_start", &self.starts_clean())
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

fn version<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Version, D::Error> {
    let text = deserializer.deserialize_any(human::Scalar("\"5\" or \"3.1.1\""))?;
    text.parse().map_err(serde::de::Error::custom)
}

fn session_expiry<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<SessionExpiry>, D::Error> {
    let text = deserializer.deserialize_any(human::Scalar("a duration or \"never\""))?;
    if text == "never" {
        return Ok(Some(SessionExpiry::NEVER));
    }
    let duration = human::parse_duration(&text).map_err(serde::de::Error::custom)?;
    Ok(Some(builder::expiry(duration)))
}

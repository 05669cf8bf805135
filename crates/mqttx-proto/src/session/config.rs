//! What the application asks for: outlives sessions and connections.

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::{Hidden, KeepAlive, Properties, QoS, SessionExpiry, Version};

use super::auth::Authentication;

/// Everything that decides how a session behaves on the wire.
///
/// A change through [`Session::config_mut`](crate::Session::config_mut) takes effect at the next connection.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// The protocol version of every connection of this session.
    pub version: Version,
    /// The client identifier; empty lets the server choose one, which is kept for reconnects `[MQTT-3.1.3-6]`.
    pub client_id: String,
    /// Clean start (clean session in 3.1.1): the server forgets the earlier session at *every* connect. Default: true.
    pub clean_start: bool,
    /// Default: 60 s.
    pub keep_alive: KeepAlive,
    /// How long the server keeps the session after a disconnect; `None` sends nothing, which means zero. v5 only.
    pub session_expiry: Option<SessionExpiry>,
    /// How many unacknowledged QoS 1 and 2 messages the server may have on its way to us; `None` sends nothing (65 535). v5 only.
    pub receive_maximum: Option<u16>,
    /// Whether a server that sends more than that is disconnected with 0x93. Default: true. Mosquitto 2.0.11, for one, loses
    /// count under load and sends far more; without this the surplus is taken like any message.
    pub enforce_receive_maximum: bool,
    /// The largest packet that we accept, in bytes; enforced in both versions, announced in v5.
    pub maximum_packet_size: Option<u32>,
    /// How many topic aliases the server may use towards us; `None` means none. v5 only.
    pub topic_alias_maximum: Option<u16>,
    /// The user name.
    pub username: Option<String>,
    /// The password: any bytes.
    pub password: Option<Hidden>,
    /// Enhanced authentication (section 4.12); `None`: user name and password alone. v5 only.
    pub authentication: Option<Authentication>,
    /// What the server publishes when this client disappears.
    pub will: Option<WillMessage>,
    /// Further properties of CONNECT, sent as given. v5 only.
    pub connect_properties: Properties,
    /// The longest time from the transport's connect to CONNACK, the exchange of an enhanced authentication included; the same
    /// again for an authentication during the connection. Default: 10 s.
    pub handshake_timeout: Duration,
    /// Our own limit of unfinished QoS 1 and 2 messages, beside the server's Receive Maximum. Default: 65 535.
    pub max_in_flight: u16,
    /// A QoS 2 message is sent only while less than this is unfinished. MQTT 3.1.1 has no Receive Maximum, and there are servers that
    /// drop what exceeds their limit while they answer it as accepted. Default: 65 535.
    pub max_in_flight_qos2: u16,
    /// The bound of everything that is accepted and not finished. Default: 10 000 messages, 64 MiB.
    pub outbox: OutboxLimits,
    /// Above this many encoded bytes that the socket has not taken, further PUBLISHes wait in the outbox. Default: 1 MiB.
    pub write_buffer_limit: usize,
    /// Whether records for a store are produced. Without, the session lives as long as this value. Default: false.
    pub journal: bool,
    /// Above this many bytes of records that the store has not made durable, no QoS 1 or 2 message is accepted. Default: 4 MiB.
    pub journal_limit: usize,
    /// The store gives queued messages back ([`Session::poll_fetch`](crate::Session::poll_fetch)): beyond this many in memory
    /// they stay in the store. `None`, the default: all of them are in memory.
    pub spill: Option<OutboxLimits>,
    /// What the time is: without it, the times at which stored messages expire are not stored. Default: none.
    pub clock: Option<Clock>,
    /// The most filters in one SUBSCRIBE. Default: 256.
    pub subscribe_batch: usize,
    /// All broker addresses are one cluster that shares sessions: session present counts from any of them. Default: false.
    pub shared_session: bool,
    /// Whether filters are asked for again when the server lost the session that had them. Default: true.
    pub resume_subscriptions: bool,
    /// Whether filters that only the store knows, since nobody asked for them in this life, are asked for when the server does
    /// not have them. Without it they are given up. Default: true.
    pub restore_subscriptions: bool,
}

impl Config {
    /// The defaults stated at each field.
    #[must_use]
    pub fn new(version: Version) -> Self {
        Self {
            version,
            client_id: String::new(),
            clean_start: true,
            keep_alive: KeepAlive::default(),
            session_expiry: None,
            receive_maximum: None,
            enforce_receive_maximum: true,
            maximum_packet_size: None,
            topic_alias_maximum: None,
            username: None,
            password: None,
            authentication: None,
            will: None,
            connect_properties: Properties::new(),
            handshake_timeout: Duration::from_secs(10),
            max_in_flight: u16::MAX,
            max_in_flight_qos2: u16::MAX,
            outbox: OutboxLimits::default(),
            write_buffer_limit: 1024 * 1024,
            journal: false,
            journal_limit: 4 * 1024 * 1024,
            spill: None,
            clock: None,
            subscribe_batch: 256,
            shared_session: false,
            resume_subscriptions: true,
            restore_subscriptions: true,
        }
    }
}

/// What the time of day was at an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    at: Instant,
    unix_ms: u64,
}

impl Clock {
    /// At `at` it was `unix_ms` milliseconds of Unix time.
    #[must_use]
    pub fn new(at: Instant, unix_ms: u64) -> Self {
        Self { at, unix_ms }
    }

    /// Unix time in milliseconds.
    #[must_use]
    pub fn unix_ms(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.at).as_millis() as u64;
        let before = self.at.saturating_duration_since(at).as_millis() as u64;
        self.unix_ms.saturating_add(since).saturating_sub(before)
    }

    /// The instant of a Unix time; one before this clock began is its beginning. `None`: it is too far away.
    #[must_use]
    pub fn instant(&self, unix_ms: u64) -> Option<Instant> {
        self.at.checked_add(Duration::from_millis(unix_ms.saturating_sub(self.unix_ms)))
    }
}

/// The bound of the outbox: queued and in flight, QoS 0 that waits for the socket included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutboxLimits {
    /// In messages. Default: 10 000.
    pub messages: usize,
    /// In bytes of encoded packets; a single larger message is accepted when nothing else waits. Default: 64 MiB.
    pub bytes: usize,
}

impl Default for OutboxLimits {
    fn default() -> Self {
        Self { messages: 10_000, bytes: 64 * 1024 * 1024 }
    }
}

/// The message that the server publishes for a client that disappeared `[MQTT-3.1.2-8]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WillMessage {
    /// Where it is published.
    pub topic: String,
    /// What is published; may be empty.
    pub payload: Bytes,
    /// At which level.
    pub qos: QoS,
    /// Whether the server retains it.
    pub retain: bool,
    /// Will delay, content type and so on; v5 only.
    pub properties: Properties,
}

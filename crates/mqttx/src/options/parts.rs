//! Groups of options.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use zeroize::Zeroize;

use super::human;

/// How much of a delay is random, so that many sessions do not come back at the same instant.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Jitter {
    /// Nothing.
    None,
    /// The second half.
    #[default]
    Equal,
    /// All of it.
    Full,
}

/// The limits of what waits to be sent or acknowledged, and what happens at them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Outbox {
    /// Messages, queued and in flight, QoS 0 included; at least 1. Default 10 000. With a store that keeps queued messages
    /// outside memory, such as [`FileStore`](crate::FileStore): no limit but the store's.
    pub messages: Option<usize>,
    /// Their bytes; at least 1. Default 64 MiB, with such a store no limit but the store's.
    #[serde(deserialize_with = "human::optional_bytes")]
    pub bytes: Option<usize>,
    /// What happens to a message that does not fit. Default [`OnFull::Block`].
    pub on_full: OnFull,
    /// How long a message may wait before it is sent for the first time. Default: for ever.
    #[serde(deserialize_with = "human::optional_duration")]
    pub ttl: Option<Duration>,
}

impl Default for Outbox {
    fn default() -> Self {
        Self { messages: None, bytes: None, on_full: OnFull::Block, ttl: None }
    }
}

/// What happens to a message that does not fit into the outbox.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnFull {
    /// `publish` and `enqueue` wait for room; `try_publish` hands the message back.
    #[default]
    Block,
    /// An error hands the message back.
    Reject,
    /// The oldest message that was never sent makes room; it is counted, and its delivery fails.
    DropOldest,
}

/// What happens after a refusal that a retry will hardly change, such as bad credentials.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnRefusal {
    /// The session fails until `connect` or `reconnect` is called.
    #[default]
    Stop,
    /// It is retried at the longest delay.
    Retry,
}

/// Sizes and time limits of one connection's input and output.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Performance {
    /// Bytes that one read may take, 4 KiB to 128 KiB. The buffer is borrowed for the turn, an idle
    /// session holds none. Default 128 KiB.
    #[serde(deserialize_with = "human::bytes")]
    pub read_buffer: usize,
    /// Encoded bytes above which messages wait in the outbox until the socket takes some.
    /// Default 1 MiB; at least 4 KiB.
    #[serde(deserialize_with = "human::bytes")]
    pub write_buffer: usize,
    /// A connection on which nothing arrives for that long is lost. Default: never, the keep-alive
    /// decides.
    #[serde(deserialize_with = "human::optional_duration")]
    pub read_timeout: Option<Duration>,
    /// A connection whose socket takes no byte for that long is lost. Default 20 s.
    #[serde(deserialize_with = "human::duration")]
    pub write_timeout: Duration,
    /// The queue of a route, in messages, unless the route sets its own. Default 1000; at least 1.
    pub message_channel: usize,
    /// The largest payload that is accepted for publishing. Default 256 MiB, the protocol's limit.
    #[serde(deserialize_with = "human::bytes")]
    pub max_message_size: usize,
    /// The limit of the outbox in messages, if it is to differ from `outbox.messages`.
    pub max_pending: Option<usize>,
}

impl Default for Performance {
    fn default() -> Self {
        Self {
            read_buffer: Self::MAX_READ_BUFFER,
            write_buffer: 1 << 20,
            read_timeout: None,
            write_timeout: Duration::from_secs(20),
            message_channel: 1000,
            max_message_size: Self::MAX_MESSAGE,
            max_pending: None,
        }
    }
}

impl Performance {
    pub(crate) const MAX_READ_BUFFER: usize = 128 << 10;
    pub(super) const MIN_BUFFER: usize = 4 << 10;
    pub(super) const MAX_MESSAGE: usize = 268_435_455;
}

/// A secret: it is never printed, and its memory is overwritten when it is dropped.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub struct Secret(Box<[u8]>);

impl Secret {
    /// Its bytes.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text.into_bytes().into_boxed_slice())
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl From<Vec<u8>> for Secret {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into_boxed_slice())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// Sees the bytes of every connection of a session, in whole packets: for debugging.
pub trait WireLog: Send + Sync {
    /// Whether it wants to see anything now; asked before each look. Default `true`.
    fn is_enabled(&self) -> bool {
        true
    }
    /// One or more whole packets that are about to be written.
    fn sent(&self, session: &str, packets: &[u8]);
    /// One or more whole packets that arrived.
    fn received(&self, session: &str, packets: &[u8]);
}

//! When a session connects again, and after what.

use std::time::Duration;

use serde::Deserialize;

use super::{Jitter, human};

/// How long to wait before the next connection attempt.
///
/// The delay doubles from `initial` to `max` with every failed attempt. It starts over only after a
/// connection lasted `stable_after`: a CONNACK alone proves little.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Backoff {
    /// The first delay. Default 1 s; 0 is raised to 1 ms.
    #[serde(deserialize_with = "human::duration")]
    pub initial: Duration,
    /// The longest delay. Default 60 s.
    #[serde(deserialize_with = "human::duration")]
    pub max: Duration,
    /// How much of the delay is random. Default [`Jitter::Equal`].
    pub jitter: Jitter,
    /// A connection that lasted this long resets the delay. Default 10 s.
    #[serde(deserialize_with = "human::duration")]
    pub stable_after: Duration,
    /// What follows on a refusal, by its cause.
    pub on: Reactions,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            initial: Duration::from_secs(1),
            max: Duration::from_secs(60),
            jitter: Jitter::Equal,
            stable_after: Duration::from_secs(10),
            on: Reactions::default(),
        }
    }
}

impl Backoff {
    /// Delays from `initial` to `max`, the rest as by default.
    #[must_use]
    pub fn new(initial: Duration, max: Duration) -> Self {
        Self { initial, max, ..Self::default() }
    }

    /// Sets how much of the delay is random.
    #[must_use]
    pub fn jitter(mut self, jitter: Jitter) -> Self {
        self.jitter = jitter;
        self
    }

    /// Sets how long a connection must last before the delay starts over.
    #[must_use]
    pub fn stable_after(mut self, duration: Duration) -> Self {
        self.stable_after = duration;
        self
    }

    /// Sets what follows on a refusal, by its cause.
    #[must_use]
    pub fn on(mut self, reactions: Reactions) -> Self {
        self.on = reactions;
        self
    }
}

/// What follows on the end of a connection, by its cause. `None`: the default of the cause.
///
/// The same cause counts in CONNACK and in DISCONNECT. What is not named here has no choice: servers that are busy or not
/// available, and lost connections, are tried again with growing delays; other refusals follow
/// [`SessionOptions::on_refusal`](crate::SessionOptions::on_refusal).
///
/// ```
/// use mqttx::{Backoff, Reaction, Reactions};
///
/// let reactions = Reactions { bad_credentials: Some(Reaction::RetrySlowly), ..Reactions::default() };
/// let backoff = Backoff::default().on(reactions);
/// # let _ = backoff;
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Reactions {
    /// 0x86, 0x87, 0x8C, and an authentication that failed on our side. Default: in CONNACK and on our side `on_refusal`, in
    /// DISCONNECT [`Reaction::Retry`].
    pub bad_credentials: Option<Reaction>,
    /// 0x8A. Default: `on_refusal`.
    pub banned: Option<Reaction>,
    /// 0x8E: another client has our client id. Default [`Reaction::Stop`]: coming back would take the session in turn.
    pub taken_over: Option<Reaction>,
    /// 0x97. Default [`Reaction::Retry`].
    pub quota: Option<Reaction>,
    /// 0x9C and 0x9D. Default [`Reaction::Follow`]; without an address that can be followed `on_refusal`.
    pub server_moved: Option<Reaction>,
}

impl Reactions {
    pub(crate) const NONE: Self = Self {
        bad_credentials: None,
        banned: None,
        taken_over: None,
        quota: None,
        server_moved: None,
    };

    /// Those that may not follow an address, with their names.
    pub(crate) fn without_address(&self) -> [(&'static str, Option<Reaction>); 4] {
        [
            ("bad_credentials", self.bad_credentials),
            ("banned", self.banned),
            ("taken_over", self.taken_over),
            ("quota", self.quota),
        ]
    }
}

/// What a session does after a refusal.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reaction {
    /// Tries again with growing delays.
    Retry,
    /// Tries the other brokers, then again at the longest delay.
    RetrySlowly,
    /// Fails until `connect` or `reconnect` is called.
    Stop,
    /// Connects to the address that the server names, at most three times in a row; only for a server that moved. After 0x9D
    /// that address stays the first one as long as the session lives.
    Follow,
}

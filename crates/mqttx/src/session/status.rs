//! Where a session stands.

use std::fmt;

/// Where a session stands, as far as its connection goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[non_exhaustive]
pub enum SessionStatus {
    /// It never connected yet and waits for `connect`, or it was removed.
    Stopped,
    /// The first connection is being made.
    Connecting,
    /// The server accepted the connection.
    Connected,
    /// The connection was lost or could not be made; the next attempt is running or waits.
    Reconnecting {
        /// Counts from 1 since the last connection that proved stable.
        attempt: u32,
    },
    /// It was disconnected on request and waits for `connect`.
    Disconnected,
    /// A refusal ended it, or `auto_reconnect` is off. It waits for `connect` or `reconnect`; what
    /// was accepted stays queued.
    Failed,
}

impl SessionStatus {
    /// A short name: `connected`, `reconnecting`, ….
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Connecting => "connecting",
            Self::Connected => "connected",
            Self::Reconnecting { .. } => "reconnecting",
            Self::Disconnected => "disconnected",
            Self::Failed => "failed",
        }
    }

    /// A number for metrics: 0 stopped or disconnected, 1 connecting, 2 connected, 3 reconnecting, 4 failed.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Stopped | Self::Disconnected => 0,
            Self::Connecting => 1,
            Self::Connected => 2,
            Self::Reconnecting { .. } => 3,
            Self::Failed => 4,
        }
    }

    /// Whether only a call brings the connection back.
    #[must_use]
    pub const fn is_at_rest(self) -> bool {
        matches!(self, Self::Stopped | Self::Disconnected | Self::Failed)
    }
}

impl fmt::Display for SessionStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

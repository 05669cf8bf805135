//! Why messages were given up, and how many.

/// Why a message was given up instead of delivered.
///
/// Every drop is counted under exactly one of these, in [`SessionMetrics::dropped`](super::SessionMetrics::dropped).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[non_exhaustive]
pub enum DropReason {
    /// A route's queue was full and its [`Overflow`](crate::Overflow) policy drops.
    RouteFull,
    /// The session's inbound buffer was full (QoS 0 only).
    InboundFull,
    /// No route matched until `unrouted_hold` was over.
    Unrouted,
    /// The outbox was full and its policy drops the oldest message.
    OutboxFull,
    /// The message's own time to live was over before it was sent.
    Expired,
    /// The server's limits (size, QoS, retain) rule the message out.
    Unsendable,
    /// A QoS 0 message was not written before the connection ended.
    ConnectionLost,
    /// The session was removed.
    Closed,
    /// Its record in the store is damaged.
    Damaged,
}

impl DropReason {
    /// Every reason, in the order of [`SessionMetrics::dropped`](super::SessionMetrics::dropped).
    pub const ALL: [Self; 9] = [
        Self::RouteFull,
        Self::InboundFull,
        Self::Unrouted,
        Self::OutboxFull,
        Self::Expired,
        Self::Unsendable,
        Self::ConnectionLost,
        Self::Closed,
        Self::Damaged,
    ];

    /// The label used in logs, metrics and JSON, for example `route_full`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::RouteFull => "route_full",
            Self::InboundFull => "inbound_full",
            Self::Unrouted => "unrouted",
            Self::OutboxFull => "outbox_full",
            Self::Expired => "expired",
            Self::Unsendable => "unsendable",
            Self::ConnectionLost => "connection_lost",
            Self::Closed => "closed",
            Self::Damaged => "damaged",
        }
    }
}

impl std::fmt::Display for DropReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Dropped messages by [`DropReason`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped(pub(super) [u64; DropReason::ALL.len()]);

impl Dropped {
    /// Messages dropped for `reason`.
    #[must_use]
    pub fn of(&self, reason: DropReason) -> u64 {
        self.iter().find_map(|(r, n)| (r == reason).then_some(n)).unwrap_or_default()
    }

    /// Messages dropped for any reason.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Every reason with its count, zeros included.
    pub fn iter(&self) -> impl Iterator<Item = (DropReason, u64)> + '_ {
        DropReason::ALL.into_iter().zip(self.0)
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine += theirs;
        }
    }
}

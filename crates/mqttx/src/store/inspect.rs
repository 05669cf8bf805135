//! What is in a store, for tools.

use super::StoreNotice;

/// What a store holds, without opening anything in it.
#[derive(Clone, Debug, Default)]
pub struct Inspection {
    /// Its sessions, by name.
    pub sessions: Vec<StoredSession>,
    /// Damage that was found.
    pub notices: Vec<StoreNotice>,
    /// How much room it takes.
    pub bytes: u64,
}

/// What a store holds of one session.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct StoredSession {
    /// Its name.
    pub name: String,
    /// Messages that wait for a packet id.
    pub queued: u64,
    /// Messages that have one.
    pub in_flight: u64,
    /// Packet ids of inbound QoS 2 messages.
    pub received: u64,
    /// Desired filters.
    pub subscriptions: u64,
    /// About how much room it takes.
    pub bytes: u64,
    /// When the oldest of its messages was accepted, in milliseconds of Unix time.
    pub oldest_unix_ms: Option<u64>,
}

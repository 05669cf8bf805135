//! What a store holds, for people and tools.

use super::StoreNotice;

/// What was found in a store that was looked at without being opened.
#[derive(Clone, Debug, Default)]
pub struct Inspection {
    /// The sessions, by name.
    pub sessions: Vec<StoredSession>,
    /// Damage that was found, and what it cost.
    pub notices: Vec<StoreNotice>,
    /// What the store takes, in bytes.
    pub bytes: u64,
}

/// The stored state of one session, in numbers.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct StoredSession {
    /// The name of the session.
    pub name: String,
    /// Messages that wait and have no packet id.
    pub queued: u64,
    /// Messages with a packet id that are not finished.
    pub in_flight: u64,
    /// Packet ids of inbound QoS 2 messages that the server has not released.
    pub received: u64,
    /// Filters that are desired.
    pub subscriptions: u64,
    /// About how many bytes the unfinished messages take in the store.
    pub bytes: u64,
    /// When the oldest unfinished message was stored, in milliseconds of Unix time, to the second.
    pub oldest_unix_ms: Option<u64>,
}

//! The sums over the sessions of a manager.

use super::{Counts, Dropped, SessionMetrics};

/// The totals over the sessions of a manager, counters with those of sessions that were removed; taken by
/// [`SessionManager::metrics`](crate::SessionManager::metrics).
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ManagerMetrics {
    /// Sessions that the manager holds.
    pub sessions: usize,
    /// Those of them with a connection.
    pub connected: usize,
    /// Sum of [`SessionMetrics::messages_sent`].
    pub messages_sent: u64,
    /// Sum of [`SessionMetrics::messages_received`].
    pub messages_received: u64,
    /// Sum of [`SessionMetrics::bytes_sent`].
    pub bytes_sent: u64,
    /// Sum of [`SessionMetrics::bytes_received`].
    pub bytes_received: u64,
    /// Sum of [`SessionMetrics::duplicates_received`].
    pub duplicates_received: u64,
    /// Sum of [`SessionMetrics::resends`].
    pub resends: u64,
    /// Sum of [`SessionMetrics::errors`].
    pub errors: u64,
    /// Sum of [`SessionMetrics::reconnects`].
    pub reconnects: u64,
    /// Sum of [`SessionMetrics::handler_failed`].
    pub handler_failed: u64,
    /// Sum of [`SessionMetrics::dropped`].
    pub dropped: Dropped,
    /// Sum of [`SessionMetrics::message_rate`].
    pub message_rate: f64,
    /// Sum of [`SessionMetrics::outbox_messages`].
    pub outbox_messages: usize,
    /// Routes over all sessions, each counted once.
    pub routes: usize,
}

impl ManagerMetrics {
    /// A session that is there, without its counters.
    pub(crate) fn add_state(&mut self, session: &SessionMetrics) {
        self.sessions += 1;
        self.connected += usize::from(session.connected);
        self.message_rate += session.message_rate;
        self.outbox_messages += session.outbox_messages;
    }

    /// The counters of all sessions, removed ones included.
    pub(crate) fn set_counts(&mut self, counts: &Counts) {
        self.messages_sent = counts.messages_sent;
        self.messages_received = counts.messages_received;
        self.bytes_sent = counts.bytes_sent;
        self.bytes_received = counts.bytes_received;
        self.duplicates_received = counts.duplicates_received;
        self.resends = counts.resends;
        self.errors = counts.errors;
        self.reconnects = counts.reconnects;
        self.handler_failed = counts.handler_failed;
        self.dropped = counts.dropped;
    }
}

//! The sums over the sessions of a manager.

use super::{Dropped, SessionMetrics};

/// The totals over the sessions of a manager, taken by
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
    pub(crate) fn add(&mut self, session: &SessionMetrics) {
        self.sessions += 1;
        self.connected += usize::from(session.connected);
        self.messages_sent += session.messages_sent;
        self.messages_received += session.messages_received;
        self.bytes_sent += session.bytes_sent;
        self.bytes_received += session.bytes_received;
        self.duplicates_received += session.duplicates_received;
        self.resends += session.resends;
        self.errors += session.errors;
        self.reconnects += session.reconnects;
        self.handler_failed += session.handler_failed;
        self.dropped.add(&session.dropped);
        self.message_rate += session.message_rate;
        self.outbox_messages += session.outbox_messages;
    }
}

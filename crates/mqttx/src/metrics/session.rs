//! What one session did.

use std::time::{Duration, Instant, SystemTime};

use super::{Counts, Dropped, SessionCounters};

/// What one session did so far: an owned snapshot, taken by
/// [`Session::metrics`](crate::Session::metrics).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SessionMetrics {
    /// PUBLISH packets sent, first transmissions only.
    pub messages_sent: u64,
    /// PUBLISH packets received, without duplicates.
    pub messages_received: u64,
    /// Bytes of the packets in `messages_sent`, headers and properties included.
    pub bytes_sent: u64,
    /// Bytes of the packets in `messages_received`, headers and properties included.
    pub bytes_received: u64,
    /// PUBLISH packets that the server sent again.
    pub duplicates_received: u64,
    /// PUBLISH packets that this session sent again after a reconnect.
    pub resends: u64,
    /// Lost or refused connections and refused operations.
    pub errors: u64,
    /// Connections after the first.
    pub reconnects: u64,
    /// Messages given up after a handler panicked at every attempt.
    pub handler_failed: u64,
    /// Messages given up, by reason.
    pub dropped: Dropped,
    /// When the last PUBLISH was sent or received.
    pub last_message: Option<SystemTime>,
    /// When the last error was counted.
    pub last_error: Option<SystemTime>,
    /// Messages per second, both directions, since the snapshot before this one (of those at
    /// least half a second apart).
    pub message_rate: f64,
    /// Bytes per second over the same time as `message_rate`.
    pub bytes_rate: f64,
    /// Messages per second since the session was added.
    pub avg_message_rate: f64,
    /// Since the session was added.
    pub uptime: Duration,
    /// Whether a connection is up.
    pub connected: bool,
    /// Desired filters.
    pub subscriptions: usize,
    /// Accepted and unfinished publishes.
    pub outbox_messages: usize,
    /// Of `outbox_messages`, those that are in the store only.
    pub outbox_spilled: usize,
    /// Payload and topic bytes of `outbox_messages`.
    pub outbox_bytes: usize,
    /// QoS > 0 publishes on their way.
    pub in_flight: usize,
    /// Bytes of messages received that wait beyond the capacity of full routes.
    pub parked_bytes: usize,
    /// Until when our certificate is valid; `None` without one.
    pub client_certificate_not_after: Option<SystemTime>,
    /// Until when the certificates are valid that the session's brokers showed last: the earliest. `None` before the first
    /// connection by TLS.
    pub server_certificate_not_after: Option<SystemTime>,
}

impl SessionMetrics {
    /// Of several sessions together, to which their states are added.
    pub(super) fn of(counts: &Counts) -> Self {
        let now = Instant::now();
        let all = SessionCounters::new(now);
        all.go_on_from(counts.clone());
        all.snapshot(now)
    }

    /// What another session shows besides its counters, added up; the times are the latest.
    pub(super) fn add_state(&mut self, other: &Self) {
        self.last_message = self.last_message.max(other.last_message);
        self.last_error = self.last_error.max(other.last_error);
        self.message_rate += other.message_rate;
        self.bytes_rate += other.bytes_rate;
        self.avg_message_rate += other.avg_message_rate;
        self.uptime = self.uptime.max(other.uptime);
        self.connected |= other.connected;
        self.subscriptions += other.subscriptions;
        self.outbox_messages += other.outbox_messages;
        self.outbox_spilled += other.outbox_spilled;
        self.outbox_bytes += other.outbox_bytes;
        self.in_flight += other.in_flight;
        self.parked_bytes += other.parked_bytes;
        let earliest = |one: Option<SystemTime>, two| one.into_iter().chain(two).min();
        let (client, server) =
            (other.client_certificate_not_after, other.server_certificate_not_after);
        self.client_certificate_not_after = earliest(self.client_certificate_not_after, client);
        self.server_certificate_not_after = earliest(self.server_certificate_not_after, server);
    }
}

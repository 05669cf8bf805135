//! What one session did.

use std::time::{Duration, SystemTime};

use super::Dropped;

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
}

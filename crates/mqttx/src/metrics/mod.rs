//! Plain counters of a session, and the snapshots that are handed out.
//!
//! Counters are relaxed atomics. The driver adds to them once per turn, not once per message; a
//! snapshot is therefore consistent enough for rates and totals, not a transaction.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// Why a message was given up instead of delivered.
///
/// Every drop is counted under exactly one of these, in [`SessionMetrics::dropped`].
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
    /// Every reason, in the order of [`SessionMetrics::dropped`].
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

/// The live counters of one session.
#[derive(Debug)]
pub(crate) struct SessionCounters {
    started: Instant,
    sent: Flow,
    received: Flow,
    last_message_ms: AtomicU64,
    /// From the first of them on.
    seldom: OnceLock<Box<Seldom>>,
}

/// What most sessions never need: counts of trouble, and the rate between snapshots.
#[derive(Debug)]
struct Seldom {
    rate: Mutex<RateWindow>,
    duplicates: AtomicU64,
    resends: AtomicU64,
    errors: AtomicU64,
    reconnects: AtomicU64,
    handler_failed: AtomicU64,
    dropped: [AtomicU64; DropReason::ALL.len()],
    last_error_ms: AtomicU64,
}

impl SessionCounters {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            started: now,
            sent: Flow::default(),
            received: Flow::default(),
            last_message_ms: AtomicU64::new(0),
            seldom: OnceLock::new(),
        }
    }

    fn seldom(&self) -> &Seldom {
        self.seldom.get_or_init(|| Box::new(Seldom::new(self.started)))
    }

    /// PUBLISH packets that the socket took for the first time, and the bytes of those packets: all so far.
    pub(crate) fn record_sent(&self, messages: u64, bytes: u64) {
        if self.sent.messages.load(Relaxed) != messages {
            self.sent.set(messages, bytes);
            self.last_message_ms.store(unix_ms(), Relaxed);
        }
    }

    /// PUBLISH packets that arrived for the first time, and the bytes of those packets.
    pub(crate) fn record_received(&self, messages: u64, bytes: u64) {
        if messages > 0 {
            self.received.add(messages, bytes);
            self.last_message_ms.store(unix_ms(), Relaxed);
        }
    }

    /// PUBLISH packets that arrived with DUP set or for a QoS 2 id already known.
    pub(crate) fn record_duplicates(&self, messages: u64) {
        if messages > 0 {
            self.seldom().duplicates.fetch_add(messages, Relaxed);
        }
    }

    /// PUBLISH packets that were sent again: all so far.
    pub(crate) fn record_resends(&self, messages: u64) {
        if messages > 0 {
            self.seldom().resends.store(messages, Relaxed);
        }
    }

    /// A refused or lost connection, or a refused operation.
    pub(crate) fn record_error(&self) {
        let seldom = self.seldom();
        seldom.errors.fetch_add(1, Relaxed);
        seldom.last_error_ms.store(unix_ms(), Relaxed);
    }

    /// A connection after the first one of this session.
    pub(crate) fn record_reconnect(&self) {
        self.seldom().reconnects.fetch_add(1, Relaxed);
    }

    /// A handler that panicked at every attempt.
    pub(crate) fn record_handler_failed(&self) {
        self.seldom().handler_failed.fetch_add(1, Relaxed);
    }

    pub(crate) fn record_dropped(&self, reason: DropReason, messages: u64) {
        let slot = DropReason::ALL.iter().position(|r| *r == reason).unwrap_or_default();
        self.seldom().dropped[slot].fetch_add(messages, Relaxed);
    }

    /// Everything as of now; the session itself adds what only it knows.
    pub(crate) fn snapshot(&self, now: Instant) -> SessionMetrics {
        let (sent, received) = (self.sent.read(), self.received.read());
        let (messages, bytes) = (sent.0 + received.0, sent.1 + received.1);
        let seldom = self.seldom();
        let (message_rate, bytes_rate) =
            seldom.rate.lock().unwrap_or_else(PoisonError::into_inner).sample(now, messages, bytes);
        let uptime = now.saturating_duration_since(self.started);
        SessionMetrics {
            messages_sent: sent.0,
            messages_received: received.0,
            bytes_sent: sent.1,
            bytes_received: received.1,
            duplicates_received: seldom.duplicates.load(Relaxed),
            resends: seldom.resends.load(Relaxed),
            errors: seldom.errors.load(Relaxed),
            reconnects: seldom.reconnects.load(Relaxed),
            handler_failed: seldom.handler_failed.load(Relaxed),
            dropped: Dropped(std::array::from_fn(|i| seldom.dropped[i].load(Relaxed))),
            last_message: from_unix_ms(self.last_message_ms.load(Relaxed)),
            last_error: from_unix_ms(seldom.last_error_ms.load(Relaxed)),
            message_rate,
            bytes_rate,
            avg_message_rate: per_second(messages, uptime),
            uptime,
            connected: false,
            subscriptions: 0,
            outbox_messages: 0,
            outbox_spilled: 0,
            outbox_bytes: 0,
            in_flight: 0,
            parked_bytes: 0,
            client_certificate_not_after: None,
            server_certificate_not_after: None,
        }
    }
}

impl Seldom {
    fn new(started: Instant) -> Self {
        Self {
            rate: Mutex::new(RateWindow::new(started)),
            duplicates: AtomicU64::new(0),
            resends: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            reconnects: AtomicU64::new(0),
            handler_failed: AtomicU64::new(0),
            dropped: std::array::from_fn(|_| AtomicU64::new(0)),
            last_error_ms: AtomicU64::new(0),
        }
    }
}

/// One direction's totals.
#[derive(Debug, Default)]
struct Flow {
    messages: AtomicU64,
    bytes: AtomicU64,
}

impl Flow {
    fn add(&self, messages: u64, bytes: u64) {
        self.messages.fetch_add(messages, Relaxed);
        self.bytes.fetch_add(bytes, Relaxed);
    }

    fn set(&self, messages: u64, bytes: u64) {
        self.messages.store(messages, Relaxed);
        self.bytes.store(bytes, Relaxed);
    }

    fn read(&self) -> (u64, u64) {
        (self.messages.load(Relaxed), self.bytes.load(Relaxed))
    }
}

/// The rate over the time between two snapshots at least [`RateWindow::MIN`] apart.
#[derive(Debug)]
struct RateWindow {
    at: Instant,
    messages: u64,
    bytes: u64,
    rates: (f64, f64),
}

impl RateWindow {
    /// Shorter windows make a rate of a few messages jump; they repeat the last one instead.
    const MIN: Duration = Duration::from_millis(500);

    fn new(at: Instant) -> Self {
        Self { at, messages: 0, bytes: 0, rates: (0.0, 0.0) }
    }

    fn sample(&mut self, now: Instant, messages: u64, bytes: u64) -> (f64, f64) {
        let elapsed = now.saturating_duration_since(self.at);
        if elapsed >= Self::MIN {
            self.rates = (
                per_second(messages.saturating_sub(self.messages), elapsed),
                per_second(bytes.saturating_sub(self.bytes), elapsed),
            );
            (self.at, self.messages, self.bytes) = (now, messages, bytes);
        }
        self.rates
    }
}

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

/// Dropped messages by [`DropReason`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped([u64; DropReason::ALL.len()]);

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

    fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine += theirs;
        }
    }
}

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

fn per_second(count: u64, elapsed: Duration) -> f64 {
    let seconds = elapsed.as_secs_f64();
    if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn from_unix_ms(ms: u64) -> Option<SystemTime> {
    (ms > 0).then(|| SystemTime::UNIX_EPOCH + Duration::from_millis(ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_counter() {
        let counters = SessionCounters::new(Instant::now());
        for (i, reason) in DropReason::ALL.into_iter().enumerate() {
            counters.record_dropped(reason, i as u64 + 1);
        }
        let dropped = counters.snapshot(Instant::now()).dropped;
        for (i, reason) in DropReason::ALL.into_iter().enumerate() {
            assert_eq!(dropped.of(reason), i as u64 + 1, "{reason}");
        }
        assert_eq!(dropped.total(), 45);
    }

    #[test]
    fn rate_covers_the_time_between_two_snapshots() {
        let start = Instant::now();
        let counters = SessionCounters::new(start);
        counters.record_sent(10, 1_000);
        let early = counters.snapshot(start + Duration::from_millis(100));
        assert_eq!(early.message_rate, 0.0, "a window too short repeats the last rate");
        let first = counters.snapshot(start + Duration::from_secs(1));
        assert_eq!((first.message_rate, first.bytes_rate), (10.0, 1_000.0));
        counters.record_received(4, 40);
        let second = counters.snapshot(start + Duration::from_secs(3));
        assert_eq!((second.message_rate, second.bytes_rate), (2.0, 20.0));
        assert_eq!(second.messages_sent, 10);
        assert_eq!(second.messages_received, 4);
    }

    #[test]
    fn times_are_absent_until_something_happened() {
        let counters = SessionCounters::new(Instant::now());
        let fresh = counters.snapshot(Instant::now());
        assert!(fresh.last_message.is_none() && fresh.last_error.is_none());
        counters.record_error();
        counters.record_received(1, 9);
        let later = counters.snapshot(Instant::now());
        assert!(later.last_message.is_some() && later.last_error.is_some());
        assert_eq!(later.errors, 1);
    }
}

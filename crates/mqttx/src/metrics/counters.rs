//! The live counters of a session.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use super::{DropReason, Dropped, SessionMetrics};

/// What never goes back: the counters of one session, or of several together.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) messages_sent: u64,
    pub(crate) messages_received: u64,
    pub(crate) bytes_sent: u64,
    pub(crate) bytes_received: u64,
    pub(crate) duplicates_received: u64,
    pub(crate) resends: u64,
    pub(crate) errors: u64,
    pub(crate) reconnects: u64,
    pub(crate) handler_failed: u64,
    pub(crate) dropped: Dropped,
}

impl Counts {
    pub(crate) fn add(&mut self, other: &Self) {
        self.messages_sent += other.messages_sent;
        self.messages_received += other.messages_received;
        self.bytes_sent += other.bytes_sent;
        self.bytes_received += other.bytes_received;
        self.duplicates_received += other.duplicates_received;
        self.resends += other.resends;
        self.errors += other.errors;
        self.reconnects += other.reconnects;
        self.handler_failed += other.handler_failed;
        self.dropped.add(&other.dropped);
    }
}

/// The live counters of one session.
#[derive(Debug)]
pub(crate) struct SessionCounters {
    started: Instant,
    sent: Flow,
    received: Flow,
    /// In Unix time. While there was no message: when somebody looked last, in milliseconds since the start.
    last_message_ms: AtomicU64,
    /// From the first of them on.
    seldom: OnceLock<Box<Seldom>>,
}

/// What most sessions never need: counts of trouble, and the rate between snapshots.
#[derive(Debug)]
struct Seldom {
    /// What sessions of this name counted before this one.
    before: OnceLock<Box<Counts>>,
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
        self.seldom.get_or_init(|| {
            // No message was counted yet: see `begin_to_count`.
            let quiet = Duration::from_millis(self.last_message_ms.load(Relaxed));
            Box::new(Seldom::new(self.started + quiet))
        })
    }

    /// Before the first message is counted: its rate begins with the last look.
    fn begin_to_count(&self) {
        if self.seldom.get().is_none() {
            self.seldom();
        }
        self.last_message_ms.store(unix_ms(), Relaxed);
    }

    /// A session of this name was there before, and its counters go on.
    pub(crate) fn go_on_from(&self, before: Counts) {
        let _ = self.seldom().before.set(Box::new(before));
    }

    /// What this session counted itself.
    pub(crate) fn own(&self) -> Counts {
        let (sent, received) = (self.sent.read(), self.received.read());
        let mut own = Counts {
            messages_sent: sent.0,
            messages_received: received.0,
            bytes_sent: sent.1,
            bytes_received: received.1,
            ..Counts::default()
        };
        if let Some(seldom) = self.seldom.get() {
            own.duplicates_received = seldom.duplicates.load(Relaxed);
            own.resends = seldom.resends.load(Relaxed);
            own.errors = seldom.errors.load(Relaxed);
            own.reconnects = seldom.reconnects.load(Relaxed);
            own.handler_failed = seldom.handler_failed.load(Relaxed);
            own.dropped = Dropped(std::array::from_fn(|i| seldom.dropped[i].load(Relaxed)));
        }
        own
    }

    /// What sessions of this name counted before it.
    pub(crate) fn before(&self) -> Counts {
        let before = self.seldom.get().and_then(|seldom| seldom.before.get());
        before.map_or_else(Counts::default, |before| (**before).clone())
    }

    /// PUBLISH packets that the socket took for the first time, and the bytes of those packets: all so far.
    pub(crate) fn record_sent(&self, messages: u64, bytes: u64) {
        if self.sent.messages.load(Relaxed) != messages {
            self.begin_to_count();
            self.sent.set(messages, bytes);
        }
    }

    /// PUBLISH packets that arrived for the first time, and the bytes of those packets.
    pub(crate) fn record_received(&self, messages: u64, bytes: u64) {
        if messages > 0 {
            self.begin_to_count();
            self.received.add(messages, bytes);
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
        let own = self.own();
        let messages = own.messages_sent + own.messages_received;
        let bytes = own.bytes_sent + own.bytes_received;
        let rates = self.rates(now, messages, bytes);
        self.with_rates(now, own, rates)
    }

    /// The same, with the rates of the last [`snapshot`](Self::snapshot): those of the next one count from there.
    pub(crate) fn peek(&self, now: Instant) -> SessionMetrics {
        let rate = self.seldom.get().map(|seldom| &seldom.rate);
        let rates = rate.map(|rate| rate.lock().unwrap_or_else(PoisonError::into_inner).rates);
        self.with_rates(now, self.own(), rates.unwrap_or_default())
    }

    fn with_rates(&self, now: Instant, own: Counts, rates: (f64, f64)) -> SessionMetrics {
        let last_message = self.last_message_ms.load(Relaxed);
        let messages = own.messages_sent + own.messages_received;
        let (message_rate, bytes_rate) = rates;
        let last_error = self.seldom.get().map_or(0, |seldom| seldom.last_error_ms.load(Relaxed));
        let uptime = now.saturating_duration_since(self.started);
        let mut all = self.before();
        all.add(&own);
        SessionMetrics {
            messages_sent: all.messages_sent,
            messages_received: all.messages_received,
            bytes_sent: all.bytes_sent,
            bytes_received: all.bytes_received,
            duplicates_received: all.duplicates_received,
            resends: all.resends,
            errors: all.errors,
            reconnects: all.reconnects,
            handler_failed: all.handler_failed,
            dropped: all.dropped,
            last_message: from_unix_ms(if messages > 0 { last_message } else { 0 }),
            last_error: from_unix_ms(last_error),
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

    /// Looking at a session that had no message yet costs it no memory.
    fn rates(&self, now: Instant, messages: u64, bytes: u64) -> (f64, f64) {
        let last = self.last_message_ms.load(Relaxed);
        if messages == 0 && self.seldom.get().is_none() {
            let quiet = now.saturating_duration_since(self.started).as_millis();
            let quiet = u64::try_from(quiet).unwrap_or(u64::MAX);
            // Not over the time of a message that comes at this moment.
            let _ = self.last_message_ms.compare_exchange(last, quiet, Relaxed, Relaxed);
            return (0.0, 0.0);
        }
        let rate = &self.seldom().rate;
        rate.lock().unwrap_or_else(PoisonError::into_inner).sample(now, messages, bytes)
    }
}

impl Seldom {
    fn new(started: Instant) -> Self {
        Self {
            before: OnceLock::new(),
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
    fn a_peek_begins_no_rate() {
        let start = Instant::now();
        let counters = SessionCounters::new(start);
        assert_eq!(counters.peek(start + Duration::from_secs(1)).message_rate, 0.0);
        counters.record_sent(10, 1_000);
        let seen = counters.peek(start + Duration::from_secs(1));
        assert_eq!((seen.messages_sent, seen.message_rate), (10, 0.0));
        assert_eq!(counters.snapshot(start + Duration::from_secs(2)).message_rate, 5.0);
        assert_eq!(counters.peek(start + Duration::from_secs(9)).message_rate, 5.0);
    }

    #[test]
    fn looking_at_a_quiet_session_costs_nothing_and_starts_its_rate() {
        let start = Instant::now();
        let counters = SessionCounters::new(start);
        assert_eq!(counters.snapshot(start + Duration::from_secs(9)).message_rate, 0.0);
        assert!(counters.seldom.get().is_none(), "no memory for it");
        counters.record_sent(10, 100);
        let busy = counters.snapshot(start + Duration::from_secs(10));
        assert_eq!((busy.message_rate, busy.avg_message_rate), (10.0, 1.0));
    }

    #[test]
    fn counters_of_a_name_go_on_and_rates_are_its_own() {
        let start = Instant::now();
        let counters = SessionCounters::new(start);
        let before = Counts { messages_sent: 1000, errors: 2, ..Counts::default() };
        counters.go_on_from(before.clone());
        counters.record_sent(10, 100);
        counters.record_error();
        let found = counters.snapshot(start + Duration::from_secs(1));
        assert_eq!((found.messages_sent, found.bytes_sent, found.errors), (1010, 100, 3));
        assert_eq!((found.message_rate, found.avg_message_rate), (10.0, 10.0));
        assert_eq!((counters.own().messages_sent, counters.before()), (10, before));
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

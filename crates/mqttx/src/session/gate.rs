//! The process-wide limit of connection attempts.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Hands out starting times for connection attempts, so that thousands of sessions do not come up
/// in the same instant. A token bucket that never sleeps itself: it tells the caller when to start.
#[derive(Debug)]
pub(crate) struct ConnectGate(Mutex<Bucket>);

#[derive(Debug)]
struct Bucket {
    interval: Duration,
    burst: Duration,
    /// When the bucket is full again.
    full_at: Option<Instant>,
}

impl ConnectGate {
    /// `rate` attempts a second, a tenth of a second's worth (at least one) at once. Zero: no limit.
    pub(crate) fn new(rate: u32) -> Self {
        let (interval, burst) = pace(rate);
        Self(Mutex::new(Bucket { interval, burst, full_at: None }))
    }

    /// Another rate, for places that are taken from now on.
    pub(crate) fn set_rate(&self, rate: u32) {
        let mut bucket = self.lock();
        (bucket.interval, bucket.burst) = pace(rate);
    }

    /// Takes a place and returns the time at which the attempt may start: `now` or later.
    pub(crate) fn reserve(&self, now: Instant) -> Instant {
        let mut bucket = self.lock();
        if bucket.interval.is_zero() {
            return now;
        }
        let next = bucket.full_at.map_or(now, |at| at.max(now)) + bucket.interval;
        bucket.full_at = Some(next);
        next.checked_sub(bucket.burst).map_or(now, |start| start.max(now))
    }

    fn lock(&self) -> MutexGuard<'_, Bucket> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The time for one attempt, and for those that may start at once.
fn pace(rate: u32) -> (Duration, Duration) {
    let interval = Duration::from_secs(1).checked_div(rate).unwrap_or_default();
    (interval, interval * (rate / 10).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_are_spread_after_a_burst() {
        let gate = ConnectGate::new(100);
        let now = Instant::now();
        let starts: Vec<_> = (0..110).map(|_| gate.reserve(now) - now).collect();
        assert_eq!(starts[9], Duration::ZERO, "the burst starts at once");
        assert_eq!(starts[10], Duration::from_millis(10));
        assert_eq!(starts[109], Duration::from_secs(1), "then the rate holds");
    }

    #[test]
    fn places_are_not_saved_up_beyond_the_burst() {
        let gate = ConnectGate::new(10);
        let now = Instant::now();
        gate.reserve(now);
        let later = now + Duration::from_secs(60);
        assert_eq!(gate.reserve(later), later);
        assert_eq!(gate.reserve(later), later + Duration::from_millis(100));
    }

    #[test]
    fn another_rate_counts_from_the_next_place_on() {
        let gate = ConnectGate::new(1);
        let now = Instant::now();
        assert_eq!(gate.reserve(now), now);
        assert_eq!(gate.reserve(now), now + Duration::from_secs(1));
        gate.set_rate(0);
        assert_eq!(gate.reserve(now), now);
        gate.set_rate(10);
        let start = gate.reserve(now) - now;
        assert_eq!(start, Duration::from_secs(2), "places that were given away stay so");
    }

    #[test]
    fn zero_means_no_limit() {
        let gate = ConnectGate::new(0);
        let now = Instant::now();
        assert!((0..1000).all(|_| gate.reserve(now) == now));
    }
}

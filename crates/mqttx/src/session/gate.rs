//! The process-wide limit of connection attempts.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Hands out starting times for connection attempts, so that thousands of sessions do not come up
/// in the same instant. A token bucket that never sleeps itself: it tells the caller when to start.
#[derive(Debug)]
pub(crate) struct ConnectGate {
    interval: Duration,
    burst: Duration,
    /// When the bucket is full again.
    full_at: Mutex<Option<Instant>>,
}

impl ConnectGate {
    /// `rate` attempts a second, a tenth of a second's worth (at least one) at once. Zero: no limit.
    pub(crate) fn new(rate: u32) -> Self {
        let interval = Duration::from_secs(1).checked_div(rate).unwrap_or_default();
        Self { interval, burst: interval * (rate / 10).max(1), full_at: Mutex::new(None) }
    }

    /// Takes a place and returns the time at which the attempt may start: `now` or later.
    pub(crate) fn reserve(&self, now: Instant) -> Instant {
        if self.interval.is_zero() {
            return now;
        }
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        let next = full_at.map_or(now, |at| at.max(now)) + self.interval;
        *full_at = Some(next);
        next.checked_sub(self.burst).map_or(now, |start| start.max(now))
    }
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
    fn zero_means_no_limit() {
        let gate = ConnectGate::new(0);
        let now = Instant::now();
        assert!((0..1000).all(|_| gate.reserve(now) == now));
    }
}

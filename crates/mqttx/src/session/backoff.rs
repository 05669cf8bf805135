//! Delays between connection attempts: a pure function of the options, the past and a random number.

use std::time::Duration;

use crate::options::{Backoff, Jitter};

/// The state of the delays.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Delays {
    /// Failed rounds since the last stable connection.
    rounds: u32,
}

impl Delays {
    /// The next delay; `random` is any number.
    pub(crate) fn next(&mut self, options: &Backoff, random: u64) -> Duration {
        let initial = options.initial.max(Duration::from_millis(1));
        let max = options.max.max(initial);
        // 2^40 ms are 34 years: beyond any maximum that is meant.
        let factor = 1_u32.checked_shl(self.rounds.min(31)).unwrap_or(u32::MAX);
        let full = initial.saturating_mul(factor).min(max);
        self.rounds = self.rounds.saturating_add(1);
        match options.jitter {
            Jitter::None => full,
            Jitter::Equal => full / 2 + part(full - full / 2, random),
            Jitter::Full => part(full, random).max(Duration::from_millis(1)),
        }
    }

    /// A connection ended after `lasted`: only a stable one lets the delays start over.
    pub(crate) fn connection_ended(&mut self, options: &Backoff, lasted: Duration) {
        if lasted >= options.stable_after {
            self.rounds = 0;
        }
    }

    /// The next delay is the first one again.
    pub(crate) fn reset(&mut self) {
        self.rounds = 0;
    }
}

/// A random part of `whole`, 0 to `whole`.
fn part(whole: Duration, random: u64) -> Duration {
    let nanos = u64::try_from(whole.as_nanos()).unwrap_or(u64::MAX);
    match nanos.checked_add(1) {
        Some(range) => Duration::from_nanos(random % range),
        None => Duration::from_nanos(random),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(jitter: Jitter) -> Backoff {
        Backoff {
            initial: Duration::from_millis(100),
            max: Duration::from_secs(5),
            jitter,
            stable_after: Duration::from_secs(10),
            ..Backoff::default()
        }
    }

    fn series(jitter: Jitter, random: u64, n: usize) -> Vec<u128> {
        let mut delays = Delays::default();
        (0..n).map(|_| delays.next(&options(jitter), random).as_millis()).collect()
    }

    #[test]
    fn delays_double_up_to_the_maximum() {
        assert_eq!(
            series(Jitter::None, 7, 8),
            [100, 200, 400, 800, 1600, 3200, 5000, 5000],
            "the same past gives the same delays"
        );
    }

    #[test]
    fn equal_jitter_keeps_half_of_the_delay() {
        for random in [0, 1, u64::MAX / 3, u64::MAX] {
            for (delay, full) in series(Jitter::Equal, random, 7).iter().zip([100, 200, 400]) {
                assert!((full / 2..=full).contains(delay), "{delay} of {full}");
            }
        }
        assert_ne!(series(Jitter::Equal, 0, 3), series(Jitter::Equal, 40_000_001, 3));
    }

    #[test]
    fn full_jitter_is_never_zero() {
        let mut delays = Delays::default();
        assert_eq!(delays.next(&options(Jitter::Full), 0), Duration::from_millis(1));
    }

    #[test]
    fn only_a_stable_connection_starts_over() {
        let options = options(Jitter::None);
        let mut delays = Delays::default();
        delays.next(&options, 0);
        delays.next(&options, 0);
        delays.connection_ended(&options, Duration::from_secs(9));
        assert_eq!(delays.next(&options, 0), Duration::from_millis(400));
        delays.connection_ended(&options, Duration::from_secs(10));
        assert_eq!(delays.next(&options, 0), Duration::from_millis(100));
    }

    #[test]
    fn thousands_of_failures_do_not_overflow() {
        let mut delays = Delays { rounds: u32::MAX - 1 };
        for _ in 0..4 {
            assert_eq!(delays.next(&options(Jitter::None), 0), Duration::from_secs(5));
        }
    }

    #[test]
    fn zero_and_reversed_limits_still_wait() {
        let options =
            Backoff { initial: Duration::ZERO, max: Duration::ZERO, ..options(Jitter::None) };
        assert_eq!(Delays::default().next(&options, 0), Duration::from_millis(1));
    }
}

//! A counter's rate, calm enough to be read.

use std::time::Duration;

/// How fast a rate follows: after this time two thirds of a change show.
const CALM: f64 = 2.0;
/// Below it a rate is none, so that a row comes to rest.
const LEAST: f64 = 0.05;

/// How often a counter counts in a second, smoothed over a few seconds.
pub(super) struct Rate {
    count: u64,
    value: f64,
}

impl Rate {
    /// From this count on.
    pub(super) fn new(count: u64) -> Self {
        Self { count, value: 0.0 }
    }

    /// The next count, `elapsed` after the one before. A count that went back begins anew.
    pub(super) fn next(&mut self, count: u64, elapsed: Duration) {
        let seconds = elapsed.as_secs_f64();
        if seconds <= 0.0 {
            return;
        }
        let rate = count.saturating_sub(self.count) as f64 / seconds;
        self.count = count;
        self.value += (rate - self.value) * (1.0 - (-seconds / CALM).exp());
        if self.value < LEAST {
            self.value = 0.0;
        }
    }

    /// In tenths of a second's count: what is shown.
    pub(super) fn tenths(&self) -> u64 {
        // It is finite and not negative.
        (self.value * 10.0).round() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_steady_rate_is_reached_and_comes_to_rest() {
        let mut rate = Rate::new(1000);
        for n in 1..=20 {
            rate.next(1000 + 50 * n, SECOND);
        }
        assert_eq!(rate.tenths(), 500);
        for _ in 0..20 {
            rate.next(2000, SECOND);
        }
        assert_eq!(rate.value, 0.0);
    }

    #[test]
    fn a_counter_that_goes_back_has_no_negative_rate() {
        let mut rate = Rate::new(1000);
        rate.next(10, SECOND);
        assert_eq!(rate.tenths(), 0);
        rate.next(20, Duration::ZERO);
        assert_eq!(rate.count, 10, "no time, no rate");
        rate.next(1010, SECOND);
        assert!(rate.tenths() > 0);
    }
}

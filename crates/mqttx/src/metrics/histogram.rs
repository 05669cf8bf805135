//! Histograms with fixed buckets: recording is two additions, and never an allocation.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// A distribution that is being recorded, by any number of threads at once.
#[derive(Debug)]
pub(crate) struct Histogram {
    buckets: &'static Buckets,
    /// One more than there are bounds: the last is for what is above all of them.
    counts: Box<[AtomicU64]>,
    sum: AtomicU64,
}

/// The bounds of a histogram, in whole units of `1 / per_unit` of what is shown.
#[derive(Debug)]
struct Buckets {
    bounds: &'static [u64],
    per_unit: u64,
}

const MICROSECOND: u64 = 1_000;
const MILLISECOND: u64 = 1_000_000;
const SECOND: u64 = 1_000_000_000;

/// From 50 µs, an answer on the same machine, to a minute.
static LATENCY: Buckets = Buckets {
    bounds: &[
        50 * MICROSECOND,
        100 * MICROSECOND,
        250 * MICROSECOND,
        500 * MICROSECOND,
        MILLISECOND,
        2_500 * MICROSECOND,
        5 * MILLISECOND,
        10 * MILLISECOND,
        25 * MILLISECOND,
        50 * MILLISECOND,
        100 * MILLISECOND,
        250 * MILLISECOND,
        500 * MILLISECOND,
        SECOND,
        2_500 * MILLISECOND,
        5 * SECOND,
        10 * SECOND,
        30 * SECOND,
        60 * SECOND,
    ],
    per_unit: SECOND,
};

/// How many of something belong together.
static COUNT: Buckets = Buckets {
    bounds: &[1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 50_000],
    per_unit: 1,
};

impl Histogram {
    /// Of times.
    pub(crate) fn of_latency() -> Self {
        Self::new(&LATENCY)
    }

    /// Of numbers of things.
    pub(crate) fn of_counts() -> Self {
        Self::new(&COUNT)
    }

    fn new(buckets: &'static Buckets) -> Self {
        let counts = (0..=buckets.bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { buckets, counts, sum: AtomicU64::new(0) }
    }

    /// One more, of that time.
    pub(crate) fn record_time(&self, time: Duration) {
        self.record(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    /// One more, of that size.
    pub(crate) fn record(&self, value: u64) {
        let place = self.buckets.bounds.partition_point(|bound| *bound < value);
        if let Some(count) = self.counts.get(place) {
            count.fetch_add(1, Relaxed);
        }
        // Wraps after 584 years of nanoseconds.
        self.sum.fetch_add(value, Relaxed);
    }

    /// What was recorded so far.
    pub(crate) fn snapshot(&self) -> HistogramMetrics {
        let per_unit = self.buckets.per_unit as f64;
        let mut count = 0;
        let cumulative = self.counts.iter().map(|n| {
            count += n.load(Relaxed);
            count
        });
        let bounds = self.buckets.bounds.iter().map(|bound| *bound as f64 / per_unit);
        let bounds = bounds.chain([f64::INFINITY]);
        let buckets = bounds.zip(cumulative).collect();
        HistogramMetrics { buckets, count, sum: self.sum.load(Relaxed) as f64 / per_unit }
    }
}

/// A distribution as of a moment.
///
/// ```
/// use mqttx::{HistogramMetrics, SessionManager};
///
/// let latency: HistogramMetrics = SessionManager::new().snapshot().ack_seconds;
/// assert_eq!((latency.count, latency.mean()), (0, None));
/// ```
#[derive(Clone, PartialEq, Debug, Default)]
#[non_exhaustive]
pub struct HistogramMetrics {
    /// Upper bounds with the number of values that are not above them; the last bound is infinite.
    pub buckets: Vec<(f64, u64)>,
    /// How many values there are.
    pub count: u64,
    /// What they come to together.
    pub sum: f64,
}

impl HistogramMetrics {
    /// Adds what another one of the same kind recorded; one without buckets has recorded nothing yet.
    pub(crate) fn add(&mut self, other: &Self) {
        if self.buckets.is_empty() {
            self.buckets.clone_from(&other.buckets);
        } else {
            for ((_, count), (_, more)) in self.buckets.iter_mut().zip(&other.buckets) {
                *count += more;
            }
        }
        self.count += other.count;
        self.sum += other.sum;
    }

    /// The average; `None` without values.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / self.count as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_counts_in_every_bucket_that_is_not_below_it() {
        let histogram = Histogram::of_counts();
        for value in [0, 1, 2, 3, 50_000, 50_001] {
            histogram.record(value);
        }
        let found = histogram.snapshot();
        assert_eq!(found.buckets.first(), Some(&(1.0, 2)));
        assert_eq!(found.buckets.get(1), Some(&(2.0, 3)));
        assert_eq!(found.buckets.get(2), Some(&(5.0, 4)));
        assert_eq!(found.buckets.iter().rev().nth(1), Some(&(50_000.0, 5)));
        assert_eq!(found.buckets.last(), Some(&(f64::INFINITY, 6)));
        assert_eq!((found.count, found.sum), (6, 100_007.0));
    }

    #[test]
    fn times_are_shown_in_seconds() {
        let histogram = Histogram::of_latency();
        histogram.record_time(Duration::from_millis(10));
        histogram.record_time(Duration::from_secs(3600));
        let found = histogram.snapshot();
        let at = |bound: f64| found.buckets.iter().find(|(b, _)| *b == bound).map(|(_, n)| *n);
        assert_eq!((at(0.005), at(0.01), at(60.0)), (Some(0), Some(1), Some(1)));
        assert_eq!(found.sum, 3600.01);
        assert_eq!(found.mean(), Some(1800.005));
    }

    #[test]
    fn bounds_rise() {
        for buckets in [&LATENCY, &COUNT] {
            assert!(buckets.bounds.is_sorted_by(|a, b| a < b));
        }
    }
}

//! Knows which messages arrived, and how long they took.

use std::collections::BTreeSet;

use hdrhistogram::Histogram;

/// Latencies above this are counted as this: a minute, in microseconds.
const SLOWEST_US: u64 = 60_000_000;

/// The receiver's account: one sequence of numbers per topic.
#[derive(Debug)]
pub(super) struct Tracker {
    streams: Vec<Stream>,
    /// Microseconds from publish to arrival.
    latency: Histogram<u64>,
    received: u64,
    duplicates: u64,
    foreign: u64,
}

/// What is known of one sequence: everything below `next`, and `early` beyond it.
#[derive(Clone, Debug, Default)]
struct Stream {
    next: u64,
    early: BTreeSet<u64>,
}

impl Tracker {
    pub(super) fn new(streams: usize) -> Self {
        let latency = Histogram::new_with_bounds(1, SLOWEST_US, 3).expect("valid bounds");
        Self {
            streams: vec![Stream::default(); streams],
            latency,
            received: 0,
            duplicates: 0,
            foreign: 0,
        }
    }

    /// A message arrived `us` microseconds after it was published.
    pub(super) fn record(&mut self, stream: usize, sequence: u64, us: u64) {
        let Some(known) = self.streams.get_mut(stream) else {
            self.foreign += 1;
            return;
        };
        if known.take(sequence) {
            self.received += 1;
            self.latency.saturating_record(us);
        } else {
            self.duplicates += 1;
        }
    }

    /// A message arrived that the demo did not publish.
    pub(super) fn record_foreign(&mut self) {
        self.foreign += 1;
    }

    /// Different messages that arrived.
    pub(super) fn received(&self) -> u64 {
        self.received
    }

    pub(super) fn duplicates(&self) -> u64 {
        self.duplicates
    }

    pub(super) fn foreign(&self) -> u64 {
        self.foreign
    }

    /// The latency that this share of the messages does not exceed, in microseconds.
    pub(super) fn latency_us(&self, quantile: f64) -> u64 {
        if self.latency.is_empty() { 0 } else { self.latency.value_at_quantile(quantile) }
    }
}

impl Stream {
    /// Whether the number is new.
    fn take(&mut self, sequence: u64) -> bool {
        if sequence < self.next {
            return false;
        }
        if sequence > self.next {
            return self.early.insert(sequence);
        }
        self.next += 1;
        while self.early.first() == Some(&self.next) {
            self.early.pop_first();
            self.next += 1;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::Tracker;

    fn counts(arrivals: &[(usize, u64)]) -> (u64, u64, u64) {
        let mut tracker = Tracker::new(2);
        for (stream, sequence) in arrivals {
            tracker.record(*stream, *sequence, 10);
        }
        (tracker.received(), tracker.duplicates(), tracker.foreign())
    }

    #[test]
    fn each_message_counts_once() {
        assert_eq!(counts(&[(0, 0), (1, 0), (0, 1)]), (3, 0, 0));
        assert_eq!(counts(&[(0, 0), (0, 0)]), (1, 1, 0));
        assert_eq!(counts(&[(0, 0), (0, 2), (0, 2), (0, 1), (0, 1), (0, 3)]), (4, 2, 0));
        assert_eq!(counts(&[(2, 0)]), (0, 0, 1));
    }

    #[test]
    fn gap_stays_a_gap() {
        let mut tracker = Tracker::new(1);
        for sequence in (0..1000).filter(|n| *n != 500) {
            tracker.record(0, sequence, sequence);
        }
        assert_eq!((tracker.received(), tracker.duplicates()), (999, 0));
        assert_eq!(tracker.streams[0].early.len(), 499);
    }

    #[test]
    fn quantiles_are_those_of_the_arrivals() {
        let mut tracker = Tracker::new(1);
        assert_eq!(tracker.latency_us(0.5), 0);
        for n in 0..100 {
            tracker.record(0, n, (n + 1) * 10);
        }
        assert!((495..=505).contains(&tracker.latency_us(0.5)));
        assert!((985..=995).contains(&tracker.latency_us(0.99)));
    }
}

//! The counters of a forwarder.

use std::time::Duration;

use super::reason::ForwardDrop;
use crate::metrics::HistogramMetrics;

/// What a forwarder did so far.
///
/// At every moment `received = forwarded + filtered + dropped + dead_lettered + in_flight`.
#[derive(Clone, PartialEq, Debug, Default)]
#[non_exhaustive]
pub struct ForwarderMetrics {
    /// Messages that arrived for it; a copy that the server sends again counts again.
    pub received: u64,
    /// Messages that every required target acknowledged (QoS 0: its socket took).
    pub forwarded: u64,
    /// Messages that the rules left out.
    pub filtered: u64,
    /// Messages given up, once each.
    pub dropped: u64,
    /// The same by reason; only reasons that occurred.
    pub dropped_by_reason: Vec<(ForwardDrop, u64)>,
    /// Messages that the dead letters' session acknowledged.
    pub dead_lettered: u64,
    /// Attempts to send that found no room at a target and were made again.
    pub retried: u64,
    /// Messages that arrived and are not finished: waiting, or sent and not acknowledged.
    pub in_flight: u64,
    /// Of `in_flight`, those that wait to be sent.
    pub queued: u64,
    /// How long the oldest message that waits to be sent has been waiting.
    pub lag: Duration,
    /// Seconds from the arrival of a message to the acknowledgement of its targets; a sample.
    pub latency_seconds: HistogramMetrics,
    /// Copies that a target which is not required did not take.
    pub optional_lost: u64,
    /// Messages sent with a lower QoS, because the target's server allows no higher one.
    pub downgraded: u64,
    /// Copies to MQTT 3.1.1 targets whose payload is no JSON object, so that it has no metadata.
    pub metadata_left_out: u64,
    /// How often a target changed its session, away from one that was down or back.
    pub failovers: u64,
    /// How often a target that was connected did not acknowledge within `ack_timeout`.
    pub ack_timeouts: u64,
    /// Messages that a target stored durably, which counts as forwarded, and that its server did not take later; by
    /// reason, only reasons that occurred.
    pub failed_later_by_reason: Vec<(ForwardDrop, u64)>,
    /// Those of them that the dead letters' session acknowledged, or stored durably.
    pub dead_lettered_later: u64,
}

impl ForwarderMetrics {
    /// Adds what another version of the forwarder did.
    pub(super) fn add(&mut self, other: Self) {
        // Every field is named, so that a new one is not forgotten.
        let Self {
            received,
            forwarded,
            filtered,
            dropped,
            dropped_by_reason,
            dead_lettered,
            retried,
            in_flight,
            queued,
            lag,
            latency_seconds,
            optional_lost,
            downgraded,
            metadata_left_out,
            failovers,
            ack_timeouts,
            // Counted by the forwarder, not by its versions.
            failed_later_by_reason: _,
            dead_lettered_later: _,
        } = other;
        self.received += received;
        self.forwarded += forwarded;
        self.filtered += filtered;
        self.dropped += dropped;
        self.dead_lettered += dead_lettered;
        self.retried += retried;
        self.in_flight += in_flight;
        self.queued += queued;
        self.lag = self.lag.max(lag);
        self.latency_seconds.add(&latency_seconds);
        self.metadata_left_out += metadata_left_out;
        self.failovers += failovers;
        self.ack_timeouts += ack_timeouts;
        self.optional_lost += optional_lost;
        self.downgraded += downgraded;
        for (reason, count) in dropped_by_reason {
            self.count_drops(reason, count);
        }
    }

    /// What was in flight is not any more: its server sends it again, when it counts again.
    pub(super) fn given_up(mut self) -> Self {
        let left = std::mem::take(&mut self.in_flight);
        (self.queued, self.lag) = (0, Duration::ZERO);
        if left > 0 {
            self.dropped += left;
            self.count_drops(ForwardDrop::TargetRemoved, left);
        }
        self
    }

    fn count_drops(&mut self, reason: ForwardDrop, count: u64) {
        match self.dropped_by_reason.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, sum)) => *sum += count,
            None => self.dropped_by_reason.push((reason, count)),
        }
        self.dropped_by_reason.sort_unstable_by_key(|(reason, _)| *reason);
    }
}

/// The same, while it counts.
#[derive(Default)]
pub(super) struct Counts {
    pub(super) received: u64,
    pub(super) forwarded: u64,
    pub(super) optional_lost: u64,
    pub(super) downgraded: u64,
    pub(super) retried: u64,
    pub(super) filtered: u64,
    pub(super) dead_lettered: u64,
    pub(super) metadata_left_out: u64,
    pub(super) failovers: u64,
    pub(super) ack_timeouts: u64,
    dropped: [u64; ForwardDrop::ALL.len()],
}

impl Counts {
    pub(super) fn drop_one(&mut self, reason: ForwardDrop) {
        self.drop(reason, 1);
    }

    pub(super) fn drop(&mut self, reason: ForwardDrop, messages: u64) {
        if let Some(count) = self.dropped.get_mut(reason.index()) {
            *count += messages;
        }
    }

    pub(super) fn snapshot(&self) -> ForwarderMetrics {
        let dropped: u64 = self.dropped.iter().sum();
        let by_reason = ForwardDrop::ALL.iter().copied().zip(self.dropped);
        ForwarderMetrics {
            received: self.received,
            forwarded: self.forwarded,
            filtered: self.filtered,
            dropped,
            dropped_by_reason: by_reason.filter(|(_, count)| *count > 0).collect(),
            dead_lettered: self.dead_lettered,
            in_flight: self.received
                - self.forwarded
                - self.filtered
                - self.dead_lettered
                - dropped,
            optional_lost: self.optional_lost,
            downgraded: self.downgraded,
            metadata_left_out: self.metadata_left_out,
            failovers: self.failovers,
            ack_timeouts: self.ack_timeouts,
            retried: self.retried,
            ..ForwarderMetrics::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_a_forwarder_add_up() {
        let mut counts = Counts { received: 10, forwarded: 4, ..Counts::default() };
        counts.drop_one(ForwardDrop::Refused);
        let mut sum = counts.snapshot();
        sum.add(counts.snapshot().given_up());
        assert_eq!((sum.received, sum.forwarded, sum.in_flight, sum.dropped), (20, 8, 5, 7));
        let reasons = [(ForwardDrop::Refused, 2), (ForwardDrop::TargetRemoved, 5)];
        assert_eq!(sum.dropped_by_reason, reasons);
    }
}

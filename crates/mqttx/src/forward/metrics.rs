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
    dropped: [u64; ForwardDrop::ALL.len()],
}

impl Counts {
    pub(super) fn drop_one(&mut self, reason: ForwardDrop) {
        if let Some(count) = self.dropped.get_mut(reason.index()) {
            *count += 1;
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
            retried: self.retried,
            ..ForwarderMetrics::default()
        }
    }
}

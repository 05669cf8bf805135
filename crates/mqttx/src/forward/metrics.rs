//! The counters of a forwarder.

use super::reason::ForwardDrop;

/// What a forwarder did so far.
///
/// At every moment `received = forwarded + filtered + dropped + in_flight`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
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
    /// Messages that arrived and are not finished: waiting, or sent and not acknowledged.
    pub in_flight: u64,
    /// Copies that a target which is not required did not take.
    pub optional_lost: u64,
    /// Messages sent with a lower QoS, because the target's server allows no higher one.
    pub downgraded: u64,
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
            in_flight,
            optional_lost,
            downgraded,
        } = other;
        self.received += received;
        self.forwarded += forwarded;
        self.filtered += filtered;
        self.dropped += dropped;
        self.in_flight += in_flight;
        self.optional_lost += optional_lost;
        self.downgraded += downgraded;
        for (reason, count) in dropped_by_reason {
            self.count_drops(reason, count);
        }
    }

    /// What was in flight is not any more: its server sends it again, when it counts again.
    pub(super) fn given_up(mut self) -> Self {
        let left = std::mem::take(&mut self.in_flight);
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
            filtered: 0,
            dropped,
            dropped_by_reason: by_reason.filter(|(_, count)| *count > 0).collect(),
            in_flight: self.received - self.forwarded - dropped,
            optional_lost: self.optional_lost,
            downgraded: self.downgraded,
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

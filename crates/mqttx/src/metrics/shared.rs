//! What is counted once for all sessions of a manager.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mqttx_proto::ReasonCode;

use super::{Counts, Histogram};

/// The counters of a manager: what would cost an idle session too much, and what sessions leave behind.
#[derive(Debug)]
pub(crate) struct ManagerCounters {
    /// Attempts to connect, by what came of them.
    pub(crate) connects: ByReason,
    /// Connections that were accepted and ended, by why.
    pub(crate) disconnects: ByReason,
    /// Until the transport is there: name, TCP, TLS.
    pub(crate) connect: Histogram,
    /// From CONNECT to CONNACK.
    pub(crate) handshake: Histogram,
    /// From the acceptance of a message with QoS > 0 to its acknowledgement.
    pub(crate) ack: Histogram,
    retired: Mutex<Retired>,
}

impl Default for ManagerCounters {
    fn default() -> Self {
        Self {
            connects: ByReason::default(),
            disconnects: ByReason::default(),
            connect: Histogram::of_latency(),
            handshake: Histogram::of_latency(),
            ack: Histogram::of_latency(),
            retired: Mutex::default(),
        }
    }
}

impl ManagerCounters {
    /// A session is gone, which counted `own`, after `before` of sessions of that name.
    pub(crate) fn retire(&self, name: &Arc<str>, own: &Counts, before: &Counts) {
        let mut retired = self.retired();
        retired.sum.add(own);
        let mut all = before.clone();
        all.add(own);
        retired.remember(name, all);
    }

    /// What sessions of that name counted that are gone.
    pub(crate) fn counted_before(&self, name: &str) -> Option<Counts> {
        self.retired().by_name.get(name).map(|(_, counts)| counts.clone())
    }

    /// What all sessions counted that are gone.
    pub(crate) fn retired_sum(&self) -> Counts {
        self.retired().sum.clone()
    }

    fn retired(&self) -> MutexGuard<'_, Retired> {
        self.retired.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counters of sessions that are gone, so that no counter goes back when a session is removed, or comes again.
#[derive(Debug, Default)]
struct Retired {
    sum: Counts,
    /// The last names, with the number of their entry.
    by_name: HashMap<Arc<str>, (u64, Counts)>,
    next: u64,
}

/// Names of removed sessions that are remembered. Those beyond are still in the sum; a session that comes back
/// after so many others counts from zero.
const NAMES: usize = 10_000;

impl Retired {
    fn remember(&mut self, name: &Arc<str>, counts: Counts) {
        if self.by_name.len() >= NAMES && !self.by_name.contains_key(name) {
            // The older half, so that it is not looked for at every removal.
            let mut numbers: Vec<u64> = self.by_name.values().map(|(number, _)| *number).collect();
            numbers.sort_unstable();
            let middle = numbers.get(NAMES / 2).copied().unwrap_or_default();
            self.by_name.retain(|_, (number, _)| *number >= middle);
        }
        self.by_name.insert(Arc::clone(name), (self.next, counts));
        self.next += 1;
    }
}

/// Counts by reason code, without a lock.
#[derive(Debug)]
pub(crate) struct ByReason(Box<[AtomicU64]>);

/// Every code, and none.
const CODES: usize = 257;

impl Default for ByReason {
    fn default() -> Self {
        Self((0..CODES).map(|_| AtomicU64::new(0)).collect())
    }
}

impl ByReason {
    /// One more; without a code the transport was the reason.
    pub(crate) fn count(&self, code: Option<ReasonCode>) {
        let place = code.map_or(CODES - 1, |code| usize::from(code.value()));
        if let Some(count) = self.0.get(place) {
            count.fetch_add(1, Relaxed);
        }
    }

    /// Those that occurred, and success, which is always there.
    pub(crate) fn snapshot(&self) -> Vec<(Option<ReasonCode>, u64)> {
        let counts = self.0.iter().enumerate().map(|(place, count)| {
            (u8::try_from(place).ok().map(ReasonCode::new), count.load(Relaxed))
        });
        counts.filter(|(code, n)| *n > 0 || *code == Some(ReasonCode::SUCCESS)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(messages: u64) -> Counts {
        Counts { messages_sent: messages, ..Counts::default() }
    }

    #[test]
    fn a_name_that_comes_again_goes_on_where_it_was() {
        let counters = ManagerCounters::default();
        let name: Arc<str> = "plant".into();
        assert_eq!(counters.counted_before("plant"), None);
        counters.retire(&name, &sent(3), &Counts::default());
        let before = counters.counted_before("plant").unwrap();
        counters.retire(&name, &sent(4), &before);
        assert_eq!(counters.counted_before("plant"), Some(sent(7)));
        assert_eq!(counters.retired_sum(), sent(7), "nothing counts twice");
    }

    #[test]
    fn names_are_bounded_and_the_sum_is_complete() {
        let counters = ManagerCounters::default();
        let total = 2 * NAMES as u64 + 1;
        for n in 0..total {
            counters.retire(&format!("s{n}").into(), &sent(1), &Counts::default());
        }
        assert!(counters.retired().by_name.len() <= NAMES);
        assert_eq!(counters.counted_before("s0"), None, "the oldest are forgotten");
        assert_eq!(counters.counted_before(&format!("s{}", total - 1)), Some(sent(1)));
        assert_eq!(counters.retired_sum(), sent(total));
    }

    #[test]
    fn every_code_and_none_has_its_count() {
        let reasons = ByReason::default();
        assert_eq!(reasons.snapshot(), [(Some(ReasonCode::SUCCESS), 0)]);
        reasons.count(Some(ReasonCode::new(0xff)));
        reasons.count(None);
        reasons.count(None);
        let all = [(Some(ReasonCode::SUCCESS), 0), (Some(ReasonCode::new(0xff)), 1), (None, 2)];
        assert_eq!(reasons.snapshot(), all);
    }
}

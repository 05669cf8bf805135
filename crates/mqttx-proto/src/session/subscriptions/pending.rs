//! What is asked for with one filter and not answered yet.

use std::collections::BTreeSet;

use super::requests::{Item, Kind};

/// So many requests of one kind for one filter may be without an answer on a connection. A server that gives none would have more
/// and more of them to answer, and keep their packet ids, with a filter that comes and goes.
pub(super) const UNANSWERED: usize = 8;

/// One filter, as long as something that was asked for with it has no answer.
#[derive(Debug, Default)]
pub(super) struct Pending {
    subscribe: Tally,
    unsubscribe: Tally,
    /// What waits for answers to what was sent, in order: SUBSCRIBEs, and behind them UNSUBSCRIBEs.
    pub(super) held: BTreeSet<u64>,
}

/// The requests of one kind for one filter.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Without an answer.
    pub(super) open: usize,
    /// Those of them that were sent on this connection.
    pub(super) sent: usize,
    /// The last one, answered or not.
    pub(super) newest: u64,
    /// The last one that the server answered.
    pub(super) answered: u64,
    /// The one that was not sent and that nobody waits for: a newer one takes its place, so that there is one at most.
    pub(super) quiet: Option<u64>,
}

impl Pending {
    pub(super) fn of(&self, kind: Kind) -> &Tally {
        match kind {
            Kind::Subscribe => &self.subscribe,
            Kind::Unsubscribe => &self.unsubscribe,
        }
    }

    pub(super) fn of_mut(&mut self, kind: Kind) -> &mut Tally {
        match kind {
            Kind::Subscribe => &mut self.subscribe,
            Kind::Unsubscribe => &mut self.unsubscribe,
        }
    }

    /// Counts a new item. What nobody waits for and was not sent, it makes needless: asked twice, the server would send retained
    /// messages twice, the first time with options that nobody wants any more. So without a connection no more than one request
    /// of each kind waits for a filter, however often it comes and goes.
    pub(super) fn add(&mut self, kind: Kind, number: u64, quiet: bool) -> [Option<u64>; 2] {
        let needless = [
            self.subscribe.quiet.take(),
            self.unsubscribe.quiet.take_if(|_| kind == Kind::Unsubscribe),
        ];
        let tally = self.of_mut(kind);
        tally.open += 1;
        tally.newest = number;
        tally.quiet = quiet.then_some(number);
        needless
    }

    /// An item has its answer.
    pub(super) fn remove(&mut self, item: &Item) {
        let tally = self.of_mut(item.kind);
        tally.open = tally.open.saturating_sub(1);
        tally.quiet.take_if(|quiet| *quiet == item.number);
        self.held.remove(&item.number);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.subscribe.open == 0 && self.unsubscribe.open == 0
    }

    /// Whether an item may be sent now: not before what came before it, nor when too many of its kind have no answer.
    pub(super) fn may_go(&self, item: &Item) -> bool {
        self.held.first().is_none_or(|first| item.number < *first)
            && self.of(item.kind).sent < UNANSWERED
    }

    /// Whether a newer request leaves one without effect.
    pub(super) fn is_outdone(&self, kind: Kind, number: u64) -> bool {
        self.unsubscribe.newest > number
            || kind == Kind::Subscribe && self.subscribe.newest > number
    }
}

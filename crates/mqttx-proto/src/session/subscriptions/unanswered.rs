//! UNSUBSCRIBEs that the server does not answer.

use super::{Kind, Standing, Subscriptions};
use crate::ReasonCode;

/// So many of one filter may be without an answer on a connection.
const UNANSWERED: usize = 8;

impl Subscriptions {
    /// Whether an UNSUBSCRIBE has to wait for the answers to earlier ones: a server that gives none would have more and more of
    /// them to answer, and keep their packet ids, with a filter that comes and goes.
    pub(super) fn is_held(&self, at: usize) -> bool {
        let Some(request) = self.requests.get(at).filter(|r| r.kind == Kind::Unsubscribe) else {
            return false;
        };
        let unsent = request.items.iter().skip(request.unsent);
        unsent.filter(|item| item.code.is_none()).any(|item| self.is_awaited(&item.filter))
    }

    /// Whether the server did not answer [`UNANSWERED`] times that the filter is unsubscribed.
    fn is_awaited(&self, filter: &str) -> bool {
        let sent = self.requests.iter().filter(|r| r.kind == Kind::Unsubscribe);
        let sent = sent.flat_map(|r| r.items.iter().take(r.unsent));
        sent.filter(|i| i.code.is_none() && i.filter == filter).nth(UNANSWERED - 1).is_some()
    }

    /// The filter is wanted again: what is held to unsubscribe it has nothing to do any more.
    pub(super) fn call_off(&mut self, filter: &str) {
        if !self.requests.iter().any(|r| r.kind == Kind::Unsubscribe) || !self.is_awaited(filter) {
            return;
        }
        for request in self.requests.iter_mut().filter(|r| r.kind == Kind::Unsubscribe) {
            let unsent = request.items.iter_mut().skip(request.unsent);
            for item in unsent.filter(|item| item.filter == filter) {
                item.code.get_or_insert(ReasonCode::SUCCESS);
            }
        }
    }

    /// The connection is over. Those whose filter was granted after them have done what they were sent for: the server answered what
    /// came behind them, and sent again they would take away what it granted since.
    pub(super) fn forgive_unanswered(&mut self) {
        let desired = &self.desired;
        for request in self.requests.iter_mut().filter(|r| r.kind == Kind::Unsubscribe) {
            for item in request.items.iter_mut().take(request.unsent) {
                let wanted = desired.get(&item.filter);
                if wanted.is_some_and(|wanted| matches!(wanted.standing, Standing::Granted(_))) {
                    item.code.get_or_insert(ReasonCode::SUCCESS);
                }
            }
        }
    }
}

//! Messages that their routes are done with, on the way to the driver.

use std::sync::{Mutex, MutexGuard, PoisonError};

use mqttx_proto::{AckTicket, Session as Core};

/// A list beside the session's state, so that handlers and driver do not wait for each other's work.
#[derive(Debug, Default)]
pub(crate) struct Acked(Mutex<Vec<AckTicket>>);

/// Room for tickets that is kept while there are none.
const KEEP: usize = 16;

impl Acked {
    /// `true` for the first since the driver looked: it has to be woken.
    pub(crate) fn push(&self, ticket: AckTicket) -> bool {
        let mut tickets = self.lock();
        tickets.push(ticket);
        tickets.len() == 1
    }

    /// [`push`](Self::push) for many.
    pub(crate) fn extend(&self, new: impl Iterator<Item = AckTicket>) -> bool {
        let mut tickets = self.lock();
        let first = tickets.is_empty();
        tickets.extend(new);
        first && !tickets.is_empty()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Appends all to `out`.
    pub(crate) fn take(&self, out: &mut Vec<AckTicket>) {
        out.append(&mut self.lock());
    }

    /// Acknowledges all.
    pub(crate) fn take_into(&self, core: &mut Core) {
        let tickets = std::mem::take(&mut *self.lock());
        tickets.into_iter().for_each(|ticket| core.ack(ticket));
    }

    /// Gives memory back, for a quiet session.
    pub(crate) fn shrink(&self) {
        self.lock().shrink_to(KEEP);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<AckTicket>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

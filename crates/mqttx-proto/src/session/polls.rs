//! What the driver must do next: bytes to write, records to store, deadlines, and what is to be told.

use std::time::Instant;

use crate::write_queue::Transmit;

use super::Session;
use super::event::{Completion, Event};
use super::link::Stage;
use super::outgoing::FetchRequest;
use super::record::{Lsn, RecordBatch};

/// What the driver must do next.
impl Session {
    /// Moves the encoded bytes to `out`; `false`: there are none.
    pub fn poll_transmit(&mut self, out: &mut Transmit) -> bool {
        match self.cx.link.as_mut() {
            Some(link) if !link.writes.is_empty() && self.cx.journal.is_synced(link.hold_until) => {
                link.on_taken(link.writes.len());
                out.take(&mut link.writes);
                true
            }
            _ => false,
        }
    }

    /// Whether [`poll_transmit`](Self::poll_transmit) has bytes.
    #[must_use]
    pub fn has_transmit(&self) -> bool {
        let journal = &self.cx.journal;
        self.cx
            .link
            .as_ref()
            .is_some_and(|link| !link.writes.is_empty() && journal.is_synced(link.hold_until))
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let link = self.cx.link.as_ref().filter(|link| link.stage != Stage::Closing);
        let deadline = link.and_then(|link| {
            let exchange = link.exchange.as_ref().and_then(|exchange| exchange.deadline);
            exchange.into_iter().chain(link.timer.deadline()).min()
        });
        match (deadline, self.outbox.next_expiry()) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.cx.events.pop_front()
    }

    /// The end of a command that somebody waits for.
    pub fn poll_completion(&mut self) -> Option<Completion> {
        self.cx.completions.pop_front()
    }

    /// Whether [`poll_event`](Self::poll_event) or [`poll_completion`](Self::poll_completion) has something to tell.
    #[must_use]
    pub fn has_news(&self) -> bool {
        !self.cx.events.is_empty() || !self.cx.completions.is_empty()
    }

    /// Whether [`poll_store`](Self::poll_store) has records.
    #[must_use]
    pub fn has_records(&self) -> bool {
        !self.cx.journal.is_empty()
    }

    /// Queued messages that the store is to give back: [`handle_fetched`](Self::handle_fetched) answers. At most one at a time.
    pub fn poll_fetch(&mut self) -> Option<FetchRequest> {
        self.outbox.used()?.poll_fetch(&self.cx)
    }

    /// Moves the records to store to `out` and returns the position of the last one ever.
    pub fn poll_store(&mut self, out: &mut RecordBatch) -> Lsn {
        self.cx.journal.take(out)
    }
}

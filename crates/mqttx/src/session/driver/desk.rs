//! What a driver needs during a turn only: borrowed from its thread, so that an idle session owns
//! none of it.

use std::cell::Cell;

use mqttx_proto::{AckTicket, Event, FetchRequest, Inbound, Lsn, RecordBatch, SendTotals};

use crate::options::Performance;
use crate::router::Scratch;
use crate::session::delivery::Wake;
use crate::session::shared::Wish;

/// The buffers and lists of a turn. All lists are empty between turns.
#[derive(Default)]
pub(super) struct Desk {
    /// What is read, [`Performance::MAX_READ_BUFFER`] bytes.
    pub(super) bytes: Vec<u8>,
    inbound: Vec<Inbound<'static>>,
    pub(super) router: Scratch,
    /// Messages that every route was done with at once.
    pub(super) done: Vec<AckTicket>,
    /// Messages for which there was no room.
    pub(super) refused: Vec<AckTicket>,
    pub(super) wakes: Vec<Wake>,
    pub(super) events: Vec<Event>,
    pub(super) records: RecordBatch,
    /// Somebody waits until the store has these.
    pub(super) wanted: Option<Lsn>,
    /// Queued messages that are wanted back from the store.
    pub(super) fetch: Option<FetchRequest>,
    pub(super) wish: Option<Wish>,
    /// Another authentication is wanted.
    pub(super) renewal: bool,
    pub(super) routes_added: bool,
    pub(super) watched: bool,
    /// A timer of the core fired.
    pub(super) quiet: bool,
    pub(super) totals: SendTotals,
    pub(super) duplicates: u64,
}

thread_local! {
    static DESK: Cell<Option<Box<Desk>>> = const { Cell::new(None) };
}

impl Desk {
    /// The thread's desk; a new one when a turn runs inside a turn.
    pub(super) fn borrow() -> Box<Self> {
        DESK.take().unwrap_or_default()
    }

    pub(super) fn give_back(mut self: Box<Self>) {
        debug_assert!(self.is_clear(), "the next session must not find what belongs to this one");
        self.done.clear();
        DESK.set(Some(self));
    }

    fn is_clear(&self) -> bool {
        self.done.is_empty()
            && self.refused.is_empty()
            && self.wakes.is_empty()
            && self.events.is_empty()
            && self.records.is_empty()
            && self.wanted.is_none()
            && self.fetch.is_none()
            && self.wish.is_none()
    }

    /// The read buffer, in its full size.
    pub(super) fn make_room(&mut self) {
        self.bytes.resize(Performance::MAX_READ_BUFFER, 0);
    }

    /// The list of arrived messages, for another input.
    pub(super) fn take_inbound<'a>(&mut self) -> Vec<Inbound<'a>> {
        recycle(std::mem::take(&mut self.inbound))
    }

    pub(super) fn put_inbound(&mut self, list: Vec<Inbound<'_>>) {
        self.inbound = recycle(list);
    }
}

/// The same memory for another lifetime: nothing is in the list, and the standard library collects
/// into the allocation it came from.
fn recycle<'a>(mut list: Vec<Inbound<'_>>) -> Vec<Inbound<'a>> {
    list.clear();
    list.into_iter().map(|_| unreachable!("the list was cleared")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_keeps_its_memory() {
        let list: Vec<Inbound<'static>> = Vec::with_capacity(100);
        let again = recycle(list);
        assert!(again.capacity() >= 100);
    }
}

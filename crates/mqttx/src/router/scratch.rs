//! What a driver keeps for a read's worth of messages: matches that it found (`memo.rs`), and messages that their routes do not have
//! yet.

use std::sync::Arc;

use super::batch::{Batch, Spares};
use super::done::Due;
use super::lot::{Lots, Read};
use super::memo::Memo;
use super::row::Row;
use super::target::Target;
use super::{Arrival, Entry, InboundMeta, MessageSource};
use crate::message::SMALL;

/// Reused by a driver from read to read, so that matching and keeping messages allocates nothing.
#[derive(Default)]
pub(crate) struct Scratch {
    pub(super) entries: Vec<Entry>,
    pub(super) memo: Memo,
    pub(super) outbox: Outbox,
}

impl Scratch {
    /// The place of the next message in its read.
    pub(crate) fn at(&mut self, index: usize) {
        self.outbox.by_lot.index = index as u32;
    }

    /// Routes that take messages by the lot get those of `read` since the last call.
    pub(crate) fn hand_over(
        &mut self,
        read: Read<'_>,
        inbound: &InboundMeta,
        source: &Arc<dyn MessageSource>,
    ) {
        self.outbox.by_lot.hand_over(read, inbound, source);
    }

    /// How often the routes had changed that the last message was dispatched to.
    pub(crate) fn routes(&self) -> u64 {
        self.memo.changes()
    }

    /// The read is through: routes get the rest of their messages. What was found is forgotten, since it keeps routes alive.
    pub(crate) fn finish(&mut self, source: &Arc<dyn MessageSource>) {
        self.outbox.flush(source);
        self.memo.clear();
    }

    /// Whether so much went to tasks since this said so that they are to have a turn, `limit` bytes at most. A task that another one
    /// woke is run by the same thread once that one pauses: without a pause the messages would leave the cache first.
    pub(crate) fn leads(&mut self, limit: usize) -> bool {
        let leads = self.outbox.lead >= LEAD.min(limit).max(1);
        if leads {
            self.outbox.lead = 0;
        }
        leads
    }

    /// How many routes it has places for.
    #[cfg(test)]
    pub(super) fn collects_for(&self) -> usize {
        self.outbox.routes.len()
    }

    /// A session of this thread is quiet: gives back the memory that was not needed since this was called last.
    pub(crate) fn shrink(&mut self) {
        self.outbox.shrink();
    }
}

/// Messages that routes get together: one lock and one wake-up for many.
#[derive(Default)]
pub(super) struct Outbox {
    pub(super) by_lot: Lots,
    /// The routes that are collected for, close together since each message looks for its own; and what they get, at the same index.
    routes: Vec<Option<Arc<Target>>>,
    batches: Vec<Batch>,
    /// Memory for the next batches.
    pub(super) spares: Spares,
    /// What a route gave back.
    returned: Vec<Batch>,
    /// What the messages cost that went to tasks.
    lead: usize,
}

/// What may go to tasks, in bytes, before they are to have a turn. A pause mostly moves the driver to another thread, which costs as
/// much as some hundred messages; so much, some two thousand small ones, is still in the second level of the cache.
const LEAD: usize = 512 * 1024;

/// Routes that are collected for at a time.
const ROUTES: usize = 64;

impl Outbox {
    /// Keeps a message for its route until that gets its batch.
    pub(super) fn push(&mut self, target: &Arc<Target>, arrival: &Arrival<'_>, due: Due) {
        let index = self.place_for(target, arrival.inbound, arrival.source);
        let Some(batch) = self.batches.get_mut(index) else { return };
        batch.push(arrival, due);
        self.hand_over_full(index, target, arrival.source);
    }

    /// The same for messages from the front of a row; how many.
    pub(super) fn push_row(
        &mut self,
        target: &Arc<Target>,
        row: &Row<'_>,
        common: &InboundMeta,
        source: &Arc<dyn MessageSource>,
    ) -> usize {
        let mut rest = *row;
        while !rest.messages.is_empty() {
            let index = self.place_for(target, common, source);
            let Some(batch) = self.batches.get_mut(index) else { break };
            let taken = batch.push_row(&rest, target.most_together(), common, source);
            self.hand_over_full(index, target, source);
            if taken == 0 {
                break;
            }
            rest.messages = rest.messages.get(taken..).unwrap_or_default();
        }
        row.messages.len() - rest.messages.len()
    }

    /// The lot of a route, with room for a message that came with others.
    fn place_for(
        &mut self,
        target: &Arc<Target>,
        inbound: &InboundMeta,
        source: &Arc<dyn MessageSource>,
    ) -> usize {
        let is_its =
            |own: &Option<Arc<Target>>| own.as_ref().is_some_and(|own| Arc::ptr_eq(own, target));
        let index = match self.routes.iter().position(is_its) {
            Some(index) => index,
            None => self.begin(target, source),
        };
        if let Some(batch) = self.batches.get_mut(index)
            && !batch.is_of(inbound.received_at)
        {
            let batch = self.spares.replace(batch);
            self.hand_over(target, batch, source, true);
        }
        index
    }

    fn hand_over_full(
        &mut self,
        index: usize,
        target: &Arc<Target>,
        source: &Arc<dyn MessageSource>,
    ) {
        if let Some(batch) = self.batches.get_mut(index)
            && batch.is_full(target.most_together())
        {
            let batch = self.spares.replace(batch);
            self.hand_over(target, batch, source, true);
        }
    }

    /// A batch of one message.
    pub(super) fn single(&mut self, arrival: &Arrival<'_>, due: Due) -> Batch {
        let mut batch = self.spares.take_for(1, arrival.publish.payload.len().min(SMALL));
        batch.push(arrival, due);
        batch
    }

    /// A place for another route.
    fn begin(&mut self, target: &Arc<Target>, source: &Arc<dyn MessageSource>) -> usize {
        if self.routes.len() == ROUTES && self.routes.iter().all(Option::is_some) {
            self.flush(source);
        }
        let index = self.routes.iter().position(Option::is_none).unwrap_or_else(|| {
            self.routes.push(None);
            self.batches.push(Batch::default());
            self.routes.len() - 1
        });
        if let (Some(route), Some(batch)) =
            (self.routes.get_mut(index), self.batches.get_mut(index))
        {
            *route = Some(Arc::clone(target));
            if batch.room() == 0 {
                *batch = self.spares.take();
            }
        }
        index
    }

    /// Between two reads, when nothing is collected.
    fn shrink(&mut self) {
        self.spares.shrink();
        if self.routes.iter().all(Option::is_none) {
            (self.routes, self.batches) = (Vec::new(), Vec::new());
        }
    }

    fn flush(&mut self, source: &Arc<dyn MessageSource>) {
        for index in 0..self.routes.len() {
            let (Some(route), Some(place)) =
                (self.routes.get_mut(index), self.batches.get_mut(index))
            else {
                return;
            };
            let Some(target) = route.take() else { continue };
            let mut batch = std::mem::take(place);
            if !batch.is_empty() && batch.is_wasteful() {
                let slim = self.spares.slim_down(&mut batch);
                *place = std::mem::replace(&mut batch, slim);
            }
            if batch.is_empty() {
                *place = batch;
                target.start();
            } else {
                self.hand_over(&target, batch, source, false);
            }
        }
    }

    fn hand_over(
        &mut self,
        target: &Arc<Target>,
        batch: Batch,
        source: &Arc<dyn MessageSource>,
        more: bool,
    ) {
        if target.is_polled() {
            self.lead += batch.cost();
        }
        target.enqueue_all(batch, source, &mut self.returned, more);
        self.returned.drain(..).for_each(|batch| self.spares.put(batch));
    }
}

#[cfg(test)]
mod tests {
    use super::super::batch::SPARE_BYTES;
    use super::*;

    /// Memory as routes give it back.
    fn spares(bytes: usize, count: usize) -> Vec<Batch> {
        (0..count).map(|_| Batch::with_room(bytes)).collect()
    }

    #[test]
    fn memory_that_nobody_needs_is_given_back() {
        for bytes in [100, 10_000] {
            let mut outbox = Outbox::default();
            spares(bytes, 100).into_iter().for_each(|batch| outbox.spares.put(batch));
            outbox.shrink();
            assert_eq!(outbox.spares.held().0, 100, "nobody knows yet what is needed");
            // A busy time: up to forty at once.
            let busy: Vec<_> = (0..40).map(|_| outbox.spares.take()).collect();
            assert!(busy.iter().all(|batch| batch.room() >= bytes));
            busy.into_iter().for_each(|batch| outbox.spares.put(batch));
            outbox.shrink();
            assert_eq!(outbox.spares.held().0, 40);
            // A quiet one.
            outbox.shrink();
            assert_eq!(outbox.spares.held(), (0, 0));
            assert_eq!(outbox.spares.take().room(), 0);
        }
    }

    #[test]
    fn tasks_get_their_turn_after_so_much_and_no_later_than_is_asked_for() {
        let mut scratch = Scratch::default();
        assert!(!scratch.leads(0), "nothing went to tasks");
        for (lead, limit, leads) in [
            (999, 1000, false),
            (1000, 1000, true),
            (LEAD - 1, 1 << 30, false),
            (LEAD, 1 << 30, true),
        ] {
            scratch.outbox.lead = lead;
            assert_eq!(scratch.leads(limit), leads, "{lead} bytes of {limit}");
            assert_eq!(scratch.outbox.lead, if leads { 0 } else { lead });
        }
    }

    #[test]
    fn a_thread_keeps_one_mebibyte_and_no_more() {
        let mut outbox = Outbox::default();
        spares(1 << 16, 40).into_iter().for_each(|batch| outbox.spares.put(batch));
        assert_eq!(outbox.spares.held(), (16, SPARE_BYTES));
        outbox.spares.put(Batch::with_room(1));
        assert_eq!(outbox.spares.held(), (16, SPARE_BYTES));
        drop(outbox.spares.take());
        outbox.spares.put(Batch::with_room(1));
        assert_eq!(outbox.spares.held(), (16, SPARE_BYTES - (1 << 16) + 1));
    }
}

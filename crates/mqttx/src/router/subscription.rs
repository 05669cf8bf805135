//! The bounded queue of a route: order, capacity, overflow policy and parking, as plain data.

use std::collections::VecDeque;
use std::sync::Arc;

use super::batch::{Batch, LOT};
use super::{MessageSource, Overflow};

/// Messages in order of arrival, in the batches in which they came. Batches beyond the capacity are *parked*: they count on the
/// session that they came from until they move up.
pub(super) struct Queue {
    batches: VecDeque<Batch>,
    /// In all batches.
    messages: usize,
    /// The batches within the capacity, and the messages in them.
    inside: (usize, usize),
    capacity: usize,
    overflow: Overflow,
}

/// What [`Queue::push`] did with a batch.
pub(super) enum Pushed {
    Queued,
    /// The batch itself was dropped.
    DroppedNewest(Batch),
    /// An older one made room for it.
    DroppedOldest(Batch, Unparks),
    /// The session's inbound buffer has no room for it.
    Shed(Batch),
}

/// Bytes that stopped being parked; to be told to the source outside all locks.
struct Unpark {
    source: Arc<dyn MessageSource>,
    bytes: usize,
}

/// Several, most of them for one source.
#[derive(Default)]
#[must_use]
pub(super) struct Unparks {
    last: Option<Unpark>,
    others: Vec<Unpark>,
}

impl Unparks {
    fn add(&mut self, batch: &mut Batch) {
        if !std::mem::take(&mut batch.parked) {
            return;
        }
        let (Some(source), bytes) = (batch.source(), batch.cost()) else { return };
        match &mut self.last {
            Some(last) if Arc::ptr_eq(&last.source, source) => last.bytes += bytes,
            last => {
                let new = Unpark { source: Arc::clone(source), bytes };
                self.others.extend(last.replace(new));
            }
        }
    }

    pub(super) fn tell(self) {
        let all = self.last.into_iter().chain(self.others);
        all.for_each(|unpark| unpark.source.unpark(unpark.bytes));
    }
}

impl Queue {
    /// `capacity` of 0 counts as 1.
    pub(super) fn new(capacity: usize, overflow: Overflow) -> Self {
        let batches = VecDeque::new();
        Self { batches, messages: 0, inside: (0, 0), capacity: capacity.max(1), overflow }
    }

    /// Takes a batch of one message, if the policy does not drop it.
    pub(super) fn push(
        &mut self,
        batch: Batch,
        source: &Arc<dyn MessageSource>,
        shed: bool,
    ) -> Pushed {
        if batch.droppable && self.messages >= self.capacity {
            match self.overflow {
                Overflow::DropNewest => return Pushed::DroppedNewest(batch),
                Overflow::DropOldest => return self.replace_oldest(batch),
                Overflow::Block if shed && !batch.is_owed() => return Pushed::Shed(batch),
                Overflow::Block => {}
            }
        }
        self.push_or_park(batch, source);
        Pushed::Queued
    }

    /// [`push`](Self::push) where nothing is dropped.
    pub(super) fn push_or_park(&mut self, mut batch: Batch, source: &Arc<dyn MessageSource>) {
        if !self.fits(batch.len()) {
            source.park(batch.cost());
            batch.parked = true;
        }
        self.push_back(batch);
    }

    fn push_back(&mut self, batch: Batch) {
        let len = batch.len();
        if self.fits(len) {
            self.inside = (self.inside.0 + 1, self.inside.1 + len);
        }
        self.messages += len;
        self.batches.push_back(batch);
    }

    /// Whether so many more messages are within the capacity.
    fn fits(&self, len: usize) -> bool {
        self.inside.0 == self.batches.len() && self.inside.1 + len <= self.capacity
    }

    /// How many messages may come together: few enough that the capacity still means something, one where the policy needs to
    /// see all that are not handled.
    pub(super) fn most_together(capacity: usize, overflow: Overflow) -> usize {
        match overflow {
            Overflow::Block => (capacity / 8).clamp(1, LOT),
            _ => 1,
        }
    }

    /// The next messages to handle.
    pub(super) fn pop(&mut self) -> Option<(Batch, Unparks)> {
        let batch = self.remove(0)?;
        Some((batch, self.moved_up()))
    }

    /// Everything, and what of it was parked.
    pub(super) fn drain(&mut self) -> (VecDeque<Batch>, Unparks) {
        let mut unparks = Unparks::default();
        let mut batches = std::mem::take(&mut self.batches);
        batches.iter_mut().for_each(|batch| unparks.add(batch));
        (self.messages, self.inside) = (0, (0, 0));
        (batches, unparks)
    }

    pub(super) fn len(&self) -> usize {
        self.messages
    }

    /// The memory that it holds.
    #[cfg(test)]
    pub(super) fn room(&self) -> usize {
        self.batches.iter().map(Batch::room).sum()
    }

    /// The bytes of messages in the largest batch.
    #[cfg(test)]
    pub(super) fn largest(&self) -> usize {
        self.batches.iter().map(Batch::bytes).max().unwrap_or(0)
    }

    /// The oldest message that may go, goes; without one the new one does.
    fn replace_oldest(&mut self, batch: Batch) -> Pushed {
        let oldest = self.batches.iter().position(|waiting| waiting.droppable);
        let Some(oldest) = oldest.and_then(|at| self.remove(at)) else {
            return Pushed::DroppedNewest(batch);
        };
        let unparks = self.moved_up();
        self.push_back(batch);
        Pushed::DroppedOldest(oldest, unparks)
    }

    fn remove(&mut self, at: usize) -> Option<Batch> {
        let batch = self.batches.remove(at)?;
        self.messages -= batch.len();
        if at < self.inside.0 {
            self.inside = (self.inside.0 - 1, self.inside.1 - batch.len());
        }
        Some(batch)
    }

    /// After a removal: batches that are within the capacity now.
    fn moved_up(&mut self) -> Unparks {
        let mut unparks = Unparks::default();
        while let Some(batch) = self.batches.get_mut(self.inside.0)
            && self.inside.1 + batch.len() <= self.capacity
        {
            unparks.add(batch);
            self.inside = (self.inside.0 + 1, self.inside.1 + batch.len());
        }
        unparks
    }
}

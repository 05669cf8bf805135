//! Messages on their way to one route: what arrived together, behind each other in one piece of memory.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use mqttx_proto::QoS;

use super::done::Due;
use super::row::Row;
use super::{Arrival, InboundMeta, MessageSource};
use crate::message::{Message, Pack, Packed};

/// Messages of one session for one route, in order. The driver that read them fills it, the route's queue keeps it, the
/// consumer empties it and gives its memory back.
#[derive(Default)]
pub(super) struct Batch {
    /// The session that they came from; `None` while it is only memory.
    source: Option<Arc<dyn MessageSource>>,
    /// The small messages, and the places of all.
    pack: Pack,
    /// The others, in their order.
    whole: VecDeque<Message>,
    /// What is due for each message, up to the last for which something is.
    dues: Vec<Due>,
    /// The messages that were put in.
    count: usize,
    /// The first one that was not taken.
    next: usize,
    /// Bytes of all messages.
    size: usize,
    /// The policy may drop it.
    pub(super) droppable: bool,
    /// It waits beyond the capacity of its route; its cost counts on the session.
    pub(super) parked: bool,
}

/// Messages of a batch, at most: its consumer works while more are read.
pub(super) const LOT: usize = 64;

/// Bytes of small messages beyond which a batch takes no more.
const BYTES: usize = 16 * 1024;

/// Counted for each waiting message besides its bytes, so that empty ones are bounded too.
const OVERHEAD: usize = 160;

/// So much memory is not too much for a few messages.
const FEW: usize = 2048;

impl Batch {
    /// Takes a message in. The first one says whose batch it is.
    pub(super) fn push(&mut self, arrival: &Arrival<'_>, due: Due) {
        let publish = arrival.publish;
        self.begin(publish.qos, arrival.inbound, arrival.source);
        if !self.pack.push(publish, arrival.inbound.received_at) {
            self.whole.push_back(arrival.whole().clone());
        }
        self.size +=
            publish.topic.len() + publish.properties.as_bytes().len() + publish.payload.len();
        if !due.is_nothing() {
            self.dues.resize_with(self.count, Due::default);
            self.dues.push(due);
        }
        self.count += 1;
    }

    /// Takes messages in from the front of a row, until there are `most` of them; how many.
    pub(super) fn push_row(
        &mut self,
        row: &Row<'_>,
        most: usize,
        common: &InboundMeta,
        source: &Arc<dyn MessageSource>,
    ) -> usize {
        let room = (most.saturating_sub(self.count), BYTES.saturating_sub(self.pack.len()));
        let (taken, size) = self.pack.extend(row, room.0, room.1, common.received_at);
        let Some(messages) = row.messages.get(..taken).filter(|_| taken > 0) else { return 0 };
        let qos = messages.first().map_or(QoS::AtMostOnce, |first| first.publish().qos);
        self.begin(qos, common, source);
        self.size += size;
        for (index, message) in messages.iter().enumerate() {
            if let Some(ticket) = message.ticket {
                self.dues.resize_with(self.count + index, Due::default);
                self.dues.push(Due::One(ticket));
            }
        }
        self.count += taken;
        taken
    }

    fn begin(&mut self, qos: QoS, inbound: &InboundMeta, source: &Arc<dyn MessageSource>) {
        if self.source.is_none() {
            self.source = Some(Arc::clone(source));
            self.droppable = is_droppable(qos, inbound);
        }
    }

    /// Whether it is to go to its route, which takes up to `most` messages at a time.
    pub(super) fn is_full(&self, most: usize) -> bool {
        self.count >= most || self.pack.len() >= BYTES
    }

    /// Whether a message of that time may come into it.
    pub(super) fn is_of(&self, received_at: Instant) -> bool {
        self.pack.is_of(received_at)
    }

    /// Messages that were not taken.
    pub(super) fn len(&self) -> usize {
        self.count - self.next
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether something is due for a message of it.
    pub(super) fn is_owed(&self) -> bool {
        self.dues.iter().any(|due| !due.is_nothing())
    }

    /// What it counts for while it is parked.
    pub(super) fn cost(&self) -> usize {
        self.size + OVERHEAD * self.count
    }

    pub(super) fn source(&self) -> Option<&Arc<dyn MessageSource>> {
        self.source.as_ref()
    }

    /// Takes the next message: its place, and what is due for it.
    pub(super) fn advance(&mut self) -> Option<(usize, Due)> {
        if self.next == self.count {
            return None;
        }
        let index = self.next;
        self.next += 1;
        Some((index, self.dues.get_mut(index).map(std::mem::take).unwrap_or_default()))
    }

    /// A message that was taken and that is a small one.
    pub(super) fn packed(&self, index: usize) -> Option<Packed<'_>> {
        self.pack.get(index)
    }

    /// The message that was taken, another one.
    pub(super) fn take_whole(&mut self) -> Option<Message> {
        self.whole.pop_front()
    }

    /// The small messages go to `lent`, which leaves the memory of those before.
    pub(super) fn lend(&mut self, lent: &mut Message) {
        if let Some(source) = &self.source {
            lent.exchange(&mut self.pack, source.origin());
        }
    }

    /// Counts what was not taken as done. Not under a lock.
    pub(super) fn finish(&mut self) {
        self.settle(|due, source| due.finish(source));
    }

    /// The dispatch, which still runs, learns by other means that the route is done with them.
    pub(super) fn forgo(&mut self) {
        self.settle(|due, _| due.forgo());
    }

    fn settle(&mut self, each: impl Fn(Due, &Arc<dyn MessageSource>)) {
        if let Some(source) = &self.source {
            self.dues.drain(self.next.min(self.dues.len())..).for_each(|due| each(due, source));
        }
        self.clear();
    }

    /// Only memory is left.
    pub(super) fn clear(&mut self) {
        self.source = None;
        self.pack.clear();
        self.whole.clear();
        self.dues.clear();
        (self.count, self.next, self.size, self.parked) = (0, 0, 0, false);
    }

    /// The memory that it holds.
    pub(super) fn room(&self) -> usize {
        self.pack.room() + self.dues.capacity() * size_of::<Due>()
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.pack.len()
    }

    #[cfg(test)]
    pub(super) fn with_room(bytes: usize) -> Self {
        Self { pack: Pack::with_room(0, bytes), ..Self::default() }
    }

    /// Memory for messages that need so much, without much more.
    fn for_messages(messages: usize, bytes: usize) -> Self {
        let (messages, bytes) = (messages.next_power_of_two(), bytes.max(128).next_power_of_two());
        Self { pack: Pack::with_room(messages, bytes), ..Self::default() }
    }

    /// The memory that its messages need.
    fn used(&self) -> usize {
        self.pack.used() + self.dues.len() * size_of::<Due>()
    }

    /// Whether it holds much more memory than its messages need.
    pub(super) fn is_wasteful(&self) -> bool {
        self.room() > FEW && self.used() * 4 < self.room()
    }

    /// Moves the messages into the memory of `slim`.
    fn move_into(&mut self, slim: &mut Self) {
        slim.source = self.source.take();
        self.pack.move_into(&mut slim.pack);
        slim.whole.append(&mut self.whole);
        slim.dues.append(&mut self.dues);
        (slim.count, slim.next, slim.size) = (self.count, self.next, self.size);
        slim.droppable = self.droppable;
        self.clear();
    }
}

/// Whether a route may drop the message.
fn is_droppable(qos: QoS, inbound: &InboundMeta) -> bool {
    qos == QoS::AtMostOnce || !inbound.flow_controlled
}

/// Memory for batches, as far as somebody needs it.
#[derive(Default)]
pub(super) struct Spares {
    /// By their size: of at most 1 KiB, 2 KiB .. 32 KiB, and what is larger.
    pools: [Pool; POOLS],
    /// The memory in all of them.
    bytes: usize,
}

const POOLS: usize = 7;

#[derive(Default)]
struct Pool {
    batches: Vec<Batch>,
    /// How many of them nobody needed since the last look.
    unneeded: usize,
}

/// The memory that a thread keeps, in bytes.
pub(super) const SPARE_BYTES: usize = 1 << 20;

impl Spares {
    /// Memory for the messages of a read.
    pub(super) fn take(&mut self) -> Batch {
        let spare = self.pools.iter_mut().rev().find_map(Pool::take);
        self.taken(spare).unwrap_or_default()
    }

    /// Takes a full batch, and leaves memory for as many messages.
    pub(super) fn replace(&mut self, batch: &mut Batch) -> Batch {
        let mut next = self.take();
        if next.room() == 0 {
            next = Batch::for_messages(batch.count, batch.pack.len());
        }
        std::mem::replace(batch, next)
    }

    /// Memory for so many messages, with so many bytes.
    pub(super) fn take_for(&mut self, messages: usize, bytes: usize) -> Batch {
        // The smallest in which they fit for sure, or the next.
        let first = (pool_of(Pack::need(messages, bytes)) + 1).min(POOLS - 1);
        let spare = self.pools.iter_mut().skip(first).take(2).find_map(Pool::take);
        self.taken(spare).unwrap_or_else(|| Batch::for_messages(messages, bytes))
    }

    fn taken(&mut self, spare: Option<Batch>) -> Option<Batch> {
        self.bytes -= spare.as_ref().map_or(0, Batch::room);
        spare
    }

    /// Moves a few messages out of memory that was meant for many, which is left.
    pub(super) fn slim_down(&mut self, batch: &mut Batch) -> Batch {
        let mut slim = self.take_for(batch.count, batch.pack.len());
        batch.move_into(&mut slim);
        slim
    }

    /// Keeps the memory, unless there is enough.
    pub(super) fn put(&mut self, mut batch: Batch) {
        batch.clear();
        let room = batch.room();
        if room == 0 || self.bytes + room > SPARE_BYTES {
            return;
        }
        self.bytes += room;
        if let Some(pool) = self.pools.get_mut(pool_of(room)) {
            pool.batches.push(batch);
        }
    }

    /// Gives back what nobody needed since this was called last.
    pub(super) fn shrink(&mut self) {
        self.bytes -= self.pools.iter_mut().map(Pool::shrink).sum::<usize>();
    }

    #[cfg(test)]
    pub(super) fn held(&self) -> (usize, usize) {
        (self.pools.iter().map(|pool| pool.batches.len()).sum(), self.bytes)
    }
}

/// Where memory of that size is kept.
fn pool_of(room: usize) -> usize {
    let doubled = (room / 512).checked_ilog2().unwrap_or(0) as usize;
    doubled.min(POOLS - 1)
}

impl Pool {
    fn take(&mut self) -> Option<Batch> {
        let spare = self.batches.pop()?;
        self.unneeded = self.unneeded.min(self.batches.len());
        Some(spare)
    }

    /// How many bytes that were.
    fn shrink(&mut self) -> usize {
        let unneeded = self.unneeded.min(self.batches.len());
        let bytes = self.batches.drain(..unneeded).map(|batch| batch.room()).sum();
        self.unneeded = self.batches.len();
        if self.batches.is_empty() {
            self.batches = Vec::new();
        }
        bytes
    }
}

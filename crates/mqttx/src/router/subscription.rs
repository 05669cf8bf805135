//! The bounded queue of a route: order, capacity, overflow policy and parking, as plain data.

use std::collections::VecDeque;
use std::sync::Arc;

use mqttx_proto::QoS;

use super::done::Completion;
use super::{InboundMeta, MessageSource, Overflow};
use crate::message::Message;

/// Counted for each parked message besides its bytes, so that empty ones are bounded too.
const OVERHEAD: usize = 160;

/// Messages in order of arrival. Those at positions beyond the capacity are *parked*: their bytes
/// count on the session that they came from until they move up.
pub(super) struct Queue {
    items: VecDeque<Item>,
    capacity: usize,
    overflow: Overflow,
}

pub(super) struct Item {
    pub(super) message: Message,
    pub(super) completion: Completion,
    /// May be dropped by the policy.
    droppable: bool,
    /// Set while the item is parked: where its bytes count.
    parked: Option<Arc<dyn MessageSource>>,
}

impl Item {
    pub(super) fn new(message: Message, completion: Completion, inbound: &InboundMeta) -> Self {
        let droppable = message.qos() == QoS::AtMostOnce || !inbound.flow_controlled;
        Self { message, completion, droppable, parked: None }
    }

    fn cost(&self) -> usize {
        self.message.size() + OVERHEAD
    }
}

/// What [`Queue::push`] did with an item.
pub(super) enum Pushed {
    Queued,
    /// The item itself was dropped.
    DroppedNewest(Item),
    /// An older one made room for it.
    DroppedOldest(Item, Option<Unpark>),
    /// The session's inbound buffer has no room for the item.
    Shed(Item),
}

/// Bytes that stopped being parked; to be told to the source outside all locks.
#[must_use]
pub(super) struct Unpark {
    source: Arc<dyn MessageSource>,
    bytes: usize,
}

impl Unpark {
    pub(super) fn tell(self) {
        self.source.unpark(self.bytes);
    }

    /// Adds `other` if that is for the same source; else gives it back.
    fn merge(&mut self, other: Self) -> Option<Self> {
        if !Arc::ptr_eq(&self.source, &other.source) {
            return Some(other);
        }
        self.bytes += other.bytes;
        None
    }
}

/// Several, most of them for one source.
#[derive(Default)]
#[must_use]
pub(super) struct Unparks {
    last: Option<Unpark>,
    others: Vec<Unpark>,
}

impl Unparks {
    pub(super) fn add(&mut self, unpark: Option<Unpark>) {
        let Some(unpark) = unpark else { return };
        match &mut self.last {
            Some(last) => self.others.extend(last.merge(unpark)),
            none => *none = Some(unpark),
        }
    }

    pub(super) fn tell(self) {
        self.last.into_iter().chain(self.others).for_each(Unpark::tell);
    }
}

impl Queue {
    /// `capacity` of 0 counts as 1.
    pub(super) fn new(capacity: usize, overflow: Overflow) -> Self {
        Self { items: VecDeque::new(), capacity: capacity.max(1), overflow }
    }

    pub(super) fn push(
        &mut self,
        mut item: Item,
        source: &Arc<dyn MessageSource>,
        shed: bool,
    ) -> Pushed {
        if self.items.len() < self.capacity {
            self.items.push_back(item);
            return Pushed::Queued;
        }
        if item.droppable {
            match self.overflow {
                Overflow::DropNewest => return Pushed::DroppedNewest(item),
                Overflow::DropOldest => return self.replace_oldest(item),
                Overflow::Block if shed && item.message.qos() == QoS::AtMostOnce => {
                    return Pushed::Shed(item);
                }
                Overflow::Block => {}
            }
        }
        item.parked = Some(Arc::clone(source));
        source.park(item.cost());
        self.items.push_back(item);
        Pushed::Queued
    }

    /// [`push`](Self::push) where nothing is dropped.
    pub(super) fn push_or_park(&mut self, mut item: Item, source: &Arc<dyn MessageSource>) {
        if self.items.len() >= self.capacity {
            source.park(item.cost());
            item.parked = Some(Arc::clone(source));
        }
        self.items.push_back(item);
    }

    /// How many may be taken together: few enough that the capacity still means something, one where the policy needs to see
    /// all that are not handled.
    pub(super) fn handful(&self) -> usize {
        match self.overflow {
            Overflow::Block => (self.capacity / 8).clamp(1, 64),
            _ => 1,
        }
    }

    /// The next message to handle.
    pub(super) fn pop(&mut self) -> Option<(Item, Option<Unpark>)> {
        let item = self.items.pop_front()?;
        Some((item, self.moved_up()))
    }

    /// Everything, and what of it was parked.
    pub(super) fn drain(&mut self) -> Vec<(Item, Option<Unpark>)> {
        let items = std::mem::take(&mut self.items).into_iter();
        items
            .map(|mut item| {
                let unpark = item.unpark();
                (item, unpark)
            })
            .collect()
    }

    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    /// The oldest message that may go, goes; without one the new item does.
    fn replace_oldest(&mut self, item: Item) -> Pushed {
        let Some(at) = self.items.iter().position(|i| i.droppable) else {
            return Pushed::DroppedNewest(item);
        };
        let Some(oldest) = self.items.remove(at) else { return Pushed::DroppedNewest(item) };
        let unpark = self.moved_up();
        self.items.push_back(item);
        Pushed::DroppedOldest(oldest, unpark)
    }

    /// After a removal: the first parked item, if any, is inside the capacity now.
    fn moved_up(&mut self) -> Option<Unpark> {
        self.items.get_mut(self.capacity - 1)?.unpark()
    }
}

impl Item {
    fn unpark(&mut self) -> Option<Unpark> {
        let bytes = self.cost();
        self.parked.take().map(|source| Unpark { source, bytes })
    }
}

//! What a driver keeps for a read's worth of messages: matches that it found, and messages that their routes do not have yet.

use std::sync::Arc;

use mqttx_proto::packet::Publish;

use super::lot::{Lots, Read};
use super::subscription::Item;
use super::target::Target;
use super::{Arrival, Entry, InboundMeta, MessageSource};
use crate::message::Message;

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

    /// The read is through: routes get the rest of their messages. What was found is forgotten, since it keeps routes alive.
    pub(crate) fn finish(&mut self, source: &Arc<dyn MessageSource>) {
        self.outbox.flush(source);
        self.memo.clear();
    }

    /// A session of this thread is quiet: gives back the memory that was not needed since this was called last.
    pub(crate) fn shrink(&mut self) {
        self.outbox.shrink();
    }
}

/// The routes of the topics that came in this read.
#[derive(Default)]
pub(super) struct Memo {
    /// Of which router, and how often that had changed.
    stamp: (usize, u64),
    slots: Vec<Slot>,
    used: Vec<u8>,
}

#[derive(Default)]
struct Slot {
    topic: Vec<u8>,
    /// The subscription identifier that came with it, or 0.
    subscription: u32,
    entries: Vec<Entry>,
}

/// Topics that are remembered, at most.
const SLOTS: usize = 64;

/// Longer topics are looked up each time.
const LONGEST: usize = 256;

impl Memo {
    /// The slot of the message's topic; `None` where remembering does not help.
    pub(super) fn place(&mut self, stamp: (usize, u64), publish: &Publish<'_>) -> Option<Place> {
        if self.stamp != stamp {
            self.clear();
            self.stamp = stamp;
        }
        let mut ids = publish.properties.subscription_identifiers();
        let subscription = ids.next().unwrap_or(0);
        if ids.next().is_some() || publish.topic.len() > LONGEST {
            return None;
        }
        if self.slots.is_empty() {
            self.slots.resize_with(SLOTS, Slot::default);
        }
        Some(Place { index: index_of(publish.topic.as_bytes()), subscription })
    }

    /// The routes, if the place has this topic.
    pub(super) fn get(&self, place: &Place, topic: &str) -> Option<&[Entry]> {
        let slot = self.slots.get(usize::from(place.index))?;
        let known = !slot.entries.is_empty()
            && slot.subscription == place.subscription
            && slot.topic == topic.as_bytes();
        known.then_some(&slot.entries)
    }

    pub(super) fn put(&mut self, place: &Place, topic: &str, entries: &mut Vec<Entry>) {
        let Some(slot) = self.slots.get_mut(usize::from(place.index)) else { return };
        if slot.entries.is_empty() {
            self.used.push(place.index);
        }
        slot.topic.clear();
        slot.topic.extend_from_slice(topic.as_bytes());
        slot.subscription = place.subscription;
        std::mem::swap(&mut slot.entries, entries);
    }

    fn clear(&mut self) {
        for index in self.used.drain(..) {
            if let Some(slot) = self.slots.get_mut(usize::from(index)) {
                slot.entries.clear();
            }
        }
    }
}

/// Where a topic is remembered, if it is.
pub(super) struct Place {
    index: u8,
    subscription: u32,
}

/// The end of a topic tells topics apart better than its beginning.
fn index_of(topic: &[u8]) -> u8 {
    let mut last = [0; 8];
    let from = topic.len().saturating_sub(8);
    for (to, from) in last.iter_mut().zip(topic.get(from..).unwrap_or_default()) {
        *to = *from;
    }
    let mixed = (u64::from_le_bytes(last) ^ topic.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 58) as u8
}

/// Messages that routes get together: one lock and one wake-up for many.
#[derive(Default)]
pub(super) struct Outbox {
    pub(super) by_lot: Lots,
    lots: Vec<Lot>,
    /// Messages whose memory serves the next ones.
    spare: Vec<Message>,
    /// The room in them.
    spare_bytes: usize,
    /// How many of them nobody needed since the last look.
    unneeded: usize,
}

#[derive(Default)]
struct Lot {
    target: Option<Arc<Target>>,
    items: Vec<Item>,
}

/// Routes that are collected for at a time.
const LOTS: usize = 8;

/// Messages of a route that are collected before it gets them: its consumer works while more are read.
const LOT: usize = 64;

/// Messages whose memory a thread, or a busy route, keeps; each has room for at most 1 KiB.
pub(super) const SPARE: usize = 4096;

/// The room in those that a thread keeps, in bytes.
const SPARE_BYTES: usize = 1 << 20;

impl Outbox {
    /// A message in the memory of an old one.
    pub(super) fn message(&mut self, arrival: &Arrival<'_>) -> Message {
        match self.take_spare() {
            Some(old) => old.renew(arrival.publish, arrival.inbound, arrival.source.origin()),
            None => arrival.to_message(),
        }
    }

    fn take_spare(&mut self) -> Option<Message> {
        let spare = self.spare.pop()?;
        self.spare_bytes -= spare.room();
        self.unneeded = self.unneeded.min(self.spare.len());
        Some(spare)
    }

    /// Messages beyond the first `known` came back.
    fn count_spare(&mut self, known: usize) {
        let Self { spare, spare_bytes, .. } = self;
        let mut fits = known;
        for message in spare.iter().skip(known) {
            if *spare_bytes + message.room() > SPARE_BYTES {
                break;
            }
            *spare_bytes += message.room();
            fits += 1;
        }
        spare.truncate(fits);
    }

    pub(super) fn push(
        &mut self,
        target: &Arc<Target>,
        item: Item,
        source: &Arc<dyn MessageSource>,
    ) {
        let is_its = |lot: &Lot| lot.target.as_ref().is_some_and(|own| Arc::ptr_eq(own, target));
        let index = match self.lots.iter().position(is_its) {
            Some(index) => index,
            None => self.begin(target, source),
        };
        if let Some(lot) = self.lots.get_mut(index) {
            lot.items.push(item);
            if lot.items.len() >= LOT {
                let known = self.spare.len();
                target.enqueue_all(&mut lot.items, source, &mut self.spare);
                self.count_spare(known);
            }
        }
    }

    /// A lot for another route.
    fn begin(&mut self, target: &Arc<Target>, source: &Arc<dyn MessageSource>) -> usize {
        if let Some(free) = self.lots.iter().position(|lot| lot.target.is_none()) {
            self.lots[free].target = Some(Arc::clone(target));
            return free;
        }
        if self.lots.len() == LOTS {
            self.flush(source);
        }
        match self.lots.first_mut() {
            Some(lot) if lot.target.is_none() => {
                lot.target = Some(Arc::clone(target));
                0
            }
            _ => {
                self.lots.push(Lot { target: Some(Arc::clone(target)), items: Vec::new() });
                self.lots.len() - 1
            }
        }
    }

    fn shrink(&mut self) {
        let unneeded = self.unneeded.min(self.spare.len());
        self.spare_bytes -= self.spare.drain(..unneeded).map(|spare| spare.room()).sum::<usize>();
        self.unneeded = self.spare.len();
        if self.spare.is_empty() {
            self.spare = Vec::new();
        }
    }

    fn flush(&mut self, source: &Arc<dyn MessageSource>) {
        let known = self.spare.len();
        for lot in &mut self.lots {
            if let Some(target) = lot.target.take()
                && !lot.items.is_empty()
            {
                target.enqueue_all(&mut lot.items, source, &mut self.spare);
            }
        }
        self.count_spare(known);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use mqttx_proto::{PropertiesRef, QoS};

    use super::*;
    use crate::router::{InboundMeta, Origin};

    fn messages(payload: usize, count: usize) -> impl Iterator<Item = Message> {
        let payload = vec![b'x'; payload];
        let publish = Publish {
            dup: false,
            qos: QoS::AtMostOnce,
            retain: false,
            topic: "t",
            packet_id: None,
            properties: PropertiesRef::EMPTY,
            payload: &payload,
        };
        let now = Instant::now();
        let inbound =
            InboundMeta { ticket: None, received_at: now, flow_controlled: false, shed: false };
        let origin = Arc::new(Origin::new("s".into(), now));
        let all: Vec<_> = (0..count).map(|_| Message::new(&publish, &inbound, &origin)).collect();
        all.into_iter()
    }

    /// As if routes had handled so many messages.
    fn come_back(outbox: &mut Outbox, payload: usize, count: usize) {
        let known = outbox.spare.len();
        outbox.spare.extend(messages(payload, count));
        outbox.count_spare(known);
    }

    #[test]
    fn memory_that_nobody_needs_is_given_back() {
        let mut outbox = Outbox::default();
        come_back(&mut outbox, 1, 100);
        outbox.shrink();
        assert_eq!(outbox.spare.len(), 100, "nobody knows yet what is needed");
        // A busy time: up to forty at once.
        for _ in 0..40 {
            outbox.take_spare().expect("one of a hundred");
        }
        come_back(&mut outbox, 1, 40);
        outbox.shrink();
        assert_eq!(outbox.spare.len(), 40);
        // A quiet one.
        outbox.shrink();
        assert_eq!((outbox.spare.capacity(), outbox.spare_bytes), (0, 0));
        assert!(outbox.take_spare().is_none());
    }

    #[test]
    fn a_thread_keeps_one_mebibyte_and_no_more() {
        let mut outbox = Outbox::default();
        come_back(&mut outbox, 1000, 1500);
        assert_eq!((outbox.spare.len(), outbox.spare_bytes), (1024, SPARE_BYTES));
        come_back(&mut outbox, 1, 10);
        assert_eq!(outbox.spare.len(), 1024);
        outbox.take_spare().expect("one of many");
        come_back(&mut outbox, 1, 100);
        assert_eq!((outbox.spare.len(), outbox.spare_bytes), (1023 + 16, SPARE_BYTES));
    }
}

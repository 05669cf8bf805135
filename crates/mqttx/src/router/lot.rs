//! Messages that a route gets together, where they lie in the read buffer.

use std::sync::Arc;

use mqttx_proto::Inbound;
use mqttx_proto::packet::Publish;

use super::done::Due;
use super::row::Row;
use super::{Arrival, InboundMeta, MessageSource, Origin, Target};
use crate::message::Message;

/// Takes messages by the lot, on the turn of the driver that read them. It must not block.
pub(crate) trait LotHandler: Send + Sync {
    /// Takes all of `items`, in their order. It acknowledges them itself, to the session that they came from.
    fn take(&self, lot: &Lot<'_>, items: &mut Vec<LotItem>);
    /// Nothing came for a while: gives back what it keeps for the next messages.
    fn shrink(&self);
}

/// One message of a lot.
pub(crate) struct LotItem {
    /// Where it is in the read.
    pub(crate) index: u32,
    pub(crate) due: Due,
}

/// What the messages of a lot have in common.
#[derive(Clone, Copy)]
pub(crate) struct Lot<'a> {
    pub(crate) read: Read<'a>,
    pub(crate) inbound: &'a InboundMeta,
    pub(crate) origin: &'a Arc<Origin>,
}

impl Lot<'_> {
    /// An owned copy of a message, in the memory of `old` if that has room.
    pub(crate) fn message(&self, publish: &Publish<'_>, old: Option<Message>) -> Message {
        match old {
            Some(old) => old.renew(publish, self.inbound, self.origin),
            None => Message::new(publish, self.inbound, self.origin),
        }
    }
}

/// Messages that were read together.
#[derive(Clone, Copy)]
pub(crate) enum Read<'a> {
    Many(&'a [Inbound<'a>]),
    One(&'a Publish<'a>),
}

impl Read<'_> {
    /// The message with that index.
    pub(crate) fn get(&self, index: u32) -> Option<Publish<'_>> {
        match self {
            Self::Many(messages) => messages.get(index as usize).map(Inbound::publish),
            Self::One(publish) => Some(**publish),
        }
    }
}

/// Messages that are dispatched before their routes get their lots.
pub(crate) const LOT: usize = 64;

/// The lots that the dispatch fills.
#[derive(Default)]
pub(super) struct Lots {
    /// The index of the next message in its read.
    pub(super) index: u32,
    places: Vec<Place>,
    used: usize,
    /// Where the place of the next message's route is, if the routes come in the same order again.
    next: usize,
    /// For a lot of one message.
    single: Vec<LotItem>,
}

#[derive(Default)]
struct Place {
    target: Option<Arc<Target>>,
    items: Vec<LotItem>,
}

/// Routes that are collected for at a time; others get their messages one by one.
const ROUTES: usize = 64;

impl Lots {
    /// Keeps a message for its route until the lot is handed over.
    pub(super) fn push(
        &mut self,
        target: &Arc<Target>,
        handler: &dyn LotHandler,
        due: Due,
        arrival: &Arrival<'_>,
    ) {
        let (index, used) = (self.index, self.used);
        let at = self.place_of(target);
        if at == ROUTES {
            let (read, origin) = (Read::One(arrival.publish), arrival.source.origin());
            let lot = Lot { read, inbound: arrival.inbound, origin };
            self.single.push(LotItem { index: 0, due });
            handler.take(&lot, &mut self.single);
            return self.single.clear();
        }
        self.next = at + 1;
        if at == self.places.len() {
            self.places.push(Place::default());
        }
        if let Some(place) = self.places.get_mut(at) {
            if at == used {
                self.used += 1;
                place.target = Some(Arc::clone(target));
            }
            place.items.push(LotItem { index, due });
        }
    }

    /// The same for messages behind the one that was kept last, of the same route; how many.
    pub(super) fn push_row(&mut self, target: &Arc<Target>, row: &Row<'_>) -> usize {
        let (at, first) = (self.place_of(target), self.index + 1);
        // A route without a place gets its messages one by one.
        let Some(place) = self.places.get_mut(at).filter(|_| at < self.used) else { return 0 };
        place.items.extend((first..).zip(row.messages).map(|(index, message)| LotItem {
            index,
            due: message.ticket.map_or(Due::Nothing, Due::One),
        }));
        row.messages.len()
    }

    /// The place of a route; without one, the next that is free.
    fn place_of(&self, target: &Arc<Target>) -> usize {
        let is_its =
            |place: &Place| place.target.as_ref().is_some_and(|own| Arc::ptr_eq(own, target));
        let next = if self.next < self.used { self.next } else { 0 };
        if self.places.get(next).is_some_and(is_its) {
            return next;
        }
        self.places.iter().take(self.used).position(is_its).unwrap_or(self.used)
    }

    /// Every route gets its lot.
    pub(super) fn hand_over(
        &mut self,
        read: Read<'_>,
        inbound: &InboundMeta,
        source: &Arc<dyn MessageSource>,
    ) {
        for place in self.places.iter_mut().take(std::mem::take(&mut self.used)) {
            let Some(target) = place.target.take() else { continue };
            target.take_lot(&Lot { read, inbound, origin: source.origin() }, &mut place.items);
            place.items.clear();
        }
    }
}

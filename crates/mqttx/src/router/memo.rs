//! The routes of the topics of a read: looked up once, and the same for topics that are alike.

use std::sync::Arc;

use mqttx_proto::packet::Publish;
use mqttx_proto::{Inbound, Likeness, PropertiesRef};

use super::Entry;
use super::row::Row;
use super::target::Target;

/// The routes of the topics that came in this read.
#[derive(Default)]
pub(super) struct Memo {
    /// Of which router, and how often that had changed.
    stamp: (usize, u64),
    slots: Vec<Slot>,
    used: Vec<u8>,
}

struct Slot {
    topic: Vec<u8>,
    /// The subscription identifier that came with it, or 0.
    subscription: u32,
    entries: Vec<Entry>,
    /// The topics that have the same ones.
    alike: Likeness,
}

/// Topics that are remembered, at most.
const SLOTS: usize = 64;

/// Longer topics are looked up each time.
const LONGEST: usize = 256;

impl Memo {
    /// How often the routes had changed that are remembered.
    pub(super) fn changes(&self) -> u64 {
        self.stamp.1
    }

    /// The slot of the message's topic; `None` where remembering does not help.
    pub(super) fn place<'a>(
        &mut self,
        stamp: (usize, u64),
        publish: &Publish<'a>,
        run: &mut Run<'a>,
    ) -> Option<Place> {
        if self.stamp != stamp {
            self.clear();
            self.stamp = stamp;
            run.last = None;
        }
        let mut subscription = 0;
        if !publish.properties.is_empty() {
            let mut ids = publish.properties.subscription_identifiers();
            subscription = ids.next().unwrap_or(0);
            if ids.next().is_some() {
                return None;
            }
        }
        if let Some(last) = &run.last
            && last.subscription == subscription
            && last.is_like(publish.topic)
        {
            return Some(Place { index: last.index, subscription, is_last: true });
        }
        if publish.topic.len() > LONGEST {
            return None;
        }
        if self.slots.is_empty() {
            self.slots.resize_with(SLOTS, Slot::empty);
        }
        let index = index_of(publish.topic.as_bytes());
        Some(Place { index, subscription, is_last: false })
    }

    /// The routes, if the place has this topic.
    pub(super) fn get(&self, place: &Place, topic: &str) -> Option<(&[Entry], Likeness)> {
        let slot = self.slots.get(usize::from(place.index))?;
        let known = !slot.entries.is_empty()
            && (place.is_last
                || slot.subscription == place.subscription && slot.topic == topic.as_bytes());
        known.then_some((&slot.entries, slot.alike))
    }

    /// The one route of the message dispatched last.
    pub(super) fn only(&self, stamp: (usize, u64), run: &Run<'_>) -> Option<&Arc<Target>> {
        let last = run.last.as_ref().filter(|last| last.together && self.stamp == stamp)?;
        match self.slots.get(usize::from(last.index))?.entries.as_slice() {
            [only] => Some(&only.target),
            _ => None,
        }
    }

    pub(super) fn put(
        &mut self,
        place: &Place,
        topic: &str,
        entries: &mut Vec<Entry>,
        alike: Likeness,
    ) {
        let Some(slot) = self.slots.get_mut(usize::from(place.index)) else { return };
        if slot.entries.is_empty() {
            self.used.push(place.index);
        }
        slot.topic.clear();
        slot.topic.extend_from_slice(topic.as_bytes());
        (slot.subscription, slot.alike) = (place.subscription, alike);
        std::mem::swap(&mut slot.entries, entries);
    }

    pub(super) fn clear(&mut self) {
        for index in self.used.drain(..) {
            if let Some(slot) = self.slots.get_mut(usize::from(index)) {
                slot.entries.clear();
            }
        }
    }
}

impl Slot {
    fn empty() -> Self {
        let alike = Likeness::whole("");
        Self { topic: Vec::new(), subscription: 0, entries: Vec::new(), alike }
    }
}

/// Where a topic is remembered, if it is.
pub(super) struct Place {
    index: u8,
    subscription: u32,
    /// The message before was of this topic, or of one that is like it: it is remembered, and there.
    is_last: bool,
}

/// Messages that follow each other in one read, and have the same routes.
#[derive(Default)]
pub(crate) struct Run<'a> {
    /// What was read.
    input: &'a [u8],
    /// Topic and place of the message before, if that is remembered.
    last: Option<Last<'a>>,
    /// Messages are held that came before, since routes that had changed so often took none of them.
    held: Option<u64>,
}

struct Last<'a> {
    /// The topic whose routes were looked for.
    topic: &'a str,
    /// The topics that have the same ones.
    alike: Likeness,
    subscription: u32,
    index: u8,
    properties: PropertiesRef<'a>,
    /// Its one route takes messages together.
    together: bool,
}

impl<'a> Run<'a> {
    pub(crate) fn of(input: &'a [u8]) -> Self {
        Self { input, last: None, held: None }
    }

    /// Messages are held, with routes that had changed so often: once they change again, nothing is dispatched.
    pub(crate) fn hold(&mut self, routes: Option<u64>) {
        self.held = routes;
    }

    /// Whether the messages that are held come first now.
    pub(super) fn is_outrun(&self, routes: u64) -> bool {
        self.held.is_some_and(|held| held != routes)
    }

    /// The message has its routes from there, or the place has them from it.
    pub(super) fn was_at(
        &mut self,
        place: &Place,
        publish: &Publish<'a>,
        routes: &[Entry],
        alike: Likeness,
    ) {
        let (topic, properties) = (publish.topic, publish.properties);
        match &mut self.last {
            Some(last) if place.is_last => last.properties = properties,
            last => {
                let Place { index, subscription, .. } = *place;
                let together = matches!(routes, [only] if only.target.takes_rows());
                *last = Some(Last { topic, alike, subscription, index, properties, together });
            }
        }
    }

    /// The messages at the front of `next` that have the routes of the last one, and its properties, if there is one and its route
    /// takes messages together.
    pub(super) fn row(&self, next: &'a [Inbound<'a>]) -> Option<Row<'a>> {
        let last = self.last.as_ref().filter(|last| last.together)?;
        let properties = last.properties;
        let mut before = last.topic;
        let is_same = |message: &&'a Inbound<'a>| {
            let publish = message.publish();
            let topic = publish.topic;
            let is_like = std::ptr::eq(topic, before) || last.is_like(topic);
            before = topic;
            is_like
                && (std::ptr::eq(publish.properties.as_bytes(), properties.as_bytes())
                    || publish.properties.is_empty() && properties.is_empty())
        };
        let messages = next.get(..next.iter().take_while(is_same).count())?;
        (!messages.is_empty()).then_some(Row { input: self.input, properties, messages })
    }

    /// The message is remembered nowhere.
    pub(super) fn breaks(&mut self) {
        self.last = None;
    }
}

impl Last<'_> {
    /// The core gives messages of one topic in a row the same piece of the read for it: that needs no look at its bytes.
    fn is_like(&self, topic: &str) -> bool {
        std::ptr::eq(self.topic, topic) || self.alike.covers(self.topic, topic)
    }
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

//! Small messages on their way to a route, behind each other in one piece of memory, and a message as it lies there.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use mqttx_proto::packet::Publish;
use mqttx_proto::{Inbound, PacketId, QoS};

use super::body::{Block, CLASSES, Content, Ends, Meta, SMALL, class_of};
use crate::router::{Origin, Row};

/// Messages that arrived at the same time, in their order.
#[derive(Default)]
pub(crate) struct Pack {
    /// When that was; `None` while there are none.
    received_at: Option<Instant>,
    entries: Vec<Entry>,
    bytes: Vec<u8>,
}

/// What is known of a message. It is as small as it can be: there is one for each that waits.
#[derive(Clone, Copy)]
struct Entry {
    /// Where its topic begins. Messages of one topic in a row share that.
    topic: u16,
    /// Where its properties begin. Messages of a row share these.
    properties: u16,
    /// Where its payload begins; [`ELSEWHERE`]: not in the pack.
    payload: u16,
    topic_len: u16,
    properties_len: u16,
    payload_len: u16,
    packet_id: Option<PacketId>,
    /// As in the first byte of a PUBLISH, section 3.3.1.
    flags: u8,
}

const ELSEWHERE: u16 = u16::MAX;

const NOTHING: Entry = Entry {
    topic: 0,
    properties: 0,
    payload: 0,
    topic_len: 0,
    properties_len: 0,
    payload_len: 0,
    packet_id: None,
    flags: 0,
};

/// Bytes that may lie between two payloads of a row without being copied by themselves, besides the topic.
const GAP: usize = 32;

const _: () = assert!(SMALL <= u16::MAX as usize && size_of::<Entry>() == 16);

impl Pack {
    /// Whether a message of that time may come into it.
    pub(crate) fn is_of(&self, received_at: Instant) -> bool {
        self.received_at.is_none_or(|own| own == received_at)
    }

    /// Copies a message into it; `false`: there is no place for it, and it has nothing but its number here.
    pub(crate) fn push(&mut self, publish: &Publish<'_>, received_at: Instant) -> bool {
        self.received_at = Some(received_at);
        let (topic, properties) = (publish.topic.as_bytes(), publish.properties.as_bytes());
        let head_len = topic.len() + properties.len();
        let total = head_len + publish.payload.len();
        let head = self.bytes.len();
        let fits = total <= SMALL && head + total < ELSEWHERE.into();
        if fits {
            self.bytes.reserve(total);
            self.bytes.extend_from_slice(topic);
            if !properties.is_empty() {
                self.bytes.extend_from_slice(properties);
            }
            self.bytes.extend_from_slice(publish.payload);
        }
        let payload = if fits { (head + head_len) as u16 } else { ELSEWHERE };
        let (topic, properties) = (head as u16, (head + topic.len()) as u16);
        self.entries.push(Entry { topic, properties, payload, ..Entry::of(publish) });
        fits
    }

    /// Copies messages from the front of a row, at most `most`, and up to `bytes` where that is more than one: the first topic and the
    /// properties, and the payloads with what lies between them in one go, where other topics are. Returns how many, and the bytes of
    /// topics, properties and payloads.
    pub(crate) fn extend(
        &mut self,
        row: &Row<'_>,
        most: usize,
        bytes: usize,
        received_at: Instant,
    ) -> (usize, usize) {
        let nothing = (0, 0);
        let properties = row.properties.as_bytes();
        let Some(first) = row.messages.first().map(Inbound::publish) else { return nothing };
        let topic = first.topic.as_bytes();
        let start = row.place_of(first.payload);
        let (mut count, mut end, mut size, mut before) = (0, start, 0, topic);
        for message in row.messages.iter().take(most) {
            let Publish { topic, payload, .. } = message.publish();
            let topic = topic.as_bytes();
            let head_len = topic.len() + properties.len();
            let place = row.place_of(payload);
            let until = place.wrapping_add(payload.len());
            let is_near = place.wrapping_sub(end) <= GAP + head_len
                && (std::ptr::eq(topic, before) || row.place_of(topic).wrapping_sub(end) <= GAP);
            let is_much = count > 0 && until - start > bytes;
            if !is_near || is_much || head_len + payload.len() > SMALL {
                break;
            }
            (count, end, before) = (count + 1, until, topic);
            size += head_len + payload.len();
        }
        let (Some(packets), Some(messages)) =
            (row.input.get(start..end), row.messages.get(..count))
        else {
            return nothing;
        };
        let head = self.bytes.len();
        let head_len = topic.len() + properties.len();
        if head + head_len + packets.len() >= ELSEWHERE.into() {
            return nothing;
        }
        self.received_at = Some(received_at);
        self.bytes.reserve(head_len + packets.len());
        self.bytes.extend_from_slice(topic);
        self.bytes.extend_from_slice(properties);
        self.bytes.extend_from_slice(packets);
        let to_pack = (head + head_len).wrapping_sub(start);
        let (mut topic_at, mut before) = (head as u16, topic);
        let properties = (head + topic.len()) as u16;
        self.entries.extend(messages.iter().map(|message| {
            let publish = message.publish();
            if !std::ptr::eq(publish.topic.as_bytes(), before) {
                before = publish.topic.as_bytes();
                topic_at = row.place_of(before).wrapping_add(to_pack) as u16;
            }
            let payload = row.place_of(publish.payload).wrapping_add(to_pack) as u16;
            Entry { topic: topic_at, properties, payload, ..Entry::of(&publish) }
        }));
        (count, size)
    }

    /// The message with that place; `None`: it is not in the pack.
    pub(crate) fn get(&self, index: usize) -> Option<Packed<'_>> {
        let entry = self.entries.get(index).filter(|entry| entry.payload != ELSEWHERE)?;
        Some(self.packed(entry, self.received_at?))
    }

    fn packed(&self, entry: &Entry, received_at: Instant) -> Packed<'_> {
        Packed {
            meta: entry.meta(received_at),
            ends: entry.ends(),
            topic: self.part(entry.topic, entry.topic_len),
            properties: self.part(entry.properties, entry.properties_len),
            payload: self.part(entry.payload, entry.payload_len),
        }
    }

    fn part(&self, from: u16, len: u16) -> &[u8] {
        let from = usize::from(from);
        self.bytes.get(from..from + usize::from(len)).unwrap_or_default()
    }

    /// Bytes of all messages that are in it.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The memory that its messages need.
    pub(crate) fn used(&self) -> usize {
        Self::need(self.entries.len(), self.bytes.len())
    }

    /// The memory that it holds.
    pub(crate) fn room(&self) -> usize {
        Self::need(self.entries.capacity(), self.bytes.capacity())
    }

    /// The memory that so many messages need.
    pub(crate) fn need(messages: usize, bytes: usize) -> usize {
        messages * size_of::<Entry>() + bytes
    }

    pub(crate) fn with_room(messages: usize, bytes: usize) -> Self {
        let (entries, bytes) = (Vec::with_capacity(messages), Vec::with_capacity(bytes));
        Self { received_at: None, entries, bytes }
    }

    /// Moves the messages into the memory of `slim`.
    pub(crate) fn move_into(&mut self, slim: &mut Self) {
        slim.received_at = self.received_at;
        slim.entries.append(&mut self.entries);
        slim.bytes.extend_from_slice(&self.bytes);
        self.clear();
    }

    /// Only memory is left.
    pub(crate) fn clear(&mut self) {
        self.received_at = None;
        self.entries.clear();
        self.bytes.clear();
    }
}

impl Entry {
    /// All but where its parts are.
    fn of(publish: &Publish<'_>) -> Self {
        let Publish { qos, retain, dup, packet_id, .. } = *publish;
        Self {
            topic_len: publish.topic.len() as u16,
            properties_len: publish.properties.as_bytes().len() as u16,
            payload_len: publish.payload.len() as u16,
            packet_id,
            flags: u8::from(dup) << 3 | (qos as u8) << 1 | u8::from(retain),
            ..NOTHING
        }
    }

    fn meta(&self, received_at: Instant) -> Meta {
        let Self { flags, packet_id, .. } = *self;
        let qos = QoS::from_u8(flags >> 1 & 0b11).unwrap_or_default();
        let (dup, retain) = (flags >> 3 & 1 == 1, flags & 1 == 1);
        Meta { qos, retain, dup, packet_id, received_at }
    }

    fn ends(&self) -> Ends {
        let topic = u32::from(self.topic_len);
        let properties = topic + u32::from(self.properties_len);
        Ends { topic, properties, payload: properties + u32::from(self.payload_len) }
    }
}

/// A message in a pack.
pub(crate) struct Packed<'a> {
    meta: Meta,
    ends: Ends,
    topic: &'a [u8],
    properties: &'a [u8],
    payload: &'a [u8],
}

impl Packed<'_> {
    /// The class of memory that it needs.
    pub(crate) fn class(&self) -> usize {
        class_of(self.ends.payload as usize).unwrap_or(CLASSES)
    }
}

impl Content for Packed<'_> {
    fn meta(&self) -> Meta {
        self.meta
    }

    fn ends(&self) -> Ends {
        self.ends
    }

    fn write(&self, room: &mut [u8]) {
        let (topic, rest) = room.split_at_mut(self.topic.len());
        topic.copy_from_slice(self.topic);
        let (properties, payload) = rest.split_at_mut(self.properties.len());
        // To copy nothing is a call, too.
        if !properties.is_empty() {
            properties.copy_from_slice(self.properties);
        }
        payload.copy_from_slice(self.payload);
    }

    fn to_boxed(&self) -> Box<[u8]> {
        [self.topic, self.properties, self.payload].concat().into_boxed_slice()
    }
}

/// The messages of a pack as a callback sees them, one after the other: where they lie. Who keeps one gets a copy, which all clones
/// of the message share.
pub(crate) struct Lent {
    origin: Arc<Origin>,
    pack: Pack,
    received_at: Instant,
    /// The one that it shows.
    entry: Entry,
    copy: OnceLock<Block>,
    /// Memory of copies that nobody has any more.
    spares: Mutex<[Option<Block>; CLASSES]>,
}

impl Lent {
    pub(super) fn new(origin: &Arc<Origin>) -> Self {
        Self {
            origin: Arc::clone(origin),
            pack: Pack::default(),
            received_at: Instant::now(),
            entry: NOTHING,
            copy: OnceLock::new(),
            spares: Mutex::default(),
        }
    }

    /// The messages of another pack, which gets the memory of those before.
    pub(super) fn exchange(&mut self, pack: &mut Pack, origin: &Arc<Origin>) {
        self.pack.clear();
        std::mem::swap(&mut self.pack, pack);
        self.received_at = self.pack.received_at.unwrap_or(self.received_at);
        // Counting handles on what two threads use costs more than this look.
        if !Arc::ptr_eq(&self.origin, origin) {
            self.origin = Arc::clone(origin);
        }
    }

    /// Shows the message with that place; `false`: it is not in the pack.
    pub(super) fn show(&mut self, index: usize) -> bool {
        if self.copy.get().is_some() {
            self.reclaim();
        }
        let Some(entry) = self.pack.entries.get(index).filter(|entry| entry.payload != ELSEWHERE)
        else {
            return false;
        };
        self.entry = *entry;
        true
    }

    /// The memory of a copy serves another, if nobody has it any more.
    #[cold]
    fn reclaim(&mut self) {
        let Some(mut copy) = self.copy.take() else { return };
        let spares = self.spares.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(spare) = copy.class().and_then(|class| spares.get_mut(class))
            && copy.is_reusable()
        {
            *spare = Some(copy);
        }
    }

    /// The message as one that may be kept.
    pub(super) fn copy(&self) -> &Block {
        self.copy.get_or_init(|| {
            let packed = self.pack.packed(&self.entry, self.received_at);
            let spare = {
                let mut spares = self.spares.lock().unwrap_or_else(PoisonError::into_inner);
                spares.get_mut(packed.class()).and_then(Option::take)
            };
            let filled =
                spare.and_then(|mut spare| spare.refill(&packed, &self.origin).then_some(spare));
            filled.unwrap_or_else(|| Block::new(&packed, &self.origin))
        })
    }

    pub(super) fn origin(&self) -> &Arc<Origin> {
        &self.origin
    }

    pub(super) fn meta(&self) -> Meta {
        self.entry.meta(self.received_at)
    }

    pub(super) fn len(&self) -> usize {
        self.entry.ends().payload as usize
    }

    pub(super) fn topic(&self) -> &[u8] {
        self.pack.part(self.entry.topic, self.entry.topic_len)
    }

    pub(super) fn properties(&self) -> &[u8] {
        self.pack.part(self.entry.properties, self.entry.properties_len)
    }

    pub(super) fn payload(&self) -> &[u8] {
        self.pack.part(self.entry.payload, self.entry.payload_len)
    }
}

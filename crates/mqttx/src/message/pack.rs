//! Small messages on their way to a route, behind each other in one piece of memory, and a message as it lies there.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use mqttx_proto::packet::Publish;
use mqttx_proto::{PacketId, QoS};

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
    /// Where its topic begins, with the properties behind it. Messages of a row share that.
    head: u16,
    /// Where its payload begins; [`ELSEWHERE`]: not in the pack.
    payload: u16,
    topic_len: u16,
    properties_len: u16,
    payload_len: u16,
    packet_id: Option<PacketId>,
    qos: QoS,
    retain: bool,
    dup: bool,
}

const ELSEWHERE: u16 = u16::MAX;

const NOTHING: Entry = Entry {
    head: 0,
    payload: 0,
    topic_len: 0,
    properties_len: 0,
    payload_len: 0,
    packet_id: None,
    qos: QoS::AtMostOnce,
    retain: false,
    dup: false,
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
        self.entries.push(Entry { payload, ..Entry::of(publish, head) });
        fits
    }

    /// Copies messages from the front of a row, at most `most`, and up to `bytes` where that is more than one: topic and
    /// properties once, and the payloads with what lies between them in one go. Returns how many, and the bytes of their payloads.
    pub(crate) fn extend(
        &mut self,
        row: &Row<'_>,
        most: usize,
        bytes: usize,
        received_at: Instant,
    ) -> (usize, usize) {
        let nothing = (0, 0);
        let (topic, properties) = (row.topic.as_bytes(), row.properties.as_bytes());
        let head_len = topic.len() + properties.len();
        let gap = GAP + head_len;
        let Some(first) = row.messages.first() else { return nothing };
        let start = row.place_of(first);
        let (mut count, mut end, mut payloads) = (0, start, 0);
        for message in row.messages.iter().take(most) {
            let (place, len) = (row.place_of(message), message.publish().payload.len());
            let until = place.wrapping_add(len);
            let far = place.wrapping_sub(end) > gap || (count > 0 && until - start > bytes);
            if far || head_len + len > SMALL {
                break;
            }
            (count, end, payloads) = (count + 1, until, payloads + len);
        }
        let (Some(packets), Some(messages)) =
            (row.input.get(start..end), row.messages.get(..count))
        else {
            return nothing;
        };
        let head = self.bytes.len();
        if head + head_len + packets.len() >= ELSEWHERE.into() {
            return nothing;
        }
        self.received_at = Some(received_at);
        self.bytes.reserve(head_len + packets.len());
        self.bytes.extend_from_slice(topic);
        self.bytes.extend_from_slice(properties);
        self.bytes.extend_from_slice(packets);
        let to_pack = (head + head_len).wrapping_sub(start);
        self.entries.extend(messages.iter().map(|message| {
            let payload = row.place_of(message).wrapping_add(to_pack) as u16;
            Entry { payload, ..Entry::of(&message.publish(), head) }
        }));
        (count, payloads)
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
            head: self.part(entry.head, entry.topic_len + entry.properties_len),
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
    /// All but where its payload is.
    fn of(publish: &Publish<'_>, head: usize) -> Self {
        Self {
            head: head as u16,
            topic_len: publish.topic.len() as u16,
            properties_len: publish.properties.as_bytes().len() as u16,
            payload_len: publish.payload.len() as u16,
            packet_id: publish.packet_id,
            qos: publish.qos,
            retain: publish.retain,
            dup: publish.dup,
            ..NOTHING
        }
    }

    fn meta(&self, received_at: Instant) -> Meta {
        let Self { qos, retain, dup, packet_id, .. } = *self;
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
    /// Topic and properties.
    head: &'a [u8],
    payload: &'a [u8],
}

impl Packed<'_> {
    /// The class of memory that it needs.
    pub(crate) fn class(&self) -> usize {
        class_of(self.head.len() + self.payload.len()).unwrap_or(CLASSES)
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
        let (head, payload) = room.split_at_mut(self.head.len());
        head.copy_from_slice(self.head);
        payload.copy_from_slice(self.payload);
    }

    fn to_boxed(&self) -> Box<[u8]> {
        [self.head, self.payload].concat().into_boxed_slice()
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
        self.pack.part(self.entry.head, self.entry.topic_len)
    }

    pub(super) fn properties(&self) -> &[u8] {
        self.pack.part(self.entry.head + self.entry.topic_len, self.entry.properties_len)
    }

    pub(super) fn payload(&self) -> &[u8] {
        self.pack.part(self.entry.payload, self.entry.payload_len)
    }
}

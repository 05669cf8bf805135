//! Small messages on their way to a route, behind each other in one piece of memory, and a message as it lies there.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use mqttx_proto::packet::Publish;
use mqttx_proto::{PacketId, QoS};

use super::body::{Block, CLASSES, Content, Ends, Meta, SMALL, class_of};
use crate::router::Origin;

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
    /// Where its bytes begin; [`ELSEWHERE`]: not in the pack.
    at: u32,
    /// Where topic, properties and payload end, from there on.
    ends: [u16; 3],
    packet_id: Option<PacketId>,
    qos: QoS,
    retain: bool,
    dup: bool,
}

const ELSEWHERE: u32 = u32::MAX;

const NOTHING: Entry =
    Entry { at: 0, ends: [0; 3], packet_id: None, qos: QoS::AtMostOnce, retain: false, dup: false };

const _: () = assert!(SMALL <= u16::MAX as usize && size_of::<Entry>() == 16);

impl Pack {
    /// Whether a message of that time may come into it.
    pub(crate) fn is_of(&self, received_at: Instant) -> bool {
        self.received_at.is_none_or(|own| own == received_at)
    }

    /// Copies a message into it; `false`: it is too large, and has nothing but its place here.
    pub(crate) fn push(&mut self, publish: &Publish<'_>, received_at: Instant) -> bool {
        self.received_at = Some(received_at);
        let (topic, properties) = (publish.topic.as_bytes(), publish.properties.as_bytes());
        let total = topic.len() + properties.len() + publish.payload.len();
        let fits = total <= SMALL;
        let at = if fits { self.bytes.len() as u32 } else { ELSEWHERE };
        if fits {
            self.bytes.reserve(total);
            self.bytes.extend_from_slice(topic);
            if !properties.is_empty() {
                self.bytes.extend_from_slice(properties);
            }
            self.bytes.extend_from_slice(publish.payload);
        }
        let behind = topic.len() + properties.len();
        self.entries.push(Entry {
            at,
            ends: [topic.len() as u16, behind as u16, total as u16],
            packet_id: publish.packet_id,
            qos: publish.qos,
            retain: publish.retain,
            dup: publish.dup,
        });
        fits
    }

    /// The message with that place; `None`: it is not in the pack.
    pub(crate) fn get(&self, index: usize) -> Option<Packed<'_>> {
        let entry = self.entries.get(index).filter(|entry| entry.at != ELSEWHERE)?;
        let bytes = self.part(entry, 0, entry.ends[2]);
        Some(Packed { meta: entry.meta(self.received_at?), ends: entry.ends(), bytes })
    }

    fn part(&self, entry: &Entry, from: u16, to: u16) -> &[u8] {
        let at = entry.at as usize;
        self.bytes.get(at + usize::from(from)..at + usize::from(to)).unwrap_or_default()
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
    fn meta(&self, received_at: Instant) -> Meta {
        let Self { qos, retain, dup, packet_id, .. } = *self;
        Meta { qos, retain, dup, packet_id, received_at }
    }

    fn ends(&self) -> Ends {
        let [topic, properties, payload] = self.ends.map(u32::from);
        Ends { topic, properties, payload }
    }
}

/// A message whose topic, properties and payload lie behind each other.
pub(crate) struct Packed<'a> {
    meta: Meta,
    ends: Ends,
    bytes: &'a [u8],
}

impl Packed<'_> {
    /// The class of memory that it needs.
    pub(crate) fn class(&self) -> usize {
        class_of(self.bytes.len()).unwrap_or(CLASSES)
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
        room.copy_from_slice(self.bytes);
    }

    fn to_boxed(&self) -> Box<[u8]> {
        self.bytes.into()
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
        let Some(entry) = self.pack.entries.get(index).filter(|entry| entry.at != ELSEWHERE) else {
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
            let bytes = self.pack.part(&self.entry, 0, self.entry.ends[2]);
            let packed = Packed { meta: self.meta(), ends: self.entry.ends(), bytes };
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
        self.entry.ends[2].into()
    }

    pub(super) fn topic(&self) -> &[u8] {
        self.pack.part(&self.entry, 0, self.entry.ends[0])
    }

    pub(super) fn properties(&self) -> &[u8] {
        self.pack.part(&self.entry, self.entry.ends[0], self.entry.ends[1])
    }

    pub(super) fn payload(&self) -> &[u8] {
        self.pack.part(&self.entry, self.entry.ends[1], self.entry.ends[2])
    }
}

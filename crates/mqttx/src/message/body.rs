//! The bytes of a received message, and what is known of it, in one allocation that serves the next message of its size.

use std::sync::Arc;
use std::time::Instant;

use mqttx_proto::packet::Publish;
use mqttx_proto::{PacketId, QoS};

use super::pack::Lent;
use crate::router::{InboundMeta, Origin};

/// Where the bytes of a message are.
pub(super) enum Body {
    /// With the message.
    Own(Block),
    /// In the pack that brought it.
    Lent(Box<Lent>),
}

/// A message of its own, shared by all clones of it.
#[derive(Clone)]
pub(super) struct Block(Arc<Inner<[u8]>>);

/// What is known of a message besides its bytes.
#[derive(Clone, Copy)]
pub(super) struct Meta {
    pub(super) qos: QoS,
    pub(super) retain: bool,
    pub(super) dup: bool,
    pub(super) packet_id: Option<PacketId>,
    pub(super) received_at: Instant,
}

impl Meta {
    fn new(publish: &Publish<'_>, inbound: &InboundMeta) -> Self {
        Self {
            qos: publish.qos,
            retain: publish.retain,
            dup: publish.dup,
            packet_id: publish.packet_id,
            received_at: inbound.received_at,
        }
    }
}

/// Where topic, properties and payload end; a packet has at most 256 MiB.
#[derive(Clone, Copy)]
pub(super) struct Ends {
    pub(super) topic: u32,
    pub(super) properties: u32,
    pub(super) payload: u32,
}

impl Ends {
    fn of(publish: &Publish<'_>) -> Self {
        let topic = publish.topic.len() as u32;
        let properties = topic + publish.properties.as_bytes().len() as u32;
        Self { topic, properties, payload: properties + publish.payload.len() as u32 }
    }

    /// Bytes of all three.
    fn total(&self) -> usize {
        self.payload as usize
    }
}

/// Messages of up to that size are copied into memory that serves the next ones.
pub(crate) const SMALL: usize = 1024;

/// The sizes of that memory: 64, 128 .. 1024 bytes.
pub(crate) const CLASSES: usize = 5;

/// What a body is filled from.
pub(super) trait Content {
    fn meta(&self) -> Meta;
    fn ends(&self) -> Ends;
    /// Into as many bytes as there are.
    fn write(&self, room: &mut [u8]);
    fn to_boxed(&self) -> Box<[u8]>;
}

struct Inner<B: ?Sized> {
    origin: Arc<Origin>,
    meta: Meta,
    ends: Ends,
    /// The bytes, if there is no room for them in `small`.
    large: Box<[u8]>,
    small: B,
}

/// The payload, for [`bytes::Bytes::from_owner`].
pub(super) struct Payload(pub(super) Block);

impl AsRef<[u8]> for Payload {
    fn as_ref(&self) -> &[u8] {
        self.0.payload()
    }
}

impl Body {
    pub(super) fn block(&self) -> &Block {
        match self {
            Self::Own(block) => block,
            Self::Lent(lent) => lent.copy(),
        }
    }

    pub(super) fn meta(&self) -> Meta {
        match self {
            Self::Own(block) => block.0.meta,
            Self::Lent(lent) => lent.meta(),
        }
    }

    pub(super) fn origin(&self) -> &Arc<Origin> {
        match self {
            Self::Own(block) => &block.0.origin,
            Self::Lent(lent) => lent.origin(),
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Own(block) => block.0.ends.total(),
            Self::Lent(lent) => lent.len(),
        }
    }

    pub(super) fn topic(&self) -> &[u8] {
        match self {
            Self::Own(block) => block.part(0, block.0.ends.topic),
            Self::Lent(lent) => lent.topic(),
        }
    }

    pub(super) fn properties(&self) -> &[u8] {
        match self {
            Self::Own(block) => block.part(block.0.ends.topic, block.0.ends.properties),
            Self::Lent(lent) => lent.properties(),
        }
    }

    pub(super) fn payload(&self) -> &[u8] {
        match self {
            Self::Own(block) => block.payload(),
            Self::Lent(lent) => lent.payload(),
        }
    }
}

/// What is lent stays where it is: the clone has a copy.
impl Clone for Body {
    fn clone(&self) -> Self {
        Self::Own(self.block().clone())
    }
}

impl Block {
    pub(super) fn new(content: &impl Content, origin: &Arc<Origin>) -> Self {
        let total = content.ends().total();
        let mut inner: Arc<Inner<[u8]>> = match total {
            0..=64 => empty::<64>(content, origin),
            65..=128 => empty::<128>(content, origin),
            129..=256 => empty::<256>(content, origin),
            257..=512 => empty::<512>(content, origin),
            513..=SMALL => empty::<SMALL>(content, origin),
            _ => empty::<0>(content, origin),
        };
        if let Some(inner) = Arc::get_mut(&mut inner) {
            match inner.small.get_mut(..total) {
                Some(room) => content.write(room),
                None => inner.large = content.to_boxed(),
            }
        }
        Self(inner)
    }

    /// Takes another message in, if it has room and nobody else has it.
    pub(super) fn refill(&mut self, content: &impl Content, origin: &Arc<Origin>) -> bool {
        let Some(inner) = Arc::get_mut(&mut self.0) else { return false };
        let ends = content.ends();
        let Some(room) = inner.small.get_mut(..ends.total()) else { return false };
        content.write(room);
        (inner.ends, inner.meta) = (ends, content.meta());
        // Counting handles on what two threads use costs more than this look.
        if !Arc::ptr_eq(&inner.origin, origin) {
            inner.origin = Arc::clone(origin);
        }
        true
    }

    /// Whether [`refill`](Self::refill) may find room.
    pub(super) fn is_reusable(&mut self) -> bool {
        Arc::get_mut(&mut self.0).is_some_and(|inner| !inner.small.is_empty())
    }

    /// The class of its memory; `None`: that serves no other message.
    pub(super) fn class(&self) -> Option<usize> {
        class_of(self.0.small.len()).filter(|_| !self.0.small.is_empty())
    }

    fn payload(&self) -> &[u8] {
        self.part(self.0.ends.properties, self.0.ends.payload)
    }

    fn part(&self, from: u32, to: u32) -> &[u8] {
        let bytes = if self.0.small.is_empty() { &*self.0.large } else { &self.0.small };
        bytes.get(from as usize..to as usize).unwrap_or_default()
    }
}

/// The class of memory for that many bytes; `None`: memory of their own.
pub(super) fn class_of(bytes: usize) -> Option<usize> {
    let class = bytes.max(64).next_power_of_two().trailing_zeros() - 6;
    (bytes <= SMALL).then_some(class as usize)
}

fn empty<const N: usize>(content: &impl Content, origin: &Arc<Origin>) -> Arc<Inner<[u8]>> {
    Arc::new(Inner {
        origin: Arc::clone(origin),
        meta: content.meta(),
        ends: content.ends(),
        large: Box::default(),
        small: [0; N],
    })
}

/// A message in the packet that brought it.
pub(super) struct Arrived<'a>(pub(super) &'a Publish<'a>, pub(super) &'a InboundMeta);

impl Content for Arrived<'_> {
    fn meta(&self) -> Meta {
        Meta::new(self.0, self.1)
    }

    fn ends(&self) -> Ends {
        Ends::of(self.0)
    }

    fn write(&self, room: &mut [u8]) {
        let (topic, rest) = room.split_at_mut(self.0.topic.len());
        topic.copy_from_slice(self.0.topic.as_bytes());
        let (properties, payload) = rest.split_at_mut(self.0.properties.as_bytes().len());
        properties.copy_from_slice(self.0.properties.as_bytes());
        payload.copy_from_slice(self.0.payload);
    }

    fn to_boxed(&self) -> Box<[u8]> {
        let mut bytes = Vec::with_capacity(self.ends().total());
        bytes.extend_from_slice(self.0.topic.as_bytes());
        bytes.extend_from_slice(self.0.properties.as_bytes());
        bytes.extend_from_slice(self.0.payload);
        bytes.into_boxed_slice()
    }
}

#[cfg(test)]
#[test]
fn memory_comes_in_five_sizes() {
    for (bytes, class) in [(0, 0), (64, 0), (65, 1), (128, 1), (129, 2), (1000, 4), (1024, 4)] {
        assert_eq!(class_of(bytes), Some(class), "{bytes} bytes");
        assert!(class < CLASSES);
    }
    assert_eq!(class_of(1025), None);
}

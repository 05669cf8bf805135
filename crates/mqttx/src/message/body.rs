//! The bytes of a received message, and what is known of it, in one allocation that serves the next message of its size.

use std::sync::Arc;
use std::time::Instant;

use mqttx_proto::packet::Publish;
use mqttx_proto::{PacketId, QoS};

use crate::router::{InboundMeta, Origin};

/// Shared by all clones of a message.
#[derive(Clone)]
pub(super) struct Body(Arc<Inner<[u8]>>);

/// What is known of a message besides its bytes.
#[derive(Clone, Copy)]
pub(super) struct Meta {
    pub(super) qos: QoS,
    pub(super) retain: bool,
    pub(super) dup: bool,
    pub(super) packet_id: Option<PacketId>,
    pub(super) received_at: Instant,
}

struct Inner<B: ?Sized> {
    origin: Arc<Origin>,
    meta: Meta,
    /// Where topic, properties and payload end.
    topic: u32,
    properties: u32,
    payload: u32,
    /// The bytes, if there is no room for them in `small`.
    large: Box<[u8]>,
    small: B,
}

/// The payload, for [`bytes::Bytes::from_owner`].
pub(super) struct Payload(pub(super) Body);

impl AsRef<[u8]> for Payload {
    fn as_ref(&self) -> &[u8] {
        self.0.payload()
    }
}

impl Body {
    pub(super) fn new(publish: &Publish<'_>, inbound: &InboundMeta, origin: &Arc<Origin>) -> Self {
        let ends = ends(publish);
        let mut inner: Arc<Inner<[u8]>> = match ends.2 {
            0..=64 => empty::<64>(publish, inbound, origin),
            65..=128 => empty::<128>(publish, inbound, origin),
            129..=256 => empty::<256>(publish, inbound, origin),
            257..=512 => empty::<512>(publish, inbound, origin),
            513..=1024 => empty::<1024>(publish, inbound, origin),
            _ => empty::<0>(publish, inbound, origin),
        };
        if let Some(inner) = Arc::get_mut(&mut inner) {
            let small = inner.small.get_mut(..ends.2 as usize);
            match small {
                Some(room) => write(publish, room),
                None => inner.large = large(publish, ends.2 as usize),
            }
        }
        Self(inner)
    }

    /// Takes another message in, if it has room and nobody else has it.
    pub(super) fn refill(
        &mut self,
        publish: &Publish<'_>,
        inbound: &InboundMeta,
        origin: &Arc<Origin>,
    ) -> bool {
        let Some(inner) = Arc::get_mut(&mut self.0) else { return false };
        let (topic, properties, payload) = ends(publish);
        let Some(room) = inner.small.get_mut(..payload as usize) else { return false };
        write(publish, room);
        (inner.topic, inner.properties, inner.payload) = (topic, properties, payload);
        inner.meta = meta(publish, inbound);
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

    pub(super) fn is_small(&self) -> bool {
        !self.0.small.is_empty()
    }

    /// The bytes for which [`refill`](Self::refill) has room.
    pub(super) fn room(&self) -> usize {
        self.0.small.len()
    }

    pub(super) fn meta(&self) -> &Meta {
        &self.0.meta
    }

    pub(super) fn origin(&self) -> &Arc<Origin> {
        &self.0.origin
    }

    pub(super) fn len(&self) -> usize {
        self.0.payload as usize
    }

    pub(super) fn topic(&self) -> &[u8] {
        self.part(0, self.0.topic)
    }

    pub(super) fn properties(&self) -> &[u8] {
        self.part(self.0.topic, self.0.properties)
    }

    pub(super) fn payload(&self) -> &[u8] {
        self.part(self.0.properties, self.0.payload)
    }

    fn part(&self, from: u32, to: u32) -> &[u8] {
        let bytes = if self.0.small.is_empty() { &*self.0.large } else { &self.0.small };
        bytes.get(from as usize..to as usize).unwrap_or_default()
    }
}

fn empty<const N: usize>(
    publish: &Publish<'_>,
    inbound: &InboundMeta,
    origin: &Arc<Origin>,
) -> Arc<Inner<[u8]>> {
    let (topic, properties, payload) = ends(publish);
    Arc::new(Inner {
        origin: Arc::clone(origin),
        meta: meta(publish, inbound),
        topic,
        properties,
        payload,
        large: Box::default(),
        small: [0; N],
    })
}

fn meta(publish: &Publish<'_>, inbound: &InboundMeta) -> Meta {
    Meta {
        qos: publish.qos,
        retain: publish.retain,
        dup: publish.dup,
        packet_id: publish.packet_id,
        received_at: inbound.received_at,
    }
}

/// Where topic, properties and payload end; a packet has at most 256 MiB.
fn ends(publish: &Publish<'_>) -> (u32, u32, u32) {
    let topic = publish.topic.len() as u32;
    let properties = topic + publish.properties.as_bytes().len() as u32;
    (topic, properties, properties + publish.payload.len() as u32)
}

fn write(publish: &Publish<'_>, room: &mut [u8]) {
    let (topic, rest) = room.split_at_mut(publish.topic.len());
    topic.copy_from_slice(publish.topic.as_bytes());
    let (properties, payload) = rest.split_at_mut(publish.properties.as_bytes().len());
    properties.copy_from_slice(publish.properties.as_bytes());
    payload.copy_from_slice(publish.payload);
}

fn large(publish: &Publish<'_>, len: usize) -> Box<[u8]> {
    let mut bytes = Vec::with_capacity(len);
    bytes.extend_from_slice(publish.topic.as_bytes());
    bytes.extend_from_slice(publish.properties.as_bytes());
    bytes.extend_from_slice(publish.payload);
    bytes.into_boxed_slice()
}

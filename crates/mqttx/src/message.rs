//! Messages received ([`Message`], [`MessageRef`]) and messages to send ([`Publish`]).

mod body;
mod pack;
mod publish;
mod view;

pub use publish::Publish;
pub use view::MessageView;

use std::fmt;
use std::str::Utf8Error;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use mqttx_proto::packet;
use mqttx_proto::{PacketId, PropertiesRef, PropertyContext, QoS};

use body::{Arrived, Block, Body, Payload};
pub(crate) use body::{CLASSES, SMALL};
use pack::Lent;
pub(crate) use pack::{Pack, Packed};

use crate::router::{Acker, InboundMeta, Origin};

/// A message that arrived.
///
/// Topic, properties and payload share one allocation of about their size, so a kept message never pins a read buffer; a
/// clone copies no bytes. A callback of [`handle`](crate::Session::handle) sees its message where it lies among others: there the
/// first clone copies it, and further ones share that copy.
#[derive(Clone)]
pub struct Message {
    body: Body,
    acker: Option<Acker>,
}

impl Message {
    pub(crate) fn new(
        publish: &packet::Publish<'_>,
        inbound: &InboundMeta,
        origin: &Arc<Origin>,
    ) -> Self {
        Self::of(Block::new(&Arrived(publish, inbound), origin))
    }

    /// [`new`](Self::new) in the memory of a message that nobody needs any more, if it has room.
    pub(crate) fn renew(
        mut self,
        publish: &packet::Publish<'_>,
        inbound: &InboundMeta,
        origin: &Arc<Origin>,
    ) -> Self {
        if let Body::Own(block) = &mut self.body
            && block.refill(&Arrived(publish, inbound), origin)
        {
            self.acker = None;
            return self;
        }
        Self::new(publish, inbound, origin)
    }

    pub(crate) fn unpack(packed: &Packed<'_>, origin: &Arc<Origin>) -> Self {
        Self::of(Block::new(packed, origin))
    }

    /// Becomes another message, if this one's memory is of the right size and nobody else has it.
    pub(crate) fn refill(&mut self, packed: &Packed<'_>, origin: &Arc<Origin>) -> bool {
        self.acker = None;
        let Body::Own(block) = &mut self.body else { return false };
        block.class() == Some(packed.class()) && block.refill(packed, origin)
    }

    /// The class of its memory, if that may serve another message.
    pub(crate) fn class(&self) -> Option<usize> {
        match &self.body {
            Body::Own(block) => block.class(),
            Body::Lent(_) => None,
        }
    }

    /// A message that [`show`](Self::show)s what lies in a pack, for somebody who only borrows it.
    pub(crate) fn lent(origin: &Arc<Origin>) -> Self {
        Self { body: Body::Lent(Box::new(Lent::new(origin))), acker: None }
    }

    /// It shows the messages of that pack, which gets the memory of the one before.
    pub(crate) fn exchange(&mut self, pack: &mut Pack, origin: &Arc<Origin>) {
        if let Body::Lent(lent) = &mut self.body {
            lent.exchange(pack, origin);
        }
    }

    /// It shows the message with that place; `false`: that is not in the pack.
    pub(crate) fn show(&mut self, index: usize) -> bool {
        match &mut self.body {
            Body::Lent(lent) => lent.show(index),
            Body::Own(_) => false,
        }
    }

    fn of(block: Block) -> Self {
        Self { body: Body::Own(block), acker: None }
    }

    /// Gives the right to acknowledge away.
    pub(crate) fn disarm(&mut self) {
        self.acker = None;
    }

    /// Another message in the place of this one, with its right to acknowledge.
    pub(crate) fn remade(&self, publish: &packet::Publish<'_>, inbound: &InboundMeta) -> Self {
        Self::new(publish, inbound, self.body.origin()).with_acker(self.acker.clone())
    }

    /// Whether nobody else has this message, so that its memory may serve another.
    pub(crate) fn is_spent(&mut self) -> bool {
        self.acker = None;
        match &mut self.body {
            Body::Own(block) => block.is_reusable(),
            Body::Lent(_) => false,
        }
    }

    /// Another handle to the same bytes, without the right to acknowledge.
    pub(crate) fn share(&self) -> Self {
        Self { body: self.body.clone(), acker: None }
    }

    pub(crate) fn with_acker(mut self, acker: Option<Acker>) -> Self {
        self.acker = acker;
        self
    }

    /// The message as the packet that it came in.
    pub(crate) fn as_packet(&self) -> packet::Publish<'_> {
        let meta = self.body.meta();
        packet::Publish {
            dup: meta.dup,
            qos: meta.qos,
            retain: meta.retain,
            topic: self.topic(),
            packet_id: meta.packet_id,
            properties: self.properties(),
            payload: self.payload(),
        }
    }

    pub(crate) fn origin(&self) -> &Origin {
        self.body.origin()
    }

    /// Bytes of topic, properties and payload together.
    pub(crate) fn size(&self) -> usize {
        self.body.len()
    }

    /// The topic name, topic aliases resolved.
    #[must_use]
    pub fn topic(&self) -> &str {
        // Valid since decoding; checked again only because the crate forbids `unsafe`.
        std::str::from_utf8(self.body.topic()).unwrap_or("")
    }

    /// The payload; may be empty.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        self.body.payload()
    }

    /// The payload as a cheap handle to the same bytes.
    #[must_use]
    pub fn payload_bytes(&self) -> Bytes {
        Bytes::from_owner(Payload(self.body.block().clone()))
    }

    /// The payload as text.
    ///
    /// # Errors
    /// The payload is not UTF-8.
    pub fn payload_str(&self) -> Result<&str, Utf8Error> {
        std::str::from_utf8(self.payload())
    }

    /// The level at which the server delivered the message.
    #[must_use]
    pub fn qos(&self) -> QoS {
        self.body.meta().qos
    }

    /// The retain flag: a stored message sent at subscription, unless Retain As Published was
    /// asked for (MQTT 5, section 3.3.1.3).
    #[must_use]
    pub fn retain(&self) -> bool {
        self.body.meta().retain
    }

    /// The server may have sent this message before.
    #[must_use]
    pub fn dup(&self) -> bool {
        self.body.meta().dup
    }

    /// The packet identifier; `None` at QoS 0.
    #[must_use]
    pub fn packet_id(&self) -> Option<PacketId> {
        self.body.meta().packet_id
    }

    /// The properties of the message; empty in MQTT 3.1.1.
    #[must_use]
    pub fn properties(&self) -> PropertiesRef<'_> {
        let raw = self.body.properties();
        if raw.is_empty() {
            return PropertiesRef::EMPTY;
        }
        // They were checked when the packet was decoded.
        PropertiesRef::parse(raw, PropertyContext::Publish).unwrap_or(PropertiesRef::EMPTY)
    }

    /// The trace that the message belongs to, as its sender wrote it into `traceparent` and `tracestate`: the parent for what is
    /// done with the message. Without one, or with one that is malformed, an empty context, so that a span becomes a root.
    ///
    /// In handlers it is the current context already: spans that begin there are its children.
    ///
    /// ```no_run
    /// # async fn example(session: mqttx::Session) -> Result<(), mqttx::Error> {
    /// use mqttx::opentelemetry::trace::{FutureExt, TraceContextExt, Tracer};
    /// use mqttx::opentelemetry::global;
    ///
    /// let tracer = global::tracer("app");
    /// let mut readings = session.listen("plant/+/temp")?;
    /// while let Some(message) = readings.next().await {
    ///     let parent = message.trace_context();
    ///     let span = tracer.start_with_context("store a reading", &parent);
    ///     // With tracing-opentelemetry: `span.set_parent(message.trace_context())`.
    ///     async { /* … */ }.with_context(parent.with_span(span)).await;
    /// }
    /// # Ok(()) }
    /// ```
    #[cfg(feature = "otel")]
    #[must_use]
    pub fn trace_context(&self) -> opentelemetry::Context {
        crate::trace::context(self.properties())
    }

    /// The name of the session that received the message.
    #[must_use]
    pub fn session(&self) -> &str {
        &self.body.origin().name
    }

    /// When the driver read the message from the socket (all messages of one read share a time).
    #[must_use]
    pub fn received_at(&self) -> Instant {
        self.body.meta().received_at
    }

    /// [`received_at`](Self::received_at) as wall-clock time, computed from the age of the
    /// message.
    #[must_use]
    pub fn received_system(&self) -> SystemTime {
        let now = SystemTime::now();
        now.checked_sub(self.body.meta().received_at.elapsed()).unwrap_or(now)
    }

    /// Says that this route is done with the message; the server gets its acknowledgement once
    /// every other matching route is done too, in the order in which messages arrived.
    ///
    /// Only routes with [`manual_ack`](crate::RouteOptions::manual_ack) need it: elsewhere, at
    /// QoS 0, and when called again (on a clone too) it does nothing. A message that is never
    /// acknowledged holds back the acknowledgements of all later ones of its session and is sent
    /// again by the server after the next reconnect.
    pub fn ack(&self) {
        if let Some(acker) = &self.acker {
            acker.ack();
        }
    }

    /// Whether nothing is owed for this message any more: QoS 0, acknowledged, or its route is
    /// not a manual one.
    #[must_use]
    pub fn is_acked(&self) -> bool {
        self.acker.as_ref().is_none_or(Acker::is_acked)
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("topic", &self.topic())
            .field("payload_len", &self.payload().len())
            .field("qos", &self.body.meta().qos)
            .field("retain", &self.body.meta().retain)
            .field("dup", &self.body.meta().dup)
            .field("session", &self.body.origin().name)
            .finish_non_exhaustive()
    }
}

/// A message as an inline handler sees it: borrowed from the read buffer, valid during the call.
#[derive(Clone, Copy)]
pub struct MessageRef<'a> {
    publish: &'a packet::Publish<'a>,
    inbound: &'a InboundMeta,
    origin: &'a Arc<Origin>,
    acker: Option<&'a Acker>,
}

impl<'a> MessageRef<'a> {
    pub(crate) fn new(
        publish: &'a packet::Publish<'a>,
        inbound: &'a InboundMeta,
        origin: &'a Arc<Origin>,
        acker: Option<&'a Acker>,
    ) -> Self {
        Self { publish, inbound, origin, acker }
    }

    /// The topic name, topic aliases resolved.
    #[must_use]
    pub fn topic(&self) -> &'a str {
        self.publish.topic
    }

    /// The payload; may be empty.
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        self.publish.payload
    }

    /// The payload as text.
    ///
    /// # Errors
    /// The payload is not UTF-8.
    pub fn payload_str(&self) -> Result<&'a str, Utf8Error> {
        std::str::from_utf8(self.publish.payload)
    }

    /// The level at which the server delivered the message.
    #[must_use]
    pub fn qos(&self) -> QoS {
        self.publish.qos
    }

    /// See [`Message::retain`].
    #[must_use]
    pub fn retain(&self) -> bool {
        self.publish.retain
    }

    /// The server may have sent this message before.
    #[must_use]
    pub fn dup(&self) -> bool {
        self.publish.dup
    }

    /// The packet identifier; `None` at QoS 0.
    #[must_use]
    pub fn packet_id(&self) -> Option<PacketId> {
        self.publish.packet_id
    }

    /// The properties of the message; empty in MQTT 3.1.1.
    #[must_use]
    pub fn properties(&self) -> PropertiesRef<'a> {
        self.publish.properties
    }

    /// See [`Message::trace_context`].
    #[cfg(feature = "otel")]
    #[must_use]
    pub fn trace_context(&self) -> opentelemetry::Context {
        crate::trace::context(self.properties())
    }

    /// The name of the session that received the message.
    #[must_use]
    pub fn session(&self) -> &'a str {
        &self.origin.name
    }

    /// See [`Message::received_at`].
    #[must_use]
    pub fn received_at(&self) -> Instant {
        self.inbound.received_at
    }

    /// See [`Message::ack`].
    pub fn ack(&self) {
        if let Some(acker) = self.acker {
            acker.ack();
        }
    }

    /// An owned copy: one allocation. With manual acknowledgement it carries the right to
    /// acknowledge, so a handler may keep it and answer later.
    #[must_use]
    pub fn to_message(&self) -> Message {
        Message::new(self.publish, self.inbound, self.origin).with_acker(self.acker.cloned())
    }
}

impl fmt::Debug for MessageRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageRef")
            .field("topic", &self.publish.topic)
            .field("payload_len", &self.publish.payload.len())
            .field("qos", &self.publish.qos)
            .field("session", &self.origin.name)
            .finish_non_exhaustive()
    }
}

//! What a forwarder needs while it sends or settles: borrowed from the thread, so that a quiet forwarder owns none of it.

use std::cell::Cell;
use std::time::Instant;

use mqttx_proto::packet::Publish;
use mqttx_proto::{AckTicket, Properties, QoS};

use super::flows::FlowKey;
use super::reason::ForwardDrop;
use super::topics::{Topic, Topics};
use crate::message::Message;
use crate::router::Lot;

/// The lists of a turn. All are empty between turns.
#[derive(Default)]
pub(super) struct Scratch {
    /// The messages that are being sent, in their order.
    pub(super) sending: Vec<Sending>,
    pub(super) topics: Topics,
    pub(super) properties: Properties,
    /// What is to be acknowledged, with the index of its source.
    pub(super) acks: Vec<(usize, AckTicket)>,
    /// Messages given up that an event tells of: why, how many, and the topic of the last.
    pub(super) told: Vec<(ForwardDrop, u64, String)>,
    /// Bytes that do not wait any more, with the index of their source.
    pub(super) unparked: Vec<(usize, usize)>,
    /// Messages sent with a lower QoS.
    pub(super) downgraded: u64,
    /// Copies that a target which is not required did not take.
    pub(super) optional_lost: u64,
    /// Nothing is held any more.
    pub(super) idle: bool,
}

/// A message on its way to the targets, or waiting for it.
pub(super) struct Sending {
    pub(super) key: FlowKey,
    pub(super) body: Body,
    pub(super) source: usize,
    pub(super) filter: usize,
    /// The level it has for this forwarder.
    pub(super) qos: QoS,
    /// It has its place in the window.
    pub(super) started: bool,
    /// So many bytes count as parked on the source.
    pub(super) parked: usize,
    /// The first target that did not get it.
    pub(super) next_target: usize,
    /// Required targets that did not take it.
    pub(super) failed: usize,
    /// Why the first of them did not.
    pub(super) failure: Option<ForwardDrop>,
    /// How many took it.
    pub(super) taken: usize,
    /// Of the target that gets it now.
    pub(super) topic: Topic,
}

/// Where a message is.
pub(super) enum Body {
    /// In the read buffer, with this index in its lot.
    Read(u32),
    Own(Message),
}

impl Body {
    /// The message as the packet that it came in.
    pub(super) fn publish<'a>(&'a self, lot: Option<&'a Lot<'_>>) -> Option<Publish<'a>> {
        match self {
            Self::Read(index) => lot?.read.get(*index),
            Self::Own(message) => Some(message.as_packet()),
        }
    }
}

impl Sending {
    pub(super) fn new(key: FlowKey, body: Body, source: usize, filter: usize, qos: QoS) -> Self {
        Self {
            key,
            body,
            source,
            filter,
            qos,
            started: true,
            parked: 0,
            next_target: 0,
            failed: 0,
            failure: None,
            taken: 0,
            topic: None,
        }
    }
}

impl Sending {
    /// When it arrived, once it has a message of its own.
    pub(super) fn received_at(&self) -> Option<Instant> {
        match &self.body {
            Body::Read(_) => None,
            Body::Own(message) => Some(message.received_at()),
        }
    }
}

thread_local! {
    static SCRATCH: Cell<Option<Box<Scratch>>> = const { Cell::new(None) };
}

impl Scratch {
    /// The thread's own; a new one when a turn runs inside a turn.
    pub(super) fn borrow() -> Box<Self> {
        SCRATCH.take().unwrap_or_default()
    }

    /// Bytes of a source do not wait any more.
    pub(super) fn unpark(&mut self, source: usize, bytes: usize) {
        match self.unparked.last_mut() {
            Some((last, sum)) if *last == source => *sum += bytes,
            _ => self.unparked.push((source, bytes)),
        }
    }

    pub(super) fn give_back(mut self: Box<Self>) {
        debug_assert!(self.sending.is_empty() && self.acks.is_empty() && self.told.is_empty());
        self.sending.clear();
        SCRATCH.set(Some(self));
    }
}

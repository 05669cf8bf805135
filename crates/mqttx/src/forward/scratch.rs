//! What a forwarder needs while it sends or settles: borrowed from the thread, so that a quiet forwarder owns none of it.

use std::cell::Cell;
use std::time::Instant;

use bytes::Bytes;
use mqttx_proto::packet::Publish;
use mqttx_proto::{AckTicket, Properties, QoS};

use super::flows::FlowKey;
use super::metadata;
use super::reason::ForwardDrop;
use super::topics::{Topic, Topics};
use crate::message::{self, Message};
use crate::router::{Due, Lot};
use crate::trace::{Hop, Span};

/// The lists of a turn. All are empty between turns.
#[derive(Default)]
pub(super) struct Scratch {
    /// The messages that are being sent, in their order.
    pub(super) sending: Vec<Sending>,
    pub(super) topics: Topics,
    pub(super) properties: Properties,
    /// What is to be acknowledged, with the index of its source.
    pub(super) acks: Vec<(usize, AckTicket)>,
    /// What stays with the servers, with the index of its source.
    pub(super) left: Vec<(usize, Due)>,
    /// Messages given up that an event tells of: why, how many, and the topic of the last.
    pub(super) told: Vec<(ForwardDrop, u64, String)>,
    /// Bytes that do not wait any more, with the index of their source.
    pub(super) unparked: Vec<(usize, usize)>,
    /// Bytes that are not on their way any more, with the index of their source.
    pub(super) passed: Vec<(usize, usize)>,
    /// The topics of messages that go together, by their place among them.
    pub(super) places: Vec<Topic>,
    /// Messages that went together and were refused: why, and their place among them.
    pub(super) refused: Vec<(ForwardDrop, usize)>,
    /// Messages sent with a lower QoS.
    pub(super) downgraded: u64,
    /// Copies that a target which is not required did not take.
    pub(super) optional_lost: u64,
    /// Copies to 3.1.1 targets that could not have metadata.
    pub(super) metadata_left_out: u64,
    /// What the filter says of the messages of a lot, by their place in it; empty without one.
    pub(super) verdicts: Vec<Verdict>,
    /// Flows whose messages became dead letters before anybody got them.
    pub(super) letters: Vec<(FlowKey, ForwardDrop)>,
    /// Flows that are part of a trace from now on.
    pub(super) begun: Vec<(FlowKey, Span)>,
    /// Spans that end with this turn.
    pub(super) ended: Vec<Span>,
    /// Nothing is held any more.
    pub(super) idle: bool,
}

/// What a filter says of a message.
pub(super) enum Verdict {
    Take,
    /// It is not to be forwarded.
    Leave,
    Drop(ForwardDrop),
    Letter(Letter),
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
    /// The targets that took it: a bit for each.
    pub(super) took: u64,
    /// What the rules made of it.
    pub(super) extra: Option<Box<Extra>>,
}

/// What few messages have.
#[derive(Default)]
pub(super) struct Extra {
    /// The rules are through with it.
    pub(super) prepared: bool,
    /// The message that the transform made.
    pub(super) made: Option<message::Publish>,
    pub(super) metadata: Option<metadata::Rendered>,
    /// The payload with the metadata, for the target that gets it now.
    pub(super) merged: Option<Bytes>,
    /// The trace that it belongs to.
    pub(super) trace: Option<Hop>,
    /// It goes to the dead letters.
    pub(super) letter: Option<Letter>,
    /// It goes only to this target, again.
    pub(super) only: Option<usize>,
    /// Why a target did not take it.
    pub(super) why: Option<Box<str>>,
}

/// Why a message is a dead letter.
#[derive(Clone)]
pub(super) struct Letter {
    pub(super) reason: ForwardDrop,
    pub(super) text: Box<str>,
}

/// Where a message is.
pub(super) enum Body {
    /// In the read buffer, with this index in its lot.
    Read(u32),
    Own(Message),
}

impl Body {
    /// Bytes of the payload of one that is not in a read buffer.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Read(_) => 0,
            Self::Own(message) => message.payload().len(),
        }
    }

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
            took: 0,
            extra: None,
        }
    }

    /// The message as it is to be sent.
    pub(super) fn publish<'a>(&'a self, lot: Option<&'a Lot<'_>>) -> Option<Publish<'a>> {
        match self.extra.as_deref().and_then(|extra| extra.made.as_ref()) {
            None => self.body.publish(lot).map(|publish| Publish { qos: self.qos, ..publish }),
            Some(made) => Some(Publish {
                dup: false,
                qos: made.qos,
                retain: made.retain,
                topic: &made.topic,
                packet_id: None,
                properties: made.properties.as_ref(),
                payload: &made.payload,
            }),
        }
    }

    /// Whether the message is for a target: `letters` for the one that gets the dead letters.
    pub(super) fn is_for(&self, target: usize, letters: bool) -> bool {
        if self.next_target > target {
            return false;
        }
        match self.extra.as_deref() {
            None => !letters,
            Some(extra) => {
                extra.letter.is_some() == letters && extra.only.is_none_or(|only| only == target)
            }
        }
    }

    /// Whether its targets do not decide what becomes of it: the rules did, or it is with some of them already.
    pub(super) fn is_settled(&self) -> bool {
        self.next_target == usize::MAX
            || self
                .extra
                .as_ref()
                .is_some_and(|extra| extra.letter.is_some() || extra.only.is_some())
    }

    pub(super) fn extra(&mut self) -> &mut Extra {
        self.extra.get_or_insert_default()
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

/// Adds to the bytes of a source.
fn add(all: &mut Vec<(usize, usize)>, source: usize, bytes: usize) {
    match all.last_mut() {
        Some((last, sum)) if *last == source => *sum += bytes,
        _ => all.push((source, bytes)),
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

    /// A message stays with its server: the forwarder is gone.
    pub(super) fn leave(&mut self, source: usize, due: Due) {
        if due.ticket().is_some() {
            self.left.push((source, due));
        }
    }

    /// Bytes of a source do not wait any more.
    pub(super) fn unpark(&mut self, source: usize, bytes: usize) {
        add(&mut self.unparked, source, bytes);
    }

    /// Bytes of a source are not on their way any more.
    pub(super) fn pass(&mut self, source: usize, bytes: usize) {
        add(&mut self.passed, source, bytes);
    }

    pub(super) fn give_back(mut self: Box<Self>) {
        debug_assert!(self.sending.is_empty() && self.acks.is_empty() && self.told.is_empty());
        self.sending.clear();
        SCRATCH.set(Some(self));
    }
}

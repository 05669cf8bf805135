//! Messages with QoS > 0 that match no route, yet.

use std::collections::VecDeque;
use std::time::Instant;

use mqttx_proto::{AckTicket, QoS};

use crate::message::Message;

/// Unacknowledged until a route comes, or the time is over.
#[derive(Default)]
pub(super) struct Held {
    messages: VecDeque<(Message, AckTicket)>,
    until: Option<Instant>,
}

impl Held {
    /// A connection began: messages without a route are held until then.
    pub(super) fn start(&mut self, until: Option<Instant>) {
        self.until = until;
    }

    /// Whether messages are held now.
    pub(super) fn holds(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    pub(super) fn push(&mut self, message: Message, ticket: AckTicket) {
        self.messages.push_back((message, ticket));
    }

    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        if self.messages.is_empty() { None } else { self.until }
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.deadline().is_some_and(|until| until <= now)
    }

    pub(super) fn take(&mut self) -> VecDeque<(Message, AckTicket)> {
        std::mem::take(&mut self.messages)
    }

    /// The connection ended: the server sends QoS 1 again, but not a QoS 2 message that it knows us to
    /// have. Returns the bytes that are no longer held.
    pub(super) fn link_lost(&mut self) -> usize {
        let mut freed = 0;
        self.messages.retain(|(message, _)| {
            let keep = message.qos() == QoS::ExactlyOnce;
            freed += if keep { 0 } else { message.size() };
            keep
        });
        freed
    }
}

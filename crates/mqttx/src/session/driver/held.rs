//! Messages with QoS > 0 that match no route, yet.

use std::collections::VecDeque;
use std::time::Instant;

use mqttx_proto::{AckTicket, QoS};

use crate::message::Message;

/// Unacknowledged until a route comes, or the time is over.
#[derive(Default)]
pub(super) struct Held {
    /// `None` while there is none.
    #[expect(clippy::box_collection, reason = "one word while it is empty")]
    messages: Option<Box<VecDeque<(Message, AckTicket)>>>,
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
        self.messages.get_or_insert_default().push_back((message, ticket));
    }

    pub(super) fn len(&self) -> usize {
        self.messages.as_ref().map_or(0, |messages| messages.len())
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.messages.as_ref().and(self.until)
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.deadline().is_some_and(|until| until <= now)
    }

    pub(super) fn take(&mut self) -> VecDeque<(Message, AckTicket)> {
        self.messages.take().map_or_else(VecDeque::new, |messages| *messages)
    }

    /// The connection ended: the server sends QoS 1 again, but not a QoS 2 message that it knows us to
    /// have. Returns the bytes that are no longer held.
    pub(super) fn link_lost(&mut self) -> usize {
        let mut freed = 0;
        let Some(messages) = &mut self.messages else { return 0 };
        messages.retain(|(message, _)| {
            let keep = message.qos() == QoS::ExactlyOnce;
            freed += if keep { 0 } else { message.size() };
            keep
        });
        if messages.is_empty() {
            self.messages = None;
        }
        freed
    }
}

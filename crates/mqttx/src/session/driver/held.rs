//! What nobody takes, yet: received messages with QoS > 0 that match no route, and messages of the store that fail and whose
//! forwarder is not there.

use std::collections::VecDeque;
use std::time::Instant;

use mqttx_proto::{AckTicket, FailedMessage, QoS};

use crate::message::Message;

/// Unacknowledged, or in the store, until somebody comes for it, or the time is over.
#[derive(Default)]
pub(super) struct Held {
    /// `None` while there is none.
    kept: Option<Box<Kept>>,
    until: Option<Instant>,
}

#[derive(Default)]
struct Kept {
    messages: VecDeque<(Message, AckTicket)>,
    /// How often the routes had changed when none of them took the first message, and so the others.
    routes: Option<u64>,
    failed: Vec<FailedMessage>,
}

/// Failed messages that are held at a time.
const FAILED: usize = 1000;

impl Held {
    /// A connection began: what nobody takes is held until then.
    pub(super) fn start(&mut self, until: Option<Instant>) {
        self.until = until;
    }

    /// Whether anything is held now.
    pub(super) fn holds(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    /// No route took the message when they had changed so often.
    pub(super) fn push(&mut self, message: Message, ticket: AckTicket, routes: u64) {
        let kept = self.kept.get_or_insert_default();
        kept.messages.push_back((message, ticket));
        kept.routes.get_or_insert(routes);
    }

    /// How often the routes had changed that took none of the messages, if there are any: others may.
    pub(super) fn routes(&self) -> Option<u64> {
        self.kept.as_ref().filter(|kept| !kept.messages.is_empty())?.routes
    }

    /// Beyond [`FAILED`] it is not held; the store has it until the next start.
    pub(super) fn push_failed(&mut self, message: FailedMessage) {
        let failed = &mut self.kept.get_or_insert_default().failed;
        if failed.len() < FAILED {
            failed.push(message);
        }
    }

    /// Messages without a route.
    pub(super) fn len(&self) -> usize {
        self.kept.as_ref().map_or(0, |kept| kept.messages.len())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.kept.is_none()
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.kept.as_ref().and(self.until)
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.deadline().is_some_and(|until| until <= now)
    }

    pub(super) fn take(&mut self) -> (VecDeque<(Message, AckTicket)>, Vec<FailedMessage>) {
        self.kept.take().map_or_else(Default::default, |kept| (kept.messages, kept.failed))
    }

    /// The connection ended: the server sends QoS 1 again, but not a QoS 2 message that it knows us to
    /// have. Returns the bytes that are no longer held.
    pub(super) fn link_lost(&mut self) -> usize {
        let mut freed = 0;
        let Some(kept) = &mut self.kept else { return 0 };
        kept.messages.retain(|(message, _)| {
            let keep = message.qos() == QoS::ExactlyOnce;
            freed += if keep { 0 } else { message.size() };
            keep
        });
        if kept.messages.is_empty() && kept.failed.is_empty() {
            self.kept = None;
        }
        freed
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mqttx_proto::{Origin, Outcome, Priority, Properties, Sequence};

    use super::*;

    fn failed(number: u64) -> FailedMessage {
        FailedMessage {
            origin: Origin::MAX,
            sequence: Some(Sequence::new(Priority::LOWEST, number)),
            topic: "t".to_owned(),
            payload: bytes::Bytes::new(),
            qos: QoS::AtLeastOnce,
            retain: false,
            properties: Properties::new(),
            outcome: Outcome::StoreFailed,
        }
    }

    #[test]
    fn what_failed_is_held_for_as_long_as_a_message_without_a_route_and_over_connections() {
        let (mut held, now) = (Held::default(), Instant::now());
        let until = now + Duration::from_secs(10);
        held.start(Some(until));
        assert!(held.holds(now) && !held.is_due(until), "nothing is");
        for number in 0..=FAILED as u64 {
            held.push_failed(failed(number));
        }
        assert_eq!(held.link_lost(), 0);
        assert_eq!((held.is_empty(), held.len()), (false, 0), "no message waits for a route");
        assert!(held.is_due(until) && !held.holds(until));
        assert_eq!(held.take().1.len(), FAILED, "the store has the others");
        assert!(held.is_empty());
    }
}

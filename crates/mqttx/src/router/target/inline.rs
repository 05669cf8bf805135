//! Handlers that run where the message is read.

use std::cell::OnceCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::Acquire;

use mqttx_proto::{AckTicket, QoS};

use super::{Phase, Target};
use crate::message::MessageRef;
use crate::router::consumer::InlineHandler;
use crate::router::done::{Acker, Owed};
use crate::router::row::Row;
use crate::router::{Arrival, InboundMeta, MessageSource};
use crate::trace::Surroundings;

/// The route was stopped while the message was on its way.
struct Closed;

impl Target {
    /// Calls an inline handler with the messages of a row, as long as the routes are what they were; how many.
    pub(in crate::router) fn call_row(
        self: &Arc<Self>,
        handler: &InlineHandler,
        row: &Row<'_>,
        common: &InboundMeta,
        source: &Arc<dyn MessageSource>,
        is_current: impl Fn() -> bool,
        done: &mut Vec<AckTicket>,
    ) -> usize {
        let mut called = 0;
        for message in row.messages {
            if !is_current() {
                break;
            }
            let (publish, ticket) = (message.publish(), message.ticket);
            let inbound = InboundMeta { ticket, ..*common };
            let whole = OnceCell::new();
            let arrival = Arrival { publish: &publish, inbound: &inbound, source, whole };
            self.count_on_driver(&self.counts.received, 1);
            if self.call_inline(handler, &arrival, ticket.map_or(Owed::Nothing, Owed::One)) {
                done.extend(ticket);
            }
            called += 1;
        }
        called
    }

    pub(super) fn call_inline(
        self: &Arc<Self>,
        handler: &InlineHandler,
        arrival: &Arrival<'_>,
        owed: Owed<'_>,
    ) -> bool {
        let acker = match self.hold_inline(arrival, owed) {
            Ok(acker) => acker,
            Err(Closed) => return true,
        };
        let Some(acker_ref) = self.rules.are_any().then_some(acker.as_ref()) else {
            self.call_with(handler, &arrival.borrow(acker.as_ref()), acker.as_ref());
            return acker.is_none();
        };
        let message = arrival.to_message();
        match self.ask_rules(&message) {
            None => acker.iter().for_each(Acker::ack),
            Some(made) => {
                let packet = made.as_ref().unwrap_or(&message).as_packet();
                let origin = arrival.source.origin();
                let borrowed = MessageRef::new(&packet, arrival.inbound, origin, acker_ref);
                self.call_with(handler, &borrowed, acker_ref);
            }
        }
        acker.is_none()
    }

    /// Calls an inline handler until it returns, or was called often enough.
    fn call_with(&self, handler: &InlineHandler, message: &MessageRef<'_>, acker: Option<&Acker>) {
        let mut attempts = 0;
        let _entered = Surroundings::of(message.properties()).enter();
        while let Err(panic) = catch_unwind(AssertUnwindSafe(|| handler(message))) {
            attempts += 1;
            if attempts > self.options.retries {
                self.report_failure(&message.to_message(), attempts, &*panic);
                acker.iter().for_each(|acker| acker.ack());
                return;
            }
        }
        self.count_on_driver(&self.done.handled, 1);
    }

    /// A manual route holds what needs an acknowledgement before its handler sees it.
    fn hold_inline(
        self: &Arc<Self>,
        arrival: &Arrival<'_>,
        owed: Owed<'_>,
    ) -> Result<Option<Acker>, Closed> {
        if !self.options.manual_ack || matches!(owed, Owed::Nothing) {
            return if self.open.load(Acquire) { Ok(None) } else { Err(Closed) };
        }
        let mut state = self.state();
        if state.phase != Phase::Open {
            return Err(Closed);
        }
        let completion = owed.keep(arrival.source);
        let slot = state.unacked.insert(completion, arrival.publish.qos == QoS::AtLeastOnce);
        Ok(Some(Acker::new(self, slot)))
    }
}

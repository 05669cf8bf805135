//! Messages for one route that follow each other in a read: what is the same for all is done once.

use std::sync::Arc;

use mqttx_proto::{AckTicket, Inbound, PropertiesRef};

use super::consumer::Consumer;
use super::memo::Run;
use super::scratch::Scratch;
use super::{InboundMeta, MessageSource, Router};

/// Messages with the same routes and the same properties, where they lie in the read.
#[derive(Clone, Copy)]
pub(crate) struct Row<'a> {
    /// What was read.
    pub(crate) input: &'a [u8],
    pub(crate) properties: PropertiesRef<'a>,
    pub(crate) messages: &'a [Inbound<'a>],
}

impl Row<'_> {
    /// Where that begins in what was read. Nowhere, if it is not from there: then it is beyond the end.
    pub(crate) fn place_of(&self, part: &[u8]) -> usize {
        part.as_ptr().addr().wrapping_sub(self.input.as_ptr().addr())
    }
}

impl Router {
    /// Hands over messages from the front of `next` that have the routes of the one dispatched last, if that is one that takes them
    /// together: how many. The tickets of those that it is done with go to `done`; the others are pending. What is not handed over is
    /// dispatched one by one.
    pub(crate) fn dispatch_row<'a>(
        &self,
        next: &'a [Inbound<'a>],
        common: &InboundMeta,
        source: &Arc<dyn MessageSource>,
        scratch: &mut Scratch,
        run: &Run<'a>,
        done: &mut Vec<AckTicket>,
    ) -> usize {
        let Some(row) = run.row(next) else { return 0 };
        let stamp = self.stamp();
        let Some(target) = scratch.memo.only(stamp, run) else { return 0 };
        match &target.consumer {
            Consumer::Inline(handler) => {
                // What a handler does to the routes concerns the next message.
                let is_current = || self.stamp() == stamp;
                target.call_row(handler, &row, common, source, is_current, done)
            }
            Consumer::Lot(_) => target.collect_row(&row, &mut scratch.outbox),
            _ => scratch.outbox.push_row(target, &row, common, source),
        }
    }
}

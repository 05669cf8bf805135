//! Messages of one topic that follow each other in a read: what is the same for all is done once.

use std::sync::Arc;

use mqttx_proto::{Inbound, PropertiesRef};

use super::scratch::{Run, Scratch};
use super::{InboundMeta, MessageSource, Router};

/// Messages of one topic with the same properties, where they lie in the read.
pub(crate) struct Row<'a> {
    /// What was read.
    pub(crate) input: &'a [u8],
    pub(crate) topic: &'a str,
    pub(crate) properties: PropertiesRef<'a>,
    pub(crate) messages: &'a [Inbound<'a>],
}

impl Row<'_> {
    /// Where the payload begins in what was read. Nowhere, if it is not from there: then it is beyond the end.
    pub(crate) fn place_of(&self, message: &Inbound<'_>) -> usize {
        message.publish().payload.as_ptr().addr().wrapping_sub(self.input.as_ptr().addr())
    }
}

impl Router {
    /// Hands over messages from the front of `next` that are as the one dispatched last, if its one route takes them together: how
    /// many. All of them are pending; the others are dispatched one by one.
    pub(crate) fn dispatch_row<'a>(
        &self,
        input: &'a [u8],
        next: &'a [Inbound<'a>],
        common: &InboundMeta,
        source: &Arc<dyn MessageSource>,
        scratch: &mut Scratch,
        run: &Run<'a>,
    ) -> usize {
        let Some(mut row) = run.row(input, next) else { return 0 };
        let Some(target) = scratch.memo.only(self.stamp(), run) else { return 0 };
        let mut handed = 0;
        while !row.messages.is_empty() {
            let taken = scratch.outbox.push_row(target, &row, common, source);
            if taken == 0 {
                break;
            }
            handed += taken;
            row.messages = row.messages.get(taken..).unwrap_or_default();
        }
        handed
    }
}

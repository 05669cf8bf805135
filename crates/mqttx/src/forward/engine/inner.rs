//! What the lock of a forwarder guards, and what is done under it once messages were handed to their targets.

use std::sync::Arc;

use crate::forward::flows::{FlowKey, Flows};
use crate::forward::reason::{DropReports, ForwardDrop};
use crate::forward::scratch::{Body, Scratch};
use crate::message::Message;
use crate::metrics::Histogram;
use crate::router::Lot;

/// Messages whose memory is kept; each has at most 1 KiB.
const SPARE: usize = 4096;

pub(in crate::forward) struct Inner {
    pub(in crate::forward) flows: Flows,
    /// QoS 0 that waits holds its source back: the targets had connections when that was looked at, and tell when one ends.
    pub(in crate::forward) watching: bool,
    /// Somebody waits until nothing waits here.
    pub(in crate::forward) retiring: bool,
    pub(in crate::forward) reports: DropReports,
    /// From the arrival of some messages to the acknowledgements of their targets.
    latency: Arc<Histogram>,
    /// Messages that were sent, and whose memory the next ones that wait may have.
    spare: Vec<Message>,
}

impl Inner {
    pub(super) fn new(flows: Flows, latency: Arc<Histogram>) -> Self {
        let (reports, spare) = (DropReports::default(), Vec::new());
        Self { flows, watching: false, retiring: false, reports, latency, spare }
    }

    /// The messages that were being sent are with their targets, or wait again: those behind the first `sent`. Whether one of
    /// the latter holds its source back with QoS 0.
    pub(super) fn after_sending(
        &mut self,
        scratch: &mut Scratch,
        sent: usize,
        lot: Option<&Lot<'_>>,
    ) -> bool {
        self.flows.counts.downgraded += std::mem::take(&mut scratch.downgraded);
        self.flows.counts.optional_lost += std::mem::take(&mut scratch.optional_lost);
        self.flows.counts.metadata_left_out += std::mem::take(&mut scratch.metadata_left_out);
        if sent > 0 && !scratch.sending.is_empty() {
            self.flows.sent();
        }
        let mut parked_qos0 = false;
        // From the back, as messages come back to the front of what waits.
        while let Some(mut sending) = scratch.sending.pop() {
            let (key, failed, failure) = (sending.key, sending.failed, sending.failure);
            self.flows.handed(key, sending.took);
            if let Some(why) = sending.extra.as_mut().and_then(|extra| extra.why.take()) {
                self.flows.explain(key, || why);
            }
            if scratch.sending.len() >= sent {
                // The flow goes on: its part for the sending itself is not done.
                self.settle(key, failed, failure, scratch);
                parked_qos0 |= self.put_back(sending, scratch, lot);
                continue;
            }
            self.settle(key, failed + 1, failure, scratch);
            scratch.unpark(sending.source, sending.parked);
            self.keep(sending.body);
        }
        parked_qos0
    }

    /// Parts of a flow are finished.
    pub(super) fn settle(
        &mut self,
        key: FlowKey,
        parts: usize,
        failure: Option<ForwardDrop>,
        scratch: &mut Scratch,
    ) {
        let Some(mut done) = self.flows.settle(key, parts, failure) else { return };
        scratch.ended.extend(done.span.take().map(|span| *span));
        if let Some(reason) = done.failure
            && let Some(count) = self.reports.add(reason, crate::session::now())
        {
            scratch.told.push((reason, count, self.flows.topic(key).to_owned()));
        }
        // No reason to forget the message: the source's server sends it again.
        if done.failure.is_some_and(ForwardDrop::is_left_to_source) {
            scratch.leave(done.source, done.due);
        } else {
            scratch.acks.extend(done.due.settle().map(|ticket| (done.source, ticket)));
        }
        scratch.idle |= self.flows.is_at_rest();
        if let Some(begun) = done.begun.filter(|_| done.failure.is_none()) {
            self.latency.record_time(crate::session::now().saturating_duration_since(begun));
        }
    }

    /// So many messages of a run are finished; `false` if the flow is none. What is not forwarded had the topic `named`, or that of
    /// the last of them.
    pub(in crate::forward) fn settle_run(
        &mut self,
        key: FlowKey,
        count: u64,
        failure: Option<(ForwardDrop, Option<&str>)>,
        scratch: &mut Scratch,
    ) -> bool {
        let (reason, count) = (failure.map(|(reason, _)| reason), count as usize);
        let Some(left) = self.flows.settle_run(key, count, reason) else { return false };
        scratch.pass(left.source, left.passed);
        if let Some((reason, named)) = failure {
            let now = crate::session::now();
            if let Some(count) = self.reports.add_many(reason, count as u64, now) {
                let topic = named.unwrap_or_else(|| self.flows.topic(key));
                scratch.told.push((reason, count, topic.to_owned()));
            }
        } else if let Some(begun) = left.begun {
            self.latency.record_time(crate::session::now().saturating_duration_since(begun));
        }
        scratch.idle |= self.flows.is_at_rest();
        true
    }

    /// The memory of an old message.
    pub(in crate::forward) fn spare(&mut self) -> Option<Message> {
        self.spare.pop()
    }

    /// The memory of a message that was sent is for the next one, unless somebody else has it.
    fn keep(&mut self, body: Body) {
        if let Body::Own(mut message) = body
            && self.spare.len() < SPARE
            && message.is_spent()
        {
            self.spare.push(message);
        }
    }

    /// Nothing came for a while: gives memory back.
    pub(in crate::forward) fn shrink(&mut self) {
        self.spare = Vec::new();
        self.flows.shrink();
    }

    /// QoS 0 holds its source back from now on; `true`: somebody has to [look](super::Engine::look_for_targets) whether the targets are
    /// there.
    pub(in crate::forward) fn begin_watch(&mut self) -> bool {
        !std::mem::replace(&mut self.watching, true)
    }

    /// Tells of a message that has no flow.
    pub(in crate::forward) fn report(
        &mut self,
        reason: ForwardDrop,
        topic: &str,
        scratch: &mut Scratch,
    ) {
        if let Some(count) = self.reports.add(reason, crate::session::now()) {
            scratch.told.push((reason, count, topic.to_owned()));
        }
    }
}

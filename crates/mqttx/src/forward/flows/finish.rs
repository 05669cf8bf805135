//! The end of messages: the last target has one, or it is given up, or the dead letters are to have it.

use std::time::Instant;

use super::{FlowKey, Flows};
use crate::forward::reason::ForwardDrop;
use crate::forward::scratch::Extra;
use crate::router::Due;
use crate::trace::Span;

/// A message that is finished.
pub(in crate::forward) struct Done {
    pub(in crate::forward) source: usize,
    pub(in crate::forward) due: Due,
    pub(in crate::forward) failure: Option<ForwardDrop>,
    /// When it arrived, if that is timed.
    pub(in crate::forward) begun: Option<Instant>,
    /// It ends when it is dropped, which nobody does under a lock.
    pub(in crate::forward) span: Option<Box<Span>>,
}

/// Of a dead letter: the sending itself, and the target.
pub(in crate::forward) const LETTER_PARTS: usize = 2;

impl Flows {
    /// Parts of a flow are finished; the last one finishes the flow, unless its message becomes a dead letter now. The
    /// first failure counts, but for the one that leaves the message with its server.
    pub(in crate::forward) fn settle(
        &mut self,
        key: FlowKey,
        parts: usize,
        failure: Option<ForwardDrop>,
    ) -> Option<Done> {
        let flow = self.flows.get_mut(key as usize).filter(|flow| flow.live)?;
        flow.failure = match failure {
            // Whatever others said: one target never had it, so that the source's server keeps it.
            Some(reason) if reason.is_left_to_source() => failure,
            _ => flow.failure.or(failure),
        };
        flow.parts -= parts.min(flow.parts);
        if flow.parts > 0 {
            return None;
        }
        if let (Some(reason), Some(target), Some(kept)) =
            (flow.failure, self.letters, &mut flow.kept)
            && kept.letter.is_none()
            && reason.is_for_dead_letters()
        {
            kept.letter = Some(reason);
            (flow.parts, flow.failure) = (LETTER_PARTS, None);
            let letter = Some(kept.to_letter(reason));
            let extra = Extra { letter, ..Extra::default() };
            let sending = kept.to_sending(key, flow.source, target, extra);
            self.put_back(sending);
            return None;
        }
        let kept = flow.kept.take();
        flow.late = kept.as_ref().map_or(0, |kept| kept.handed & !kept.finished);
        let letter = kept.and_then(|kept| kept.letter);
        flow.live = false;
        if flow.late == 0 {
            self.free.push(key);
        } else {
            self.lingering += 1;
        }
        self.held -= 1;
        if flow.windowed {
            self.in_window -= 1;
        } else {
            self.qos0_held -= 1;
        }
        // What the dead letters did not take either was lost for its first reason.
        let failure = match (flow.failure, letter) {
            (Some(reason), _) if reason.is_left_to_source() => flow.failure,
            (_, None) => flow.failure,
            (failure, Some(reason)) => failure.map(|_| reason),
        };
        match (failure, letter) {
            (Some(reason), _) => self.counts.drop_one(reason),
            (None, Some(_)) => self.counts.dead_lettered += 1,
            (None, None) => self.counts.forwarded += 1,
        }
        let due = std::mem::take(&mut flow.due);
        // Only what was forwarded is timed.
        let begun = flow.begun.filter(|_| letter.is_none());
        let mut span = flow.span.take();
        if let (Some(span), Some(reason)) = (&mut span, failure.or(letter)) {
            span.fail(reason.as_str());
        }
        Some(Done { source: flow.source, due, failure, begun, span })
    }
}

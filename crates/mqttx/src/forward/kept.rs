//! What a flow keeps of its message, for a forwarder that may have to send it again.

use mqttx_proto::QoS;

use super::flows::{FlowKey, Flows, LETTER_PARTS};
use super::reason::ForwardDrop;
use super::scratch::{Body, Extra, Letter, Sending};
use crate::message::Message;

pub(super) struct Kept {
    pub(super) message: Message,
    pub(super) filter: usize,
    /// The level that it has for the forwarder.
    pub(super) qos: QoS,
    /// Counts up from flow to flow.
    pub(super) number: u64,
    /// The targets that got it and those that are through with it: a bit for each.
    pub(super) handed: u64,
    pub(super) finished: u64,
    /// Why a target did not take it.
    pub(super) why: Option<Box<str>>,
    /// It is a dead letter.
    pub(super) letter: Option<ForwardDrop>,
}

impl Kept {
    pub(super) fn new(message: Message, filter: usize, qos: QoS, number: u64) -> Self {
        let (handed, finished) = (0, 0);
        Self { message, filter, qos, number, handed, finished, why: None, letter: None }
    }

    /// Whether a target has it and is not through with it.
    pub(super) fn is_with(&self, target: usize) -> bool {
        self.handed & !self.finished & bit(target) != 0
    }

    pub(super) fn to_letter(&self, reason: ForwardDrop) -> Letter {
        let text = self.why.clone().unwrap_or_else(|| reason.text().into());
        Letter { reason, text }
    }

    /// The message, to be sent again from a target on.
    pub(super) fn to_sending(
        &self,
        key: FlowKey,
        source: usize,
        from: usize,
        extra: Extra,
    ) -> Sending {
        let body = Body::Own(self.message.share());
        let new = Sending::new(key, body, source, self.filter, self.qos);
        Sending { next_target: from, extra: Some(Box::new(extra)), ..new }
    }
}

impl Flows {
    /// For a message whose flow was opened: keeps it, if messages are kept.
    pub(super) fn keep(&mut self, key: FlowKey, message: &Message, filter: usize, qos: QoS) {
        if let (true, Some(flow)) = (self.keeps, self.flows.get_mut(key as usize)) {
            self.opened += 1;
            flow.kept = Some(Box::new(Kept::new(message.share(), filter, qos, self.opened)));
        }
    }

    /// Nobody got the message, and nobody but the dead letters will.
    pub(super) fn begin_letter(&mut self, key: FlowKey, reason: ForwardDrop) {
        if let Some(flow) = self.flows.get_mut(key as usize).filter(|flow| flow.live) {
            flow.parts = LETTER_PARTS;
            if let Some(kept) = &mut flow.kept {
                kept.letter = Some(reason);
            }
        }
    }

    /// Why a target did not take a message: the first reason counts.
    pub(super) fn explain(&mut self, key: FlowKey, why: impl FnOnce() -> Box<str>) {
        let flow = self.flows.get_mut(key as usize).filter(|flow| flow.live);
        if let Some(kept) = flow.and_then(|flow| flow.kept.as_mut()) {
            kept.why.get_or_insert_with(why);
        }
    }

    /// These targets have the message: a bit for each.
    pub(super) fn handed(&mut self, key: FlowKey, targets: u64) {
        let flow = self.flows.get_mut(key as usize).filter(|flow| flow.live);
        if let Some(kept) = flow.and_then(|flow| flow.kept.as_mut()) {
            kept.handed |= targets;
        }
    }

    /// A target is through with the message.
    pub(super) fn finished_by(&mut self, key: FlowKey, target: usize) {
        let Some(flow) = self.flows.get_mut(key as usize) else { return };
        if !flow.live {
            self.no_longer_late(key, target);
        } else if let Some(kept) = &mut flow.kept {
            kept.finished |= bit(target);
        }
    }

    /// A target does not have the message of a finished flow any more; the last one frees the flow.
    fn no_longer_late(&mut self, key: FlowKey, target: usize) {
        let late = self.flows.get_mut(key as usize).filter(|flow| flow.late & bit(target) != 0);
        let Some(flow) = late else { return };
        flow.late &= !bit(target);
        if flow.late == 0 {
            self.lingering -= 1;
            self.free.push(key);
        }
    }

    /// For the holder of the turn: what a target has and did not finish is to be sent to it again. How many.
    pub(super) fn send_again(&mut self, target: usize) -> usize {
        for key in (0..).take(self.flows.len()) {
            self.no_longer_late(key, target);
        }
        let mut again: Vec<(u64, Sending)> = Vec::new();
        for (key, flow) in (0..).zip(&mut self.flows) {
            let Some(kept) = flow.kept.as_mut().filter(|_| flow.live) else { continue };
            if !kept.is_with(target) {
                continue;
            }
            kept.handed &= !bit(target);
            flow.parts += 1;
            let letter = kept.letter.map(|reason| kept.to_letter(reason));
            let only = Some(target).filter(|_| letter.is_none());
            let extra = Extra { only, letter, ..Extra::default() };
            again.push((kept.number, kept.to_sending(key, flow.source, target, extra)));
        }
        again.sort_by_key(|(number, _)| *number);
        let count = again.len();
        again.into_iter().rev().for_each(|(_, sending)| self.put_back(sending));
        count
    }
}

/// So many targets have a mark of their own.
pub(super) const TARGETS: usize = 64;

/// The mark of a target.
pub(super) fn bit(target: usize) -> u64 {
    u32::try_from(target).ok().and_then(|n| 1_u64.checked_shl(n)).unwrap_or(0)
}

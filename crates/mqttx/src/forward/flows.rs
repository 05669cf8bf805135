//! What a forwarder holds, as plain data: messages that wait, and messages between their arrival and the
//! acknowledgements of their targets.
//!
//! ```text
//!   admit ──▶ go ──────────────▶ being sent ──settle of the last part──▶ done: acknowledge the source
//!     └────▶ waiting ──next_lot──▶ │
//!               ▲                  │
//!               └──── put_back ────┘  a required target has no room
//! ```
//!
//! Every admitted message has a flow, with one part for each required target, and one for the sending itself, so that it
//! cannot be done before it was handed to all targets. One caller at a time sends: it holds the *turn*.

mod finish;
mod run;
mod turn;

use std::collections::VecDeque;
use std::time::Instant;

use mqttx_proto::QoS;

use super::kept::Kept;
use super::metrics::Counts;
use super::pace::Pace;
use super::reason::ForwardDrop;
use super::scratch::Sending;
use crate::router::Due;
use crate::trace::Span;

pub(super) use finish::LETTER_PARTS;
pub(super) use run::{Run, Together};
pub(super) use turn::QOS0_WINDOW;

/// The key of a flow, as targets give it back.
pub(super) type FlowKey = u32;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    /// Sends nothing; what is in flight is still acknowledged, and what still comes with QoS > 0 waits.
    Stopped,
    /// Takes messages and sends none.
    Paused,
    Running,
    /// Takes nothing any more.
    Gone,
}

impl Phase {
    /// Whether what it holds goes on with a start.
    pub(super) const fn waits_for_start(self) -> bool {
        matches!(self, Self::Stopped | Self::Paused)
    }
}

/// What becomes of a message that arrived.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Admitted {
    /// The caller sends it.
    Go(FlowKey),
    /// It waits for others: [`Flows::wait`].
    Wait(FlowKey),
    Dropped(ForwardDrop),
    /// It is not the forwarder's.
    Refused,
}

/// A message that arrived.
pub(super) struct Arrived<'a> {
    pub(super) source: usize,
    /// The level it has for this forwarder.
    pub(super) qos: QoS,
    /// What its source waits for.
    pub(super) due: Due,
    pub(super) topic: &'a str,
}

#[derive(Default)]
pub(super) struct Flow {
    /// `false`: free, and the memory of the topic serves the next one.
    pub(super) live: bool,
    windowed: bool,
    pub(super) source: usize,
    due: Due,
    /// Named when the message is given up.
    topic: String,
    /// It stands for several messages.
    run: Run,
    pub(super) parts: usize,
    failure: Option<ForwardDrop>,
    begun: Option<Instant>,
    /// What is needed to send the message again.
    pub(super) kept: Option<Box<Kept>>,
    /// Its part of a trace.
    pub(super) span: Option<Box<Span>>,
    /// Targets that are not required and that have the message of a flow that is finished: a bit for each. Until they are
    /// through with it no other message gets the flow, since they would finish that one.
    pub(super) late: u64,
}

/// One of so many messages is timed: reading the clock costs as much as forwarding.
const TIMED: u64 = 16;

pub(super) struct Flows {
    phase: Phase,
    /// Somebody sends.
    turn: bool,
    /// A required target has no room.
    blocked: bool,
    /// So many reasons to send nothing yet: what came before goes first.
    holds: usize,
    /// It had none when it was tried again.
    stuck: bool,
    window: usize,
    in_window: usize,
    /// Messages that were admitted and are not finished.
    held: usize,
    qos0_queue: usize,
    qos0_held: usize,
    /// Parts of a flow besides the sending itself.
    required: usize,
    waiting: VecDeque<Sending>,
    waiting_qos0: VecDeque<Sending>,
    pub(super) flows: Vec<Flow>,
    pub(super) free: Vec<FlowKey>,
    /// Messages are kept until they are finished.
    pub(super) keeps: bool,
    /// The target of the dead letters, if there is one.
    letters: Option<usize>,
    /// Flows that were opened.
    pub(super) opened: u64,
    /// Finished flows that are kept for late targets.
    pub(super) lingering: usize,
    pub(super) rate: Option<Pace>,
    pub(super) counts: Counts,
}

impl Flows {
    pub(super) fn new(window: usize, qos0_queue: usize, required: usize) -> Self {
        Self {
            keeps: false,
            letters: None,
            opened: 0,
            lingering: 0,
            rate: None,
            phase: Phase::Stopped,
            turn: false,
            blocked: false,
            holds: 0,
            stuck: false,
            window,
            in_window: 0,
            held: 0,
            qos0_queue,
            qos0_held: 0,
            required,
            waiting: VecDeque::new(),
            waiting_qos0: VecDeque::new(),
            flows: Vec::new(),
            free: Vec::new(),
            counts: Counts::default(),
        }
    }

    /// Messages are kept until they are finished; those that cannot be forwarded go to the target `letters`.
    pub(super) fn keeping(mut self, keeps: bool, letters: Option<usize>) -> Self {
        (self.keeps, self.letters) = (keeps || letters.is_some(), letters);
        self
    }

    pub(super) fn phase(&self) -> Phase {
        self.phase
    }

    /// A forwarder that is gone stays so.
    pub(super) fn set_phase(&mut self, phase: Phase) {
        if self.phase != Phase::Gone {
            self.phase = phase;
        }
    }

    /// What is admitted has to wait until as many [`release`](Self::release)s.
    pub(super) fn hold(&mut self) {
        self.holds += 1;
    }

    pub(super) fn release(&mut self) {
        self.holds = self.holds.saturating_sub(1);
    }

    /// Whether something was admitted and is not with all its targets.
    pub(super) fn is_waiting(&self) -> bool {
        self.turn || !self.waiting.is_empty() || !self.waiting_qos0.is_empty()
    }

    /// What waits with QoS 0.
    pub(super) fn waiting_qos0(&mut self) -> impl Iterator<Item = &mut Sending> {
        self.waiting_qos0.iter_mut()
    }

    /// Messages that arrived and are not finished.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// Those of them that wait to be sent.
    pub(super) fn queued(&self) -> usize {
        self.waiting.len() + self.waiting_qos0.len()
    }

    /// When the one arrived that waits longest.
    pub(super) fn waits_since(&self) -> Option<Instant> {
        let fronts = [self.waiting.front(), self.waiting_qos0.front()];
        fronts.into_iter().flatten().filter_map(Sending::received_at).min()
    }

    /// The source of every message that waits and that its server keeps.
    pub(super) fn waiting_sources(&self) -> impl Iterator<Item = usize> {
        self.waiting.iter().map(|sending| sending.source)
    }

    /// Whether nothing is under way: what a pause or a stop left waits for the start.
    pub(super) fn is_settled(&self) -> bool {
        self.held == if self.phase.waits_for_start() { self.queued() } else { 0 }
    }

    /// Whether no target has anything: the rest, if there is one, waits.
    pub(super) fn is_at_rest(&self) -> bool {
        self.held == self.queued()
    }

    /// Takes the turn for messages that arrive, if nobody has it.
    pub(super) fn begin(&mut self) -> bool {
        let free = !self.turn && !self.blocked && self.holds == 0 && self.phase == Phase::Running;
        self.turn |= free;
        free
    }

    /// Whether a message of that level is the forwarder's.
    pub(super) fn takes(&self, qos: QoS) -> bool {
        match self.phase {
            Phase::Gone => false,
            Phase::Stopped => qos != QoS::AtMostOnce,
            Phase::Paused | Phase::Running => true,
        }
    }

    /// A message arrived. `turn`: the caller has it. What it owes is kept only if it is admitted.
    pub(super) fn admit(&mut self, arrived: Arrived<'_>, turn: bool) -> Admitted {
        let qos0 = arrived.qos == QoS::AtMostOnce;
        if !self.takes(arrived.qos) {
            return Admitted::Refused;
        }
        self.counts.received += 1;
        if qos0 && self.qos0_held >= self.qos0_queue {
            self.counts.drop_one(ForwardDrop::QueueFull);
            return Admitted::Dropped(ForwardDrop::QueueFull);
        }
        let open = if qos0 {
            self.waiting_qos0.is_empty() && self.qos0_may_go()
        } else {
            self.waiting.is_empty() && self.in_window < self.window
        };
        // What is paced is asked when its turn comes.
        let open = open && self.rate.is_none();
        self.held += 1;
        self.qos0_held += usize::from(qos0);
        let key = self.open(arrived);
        if turn && open && self.phase == Phase::Running {
            self.in_window += usize::from(!qos0);
            Admitted::Go(key)
        } else {
            Admitted::Wait(key)
        }
    }

    /// A message arrived that is not to be forwarded: by the rules, or for a reason. `false`: it is not the
    /// forwarder's.
    pub(super) fn leave_out(&mut self, qos: QoS, reason: Option<ForwardDrop>) -> bool {
        if !self.takes(qos) {
            return false;
        }
        self.counts.received += 1;
        match reason {
            Some(reason) => self.counts.drop_one(reason),
            None => self.counts.filtered += 1,
        }
        true
    }

    fn open(&mut self, arrived: Arrived<'_>) -> FlowKey {
        let Arrived { source, qos, due, topic } = arrived;
        let windowed = qos != QoS::AtMostOnce;
        let key = self.free_key();
        if let Some(flow) = self.flows.get_mut(key as usize) {
            (flow.live, flow.windowed, flow.source, flow.due) = (true, windowed, source, due);
            (flow.parts, flow.failure, flow.kept) = (self.required + 1, None, None);
            flow.run = Run::default();
            flow.begun = (self.counts.received % TIMED == 1).then(crate::session::now);
            flow.topic.clear();
            flow.topic.push_str(topic);
        }
        key
    }

    /// The key of a flow that is not in use.
    fn free_key(&mut self) -> FlowKey {
        self.free.pop().unwrap_or_else(|| {
            self.flows.push(Flow::default());
            // Receive Maximum and the queue bound the flows far below 2^32.
            u32::try_from(self.flows.len() - 1).unwrap_or(u32::MAX)
        })
    }

    /// A flow is part of a trace from now on; the span that it had is given back.
    pub(super) fn trace(&mut self, key: FlowKey, span: Span) -> Option<Span> {
        match self.flows.get_mut(key as usize).filter(|flow| flow.live) {
            Some(flow) => flow.span.replace(Box::new(span)).map(|span| *span),
            None => Some(span),
        }
    }

    /// The topic of the message that had the flow last.
    pub(super) fn topic(&self, key: FlowKey) -> &str {
        self.flows.get(key as usize).map_or("", |flow| &flow.topic)
    }

    /// What the messages that are not finished owe, with the indices of their sources.
    pub(super) fn take_dues(&mut self) -> Vec<(usize, Due)> {
        let live = self.flows.iter_mut().filter(|flow| flow.live);
        let dues = live.map(|flow| (flow.source, std::mem::take(&mut flow.due)));
        dues.filter(|(_, due)| due.ticket().is_some()).collect()
    }

    /// Forgets everything, for the end: nothing is acknowledged. What was parked is returned.
    pub(super) fn clear(&mut self) -> Vec<Sending> {
        self.phase = Phase::Gone;
        self.flows.clear();
        self.free.clear();
        self.lingering = 0;
        (self.in_window, self.qos0_held, self.held) = (0, 0, 0);
        let all = self.waiting.drain(..).chain(self.waiting_qos0.drain(..));
        all.filter(|waiting| waiting.parked > 0).collect()
    }

    /// Gives memory back when nothing is under way.
    pub(super) fn shrink(&mut self) {
        if self.held + self.lingering == 0 && self.phase != Phase::Gone {
            (self.flows, self.free) = (Vec::new(), Vec::new());
            (self.waiting, self.waiting_qos0) = (VecDeque::new(), VecDeque::new());
        }
    }
}

#[cfg(test)]
#[path = "flows_tests.rs"]
mod tests;

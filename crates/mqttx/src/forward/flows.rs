//! What a forwarder holds, as plain data: messages that wait, and messages between their arrival and the
//! acknowledgements of their targets.
//!
//! ```text
//!   admit ──▶ waiting ──next──▶ flow (being sent) ──settle of the last part──▶ done: acknowledge the source
//!                ▲                   │
//!                └──── put_back ─────┘  a required target has no room
//! ```
//!
//! A flow has one part for each required target, and one for the sending itself, so that it cannot be done
//! before it was handed to all targets. One caller at a time sends: it holds the *turn*.

use std::collections::VecDeque;

use mqttx_proto::QoS;

use super::metrics::Counts;
use super::reason::ForwardDrop;
use crate::message::Message;

/// The key of a flow, as targets give it back.
pub(super) type FlowKey = u32;

/// A message on its way.
pub(super) struct Held {
    pub(super) message: Message,
    pub(super) source: usize,
    pub(super) filter: usize,
    /// The level it has for this forwarder.
    pub(super) qos: QoS,
    /// Its bytes count as parked on the source.
    pub(super) parked: bool,
    /// The first target that did not get it.
    pub(super) next_target: usize,
    /// `None` until it is being sent.
    pub(super) flow: Option<FlowKey>,
}

/// A message that is finished.
pub(super) struct Done {
    pub(super) message: Message,
    pub(super) failure: Option<ForwardDrop>,
    /// Nothing else is held.
    pub(super) was_last: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    /// Takes nothing and sends nothing; what is in flight is still acknowledged.
    Stopped,
    Running,
}

/// What became of a message that arrived.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Admitted {
    /// The caller has the turn.
    YourTurn,
    /// It waits for others.
    Waits,
    Dropped(ForwardDrop),
}

struct Flow {
    message: Message,
    parts: usize,
    windowed: bool,
    failure: Option<ForwardDrop>,
}

/// Messages with QoS 0 that targets have and their sockets do not.
const QOS0_WINDOW: usize = 1024;

pub(super) struct Flows {
    phase: Phase,
    /// Somebody sends.
    turn: bool,
    /// A required target has no room.
    blocked: bool,
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
    waiting: VecDeque<Held>,
    waiting_qos0: VecDeque<Held>,
    flows: Vec<Option<Flow>>,
    free: Vec<FlowKey>,
    pub(super) counts: Counts,
}

impl Flows {
    pub(super) fn new(window: usize, qos0_queue: usize, required: usize) -> Self {
        Self {
            phase: Phase::Stopped,
            turn: false,
            blocked: false,
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

    pub(super) fn phase(&self) -> Phase {
        self.phase
    }

    pub(super) fn set_phase(&mut self, phase: Phase) {
        self.phase = phase;
    }

    /// Whether a message with QoS 0 would be dropped.
    pub(super) fn qos0_is_full(&self) -> bool {
        self.qos0_held >= self.qos0_queue
    }

    /// What waits with QoS 0.
    pub(super) fn waiting_qos0(&mut self) -> impl Iterator<Item = &mut Held> {
        self.waiting_qos0.iter_mut()
    }

    /// Messages that arrived and are not finished.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// Whether a message of this level would be sent at once.
    pub(super) fn is_open_for(&self, qos: QoS) -> bool {
        let room = match qos {
            QoS::AtMostOnce => self.waiting_qos0.is_empty() && self.qos0_may_go(),
            _ => self.in_window < self.window && self.waiting.is_empty(),
        };
        room && !self.turn && !self.blocked
    }

    /// A message arrived; a stopped forwarder gives it back.
    pub(super) fn admit(&mut self, held: Held) -> Result<Admitted, Held> {
        if self.phase != Phase::Running {
            return Err(held);
        }
        self.counts.received += 1;
        if held.qos == QoS::AtMostOnce {
            if self.qos0_is_full() {
                self.counts.drop_one(ForwardDrop::QueueFull);
                return Ok(Admitted::Dropped(ForwardDrop::QueueFull));
            }
            self.qos0_held += 1;
            self.waiting_qos0.push_back(held);
        } else {
            self.waiting.push_back(held);
        }
        self.held += 1;
        Ok(if self.take_turn() { Admitted::YourTurn } else { Admitted::Waits })
    }

    /// Takes the turn if there is something to send and nobody does.
    pub(super) fn take_turn(&mut self) -> bool {
        let free = !self.turn && self.has_next();
        self.turn |= free;
        free
    }

    fn has_next(&self) -> bool {
        let windowed = self.waiting.front().is_some_and(|held| self.may_go(held));
        let qos0 = !self.waiting_qos0.is_empty() && self.qos0_may_go();
        self.phase == Phase::Running && !self.blocked && (windowed || qos0)
    }

    /// Sockets are ahead of the messages that they have to take: the rest waits here, where it slows its source down.
    fn qos0_may_go(&self) -> bool {
        // One that came back after the end does not count.
        let under_way = self.qos0_held.saturating_sub(self.waiting_qos0.len());
        under_way < (self.qos0_queue / 8).clamp(1, QOS0_WINDOW)
            || self.waiting_qos0.front().is_some_and(|held| held.flow.is_some())
    }

    fn may_go(&self, held: &Held) -> bool {
        held.flow.is_some() || self.in_window < self.window
    }

    /// For the holder of the turn: the next message to send, with its flow; `None` ends the turn.
    pub(super) fn next(&mut self) -> Option<(Held, FlowKey)> {
        if !self.has_next() {
            self.turn = false;
            return None;
        }
        let windowed = self.waiting.front().is_some_and(|held| self.may_go(held));
        let queue = if windowed { &mut self.waiting } else { &mut self.waiting_qos0 };
        let mut held = queue.pop_front()?;
        let key = match held.flow {
            Some(key) => key,
            None => self.open(&held, windowed),
        };
        held.flow = Some(key);
        Some((held, key))
    }

    fn open(&mut self, held: &Held, windowed: bool) -> FlowKey {
        self.in_window += usize::from(windowed);
        let flow = Flow {
            message: held.message.clone(),
            parts: self.required + 1,
            windowed,
            failure: None,
        };
        if let Some(key) = self.free.pop()
            && let Some(place) = self.flows.get_mut(key as usize)
        {
            *place = Some(flow);
            return key;
        }
        self.flows.push(Some(flow));
        // The window and the queue bound the flows far below 2^32.
        u32::try_from(self.flows.len() - 1).unwrap_or(u32::MAX)
    }

    /// For the holder of the turn: a required target has no room. Ends the turn; nothing is sent until
    /// [`unblock`](Self::unblock). `true` when it had none at the last attempt, either.
    pub(super) fn put_back(&mut self, held: Held) -> bool {
        self.blocked = true;
        self.turn = false;
        match held.qos {
            QoS::AtMostOnce => self.waiting_qos0.push_front(held),
            _ => self.waiting.push_front(held),
        }
        std::mem::replace(&mut self.stuck, true)
    }

    /// For the holder of the turn: a message was handed to all targets.
    pub(super) fn sent(&mut self) {
        self.stuck = false;
    }

    pub(super) fn unblock(&mut self) {
        self.blocked = false;
    }

    /// Parts of a flow are finished; the last one finishes the flow. The first failure counts.
    pub(super) fn settle(
        &mut self,
        key: FlowKey,
        parts: usize,
        failure: Option<ForwardDrop>,
    ) -> Option<Done> {
        let place = self.flows.get_mut(key as usize)?;
        let flow = place.as_mut()?;
        flow.failure = flow.failure.or(failure);
        flow.parts -= parts.min(flow.parts);
        if flow.parts > 0 {
            return None;
        }
        let flow = place.take()?;
        self.free.push(key);
        self.held -= 1;
        if flow.windowed {
            self.in_window -= 1;
        } else {
            self.qos0_held -= 1;
        }
        match flow.failure {
            Some(reason) => self.counts.drop_one(reason),
            None => self.counts.forwarded += 1,
        }
        let was_last = self.held == 0;
        Some(Done { message: flow.message, failure: flow.failure, was_last })
    }

    /// Forgets everything, for the end: nothing is acknowledged. What was parked is returned.
    pub(super) fn clear(&mut self) -> Vec<Held> {
        self.phase = Phase::Stopped;
        self.flows.clear();
        self.free.clear();
        (self.in_window, self.qos0_held, self.held) = (0, 0, 0);
        let all = self.waiting.drain(..).chain(self.waiting_qos0.drain(..));
        all.filter(|held| held.parked).collect()
    }
}

#[cfg(test)]
#[path = "flows_tests.rs"]
mod tests;

//! What is sent next, and by whom: one caller at a time, who holds the *turn*.

use mqttx_proto::QoS;

use super::{Flows, Phase};
use crate::forward::pace::Pace;
use crate::forward::scratch::Sending;

/// Messages with QoS 0 that targets have and their sockets do not.
pub(in crate::forward) const QOS0_WINDOW: usize = 1024;

impl Flows {
    /// It waits, as [`admit`](Self::admit) said.
    pub(in crate::forward) fn wait(&mut self, sending: Sending) {
        match sending.qos {
            QoS::AtMostOnce => self.waiting_qos0.push_back(sending),
            _ => self.waiting.push_back(sending),
        }
    }

    /// Takes the turn if there is something to send and nobody does.
    pub(in crate::forward) fn take_turn(&mut self) -> bool {
        let free = !self.turn && self.has_next();
        self.turn |= free;
        free
    }

    pub(super) fn has_next(&self) -> bool {
        let windowed = self.waiting.front().is_some_and(|held| self.may_go(held));
        let qos0 = !self.waiting_qos0.is_empty() && self.qos0_may_go();
        let paced = self.rate.as_ref().is_some_and(Pace::waits);
        let stands = self.blocked || self.holds > 0 || paced;
        self.phase == Phase::Running && !stands && (windowed || qos0)
    }

    /// Sockets are ahead of the messages that they have to take: the rest waits here, where it slows its source down.
    pub(super) fn qos0_may_go(&self) -> bool {
        // One that came back after the end does not count.
        let under_way = self.qos0_held.saturating_sub(self.waiting_qos0.len());
        under_way < (self.qos0_queue / 8).clamp(1, QOS0_WINDOW)
            || self.waiting_qos0.front().is_some_and(|first| first.started)
    }

    pub(super) fn may_go(&self, first: &Sending) -> bool {
        first.started || self.in_window < self.window
    }

    /// For the holder of the turn: appends the next messages to send, up to `most`; none ends the turn.
    pub(in crate::forward) fn next_lot(&mut self, most: usize, lot: &mut Vec<Sending>) {
        let before = lot.len();
        while lot.len() - before < most && self.has_next() {
            let windowed = self.waiting.front().is_some_and(|first| self.may_go(first));
            let queue = if windowed { &mut self.waiting } else { &mut self.waiting_qos0 };
            if let (Some(first), Some(pace)) = (queue.front(), &mut self.rate)
                && !first.started
                && !pace.lets(first.body.len())
            {
                break;
            }
            lot.extend(queue.pop_front());
            if let Some(next) = lot.last_mut().filter(|next| !next.started) {
                next.started = true;
                self.in_window += usize::from(windowed);
            }
        }
        self.turn = lot.len() > before;
    }

    /// For the holder of the turn, who sent nothing and has left nothing behind.
    pub(in crate::forward) fn end_turn(&mut self) {
        self.turn = false;
    }

    /// Takes the turn whether there is something to send or not, if nobody has it.
    pub(in crate::forward) fn seize_turn(&mut self) -> bool {
        let free = !self.turn && self.phase != Phase::Gone;
        self.turn |= free;
        free
    }

    /// For the holder of the turn: a required target has no room for this message. What was taken last comes back first.
    pub(in crate::forward) fn put_back(&mut self, sending: Sending) {
        match sending.qos {
            _ if self.phase == Phase::Gone => {}
            QoS::AtMostOnce => self.waiting_qos0.push_front(sending),
            _ => self.waiting.push_front(sending),
        }
    }

    /// Ends the turn after [`put_back`](Self::put_back): nothing is sent until [`unblock`](Self::unblock). `true` when the
    /// target had no room at the last attempt, either.
    pub(in crate::forward) fn block(&mut self) -> bool {
        self.counts.retried += 1;
        self.blocked = true;
        self.turn = false;
        std::mem::replace(&mut self.stuck, true)
    }

    /// For the holder of the turn: a message was handed to all targets.
    pub(in crate::forward) fn sent(&mut self) {
        self.stuck = false;
    }

    pub(in crate::forward) fn unblock(&mut self) {
        self.blocked = false;
    }
}

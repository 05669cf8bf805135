//! From the routes of the sources into the flows, and back to what waits.

use std::sync::Arc;

use mqttx_proto::QoS;
use mqttx_proto::packet::Publish;

use super::engine::{Engine, Inner};
use super::flows::{Admitted, Arrived, Phase, QOS0_WINDOW};
use super::reason::ForwardDrop;
use super::scratch::{Body, Extra, Letter, Scratch, Sending, Verdict};
use super::send::LARGE;
use crate::router::{Due, Lot, LotHandler, LotItem};

/// A filter of a source.
pub(super) struct Inlet {
    pub(super) engine: Arc<Engine>,
    pub(super) source: usize,
    pub(super) filter: usize,
}

impl LotHandler for Inlet {
    fn take(&self, lot: &Lot<'_>, items: &mut Vec<LotItem>) {
        let mut scratch = Scratch::borrow();
        self.leave_to_earlier(lot, items, &mut scratch);
        let has_turn = self.run(lot, items, &mut scratch);
        self.judge(lot, items, &mut scratch);
        let turn = self.admit(lot, items, has_turn, &mut scratch);
        self.engine.settle_up(&mut scratch);
        if turn {
            self.engine.pump_with(&mut scratch, Some(lot));
        }
        scratch.give_back();
    }

    fn shrink(&self) {
        self.engine.lock().shrink();
    }
}

impl Inlet {
    /// Leaves out what another filter brings, in this copy or in its own: for that, this one owes nothing.
    fn leave_to_earlier(&self, lot: &Lot<'_>, items: &mut Vec<LotItem>, scratch: &mut Scratch) {
        if (self.source, self.filter) == (0, 0) {
            return;
        }
        items.retain_mut(|LotItem { index, due }| {
            let earlier =
                lot.read.get(*index).is_some_and(|publish| self.has_earlier_match(&publish));
            if earlier {
                let ticket = std::mem::take(due).settle();
                scratch.acks.extend(ticket.map(|ticket| (self.source, ticket)));
            }
            !earlier
        });
    }

    /// Takes messages in; `true` if those in `scratch.sending` are to be sent by the caller, who has the turn from now on, or had
    /// it before.
    fn admit(
        &self,
        lot: &Lot<'_>,
        items: &mut Vec<LotItem>,
        has_turn: bool,
        scratch: &mut Scratch,
    ) -> bool {
        if items.is_empty() {
            return has_turn;
        }
        let Self { engine, source, filter } = self;
        let (Some(rule), Some(session)) =
            (engine.options.sources.get(*source), engine.sources.get(*source))
        else {
            return false;
        };
        let (mut parked, mut parked_qos0) = (0, false);
        let mut inner = engine.lock();
        let turn = has_turn || inner.flows.begin();
        let mut verdicts = std::mem::take(&mut scratch.verdicts).into_iter();
        for LotItem { index, mut due } in items.drain(..) {
            let verdict = verdicts.next().unwrap_or(Verdict::Take);
            let Some(publish) = lot.read.get(index) else { continue };
            let qos = publish.qos.min(rule.qos);
            if qos == QoS::AtMostOnce {
                // The subscription asks for more than this forwarder: it owes nothing.
                let ticket = std::mem::take(&mut due).settle();
                scratch.acks.extend(ticket.map(|ticket| (*source, ticket)));
            }
            if !inner.flows.takes(qos) {
                scratch.leave(*source, due);
                continue;
            }
            let letter = match self.decide(verdict, &publish) {
                Ok(letter) => letter,
                Err(reason) => {
                    inner.leave_out((*source, qos), due, publish.topic, reason, scratch);
                    continue;
                }
            };
            let arrived = Arrived { source: *source, qos, due, topic: publish.topic };
            match inner.flows.admit(arrived, turn && letter.is_none()) {
                Admitted::Go(key) => {
                    let large = publish.payload.len() >= LARGE && engine.targets.len() > 1;
                    // Several targets share one copy.
                    let body = match large || engine.keeps {
                        true => Body::Own(lot.message(&publish, None)),
                        false => Body::Read(index),
                    };
                    if let Body::Own(message) = &body {
                        inner.flows.keep(key, message, *filter, qos);
                    }
                    scratch.sending.push(Sending::new(key, body, *source, *filter, qos));
                }
                Admitted::Wait(key) => {
                    let old = inner.spare();
                    let message = lot.message(&publish, old);
                    // A pause has no end that a source could wait for: then QoS 0 has its queue, and no more.
                    let free = qos == QoS::AtMostOnce && inner.flows.phase() == Phase::Paused;
                    let cost = self.cost(qos, message.size(), session.inbound_buffer());
                    let cost = if free { 0 } else { cost };
                    parked += cost;
                    parked_qos0 |= qos == QoS::AtMostOnce && !free;
                    inner.flows.keep(key, &message, *filter, qos);
                    let new = Sending::new(key, Body::Own(message), *source, *filter, qos);
                    let mut waiting = Sending { parked: cost, started: false, ..new };
                    if let Some(letter) = letter {
                        inner.flows.begin_letter(key, letter.reason);
                        waiting.next_target = engine.targets.len();
                        let letter = Some(letter);
                        waiting.extra = Some(Box::new(Extra { letter, ..Extra::default() }));
                    }
                    inner.flows.wait(waiting);
                }
                Admitted::Dropped(reason) => inner.report(reason, publish.topic, scratch),
                // It was asked about.
                Admitted::Refused => {}
            }
        }
        if parked > 0 {
            session.park(parked);
        }
        let look = parked_qos0 && inner.begin_watch();
        drop(inner);
        if look {
            engine.look_for_targets();
        }
        turn
    }

    /// Whether a message goes on, as a dead letter or as it is.
    ///
    /// # Errors
    /// It does not: it is filtered, or given up for a reason.
    fn decide(
        &self,
        verdict: Verdict,
        publish: &Publish<'_>,
    ) -> Result<Option<Letter>, Option<ForwardDrop>> {
        let letter = match verdict {
            Verdict::Take => None,
            Verdict::Letter(letter) => Some(letter),
            Verdict::Leave => return Err(None),
            Verdict::Drop(reason) => return Err(Some(reason)),
        };
        let mark = &self.engine.mark;
        if !publish.properties.is_empty() && mark.ends(mark.read(publish.properties)) {
            return Err(Some(ForwardDrop::Loop));
        }
        Ok(letter)
    }

    /// Whether a filter before this one, on the same session, brings the message.
    ///
    /// A copy that names its subscriptions came to the routes of these alone. Then only what the server granted brings
    /// another copy: one that it refused, or did not answer yet, takes nothing from this one.
    fn has_earlier_match(&self, publish: &Publish<'_>) -> bool {
        let sources = &self.engine.options.sources;
        let Some(this) = sources.get(self.source) else { return false };
        let is_named = publish.properties.subscription_identifiers().next().is_some();
        let session = self.engine.sources.get(self.source);
        let comes = |filter: &str| !is_named || session.is_some_and(|s| s.is_granted(filter));
        sources.iter().take(self.source + 1).enumerate().any(|(n, rule)| {
            let before = if n == self.source { self.filter } else { rule.topics.len() };
            let mut before = rule.topics.iter().take(before);
            rule.session == this.session
                && before.any(|filter| brings(filter, publish.topic) && comes(filter))
        })
    }

    /// What a waiting message counts in its source's inbound buffer: what it takes, and with QoS 0 so much that the source
    /// is not read any more once as many wait as are under way, and before the queue is full.
    fn cost(&self, qos: QoS, size: usize, inbound_buffer: usize) -> usize {
        let share = match qos {
            QoS::AtMostOnce => {
                inbound_buffer / (self.engine.options.qos0_queue / 2).clamp(1, QOS0_WINDOW)
            }
            _ => 0,
        };
        (size + OVERHEAD).max(share)
    }
}

impl Engine {
    /// QoS 0 waits for targets that are slow, and not for those that are away: what waits does not hold its source back if one is, or
    /// once one [leaves](crate::session::CompletionSink::left).
    pub(super) fn look_for_targets(&self) {
        let required = self.targets.iter().zip(&self.options.targets);
        let mut required = required.filter(|(_, rule)| rule.required);
        if required.any(|(target, _)| !target.session().has_connection()) {
            self.release_qos0();
        }
    }

    /// What waits with QoS 0 does not hold its source back any more.
    pub(super) fn release_qos0(&self) {
        let mut inner = self.lock();
        inner.watching = false;
        let waiting = inner.flows.waiting_qos0();
        let parked: Vec<_> =
            waiting.map(|held| (held.source, std::mem::take(&mut held.parked))).collect();
        let passing = inner.flows.take_passing();
        drop(inner);
        for (source, bytes) in parked {
            self.unpark(source, bytes);
        }
        for (source, bytes) in passing {
            self.passed(source, bytes);
        }
    }
}

impl Inner {
    /// A required target had no room for the message: it waits again. Whether it holds its source back with QoS 0.
    pub(super) fn put_back(
        &mut self,
        mut sending: Sending,
        scratch: &mut Scratch,
        lot: Option<&Lot<'_>>,
    ) -> bool {
        if let Body::Read(index) = sending.body {
            let Some(lot) = lot else { return false };
            let Some(publish) = lot.read.get(index) else { return false };
            sending.body = Body::Own(lot.message(&publish, self.spare()));
        }
        let qos0 = sending.qos == QoS::AtMostOnce;
        let held_back = match self.flows.phase() {
            Phase::Running => true,
            Phase::Stopped | Phase::Paused => !qos0,
            Phase::Gone => false,
        };
        if !held_back {
            scratch.unpark(sending.source, std::mem::take(&mut sending.parked));
        }
        let again = Sending { failed: 0, failure: None, taken: 0, took: 0, ..sending };
        let parked = again.parked > 0 && qos0;
        self.flows.put_back(again);
        parked
    }

    /// A message that is not forwarded: the source gets its acknowledgement.
    fn leave_out(
        &mut self,
        (source, qos): (usize, QoS),
        due: Due,
        topic: &str,
        reason: Option<ForwardDrop>,
        scratch: &mut Scratch,
    ) {
        if !self.flows.leave_out(qos, reason) {
            return;
        }
        scratch.acks.extend(due.settle().map(|ticket| (source, ticket)));
        if let Some(reason) = reason {
            self.report(reason, topic, scratch);
        }
    }
}

/// Whether a filter brings its own copy of the message to this session, or marks this one as its own. What
/// a shared subscription matches may go to another member of its group.
fn brings(filter: &str, topic: &str) -> bool {
    mqttx_proto::split_shared(filter).is_none() && mqttx_proto::matches(filter, topic)
}

/// Counted for each waiting message besides its bytes, so that empty ones are bounded too.
const OVERHEAD: usize = 160;

//! The moving part of a forwarder.
//!
//! There is no task and no channel: the messages of a read are sent together on the turn of the driver that
//! received them, and what waits is sent on the turn of the driver that brought the acknowledgements which make
//! room for it. What is done for many messages is done under one lock.
//! Rule of locks: no session is called while the forwarder's own lock is held.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use mqttx_proto::Origin;
use tokio::sync::Notify;

use super::endpoint::TargetRule;
use super::fault::RuleFailure;
use super::flows::{FlowKey, Flows};
use super::hops::Mark;
use super::late;
use super::metrics::ForwarderMetrics;
use super::reason::{DropReports, ForwardDrop};
use super::rule::ForwarderOptions;
use super::scratch::{Body, Scratch};
use super::target::Target;
use crate::error::Error;
use crate::event::{EventKind, EventName};
use crate::message::Message;
use crate::metrics::Histogram;
use crate::router::{LOT, Lot};
use crate::session::{CompletionSink, Finished, Session};

/// One forwarder between its sessions.
pub(super) struct Engine {
    pub(super) me: Weak<Self>,
    pub(super) options: ForwarderOptions,
    pub(super) sources: Vec<Session>,
    pub(super) targets: Vec<Target>,
    /// Where dead letters go.
    pub(super) dead_letters: Option<Target>,
    pub(super) mark: Mark,
    /// Of its messages in the stores of targets.
    pub(super) origin: Origin,
    /// There is a transform, or metadata.
    pub(super) changes: bool,
    /// Messages are kept until they are finished.
    pub(super) keeps: bool,
    inner: Mutex<Inner>,
    latency: Arc<Histogram>,
    /// Told when nothing is held any more.
    pub(super) idle: Notify,
    /// Told when nobody needs to watch the targets any more.
    pub(super) unwatched: Arc<Notify>,
    /// Told when everything that it took is with its targets, if somebody waits for that.
    pub(super) quiet: Notify,
}

/// The sessions of a forwarder, in the order of its rules.
pub(super) struct Ends {
    pub(super) sources: Vec<Session>,
    /// With those that take its place.
    pub(super) targets: Vec<Vec<Session>>,
    pub(super) dead_letters: Option<Vec<Session>>,
}

pub(super) struct Inner {
    pub(super) flows: Flows,
    /// The task that waits for a target to leave, since QoS 0 waits for the targets; 0: there is none.
    pub(super) watch: u64,
    /// How many there were.
    pub(super) watches: u64,
    /// Somebody waits until nothing waits here.
    pub(super) retiring: bool,
    pub(super) reports: DropReports,
    /// From the arrival of some messages to the acknowledgements of their targets.
    latency: Arc<Histogram>,
    /// Messages that were sent, and whose memory the next ones that wait may have.
    spare: Vec<Message>,
}

impl Engine {
    /// `daemon`: the name of what it is part of.
    pub(super) fn new(options: ForwarderOptions, ends: Ends, daemon: &str) -> Arc<Self> {
        let rules = &options.rules;
        let latency = Arc::new(Histogram::of_latency());
        let required = options.targets.iter().filter(|target| target.required).count();
        let changes = !rules.transform.is_empty() || !rules.metadata.is_empty();
        let letters = rules.dead_letter.as_ref().map(|_| options.targets.len());
        let again = options.targets.iter().any(|target| !target.failover.is_empty());
        let keeps = again || letters.is_some();
        let flows = Flows::new(options.window, options.qos0_queue, required)
            .keeping(keeps, letters)
            .paced(rules.rate_limit);
        let mark = Mark::new(daemon, &options.name, u32::from(rules.max_hops));
        Arc::new_cyclic(|me: &Weak<Self>| {
            let target = |n, rule: &TargetRule, sessions| {
                Target::new(
                    n,
                    rule.uses_time(),
                    sessions,
                    Weak::clone(me) as Weak<dyn CompletionSink>,
                )
            };
            let rules = options.targets.iter().enumerate();
            let targets = ends.targets.into_iter().zip(rules);
            let targets = targets.map(|(sessions, (n, rule))| target(n, rule, sessions)).collect();
            let rule = options.rules.dead_letter.as_ref().zip(ends.dead_letters);
            let n = options.targets.len();
            let dead_letters = rule.map(|(rule, sessions)| target(n, rule, sessions));
            Self {
                me: Weak::clone(me),
                targets,
                dead_letters,
                mark,
                origin: late::origin(&options.name),
                changes,
                keeps,
                inner: Mutex::new(Inner {
                    flows,
                    watch: 0,
                    watches: 0,
                    retiring: false,
                    reports: DropReports::default(),
                    latency: Arc::clone(&latency),
                    spare: Vec::new(),
                }),
                latency,
                idle: Notify::new(),
                unwatched: Arc::default(),
                quiet: Notify::new(),
                options,
                sources: ends.sources,
            }
        })
    }

    /// A target by its number; behind the last one, that of the dead letters.
    pub(super) fn target(&self, n: usize) -> Option<(&TargetRule, &Target)> {
        match self.targets.get(n) {
            Some(target) => self.options.targets.get(n).zip(Some(target)),
            None if n == self.targets.len() => {
                self.options.rules.dead_letter.as_ref().zip(self.dead_letters.as_ref())
            }
            None => None,
        }
    }

    pub(super) fn metrics(&self) -> ForwarderMetrics {
        let (mut metrics, queued, since) = {
            let inner = self.lock();
            let flows = &inner.flows;
            (flows.counts.snapshot(), flows.queued(), flows.waits_since())
        };
        metrics.queued = queued as u64;
        let lag = since.map(|since| crate::session::now().saturating_duration_since(since));
        metrics.lag = lag.unwrap_or_default();
        metrics.latency_seconds = self.latency.snapshot();
        metrics
    }

    /// Sends what may be sent. The caller holds the turn, and loses it here.
    pub(super) fn pump(&self) {
        let mut scratch = Scratch::borrow();
        self.pump_with(&mut scratch, None);
        scratch.give_back();
    }

    /// [`pump`](Self::pump); first what is in `scratch.sending`, some of which may lie in `lot`.
    pub(super) fn pump_with(&self, scratch: &mut Scratch, lot: Option<&Lot<'_>>) {
        loop {
            let mut full = None;
            if !scratch.sending.is_empty() {
                self.prepare(scratch, lot);
                full = self.send(scratch, lot);
            }
            let mut inner = self.lock();
            let sent = full.as_ref().map_or(usize::MAX, |full| full.sent);
            let parked_qos0 = inner.after_sending(scratch, sent, lot);
            let again = full.is_some() && inner.flows.block();
            if full.is_none() {
                inner.flows.next_lot(LOT, &mut scratch.sending);
            }
            let watch = parked_qos0.then(|| inner.begin_watch()).flatten();
            let timer = inner.flows.pace_timer();
            let quiet = inner.retiring && !inner.flows.is_waiting();
            drop(inner);
            if let Some(at) = timer {
                self.wait_for_pace(at);
            }
            if let Some(watch) = watch {
                self.watch_targets(watch);
            }
            if quiet {
                self.quiet.notify_waiters();
            }
            self.settle_up(scratch);
            if let Some(full) = full {
                return self.wait_for_room(full.target, again);
            }
            if scratch.sending.is_empty() {
                return;
            }
        }
    }

    /// Sends again once the target has room. `again`: there seemed to be room, but not enough for the
    /// bytes of the message.
    fn wait_for_room(&self, target: usize, again: bool) {
        let Some((_, target)) = self.target(target) else { return };
        if target.session().is_removed() {
            return self.stand_still(target);
        }
        // Whoever waits does not keep a forwarder that ended.
        let (session, me) = (target.session().clone(), Weak::clone(&self.me));
        session.services().runtime.clone().spawn(async move {
            if again {
                tokio::time::sleep(RETRY).await;
            }
            session.room().await;
            let Some(engine) = me.upgrade() else { return };
            let turn = {
                let mut inner = engine.lock();
                inner.flows.unblock();
                inner.flows.take_turn()
            };
            if turn {
                engine.pump();
            }
        });
    }

    /// A target has no session: nothing goes before another one takes its place.
    fn stand_still(&self, target: &Target) {
        if !target.is_gone() {
            return;
        }
        target.session().services().events.emit(
            None,
            EventKind::ForwarderBlocked {
                forwarder: Arc::clone(&self.options.name),
                target: Arc::clone(target.session().shared_name()),
            },
        );
        // Nothing of what waits will be sent.
        self.idle.notify_waiters();
        self.quiet.notify_waiters();
    }

    /// Whether a target that has to get every message, or that of the dead letters, has no session any more.
    pub(super) fn is_stranded(&self) -> bool {
        let all = (0..=self.targets.len()).filter_map(|n| self.target(n));
        all.into_iter().any(|(rule, target)| rule.required && target.is_gone())
    }

    /// Whether `session` took the place of one of its own, under the same name.
    pub(super) fn is_left_by(&self, session: &Session) -> bool {
        let targets = self.targets.iter().chain(&self.dead_letters);
        let mut all = targets.flat_map(Target::sessions).chain(&self.sources);
        all.any(|own| own.name() == session.name() && !own.is(session))
    }

    /// Sends again once the rate limit allows it.
    fn wait_for_pace(&self, at: std::time::Instant) {
        let (Some(source), me) = (self.sources.first(), Weak::clone(&self.me)) else { return };
        source.services().runtime.clone().spawn(async move {
            tokio::time::sleep_until(at.into()).await;
            let Some(engine) = me.upgrade() else { return };
            let turn = {
                let mut inner = engine.lock();
                inner.flows.resume_pace();
                inner.flows.take_turn()
            };
            if turn {
                engine.pump();
            }
        });
    }

    /// Does what may be done only without the lock: acknowledges to the sources, lets them go on, tells of what was given up.
    pub(super) fn settle_up(&self, scratch: &mut Scratch) {
        for (source, bytes) in scratch.unparked.drain(..) {
            self.unpark(source, bytes);
        }
        for of_one in scratch.acks.chunk_by(|a, b| a.0 == b.0) {
            let source = of_one.first().and_then(|(source, _)| self.sources.get(*source));
            if let Some(session) = source {
                session.acknowledge(of_one.iter().map(|(_, ticket)| *ticket));
            }
        }
        scratch.acks.clear();
        if !scratch.left.is_empty() {
            self.hand_back(&mut scratch.left);
        }
        scratch.ended.clear();
        for (reason, count, topic) in scratch.told.drain(..) {
            self.tell(reason, count, topic);
        }
        if std::mem::take(&mut scratch.idle) {
            self.idle.notify_waiters();
        }
    }

    pub(super) fn unpark(&self, source: usize, bytes: usize) {
        if let Some(session) = self.sources.get(source).filter(|_| bytes > 0) {
            session.unpark(bytes);
        }
    }

    pub(super) fn tell(&self, reason: ForwardDrop, count: u64, topic: String) {
        let Some(session) = self.sources.first() else { return };
        let events = &session.services().events;
        if events.wants(EventName::ForwarderMessageDropped) {
            let forwarder = Arc::clone(&self.options.name);
            let reason = reason.as_str();
            events
                .emit(None, EventKind::ForwarderMessageDropped { forwarder, reason, count, topic });
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CompletionSink for Engine {
    fn complete(&self, tag: usize, finished: &mut Finished<'_>) {
        let Some((rule, target)) = self.target(Target::number(tag)) else { return };
        let mut scratch = Scratch::borrow();
        let mut inner = self.lock();
        // What a session finishes that had to give way was sent again to another one.
        let finished = finished.filter(|_| target.is_current(tag));
        for (key, result) in finished {
            let failure = result.err().map(|error| {
                // Of an optional target: the key may be that of another message by now.
                if self.keeps && rule.required {
                    inner.flows.explain(key, || explanation(&error));
                }
                ForwardDrop::of(&error)
            });
            if self.keeps {
                inner.flows.finished_by(key, Target::number(tag));
            }
            if rule.required {
                inner.settle(key, 1, failure, &mut scratch);
            } else {
                target.pending.fetch_sub(1, Ordering::Relaxed);
                inner.flows.counts.optional_lost += u64::from(failure.is_some());
            }
        }
        let turn = inner.flows.take_turn();
        drop(inner);
        self.settle_up(&mut scratch);
        if turn {
            self.pump_with(&mut scratch, None);
        }
        scratch.give_back();
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.targets.iter().chain(&self.dead_letters).for_each(Target::leave);
    }
}

/// What a dead letter says of an error.
pub(super) fn explanation(error: &Error) -> Box<str> {
    RuleFailure::new(error.to_string()).message().into()
}

impl Inner {
    /// The messages that were being sent are with their targets, or wait again: those behind the first `sent`. Whether one of
    /// the latter holds its source back with QoS 0.
    fn after_sending(&mut self, scratch: &mut Scratch, sent: usize, lot: Option<&Lot<'_>>) -> bool {
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
    fn settle(
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

    /// The memory of an old message.
    pub(super) fn spare(&mut self) -> Option<Message> {
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

    /// Nothing came for a while: gives memory back. Whether the task that watches the targets is to end, too.
    pub(super) fn shrink(&mut self) -> bool {
        self.spare = Vec::new();
        self.flows.shrink();
        let idle = self.watch != 0 && !self.flows.waiting_qos0().any(|held| held.parked > 0);
        if idle {
            self.watch = 0;
        }
        idle
    }

    /// Tells of a message that has no flow.
    pub(super) fn report(&mut self, reason: ForwardDrop, topic: &str, scratch: &mut Scratch) {
        if let Some(count) = self.reports.add(reason, crate::session::now()) {
            scratch.told.push((reason, count, topic.to_owned()));
        }
    }
}

/// Messages whose memory is kept; each has at most 1 KiB.
const SPARE: usize = 4096;

/// Between two attempts to fit a message into an outbox that has some room.
const RETRY: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forward::flows::{Admitted, Arrived, Phase};
    use crate::forward::scratch::Sending;
    use crate::router::Due;
    use mqttx_proto::QoS;

    fn inner() -> Inner {
        let mut flows = Flows::new(8, 64, 1);
        flows.set_phase(Phase::Running);
        let (watch, watches) = (0, 0);
        let latency = Arc::new(Histogram::of_latency());
        let (reports, spare) = (DropReports::default(), Vec::new());
        Inner { flows, watch, watches, retiring: false, reports, latency, spare }
    }

    /// A message with QoS 0 that waits, and holds its source back.
    fn wait(inner: &mut Inner) {
        let arrived = Arrived { source: 0, qos: QoS::AtMostOnce, due: Due::Nothing, topic: "a" };
        let Admitted::Wait(key) = inner.flows.admit(arrived, false) else { panic!("it waits") };
        let new = Sending::new(key, Body::Read(0), 0, 0, QoS::AtMostOnce);
        inner.flows.wait(Sending { started: false, parked: 10, ..new });
    }

    #[test]
    fn the_targets_are_watched_by_one_task_until_nothing_waits_for_a_while() {
        let mut inner = inner();
        wait(&mut inner);
        assert_eq!(inner.begin_watch(), Some(1));
        wait(&mut inner);
        assert_eq!(inner.begin_watch(), None, "one task is enough");
        assert!(!inner.shrink(), "something holds its source back");
        assert!(inner.flows.take_turn());
        let mut sent = Vec::new();
        inner.flows.next_lot(LOT, &mut sent);
        assert_eq!((sent.len(), inner.watch), (2, 1), "it goes on between bursts");
        assert!(inner.shrink());
        assert!(!inner.shrink(), "told once");
        wait(&mut inner);
        assert_eq!(inner.begin_watch(), Some(2), "the old task sees that it is not the one");
    }
}

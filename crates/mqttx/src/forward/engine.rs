//! The moving part of a forwarder.
//!
//! There is no task and no channel: the messages of a read are sent together on the turn of the driver that
//! received them, and what waits is sent on the turn of the driver that brought the acknowledgements which make
//! room for it. What is done for many messages is done under one lock.
//! Rule of locks: no session is called while the forwarder's own lock is held.

mod inner;
mod waits;

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use mqttx_proto::{Origin, QoS};
use tokio::sync::Notify;

use super::endpoint::TargetRule;
use super::fault::RuleFailure;
use super::flows::Flows;
use super::hops::Mark;
use super::late;
use super::metrics::ForwarderMetrics;
use super::reason::ForwardDrop;
use super::rule::ForwarderOptions;
use super::scratch::Scratch;
use super::target::Target;
use crate::error::Error;
use crate::event::{EventKind, EventName};
use crate::metrics::Histogram;
use crate::router::{LOT, Lot};
use crate::session::{CompletionSink, Finish, Finished, Session};

pub(super) use inner::Inner;

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
    /// Messages with QoS 0 may go together: there is one target, and no rule that may hold one of them back.
    pub(super) plain: bool,
    /// Messages are kept until they are finished.
    pub(super) keeps: bool,
    inner: Mutex<Inner>,
    latency: Arc<Histogram>,
    /// Told when nothing is held any more.
    pub(super) idle: Notify,
    /// Told when everything that it took is with its targets, if somebody waits for that, and at its end.
    pub(super) quiet: Arc<Notify>,
}

/// The sessions of a forwarder, in the order of its rules.
pub(super) struct Ends {
    pub(super) sources: Vec<Session>,
    /// With those that take its place.
    pub(super) targets: Vec<Vec<Session>>,
    pub(super) dead_letters: Option<Vec<Session>>,
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
        let one = match &*options.targets {
            [target] => target.required && target.qos.apply(QoS::AtMostOnce) == QoS::AtMostOnce,
            _ => false,
        };
        let plain =
            one && !changes && !keeps && rules.filter.is_none() && rules.rate_limit.is_none();
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
                plain,
                inner: Mutex::new(Inner::new(flows, Arc::clone(&latency))),
                latency,
                idle: Notify::new(),
                quiet: Arc::default(),
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
            let look = parked_qos0 && inner.begin_watch();
            let timer = inner.flows.pace_timer();
            let quiet = inner.retiring && !inner.flows.is_waiting();
            drop(inner);
            if let Some(at) = timer {
                self.wait_for_pace(at);
            }
            if look {
                self.look_for_targets();
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

    /// Does what may be done only without the lock: acknowledges to the sources, lets them go on, tells of what was given up.
    pub(super) fn settle_up(&self, scratch: &mut Scratch) {
        for (source, bytes) in scratch.unparked.drain(..) {
            self.unpark(source, bytes);
        }
        for (source, bytes) in scratch.passed.drain(..) {
            self.passed(source, bytes);
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

    pub(super) fn passed(&self, source: usize, bytes: usize) {
        if let Some(session) = self.sources.get(source).filter(|_| bytes > 0) {
            session.passed(bytes);
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
        for Finish { key, count, result } in finished {
            if self.plain {
                let failure = result.as_ref().err().map(|error| (ForwardDrop::of(error), None));
                if inner.settle_run(key, count, failure, &mut scratch) {
                    continue;
                }
            }
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

    fn left(&self, tag: usize) {
        let number = Target::number(tag);
        let required = self.options.targets.get(number).is_some_and(|rule| rule.required);
        // What holds a source back for the dead letters, only they can have.
        if required && self.target(number).is_some_and(|(_, target)| target.is_current(tag)) {
            self.release_qos0();
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.targets.iter().chain(&self.dead_letters).for_each(Target::leave);
        self.quiet.notify_waiters();
    }
}

/// What a dead letter says of an error.
pub(super) fn explanation(error: &Error) -> Box<str> {
    RuleFailure::new(error.to_string()).message().into()
}

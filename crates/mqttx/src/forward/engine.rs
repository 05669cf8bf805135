//! The moving part of a forwarder.
//!
//! There is no task and no channel: the messages of a read are sent together on the turn of the driver that
//! received them, and what waits is sent on the turn of the driver that brought the acknowledgements which make
//! room for it. What is done for many messages is done under one lock.
//! Rule of locks: no session is called while the forwarder's own lock is held.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Notify;

use super::flows::{FlowKey, Flows, Phase};
use super::metrics::ForwarderMetrics;
use super::reason::{DropReports, ForwardDrop};
use super::rule::ForwarderOptions;
use super::scratch::{Body, Scratch};
use crate::event::{EventKind, EventName};
use crate::message::Message;
use crate::router::{LOT, Lot};
use crate::session::{CompletionSink, Finished, Session, SinkId};

/// One forwarder between its sessions.
pub(super) struct Engine {
    pub(super) me: Weak<Self>,
    pub(super) options: ForwarderOptions,
    pub(super) sources: Vec<Session>,
    pub(super) targets: Vec<Target>,
    inner: Mutex<Inner>,
    /// Told when nothing is held any more.
    idle: Notify,
    /// Told when nobody needs to watch the targets any more.
    pub(super) unwatched: Arc<Notify>,
    /// Told when everything that it took is with its targets, if somebody waits for that.
    quiet: Notify,
}

pub(super) struct Target {
    pub(super) session: Session,
    /// The forwarder's own name there.
    pub(super) sink: SinkId,
    pub(super) uses_time: bool,
    /// Of a target that is not required: messages that it has not finished.
    pub(super) pending: AtomicUsize,
}

pub(super) struct Inner {
    pub(super) flows: Flows,
    /// The task that waits for a target to leave, since QoS 0 waits for the targets; 0: there is none.
    pub(super) watch: u64,
    /// How many there were.
    pub(super) watches: u64,
    /// Somebody waits until nothing waits here.
    retiring: bool,
    reports: DropReports,
    /// Messages that were sent, and whose memory the next ones that wait may have.
    spare: Vec<Message>,
}

impl Engine {
    pub(super) fn new(
        options: ForwarderOptions,
        sources: Vec<Session>,
        targets: Vec<Session>,
    ) -> Arc<Self> {
        let required = options.targets.iter().filter(|target| target.required).count();
        Arc::new_cyclic(|me: &Weak<Self>| {
            let rules = options.targets.iter().enumerate();
            let targets = targets.into_iter().zip(rules).map(|(session, (n, rule))| Target {
                sink: session.register_sink(Weak::clone(me) as Weak<dyn CompletionSink>, n),
                session,
                uses_time: rule.uses_time(),
                pending: AtomicUsize::new(0),
            });
            let targets = targets.collect();
            Self {
                me: Weak::clone(me),
                targets,
                inner: Mutex::new(Inner {
                    flows: Flows::new(options.window, options.qos0_queue, required),
                    watch: 0,
                    watches: 0,
                    retiring: false,
                    reports: DropReports::default(),
                    spare: Vec::new(),
                }),
                idle: Notify::new(),
                unwatched: Arc::default(),
                quiet: Notify::new(),
                options,
                sources,
            }
        })
    }

    pub(super) fn metrics(&self) -> ForwarderMetrics {
        self.lock().flows.counts.snapshot()
    }

    pub(super) fn is_running(&self) -> bool {
        self.lock().flows.phase() == Phase::Running
    }

    /// Starts sending, what was left from before first; `false` if it was running.
    pub(super) fn resume(&self) -> bool {
        let mut inner = self.lock();
        if inner.flows.phase() == Phase::Running {
            return false;
        }
        inner.flows.set_phase(Phase::Running);
        let turn = inner.flows.take_turn();
        drop(inner);
        if turn {
            self.pump();
        }
        true
    }

    /// Takes messages and sends none until [`release`](Self::release): those of an earlier generation go first.
    pub(super) fn hold(&self) {
        let mut inner = self.lock();
        inner.flows.set_phase(Phase::Running);
        inner.flows.hold(true);
    }

    /// Sends what was held, and what comes.
    pub(super) fn release(&self) {
        let mut inner = self.lock();
        inner.flows.hold(false);
        let turn = inner.flows.take_turn();
        drop(inner);
        if turn {
            self.pump();
        }
    }

    /// Waits until everything that it took is with its targets.
    pub(super) async fn sent(&self) {
        self.lock().retiring = true;
        loop {
            let mut quiet = std::pin::pin!(self.quiet.notified());
            // From here on no notification is missed.
            quiet.as_mut().enable();
            if !self.lock().flows.is_waiting() {
                return;
            }
            quiet.await;
        }
    }

    /// Stops taking and sending; `false` if it was stopped. What is in flight is still acknowledged.
    pub(super) fn pause(&self) -> bool {
        let mut inner = self.lock();
        let running = inner.flows.phase() == Phase::Running;
        inner.flows.set_phase(Phase::Stopped);
        let rest = inner.reports.rest();
        drop(inner);
        self.release_qos0();
        for (reason, count) in rest {
            self.tell(reason, count, String::new());
        }
        running
    }

    /// Waits until nothing is held.
    pub(super) async fn drained(&self) {
        loop {
            let mut idle = std::pin::pin!(self.idle.notified());
            // From here on no notification is missed.
            idle.as_mut().enable();
            if self.lock().flows.held() == 0 {
                return;
            }
            idle.await;
        }
    }

    /// Messages that arrived and are not finished.
    pub(super) fn held(&self) -> usize {
        self.lock().flows.held()
    }

    /// Forgets what is held; the servers send it again.
    pub(super) fn abandon(&self) {
        let parked = self.lock().flows.clear();
        parked.iter().for_each(|held| self.unpark(held.source, held.parked));
        self.release_qos0();
        self.quiet.notify_waiters();
        self.idle.notify_waiters();
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
            let full = if scratch.sending.is_empty() { None } else { self.send(scratch, lot) };
            let mut inner = self.lock();
            let sent = full.as_ref().map_or(usize::MAX, |full| full.sent);
            let parked_qos0 = inner.after_sending(scratch, sent, lot);
            let again = full.is_some() && inner.flows.block();
            if full.is_none() {
                inner.flows.next_lot(LOT, &mut scratch.sending);
            }
            let watch = parked_qos0.then(|| inner.begin_watch()).flatten();
            let quiet = inner.retiring && !inner.flows.is_waiting();
            drop(inner);
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
        let (Some(target), Some(engine)) = (self.targets.get(target), self.me.upgrade()) else {
            return;
        };
        let session = target.session.clone();
        session.services().runtime.clone().spawn(async move {
            if again {
                tokio::time::sleep(RETRY).await;
            }
            session.room().await;
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

    fn tell(&self, reason: ForwardDrop, count: u64, topic: String) {
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
    fn complete(&self, target: usize, finished: &mut Finished<'_>) {
        let (Some(rule), Some(target)) =
            (self.options.targets.get(target), self.targets.get(target))
        else {
            return;
        };
        let mut scratch = Scratch::borrow();
        let mut inner = self.lock();
        for (key, result) in finished {
            let failure = result.err().map(|error| ForwardDrop::of(&error));
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
        for target in &self.targets {
            target.session.unregister_sink(target.sink);
        }
    }
}

impl Inner {
    /// The messages that were being sent are with their targets, or wait again: those behind the first `sent`. Whether one of
    /// the latter holds its source back with QoS 0.
    fn after_sending(&mut self, scratch: &mut Scratch, sent: usize, lot: Option<&Lot<'_>>) -> bool {
        self.flows.counts.downgraded += std::mem::take(&mut scratch.downgraded);
        self.flows.counts.optional_lost += std::mem::take(&mut scratch.optional_lost);
        if sent > 0 && !scratch.sending.is_empty() {
            self.flows.sent();
        }
        let mut parked_qos0 = false;
        // From the back, as messages come back to the front of what waits.
        while let Some(sending) = scratch.sending.pop() {
            let (key, failed, failure) = (sending.key, sending.failed, sending.failure);
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
        let Some(done) = self.flows.settle(key, parts, failure) else { return };
        if let Some(reason) = done.failure
            && let Some(count) = self.reports.add(reason, crate::session::now())
        {
            scratch.told.push((reason, count, self.flows.topic(key).to_owned()));
        }
        // A target that was removed is no reason to forget the message: the source's server keeps it.
        if done.failure != Some(ForwardDrop::TargetRemoved) {
            scratch.acks.extend(done.due.settle().map(|ticket| (done.source, ticket)));
        }
        scratch.idle |= self.flows.held() == 0;
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
    use crate::forward::flows::{Admitted, Arrived};
    use crate::forward::scratch::Sending;
    use crate::router::Due;
    use mqttx_proto::QoS;

    fn inner() -> Inner {
        let mut flows = Flows::new(8, 64, 1);
        flows.set_phase(Phase::Running);
        let (watch, watches) = (0, 0);
        let (reports, spare) = (DropReports::default(), Vec::new());
        Inner { flows, watch, watches, retiring: false, reports, spare }
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

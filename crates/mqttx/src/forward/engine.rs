//! The moving part of a forwarder.
//!
//! There is no task and no channel: a message is sent on the turn of the driver that received it, and what
//! waits is sent on the turn of the driver that brought the acknowledgement which makes room for it.
//! Rule of locks: no session is called while the forwarder's own lock is held.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Poll;
use std::time::Duration;

use mqttx_proto::{Properties, QoS};
use tokio::sync::Notify;

use super::flows::{Admitted, Done, FlowKey, Flows, Held, Phase};
use super::metrics::ForwarderMetrics;
use super::reason::{DropReports, ForwardDrop};
use super::rule::ForwarderOptions;
use crate::error::Error;
use crate::event::{EventKind, EventName};
use crate::message::MessageRef;
use crate::session::{CompletionSink, Published, Session};

/// One forwarder between its sessions.
pub(super) struct Engine {
    pub(super) me: Weak<Self>,
    pub(super) options: ForwarderOptions,
    pub(super) sources: Vec<Session>,
    pub(super) targets: Vec<Target>,
    inner: Mutex<Inner>,
    /// Told when nothing is held any more.
    idle: Notify,
    /// Told when no QoS 0 waits any more.
    quiet: Arc<Notify>,
}

pub(super) struct Target {
    pub(super) session: Session,
    pub(super) uses_time: bool,
    /// Messages that it has not finished.
    pub(super) pending: AtomicUsize,
}

pub(super) struct Inner {
    pub(super) flows: Flows,
    /// A task waits for a target to leave, since QoS 0 waits for the targets.
    watched: bool,
    reports: DropReports,
    /// Used by the holder of the turn.
    scratch: Scratch,
}

/// Buffers that live from message to message.
#[derive(Default)]
pub(super) struct Scratch {
    pub(super) topic: String,
    pub(super) properties: Properties,
}

impl Engine {
    pub(super) fn new(
        options: ForwarderOptions,
        sources: Vec<Session>,
        targets: Vec<Session>,
    ) -> Arc<Self> {
        let required = options.targets.iter().filter(|target| target.required).count();
        let targets = targets.into_iter().zip(&options.targets).map(|(session, rule)| Target {
            session,
            uses_time: rule.uses_time(),
            pending: AtomicUsize::new(0),
        });
        let targets = targets.collect();
        Arc::new_cyclic(|me| Self {
            me: Weak::clone(me),
            targets,
            inner: Mutex::new(Inner {
                flows: Flows::new(options.window, options.qos0_queue, required),
                watched: false,
                reports: DropReports::default(),
                scratch: Scratch::default(),
            }),
            idle: Notify::new(),
            quiet: Arc::default(),
            options,
            sources,
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
        for held in parked {
            self.unpark(&held);
        }
        self.quiet.notify_waiters();
        self.idle.notify_waiters();
    }

    /// A message arrived through a filter of a source: runs on the driver of that session.
    pub(super) fn deliver(&self, source: usize, filter: usize, arrived: &MessageRef<'_>) {
        let (Some(rule), Some(session)) =
            (self.options.sources.get(source), self.sources.get(source))
        else {
            return;
        };
        if self.has_earlier_match(source, filter, arrived.topic()) {
            // That filter brings it, in this copy or in its own.
            arrived.ack();
            return;
        }
        let qos = arrived.qos().min(rule.qos);
        let message = arrived.to_message();
        let mut held =
            Held { message, source, filter, qos, parked: false, next_target: 0, flow: None };
        let mut inner = self.lock();
        let dropped = qos == QoS::AtMostOnce && inner.flows.qos0_is_full();
        if !dropped && !inner.flows.is_open_for(qos) {
            held.parked = true;
            session.park(self.cost(&held));
        }
        let watch = held.parked && qos == QoS::AtMostOnce && !inner.watched;
        inner.watched |= watch;
        let admitted = inner.flows.admit(held);
        drop(inner);
        if watch {
            self.watch_targets();
        }
        match admitted {
            Ok(Admitted::YourTurn) => self.pump(),
            Ok(Admitted::Waits) => {}
            Ok(Admitted::Dropped(reason)) => self.report(reason, arrived.topic()),
            Err(refused) => {
                self.unpark(&refused);
                return;
            }
        }
        if qos == QoS::AtMostOnce {
            // Subscribed with more than this forwarder asked for: it owes nothing.
            arrived.ack();
        }
    }

    /// Whether a filter before this one, on the same session, brings the message.
    fn has_earlier_match(&self, source: usize, filter: usize, topic: &str) -> bool {
        let Some(this) = self.options.sources.get(source) else { return false };
        self.options.sources.iter().take(source + 1).enumerate().any(|(n, rule)| {
            let before = if n == source { filter } else { rule.topics.len() };
            rule.session == this.session
                && rule.topics.iter().take(before).any(|f| brings(f, topic))
        })
    }

    /// Sends what may be sent. The caller holds the turn, and loses it here.
    fn pump(&self) {
        let mut inner = self.lock();
        let mut scratch = std::mem::take(&mut inner.scratch);
        loop {
            let Some((mut held, key)) = inner.flows.next() else { break };
            drop(inner);
            self.unpark(&held);
            held.parked = false;
            let sent = self.send(&mut held, key, &mut scratch);
            inner = self.lock();
            if let Some(target) = sent.full {
                // The flow goes on: its part for the sending itself is not done.
                inner.flows.settle(key, sent.failed, sent.failure);
                let again = inner.flows.put_back(held);
                inner.scratch = scratch;
                drop(inner);
                return self.wait_for_room(target, again);
            }
            inner.flows.sent();
            if let Some(done) = inner.flows.settle(key, sent.failed + 1, sent.failure) {
                drop(inner);
                self.finish(done);
                inner = self.lock();
            }
        }
        inner.scratch = scratch;
        if inner.watched && inner.flows.waiting_qos0().next().is_none() {
            self.quiet.notify_waiters();
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

    /// A message is finished: acknowledges it to its source.
    fn finish(&self, done: Done) {
        if let Some(reason) = done.failure {
            self.report(reason, done.message.topic());
        }
        if done.failure != Some(ForwardDrop::TargetRemoved) {
            done.message.ack();
        }
        if done.was_last {
            self.idle.notify_waiters();
        }
    }

    fn unpark(&self, held: &Held) {
        if held.parked
            && let Some(session) = self.sources.get(held.source)
        {
            session.unpark(self.cost(held));
        }
    }

    /// QoS 0 waits for targets that are slow, and not for those that are away: waits until one leaves, or nothing waits any
    /// more; from then on what still waits does not hold its source back.
    fn watch_targets(&self) {
        let Some(source) = self.sources.first() else { return };
        let (me, quiet) = (Weak::clone(&self.me), Arc::clone(&self.quiet));
        let required = self.targets.iter().zip(&self.options.targets);
        let mut leaving: Vec<Pin<Box<dyn Future<Output = ()> + Send>>> = required
            .filter(|(_, rule)| rule.required)
            .map(|(target, _)| {
                let session = target.session.clone();
                Box::pin(async move { session.left().await }) as _
            })
            .collect();
        source.services().runtime.clone().spawn(async move {
            let mut quiet = std::pin::pin!(quiet.notified());
            std::future::poll_fn(|cx| {
                let left = leaving.iter_mut().any(|left| left.as_mut().poll(cx).is_ready());
                let over = left || quiet.as_mut().poll(cx).is_ready();
                if over { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
            if let Some(engine) = me.upgrade() {
                engine.release_qos0();
            }
        });
    }

    /// What waits with QoS 0 does not hold its source back any more.
    fn release_qos0(&self) {
        let mut inner = self.lock();
        inner.watched = false;
        let parked: Vec<_> = inner
            .flows
            .waiting_qos0()
            .filter(|held| held.parked)
            .map(|held| {
                held.parked = false;
                (held.source, self.cost(held))
            })
            .collect();
        drop(inner);
        for (source, cost) in parked {
            if let Some(session) = self.sources.get(source) {
                session.unpark(cost);
            }
        }
    }

    /// What a waiting message counts in its source's inbound buffer: what it takes, and with QoS 0 so much that the source
    /// is not read any more before the queue is full.
    fn cost(&self, held: &Held) -> usize {
        let size = held.message.size() + OVERHEAD;
        let source = self.sources.get(held.source).filter(|_| held.qos == QoS::AtMostOnce);
        let share = source.map_or(0, |s| 2 * s.inbound_buffer() / self.options.qos0_queue);
        size.max(share)
    }

    /// Tells of a message that was given up.
    fn report(&self, reason: ForwardDrop, topic: &str) {
        let told = self.lock().reports.add(reason, crate::session::now());
        if let Some(count) = told {
            self.tell(reason, count, topic.to_owned());
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
    fn complete(&self, ticket: u64, result: Result<Published, Error>) {
        let (n, key) = split(ticket);
        let (Some(rule), Some(target)) = (self.options.targets.get(n), self.targets.get(n)) else {
            return;
        };
        target.pending.fetch_sub(1, Ordering::Relaxed);
        let failure = result.err().map(|error| ForwardDrop::of(&error));
        let mut inner = self.lock();
        if !rule.required {
            inner.flows.counts.optional_lost += u64::from(failure.is_some());
            return;
        }
        let done = inner.flows.settle(key, 1, failure);
        let turn = inner.flows.take_turn();
        drop(inner);
        if let Some(done) = done {
            self.finish(done);
        }
        if turn {
            self.pump();
        }
    }
}

/// Whether a filter brings its own copy of the message to this session, or marks this one as its own. What
/// a shared subscription matches may go to another member of its group.
fn brings(filter: &str, topic: &str) -> bool {
    mqttx_proto::split_shared(filter).is_none() && mqttx_proto::matches(filter, topic)
}

fn split(ticket: u64) -> (usize, FlowKey) {
    ((ticket >> 32) as usize, (ticket & u64::from(u32::MAX)) as u32)
}

/// Counted for each waiting message besides its bytes, so that empty ones are bounded too.
const OVERHEAD: usize = 160;

/// Between two attempts to fit a message into an outbox that has some room.
const RETRY: Duration = Duration::from_millis(5);

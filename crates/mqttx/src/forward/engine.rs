//! The moving part of a forwarder.
//!
//! There is no task and no channel: a message is sent on the turn of the driver that received it, and what
//! waits is sent on the turn of the driver that brought the acknowledgement which makes room for it.
//! Rule of locks: no session is called while the forwarder's own lock is held.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant, UNIX_EPOCH};

use mqttx_proto::{Properties, PropertiesRef, Property, PropertyId, QoS};
use tokio::sync::Notify;

use super::endpoint::TargetRule;
use super::flows::{Admitted, Done, FlowKey, Flows, Held, Phase};
use super::metrics::ForwarderMetrics;
use super::reason::{DropReports, ForwardDrop};
use super::rule::ForwarderOptions;
use super::template::TopicContext;
use crate::error::{Error, ErrorKind};
use crate::event::{EventKind, EventName};
use crate::message::{Message, MessageRef};
use crate::session::{CompletionSink, Draft, Published, Session};

/// One forwarder between its sessions.
pub(super) struct Engine {
    me: Weak<Self>,
    pub(super) options: ForwarderOptions,
    pub(super) sources: Vec<Session>,
    targets: Vec<Target>,
    inner: Mutex<Inner>,
    /// Told when nothing is held any more.
    idle: Notify,
}

struct Target {
    session: Session,
    uses_time: bool,
    /// Messages that a target which is not required has not finished.
    pending: AtomicUsize,
}

struct Inner {
    flows: Flows,
    reports: DropReports,
    /// Used by the holder of the turn.
    scratch: Scratch,
}

/// Buffers that live from message to message.
#[derive(Default)]
struct Scratch {
    topic: String,
    properties: Properties,
}

/// What sending a message came to.
enum Sent {
    /// Handed to all targets; `failed` required ones did not take it.
    All { failed: usize, failure: Option<ForwardDrop> },
    /// This target has no room.
    Full(usize),
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
                reports: DropReports::default(),
                scratch: Scratch::default(),
            }),
            idle: Notify::new(),
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
        if qos != QoS::AtMostOnce && !inner.flows.is_open_for(qos) {
            held.parked = true;
            session.park(cost(&held.message));
        }
        let admitted = inner.flows.admit(held);
        drop(inner);
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
            match sent {
                Sent::All { failed, failure } => {
                    inner.flows.sent();
                    if let Some(done) = inner.flows.settle(key, failed + 1, failure) {
                        drop(inner);
                        self.finish(done);
                        inner = self.lock();
                    }
                }
                Sent::Full(target) => {
                    let again = inner.flows.put_back(held);
                    inner.scratch = scratch;
                    drop(inner);
                    return self.wait_for_room(target, again);
                }
            }
        }
        inner.scratch = scratch;
    }

    fn send(&self, held: &mut Held, key: FlowKey, scratch: &mut Scratch) -> Sent {
        let (mut taken, mut failed, mut failure) = (0, 0, None);
        let now = crate::session::now();
        let properties = match outgoing_properties(&held.message, now, &mut scratch.properties) {
            Ok(properties) => properties,
            Err(reason) => {
                let left = self.options.targets.iter().skip(held.next_target);
                let failed = left.filter(|target| target.required).count();
                return Sent::All { failed, failure: Some(reason) };
            }
        };
        let payload = held.message.payload_bytes();
        let pairs = self.options.targets.iter().zip(&self.targets).enumerate();
        for (n, (rule, target)) in pairs.skip(held.next_target) {
            let outcome = self.render(held, rule, target, &mut scratch.topic).and_then(|()| {
                let draft = Draft {
                    topic: &scratch.topic,
                    payload: &payload,
                    qos: rule.qos.apply(held.qos),
                    retain: rule.retain.apply(held.message.retain()),
                    properties,
                    ttl: None,
                };
                self.hand_over(n, rule, target, draft, key)
            });
            match outcome {
                Ok(()) => taken += 1,
                Err(NotTaken::Full) if rule.required => {
                    held.next_target = n;
                    return Sent::Full(n);
                }
                Err(_) if !rule.required => self.lock().flows.counts.optional_lost += 1,
                Err(NotTaken::Full) => {}
                Err(NotTaken::Refused(reason)) => {
                    failed += 1;
                    failure = failure.or(Some(reason));
                }
            }
        }
        // With optional targets only, a message that none of them took is lost.
        let lost = taken == 0 && self.options.targets.iter().all(|target| !target.required);
        Sent::All { failed, failure: failure.or_else(|| lost.then_some(ForwardDrop::QueueFull)) }
    }

    fn render(
        &self,
        held: &Held,
        rule: &TargetRule,
        target: &Target,
        out: &mut String,
    ) -> Result<(), NotTaken> {
        let template = rule.template(held.source, held.filter, held.message.topic());
        let received_unix_ms = if target.uses_time {
            let since = held.message.received_system().duration_since(UNIX_EPOCH);
            since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
        } else {
            0
        };
        let cx = TopicContext {
            topic: held.message.topic(),
            forwarder: &self.options.name,
            session: held.message.session(),
            received_unix_ms,
        };
        template.render(&cx, out).map_err(|_| NotTaken::Refused(ForwardDrop::Topic))
    }

    fn hand_over(
        &self,
        n: usize,
        rule: &TargetRule,
        target: &Target,
        mut draft: Draft<'_>,
        key: FlowKey,
    ) -> Result<(), NotTaken> {
        if !rule.required && target.pending.load(Ordering::Relaxed) >= self.options.qos0_queue {
            return Err(NotTaken::Full);
        }
        let Some(engine) = self.me.upgrade() else { return Err(NotTaken::Full) };
        let enqueue = |draft: &Draft<'_>| {
            let sink = Arc::clone(&engine) as Arc<dyn CompletionSink>;
            target.session.try_enqueue_with(draft, sink, ticket(n, key))
        };
        // Counted before: the completion may come before the call returns.
        target.pending.fetch_add(1, Ordering::Relaxed);
        let mut outcome = enqueue(&draft);
        if outcome.as_ref().is_err_and(|error| error.code() == "publish.not_allowed")
            && let Some(limits) = target.session.limits()
            && limits.maximum_qos < draft.qos
        {
            draft.qos = limits.maximum_qos;
            outcome = enqueue(&draft);
            self.lock().flows.counts.downgraded += u64::from(outcome.is_ok());
        }
        outcome.map_err(|error| {
            target.pending.fetch_sub(1, Ordering::Relaxed);
            NotTaken::of(&error)
        })
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
            session.unpark(cost(&held.message));
        }
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

    fn lock(&self) -> MutexGuard<'_, Inner> {
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

/// Why a target did not take a message.
enum NotTaken {
    Full,
    Refused(ForwardDrop),
}

impl NotTaken {
    fn of(error: &Error) -> Self {
        match error.kind() {
            ErrorKind::Full => Self::Full,
            _ => Self::Refused(ForwardDrop::of(error)),
        }
    }
}

/// The properties to publish with: those that arrived, without what concerns one connection only, and
/// with the message expiry counted down by the time since then `[MQTT-3.3.2-6]`.
fn outgoing_properties<'a>(
    message: &'a Message,
    now: Instant,
    scratch: &'a mut Properties,
) -> Result<PropertiesRef<'a>, ForwardDrop> {
    let arrived = message.properties();
    if arrived.is_empty() {
        return Ok(arrived);
    }
    let waited = now.saturating_duration_since(message.received_at()).as_secs();
    let waited = u32::try_from(waited).unwrap_or(u32::MAX);
    let expiry = arrived.message_expiry_interval();
    if waited > 0 && expiry.is_some_and(|expiry| expiry <= waited) {
        return Err(ForwardDrop::Expired);
    }
    let is_local =
        arrived.subscription_identifiers().next().is_some() || arrived.topic_alias().is_some();
    if !is_local && (waited == 0 || expiry.is_none()) {
        return Ok(arrived);
    }
    scratch.copy_from(arrived);
    scratch.remove(PropertyId::SubscriptionIdentifier);
    scratch.remove(PropertyId::TopicAlias);
    if let Some(expiry) = expiry {
        // Any value of the counter is valid.
        let _ = scratch.set(Property::MessageExpiryInterval(expiry.saturating_sub(waited)));
    }
    Ok(scratch.as_ref())
}

/// Whether a filter brings its own copy of the message to this session, or marks this one as its own. What
/// a shared subscription matches may go to another member of its group.
fn brings(filter: &str, topic: &str) -> bool {
    mqttx_proto::split_shared(filter).is_none() && mqttx_proto::matches(filter, topic)
}

/// What a waiting message counts in its source's inbound buffer.
fn cost(message: &Message) -> usize {
    message.size() + OVERHEAD
}

fn ticket(target: usize, key: FlowKey) -> u64 {
    (target as u64) << 32 | u64::from(key)
}

fn split(ticket: u64) -> (usize, FlowKey) {
    ((ticket >> 32) as usize, (ticket & u64::from(u32::MAX)) as u32)
}

/// Counted for each waiting message besides its bytes, so that empty ones are bounded too.
const OVERHEAD: usize = 160;

/// Between two attempts to fit a message into an outbox that has some room.
const RETRY: Duration = Duration::from_millis(5);

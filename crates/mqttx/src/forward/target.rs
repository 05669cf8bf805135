//! A target while the forwarder runs: its sessions, and the one whose turn it is.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Instant;

use mqttx_proto::Version;

use super::engine::Engine;
use super::failover::{Failover, LOOK};
use crate::event::EventKind;
use crate::session::{CompletionSink, Session, SinkId};

pub(super) struct Target {
    number: usize,
    /// The one of the rules, and those that take its place.
    pub(super) sessions: Vec<Session>,
    /// The index of the one whose turn it is; changed only with the forwarder's turn.
    active: AtomicUsize,
    /// Changes of the session.
    changes: AtomicUsize,
    /// The session whose turn it is does not acknowledge: another one is to take its place.
    pub(super) suspect: AtomicBool,
    /// The forwarder's own name at that session; none after its end.
    sink: Mutex<Option<SinkId>>,
    engine: Weak<dyn CompletionSink>,
    pub(super) uses_time: bool,
    /// Of a target that is not required: messages that it has not finished.
    pub(super) pending: AtomicUsize,
}

impl Target {
    pub(super) fn new(
        number: usize,
        uses_time: bool,
        sessions: Vec<Session>,
        engine: Weak<dyn CompletionSink>,
    ) -> Self {
        let sink = sessions.first().map(|s| s.register_sink(Weak::clone(&engine), number));
        Self {
            number,
            sessions,
            active: AtomicUsize::new(0),
            changes: AtomicUsize::new(0),
            suspect: AtomicBool::new(false),
            sink: Mutex::new(sink),
            engine,
            uses_time,
            pending: AtomicUsize::new(0),
        }
    }

    /// The session whose turn it is.
    pub(super) fn session(&self) -> &Session {
        // There is one at least, and `active` is one of them.
        let active = self.active.load(Ordering::Acquire);
        self.sessions.get(active).unwrap_or(&self.sessions[0])
    }

    /// All of its sessions, in their order.
    pub(super) fn sessions(&self) -> &[Session] {
        &self.sessions
    }

    /// All of its sessions were removed.
    pub(super) fn is_gone(&self) -> bool {
        self.sessions.iter().all(Session::is_removed)
    }

    pub(super) fn sink(&self) -> Option<SinkId> {
        *self.sink.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether messages for it have properties.
    pub(super) fn is_v5(&self) -> bool {
        self.session().common_options().protocol == Version::V5
    }

    /// The number of the target in what its session says of a message.
    pub(super) fn number(tag: usize) -> usize {
        tag & NUMBER
    }

    /// Whether the session that says so is the one whose turn it is.
    pub(super) fn is_current(&self, tag: usize) -> bool {
        tag == self.tag()
    }

    fn tag(&self) -> usize {
        self.changes.load(Ordering::Acquire) << NUMBER.count_ones() | self.number
    }

    /// For the holder of the turn, under the forwarder's lock: from now on another session gets the messages, and
    /// what this one says means nothing any more.
    fn change_to(&self, session: usize) {
        self.active.store(session, Ordering::Release);
        self.changes.fetch_add(1, Ordering::AcqRel);
        self.pending.store(0, Ordering::Relaxed);
    }

    /// Of a forwarder that does not run yet: the same sessions as `before` had begin with the one whose turn it was.
    fn go_on_from(&self, before: &Self) {
        let (active, first) = (before.active.load(Ordering::Acquire), self.session());
        let mut pairs = self.sessions.iter().zip(&before.sessions);
        if active != 0
            && self.sessions.len() == before.sessions.len()
            && pairs.all(|(new, old)| new.is(old))
        {
            self.change_to(active);
            self.introduce(first);
        }
    }

    /// Makes the forwarder known to the session, and unknown to the one before.
    fn introduce(&self, before: &Session) {
        let new = self.session().register_sink(Weak::clone(&self.engine), self.tag());
        let old = self.sink.lock().unwrap_or_else(PoisonError::into_inner).replace(new);
        if let Some(old) = old {
            before.unregister_sink(old);
        }
    }

    /// The end.
    pub(super) fn leave(&self) {
        let sink = self.sink.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(sink) = sink {
            self.session().unregister_sink(sink);
        }
    }
}

impl Engine {
    /// Before it runs: targets that did not change go on with the sessions that they have with `before`.
    pub(super) fn take_sessions_of(&self, before: &Self) {
        for (target, before) in self.targets.iter().zip(&before.targets) {
            target.go_on_from(before);
        }
    }

    /// Watches the targets that have more than one session, and with `ack_timeout` whether they acknowledge.
    pub(super) fn watch_targets_in_time(&self) {
        self.watch_acknowledgements();
        self.watch_failover();
    }

    fn watch_failover(&self) {
        for (n, target) in self.targets.iter().enumerate() {
            let Some(first) = target.sessions.first().filter(|_| target.sessions.len() > 1) else {
                continue;
            };
            let stable = target.sessions.iter().map(|s| s.common_options().reconnect.stable_after);
            let mut failover = Failover::new(stable, crate::session::now());
            failover.changed(target.active.load(Ordering::Acquire));
            let me = Weak::clone(&self.me);
            first.services().runtime.clone().spawn(async move {
                let mut ticks = tokio::time::interval(LOOK);
                loop {
                    ticks.tick().await;
                    let Some(engine) = me.upgrade() else { return };
                    engine.look_at(n, &mut failover, crate::session::now());
                }
            });
        }
    }

    fn look_at(&self, n: usize, failover: &mut Failover, now: Instant) {
        let Some(target) = self.targets.get(n) else { return };
        if target.suspect.swap(false, Ordering::AcqRel) {
            failover.suspect(now);
        }
        let connected = target.sessions.iter().map(Session::is_connected);
        let Some(next) = failover.observe(now, connected) else { return };
        let before = target.session();
        let mut inner = self.lock();
        if !inner.flows.seize_turn() {
            // Somebody sends: at the next look.
            return;
        }
        target.change_to(next);
        let again = inner.flows.send_again(n);
        inner.flows.unblock();
        inner.flows.counts.failovers += 1;
        drop(inner);
        target.introduce(before);
        // It may have left before it knew to whom to say so.
        self.look_for_targets();
        failover.changed(next);
        before.services().events.emit(
            None,
            EventKind::ForwarderTargetChanged {
                forwarder: Arc::clone(&self.options.name),
                from: Arc::clone(before.shared_name()),
                to: Arc::clone(target.session().shared_name()),
                again,
            },
        );
        self.pump();
    }
}

/// The bits of a tag that are the number of the target.
const NUMBER: usize = 0xffff;

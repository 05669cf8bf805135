//! Metrics of all sessions, without holding anybody up.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Inner, Registry, SessionManager};
use crate::metrics::{Counts, MetricsSnapshot, SessionSample};
use crate::session::Session;

/// Which sessions a snapshot shows one by one.
///
/// ```
/// use mqttx::{Detail, SessionManager};
///
/// let manager = SessionManager::new();
/// let fleet = manager.snapshot_of(&Detail::Matching(&|name| name.starts_with("dev-")));
/// assert!(fleet.sessions.is_empty());
/// let sum = manager.snapshot_of(&Detail::UpTo(0));
/// assert!(sum.sessions.is_empty(), "no session, no sum");
/// ```
pub enum Detail<'a> {
    /// All of them.
    All,
    /// All of them, but their sum when they are more than this.
    UpTo(usize),
    /// Those whose name it wants.
    Matching(&'a dyn Fn(&str) -> bool),
}

/// Metrics with what is not of one session.
impl SessionManager {
    /// Everything that is counted, session by session.
    #[must_use]
    pub fn snapshot(&self) -> MetricsSnapshot {
        self.snapshot_of(&Detail::All)
    }

    /// Everything that is counted, with the sessions in the detail that is wanted.
    ///
    /// It takes the lock of the manager for a few hundred sessions at a time, and that of each session for a few numbers;
    /// nothing is written or waited for meanwhile.
    #[must_use]
    pub fn snapshot_of(&self, detail: &Detail<'_>) -> MetricsSnapshot {
        let counters = &self.inner.counters;
        let mut statuses: BTreeMap<&'static str, usize> =
            ["connected", "connecting", "disconnected", "failed", "reconnecting", "stopped"]
                .map(|status| (status, 0))
                .into();
        let Counted { sessions: all, mut counts } = self.inner.counted();
        let sums = matches!(detail, Detail::UpTo(limit) if all.len() > *limit);
        let mut sessions: Vec<SessionSample> = Vec::new();
        for (session, shown) in all {
            if sums {
                counts.add(&session.counts().0);
            }
            if !shown {
                continue;
            }
            let wanted = !matches!(detail, Detail::Matching(wants) if !wants(session.name()));
            if wanted {
                let (sample, status) = session.sample();
                *statuses.entry(status.name()).or_default() += 1;
                sessions.push(sample);
            } else {
                *statuses.entry(session.status().name()).or_default() += 1;
            }
        }
        if sums {
            sessions = vec![SessionSample::sum(sessions.iter(), &counts)];
        }
        let mut snapshot = MetricsSnapshot::default();
        snapshot.sessions = sessions;
        snapshot.statuses = statuses;
        snapshot.connects = counters.connects.snapshot();
        snapshot.disconnects = counters.disconnects.snapshot();
        snapshot.connect_seconds = counters.connect.snapshot();
        snapshot.handshake_seconds = counters.handshake.snapshot();
        snapshot.ack_seconds = counters.ack.snapshot();
        snapshot
    }

    /// Handles of all sessions in the order of their names; those that are being closed are among them until they are.
    #[must_use]
    pub fn handles(&self) -> Vec<Session> {
        let all = self.inner.counted().sessions.into_iter();
        let mut shown: Vec<Session> =
            all.filter_map(|(session, shown)| shown.then_some(session)).collect();
        shown.sort_by(|a, b| a.name().cmp(b.name()));
        shown
    }
}

/// Sessions that are looked at under one lock.
const AT_A_TIME: usize = 256;

/// Every session that counts, and what the others counted that are gone.
pub(super) struct Counted {
    /// Whether it is shown: one that is being closed is not, once another one has its name.
    pub(super) sessions: Vec<(Session, bool)>,
    /// Of no session in `sessions`.
    pub(super) counts: Counts,
}

impl Inner {
    /// Sessions come piece by piece, so that nobody waits for the lock behind thousands. When one leaves meanwhile it
    /// could be missed, and sums would go back: then it is begun again, and at last done in one piece.
    pub(super) fn counted(&self) -> Counted {
        for at_a_time in [AT_A_TIME, AT_A_TIME, usize::MAX] {
            if let Some(counted) = self.try_counted(at_a_time) {
                return counted;
            }
        }
        Counted { sessions: Vec::new(), counts: self.counters.retired_sum() }
    }

    fn try_counted(&self, at_a_time: usize) -> Option<Counted> {
        let mut live: Vec<Session> = Vec::new();
        let mut removals = None;
        loop {
            let registry = self.registry();
            if *removals.get_or_insert(registry.removals) != registry.removals {
                return None;
            }
            let before = live.len();
            let last = live.last().map(|session| Arc::clone(session.shared_name()));
            live.extend(registry.sessions.after(last.as_deref()).take(at_a_time).cloned());
            if live.len() - before == at_a_time {
                continue;
            }
            // Under the same lock, so that whoever is neither there nor leaving is in the sum.
            let counts = self.counters.retired_sum();
            let leaving = registry
                .leaving
                .iter()
                .map(|session| (session.clone(), !registry.sessions.contains(session.name())));
            let mut sessions: Vec<(Session, bool)> = leaving.collect();
            sessions.extend(live.into_iter().map(|session| (session, true)));
            return Some(Counted { sessions, counts });
        }
    }

    /// What sessions of that name counted that are gone, or are going.
    pub(super) fn counted_before(&self, registry: &Registry, name: &str) -> Option<Counts> {
        // The last of them, if there are several.
        let going = registry.leaving.iter().rev().find(|session| session.name() == name);
        match going {
            Some(session) => {
                let (own, mut all) = session.counts();
                all.add(&own);
                Some(all)
            }
            None => self.counters.counted_before(name),
        }
    }
}

/// A session that is being closed. What it counted is kept when that is done, or given up.
pub(super) struct Leaving<'a> {
    pub(super) inner: &'a Inner,
    pub(super) session: &'a Session,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        let mut registry = self.inner.registry();
        let (own, before) = self.session.counts();
        self.inner.counters.retire(self.session.shared_name(), &own, &before);
        registry.leaving.retain(|other| !other.is_same(self.session));
    }
}

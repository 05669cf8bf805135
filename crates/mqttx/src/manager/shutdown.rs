//! The end of a manager: everything accepted is finished, then the sessions close.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{Inner, SessionManager, each};
use crate::event::EventKind;
use crate::session::Session;
use crate::store::Store;

/// What [`SessionManager::shutdown`] left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// Everything accepted was acknowledged, and every handler was done, within the deadline.
    pub clean: bool,
    /// Accepted publishes that were not finished.
    pub unacknowledged: usize,
    /// The sessions that were not done in time, by name.
    pub unfinished: Vec<String>,
    /// Sessions closed.
    pub sessions: usize,
    /// How long it took.
    pub elapsed: Duration,
}

/// Longer than any process lives, and no more than a clock can count.
const FOR_EVER: Duration = Duration::from_secs(30 * 365 * 24 * 3600);

impl SessionManager {
    /// Ends the manager gracefully: from now on messages that arrive stay unacknowledged (a
    /// persistent session gets them again), handlers finish what they have, publishes are sent
    /// and acknowledged, then each session sends DISCONNECT without unsubscribing, and the stores are closed. After
    /// `deadline` the rest is given up: each `Delivery` resolves with an error.
    ///
    /// Event streams end after the last event, and streams of messages after the last message. A second call finds nothing to do:
    /// it returns at once, while the first one goes on. What a call that is given up has left is the next one's, or ends with the
    /// manager.
    pub async fn shutdown(&self, deadline: Duration) -> ShutdownReport {
        let (start, under_way) = (Instant::now(), UnderWay::begin(&self.inner));
        let sessions = under_way.sessions.clone();
        let count = sessions.len();
        let until = start.checked_add(deadline).unwrap_or(start + FOR_EVER);
        sessions.iter().for_each(Session::stop_receiving);
        // Everywhere before any session closes: handlers of one may publish on another.
        each(sessions.clone(), move |s| async move { s.wind_down(until).await }).await;
        let stores = stores_of(&sessions);
        let left = each(sessions, move |session| finish(session, until)).await;
        for (name, unacknowledged) in &left {
            self.inner.events.emit(
                Some(&name.as_str().into()),
                EventKind::SessionRemoved { unacknowledged: unacknowledged.unwrap_or_default() },
            );
        }
        for store in stores {
            let left = until.max(Instant::now() + LAST_FLOW) - Instant::now();
            let _ = tokio::time::timeout(left, store.close()).await;
        }
        under_way.complete();
        let unfinished: Vec<(String, usize)> =
            left.into_iter().filter_map(|(name, left)| Some((name, left?))).collect();
        ShutdownReport {
            clean: unfinished.is_empty(),
            unacknowledged: unfinished.iter().map(|(_, left)| left).sum(),
            unfinished: unfinished.into_iter().map(|(name, _)| name).collect(),
            sessions: count,
            elapsed: start.elapsed(),
        }
    }
}

/// A call of `shutdown`, completed or given up. Streams end with the last one, once one was completed.
struct UnderWay<'a> {
    inner: &'a Inner,
    /// Those that it ends.
    sessions: Vec<Session>,
}

impl<'a> UnderWay<'a> {
    fn begin(inner: &'a Inner) -> Self {
        let mut registry = inner.registry();
        registry.closed = true;
        registry.shutdowns += 1;
        let mut sessions = std::mem::take(&mut registry.sessions).into_vec();
        // For good: what they counted can be asked for after the end.
        registry.leaving.extend(sessions.iter().cloned());
        registry.removals += 1;
        sessions.append(&mut registry.given_up);
        Self { inner, sessions }
    }

    fn complete(mut self) {
        self.sessions.clear();
        self.inner.registry().shut_down = true;
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let routes = {
            let mut registry = self.inner.registry();
            registry.given_up.append(&mut self.sessions);
            registry.shutdowns -= 1;
            if registry.shutdowns > 0 || !registry.shut_down {
                return;
            }
            std::mem::take(&mut registry.routes)
        };
        // Not under the lock: what a handler has captured goes with it, and that may be a route that stops then.
        routes.iter().for_each(|route| route.end());
        self.inner.events.close();
    }
}

/// The stores of the sessions, each once.
fn stores_of(sessions: &[Session]) -> Vec<Arc<dyn Store>> {
    let mut stores: Vec<Arc<dyn Store>> = Vec::new();
    for store in sessions.iter().filter_map(|session| session.common_options().store.clone()) {
        if !stores.iter().any(|known| Arc::ptr_eq(known, &store)) {
            stores.push(store);
        }
    }
    stores
}

/// Waits for what handlers of other sessions published last, then closes; `Some` if the time was
/// too short: how many publishes are left.
async fn finish(session: Session, until: Instant) -> Option<usize> {
    let in_time = session.wind_down(until).await;
    let left = session.metrics().outbox_messages;
    session.finish_release(until.min(Instant::now() + LAST_FLOW)).await;
    session.close().await;
    (!in_time).then_some(left)
}

/// For the servers to answer what was acknowledged last.
const LAST_FLOW: Duration = Duration::from_secs(1);

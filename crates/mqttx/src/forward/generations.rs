//! The rules of a forwarder as they changed: one engine for each version, of which only the last one takes messages.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::{Instant, timeout_at};

use super::engine::Engine;
use super::metrics::ForwarderMetrics;
use crate::router::Route;
use crate::session::Session;

/// The engines of a forwarder.
pub(super) struct Generations {
    inner: Mutex<Inner>,
}

struct Inner {
    current: Arc<Engine>,
    /// They finish what they took.
    retired: Vec<Retired>,
    /// What those did that are gone.
    past: ForwarderMetrics,
}

/// An engine that takes nothing more, with the routes through which it acknowledges.
struct Retired {
    engine: Arc<Engine>,
    routes: Vec<Route>,
}

impl Generations {
    pub(super) fn new(engine: Arc<Engine>) -> Self {
        let past = ForwarderMetrics::default();
        Self { inner: Mutex::new(Inner { current: engine, retired: Vec::new(), past }) }
    }

    /// The one that takes messages.
    pub(super) fn current(&self) -> Arc<Engine> {
        Arc::clone(&self.lock().current)
    }

    /// `engine` takes messages from now on.
    pub(super) fn advance(&self, engine: Arc<Engine>, routes: Vec<Route>) {
        let mut inner = self.lock();
        let engine = std::mem::replace(&mut inner.current, engine);
        inner.retired.push(Retired { engine, routes });
    }

    /// What all of them did.
    pub(super) fn metrics(&self) -> ForwarderMetrics {
        let inner = self.lock();
        let mut sum = inner.past.clone();
        sum.add(inner.current.metrics());
        inner.retired.iter().for_each(|retired| sum.add(retired.engine.metrics()));
        sum
    }

    /// Messages that arrived and are not finished.
    pub(super) fn held(&self) -> usize {
        let inner = self.lock();
        let retired = inner.retired.iter().map(|retired| retired.engine.held());
        inner.current.held() + retired.sum::<usize>()
    }

    /// Waits until the retired ones have finished, at most until `until`, and forgets those that have; `true` if all have.
    pub(super) async fn settle(&self, until: Instant) -> bool {
        for engine in self.retired() {
            let _ = timeout_at(until, engine.drained()).await;
        }
        let mut inner = self.lock();
        let all = std::mem::take(&mut inner.retired);
        let (left, done): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|retired| retired.engine.held() > 0);
        inner.retired = left;
        for retired in &done {
            retired.engine.pause();
            inner.past.add(retired.engine.metrics());
        }
        inner.retired.is_empty()
    }

    /// Ends the retired ones; what they hold stays unacknowledged. Returns how much that is, and whose messages it may be.
    pub(super) fn abandon_retired(&self) -> (usize, Vec<Session>) {
        let (mut count, mut sources) = (0, Vec::new());
        let mut inner = self.lock();
        for Retired { engine, routes } in std::mem::take(&mut inner.retired) {
            let held = engine.held();
            engine.abandon();
            if held > 0 {
                sources.extend(engine.sources.iter().cloned());
            }
            count += held;
            inner.past.add(engine.metrics().given_up());
            routes.into_iter().for_each(Route::abandon);
        }
        (count, sources)
    }

    /// The engines that only finish what they took.
    pub(super) fn retired(&self) -> Vec<Arc<Engine>> {
        self.lock().retired.iter().map(|retired| Arc::clone(&retired.engine)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

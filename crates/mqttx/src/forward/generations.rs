//! The rules of a forwarder as they changed: one engine for each version, of which only the last one takes messages.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::{Instant, timeout_at};

use super::engine::Engine;
use super::metrics::ForwarderMetrics;
use super::phases::End;
use crate::router::Route;

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

impl Retired {
    /// It goes on with the start.
    fn waits_for_start(&self) -> bool {
        self.engine.phase().waits_for_start() && !self.engine.is_stranded()
    }
}

impl Inner {
    /// Forgets the retired engines that hold nothing any more, but not what they did.
    fn forget_finished(&mut self) {
        let all = std::mem::take(&mut self.retired).into_iter();
        let (left, done): (Vec<_>, Vec<_>) = all.partition(|retired| retired.engine.held() > 0);
        self.retired = left;
        for Retired { engine, .. } in &done {
            engine.pause();
            self.past.add(engine.metrics());
            // What a driver that stood still for long brings yet, its server gets back.
            engine.end(End::Alone);
        }
    }

    fn end(&mut self, retired: Vec<Retired>, how: End) -> usize {
        let mut count = 0;
        for Retired { engine, routes } in retired {
            count += engine.held();
            engine.end(how);
            self.past.add(engine.metrics().given_up());
            routes.into_iter().for_each(Route::abandon);
        }
        count
    }
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
        inner.forget_finished();
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

    /// Waits until the retired ones have finished, at most until `until`, and forgets those that have; `true` if all have, but
    /// for those that wait for the start.
    pub(super) async fn settle(&self, until: Instant) -> bool {
        for engine in self.retired() {
            let _ = timeout_at(until, engine.drained()).await;
        }
        let mut inner = self.lock();
        inner.forget_finished();
        inner.retired.iter().all(Retired::waits_for_start)
    }

    /// The retired ones send what a pause or a stop left them, in their order. All of them, the earliest first.
    pub(super) fn resume_retired(&self) -> Vec<Arc<Engine>> {
        let retired = self.retired();
        for (n, engine) in retired.iter().enumerate() {
            if engine.phase().waits_for_start() {
                engine.resume_after(retired.get(..n).unwrap_or_default());
            }
        }
        retired
    }

    /// Ends the retired ones.
    pub(super) fn end_retired(&self, how: End) {
        let mut inner = self.lock();
        let all = std::mem::take(&mut inner.retired);
        inner.end(all, how);
    }

    /// Ends those that do not wait for the start, and gives back what they held: how many messages.
    pub(super) fn end_running(&self) -> usize {
        self.end_but(Retired::waits_for_start)
    }

    /// Ends those that cannot go on, and gives back what they held.
    pub(super) fn end_stranded(&self) {
        self.end_but(|retired| !retired.engine.is_stranded());
    }

    fn end_but(&self, stays: impl Fn(&Retired) -> bool) -> usize {
        let mut inner = self.lock();
        let all = std::mem::take(&mut inner.retired).into_iter();
        let (left, gone) = all.partition(stays);
        inner.retired = left;
        inner.end(gone, End::Alone)
    }

    /// The engines that only finish what they took.
    pub(super) fn retired(&self) -> Vec<Arc<Engine>> {
        self.lock().retired.iter().map(|retired| Arc::clone(&retired.engine)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! What a manager shows of itself: events and sums.

use std::future::Future;
use std::sync::Arc;

use super::SessionManager;
use super::snapshot::Counted;
use crate::error::Error;
use crate::event::{Event, EventFilter, EventHandler, EventStream};
use crate::metrics::{ManagerMetrics, SessionMetrics};
use crate::session::Session;

/// Events and metrics.
impl SessionManager {
    /// Calls `handler` with each event that passes `filter`, one at a time and in order, on
    /// Tokio's blocking pool: it may block and may call back into the manager. Dropping the guard
    /// ends the calls.
    ///
    /// # Errors
    /// No Tokio runtime is running.
    pub fn on_event<F>(
        &self,
        filter: impl Into<EventFilter>,
        handler: F,
    ) -> Result<EventHandler, Error>
    where
        F: Fn(&Event) + Send + Sync + 'static,
    {
        let runtime = self.inner.services()?.runtime.clone();
        Ok(self.inner.events.on_event(filter.into(), &runtime, handler))
    }

    /// Awaits `handler` with each event that passes `filter`, one at a time and in order.
    ///
    /// # Errors
    /// No Tokio runtime is running.
    pub fn on_event_async<F, Fut>(
        &self,
        filter: impl Into<EventFilter>,
        handler: F,
    ) -> Result<EventHandler, Error>
    where
        F: Fn(Arc<Event>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let runtime = self.inner.services()?.runtime.clone();
        Ok(self.inner.events.on_event_async(filter.into(), &runtime, handler))
    }

    /// All events from now on; [`events_matching`](Self::events_matching) takes a filter.
    #[must_use]
    pub fn events(&self) -> EventStream {
        self.events_matching(EventFilter::all())
    }

    /// The events from now on that pass `filter`.
    #[must_use]
    pub fn events_matching(&self, filter: impl Into<EventFilter>) -> EventStream {
        self.inner.events.subscribe(filter.into())
    }

    /// The sums over all sessions; counters include those of sessions that were removed.
    #[must_use]
    pub fn metrics(&self) -> ManagerMetrics {
        self.sum(Session::metrics)
    }

    /// The same for somebody who looks often: it leaves the rates as they are, see [`Session::peek`].
    #[must_use]
    pub fn peek(&self) -> ManagerMetrics {
        self.sum(Session::peek)
    }

    fn sum(&self, look: impl Fn(&Session) -> SessionMetrics) -> ManagerMetrics {
        let over_all = self.inner.registry().routes.len();
        let mut sum = ManagerMetrics { routes: over_all, ..ManagerMetrics::default() };
        let Counted { sessions, mut counts } = self.inner.counted();
        for (session, shown) in sessions {
            counts.add(&session.counts().0);
            if shown {
                sum.add_state(&look(&session));
                // Each session has the routes over all sessions too.
                sum.routes += session.route_count().saturating_sub(over_all);
            }
        }
        sum.set_counts(&counts);
        sum
    }
}

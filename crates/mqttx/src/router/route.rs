//! The handle of a route.

use std::sync::Arc;

use super::{RouteHost, Target};
use crate::event::EventKind;
use crate::forward::{Filter, RuleError, Transform};

/// A running route: its handler gets the messages that match its filter.
///
/// Dropping it stops the route, as [`stop`](Self::stop) does; [`detach`](Self::detach) lets the
/// route live as long as its session.
#[must_use = "dropping a route stops it; `detach` keeps it running"]
pub struct Route {
    target: Arc<Target>,
    host: Arc<dyn RouteHost>,
    detached: bool,
    /// Out of its session.
    unhooked: bool,
}

/// What a route did so far; see [`Route::stats`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RouteStats {
    /// Messages that matched.
    pub received: u64,
    /// Messages that the handler finished (a stream: handed out and done).
    pub handled: u64,
    /// Messages that the route's filters and transforms left out.
    pub filtered: u64,
    /// Messages dropped because the queue, or the session's inbound buffer, was full.
    pub dropped: u64,
    /// Messages given up after the handler panicked at every attempt, or that a filter or transform failed on.
    pub failed: u64,
    /// Messages that wait now, parked ones included.
    pub queued: usize,
    /// Messages that a manual handler has not acknowledged yet.
    pub unacked: usize,
}

impl Route {
    pub(super) fn new(target: Arc<Target>, host: Arc<dyn RouteHost>) -> Self {
        Self { target, host, detached: false, unhooked: false }
    }

    pub(crate) fn target(&self) -> &Arc<Target> {
        &self.target
    }

    /// The filter as given.
    #[must_use]
    pub fn filter(&self) -> &str {
        self.target.filter()
    }

    /// Unique in this process.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.target.id().0
    }

    /// The session that it belongs to; `None` for a route over all sessions of a manager.
    #[must_use]
    pub fn session(&self) -> Option<&str> {
        self.target.session().map(|name| &**name)
    }

    /// A snapshot of its counters.
    #[must_use]
    pub fn stats(&self) -> RouteStats {
        self.target.stats()
    }

    /// From now on the handler gets only messages that `filter` takes; the others count as done, and as
    /// [`filtered`](RouteStats::filtered). A message that the filter fails on is given up like one that the handler
    /// always panics on, with the event [`HandlerFailed`](crate::EventKind::HandlerFailed). Filters and transforms
    /// are asked in the order in which they were added, by whoever calls the handler; those of an inline route on the
    /// driver, and its messages are copied for them.
    ///
    /// ```no_run
    /// # fn example(session: &mqttx::Session) -> Result<(), Box<dyn std::error::Error>> {
    /// let route = session.handle("sensors/#", |message| println!("{}", message.topic()))?;
    /// route.add_filter(mqttx::Filter::json("/temp", mqttx::Compare::Greater, 30)?);
    /// # Ok(()) }
    /// ```
    pub fn add_filter(&self, filter: Filter) {
        self.target.rules.add_filter(filter);
    }

    /// From now on the handler gets messages as `transform` leaves them; see [`add_filter`](Self::add_filter). Captures
    /// in templates count in the route's filter.
    ///
    /// # Errors
    /// A template uses a capture that the route's filter does not have.
    pub fn add_transform(&self, transform: Transform) -> Result<(), RuleError> {
        transform.check(self.filter())?;
        self.target.rules.add_transform(transform);
        Ok(())
    }

    /// Ends the route: no further message is handed over, those that wait count as done, and the
    /// filter is unsubscribed if no other route wants it. A call of the handler that is running
    /// finishes. Works from inside the handler.
    pub fn stop(self) {
        drop(self);
    }

    /// Keeps the route running without this handle, until its session is removed.
    pub fn detach(mut self) {
        self.detached = true;
    }

    /// Takes the route out of its session; what it holds can still be acknowledged.
    pub(crate) fn unhook(&mut self) {
        if !std::mem::replace(&mut self.unhooked, true) {
            self.host.detach(&self.target);
        }
    }

    /// Ends the route and acknowledges nothing: the servers send again what it holds.
    pub(crate) fn abandon(self) {
        self.target.abandon();
    }
}

impl Drop for Route {
    fn drop(&mut self) {
        if self.detached {
            return;
        }
        self.unhook();
        if self.target.stop() {
            let filter = Arc::clone(self.target.shared_filter());
            self.host.events().emit(self.host.session_name(), EventKind::RouteStopped { filter });
        }
    }
}

impl std::fmt::Debug for Route {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Route")
            .field("filter", &self.filter())
            .field("session", &self.session())
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

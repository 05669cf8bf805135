//! What happens in a manager, as typed events.
//!
//! [`EventBus`] hands each event to every subscriber that asked for its name. A subscriber has a
//! bounded queue of its own: one that is slow loses its oldest events, learns how many by an
//! [`EventKind::EventsLagged`], and delays nobody. Handlers run on the blocking pool or in a
//! task, never on a driver, so they may call back into the manager.

mod bus;
mod kind;

pub use bus::{EventHandler, EventStream};
pub use kind::{EventKind, EventName, ParseEventNameError};

pub(crate) use bus::EventBus;

use std::sync::Arc;
use std::time::SystemTime;

/// Something that happened: to a session, to a route, to a forwarder, or to the manager.
#[derive(Debug)]
#[non_exhaustive]
pub struct Event {
    /// What happened, with its data.
    pub kind: EventKind,
    /// The session that it concerns.
    pub session: Option<Arc<str>>,
    /// When it happened.
    pub timestamp: SystemTime,
}

impl Event {
    /// The name of the kind, for example [`EventName::SessionReady`].
    #[must_use]
    pub fn name(&self) -> EventName {
        self.kind.name()
    }
}

/// Which events a subscriber wants: by name, and for one session or for all.
///
/// ```
/// use mqttx::{EventFilter, EventName};
///
/// let losses = EventFilter::none()
///     .and(EventName::SessionDisconnected)
///     .and(EventName::MessageDropped)
///     .session("plant");
/// assert!(!losses.wants_name(EventName::SessionReady));
/// ```
#[derive(Clone, Debug)]
pub struct EventFilter {
    names: u64,
    session: Option<Box<str>>,
}

impl EventFilter {
    /// Every event of every session.
    #[must_use]
    pub const fn all() -> Self {
        Self { names: u64::MAX, session: None }
    }

    /// Nothing yet: add names with [`and`](Self::and).
    #[must_use]
    pub const fn none() -> Self {
        Self { names: 0, session: None }
    }

    /// Also wants events called `name`.
    #[must_use]
    pub const fn and(mut self, name: EventName) -> Self {
        self.names |= name.bit();
        self
    }

    /// Only events of the session called `name`.
    #[must_use]
    pub fn session(mut self, name: impl Into<Box<str>>) -> Self {
        self.session = Some(name.into());
        self
    }

    /// Whether events called `name` pass.
    #[must_use]
    pub const fn wants_name(&self, name: EventName) -> bool {
        // Losing events is never silent: every subscriber learns of it.
        self.names & name.bit() != 0 || matches!(name, EventName::EventsLagged)
    }

    fn wants(&self, event: &Event) -> bool {
        self.wants_name(event.name())
            && self.session.as_deref().is_none_or(|s| event.session.as_deref() == Some(s))
    }
}

impl From<EventName> for EventFilter {
    fn from(name: EventName) -> Self {
        Self::none().and(name)
    }
}

impl<const N: usize> From<[EventName; N]> for EventFilter {
    fn from(names: [EventName; N]) -> Self {
        names.into_iter().fold(Self::none(), Self::and)
    }
}

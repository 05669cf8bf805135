//! What a route dropped, told once a second at most.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Target;
use crate::event::{EventKind, EventName};
use crate::metrics::DropReason;

/// Drops of one route within this time make one event.
const DROP_EVENT_INTERVAL: Duration = Duration::from_secs(1);

/// Drops that no event told of yet.
#[derive(Default)]
pub(in crate::router) struct DropReport {
    untold: u64,
    reason: Option<DropReason>,
    last: Option<Instant>,
}

impl DropReport {
    /// One more drop; the number to tell now, if it is time.
    pub(super) fn add(&mut self, reason: DropReason, now: Instant) -> Option<(DropReason, u64)> {
        self.untold += 1;
        self.reason = Some(reason);
        self.due(now)
    }

    /// What nobody told of yet, once the last event is old enough.
    pub(in crate::router) fn due(&mut self, now: Instant) -> Option<(DropReason, u64)> {
        let early = |last| now.saturating_duration_since(last) < DROP_EVENT_INTERVAL;
        if self.last.is_some_and(early) {
            return None;
        }
        let reason = self.reason.take()?;
        self.last = Some(now);
        Some((reason, std::mem::take(&mut self.untold)))
    }

    /// [`due`](Self::due) without a look at the clock while there is nothing to tell.
    pub(in crate::router) fn due_now(&mut self) -> Option<(DropReason, u64)> {
        self.reason.and_then(|_| self.due(Instant::now()))
    }

    pub(super) fn rest(&mut self) -> Option<(DropReason, u64)> {
        self.last = None;
        self.due_now()
    }
}

impl Target {
    /// `last`: session and topic of the message dropped just now.
    pub(in crate::router) fn tell_of_drops(
        &self,
        told: Option<(DropReason, u64)>,
        last: Option<(&Arc<str>, &str)>,
    ) {
        if let Some((reason, count)) = told
            && self.events.wants(EventName::MessageDropped)
        {
            let session = last.map(|(session, _)| session).or(self.session.as_ref());
            let topic = last.map(|(_, topic)| topic.to_owned());
            let route = Some(self.filter.to_string());
            self.events.emit(session, EventKind::MessageDropped { reason, count, topic, route });
        }
    }
}

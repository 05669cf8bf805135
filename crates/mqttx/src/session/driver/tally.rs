//! Dropped messages: counted one by one, told at most once a second.

use std::time::{Duration, Instant};

use mqttx_proto::DropReason as CoreReason;

use crate::event::EventKind;
use crate::metrics::DropReason;
use crate::session::shared::Shared;

const INTERVAL: Duration = Duration::from_secs(1);

/// What no event told of yet.
#[derive(Default)]
pub(super) struct Tally {
    drops: Vec<Drops>,
    /// When the last event was sent.
    told: Option<Instant>,
}

struct Drops {
    reason: DropReason,
    count: u64,
    topic: Option<String>,
}

impl Tally {
    /// So many more; the topic is kept for the event.
    pub(super) fn add(
        &mut self,
        shared: &Shared,
        reason: DropReason,
        count: u64,
        topic: Option<&str>,
    ) {
        shared.origin.counters.record_dropped(reason, count);
        let found = self.drops.iter_mut().find(|drops| drops.reason == reason);
        if let Some(drops) = found {
            drops.count += count;
            // The first one of an interval is enough: no allocation for each message.
            return;
        }
        let topic = topic.map(str::to_owned);
        self.drops.push(Drops { reason, count, topic });
    }

    /// When the rest is to be told.
    pub(super) fn deadline(&self) -> Option<Instant> {
        if self.drops.is_empty() { None } else { self.told.map(|told| told + INTERVAL) }
    }

    /// Tells what is due.
    pub(super) fn tell(&mut self, now: Instant, shared: &Shared) {
        if self.drops.is_empty() || self.told.is_some_and(|told| now < told + INTERVAL) {
            return;
        }
        self.told = Some(now);
        for Drops { reason, count, topic } in self.drops.drain(..) {
            shared.emit(match reason {
                DropReason::Unrouted => {
                    EventKind::MessageUnrouted { topic: topic.unwrap_or_default(), count }
                }
                _ => EventKind::MessageDropped { reason, count, topic, route: None },
            });
        }
    }
}

/// The core's reasons, as the metrics know them.
pub(super) fn reason_of(reason: CoreReason) -> DropReason {
    match reason {
        CoreReason::Expired => DropReason::Expired,
        CoreReason::Evicted => DropReason::OutboxFull,
        CoreReason::ConnectionLost => DropReason::ConnectionLost,
        CoreReason::Damaged => DropReason::Damaged,
        _ => DropReason::Unsendable,
    }
}

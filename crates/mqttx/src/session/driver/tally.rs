//! Dropped messages: counted one by one, told at most once a second.

use std::time::{Duration, Instant};

use mqttx_proto::DropReason as CoreReason;

use crate::event::EventKind;
use crate::metrics::DropReason;
use crate::session::shared::Shared;

const INTERVAL: Duration = Duration::from_secs(1);

/// What no event told of yet.
#[derive(Default)]
pub(super) struct Tally(Option<Box<Untold>>);

#[derive(Default)]
struct Untold {
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
        let untold = self.0.get_or_insert_default();
        let found = untold.drops.iter_mut().find(|drops| drops.reason == reason);
        if let Some(drops) = found {
            drops.count += count;
            // The first one of an interval is enough: no allocation for each message.
            return;
        }
        let topic = topic.map(str::to_owned);
        untold.drops.push(Drops { reason, count, topic });
    }

    /// When the rest is to be told.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let untold = self.0.as_ref().filter(|untold| !untold.drops.is_empty())?;
        untold.told.map(|told| told + INTERVAL)
    }

    /// Tells what is due.
    pub(super) fn tell(&mut self, now: Instant, shared: &Shared) {
        let Some(untold) = &mut self.0 else { return };
        if untold.drops.is_empty() || untold.told.is_some_and(|told| now < told + INTERVAL) {
            return;
        }
        untold.told = Some(now);
        for Drops { reason, count, topic } in untold.drops.drain(..) {
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

//! Why a forwarder gives a message up, as a label.

use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind};

/// Why a message was not forwarded; [`as_str`](Self::as_str) is its label in metrics and events.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
#[non_exhaustive]
pub enum ForwardDrop {
    /// QoS 0: more messages wait for the target than `qos0_queue` allows.
    QueueFull,
    /// The server refused the message.
    Refused,
    /// It is larger than the target accepts.
    TooLarge,
    /// The target's server does not support what the message asks for.
    NotSupported,
    /// The rendered topic is not a topic name.
    Topic,
    /// Its message expiry ran out on the way.
    Expired,
    /// The target's outbox dropped it for a newer one.
    Evicted,
    /// QoS 0: the target's connection ended before its socket took the message.
    ConnectionLost,
    /// The target's session was removed. The source is not told: it sends the message again.
    TargetRemoved,
    /// The target's store failed before it had the message, or its server did. The source is not told: it sends the message
    /// again.
    StoreFailed,
    /// Anything else that the target's session refused.
    Invalid,
    /// It passed this forwarder before, or made too many hops.
    Loop,
    /// The filter failed on it.
    Filter,
    /// The transform failed on it.
    Transform,
    /// The transform returned nothing.
    Discarded,
}

impl ForwardDrop {
    /// Every reason.
    pub const ALL: [Self; 15] = [
        Self::QueueFull,
        Self::Refused,
        Self::TooLarge,
        Self::NotSupported,
        Self::Topic,
        Self::Expired,
        Self::Evicted,
        Self::ConnectionLost,
        Self::TargetRemoved,
        Self::StoreFailed,
        Self::Invalid,
        Self::Loop,
        Self::Filter,
        Self::Transform,
        Self::Discarded,
    ];

    /// The label, for example `queue_full`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::Refused => "refused",
            Self::TooLarge => "too_large",
            Self::NotSupported => "not_supported",
            Self::Topic => "topic",
            Self::Expired => "expired",
            Self::Evicted => "evicted",
            Self::ConnectionLost => "connection_lost",
            Self::TargetRemoved => "target_removed",
            Self::StoreFailed => "store_failed",
            Self::Invalid => "invalid",
            Self::Loop => "loop",
            Self::Filter => "filter",
            Self::Transform => "transform",
            Self::Discarded => "discarded",
        }
    }

    pub(super) const fn index(self) -> usize {
        self as usize
    }

    /// The same for a person who finds a dead letter.
    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::Topic => "the topic that it would get is empty, too long or has a wildcard",
            Self::TooLarge => "it is larger than the target accepts",
            Self::NotSupported => "the target does not support what it asks for",
            _ => self.as_str(),
        }
    }

    /// Whether such a message goes to the dead letters: it is as bad at any other time.
    pub(super) const fn is_for_dead_letters(self) -> bool {
        match self {
            Self::Refused
            | Self::TooLarge
            | Self::NotSupported
            | Self::Topic
            | Self::Invalid
            | Self::Filter
            | Self::Transform => true,
            Self::QueueFull
            | Self::Expired
            | Self::Evicted
            | Self::ConnectionLost
            | Self::TargetRemoved
            | Self::StoreFailed
            | Self::Loop
            | Self::Discarded => false,
        }
    }

    /// Whether the source's server keeps such a message: a target did not get it, and may get it later.
    pub(super) const fn is_left_to_source(self) -> bool {
        matches!(self, Self::TargetRemoved | Self::StoreFailed)
    }

    /// What an error of the target's session means.
    pub(super) fn of(error: &Error) -> Self {
        match error.kind() {
            ErrorKind::Closed => return Self::TargetRemoved,
            ErrorKind::Store => return Self::StoreFailed,
            ErrorKind::Refused => return Self::Refused,
            _ => {}
        }
        let reason = error.context().find(|(key, _)| *key == "reason").map(|(_, value)| value);
        match (error.code(), reason) {
            ("publish.refused", _) => Self::Refused,
            ("publish.too_large", _) | (_, Some("too_large")) => Self::TooLarge,
            ("publish.topic", _) => Self::Topic,
            ("publish.not_allowed", _)
            | (_, Some("qos_not_supported" | "retain_not_available")) => Self::NotSupported,
            (_, Some("expired")) => Self::Expired,
            (_, Some("evicted")) => Self::Evicted,
            ("publish.connection_lost", _) | (_, Some("connection_lost")) => Self::ConnectionLost,
            _ => Self::Invalid,
        }
    }
}

impl std::fmt::Display for ForwardDrop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Drops that no event told of yet: many of one cause within a second make one event.
#[derive(Default)]
pub(super) struct DropReports {
    by_reason: [Untold; ForwardDrop::ALL.len()],
}

#[derive(Clone, Copy, Default)]
struct Untold {
    count: u64,
    told: Option<Instant>,
}

const INTERVAL: Duration = Duration::from_secs(1);

impl DropReports {
    /// One more; the number to tell of, if it is time to.
    pub(super) fn add(&mut self, reason: ForwardDrop, now: Instant) -> Option<u64> {
        self.add_many(reason, 1, now)
    }

    /// So many more.
    pub(super) fn add_many(
        &mut self,
        reason: ForwardDrop,
        count: u64,
        now: Instant,
    ) -> Option<u64> {
        let untold = self.by_reason.get_mut(reason.index())?;
        untold.count += count;
        if untold.told.is_some_and(|told| now.saturating_duration_since(told) < INTERVAL) {
            return None;
        }
        untold.told = Some(now);
        Some(std::mem::take(&mut untold.count))
    }

    /// What was not told of, at the end.
    pub(super) fn rest(&mut self) -> Vec<(ForwardDrop, u64)> {
        let all = ForwardDrop::ALL.iter().zip(&mut self.by_reason);
        let counts = all.map(|(reason, untold)| (*reason, std::mem::take(&mut untold.count)));
        counts.filter(|(_, count)| *count > 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_of_one_second_make_one_event() {
        let mut reports = DropReports::default();
        let start = Instant::now();
        assert_eq!(reports.add(ForwardDrop::QueueFull, start), Some(1));
        for _ in 0..4 {
            assert_eq!(reports.add(ForwardDrop::QueueFull, start), None);
        }
        assert_eq!(reports.add(ForwardDrop::Refused, start), Some(1));
        assert_eq!(reports.add(ForwardDrop::QueueFull, start + INTERVAL), Some(5));
        assert_eq!(reports.add(ForwardDrop::QueueFull, start + INTERVAL), None);
        assert_eq!(reports.rest(), [(ForwardDrop::QueueFull, 1)]);
    }

    #[test]
    fn indices_are_places_in_all() {
        for (index, reason) in ForwardDrop::ALL.iter().enumerate() {
            assert_eq!(reason.index(), index);
        }
    }
}

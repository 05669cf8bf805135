//! The topics of a lot for one target: each is rendered once.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::endpoint::TargetRule;
use super::template::TopicContext;

/// Rendered topics, in memory that is used again.
#[derive(Default)]
pub(super) struct Topics {
    rendered: Vec<Rendered>,
    used: usize,
    /// Places in `rendered`, plus one, by a hash of the topic that came.
    memo: Vec<u8>,
}

#[derive(Default)]
struct Rendered {
    /// What came, and through which filter of which source.
    arrived: String,
    from: (usize, usize),
    topic: String,
    valid: bool,
}

/// A rendered topic; `None`: it is not a topic name.
pub(super) type Topic = Option<u8>;

const SLOTS: usize = 64;

/// Longer strings are not kept from lot to lot.
const KEEP: usize = 4096;

/// What the topics of a lot have in common.
pub(super) struct Cast<'a> {
    pub(super) rule: &'a TargetRule,
    pub(super) uses_time: bool,
    pub(super) forwarder: &'a str,
    pub(super) now: Instant,
}

impl Topics {
    /// Another lot, or another target.
    pub(super) fn clear(&mut self) {
        for old in self.rendered.iter_mut().take(std::mem::take(&mut self.used)) {
            old.arrived.shrink_to(KEEP);
            old.topic.shrink_to(KEEP);
        }
        self.memo.clear();
    }

    /// The topic for a message that came through `from`: source and filter. A transform may have changed the topic that
    /// it `arrived` with: what it is called now is the second one. At most [`LOT`](crate::router::LOT) between two
    /// calls of [`clear`](Self::clear).
    pub(super) fn render(
        &mut self,
        cast: &Cast<'_>,
        from: (usize, usize),
        session: &str,
        (arrived, called): (&str, &str),
        received_at: Instant,
    ) -> Topic {
        let slot = slot_of(arrived.as_bytes());
        let is_changed = !std::ptr::eq(arrived, called);
        if !cast.uses_time
            && !is_changed
            && let Some(place) = self.memo.get(slot).copied().and_then(|at| at.checked_sub(1))
            && let Some(known) = self.rendered.get(usize::from(place))
            && known.from == from
            && known.arrived == arrived
        {
            return known.valid.then_some(place);
        }
        if self.used == self.rendered.len() {
            self.rendered.push(Rendered::default());
        }
        let place = u8::try_from(self.used).ok()?;
        let new = self.rendered.get_mut(self.used)?;
        self.used += 1;
        new.arrived.clear();
        new.arrived.push_str(arrived);
        new.from = from;
        let cx = TopicContext {
            topic: arrived,
            forwarder: cast.forwarder,
            session,
            received_unix_ms: if cast.uses_time { unix_ms(cast.now, received_at) } else { 0 },
        };
        new.valid = match cast.rule.map.find(called) {
            // The captures of a map are those of the topic that it found.
            Some(mapped) => mapped.render(&TopicContext { topic: called, ..cx }, &mut new.topic),
            None => cast.rule.fallback(from).render_called(&cx, called, &mut new.topic),
        }
        .is_ok();
        self.memo.resize(SLOTS, 0);
        if let Some(memo) = self.memo.get_mut(slot).filter(|_| !is_changed) {
            *memo = place + 1;
        }
        new.valid.then_some(place)
    }

    pub(super) fn get(&self, topic: u8) -> &str {
        self.rendered.get(usize::from(topic)).map_or("", |rendered| &rendered.topic)
    }
}

fn unix_ms(now: Instant, received_at: Instant) -> u64 {
    let waited = now.saturating_duration_since(received_at);
    let received = SystemTime::now().checked_sub(waited).unwrap_or(UNIX_EPOCH);
    let since = received.duration_since(UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// The end of a topic tells topics apart better than its beginning.
fn slot_of(topic: &[u8]) -> usize {
    let last = topic.last_chunk::<8>().map_or(topic.len() as u64, |end| u64::from_le_bytes(*end));
    ((last ^ topic.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forward::ForwarderBuilder;

    #[test]
    fn a_topic_is_rendered_once_for_each_filter_it_came_through() {
        let options = ForwarderBuilder::new("fw")
            .source("src", "a/+")
            .source("src", "+/b")
            .target("dst")
            .topic("x/{1}")
            .build()
            .unwrap();
        let now = Instant::now();
        let cast = Cast { rule: &options.targets[0], uses_time: false, forwarder: "fw", now };
        let mut topics = Topics::default();
        for _ in 0..2 {
            let mut render = |filter, topic: &str| {
                let place = topics.render(&cast, (0, filter), "src", (topic, topic), now);
                (place, place.map(|place| topics.get(place).to_owned()))
            };
            let first = render(0, "a/b");
            assert_eq!(first.1.as_deref(), Some("x/b"));
            assert_eq!(render(0, "a/b").0, first.0);
            assert_eq!(render(1, "a/b").1.as_deref(), Some("x/a"));
            assert_eq!(render(0, "a/c").1.as_deref(), Some("x/c"));
            assert_eq!(topics.used, 3);
            topics.clear();
        }
        assert_eq!(topics.rendered.len(), 3, "their memory is used again");
    }

    #[test]
    fn a_changed_topic_stands_for_the_one_that_came_except_for_captures() {
        let options = ForwarderBuilder::new("fw")
            .source("s", "a/+")
            .target("d")
            .topic("x/{1}/{topic}")
            .map_topic("m/+", "y/{1}/{topic}")
            .build()
            .unwrap();
        let now = Instant::now();
        let cast = Cast { rule: &options.targets[0], uses_time: false, forwarder: "fw", now };
        let mut topics = Topics::default();
        let mut render = |called: &str| {
            let place = topics.render(&cast, (0, 0), "s", ("a/1", called), now).unwrap();
            topics.get(place).to_owned()
        };
        assert_eq!(render("b/2"), "x/1/b/2");
        assert_eq!(render("m/3"), "y/3/m/3");
        assert_eq!(render("c"), "x/1/c");
    }

    #[test]
    fn a_topic_that_cannot_be_is_remembered_as_such() {
        let options = ForwarderBuilder::new("fw")
            .source("s", "a/#")
            .target("d")
            .topic("{#}")
            .build()
            .unwrap();
        let now = Instant::now();
        let cast = Cast { rule: &options.targets[0], uses_time: false, forwarder: "fw", now };
        let mut topics = Topics::default();
        for _ in 0..2 {
            assert_eq!(topics.render(&cast, (0, 0), "s", ("a", "a"), now), None);
        }
        assert_eq!(topics.used, 1);
    }
}

//! The topics of a lot for one target.

use std::ops::Range;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::template::{BoundTemplate, TopicContext};
use super::topic_map::TopicMap;

/// Rendered topics, in memory that is used again.
#[derive(Default)]
pub(super) struct Topics {
    /// All of them, and those that are remembered as they came.
    text: String,
    rendered: Vec<Rendered>,
    /// Where the message before lies that has the rendered topic which was asked for last.
    last: Option<(Origin, Topic)>,
    /// What is remembered, by a hash of the topic that came.
    memo: Vec<Option<Known>>,
}

struct Rendered {
    topic: Range<usize>,
    valid: bool,
}

#[derive(Clone)]
struct Known {
    arrived: Range<usize>,
    from: Inflow,
    /// In `rendered`.
    place: u8,
}

/// The source that a message came from, and the filter.
pub(super) type Inflow = (usize, usize);

/// A topic by where it lies, and how it came. The core gives messages of one topic in a row the same piece of the read for it.
#[derive(PartialEq, Eq)]
struct Origin {
    from: Inflow,
    address: usize,
    len: usize,
}

/// A rendered topic; `None`: it is not a topic name.
pub(super) type Topic = Option<u8>;

const SLOTS: usize = 64;

/// More text is not kept from lot to lot.
const KEEP: usize = 32 * 1024;

/// What the topics of a lot have in common that came through one filter.
pub(super) struct Cast<'a> {
    pub(super) from: Inflow,
    pub(super) session: &'a str,
    pub(super) map: &'a TopicMap,
    /// For topics that the map does not have.
    pub(super) fallback: &'a BoundTemplate,
    pub(super) uses_time: bool,
    pub(super) forwarder: &'a str,
    pub(super) now: Instant,
}

impl Topics {
    /// Another lot, or another target.
    pub(super) fn clear(&mut self) {
        self.text.clear();
        self.text.shrink_to(KEEP);
        self.rendered.clear();
        self.last = None;
        self.memo.clear();
    }

    /// The topic for a message. A transform may have changed the topic that it `arrived` with: what it is called now is the second
    /// one. At most [`LOT`](crate::router::LOT) between two calls of [`clear`](Self::clear), and what arrived stays where it is
    /// until then.
    pub(super) fn render(
        &mut self,
        cast: &Cast<'_>,
        (arrived, called): (&str, &str),
        received_at: Instant,
    ) -> Topic {
        if cast.uses_time || !std::ptr::eq(arrived, called) {
            return self.add(cast, (arrived, called), received_at);
        }
        let (address, len) = (arrived.as_ptr().addr(), arrived.len());
        let origin = Origin { from: cast.from, address, len };
        if let Some((last, topic)) = &self.last
            && *last == origin
        {
            return *topic;
        }
        // To render is as cheap as to ask whether that was done. To look for a topic in a map is not.
        let topic = match cast.map.is_empty() {
            true => self.add(cast, (arrived, arrived), received_at),
            false => self.remember(cast, arrived, received_at),
        };
        self.last = Some((origin, topic));
        topic
    }

    /// Renders a topic once for each filter that it came through.
    fn remember(&mut self, cast: &Cast<'_>, arrived: &str, received_at: Instant) -> Topic {
        let slot = slot_of(arrived.as_bytes());
        if let Some(Some(known)) = self.memo.get(slot)
            && known.from == cast.from
            && self.text.get(known.arrived.clone()) == Some(arrived)
        {
            let is_valid = self.rendered.get(usize::from(known.place))?.valid;
            return is_valid.then_some(known.place);
        }
        let place = u8::try_from(self.rendered.len()).ok()?;
        let topic = self.add(cast, (arrived, arrived), received_at);
        let start = self.text.len();
        self.text.push_str(arrived);
        self.memo.resize(SLOTS, None);
        let (arrived, from) = (start..self.text.len(), cast.from);
        *self.memo.get_mut(slot)? = Some(Known { arrived, from, place });
        topic
    }

    #[inline]
    fn add(
        &mut self,
        cast: &Cast<'_>,
        (arrived, called): (&str, &str),
        received_at: Instant,
    ) -> Topic {
        let place = u8::try_from(self.rendered.len()).ok()?;
        let cx = TopicContext {
            topic: arrived,
            forwarder: cast.forwarder,
            session: cast.session,
            received_unix_ms: if cast.uses_time { unix_ms(cast.now, received_at) } else { 0 },
        };
        let (start, text) = (self.text.len(), &mut self.text);
        let valid = match cast.map.find(called) {
            // The captures of a map are those of the topic that it found.
            Some(mapped) => mapped.append(&TopicContext { topic: called, ..cx }, called, text),
            None => cast.fallback.append(&cx, called, text),
        }
        .is_ok();
        self.rendered.push(Rendered { topic: start..self.text.len(), valid });
        valid.then_some(place)
    }

    pub(super) fn get(&self, topic: u8) -> &str {
        let rendered = self.rendered.get(usize::from(topic));
        rendered.and_then(|rendered| self.text.get(rendered.topic.clone())).unwrap_or_default()
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
    use crate::forward::{ForwarderBuilder, ForwarderOptions};

    fn cast(options: &ForwarderOptions, filter: usize, now: Instant) -> Cast<'_> {
        let (rule, from) = (&options.targets[0], (0, filter));
        let (map, fallback) = (&rule.map, rule.fallback(from));
        Cast { from, session: "src", map, fallback, uses_time: false, forwarder: "fw", now }
    }

    #[test]
    fn a_topic_is_rendered_once_for_each_filter_it_came_through() {
        let options = ForwarderBuilder::new("fw")
            .source("src", "a/+")
            .source("src", "+/b")
            .target("dst")
            .topic("x/{1}")
            .map_topic("m/+", "y/{1}")
            .build()
            .unwrap();
        let now = Instant::now();
        let mut topics = Topics::default();
        for _ in 0..2 {
            let mut render = |filter, topic: &str| {
                let place = topics.render(&cast(&options, filter, now), (topic, topic), now);
                (place, place.map(|place| topics.get(place).to_owned()))
            };
            let first = render(0, "a/b");
            assert_eq!(first.1.as_deref(), Some("x/b"));
            assert_eq!(render(0, "a/b").0, first.0);
            assert_eq!(render(1, "a/b").1.as_deref(), Some("x/a"));
            assert_eq!(render(0, "a/c").1.as_deref(), Some("x/c"));
            let mapped = render(0, "m/d");
            assert_eq!(mapped.1.as_deref(), Some("y/d"));
            // Not the same piece of the read.
            assert_eq!(render(0, &String::from("m/d")), mapped);
            assert_eq!(topics.rendered.len(), 4);
            topics.clear();
        }
        let kept = (topics.text.capacity(), topics.rendered.capacity());
        assert!(topics.text.is_empty() && kept >= (20, 4), "their memory is used again");
    }

    #[test]
    fn without_a_map_only_the_topic_before_is_not_rendered_again() {
        let options = ForwarderBuilder::new("fw").source("src", "a/+").target("dst").topic("x/{1}");
        let options = options.build().unwrap();
        let now = Instant::now();
        let mut topics = Topics::default();
        let read = "a/1a/2a/1";
        let mut render = |from, at: usize| {
            let topic = &read[at..at + 3];
            let place = topics.render(&cast(&options, from, now), (topic, topic), now).unwrap();
            (place, topics.get(place).to_owned())
        };
        let rendered = [(0, 0), (0, 0), (0, 3), (1, 3), (0, 6)].map(|(from, at)| render(from, at));
        let expected = [(0, "x/1"), (0, "x/1"), (1, "x/2"), (2, "a/2"), (3, "x/1")];
        assert_eq!(rendered, expected.map(|(place, topic)| (place, topic.to_owned())));
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
        let mut topics = Topics::default();
        let mut render = |called: &str| {
            let place = topics.render(&cast(&options, 0, now), ("a/1", called), now).unwrap();
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
        let mut topics = Topics::default();
        for _ in 0..2 {
            assert_eq!(topics.render(&cast(&options, 0, now), ("a", "a"), now), None);
        }
        assert_eq!(topics.rendered.len(), 1);
    }
}

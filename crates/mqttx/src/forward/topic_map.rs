//! Topic maps: which topic a forwarded message gets, by the topic it came with.

use std::collections::HashMap;
use std::fmt;

use super::template::{BoundTemplate, RenderError, TopicContext, TopicTemplate};

/// Exact topics and wildcard filters, each with the [`TopicTemplate`] of what becomes of it.
///
/// An exact entry wins over every wildcard, and the more specific wildcard over the less specific one:
/// level by level from the left, a literal level before `+`, `+` before `#`. Looking a topic up visits its
/// levels once, however many entries there are. Wildcards at the start do not match topics that begin
/// with `$` `[MQTT-4.7.2-1]`.
///
/// ```
/// use mqttx::{TopicContext, TopicMap};
///
/// let mut map = TopicMap::default();
/// map.insert("sensors/room1/temperature", "storage/room1/temp")?;
/// map.insert("sensors/+/temperature", "storage/{1}/temperature")?;
/// let mut cx = TopicContext { topic: "sensors/hall/temperature", forwarder: "f", session: "s", received_unix_ms: 0 };
/// let mut out = String::new();
/// map.render(&cx, &mut out).unwrap()?;
/// assert_eq!(out, "storage/hall/temperature");
/// cx.topic = "sensors/room1/temperature";
/// map.render(&cx, &mut out).unwrap()?;
/// assert_eq!(out, "storage/room1/temp");
/// cx.topic = "pumps/1";
/// assert!(map.render(&cx, &mut out).is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct TopicMap {
    root: Node,
    entries: Vec<Entry>,
}

impl TopicMap {
    /// A map of `(filter or topic, template)` pairs.
    ///
    /// # Errors
    /// Every entry that cannot be: an invalid filter, a shared one, one that stands twice, a template that
    /// [`TopicTemplate::parse`] refuses or that uses a capture its filter does not have.
    pub fn new<K, V>(entries: impl IntoIterator<Item = (K, V)>) -> Result<Self, Vec<TopicMapError>>
    where
        K: AsRef<str>,
        V: AsRef<str>,
    {
        let mut map = Self::default();
        let mut errors = Vec::new();
        for (from, to) in entries {
            if let Err(error) = map.insert(from.as_ref(), to.as_ref()) {
                errors.push(error);
            }
        }
        if errors.is_empty() { Ok(map) } else { Err(errors) }
    }

    /// Adds one entry.
    ///
    /// # Errors
    /// As [`TopicMap::new`]; the map is unchanged then.
    pub fn insert(&mut self, from: &str, to: &str) -> Result<(), TopicMapError> {
        let refuse = |message: String| Err(TopicMapError::new(from, message));
        if from.starts_with("$share/") {
            return refuse(
                "an entry of a map matches topics: leave out '$share/GROUP/'".to_owned(),
            );
        }
        if let Err(error) = mqttx_proto::validate_filter(from) {
            return refuse(error.to_string());
        }
        let template =
            TopicTemplate::parse(to).and_then(|t| t.bind(from)).map_err(|e| e.in_entry(from))?;
        let slot = self.root.slot(from);
        if slot.is_some() {
            return refuse("the entry stands twice".to_owned());
        }
        *slot = Some(self.entries.len());
        self.entries.push(Entry { from: from.into(), template });
        Ok(())
    }

    /// Whether there is no entry, so that nothing ever matches.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Renders the template of the best entry for `cx.topic` into `out`, replacing what was there.
    /// `None` when no entry matches; `out` is untouched then.
    pub fn render(
        &self,
        cx: &TopicContext<'_>,
        out: &mut String,
    ) -> Option<Result<(), RenderError>> {
        self.find(cx.topic).map(|template| template.render(cx, out))
    }

    pub(super) fn find(&self, topic: &str) -> Option<&BoundTemplate> {
        if self.entries.is_empty() {
            return None;
        }
        let index = self.root.find(Some(topic), topic.starts_with('$'))?;
        self.entries.get(index).map(|entry| &entry.template)
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = (&str, &BoundTemplate)> {
        self.entries.iter().map(|entry| (&*entry.from, &entry.template))
    }

    pub(super) fn uses_time(&self) -> bool {
        self.entries.iter().any(|entry| entry.template.uses_time())
    }
}

/// Why a template or an entry of a topic map cannot be used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TopicMapError {
    entry: Option<Box<str>>,
    value: Box<str>,
    message: String,
}

impl TopicMapError {
    pub(super) fn new(value: &str, message: String) -> Self {
        Self { entry: None, value: value.into(), message }
    }

    fn in_entry(self, from: &str) -> Self {
        Self { entry: Some(from.into()), ..self }
    }

    /// The left side of the entry whose right side is wrong; `None` when the problem is not in a right side.
    #[must_use]
    pub fn entry(&self) -> Option<&str> {
        self.entry.as_deref()
    }

    /// The template or filter that is wrong.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }

    /// What is wrong with it.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for TopicMapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}': {}", self.value, self.message)
    }
}

impl std::error::Error for TopicMapError {}

#[derive(Clone, Debug)]
struct Entry {
    from: Box<str>,
    template: BoundTemplate,
}

/// One level of all entries. Searching literal, `+` and `#` in this order finds the best entry first.
#[derive(Clone, Debug, Default)]
struct Node {
    literal: HashMap<Box<str>, Self>,
    plus: Option<Box<Self>>,
    /// An entry that ends here.
    end: Option<usize>,
    /// An entry whose `#` stands below this level.
    rest: Option<usize>,
}

impl Node {
    fn slot(&mut self, filter: &str) -> &mut Option<usize> {
        let mut node = self;
        for level in filter.split('/') {
            node = match level {
                "#" => return &mut node.rest,
                "+" => node.plus.get_or_insert_default(),
                literal => node.literal.entry(literal.into()).or_default(),
            };
        }
        &mut node.end
    }

    /// `topic`: the levels still to match; `system`: the next level is the first one and begins with `$`.
    fn find(&self, topic: Option<&str>, system: bool) -> Option<usize> {
        let Some(topic) = topic else { return self.end.or(self.rest) };
        let (level, below) = match topic.split_once('/') {
            Some((level, below)) => (level, Some(below)),
            None => (topic, None),
        };
        let literal = self.literal.get(level).and_then(|node| node.find(below, false));
        if literal.is_some() || system {
            return literal;
        }
        self.plus.as_ref().and_then(|node| node.find(below, false)).or(self.rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(map: &TopicMap, topic: &str) -> Option<Result<String, RenderError>> {
        let cx = TopicContext {
            topic,
            forwarder: "telemetry",
            session: "plant",
            received_unix_ms: 1_700_000_000_123,
        };
        let mut out = "leftover".to_owned();
        map.render(&cx, &mut out).map(|done| done.map(|()| out))
    }

    /// Renders `to` for a message that came through `from` as `topic`.
    fn one(from: &str, to: &str, topic: &str) -> Result<String, RenderError> {
        let map = TopicMap::new([(from, to)]).unwrap();
        render(&map, topic).expect("the entry matches")
    }

    #[test]
    fn captures_and_names_are_put_in() {
        for (from, to, topic, expected) in [
            ("a/b", "c/d", "a/b", "c/d"),
            ("sensors/+/temperature", "site/{1}/temp", "sensors/x/temperature", "site/x/temp"),
            ("line/+/sensor/+/#", "s/l{1}/{2}/{#}", "line/7/sensor/9/raw/x", "s/l7/9/raw/x"),
            ("+/+/+", "{3}/{1}/{2}/{1}", "a/b/c", "c/a/b/a"),
            ("#", "in/{#}", "a/b", "in/a/b"),
            ("#", "in/{topic}", "a/b", "in/a/b"),
            ("a/#", "{#}", "a/b", "b"),
            ("a/+", "x-{1}-y", "a/b", "x-b-y"),
            ("a/+", "x/{1}", "a/", "x/"),
            ("+/a", "x{1}y", "/a", "xy"),
            ("a/+", "{forwarder}/{session}/{1}", "a/b", "telemetry/plant/b"),
            ("a/+", "{1}/{received_unix_ms}", "a/b", "b/1700000000123"),
            ("a/+", "{{{1}}}", "a/b", "{b}"),
            ("a/+", "{{1}}", "a/b", "{1}"),
        ] {
            assert_eq!(one(from, to, topic).as_deref(), Ok(expected), "{from} -> {to}: {topic}");
        }
    }

    #[test]
    fn empty_rest_takes_the_slash_before_it_along() {
        for (to, topic, expected) in [
            ("b/{#}", "a", "b"),
            ("b/{#}", "a/", "b"),
            ("b/{#}", "a/c", "b/c"),
            ("b/{#}", "a/c/", "b/c/"),
            ("b/{#}", "a//c", "b//c"),
            ("b/{#}/c", "a", "b/c"),
            ("b{#}", "a", "b"),
            ("b//{#}", "a", "b/"),
            ("{topic}/{#}", "a", "a"),
        ] {
            assert_eq!(one("a/#", to, topic).as_deref(), Ok(expected), "{to}: {topic}");
        }
    }

    #[test]
    fn values_are_data_and_never_expanded() {
        assert_eq!(one("a/+", "b/{1}", "a/{topic}").as_deref(), Ok("b/{topic}"));
        assert_eq!(one("a/#", "b/{#}", "a/{1}/{{").as_deref(), Ok("b/{1}/{{"));
    }

    #[test]
    fn unusable_rendered_topics_are_errors() {
        assert_eq!(one("a/#", "{#}", "a"), Err(RenderError::Empty));
        assert_eq!(one("a/+", "{1}", "a/"), Err(RenderError::Empty));
        let long = format!("a/{}", "x".repeat(65_533));
        assert_eq!(one("a/+", "bc/{1}", &long), Err(RenderError::TooLong(65_536)));
        assert_eq!(one("a/+", "b/{1}", &long).map(|topic| topic.len()), Ok(65_535));
        let map = TopicMap::new([("a", "x/{session}")]).unwrap();
        let cx = TopicContext { topic: "a", forwarder: "f", session: "s+1", received_unix_ms: 0 };
        let result = map.render(&cx, &mut String::new());
        assert_eq!(result, Some(Err(RenderError::Forbidden('+'))));
    }

    #[test]
    fn exact_entries_come_first_then_the_most_specific_wildcard() {
        // Each entry renders to its own place in the list; every prefix order must give the same winner.
        let entries =
            ["a/b/c", "a/b/+", "a/b/#", "a/+/c", "a/+/+", "a/+/#", "a/#", "+/b/c", "+/#", "#"];
        for turn in 0..entries.len() {
            let mut order = entries.to_vec();
            order.rotate_left(turn);
            let map = TopicMap::new(order.iter().map(|e| (e, e.replace(['+', '#'], "*")))).unwrap();
            for (topic, winner) in [
                ("a/b/c", "a/b/c"),
                ("a/b/d", "a/b/+"),
                ("a/b", "a/b/#"),
                ("a/b/d/e", "a/b/#"),
                ("a/x/c", "a/+/c"),
                ("a/x/y", "a/+/+"),
                ("a/x", "a/+/#"),
                ("a/x/c/d", "a/+/#"),
                ("a", "a/#"),
                ("x/b/c", "+/b/c"),
                ("x/b/d", "+/#"),
                ("x", "+/#"),
                ("/", "+/#"),
            ] {
                let expected = winner.replace(['+', '#'], "*");
                assert_eq!(render(&map, topic), Some(Ok(expected)), "{topic} with {order:?}");
            }
        }
    }

    #[test]
    fn search_goes_back_when_the_literal_branch_ends() {
        let map = TopicMap::new([("a/b/c", "1"), ("a/+/d", "2"), ("+/b/e", "3")]).unwrap();
        assert_eq!(render(&map, "a/b/d"), Some(Ok("2".to_owned())));
        assert_eq!(render(&map, "a/b/e"), Some(Ok("3".to_owned())));
        assert_eq!(render(&map, "a/b/f"), None);
        assert_eq!(render(&map, "a/b"), None);
    }

    #[test]
    fn leading_wildcards_leave_system_topics_alone() {
        let map = TopicMap::new([("#", "1"), ("+/x", "2"), ("$SYS/#", "3/{#}")]).unwrap();
        assert_eq!(render(&map, "$SYS/x"), Some(Ok("3/x".to_owned())));
        assert_eq!(render(&map, "$other/x"), None);
        assert_eq!(render(&map, "a/$x"), Some(Ok("1".to_owned())));
    }

    #[test]
    fn every_bad_entry_is_reported() {
        let errors = TopicMap::new([
            ("a/#/b", "x"),
            ("a/+", "{2}"),
            ("a/+", "{#}"),
            ("a", "{1}"),
            ("b", "{what}"),
            ("c", "{1"),
            ("d", "1}"),
            ("e", "x/#"),
            ("f", ""),
            ("g", "{0}"),
            ("h", "{}"),
            ("i", "{70000}"),
            ("$share/g/a", "x"),
            ("ok", "x"),
            ("ok", "y"),
            ("", "x"),
        ])
        .unwrap_err();
        let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(texts.len(), 15, "{texts:#?}");
        for (text, part) in texts.iter().zip([
            "a/#/b",
            "has only one '+'",
            "needs a '#'",
            "needs a '+'",
            "unknown placeholder {what}",
            "without '}'",
            "without '{'",
            "'#'",
            "empty",
            "counted from 1",
            "unknown placeholder {}",
            "counted from 1",
            "$share",
            "twice",
            "",
        ]) {
            assert!(text.contains(part), "{text} should say {part}");
        }
        assert_eq!(errors[1].entry(), Some("a/+"));
        assert_eq!(errors[1].value(), "{2}");
        assert_eq!(errors[0].entry(), None);
    }

    #[test]
    fn shared_subscription_counts_captures_in_its_filter() {
        let template = TopicTemplate::parse("x/{1}/{#}").unwrap();
        assert!(template.check("$share/g/a/+/#").is_ok());
        assert!(template.check("$share/+/a/#").is_err());
        let bound = template.bind("$share/g/a/+/#").unwrap();
        let cx = TopicContext { topic: "a/b/c", forwarder: "", session: "", received_unix_ms: 0 };
        let mut out = String::new();
        assert_eq!(bound.render(&cx, &mut out), Ok(()));
        assert_eq!(out, "x/b/c");
    }

    #[test]
    fn templates_know_whether_they_read_the_clock() {
        assert!(TopicMap::new([("a", "b/{received_unix_ms}")]).unwrap().uses_time());
        assert!(!TopicMap::new([("a", "b/{topic}")]).unwrap().uses_time());
    }
}

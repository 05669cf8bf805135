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
#[path = "topic_map_tests.rs"]
mod tests;

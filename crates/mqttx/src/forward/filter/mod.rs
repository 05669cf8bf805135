//! Which messages a forwarder or a route takes, besides its subscription. One file per kind.
//!
//! A forwarder asks its filter in `Engine::deliver`, after the message was assigned to its first matching topic
//! filter and before it is admitted. A message that is left out is acknowledged and counts as
//! [`filtered`](super::ForwarderMetrics::filtered).

#[cfg(feature = "filters")]
mod cel;
mod closure;
mod contains;
mod json;
#[cfg(feature = "filters")]
mod pattern;
mod topic;

use std::fmt;
use std::sync::Arc;

pub use json::Compare;

use super::fault::{RuleError, RuleFailure};
use crate::message::MessageView;

/// Decides which messages a forwarder or a route takes.
///
/// Made once, asked for every message; clones share what was compiled.
///
/// ```
/// use mqttx::{Compare, Filter};
///
/// let hot = Filter::json("/temp", Compare::Greater, 30)?;
/// let test = Filter::topic("line/+/test/#")?.or(Filter::payload_contains("\"test\":true"));
/// let filter = hot.and(!test);
/// # let _ = filter;
/// # Ok::<(), mqttx::RuleError>(())
/// ```
#[derive(Clone)]
pub struct Filter(Kind);

#[derive(Clone)]
enum Kind {
    Topic(topic::TopicFilter),
    Contains(contains::Contains),
    Json(Arc<json::JsonTest>),
    #[cfg(feature = "filters")]
    Pattern(pattern::Pattern),
    #[cfg(feature = "filters")]
    Cel(Arc<cel::Expression>),
    Closure(closure::Closure),
    All(Arc<[Filter]>),
    Any(Arc<[Filter]>),
    Not(Arc<Filter>),
}

impl Filter {
    /// Messages whose topic matches a topic filter with `+` and `#`.
    ///
    /// # Errors
    /// The filter is invalid, or shared.
    pub fn topic(filter: &str) -> Result<Self, RuleError> {
        topic::TopicFilter::new(filter).map(|kind| Self(Kind::Topic(kind)))
    }

    /// Messages whose payload has these bytes somewhere.
    #[must_use]
    pub fn payload_contains(needle: impl AsRef<[u8]>) -> Self {
        Self(Kind::Contains(contains::Contains::new(needle.as_ref())))
    }

    /// Messages with a JSON payload in which the value at `pointer` (RFC 6901) compares with `value` as asked for.
    ///
    /// Numbers compare by value, whatever their notation; strings by their characters. Without a value at the
    /// pointer, and between kinds that have no order, nothing matches but [`Compare::NotEqual`] of two values that
    /// are both there. A payload that is not JSON is a failure.
    ///
    /// # Errors
    /// The pointer is invalid, or `value` is nothing that JSON can say.
    pub fn json(
        pointer: &str,
        compare: Compare,
        value: impl serde::Serialize,
    ) -> Result<Self, RuleError> {
        json::JsonTest::new(pointer, compare, value).map(|kind| Self(Kind::Json(Arc::new(kind))))
    }

    /// Messages with a JSON payload that has a value at `pointer`, `null` included.
    ///
    /// # Errors
    /// The pointer is invalid.
    pub fn json_exists(pointer: &str) -> Result<Self, RuleError> {
        json::JsonTest::exists(pointer).map(|kind| Self(Kind::Json(Arc::new(kind))))
    }

    /// Messages in whose topic a regular expression is found. It need not match the whole topic: `^` and `$` ask
    /// for that.
    ///
    /// # Errors
    /// The expression is invalid, or too large when compiled (1 MiB).
    #[cfg(feature = "filters")]
    pub fn topic_regex(expression: &str) -> Result<Self, RuleError> {
        pattern::Pattern::topic(expression).map(|kind| Self(Kind::Pattern(kind)))
    }

    /// Messages in whose payload a regular expression is found. Payloads are bytes: they need not be UTF-8.
    ///
    /// # Errors
    /// As for [`topic_regex`](Self::topic_regex).
    #[cfg(feature = "filters")]
    pub fn payload_regex(expression: &str) -> Result<Self, RuleError> {
        pattern::Pattern::payload(expression).map(|kind| Self(Kind::Pattern(kind)))
    }

    /// Messages for which a [CEL](https://cel.dev) expression is true.
    ///
    /// | variable | what it is |
    /// |---|---|
    /// | `topic` | the topic, a string |
    /// | `levels` | its levels, a list of strings |
    /// | `payload` | the payload as JSON: parsed when the expression comes to it, a failure if it is not JSON |
    /// | `qos` `retain` | a number 0 to 2, a bool |
    /// | `user` | the user properties, a map from name to value; of a name that comes twice the last value |
    ///
    /// `x.matches('regex')` takes a literal pattern. What an expression may cost is bounded: it has at most 4096
    /// bytes; loops (`all`, `exists`, `exists_one`, `map`, `filter`) may look at the elements they run over and, one
    /// level deep, at other parts of the payload. Payloads above 1 MiB, and above 16 KiB for an expression of the
    /// latter kind, are a failure, as is anything but a bool in the end.
    ///
    /// # Errors
    /// The expression is invalid, uses a variable that does not exist, or may cost too much.
    #[cfg(feature = "filters")]
    pub fn cel(expression: &str) -> Result<Self, RuleError> {
        cel::Expression::new(expression).map(|kind| Self(Kind::Cel(Arc::new(kind))))
    }

    /// Messages for which `test` returns `true`. It runs on the turn of the session that received the message and
    /// **must not block**. A panic is a failure.
    #[must_use]
    pub fn from_fn(test: impl Fn(&MessageView<'_>) -> bool + Send + Sync + 'static) -> Self {
        Self::try_from_fn(move |message| Ok(test(message)))
    }

    /// [`from_fn`](Self::from_fn) for a test that may fail.
    #[must_use]
    pub fn try_from_fn(
        test: impl Fn(&MessageView<'_>) -> Result<bool, RuleFailure> + Send + Sync + 'static,
    ) -> Self {
        Self(Kind::Closure(closure::Closure::new(test)))
    }

    /// Messages that all of these take, asked in order until one does not; all messages without any.
    #[must_use]
    pub fn all(filters: impl IntoIterator<Item = Self>) -> Self {
        Self(Kind::All(filters.into_iter().collect()))
    }

    /// Messages that one of these takes, asked in order until one does; none without any.
    #[must_use]
    pub fn any(filters: impl IntoIterator<Item = Self>) -> Self {
        Self(Kind::Any(filters.into_iter().collect()))
    }

    /// Messages that both take.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self::all([self, other])
    }

    /// Messages that at least one of the two takes.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self::any([self, other])
    }

    /// Whether it takes a message.
    ///
    /// # Errors
    /// It cannot say. A failure in a part of [`all`](Self::all) or [`any`](Self::any) counts only when no other
    /// part decides.
    pub fn matches<'a>(&self, message: impl Into<MessageView<'a>>) -> Result<bool, RuleFailure> {
        self.ask(&message.into())
    }

    fn ask(&self, message: &MessageView<'_>) -> Result<bool, RuleFailure> {
        match &self.0 {
            Kind::Topic(kind) => Ok(kind.matches(message)),
            Kind::Contains(kind) => Ok(kind.matches(message)),
            Kind::Json(kind) => kind.matches(message),
            #[cfg(feature = "filters")]
            Kind::Pattern(kind) => Ok(kind.matches(message)),
            #[cfg(feature = "filters")]
            Kind::Cel(kind) => kind.matches(message),
            Kind::Closure(kind) => kind.matches(message),
            Kind::All(filters) => decide(filters, message, false),
            Kind::Any(filters) => decide(filters, message, true),
            Kind::Not(filter) => filter.ask(message).map(|matches| !matches),
        }
    }
}

impl std::ops::Not for Filter {
    type Output = Self;

    /// Messages that it does not take; a failure stays one.
    fn not(self) -> Self {
        Self(Kind::Not(Arc::new(self)))
    }
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Topic(kind) => kind.fmt(f),
            Kind::Contains(kind) => kind.fmt(f),
            Kind::Json(kind) => kind.fmt(f),
            #[cfg(feature = "filters")]
            Kind::Pattern(kind) => kind.fmt(f),
            #[cfg(feature = "filters")]
            Kind::Cel(kind) => kind.fmt(f),
            Kind::Closure(kind) => kind.fmt(f),
            Kind::All(filters) => f.debug_tuple("All").field(filters).finish(),
            Kind::Any(filters) => f.debug_tuple("Any").field(filters).finish(),
            Kind::Not(filter) => f.debug_tuple("Not").field(filter).finish(),
        }
    }
}

/// The answer of the first filter that says `decisive`.
fn decide(
    filters: &[Filter],
    message: &MessageView<'_>,
    decisive: bool,
) -> Result<bool, RuleFailure> {
    let mut failure = None;
    for filter in filters {
        match filter.ask(message) {
            Ok(answer) if answer == decisive => return Ok(decisive),
            Ok(_) => {}
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    failure.map_or(Ok(!decisive), Err)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use mqttx_proto::{PropertiesRef, QoS};

    pub(in crate::forward) fn message<'a>(topic: &'a str, payload: &'a [u8]) -> MessageView<'a> {
        MessageView {
            topic,
            payload,
            qos: QoS::AtLeastOnce,
            retain: false,
            properties: PropertiesRef::EMPTY,
            session: "s",
        }
    }

    fn fails() -> Filter {
        Filter::try_from_fn(|_| Err(RuleFailure::new("no")))
    }

    fn is(answer: bool) -> Filter {
        Filter::from_fn(move |_| answer)
    }

    #[test]
    fn filters_combine_and_failures_count_only_when_nothing_decides() {
        let ask = |filter: Filter| filter.matches(message("t", b"")).ok();
        assert_eq!(ask(is(true).and(is(false))), Some(false));
        assert_eq!(ask(is(true).and(is(true))), Some(true));
        assert_eq!(ask(is(false).or(is(true))), Some(true));
        assert_eq!(ask(!is(true)), Some(false));
        assert_eq!(ask(Filter::all([])), Some(true));
        assert_eq!(ask(Filter::any([])), Some(false));
        assert_eq!(ask(fails().and(is(false))), Some(false));
        assert_eq!(ask(fails().and(is(true))), None);
        assert_eq!(ask(fails().or(is(true))), Some(true));
        assert_eq!(ask(fails().or(is(false))), None);
        assert_eq!(ask(!fails()), None);
    }

    #[test]
    fn what_a_filter_is_can_be_seen() {
        let filter = !Filter::topic("a/+").unwrap().and(Filter::payload_contains("x"));
        assert_eq!(format!("{filter:?}"), "Not(All([Topic(\"a/+\"), Contains(b\"x\")]))");
    }
}

//! The rules of a forwarder besides its topics: filter, transform, metadata, dead letters, hops, rate.

use super::endpoint::{ForwarderSource, ForwarderTarget, TargetRule};
use super::fault::RuleError;
use super::filter::Filter;
use super::metadata::Entry;
use super::rate::RateLimit;
use super::rule::{ForwarderBuilder, Problems};
use super::transform::Transform;

/// What becomes of a message that the filter or the transform failed on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum OnFilterError {
    /// It is forwarded: a failing filter takes it, a failing transform leaves it as it came.
    Pass,
    /// It is acknowledged and dropped, counted with the reason `filter` or `transform`.
    Drop,
    /// It goes to the dead letters.
    DeadLetter,
}

/// The rules as they are asked for.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked {
    filter: Option<Filter>,
    on_filter_error: Option<OnFilterError>,
    transforms: Vec<Transform>,
    metadata: Vec<Result<Entry, (String, RuleError)>>,
    max_hops: Option<u8>,
    rate_limit: Option<RateLimit>,
    dead_letter: Option<(String, String)>,
}

/// The rules, checked.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    pub(super) filter: Option<Filter>,
    pub(super) on_filter_error: OnFilterError,
    pub(super) transform: Transform,
    pub(super) metadata: Vec<Entry>,
    pub(super) max_hops: u8,
    pub(super) rate_limit: Option<RateLimit>,
    /// A target like others, which only dead letters go to.
    pub(super) dead_letter: Option<TargetRule>,
}

impl ForwarderBuilder {
    /// Forwards only messages that `filter` takes; the others are acknowledged and counted as filtered. A second
    /// call adds a filter that has to take them, too.
    #[must_use]
    pub fn filter(mut self, filter: Filter) -> Self {
        let asked = &mut self.rules.filter;
        *asked = Some(match asked.take() {
            Some(before) => before.and(filter),
            None => filter,
        });
        self
    }

    /// What becomes of messages that the filter or the transform failed on. Default: dead letter when there is a
    /// [`dead_letter`](Self::dead_letter) target, else drop.
    #[must_use]
    pub fn on_filter_error(mut self, what: OnFilterError) -> Self {
        self.rules.on_filter_error = Some(what);
        self
    }

    /// Changes each message once, before the rules of the targets see it. A second call adds a transform behind
    /// the first.
    #[must_use]
    pub fn transform(mut self, transform: Transform) -> Self {
        self.rules.transforms.push(transform);
        self
    }

    /// Adds something to every message: on MQTT 5 targets a user property after the message's own, on 3.1.1
    /// targets a top-level member of a JSON object, in the place of one with that name; any other payload stays as
    /// it is, counted in [`metadata_left_out`](super::ForwarderMetrics::metadata_left_out). In strings of `value`
    /// the placeholders of a [`TopicTemplate`](super::TopicTemplate) are filled in.
    #[must_use]
    pub fn metadata(mut self, name: &str, value: impl serde::Serialize) -> Self {
        let entry = Entry::new(name, value).map_err(|error| (name.to_owned(), error));
        self.rules.metadata.push(entry);
        self
    }

    /// Messages that cannot be forwarded go to `session`, as they came, with the topic of a
    /// [template](super::TopicTemplate) whose captures count in the source's filter: those that a target refused or
    /// that are above its limits, those whose topic renders to none, and those that the filter or the transform
    /// failed on. On MQTT 5 the user properties `mqttx-error` and `mqttx-source-topic` say what happened. The
    /// acknowledgement of the dead letter counts as the target's. Default: such messages are acknowledged, counted
    /// and told by an event.
    #[must_use]
    pub fn dead_letter(mut self, session: impl Into<String>, topic: impl Into<String>) -> Self {
        self.rules.dead_letter = Some((session.into(), topic.into()));
        self
    }

    /// A message that made so many hops from forwarder to forwarder is given up, with the reason `loop`, as is one
    /// that has passed this forwarder before; 1 to 255, default 8. Hops are seen on MQTT 5 only.
    #[must_use]
    pub fn max_hops(mut self, hops: u8) -> Self {
        self.rules.max_hops = Some(hops);
        self
    }

    /// How fast it may be; default: as fast as the targets.
    #[must_use]
    pub fn rate_limit(mut self, limit: RateLimit) -> Self {
        self.rules.rate_limit = Some(limit);
        self
    }
}

impl Asked {
    pub(super) fn compile(self, sources: &[ForwarderSource], problems: &mut Problems) -> Rules {
        let filters: Vec<&String> = sources.iter().flat_map(|source| &source.topics).collect();
        for (n, transform) in self.transforms.iter().enumerate() {
            if let Some(error) = filters.iter().find_map(|filter| transform.check(filter).err()) {
                problems.add(format!("transform[{n}]"), error.value(), error.message());
            }
        }
        let mut metadata = Vec::new();
        for entry in self.metadata {
            match entry {
                Ok(entry) => {
                    let wrong = filters.iter().find_map(|filter| entry.check(filter).err());
                    if let Some(message) = wrong {
                        let field = format!("metadata[{:?}]", entry.name());
                        problems.add(field, entry.name(), message);
                    }
                    metadata.push(entry);
                }
                Err((name, error)) => {
                    problems.add(format!("metadata[{name:?}]"), error.value(), error.message());
                }
            }
        }
        if self.max_hops == Some(0) {
            problems.add("max_hops", "0", "allowed are 1 to 255");
        }
        for (field, value, message) in self.rate_limit.iter().flat_map(RateLimit::problems) {
            problems.add(format!("rate_limit.{field}"), &value, message);
        }
        let on_error = self.on_filter_error.unwrap_or(match self.dead_letter {
            Some(_) => OnFilterError::DeadLetter,
            None => OnFilterError::Drop,
        });
        if on_error == OnFilterError::DeadLetter && self.dead_letter.is_none() {
            problems.add("on_filter_error", "dead-letter", "there is no dead_letter to send it to");
        }
        let dead_letter = self.dead_letter.map(|(session, topic)| {
            let target = ForwarderTarget::new(session).topic(topic);
            target.compile("dead_letter", sources, problems)
        });
        Rules {
            filter: self.filter,
            on_filter_error: on_error,
            transform: Transform::all(self.transforms),
            metadata,
            max_hops: self.max_hops.unwrap_or(MAX_HOPS),
            rate_limit: self.rate_limit,
            dead_letter,
        }
    }
}

const MAX_HOPS: u8 = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ConfigErrors;
    use crate::forward::ForwarderOptions;
    use std::time::Duration;

    fn builder() -> ForwarderBuilder {
        ForwarderBuilder::new("f").source("s", "a/+").target("t")
    }

    fn problems(result: Result<ForwarderOptions, ConfigErrors>) -> Vec<String> {
        let errors = result.expect_err("the rules are wrong");
        errors.problems().iter().map(|problem| problem.field.clone()).collect()
    }

    #[test]
    fn every_rule_is_checked_against_every_filter() {
        let found = problems(
            builder()
                .transform(Transform::set("/x", "{2}").unwrap())
                .metadata("m", "{#}")
                .metadata("", "x")
                .metadata("n", "{y}")
                .max_hops(0)
                .rate_limit(RateLimit::messages(0, Duration::from_secs(1)))
                .dead_letter("", "dlq/{2}")
                .build(),
        );
        let expected = [
            "transform[0]",
            "metadata[\"m\"]",
            "metadata[\"\"]",
            "metadata[\"n\"]",
            "max_hops",
            "rate_limit.messages",
            "dead_letter.session",
            "dead_letter.topic",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn errors_go_to_the_dead_letters_if_there_are_any() {
        let on_error = |builder: ForwarderBuilder| builder.build().unwrap().rules.on_filter_error;
        assert_eq!(on_error(builder()), OnFilterError::Drop);
        assert_eq!(on_error(builder().dead_letter("d", "dlq")), OnFilterError::DeadLetter);
        let pass = builder().dead_letter("d", "dlq").on_filter_error(OnFilterError::Pass);
        assert_eq!(on_error(pass), OnFilterError::Pass);
        let nowhere = builder().on_filter_error(OnFilterError::DeadLetter);
        assert_eq!(problems(nowhere.build()), ["on_filter_error"]);
    }

    #[test]
    fn dead_letters_must_not_come_back() {
        let found = problems(builder().dead_letter("s", "a/b").build());
        assert_eq!(found, ["dead_letter"]);
        assert!(builder().dead_letter("s", "dlq").build().is_ok());
    }

    #[test]
    fn all_filters_have_to_take_a_message() {
        let two = builder()
            .filter(Filter::payload_contains("x"))
            .filter(Filter::payload_contains("y"))
            .build()
            .unwrap();
        assert_eq!(
            format!("{:?}", two.rules.filter.unwrap()),
            r#"All([Contains(b"x"), Contains(b"y")])"#
        );
    }
}

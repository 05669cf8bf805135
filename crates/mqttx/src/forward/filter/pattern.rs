//! By a regular expression.

use std::fmt;
use std::sync::Arc;

use regex::bytes::{Regex, RegexBuilder};

use crate::forward::fault::RuleError;
use crate::message::MessageView;

#[derive(Clone)]
pub(super) struct Pattern {
    regex: Arc<Regex>,
    place: Place,
}

#[derive(Clone, Copy)]
enum Place {
    Topic,
    Payload,
}

impl Pattern {
    pub(super) fn topic(expression: &str) -> Result<Self, RuleError> {
        Self::new(expression, Place::Topic)
    }

    pub(super) fn payload(expression: &str) -> Result<Self, RuleError> {
        Self::new(expression, Place::Payload)
    }

    fn new(expression: &str, place: Place) -> Result<Self, RuleError> {
        let regex = RegexBuilder::new(expression).size_limit(super::super::REGEX_SIZE).build();
        let regex = regex.map_err(|error| RuleError::regex(expression, &error))?;
        Ok(Self { regex: Arc::new(regex), place })
    }

    pub(super) fn matches(&self, message: &MessageView<'_>) -> bool {
        self.regex.is_match(match self.place {
            Place::Topic => message.topic.as_bytes(),
            Place::Payload => message.payload,
        })
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = match self.place {
            Place::Topic => "TopicRegex",
            Place::Payload => "PayloadRegex",
        };
        write!(f, "{place}({:?})", self.regex.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forward::filter::tests::message;

    #[test]
    fn expressions_are_found_in_topic_or_payload() {
        let topic = Pattern::topic("^line/[0-9]+/").unwrap();
        assert!(topic.matches(&message("line/12/x", b"")));
        assert!(!topic.matches(&message("line/a/x", b"line/12/")));
        let payload = Pattern::payload(r"(?i)error\b").unwrap();
        assert!(payload.matches(&message("t", b"\xff an ERROR.")));
        assert!(!payload.matches(&message("error", b"errors")));
    }

    #[test]
    fn what_is_no_expression_or_too_large_is_refused() {
        assert!(Pattern::topic("(").is_err());
        assert!(Pattern::payload(r"\w{1000}{100}").is_err());
    }
}

//! A topic rewritten with a regular expression.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use regex::{Regex, RegexBuilder};

use crate::forward::fault::RuleError;
use crate::message::Publish;

#[derive(Clone)]
pub(super) struct TopicRewrite {
    regex: Regex,
    replacement: Arc<str>,
}

impl TopicRewrite {
    pub(super) fn new(expression: &str, replacement: &str) -> Result<Self, RuleError> {
        let regex = RegexBuilder::new(expression).size_limit(super::super::REGEX_SIZE).build();
        let regex = regex.map_err(|error| RuleError::regex(expression, &error))?;
        Ok(Self { regex, replacement: replacement.into() })
    }

    pub(super) fn apply(&self, message: &mut Publish) {
        if let Cow::Owned(topic) = self.regex.replace(&message.topic, &*self.replacement) {
            message.topic = topic.into();
        }
    }
}

impl fmt::Debug for TopicRewrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "topic {:?} to {:?}", self.regex.as_str(), self.replacement)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(expression: &str, replacement: &str, topic: &str) -> String {
        let mut message = Publish::new(topic, "");
        TopicRewrite::new(expression, replacement).unwrap().apply(&mut message);
        message.topic.to_string()
    }

    #[test]
    fn groups_are_put_in() {
        assert_eq!(rewritten("^line/([0-9]+)/(?<rest>.*)$", "l$1/${rest}", "line/4/a/b"), "l4/a/b");
        assert_eq!(rewritten("old", "n$$ew", "a/old/old"), "a/n$ew/old");
        assert_eq!(rewritten("^x$", "y", "a/b"), "a/b");
    }

    #[test]
    fn what_is_no_expression_is_refused() {
        assert!(TopicRewrite::new("(", "").is_err());
    }
}

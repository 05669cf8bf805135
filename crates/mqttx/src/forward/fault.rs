//! What is wrong with a rule, and what went wrong when it met a message.

use std::any::Any;
use std::fmt;

/// A filter or transform that cannot be: an expression that is not one, an invalid pointer, a bad template.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RuleError {
    value: Box<str>,
    message: Box<str>,
}

impl RuleError {
    pub(super) fn new(value: &str, message: impl Into<Box<str>>) -> Self {
        Self { value: value.into(), message: message.into() }
    }

    /// A regular expression that is none: the last line of the drawing says why.
    #[cfg(feature = "filters")]
    pub(super) fn regex(value: &str, error: &regex::Error) -> Self {
        let text = error.to_string();
        let reason = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
        Self::new(value, format!("not a regular expression: {reason}"))
    }

    /// The expression, pointer or template that is wrong.
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

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}': {}", self.value, self.message)
    }
}

impl std::error::Error for RuleError {}

/// A filter or transform could not say or do anything with a message: its payload is not JSON, two values cannot
/// be compared, a closure failed or panicked. The text says which, and is what a dead letter carries.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RuleFailure(Box<str>);

impl RuleFailure {
    /// A failure with this text.
    ///
    /// It is one line, cut after 500 bytes: it becomes a user property of a dead letter.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        let mut message: String = message.into();
        if message.len() > MAX_TEXT {
            message.truncate(cut(&message, MAX_TEXT).len());
            message.push('…');
        }
        if message.contains(char::is_control) {
            message = message.replace(char::is_control, " ");
        }
        Self(message.into())
    }

    /// The text.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0
    }

    pub(super) fn panicked(what: &str, panic: &(dyn Any + Send)) -> Self {
        let text = panic.downcast_ref::<&str>().copied();
        let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        Self::new(format!("{what} panicked: {}", text.unwrap_or("without a text")))
    }
}

impl fmt::Display for RuleFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for RuleFailure {}

impl From<String> for RuleFailure {
    fn from(message: String) -> Self {
        Self::new(message)
    }
}

/// The beginning of a text, of so many bytes at most.
pub(super) fn cut(text: &str, most: usize) -> &str {
    let mut end = most.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

const MAX_TEXT: usize = 500;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_a_failure_fits_a_property() {
        let failure = RuleFailure::new("é\n".repeat(1000));
        assert!(failure.message().len() < 510);
        assert!(failure.message().starts_with("é é ") && failure.message().ends_with('…'));
        assert!(!failure.message().contains(char::is_control));
    }
}

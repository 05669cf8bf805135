//! Problems in options: all of them at once.

use std::fmt;

/// Everything that is wrong with a set of options.
///
/// Its text has one line a problem: field, value and what is allowed.
///
/// ```
/// let errors = mqttx::SessionBuilder::new("").broker("mqtt://").build().unwrap_err();
/// assert_eq!(errors.problems().len(), 2);
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ConfigErrors(Vec<ConfigProblem>);

/// One wrong option.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigProblem {
    /// The option, as in the configuration file: `outbox.messages`.
    pub field: String,
    /// Its value; `***` for a secret.
    pub value: String,
    /// What is wrong with it and what is allowed.
    pub message: String,
}

impl ConfigErrors {
    /// `None` when there is no problem.
    #[must_use]
    pub fn from_problems(problems: Vec<ConfigProblem>) -> Option<Self> {
        if problems.is_empty() { None } else { Some(Self(problems)) }
    }

    /// The problems, in the order of the options.
    #[must_use]
    pub fn problems(&self) -> &[ConfigProblem] {
        &self.0
    }
}

impl fmt::Display for ConfigProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {}: {}", self.field, self.value, self.message)
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, problem) in self.0.iter().enumerate() {
            if n > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}
impl std::error::Error for ConfigProblem {}

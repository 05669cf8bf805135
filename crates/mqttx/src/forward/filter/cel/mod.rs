//! By a CEL expression. [`check`] decides at the start what it may use and cost, [`scope`] gives it the message.

mod check;
mod growth;
mod scope;

use std::collections::HashMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use ::cel::extractors::This;
use ::cel::{Context, Env, ExecutionError, Program, Value};
use regex::Regex;

use crate::forward::fault::{RuleError, RuleFailure};
use crate::message::MessageView;

/// An expression, compiled.
pub(super) struct Expression {
    source: Box<str>,
    program: Program,
    /// What every evaluation begins with.
    root: Context<'static, 'static>,
    payload_limit: usize,
}

impl Expression {
    pub(super) fn new(source: &str) -> Result<Self, RuleError> {
        let wrong = |message: String| RuleError::new(source, message);
        if source.len() > MAX_SOURCE {
            return Err(wrong(format!("an expression may have {MAX_SOURCE} bytes")));
        }
        check::nesting(source).map_err(wrong)?;
        let env = Env::stdlib();
        // The parser has no panic to our knowledge; a file of an operator must not find one either.
        let program = catch_unwind(AssertUnwindSafe(|| env.compile(source)))
            .map_err(|panic| wrong(RuleFailure::panicked("the parser", &*panic).to_string()))?
            .map_err(|errors| wrong(describe(&errors)))?;
        let found = check::check(program.expression()).map_err(wrong)?;
        growth::check(program.expression()).map_err(wrong)?;
        let mut patterns = HashMap::new();
        for pattern in found.patterns {
            let regex = regex::RegexBuilder::new(&pattern)
                .size_limit(super::super::REGEX_SIZE)
                .build()
                .map_err(|error| RuleError::regex(source, &error))?;
            patterns.insert(pattern, regex);
        }
        let mut root = Context::with_env(Arc::new(env));
        root.add_function("matches", matches(patterns))
            .map_err(|error| wrong(error.to_string()))?;
        let payload_limit = match found.degree {
            0 | 1 => LINEAR_PAYLOAD,
            _ => QUADRATIC_PAYLOAD,
        };
        Ok(Self { source: source.into(), program, root, payload_limit })
    }

    pub(super) fn matches(&self, message: &MessageView<'_>) -> Result<bool, RuleFailure> {
        let scope = scope::Scope::new(message, self.payload_limit);
        let outcome = catch_unwind(AssertUnwindSafe(|| self.evaluate(&scope)))
            .unwrap_or_else(|panic| Err(RuleFailure::panicked("the expression", &*panic)));
        // What is wrong with the payload says more than that it does not exist.
        outcome.map_err(|failure| scope.payload_failure().unwrap_or(failure))
    }

    fn evaluate<'v>(&'v self, scope: &'v scope::Scope<'_>) -> Result<bool, RuleFailure> {
        let mut context = inner(&self.root);
        context.set_variable_resolver(scope);
        match self.program.execute(&context) {
            Ok(Value::Bool(answer)) => Ok(answer),
            Ok(other) => Err(RuleFailure::new(format!(
                "the expression gave a {} instead of a bool",
                other.type_of()
            ))),
            Err(error) => Err(RuleFailure::new(error.to_string())),
        }
    }
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cel({:?})", self.source)
    }
}

fn inner<'v>(root: &'v Context<'v, 'v>) -> Context<'v, 'v> {
    root.new_inner_scope()
}

/// `matches` with the patterns that stand in the expression, compiled once.
fn matches(
    patterns: HashMap<String, Regex>,
) -> impl Fn(This<Arc<String>>, Arc<String>) -> Result<bool, ExecutionError> + Send + Sync + 'static
{
    move |This(text): This<Arc<String>>, pattern: Arc<String>| match patterns.get(&*pattern) {
        Some(regex) => Ok(regex.is_match(&text)),
        None => Err(ExecutionError::function_error("matches", "the pattern is not a literal")),
    }
}

/// The parser's words, without its drawing.
fn describe(errors: &::cel::ParseErrors) -> String {
    let said = errors.errors.iter().map(|error| {
        let (line, column) = error.pos;
        format!("{} (line {line}, column {column} of the expression)", error.msg)
    });
    said.collect::<Vec<_>>().join("; ")
}

const MAX_SOURCE: usize = 4096;

/// Payloads up to this are looked at once for each part of the expression.
const LINEAR_PAYLOAD: usize = 1 << 20;

/// Payloads up to this may be looked at once for each of their elements.
const QUADRATIC_PAYLOAD: usize = 16 << 10;

#[cfg(test)]
mod tests;

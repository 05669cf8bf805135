//! A change that the program makes.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::forward::fault::RuleFailure;
use crate::message::Publish;

type Change = dyn Fn(Publish) -> Result<Option<Publish>, RuleFailure> + Send + Sync;

#[derive(Clone)]
pub(super) struct Closure(Arc<Change>);

impl Closure {
    pub(super) fn new(
        change: impl Fn(Publish) -> Result<Option<Publish>, RuleFailure> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(change))
    }

    pub(super) fn apply(&self, message: Publish) -> Result<Option<Publish>, RuleFailure> {
        catch_unwind(AssertUnwindSafe(|| (self.0)(message)))
            .unwrap_or_else(|panic| Err(RuleFailure::panicked("the transform", &*panic)))
    }
}

impl fmt::Debug for Closure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Closure")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_a_failure() {
        let closure = Closure::new(|message: Publish| match &*message.payload {
            b"none" => Ok(None),
            b"fail" => Err(RuleFailure::new("no")),
            b"panic" => panic!("{} is bad", message.topic),
            _ => Ok(Some(message.retain(true))),
        });
        let apply = |payload: &'static str| closure.apply(Publish::new("t", payload));
        assert_eq!(apply("x").unwrap().map(|message| message.retain), Some(true));
        assert_eq!(apply("none"), Ok(None));
        assert_eq!(apply("fail").unwrap_err().message(), "no");
        assert_eq!(apply("panic").unwrap_err().message(), "the transform panicked: t is bad");
    }
}

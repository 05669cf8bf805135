//! By the program's own test.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::forward::fault::RuleFailure;
use crate::message::MessageView;

type Test = dyn Fn(&MessageView<'_>) -> Result<bool, RuleFailure> + Send + Sync;

#[derive(Clone)]
pub(super) struct Closure(Arc<Test>);

impl Closure {
    pub(super) fn new(
        test: impl Fn(&MessageView<'_>) -> Result<bool, RuleFailure> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(test))
    }

    pub(super) fn matches(&self, message: &MessageView<'_>) -> Result<bool, RuleFailure> {
        catch_unwind(AssertUnwindSafe(|| (self.0)(message)))
            .unwrap_or_else(|panic| Err(RuleFailure::panicked("the filter", &*panic)))
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
    use crate::forward::filter::tests::message;

    #[test]
    fn a_panic_is_a_failure() {
        let filter = Closure::new(|message| Ok(message.payload()[0] == b'x'));
        assert_eq!(filter.matches(&message("t", b"x")), Ok(true));
        assert_eq!(filter.matches(&message("t", b"y")), Ok(false));
        let failure = filter.matches(&message("t", b"")).unwrap_err();
        assert!(failure.message().starts_with("the filter panicked: index out of bounds"));
    }
}

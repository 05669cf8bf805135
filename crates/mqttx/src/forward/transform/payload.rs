//! A payload from a template.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::forward::fault::{RuleError, RuleFailure};
use crate::forward::text::{RuleContext, TextTemplate};
use crate::message::Publish;

#[derive(Clone)]
pub(super) struct PayloadTemplate {
    source: Arc<str>,
    template: Arc<TextTemplate>,
}

impl PayloadTemplate {
    pub(super) fn new(source: &str) -> Result<Self, RuleError> {
        let template = TextTemplate::parse_payload(source);
        let template = template.map_err(|message| RuleError::new(source, message))?;
        Ok(Self { source: source.into(), template: Arc::new(template) })
    }

    pub(super) fn check(&self, filter: &str) -> Result<(), RuleError> {
        self.template.check(filter).map_err(|message| RuleError::new(&self.source, message))
    }

    pub(super) fn apply(
        &self,
        cx: &RuleContext<'_>,
        message: &mut Publish,
    ) -> Result<(), RuleFailure> {
        let mut text = String::new();
        // Steps before this one may have changed the payload.
        self.template.render(&RuleContext { payload: &message.payload, ..*cx }, &mut text)?;
        message.payload = Bytes::from(text);
        Ok(())
    }
}

impl fmt::Debug for PayloadTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "payload {:?}", self.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forward::transform::tests::context;

    #[test]
    fn the_payload_becomes_the_text() {
        let template = PayloadTemplate::new("{1}: {/t} °C ({payload})").unwrap();
        let mut message = Publish::new("a/b", "{\"t\":\"21\"}");
        template.apply(&context("a/+", "a/b", b"as it came"), &mut message).unwrap();
        assert_eq!(message.payload, "b: 21 °C ({\"t\":\"21\"})");
    }

    #[test]
    fn a_payload_that_has_no_text_is_a_failure_and_stays() {
        let template = PayloadTemplate::new("{payload}").unwrap();
        let mut message = Publish::new("a", vec![0xff]);
        assert!(template.apply(&context("a", "a", b""), &mut message).is_err());
        assert_eq!(message.payload, vec![0xff]);
    }
}

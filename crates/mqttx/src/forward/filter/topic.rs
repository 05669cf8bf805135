//! By a topic filter.

use std::fmt;
use std::sync::Arc;

use crate::forward::fault::RuleError;
use crate::message::MessageView;

#[derive(Clone)]
pub(super) struct TopicFilter(Arc<str>);

impl TopicFilter {
    pub(super) fn new(filter: &str) -> Result<Self, RuleError> {
        if mqttx_proto::split_shared(filter).is_some() {
            return Err(RuleError::new(filter, "a topic is matched without '$share/GROUP/'"));
        }
        match mqttx_proto::validate_filter(filter) {
            Ok(()) => Ok(Self(filter.into())),
            Err(error) => Err(RuleError::new(filter, error.to_string())),
        }
    }

    pub(super) fn matches(&self, message: &MessageView<'_>) -> bool {
        mqttx_proto::matches(&self.0, message.topic)
    }
}

impl fmt::Debug for TopicFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Topic({:?})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forward::filter::tests::message;

    #[test]
    fn topics_match_as_subscriptions_do() {
        let filter = TopicFilter::new("a/+/#").unwrap();
        assert!(filter.matches(&message("a/b", b"")));
        assert!(filter.matches(&message("a/b/c", b"")));
        assert!(!filter.matches(&message("b/b", b"")));
        assert!(!TopicFilter::new("#").unwrap().matches(&message("$SYS/x", b"")));
        assert!(TopicFilter::new("a/#/b").is_err());
        assert!(TopicFilter::new("$share/g/a").is_err());
    }
}

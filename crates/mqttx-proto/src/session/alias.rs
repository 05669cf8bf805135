//! Topic aliases that the server uses towards us, valid for one connection `[MQTT-3.3.2-7]`.

use std::sync::Arc;

use crate::{DecodeError, ReasonCode};

#[derive(Debug, Default)]
pub(crate) struct InboundAliases {
    /// From the first one on.
    #[expect(clippy::box_collection, reason = "one word while it is empty")]
    topics: Option<Box<Vec<Option<Arc<str>>>>>,
}

impl InboundAliases {
    /// The topic of a PUBLISH with `alias`, of which we announced `maximum`: what `topic` sets, or what was set before when it is
    /// empty.
    pub(crate) fn resolve(
        &mut self,
        maximum: u16,
        alias: u16,
        topic: &str,
    ) -> Result<Option<Arc<str>>, DecodeError> {
        if alias == 0 || alias > maximum {
            return Err(DecodeError {
                reason: ReasonCode::TOPIC_ALIAS_INVALID,
                detail: "topic alias is 0 or above our topic alias maximum",
            });
        }
        let index = usize::from(alias) - 1;
        if topic.is_empty() {
            let known = self.topics.as_ref().and_then(|topics| topics.get(index)?.as_ref());
            return known.map(|t| Some(Arc::clone(t))).ok_or(DecodeError {
                reason: ReasonCode::PROTOCOL_ERROR,
                detail: "topic alias was not set on this connection",
            });
        }
        let topics = self.topics.get_or_insert_default();
        if topics.len() <= index {
            topics.resize(index + 1, None);
        }
        if let Some(place) = topics.get_mut(index)
            && place.as_deref() != Some(topic)
        {
            *place = Some(Arc::from(topic));
        }
        Ok(None)
    }
}

//! A message that may be published, and what its properties say about its way.

use std::ops::Deref;
use std::time::{Duration, Instant};

use super::Outgoing;
use crate::packet::Head;
use crate::property::Kinds;
use crate::session::event::PublishError;
use crate::{PropertiesRef, PropertyContext, PropertyError, PropertyId, validate_topic};

/// Its properties were walked once: what else is asked of them costs only where there is an answer.
pub(super) struct Checked<'a> {
    message: &'a Outgoing<'a>,
    kinds: Kinds,
}

impl<'a> Checked<'a> {
    /// Checks topic name and properties; subscription identifiers go only from server to client `[MQTT-3.3.4-6]`.
    #[inline(always)]
    pub(super) fn new(message: &'a Outgoing<'a>) -> Result<Self, PublishError> {
        validate_topic(message.topic).map_err(PublishError::Topic)?;
        let kinds = match message.properties {
            none if none.is_empty() => Kinds::NONE,
            some => check(some).map_err(PublishError::Property)?,
        };
        Ok(Self { message, kinds })
    }

    /// What was checked before a store got it.
    #[inline]
    pub(super) fn stored(message: &'a Outgoing<'a>) -> Self {
        Self { message, kinds: message.properties.kinds() }
    }

    /// The topic alias; 0: none.
    #[inline]
    pub(super) fn alias(&self) -> u16 {
        let has = self.kinds.has(PropertyId::TopicAlias);
        if has { self.properties.topic_alias().unwrap_or(0) } else { 0 }
    }

    /// Whether there is a message expiry interval.
    #[inline]
    pub(super) const fn expires(&self) -> bool {
        self.kinds.has(PropertyId::MessageExpiryInterval)
    }

    /// When the message expiry interval is over.
    #[inline]
    pub(super) fn expiry(&self, now: Instant) -> Option<Instant> {
        let seconds = self.expires().then(|| self.properties.message_expiry_interval())??;
        now.checked_add(Duration::from_secs(seconds.into()))
    }

    /// What of the packet comes before the payload; its packet id is not known yet.
    #[inline]
    pub(super) fn head(&self) -> Head<'a> {
        Head {
            dup: false,
            qos: self.qos,
            retain: self.retain,
            topic: self.topic,
            packet_id: 0,
            properties: self.properties,
            may_expire: self.expires(),
            payload_len: self.payload.len(),
        }
    }
}

/// Apart, so that the usual message without properties is sent without a call.
#[inline(never)]
fn check(properties: PropertiesRef<'_>) -> Result<Kinds, PropertyError> {
    let (id, context) = (PropertyId::SubscriptionIdentifier, PropertyContext::Publish);
    let kinds = properties.kinds();
    if kinds.has(id) {
        return Err(PropertyError::NotAllowed { id, context });
    }
    properties.check_kinds(kinds, context)?;
    Ok(kinds)
}

impl<'a> Deref for Checked<'a> {
    type Target = Outgoing<'a>;

    #[inline]
    fn deref(&self) -> &Outgoing<'a> {
        self.message
    }
}

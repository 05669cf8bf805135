//! A message to send.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mqttx_proto::{Priority, Properties, Property, PropertyError, QoS};

/// A message to send, with everything that MQTT lets a publisher say.
///
/// ```
/// use mqttx::{Publish, QoS};
/// use std::time::Duration;
///
/// let message = Publish::new("plant/7/state", "on")
///     .qos(QoS::AtLeastOnce)
///     .retain(true)
///     .ttl(Duration::from_secs(30));
/// assert_eq!(&*message.topic, "plant/7/state");
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Publish {
    /// Where to: a topic name, without `+` and `#`, 1 to 65 535 bytes `[MQTT-3.3.2-2]`.
    pub topic: Arc<str>,
    /// What: any bytes, up to what the server's maximum packet size leaves.
    pub payload: Bytes,
    /// The delivery guarantee; default 0.
    pub qos: QoS,
    /// The server keeps the message for later subscribers; default off (MQTT 5, section 3.3.1.3).
    pub retain: bool,
    /// MQTT 5 properties; ignored by 3.1.1 sessions. Default none.
    pub properties: Properties,
    /// How long the message may wait in the outbox before it is dropped as expired; default no
    /// limit. Independent of the property `message-expiry-interval`, which counts at the server.
    pub ttl: Option<Duration>,
    /// Which of the messages that wait for their turn goes first; default the lowest. QoS 0 does not wait.
    pub priority: Priority,
}

impl Publish {
    /// A QoS 0 message without properties. The topic is checked when the message is published.
    #[must_use]
    pub fn new(topic: impl Into<Arc<str>>, payload: impl Into<Bytes>) -> Self {
        Self {
            topic: topic.into(),
            payload: payload.into(),
            qos: QoS::AtMostOnce,
            retain: false,
            properties: Properties::new(),
            ttl: None,
            priority: Priority::LOWEST,
        }
    }

    /// Sets the delivery guarantee.
    #[must_use]
    pub fn qos(mut self, qos: QoS) -> Self {
        self.qos = qos;
        self
    }

    /// Sets the retain flag.
    #[must_use]
    pub fn retain(mut self, retain: bool) -> Self {
        self.retain = retain;
        self
    }

    /// Adds one property.
    ///
    /// # Errors
    /// A second property of a kind that may stand once, or a value that the specification
    /// forbids.
    pub fn property(mut self, property: Property<'_>) -> Result<Self, PropertyError> {
        self.properties.push(property)?;
        Ok(self)
    }

    /// Adds a user property; keys may repeat.
    ///
    /// # Errors
    /// Key or value is longer than 65 535 bytes or contains NUL.
    pub fn user_property(self, key: &str, value: &str) -> Result<Self, PropertyError> {
        self.property(Property::UserProperty(key, value))
    }

    /// Replaces all properties.
    #[must_use]
    pub fn properties(mut self, properties: Properties) -> Self {
        self.properties = properties;
        self
    }

    /// Sets which of the messages that wait goes first: 3 before 2 before 1 before 0. More than 3 counts as 3.
    #[must_use]
    pub fn priority(mut self, priority: u8) -> Self {
        self.priority = Priority::new(priority).unwrap_or(Priority::HIGHEST);
        self
    }

    /// Drops the message if it could not be sent within `ttl`.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }
}

/// A copy: topic and payload are shared.
impl From<&Self> for Publish {
    fn from(message: &Self) -> Self {
        message.clone()
    }
}

//! The will: what the server publishes when the connection is lost.

use std::time::Duration;

use bytes::Bytes;
use mqttx_proto::{Properties, Property, PropertyContext, PropertyError, QoS, WillMessage};
use serde::{Deserialize, Deserializer};

use super::{human, properties};
use crate::error::Error;

/// The message that the server publishes when this client's connection is lost
/// `[MQTT-3.1.2-8]`.
///
/// ```
/// # use mqttx::{QoS, Will};
/// let will = Will::new("plant/state", "gone").qos(QoS::AtLeastOnce).retain(true);
/// assert_eq!(will.topic, "plant/state");
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Will {
    /// The topic: no wildcard.
    pub topic: String,
    /// The payload, at most 65 535 bytes. Default empty.
    #[serde(default, deserialize_with = "payload")]
    pub payload: Bytes,
    /// The delivery guarantee. Default 0.
    #[serde(default, deserialize_with = "qos")]
    pub qos: QoS,
    /// Whether the server keeps it for later subscribers. Default `false`.
    #[serde(default)]
    pub retain: bool,
    /// How long the server waits before it publishes the will, in whole seconds (MQTT 5). Default:
    /// not at all.
    #[serde(default, deserialize_with = "human::optional_duration")]
    pub delay: Option<Duration>,
    /// Its properties (MQTT 5).
    #[serde(default, deserialize_with = "properties::deserialize")]
    pub properties: Properties,
}

impl Will {
    /// A will with QoS 0, not retained, without properties.
    #[must_use]
    pub fn new(topic: impl Into<String>, payload: impl Into<Bytes>) -> Self {
        Self {
            topic: topic.into(),
            payload: payload.into(),
            qos: QoS::AtMostOnce,
            retain: false,
            delay: None,
            properties: Properties::new(),
        }
    }

    /// Sets the delivery guarantee.
    #[must_use]
    pub fn qos(mut self, qos: QoS) -> Self {
        self.qos = qos;
        self
    }

    /// Sets whether the server keeps it for later subscribers.
    #[must_use]
    pub fn retain(mut self, retain: bool) -> Self {
        self.retain = retain;
        self
    }

    /// Sets how long the server waits before it publishes the will (MQTT 5).
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = Some(delay);
        self
    }

    /// Replaces its properties (MQTT 5).
    #[must_use]
    pub fn properties(mut self, properties: Properties) -> Self {
        self.properties = properties;
        self
    }

    /// As the core sends it.
    ///
    /// # Errors
    /// Its properties cannot be encoded, or do not belong to a will.
    pub(super) fn to_message(&self) -> Result<WillMessage, Error> {
        let properties = self
            .wire_properties()
            .map_err(|error| Error::config("the will's properties").with_source(error))?;
        Ok(WillMessage {
            topic: self.topic.clone(),
            payload: self.payload.clone(),
            qos: self.qos,
            retain: self.retain,
            properties,
        })
    }

    /// The properties with the delay among them.
    pub(super) fn wire_properties(&self) -> Result<Properties, PropertyError> {
        let mut properties = self.properties.clone();
        if let Some(delay) = self.delay {
            let seconds = u32::try_from(delay.as_secs()).unwrap_or(u32::MAX);
            properties.set(Property::WillDelayInterval(seconds))?;
        }
        properties.check(PropertyContext::Will)?;
        Ok(properties)
    }
}

fn payload<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
    String::deserialize(deserializer).map(Bytes::from)
}

fn qos<'de, D: Deserializer<'de>>(deserializer: D) -> Result<QoS, D::Error> {
    let value = u8::deserialize(deserializer)?;
    QoS::from_u8(value).ok_or_else(|| {
        serde::de::Error::custom(format!("{value} is not a QoS: allowed are 0, 1, 2"))
    })
}

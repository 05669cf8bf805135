//! What rules look at.

use std::str::Utf8Error;

use mqttx_proto::{PropertiesRef, QoS};

use super::{Message, MessageRef};

/// A message as a [`Filter`](crate::Filter) sees it, wherever its bytes lie.
///
/// ```
/// let filter = mqttx::Filter::from_fn(|message| message.payload().len() < 100 && !message.retain());
/// # let _ = filter;
/// ```
#[derive(Clone, Copy, Debug)]
pub struct MessageView<'a> {
    pub(crate) topic: &'a str,
    pub(crate) payload: &'a [u8],
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) properties: PropertiesRef<'a>,
    pub(crate) session: &'a str,
}

impl<'a> MessageView<'a> {
    /// The topic name.
    #[must_use]
    pub fn topic(&self) -> &'a str {
        self.topic
    }

    /// The payload; may be empty.
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// The payload as text.
    ///
    /// # Errors
    /// The payload is not UTF-8.
    pub fn payload_str(&self) -> Result<&'a str, Utf8Error> {
        std::str::from_utf8(self.payload)
    }

    /// The level at which the server delivered the message.
    #[must_use]
    pub fn qos(&self) -> QoS {
        self.qos
    }

    /// See [`Message::retain`].
    #[must_use]
    pub fn retain(&self) -> bool {
        self.retain
    }

    /// The properties of the message; empty in MQTT 3.1.1.
    #[must_use]
    pub fn properties(&self) -> PropertiesRef<'a> {
        self.properties
    }

    /// The name of the session that received the message.
    #[must_use]
    pub fn session(&self) -> &'a str {
        self.session
    }
}

impl<'a> From<&'a Message> for MessageView<'a> {
    fn from(message: &'a Message) -> Self {
        Self {
            topic: message.topic(),
            payload: message.payload(),
            qos: message.qos(),
            retain: message.retain(),
            properties: message.properties(),
            session: message.session(),
        }
    }
}

impl<'a> From<&'a MessageRef<'_>> for MessageView<'a> {
    fn from(message: &'a MessageRef<'_>) -> Self {
        Self {
            topic: message.topic(),
            payload: message.payload(),
            qos: message.qos(),
            retain: message.retain(),
            properties: message.properties(),
            session: message.session(),
        }
    }
}

//! `--json`: one object a line.

use mqttx::proto::{PropertiesRef, Property};

use super::{Received, utf8_or_base64};

/// Appends the object, without a line break.
pub(super) fn write(message: &Received<'_>, out: &mut Vec<u8>) {
    let mut object = Object::open(out);
    members(message, &mut object);
    object.close();
}

/// Appends what there is to say of a message.
pub(crate) fn members(message: &Received<'_>, object: &mut Object<'_>) {
    object.text("session", message.session);
    object.text("topic", message.topic);
    object.raw("qos", &(message.qos as u8).to_string());
    object.raw("retain", bool_text(message.retain));
    object.raw("dup", bool_text(message.dup));
    object.raw(
        "packet_id",
        &message.packet_id.map_or_else(|| "null".to_owned(), |id| id.to_string()),
    );
    object.bytes("payload", "payload_base64", message.payload);
    if !message.properties.is_empty() {
        object.raw("properties", &properties(message.properties));
    }
}

/// A text as a JSON string.
pub(super) fn quoted(text: &str) -> String {
    // A string always has a JSON form.
    serde_json::Value::from(text).to_string()
}

/// The properties as an object; user properties keep order and repetitions as pairs.
fn properties(properties: PropertiesRef<'_>) -> String {
    let mut out = Vec::new();
    let mut object = Object::open(&mut out);
    for property in properties.iter() {
        let name = property.id().name();
        match property {
            Property::PayloadFormatIndicator(n) => object.raw(name, &n.to_string()),
            Property::MessageExpiryInterval(n) => object.raw(name, &n.to_string()),
            Property::TopicAlias(n) => object.raw(name, &n.to_string()),
            Property::ContentType(text) | Property::ResponseTopic(text) => object.text(name, text),
            Property::CorrelationData(data) => {
                object.bytes(name, "correlation-data_base64", data);
            }
            // Those that may repeat follow together; others do not occur in a PUBLISH.
            _ => {}
        }
    }
    let mut ids = properties.subscription_identifiers();
    match (ids.next(), ids.next()) {
        (None, _) => {}
        (Some(id), None) => object.raw("subscription-identifier", &id.to_string()),
        (Some(_), Some(_)) => {
            let all: Vec<String> =
                properties.subscription_identifiers().map(|id| id.to_string()).collect();
            object.raw("subscription-identifier", &format!("[{}]", all.join(",")));
        }
    }
    let pairs: Vec<String> = properties
        .user_properties()
        .map(|(key, value)| format!("[{},{}]", quoted(key), quoted(value)))
        .collect();
    if !pairs.is_empty() {
        object.raw("user-properties", &format!("[{}]", pairs.join(",")));
    }
    object.close();
    String::from_utf8_lossy(&out).into_owned()
}

const fn bool_text(value: bool) -> &'static str {
    if value { "true" } else { "false" }
}

/// Writes members in the order they are given.
pub(crate) struct Object<'o> {
    out: &'o mut Vec<u8>,
    start: usize,
    first: bool,
}

impl<'o> Object<'o> {
    pub(crate) fn open(out: &'o mut Vec<u8>) -> Self {
        let start = out.len();
        out.push(b'{');
        Self { out, start, first: true }
    }

    /// A member whose value is JSON.
    pub(crate) fn raw(&mut self, name: &str, value: &str) {
        if !std::mem::take(&mut self.first) {
            self.out.push(b',');
        }
        self.out.extend_from_slice(quoted(name).as_bytes());
        self.out.push(b':');
        self.out.extend_from_slice(value.as_bytes());
    }

    pub(crate) fn number(&mut self, name: &str, value: u64) {
        self.raw(name, &value.to_string());
    }

    /// A number, or null.
    pub(crate) fn optional(&mut self, name: &str, value: Option<u64>) {
        self.raw(name, &value.map_or_else(|| "null".to_owned(), |value| value.to_string()));
    }

    pub(crate) fn flag(&mut self, name: &str, value: bool) {
        self.raw(name, bool_text(value));
    }

    pub(crate) fn text(&mut self, name: &str, value: &str) {
        self.raw(name, &quoted(value));
    }

    fn bytes(&mut self, name: &str, base64_name: &str, value: &[u8]) {
        match utf8_or_base64(value) {
            Ok(text) => self.text(name, text),
            Err(base64) => self.text(base64_name, &base64),
        }
    }

    pub(crate) fn close(self) {
        self.out.push(b'}');
    }

    /// There is no object after all.
    pub(crate) fn take_back(self) {
        self.out.truncate(self.start);
    }
}

#[cfg(test)]
mod tests {
    use mqttx::proto::{Properties, QoS};

    use super::super::tests::{plain, rich_properties};
    use super::*;

    fn line(message: &Received<'_>) -> String {
        let mut out = Vec::new();
        write(message, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_qos_0_message_has_no_packet_id() {
        assert_eq!(
            line(&plain("a \"b\"", "hé\n\u{0}".as_bytes())),
            r#"{"session":"s","topic":"a \"b\"","qos":0,"retain":false,"dup":false,"packet_id":null,"payload":"hé\n\u0000"}"#
        );
    }

    #[test]
    fn a_payload_that_is_not_utf8_is_base64() {
        let message = Received {
            qos: QoS::ExactlyOnce,
            retain: true,
            dup: true,
            packet_id: Some(65_535),
            ..plain("t", b"\xff\x00")
        };
        assert_eq!(
            line(&message),
            r#"{"session":"s","topic":"t","qos":2,"retain":true,"dup":true,"packet_id":65535,"payload_base64":"/wA="}"#
        );
    }

    #[test]
    fn properties_have_the_names_of_the_specification() {
        let properties = rich_properties();
        let message = Received { properties: properties.as_ref(), ..plain("t", b"") };
        let expected = r#""payload":"","properties":{"payload-format-indicator":1,"message-expiry-interval":90,"content-type":"text/plain","response-topic":"r/t","correlation-data":"\u0001c","topic-alias":7,"subscription-identifier":5,"user-properties":[["k","v"],["k","w\""]]}}"#;
        assert!(line(&message).ends_with(expected), "{}", line(&message));
    }

    #[test]
    fn every_line_is_valid_json() {
        let mut properties = Properties::new();
        properties.push(Property::CorrelationData(b"\xfe")).unwrap();
        properties.push(Property::SubscriptionIdentifier(1)).unwrap();
        properties.push(Property::SubscriptionIdentifier(2)).unwrap();
        let message =
            Received { properties: properties.as_ref(), ..plain("\u{7f}\u{2028}", b"\x80") };
        let value: serde_json::Value = serde_json::from_str(&line(&message)).unwrap();
        assert_eq!(value["properties"]["correlation-data_base64"], "/g==");
        assert_eq!(value["properties"]["subscription-identifier"], serde_json::json!([1, 2]));
    }
}

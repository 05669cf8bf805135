//! What is written to stdout for a message.

mod format;
pub(crate) mod json;

use std::borrow::Cow;
use std::io::{self, Write};

use jiff::Zoned;
use mqttx::Message;
use mqttx::proto::{PropertiesRef, QoS};

use crate::exit::{Failure, warn};
pub(crate) use format::Format;
use format::NotJson;

/// A message as the formatters see it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Received<'a> {
    pub(crate) session: &'a str,
    pub(crate) topic: &'a str,
    pub(crate) payload: &'a [u8],
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) dup: bool,
    /// `None` for QoS 0.
    pub(crate) packet_id: Option<u16>,
    pub(crate) properties: PropertiesRef<'a>,
}

/// How a message is written.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Style {
    /// The payload.
    Payload,
    /// Topic, space, payload.
    Verbose,
    /// The sequences of `-F`.
    Format(Format),
    /// One JSON object a line.
    Json,
}

impl Style {
    /// Appends the message to `out`, with a line break unless `no_newline` (a JSON object always
    /// ends its line).
    ///
    /// # Errors
    /// A format that needs a JSON payload met another one; the rest was written all the same.
    pub(crate) fn write(
        &self,
        message: &Received<'_>,
        now: &Zoned,
        no_newline: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), NotJson> {
        let mut result = Ok(());
        match self {
            Self::Payload => out.extend_from_slice(message.payload),
            Self::Verbose => {
                out.extend_from_slice(message.topic.as_bytes());
                out.push(b' ');
                out.extend_from_slice(message.payload);
            }
            Self::Format(format) => result = format.write(message, now, out),
            Self::Json => json::write(message, out),
        }
        if !no_newline || matches!(self, Self::Json) {
            out.push(b'\n');
        }
        result
    }
}

/// Writes a message to stdout; `buffer` is room for it, used again for the next one.
///
/// # Errors
/// stdout is closed or full.
pub(crate) fn print_message(
    message: &Message,
    style: &Style,
    no_newline: bool,
    buffer: &mut Vec<u8>,
) -> Result<(), Failure> {
    let received = Received {
        session: message.session(),
        topic: message.topic(),
        payload: message.payload(),
        qos: message.qos(),
        retain: message.retain(),
        dup: message.dup(),
        packet_id: message.packet_id().map(|id| id.get()),
        properties: message.properties(),
    };
    buffer.clear();
    if let Err(NotJson) = style.write(&received, &Zoned::now(), no_newline, buffer) {
        let topic = message.topic();
        warn(format_args!("warning: the payload is not valid JSON, topic {topic}"));
    }
    print(buffer).map_err(|error| Failure::runtime(format_args!("standard output: {error}")))
}

/// Writes all of it to stdout, so that the reader has it.
///
/// # Errors
/// stdout is closed or full.
pub(crate) fn print(bytes: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes)?;
    stdout.flush()
}

/// Binary data in a JSON string: the text if it is one.
fn utf8_or_base64(bytes: &[u8]) -> Result<&str, String> {
    use base64::Engine;
    std::str::from_utf8(bytes).map_err(|_| base64::engine::general_purpose::STANDARD.encode(bytes))
}

fn lossy(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

#[cfg(test)]
pub(crate) mod tests {
    use mqttx::proto::{Properties, Property};

    use super::*;

    pub(crate) fn now() -> Zoned {
        "2026-02-03T04:05:06.078901234+01:00[Europe/Berlin]".parse().unwrap()
    }

    pub(crate) fn plain<'a>(topic: &'a str, payload: &'a [u8]) -> Received<'a> {
        Received {
            session: "s",
            topic,
            payload,
            qos: QoS::AtMostOnce,
            retain: false,
            dup: false,
            packet_id: None,
            properties: PropertiesRef::EMPTY,
        }
    }

    pub(crate) fn rich_properties() -> Properties {
        let mut properties = Properties::new();
        for property in [
            Property::PayloadFormatIndicator(1),
            Property::MessageExpiryInterval(90),
            Property::ContentType("text/plain"),
            Property::ResponseTopic("r/t"),
            Property::CorrelationData(b"\x01c"),
            Property::TopicAlias(7),
            Property::UserProperty("k", "v"),
            Property::SubscriptionIdentifier(5),
            Property::UserProperty("k", "w\""),
        ] {
            properties.push(property).unwrap();
        }
        properties
    }

    fn written(style: &Style, no_newline: bool, topic: &str, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        style.write(&plain(topic, payload), &now(), no_newline, &mut out).unwrap();
        out
    }

    #[test]
    fn the_plain_styles_pass_the_bytes_through() {
        for (style, no_newline, payload, expected) in [
            (Style::Payload, false, &b"hi"[..], &b"hi\n"[..]),
            (Style::Payload, true, b"hi", b"hi"),
            (Style::Payload, false, b"", b"\n"),
            (Style::Payload, true, b"", b""),
            (Style::Payload, false, b"\x00\xff\n", b"\x00\xff\n\n"),
            (Style::Verbose, false, b"hi", b"a/b hi\n"),
            (Style::Verbose, false, b"", b"a/b \n"),
            (Style::Verbose, true, b"hi", b"a/b hi"),
        ] {
            assert_eq!(written(&style, no_newline, "a/b", payload), expected, "{style:?}");
        }
    }

    #[test]
    fn a_json_object_always_ends_its_line() {
        assert!(written(&Style::Json, true, "t", b"p").ends_with(b"}\n"));
    }
}

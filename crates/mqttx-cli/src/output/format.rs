//! The output format of `-F`: the sequences that `mosquitto_sub` knows.
//!
//! `%` starts a part of the message, with an optional `-` (left aligned), `0` (padded with zeros),
//! width and `.`precision; `@` a part of the date as in strftime(3), and `@N` the nanoseconds; `\`
//! a character that is hard to type.

use std::io::Write;

use jiff::Zoned;

use super::json::quoted;
use super::{Received, lossy};

/// A format, read once.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Format(Vec<Part>);

/// `%J` met a payload that is not JSON; nothing was written in its place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct NotJson;

#[derive(Clone, PartialEq, Debug)]
enum Part {
    Bytes(Vec<u8>),
    Field(char, Layout),
    /// One character of strftime(3).
    Date(char),
}

/// Flags, width and precision between `%` and the letter.
#[derive(Clone, Copy, PartialEq, Default, Debug)]
struct Layout {
    left: bool,
    zero: bool,
    width: usize,
    precision: Option<usize>,
}

const FIELDS: &str = "%ACDEFIJjlmPpqRrStUXx";

impl Format {
    /// Reads a format.
    ///
    /// # Errors
    /// An unknown or unfinished sequence.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut parts: Vec<Part> = Vec::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            match c {
                '%' => parts.push(field(&mut chars)?),
                '@' => match chars.next() {
                    Some('@') => literal(&mut parts, '@'),
                    Some(letter)
                        if letter == 'N' || strftime(&Zoned::default(), letter).is_some() =>
                    {
                        parts.push(Part::Date(letter));
                    }
                    Some(letter) => return Err(format!("unknown date sequence '@{letter}'")),
                    None => return Err("'@' at the end: '@@' is a literal @".to_owned()),
                },
                '\\' => match chars.next() {
                    Some('\\') => literal(&mut parts, '\\'),
                    Some('0') => literal(&mut parts, '\0'),
                    Some('a') => literal(&mut parts, '\x07'),
                    Some('e') => literal(&mut parts, '\x1b'),
                    Some('n') => literal(&mut parts, '\n'),
                    Some('r') => literal(&mut parts, '\r'),
                    Some('t') => literal(&mut parts, '\t'),
                    Some('v') => literal(&mut parts, '\x0b'),
                    Some(letter) => {
                        return Err(format!(
                            "unknown sequence '\\{letter}': allowed are \\\\ \\0 \\a \\e \\n \\r \\t \\v"
                        ));
                    }
                    None => return Err("'\\' at the end: '\\\\' is a literal \\".to_owned()),
                },
                other => literal(&mut parts, other),
            }
        }
        Ok(Self(parts))
    }

    /// Appends the message, without a line break.
    pub(super) fn write(
        &self,
        message: &Received<'_>,
        now: &Zoned,
        out: &mut Vec<u8>,
    ) -> Result<(), NotJson> {
        let mut result = Ok(());
        for part in &self.0 {
            match part {
                Part::Bytes(bytes) => out.extend_from_slice(bytes),
                Part::Date('N') => write_to(out, format_args!("{:09}", now.subsec_nanosecond())),
                Part::Date(letter) => {
                    out.extend_from_slice(strftime(now, *letter).unwrap_or_default().as_bytes());
                }
                Part::Field(letter, layout) => {
                    if let Err(error) = write_field(*letter, *layout, message, now, out) {
                        result = Err(error);
                    }
                }
            }
        }
        result
    }
}

fn literal(parts: &mut Vec<Part>, c: char) {
    let mut utf8 = [0; 4];
    let bytes = c.encode_utf8(&mut utf8).as_bytes();
    if let Some(Part::Bytes(last)) = parts.last_mut() {
        last.extend_from_slice(bytes);
    } else {
        parts.push(Part::Bytes(bytes.to_vec()));
    }
}

fn field(chars: &mut std::str::Chars<'_>) -> Result<Part, String> {
    let mut layout = Layout::default();
    let mut eat = |wanted: char| {
        let mut rest = chars.clone();
        (rest.next() == Some(wanted)).then(|| *chars = rest).is_some()
    };
    layout.left = eat('-');
    layout.zero = eat('0');
    let dot_after = |chars: &mut std::str::Chars<'_>| -> Result<usize, String> {
        let text = chars.as_str();
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, rest) = text.split_at(digits);
        *chars = rest.chars();
        match number.parse() {
            Ok(number) if number <= 65_535 => Ok(number),
            _ if number.is_empty() => Ok(0),
            _ => Err(format!("the width {number} is above 65535")),
        }
    };
    layout.width = dot_after(chars)?;
    if chars.as_str().starts_with('.') {
        chars.next();
        layout.precision = Some(dot_after(chars)?);
    }
    match chars.next() {
        Some(letter) if FIELDS.contains(letter) => Ok(Part::Field(letter, layout)),
        Some(letter) => Err(format!("unknown sequence '%{letter}'")),
        None => Err("'%' at the end: '%%' is a literal %".to_owned()),
    }
}

fn write_field(
    letter: char,
    layout: Layout,
    message: &Received<'_>,
    now: &Zoned,
    out: &mut Vec<u8>,
) -> Result<(), NotJson> {
    let properties = message.properties;
    match letter {
        '%' => out.push(b'%'),
        'A' => layout.number(properties.topic_alias(), out),
        'C' => layout.text(properties.content_type().unwrap_or_default(), out),
        'D' => out.extend_from_slice(properties.correlation_data().unwrap_or_default()),
        'E' => layout.number(properties.message_expiry_interval(), out),
        'F' => layout.number(properties.payload_format_indicator(), out),
        'I' => layout.text(&now.strftime("%Y-%m-%dT%H:%M:%S%z").to_string(), out),
        'j' => write_json(message, now, &escaped(message.payload), out),
        'J' => write_json(message, now, &verbatim(message.payload).ok_or(NotJson)?, out),
        'l' => layout.number(Some(message.payload.len()), out),
        'm' => layout.number(Some(message.packet_id.unwrap_or_default()), out),
        'P' => {
            for (i, (key, value)) in properties.user_properties().enumerate() {
                let space = if i == 0 { "" } else { " " };
                write_to(out, format_args!("{space}{key}:{value}"));
            }
        }
        'p' => layout.bytes(message.payload, out),
        'q' => write_to(out, format_args!("{}", message.qos as u8)),
        'R' => layout.text(properties.response_topic().unwrap_or_default(), out),
        'r' => out.push(if message.retain { b'1' } else { b'0' }),
        'S' => layout.number(properties.subscription_identifiers().next(), out),
        't' => layout.text(message.topic, out),
        'U' => {
            let time = now.timestamp();
            write_to(out, format_args!("{}.{:09}", time.as_second(), time.subsec_nanosecond()));
        }
        'x' => layout.hex(message.payload, out, "0123456789abcdef"),
        'X' => layout.hex(message.payload, out, "0123456789ABCDEF"),
        // Format::parse lets no other letter pass.
        _ => {}
    }
    Ok(())
}

impl Layout {
    fn number(self, value: Option<impl ToString>, out: &mut Vec<u8>) {
        let digits = value.map(|value| value.to_string()).unwrap_or_default();
        self.pad(digits.as_bytes(), digits.len(), self.zero, out);
    }

    /// Texts are never padded with zeros; width and precision count characters.
    fn text(self, text: &str, out: &mut Vec<u8>) {
        let shown = match self.precision.and_then(|n| text.char_indices().nth(n)) {
            Some((end, _)) => &text[..end],
            None => text,
        };
        self.pad(shown.as_bytes(), shown.chars().count(), false, out);
    }

    fn bytes(self, bytes: &[u8], out: &mut Vec<u8>) {
        let shown = &bytes[..self.precision.unwrap_or(bytes.len()).min(bytes.len())];
        self.pad(shown, shown.len(), self.zero, out);
    }

    fn hex(self, bytes: &[u8], out: &mut Vec<u8>, digits: &str) {
        let digit = |value: u8| digits.as_bytes()[usize::from(value)];
        let text: Vec<u8> = bytes.iter().flat_map(|b| [digit(b >> 4), digit(b & 15)]).collect();
        self.bytes(&text, out);
    }

    fn pad(self, shown: &[u8], len: usize, zero: bool, out: &mut Vec<u8>) {
        let missing = self.width.saturating_sub(len);
        if self.left {
            out.extend_from_slice(shown);
            out.resize(out.len() + missing, b' ');
        } else {
            out.resize(out.len() + missing, if zero { b'0' } else { b' ' });
            out.extend_from_slice(shown);
        }
    }
}

/// The object of `%j` and `%J`; `payload` is its JSON form.
fn write_json(message: &Received<'_>, now: &Zoned, payload: &str, out: &mut Vec<u8>) {
    write_to(
        out,
        format_args!(
            "{{\"tst\":\"{}.{:06}Z{}\",\"topic\":{},\"qos\":{},\"retain\":{},\"payloadlen\":{},",
            now.strftime("%Y-%m-%dT%H:%M:%S"),
            now.subsec_nanosecond() / 1000,
            now.strftime("%z"),
            quoted(message.topic),
            message.qos as u8,
            u8::from(message.retain),
            message.payload.len()
        ),
    );
    if let Some(id) = message.packet_id {
        write_to(out, format_args!("\"mid\":{id},"));
    }
    write_json_properties(message, out);
    write_to(out, format_args!("\"payload\":{payload}}}"));
}

fn write_json_properties(message: &Received<'_>, out: &mut Vec<u8>) {
    use mqttx::proto::Property;
    let mut members: Vec<String> = message
        .properties
        .iter()
        .filter_map(|property| {
            let value = match property {
                Property::PayloadFormatIndicator(n) => n.to_string(),
                Property::MessageExpiryInterval(n) | Property::SubscriptionIdentifier(n) => {
                    n.to_string()
                }
                Property::TopicAlias(n) => n.to_string(),
                Property::ContentType(text) | Property::ResponseTopic(text) => quoted(text),
                Property::CorrelationData(data) => quoted(&lossy(data)),
                _ => return None,
            };
            Some(format!("\"{}\":{value}", property.id()))
        })
        .collect();
    let pairs: Vec<String> = message
        .properties
        .user_properties()
        .map(|(key, value)| format!("{}:{}", quoted(key), quoted(value)))
        .collect();
    if !pairs.is_empty() {
        members.push(format!("\"user-properties\":{{{}}}", pairs.join(",")));
    }
    if !members.is_empty() {
        write_to(out, format_args!("\"properties\":{{{}}},", members.join(",")));
    }
}

/// The payload as a JSON string, or as an array of bytes when it is no text.
fn escaped(payload: &[u8]) -> String {
    std::str::from_utf8(payload)
        .map_or_else(|_| serde_json::Value::from(payload).to_string(), quoted)
}

/// The payload as it is, without the white space between its tokens; `None` when it is not JSON.
/// Numbers keep their digits.
fn verbatim(payload: &[u8]) -> Option<String> {
    if payload.is_empty() {
        return Some("null".to_owned());
    }
    serde_json::from_slice::<serde::de::IgnoredAny>(payload).ok()?;
    let (mut in_string, mut escape) = (false, false);
    let kept = std::str::from_utf8(payload).ok()?.chars().filter(|c| {
        if in_string {
            in_string = escape || *c != '"';
            escape = !escape && *c == '\\';
            return true;
        }
        in_string = *c == '"';
        !c.is_ascii_whitespace()
    });
    Some(kept.collect())
}

/// One letter of strftime(3); `None` for letters that it does not know.
fn strftime(now: &Zoned, letter: char) -> Option<String> {
    jiff::fmt::strtime::format(format!("%{letter}"), now).ok()
}

fn write_to(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // Writing to memory does not fail.
    let _ = out.write_fmt(text);
}

#[cfg(test)]
mod tests {
    use mqttx::proto::QoS;

    use super::super::tests::{now, plain, rich_properties};
    use super::*;

    fn text(format: &str, message: &Received<'_>) -> String {
        let mut out = Vec::new();
        Format::parse(format).unwrap().write(message, &now(), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn sequences_of_a_message_without_properties() {
        let message = Received {
            qos: QoS::AtLeastOnce,
            packet_id: Some(12),
            retain: true,
            ..plain("tö/p", b"hello")
        };
        for (format, expected) in [
            ("", ""),
            ("plain", "plain"),
            ("%t %p %q %r %l %m", "tö/p hello 1 1 5 12"),
            ("%%%t%%", "%tö/p%"),
            ("[%10t]", "[      tö/p]"),
            ("[%-10t]", "[tö/p      ]"),
            ("[%.2t]", "[tö]"),
            ("[%6.2t]", "[    tö]"),
            ("[%-6.2t]", "[tö    ]"),
            ("[%010t]", "[      tö/p]"),
            ("[%8p]", "[   hello]"),
            ("[%-8p]", "[hello   ]"),
            ("[%08p]", "[000hello]"),
            ("[%4l]", "[   5]"),
            ("[%04l]", "[0005]"),
            ("[%-4l]", "[5   ]"),
            ("[%-04l]", "[5   ]"),
            ("[%05m]", "[00012]"),
            ("%x %X", "68656c6c6f 68656C6C6F"),
            ("[%12x]", "[  68656c6c6f]"),
            ("%A%C%D%E%F%P%R%S", ""),
            ("[%3A][%-3C][%3E][%3F][%3S]", "[   ][   ][   ][   ][   ]"),
            (r"a\tb\nc\\d\r\v\a\e\0.", "a\tb\nc\\d\r\x0b\x07\x1b\0."),
            ("%I", "2026-02-03T04:05:06+0100"),
            ("%U", "1770087906.078901234"),
            ("@Y-@m-@d @H:@M:@S.@N @@", "2026-02-03 04:05:06.078901234 @"),
            ("@s", "1770087906"),
        ] {
            assert_eq!(text(format, &message), expected, "{format}");
        }
    }

    #[test]
    fn sequences_of_properties() {
        let properties = rich_properties();
        let message = Received { properties: properties.as_ref(), ..plain("t", b"") };
        for (format, expected) in [
            ("%A|%C|%D|%E|%F|%P|%R|%S", "7|text/plain|\x01c|90|1|k:v k:w\"|r/t|5"),
            ("[%03A][%12C][%-6.4R][%04E]", "[007][  text/plain][r/t   ][0090]"),
            ("[%.4C]", "[text]"),
        ] {
            assert_eq!(text(format, &message), expected, "{format}");
        }
    }

    #[test]
    fn json_sequences() {
        const TIME: &str = "2026-02-03T04:05:06.078901Z+0100";
        let message = plain("a\"b", br#"{"x": 1.50, "y": " z\" "}"#);
        assert_eq!(
            text("%j", &message),
            format!(
                r#"{{"tst":"{TIME}","topic":"a\"b","qos":0,"retain":0,"payloadlen":25,"payload":"{{\"x\": 1.50, \"y\": \" z\\\" \"}}"}}"#
            )
        );
        assert_eq!(
            text("%J", &message),
            format!(
                r#"{{"tst":"{TIME}","topic":"a\"b","qos":0,"retain":0,"payloadlen":25,"payload":{{"x":1.50,"y":" z\" "}}}}"#
            )
        );
        let properties = rich_properties();
        let message = Received {
            qos: QoS::ExactlyOnce,
            packet_id: Some(3),
            retain: true,
            properties: properties.as_ref(),
            ..plain("t", b"\xff")
        };
        let line = text("%j", &message);
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["mid"], 3);
        assert_eq!(value["payload"], serde_json::json!([255]));
        assert_eq!(value["properties"]["topic-alias"], 7);
        assert_eq!(value["properties"]["user-properties"]["k"], "w\"");
    }

    #[test]
    fn a_payload_that_is_not_json_is_reported_and_the_rest_written() {
        for payload in [&b"{"[..], b"{} {}", b"\xff", b"hello"] {
            let mut out = Vec::new();
            let result =
                Format::parse("<%J>").unwrap().write(&plain("t", payload), &now(), &mut out);
            assert_eq!((result, out.as_slice()), (Err(NotJson), &b"<>"[..]));
        }
        assert!(text("%J", &plain("t", b"")).ends_with("\"payload\":null}"));
    }

    #[test]
    fn bad_formats_are_refused() {
        for (format, part) in [
            ("%", "at the end"),
            ("a%-0", "at the end"),
            ("%y", "'%y'"),
            ("%5.y", "'%y'"),
            ("@", "at the end"),
            ("\\", "at the end"),
            ("\\x", "'\\x'"),
            ("%99999t", "65535"),
        ] {
            let error = Format::parse(format).unwrap_err();
            assert!(error.contains(part), "{format}: {error}");
        }
    }
}

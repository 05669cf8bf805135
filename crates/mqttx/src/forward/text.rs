//! Texts with placeholders: values of transforms and metadata, and whole payloads.

use std::fmt::Write as _;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::json::{self, Pointer};
use super::template::{
    Part, Piece, levels_from, no_rest, no_such_plus, pieces, plus_level, rest_level, without_share,
};

/// What placeholders may take from a message.
#[derive(Clone, Copy)]
pub(crate) struct RuleContext<'a> {
    /// The topic that the message arrived with.
    pub(crate) topic: &'a str,
    /// The filter that brought it.
    pub(crate) filter: &'a str,
    /// Empty on a route.
    pub(crate) forwarder: &'a str,
    pub(crate) session: &'a str,
    pub(crate) received_at: Instant,
    pub(crate) payload: &'a [u8],
}

impl RuleContext<'_> {
    fn received_unix_ms(&self) -> u64 {
        let age = crate::session::now().saturating_duration_since(self.received_at);
        let since = SystemTime::now().checked_sub(age).unwrap_or(UNIX_EPOCH);
        let since = since.duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}

/// A text with the placeholders of a [`TopicTemplate`](super::TopicTemplate), parsed once.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct TextTemplate {
    parts: Box<[TextPart]>,
}

#[derive(Clone, PartialEq, Debug)]
enum TextPart {
    Common(Part),
    /// The payload as text.
    Payload,
    /// A value of a JSON payload; a string without its quotes.
    Value(Pointer),
}

impl TextTemplate {
    /// A text in which the payload has no placeholder.
    ///
    /// # Errors
    /// Unpaired braces, an unknown placeholder.
    pub(crate) fn parse(source: &str) -> Result<Self, String> {
        Self::parse_with(source, |name| Part::placeholder(name).map(TextPart::Common))
    }

    /// A text in which `{payload}` and `{/pointer}` stand for the payload and its values.
    ///
    /// # Errors
    /// As for [`parse`](Self::parse).
    pub(crate) fn parse_payload(source: &str) -> Result<Self, String> {
        Self::parse_with(source, |name| match name {
            "payload" => Ok(TextPart::Payload),
            pointer if pointer.starts_with('/') => Pointer::parse(pointer).map(TextPart::Value),
            other => Part::placeholder(other)
                .map(TextPart::Common)
                .map_err(|error| error.replace("{topic}", "{topic}, {payload}, {/json/pointer}")),
        })
    }

    fn parse_with(
        source: &str,
        placeholder: impl Fn(&str) -> Result<TextPart, String>,
    ) -> Result<Self, String> {
        let parts = pieces(source).into_iter().map(|piece| match piece? {
            Piece::Text(text) => Ok(TextPart::Common(Part::Text(text.into()))),
            Piece::Placeholder(name) => placeholder(name),
        });
        Ok(Self { parts: parts.collect::<Result<_, _>>()? })
    }

    /// Whether the captures exist in a filter.
    ///
    /// # Errors
    /// Names the first one that does not.
    pub(crate) fn check(&self, filter: &str) -> Result<(), String> {
        let filter = without_share(filter);
        for part in &self.parts {
            match part {
                TextPart::Common(Part::Plus(n)) if plus_level(filter, *n).is_none() => {
                    return Err(no_such_plus(*n, filter));
                }
                TextPart::Common(Part::Rest) if rest_level(filter).is_none() => {
                    return Err(no_rest(filter));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The text, if there is nothing to put in.
    pub(crate) fn as_fixed(&self) -> Option<&str> {
        match &*self.parts {
            [] => Some(""),
            [TextPart::Common(Part::Text(text))] => Some(text),
            _ => None,
        }
    }

    /// Appends the text to `out`.
    ///
    /// # Errors
    /// The payload is asked for, and is not UTF-8, or not JSON.
    pub(crate) fn render(&self, cx: &RuleContext<'_>, out: &mut String) -> Result<(), String> {
        for part in &self.parts {
            match part {
                TextPart::Common(part) => render_common(part, cx, out),
                TextPart::Payload => {
                    let text = std::str::from_utf8(cx.payload);
                    out.push_str(
                        text.map_err(|error| format!("the payload is not text: {error}"))?,
                    );
                }
                TextPart::Value(pointer) => {
                    if let Some(raw) = json::find(json::text_of(cx.payload)?, pointer)? {
                        push_value(raw, out);
                    }
                }
            }
        }
        Ok(())
    }
}

fn render_common(part: &Part, cx: &RuleContext<'_>, out: &mut String) {
    let filter = without_share(cx.filter);
    match part {
        Part::Text(text) => out.push_str(text),
        Part::Plus(n) => {
            let level = plus_level(filter, *n).and_then(|n| cx.topic.split('/').nth(n.into()));
            out.push_str(level.unwrap_or_default());
        }
        Part::Rest => {
            out.push_str(rest_level(filter).map_or("", |level| levels_from(cx.topic, level)));
        }
        Part::Topic => out.push_str(cx.topic),
        Part::Forwarder => out.push_str(cx.forwarder),
        Part::Session => out.push_str(cx.session),
        Part::ReceivedUnixMs => {
            // Writing to a String cannot fail.
            let _ = write!(out, "{}", cx.received_unix_ms());
        }
    }
}

/// A string without its quotes, anything else as it stands.
fn push_value(raw: &str, out: &mut String) {
    match raw.starts_with('"').then(|| serde_json::from_str::<String>(raw)) {
        Some(Ok(text)) => out.push_str(&text),
        _ => out.push_str(raw),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cx<'a>(filter: &'a str, topic: &'a str, payload: &'a [u8]) -> RuleContext<'a> {
        let received_at = Instant::now();
        RuleContext { topic, filter, forwarder: "fw", session: "s", received_at, payload }
    }

    fn render(source: &str, cx: &RuleContext<'_>) -> Result<String, String> {
        let mut out = String::new();
        TextTemplate::parse_payload(source)?.render(cx, &mut out)?;
        Ok(out)
    }

    #[test]
    fn placeholders_become_what_the_filter_captured() {
        let cx = cx("$share/g/line/+/sensor/+/#", "line/4/sensor/7/a/b", b"");
        assert_eq!(
            render("{2} of {1}: {#}, {{{forwarder}}}/{session}", &cx).unwrap(),
            "7 of 4: a/b, {fw}/s"
        );
        assert_eq!(render("{topic}", &cx).unwrap(), "line/4/sensor/7/a/b");
        assert_eq!(render("", &cx).unwrap(), "");
        let ms: u64 = render("{received_unix_ms}", &cx).unwrap().parse().unwrap();
        assert!(ms > 1_600_000_000_000);
    }

    #[test]
    fn values_of_the_payload_are_data() {
        let cx = cx("a", "a", br#"{"t": 21.50, "n": {"s": "{1} \"x\""}, "o": [1, 2]}"#);
        assert_eq!(
            render("t={/t} s={/n/s} o={/o} -{/no}-", &cx).unwrap(),
            "t=21.50 s={1} \"x\" o=[1, 2] --"
        );
        assert_eq!(render("<{payload}>", &RuleContext { payload: b"hi", ..cx }).unwrap(), "<hi>");
        assert!(render("{/t}", &RuleContext { payload: b"hi", ..cx }).is_err());
        assert!(render("{payload}", &RuleContext { payload: b"\xff", ..cx }).is_err());
    }

    #[test]
    fn what_cannot_be_filled_in_is_refused() {
        for wrong in ["{", "}", "{x}", "{0}", "{payload}", "{/a}"] {
            assert!(TextTemplate::parse(wrong).is_err(), "{wrong}");
        }
        assert!(TextTemplate::parse_payload("{/~}").is_err());
        let unknown = TextTemplate::parse_payload("{x}").unwrap_err();
        assert!(unknown.contains("{payload}"), "{unknown}");
        let template = TextTemplate::parse("{2}{#}").unwrap();
        assert!(template.check("+/+/#").is_ok());
        assert!(template.check("+/#").unwrap_err().contains("only one '+'"));
        assert!(template.check("+/+").unwrap_err().contains("needs a '#'"));
    }

    #[test]
    fn a_text_without_placeholders_is_fixed() {
        assert_eq!(TextTemplate::parse("a{{b").unwrap().as_fixed(), Some("a{b"));
        assert_eq!(TextTemplate::parse("").unwrap().as_fixed(), Some(""));
        assert_eq!(TextTemplate::parse("a{1}").unwrap().as_fixed(), None);
    }

    proptest! {
        #[test]
        fn no_template_panics(source in "([{}/#+a1]|\\{1\\}|\\{#\\}|\\{/a\\}|\\{topic\\}){0,8}", topic in "[/ab]{0,8}", payload in ".{0,8}") {
            let _ = render(&source, &cx("+/+/#", &topic, payload.as_bytes()));
        }
    }
}

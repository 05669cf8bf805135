//! Topic templates: parsed once, bound to the filter whose captures they use, rendered without a regex.

use std::fmt::{self, Write as _};

use super::topic_map::TopicMapError;

/// A topic with placeholders, such as `site/{1}/temp`.
///
/// | placeholder | becomes |
/// |---|---|
/// | `{1}`, `{2}` … | the level that the n-th `+` of the filter matched |
/// | `{#}` | the levels that the `#` of the filter matched; when there are none the slash before it goes too |
/// | `{topic}` | the whole topic of the message |
/// | `{forwarder}` `{session}` | the forwarder's name, the name of the session that received the message |
/// | `{received_unix_ms}` | when the message arrived, in milliseconds since 1970 |
/// | `{{` `}}` | a brace |
///
/// What is put in is data: it is never expanded again.
///
/// ```
/// use mqttx::TopicTemplate;
///
/// let template = TopicTemplate::parse("site/a/l{1}/{#}")?;
/// assert_eq!(template.as_str(), "site/a/l{1}/{#}");
/// assert!(TopicTemplate::parse("site/{site}").is_err());
/// # Ok::<(), mqttx::TopicMapError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicTemplate {
    source: Box<str>,
    parts: Vec<Part>,
}

impl TopicTemplate {
    /// Checks the braces, the names of the placeholders and the text around them.
    ///
    /// # Errors
    /// A brace without its partner, an unknown placeholder, or text that no topic name may contain
    /// (`+`, `#`, NUL) `[MQTT-3.3.2-2]`. Captures are checked where the template meets a filter.
    pub fn parse(source: &str) -> Result<Self, TopicMapError> {
        let fail = |message: String| Err(TopicMapError::new(source, message));
        if source.is_empty() {
            return fail("the topic is empty".to_owned());
        }
        let mut parts = Vec::new();
        for piece in pieces(source) {
            let part = piece.and_then(|piece| match piece {
                Piece::Text(text) => Ok(Part::Text(text.into())),
                Piece::Placeholder(name) => Part::placeholder(name),
            });
            match part {
                Ok(part) => parts.push(part),
                Err(message) => return fail(message),
            }
        }
        for part in &parts {
            if let Part::Text(text) = part
                && let Some(c) = text.chars().find(|c| matches!(c, '+' | '#' | '\0'))
            {
                return fail(format!("a topic name must not contain {c:?}"));
            }
        }
        Ok(Self { source: source.into(), parts })
    }

    /// The text it was parsed from.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.source
    }

    /// Whether every capture that the template uses exists in `filter` (a `$share/group/` in front does
    /// not count).
    ///
    /// # Errors
    /// Names the first capture that does not exist.
    pub fn check(&self, filter: &str) -> Result<(), TopicMapError> {
        self.bind(filter).map(drop)
    }

    /// Replaces each capture's number by the level of the topic where it is found.
    pub(super) fn bind(&self, filter: &str) -> Result<BoundTemplate, TopicMapError> {
        let filter = without_share(filter);
        let mut parts: Vec<BoundPart> = Vec::with_capacity(self.parts.len());
        for part in &self.parts {
            let bound = match part {
                Part::Text(text) => BoundPart::Text(text.clone()),
                Part::Plus(n) => match plus_level(filter, *n) {
                    Some(level) => BoundPart::Level(level),
                    None => {
                        return Err(TopicMapError::new(&self.source, no_such_plus(*n, filter)));
                    }
                },
                Part::Rest => match rest_level(filter) {
                    Some(level) => BoundPart::Rest { level, slash: take_slash(&mut parts) },
                    None => return Err(TopicMapError::new(&self.source, no_rest(filter))),
                },
                Part::Topic => BoundPart::Topic,
                Part::Forwarder => BoundPart::Forwarder,
                Part::Session => BoundPart::Session,
                Part::ReceivedUnixMs => BoundPart::ReceivedUnixMs,
            };
            parts.push(bound);
        }
        Ok(BoundTemplate { parts })
    }
}

impl fmt::Display for TopicTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

/// What a template may take from a message.
#[derive(Clone, Copy, Debug)]
pub struct TopicContext<'a> {
    /// The topic that the message arrived with.
    pub topic: &'a str,
    /// The forwarder's name.
    pub forwarder: &'a str,
    /// The session that received the message.
    pub session: &'a str,
    /// When it arrived, in milliseconds since 1970; read only by templates that use it.
    pub received_unix_ms: u64,
}

/// A rendered text that is not a topic name; the message cannot be published.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum RenderError {
    /// Nothing is left: a topic name has at least one character `[MQTT-4.7.3-1]`.
    Empty,
    /// A name that was put in brought a character that a topic name must not contain `[MQTT-3.3.2-2]`.
    Forbidden(char),
    /// More than 65 535 bytes `[MQTT-4.7.3-3]`; the number is the length.
    TooLong(usize),
}

impl fmt::Display for RenderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the rendered topic is empty"),
            Self::Forbidden(c) => write!(f, "the rendered topic contains {c:?}"),
            Self::TooLong(n) => write!(f, "the rendered topic has {n} bytes, 65535 are allowed"),
        }
    }
}

impl std::error::Error for RenderError {}

/// A template whose captures are levels of the topics that one filter matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BoundTemplate {
    parts: Vec<BoundPart>,
}

impl BoundTemplate {
    /// The source topic unchanged.
    pub(super) fn identity() -> Self {
        Self { parts: vec![BoundPart::Topic] }
    }

    pub(super) fn parts(&self) -> &[BoundPart] {
        &self.parts
    }

    /// Whether it takes levels out of the source's topic.
    pub(super) fn uses_captures(&self) -> bool {
        let is_capture =
            |part: &BoundPart| matches!(part, BoundPart::Level(_) | BoundPart::Rest { .. });
        self.parts.iter().any(is_capture)
    }

    /// Whether rendering reads [`TopicContext::received_unix_ms`].
    pub(super) fn uses_time(&self) -> bool {
        self.parts.contains(&BoundPart::ReceivedUnixMs)
    }

    /// Replaces `out` by the rendered topic; allocates only when `out` has to grow.
    pub(super) fn render(
        &self,
        cx: &TopicContext<'_>,
        out: &mut String,
    ) -> Result<(), RenderError> {
        out.clear();
        self.append(cx, cx.topic, out)
    }

    /// Appends the rendered topic of a message whose topic was changed, perhaps: captures are those of the topic that it came
    /// with, `{topic}` is what it is called now. After an error a part of it may be there.
    pub(super) fn append(
        &self,
        cx: &TopicContext<'_>,
        called: &str,
        out: &mut String,
    ) -> Result<(), RenderError> {
        let start = out.len();
        let mut names = !std::ptr::eq(cx.topic, called);
        for part in &self.parts {
            match part {
                BoundPart::Text(text) => out.push_str(text),
                BoundPart::Level(n) => {
                    out.push_str(cx.topic.split('/').nth(usize::from(*n)).unwrap_or_default());
                }
                BoundPart::Rest { level, slash } => {
                    let rest = levels_from(cx.topic, *level);
                    if *slash && !rest.is_empty() {
                        out.push('/');
                    }
                    out.push_str(rest);
                }
                BoundPart::Topic => out.push_str(called),
                BoundPart::Forwarder => {
                    names = true;
                    out.push_str(cx.forwarder);
                }
                BoundPart::Session => {
                    names = true;
                    out.push_str(cx.session);
                }
                BoundPart::ReceivedUnixMs => {
                    // Writing to a String cannot fail.
                    let _ = write!(out, "{}", cx.received_unix_ms);
                }
            }
        }
        // Levels of a received topic name and the checked text of the template hold no wildcard; names may.
        let rendered = out.get(start..).unwrap_or_default();
        if names && let Some(c) = rendered.chars().find(|c| matches!(c, '+' | '#' | '\0')) {
            return Err(RenderError::Forbidden(c));
        }
        match rendered.len() {
            0 => Err(RenderError::Empty),
            n if n > usize::from(u16::MAX) => Err(RenderError::TooLong(n)),
            _ => Ok(()),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum BoundPart {
    Text(Box<str>),
    /// The level with this index, from 0.
    Level(u16),
    /// All levels from this index on; `slash`: with a slash before them unless there are none.
    Rest {
        level: u16,
        slash: bool,
    },
    Topic,
    Forwarder,
    Session,
    ReceivedUnixMs,
}

/// A text with placeholders, in pieces.
pub(super) enum Piece<'a> {
    Text(String),
    Placeholder(&'a str),
}

/// Takes a template apart; ends with the first error.
pub(super) fn pieces(source: &str) -> Vec<Result<Piece<'_>, String>> {
    let mut pieces = Vec::new();
    let mut text = String::new();
    let mut rest = source;
    while let Some(at) = rest.find(['{', '}']) {
        let (before, from_brace) = rest.split_at(at);
        text.push_str(before);
        if let Some(after) = from_brace.strip_prefix("{{").or_else(|| from_brace.strip_prefix("}}"))
        {
            text.push_str(from_brace.get(..1).unwrap_or_default());
            rest = after;
            continue;
        }
        let Some(opened) = from_brace.strip_prefix('{') else {
            let message = "'}' without '{' before it (a literal brace is written '}}')";
            pieces.push(Err(message.to_owned()));
            return pieces;
        };
        let Some((name, after)) = opened.split_once('}') else {
            let message = "'{' without '}' after it (a literal brace is written '{{')";
            pieces.push(Err(message.to_owned()));
            return pieces;
        };
        if !text.is_empty() {
            pieces.push(Ok(Piece::Text(std::mem::take(&mut text))));
        }
        pieces.push(Ok(Piece::Placeholder(name)));
        rest = after;
    }
    text.push_str(rest);
    if !text.is_empty() {
        pieces.push(Ok(Piece::Text(text)));
    }
    pieces
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Text(Box<str>),
    /// The n-th `+`, from 1.
    Plus(u16),
    Rest,
    Topic,
    Forwarder,
    Session,
    ReceivedUnixMs,
}

impl Part {
    pub(super) fn placeholder(name: &str) -> Result<Self, String> {
        Ok(match name {
            "#" => Self::Rest,
            "topic" => Self::Topic,
            "forwarder" => Self::Forwarder,
            "session" => Self::Session,
            "received_unix_ms" => Self::ReceivedUnixMs,
            number if !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) => {
                match number.parse() {
                    Ok(n) if n > 0 => Self::Plus(n),
                    _ => {
                        return Err(format!("{{{number}}} does not exist: '+' are counted from 1"));
                    }
                }
            }
            other => {
                return Err(format!(
                    "unknown placeholder {{{other}}}: allowed are {{1}}, {{2}} …, {{#}}, {{topic}}, \
                     {{forwarder}}, {{session}}, {{received_unix_ms}}"
                ));
            }
        })
    }
}

/// What to say of a `{n}` that a filter does not have.
pub(super) fn no_such_plus(n: u16, filter: &str) -> String {
    let count = filter.split('/').filter(|level| *level == "+").count();
    match count {
        0 => format!("{{{n}}} needs a '+' in the filter, and '{filter}' has none"),
        1 => format!("{{{n}}} does not exist: '{filter}' has only one '+'"),
        _ => format!("{{{n}}} does not exist: '{filter}' has only {count} '+'"),
    }
}

/// What to say of a `{#}` that a filter does not have.
pub(super) fn no_rest(filter: &str) -> String {
    format!("{{#}} needs a '#' in the filter, and '{filter}' has none")
}

/// The filter that decides what matches: without `$share/group/`.
pub(super) fn without_share(filter: &str) -> &str {
    mqttx_proto::split_shared(filter).map_or(filter, |shared| shared.filter)
}

/// The part of `topic` after its first `n` levels; empty when there is none.
pub(super) fn levels_from(topic: &str, n: u16) -> &str {
    let Some(before) = n.checked_sub(1) else { return topic };
    let mut slashes = topic.bytes().enumerate().filter(|(_, byte)| *byte == b'/');
    let slash = slashes.nth(before.into()).map(|(at, _)| at);
    slash.and_then(|at| topic.get(at + 1..)).unwrap_or_default()
}

pub(super) fn plus_level(filter: &str, n: u16) -> Option<u16> {
    let mut levels = filter.split('/').enumerate().filter(|(_, level)| *level == "+");
    let (index, _) = levels.nth(usize::from(n) - 1)?;
    u16::try_from(index).ok()
}

pub(super) fn rest_level(filter: &str) -> Option<u16> {
    let index = filter.split('/').position(|level| level == "#")?;
    u16::try_from(index).ok()
}

/// Takes the slash that ends the text so far, for a `{#}` that writes it only when it has something to say.
fn take_slash(parts: &mut Vec<BoundPart>) -> bool {
    let Some(BoundPart::Text(text)) = parts.last_mut() else { return false };
    let Some(shorter) = text.strip_suffix('/') else { return false };
    if shorter.is_empty() {
        parts.pop();
    } else {
        *text = shorter.into();
    }
    true
}

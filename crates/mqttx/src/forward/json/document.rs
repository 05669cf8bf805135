//! A JSON text that is changed along pointers. Only what lies on the way to a change is taken apart.

use std::borrow::Cow;
use std::fmt::{self, Write as _};

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::pointer::{Pointer, index};
use super::read::not_json;

/// The text in pieces.
#[derive(Debug)]
pub(in crate::forward) struct Document<'a> {
    root: Node<'a>,
    changed: bool,
}

#[derive(Debug)]
enum Node<'a> {
    /// As it stood in the text.
    Raw(&'a str),
    /// New.
    New(String),
    Object(Vec<(Cow<'a, str>, Self)>),
    Array(Vec<Self>),
}

impl<'a> Document<'a> {
    /// # Errors
    /// The text is not JSON.
    pub(in crate::forward) fn parse(text: &'a str) -> Result<Self, String> {
        let raw: &RawValue = serde_json::from_str(text).map_err(|error| not_json(&error))?;
        Ok(Self { root: Node::Raw(raw.get()), changed: false })
    }

    /// Whether it is an object, which can have members.
    pub(in crate::forward) fn is_object(&self) -> bool {
        match &self.root {
            Node::Raw(raw) => raw.starts_with('{'),
            Node::New(text) => text.starts_with('{'),
            Node::Object(_) => true,
            Node::Array(_) => false,
        }
    }

    /// Puts `json` where the pointer points, in the place of what is there. Objects that are missing on the way
    /// are created; `-`, or the number of elements, adds to an array.
    ///
    /// # Errors
    /// Something that is neither object nor array is in the way, or an array has too few elements.
    pub(in crate::forward) fn set(
        &mut self,
        pointer: &Pointer,
        json: String,
    ) -> Result<(), String> {
        let mut node = &mut self.root;
        for token in pointer.tokens() {
            node = node.opened().step_or_create(token, pointer)?;
        }
        *node = Node::New(json);
        self.changed = true;
        Ok(())
    }

    /// Takes out what the pointer points at; nothing happens if it is not there.
    pub(in crate::forward) fn remove(&mut self, pointer: &Pointer) {
        self.take(pointer);
    }

    /// Moves a value; nothing happens if it is not there.
    ///
    /// # Errors
    /// As for [`set`](Self::set).
    pub(in crate::forward) fn rename(
        &mut self,
        from: &Pointer,
        to: &Pointer,
    ) -> Result<(), String> {
        let Some(value) = self.take(from) else { return Ok(()) };
        let mut json = String::new();
        value.write(&mut json);
        self.set(to, json)
    }

    /// The whole text; `None` if nothing changed.
    pub(in crate::forward) fn into_changed(self) -> Option<String> {
        let mut out = String::new();
        self.changed.then(|| self.root.write(&mut out))?;
        Some(out)
    }

    fn take(&mut self, pointer: &Pointer) -> Option<Node<'a>> {
        let (last, way) = pointer.tokens().split_last()?;
        let mut node = &mut self.root;
        for token in way {
            node = node.opened().step(token)?;
        }
        let value = match node.opened() {
            Node::Object(members) => {
                let at = members.iter().rposition(|(key, _)| **key == **last)?;
                let (_, value) = members.remove(at);
                // Of a key that stands twice the last one counted.
                members.retain(|(key, _)| **key != **last);
                value
            }
            Node::Array(elements) => {
                let at = index(last).filter(|at| *at < elements.len())?;
                elements.remove(at)
            }
            Node::Raw(_) | Node::New(_) => return None,
        };
        self.changed = true;
        Some(value)
    }
}

impl<'a> Node<'a> {
    /// The node, taken apart if it is an object or an array.
    fn opened(&mut self) -> &mut Self {
        let parts = match self {
            Self::Raw(raw) => open(raw),
            Self::New(text) => open(text).map(Node::into_owned),
            Self::Object(_) | Self::Array(_) => None,
        };
        if let Some(parts) = parts {
            *self = parts;
        }
        self
    }

    fn into_owned<'b>(self) -> Node<'b> {
        match self {
            Self::Raw(raw) => Node::New(raw.to_owned()),
            Self::New(text) => Node::New(text),
            Self::Object(members) => {
                let owned = members.into_iter();
                let owned =
                    owned.map(|(key, node)| (Cow::Owned(key.into_owned()), node.into_owned()));
                Node::Object(owned.collect())
            }
            Self::Array(elements) => {
                Node::Array(elements.into_iter().map(Node::into_owned).collect())
            }
        }
    }

    fn step(&mut self, token: &str) -> Option<&mut Self> {
        match self {
            Self::Object(members) => {
                members.iter_mut().rfind(|(key, _)| *key == token).map(|(_, node)| node)
            }
            Self::Array(elements) => elements.get_mut(index(token)?),
            Self::Raw(_) | Self::New(_) => None,
        }
    }

    fn step_or_create(&mut self, token: &str, pointer: &Pointer) -> Result<&mut Self, String> {
        match self {
            Self::Object(members) => {
                let at = members.iter().rposition(|(key, _)| *key == token).unwrap_or_else(|| {
                    members.push((Cow::Owned(token.to_owned()), Self::Object(Vec::new())));
                    members.len() - 1
                });
                members.get_mut(at).map(|(_, node)| node).ok_or_else(String::new)
            }
            Self::Array(elements) => {
                let count = elements.len();
                let at = if token == "-" { Some(count) } else { index(token) };
                let Some(at) = at.filter(|at| *at <= count) else {
                    return Err(format!(
                        "{pointer}: the array has {count} elements, and '{token}' is none of them"
                    ));
                };
                if at == count {
                    elements.push(Self::Object(Vec::new()));
                }
                elements.get_mut(at).ok_or_else(String::new)
            }
            Self::Raw(_) | Self::New(_) => {
                Err(format!("{pointer}: what stands before '{token}' is neither object nor array"))
            }
        }
    }

    fn write(&self, out: &mut String) {
        match self {
            Self::Raw(raw) => out.push_str(raw),
            Self::New(text) => out.push_str(text),
            Self::Object(members) => {
                out.push('{');
                for (n, (key, value)) in members.iter().enumerate() {
                    if n > 0 {
                        out.push(',');
                    }
                    quote(key, out);
                    out.push(':');
                    value.write(out);
                }
                out.push('}');
            }
            Self::Array(elements) => {
                out.push('[');
                for (n, element) in elements.iter().enumerate() {
                    if n > 0 {
                        out.push(',');
                    }
                    element.write(out);
                }
                out.push(']');
            }
        }
    }
}

/// Appends a JSON string.
pub(super) fn quote(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c < ' ' => {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// The members or elements of a text that is known to be JSON.
fn open(text: &str) -> Option<Node<'_>> {
    let mut reader = serde_json::Deserializer::from_str(text);
    match text.as_bytes().first() {
        Some(b'{') => reader.deserialize_map(Members).ok(),
        Some(b'[') => reader.deserialize_seq(Elements).ok(),
        _ => None,
    }
}

/// A key, borrowed unless it has escapes.
pub(super) struct Key<'a>(pub(super) Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Key<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(KeyText).map(Self)
    }
}

struct KeyText;

impl<'de> Visitor<'de> for KeyText {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(key))
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(key.to_owned()))
    }
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Node<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some((key, raw)) = map.next_entry::<Key<'de>, &RawValue>()? {
            members.push((key.0, Node::Raw(raw.get())));
        }
        Ok(Node::Object(members))
    }
}

struct Elements;

impl<'de> Visitor<'de> for Elements {
    type Value = Node<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut elements = Vec::new();
        while let Some(raw) = seq.next_element::<&RawValue>()? {
            elements.push(Node::Raw(raw.get()));
        }
        Ok(Node::Array(elements))
    }
}

#[cfg(test)]
#[path = "document_tests.rs"]
mod tests;

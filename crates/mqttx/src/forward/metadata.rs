//! What a forwarder says of a message in the message itself.

use bytes::Bytes;

use super::fault::RuleError;
use super::json::{self, Document, Pointer, ValueTemplate};
use super::text::RuleContext;

/// One entry.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    name: Box<str>,
    member: Pointer,
    value: ValueTemplate,
}

/// The entries of one message.
#[derive(Debug)]
pub(super) struct Rendered {
    /// By their order in the rules: the value as text, and as JSON.
    values: Vec<(String, String)>,
}

impl Entry {
    pub(super) fn new(name: &str, value: impl serde::Serialize) -> Result<Self, RuleError> {
        if name.is_empty() || name.len() > usize::from(u16::MAX) || name.contains('\0') {
            return Err(RuleError::new(name, "a name has 1 to 65535 bytes and no NUL"));
        }
        let value = serde_json::to_value(value).map_err(|e| RuleError::new(name, e.to_string()))?;
        let template =
            ValueTemplate::parse(&value).map_err(|m| RuleError::new(&text_of(&value), m))?;
        let member = format!("/{}", name.replace('~', "~0").replace('/', "~1"));
        let member = Pointer::parse(&member).map_err(|m| RuleError::new(name, m))?;
        Ok(Self { name: name.into(), member, value: template })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Whether the captures exist in a filter.
    pub(super) fn check(&self, filter: &str) -> Result<(), String> {
        self.value.check(filter)
    }
}

/// A value as it was written.
fn text_of(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Fills the entries in for a message.
///
/// # Errors
/// A placeholder cannot be filled in.
pub(super) fn render(entries: &[Entry], cx: &RuleContext<'_>) -> Result<Rendered, String> {
    let mut values = Vec::with_capacity(entries.len());
    for entry in entries {
        let (mut text, mut json) = (String::new(), String::new());
        entry.value.write_text(cx, &mut text)?;
        entry.value.write(cx, &mut json)?;
        values.push((text, json));
    }
    Ok(Rendered { values })
}

impl Rendered {
    /// As user properties.
    pub(super) fn properties<'a>(
        &'a self,
        entries: &'a [Entry],
    ) -> impl Iterator<Item = (&'a str, &'a str)> {
        entries.iter().zip(&self.values).map(|(entry, (text, _))| (&*entry.name, &**text))
    }

    /// As members of a JSON object, in the place of those that have their names; `None`: the payload is no object.
    pub(super) fn merged(&self, entries: &[Entry], payload: &[u8]) -> Option<Bytes> {
        let mut document = Document::parse(json::text_of(payload).ok()?).ok()?;
        if !document.is_object() {
            return None;
        }
        for (entry, (_, json)) in entries.iter().zip(&self.values) {
            document.set(&entry.member, json.clone()).ok()?;
        }
        document.into_changed().map(Bytes::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forward::transform::tests::context;

    fn rendered() -> (Vec<Entry>, Rendered) {
        let entries = vec![
            Entry::new("forwarded_by", "{forwarder}").unwrap(),
            Entry::new("source/topic", "{topic}").unwrap(),
            Entry::new("n", 5).unwrap(),
        ];
        let rendered = render(&entries, &context("a/+", "a/\"b\"", b"")).unwrap();
        (entries, rendered)
    }

    #[test]
    fn entries_become_user_properties() {
        let (entries, rendered) = rendered();
        let pairs: Vec<_> = rendered.properties(&entries).collect();
        assert_eq!(pairs, [("forwarded_by", "fw"), ("source/topic", "a/\"b\""), ("n", "5")]);
    }

    #[test]
    fn entries_become_members_of_an_object_and_of_nothing_else() {
        let (entries, rendered) = rendered();
        let merged = rendered.merged(&entries, b"{\"t\": 1.50, \"n\": 1}").unwrap();
        assert_eq!(merged, r#"{"t":1.50,"n":5,"forwarded_by":"fw","source/topic":"a/\"b\""}"#);
        for other in [&b"[1]"[..], b"21.5", b"hello", b"", b"\xff"] {
            assert_eq!(rendered.merged(&entries, other), None);
        }
    }

    #[test]
    fn names_and_values_are_checked() {
        assert!(Entry::new("", "x").is_err());
        assert!(Entry::new("a\0", "x").is_err());
        assert!(Entry::new("a", "{x}").is_err());
        assert!(Entry::new("a", "{1}").unwrap().check("b").is_err());
    }
}

//! Changes along pointers into a JSON payload.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::forward::fault::{RuleError, RuleFailure};
use crate::forward::json::{self, Document, Pointer, ValueTemplate};
use crate::forward::text::RuleContext;
use crate::message::Publish;

#[derive(Clone)]
pub(super) enum Edit {
    Set(Pointer, Arc<ValueTemplate>),
    Rename(Pointer, Pointer),
    Remove(Pointer),
}

impl Edit {
    pub(super) fn set(pointer: &str, value: impl serde::Serialize) -> Result<Self, RuleError> {
        let value =
            serde_json::to_value(value).map_err(|e| RuleError::new(pointer, e.to_string()))?;
        let template = ValueTemplate::parse(&value)
            .map_err(|message| RuleError::new(&value.to_string(), message))?;
        Ok(Self::Set(parse(pointer)?, Arc::new(template)))
    }

    pub(super) fn rename(from: &str, to: &str) -> Result<Self, RuleError> {
        Ok(Self::Rename(parse_part(from)?, parse(to)?))
    }

    pub(super) fn remove(pointer: &str) -> Result<Self, RuleError> {
        Ok(Self::Remove(parse_part(pointer)?))
    }

    pub(super) fn check(&self, filter: &str) -> Result<(), RuleError> {
        match self {
            Self::Set(pointer, value) => {
                value.check(filter).map_err(|message| RuleError::new(&pointer.to_string(), message))
            }
            Self::Rename(..) | Self::Remove(_) => Ok(()),
        }
    }

    fn change(&self, cx: &RuleContext<'_>, document: &mut Document<'_>) -> Result<(), String> {
        match self {
            Self::Set(pointer, value) => {
                let mut json = String::new();
                value.write(cx, &mut json)?;
                document.set(pointer, json)
            }
            Self::Rename(from, to) => document.rename(from, to),
            Self::Remove(pointer) => {
                document.remove(pointer);
                Ok(())
            }
        }
    }
}

impl fmt::Debug for Edit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Set(pointer, _) => write!(f, "set {pointer}"),
            Self::Rename(from, to) => write!(f, "rename {from} to {to}"),
            Self::Remove(pointer) => write!(f, "remove {pointer}"),
        }
    }
}

/// Several changes of one payload.
pub(super) fn apply<'e>(
    edits: impl Iterator<Item = &'e Edit>,
    cx: &RuleContext<'_>,
    message: &mut Publish,
) -> Result<(), RuleFailure> {
    let changed = {
        let mut document = Document::parse(json::text_of(&message.payload)?)?;
        for edit in edits {
            edit.change(cx, &mut document)?;
        }
        document.into_changed()
    };
    if let Some(changed) = changed {
        message.payload = Bytes::from(changed);
    }
    Ok(())
}

fn parse(pointer: &str) -> Result<Pointer, RuleError> {
    Pointer::parse(pointer).map_err(|message| RuleError::new(pointer, message))
}

fn parse_part(pointer: &str) -> Result<Pointer, RuleError> {
    let parsed = parse(pointer)?;
    if parsed.is_root() {
        return Err(RuleError::new(pointer, "the whole document cannot be taken away"));
    }
    Ok(parsed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forward::transform::tests::context;

    fn change(edits: &[Edit], payload: &str) -> Result<String, String> {
        let cx = context("line/+/+", "line/4/\"7\"", b"");
        let mut message = Publish::new("t", payload.to_owned());
        apply(edits.iter(), &cx, &mut message).map_err(|failure| failure.message().to_owned())?;
        Ok(String::from_utf8(message.payload.to_vec()).unwrap())
    }

    #[test]
    fn values_of_every_kind_can_be_set() {
        let values =
            serde_json::json!({"s": "{2}", "n": 1, "a": [true, "x{1}"], "o": {"{1}": null}});
        let out = change(&[Edit::set("/v", &values).unwrap()], "{}").unwrap();
        let out: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(
            out["v"],
            serde_json::json!({"s": "\"7\"", "n": 1, "a": [true, "x4"], "o": {"{1}": null}})
        );
    }

    #[test]
    fn a_payload_that_is_not_json_is_a_failure_even_if_nothing_would_change() {
        let remove = [Edit::remove("/a").unwrap()];
        assert!(change(&remove, "hello").unwrap_err().starts_with("the payload is not JSON"));
        assert_eq!(change(&remove, "{\"b\": 1}").unwrap(), "{\"b\": 1}");
        assert_eq!(change(&remove, "[1]").unwrap(), "[1]");
    }

    #[test]
    fn what_cannot_be_done_is_a_failure_and_the_reason_names_the_place() {
        let set = [Edit::set("/a/b", 1).unwrap()];
        assert!(change(&set, "{\"a\":5}").unwrap_err().contains("/a/b"));
    }

    #[test]
    fn wrong_edits_are_refused() {
        assert!(Edit::set("a", 1).is_err());
        assert!(Edit::set("/a", "{x}").is_err());
        assert!(Edit::set("", 1).is_ok());
        assert!(Edit::rename("", "/a").is_err());
        assert!(Edit::rename("/a", "b").is_err());
        assert!(Edit::remove("").is_err());
    }
}

//! JSON values in whose strings something is filled in for each message.

use serde_json::Value;

use super::document::quote;
use crate::forward::text::{RuleContext, TextTemplate};

/// A value as it will be written.
#[derive(Clone, PartialEq, Debug)]
pub(in crate::forward) enum ValueTemplate {
    /// JSON that is the same for every message.
    Fixed(Box<str>),
    Text(TextTemplate),
    Array(Box<[Self]>),
    /// The keys are what they are.
    Object(Box<[(Box<str>, Self)]>),
}

impl ValueTemplate {
    /// # Errors
    /// A string in it is not a template.
    pub(in crate::forward) fn parse(value: &Value) -> Result<Self, String> {
        Ok(match value {
            Value::String(text) => {
                let template = TextTemplate::parse(text)?;
                match template.as_fixed() {
                    Some(fixed) => {
                        let mut json = String::new();
                        quote(fixed, &mut json);
                        Self::Fixed(json.into())
                    }
                    None => Self::Text(template),
                }
            }
            Value::Array(elements) => {
                Self::Array(elements.iter().map(Self::parse).collect::<Result<_, _>>()?)
            }
            Value::Object(members) => {
                let members = members.iter();
                let parsed =
                    members.map(|(key, value)| Ok((key.as_str().into(), Self::parse(value)?)));
                Self::Object(parsed.collect::<Result<_, String>>()?)
            }
            scalar => Self::Fixed(scalar.to_string().into()),
        })
    }

    /// Whether the captures in it exist in a filter.
    ///
    /// # Errors
    /// Names the first one that does not.
    pub(in crate::forward) fn check(&self, filter: &str) -> Result<(), String> {
        match self {
            Self::Fixed(_) => Ok(()),
            Self::Text(template) => template.check(filter),
            Self::Array(elements) => elements.iter().try_for_each(|value| value.check(filter)),
            Self::Object(members) => members.iter().try_for_each(|(_, value)| value.check(filter)),
        }
    }

    /// Appends the value as JSON.
    ///
    /// # Errors
    /// As for [`TextTemplate::render`].
    pub(in crate::forward) fn write(
        &self,
        cx: &RuleContext<'_>,
        out: &mut String,
    ) -> Result<(), String> {
        match self {
            Self::Fixed(json) => out.push_str(json),
            Self::Text(template) => {
                let mut text = String::new();
                template.render(cx, &mut text)?;
                quote(&text, out);
            }
            Self::Array(elements) => {
                out.push('[');
                for (n, element) in elements.iter().enumerate() {
                    if n > 0 {
                        out.push(',');
                    }
                    element.write(cx, out)?;
                }
                out.push(']');
            }
            Self::Object(members) => {
                out.push('{');
                for (n, (key, value)) in members.iter().enumerate() {
                    if n > 0 {
                        out.push(',');
                    }
                    quote(key, out);
                    out.push(':');
                    value.write(cx, out)?;
                }
                out.push('}');
            }
        }
        Ok(())
    }

    /// Appends the value as text: a string without quotes, anything else as JSON.
    ///
    /// # Errors
    /// As for [`TextTemplate::render`].
    pub(in crate::forward) fn write_text(
        &self,
        cx: &RuleContext<'_>,
        out: &mut String,
    ) -> Result<(), String> {
        match self {
            Self::Text(template) => template.render(cx, out),
            Self::Fixed(json) if json.starts_with('"') => {
                out.push_str(&serde_json::from_str::<String>(json).unwrap_or_default());
                Ok(())
            }
            other => other.write(cx, out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::time::Instant;

    fn cx() -> RuleContext<'static> {
        let received_at = Instant::now();
        RuleContext {
            topic: "a/\"b\"",
            filter: "a/+",
            forwarder: "fw",
            session: "s",
            received_at,
            payload: b"",
        }
    }

    fn written(value: &Value) -> String {
        let mut out = String::new();
        ValueTemplate::parse(value).unwrap().write(&cx(), &mut out).unwrap();
        out
    }

    #[test]
    fn strings_at_any_depth_are_filled_in() {
        let value = json!({"a": ["{1}", 1, 2.5, true, null], "{1}": {"b": "x{1}", "c": "{{}}"}});
        let out: Value = serde_json::from_str(&written(&value)).unwrap();
        assert_eq!(
            out,
            json!({"a": ["\"b\"", 1, 2.5, true, null], "{1}": {"b": "x\"b\"", "c": "{}"}})
        );
    }

    #[test]
    fn text_has_no_quotes() {
        for (value, text) in
            [(json!("a\n{1}"), "a\n\"b\""), (json!("é"), "é"), (json!(5), "5"), (json!([1]), "[1]")]
        {
            let mut out = String::new();
            ValueTemplate::parse(&value).unwrap().write_text(&cx(), &mut out).unwrap();
            assert_eq!(out, text);
        }
    }

    #[test]
    fn every_string_is_checked() {
        assert!(ValueTemplate::parse(&json!({"a": [{"b": "{x}"}]})).is_err());
        let value = ValueTemplate::parse(&json!({"a": [{"b": "{2}"}]})).unwrap();
        assert!(value.check("+/+").is_ok());
        assert!(value.check("+").is_err());
    }
}

//! By a value in a JSON payload.

use std::cmp::Ordering;
use std::fmt;

use serde_json::{Number, Value};

use crate::forward::fault::{RuleError, RuleFailure};
use crate::forward::json::{self, Pointer};
use crate::message::MessageView;

/// How a value of the payload is to compare with the one asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Compare {
    /// The same value.
    Equal,
    /// Another value; one that is not there is not another one.
    NotEqual,
    /// Smaller: a number, or a string.
    Less,
    /// Smaller or the same.
    LessOrEqual,
    /// Greater: a number, or a string.
    Greater,
    /// Greater or the same.
    GreaterOrEqual,
}

pub(super) struct JsonTest {
    pointer: Pointer,
    /// `None`: any value will do.
    wanted: Option<(Compare, Value)>,
}

impl JsonTest {
    pub(super) fn new(
        pointer: &str,
        compare: Compare,
        value: impl serde::Serialize,
    ) -> Result<Self, RuleError> {
        let value =
            serde_json::to_value(value).map_err(|e| RuleError::new(pointer, e.to_string()))?;
        Ok(Self { wanted: Some((compare, value)), ..Self::exists(pointer)? })
    }

    pub(super) fn exists(pointer: &str) -> Result<Self, RuleError> {
        let parsed = Pointer::parse(pointer).map_err(|message| RuleError::new(pointer, message))?;
        Ok(Self { pointer: parsed, wanted: None })
    }

    pub(super) fn matches(&self, message: &MessageView<'_>) -> Result<bool, RuleFailure> {
        let text = json::text_of(message.payload)?;
        let Some(raw) = json::find(text, &self.pointer)? else { return Ok(false) };
        let Some((compare, wanted)) = &self.wanted else { return Ok(true) };
        let found: Value = serde_json::from_str(raw)
            .map_err(|error| format!("the payload at '{}': {error}", self.pointer))?;
        Ok(compare.holds(&found, wanted))
    }
}

impl fmt::Debug for JsonTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.wanted {
            Some((compare, value)) => write!(f, "Json({} {compare:?} {value})", self.pointer),
            None => write!(f, "Json({})", self.pointer),
        }
    }
}

impl Compare {
    fn holds(self, found: &Value, wanted: &Value) -> bool {
        match self {
            Self::Equal => same(found, wanted),
            Self::NotEqual => !same(found, wanted),
            Self::Less => order(found, wanted).is_some_and(Ordering::is_lt),
            Self::LessOrEqual => order(found, wanted).is_some_and(Ordering::is_le),
            Self::Greater => order(found, wanted).is_some_and(Ordering::is_gt),
            Self::GreaterOrEqual => order(found, wanted).is_some_and(Ordering::is_ge),
        }
    }
}

fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => number_order(a, b) == Some(Ordering::Equal),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
        }
        (a, b) => a == b,
    }
}

fn order(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => number_order(a, b),
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        _ => None,
    }
}

/// Whole numbers exactly; what no integer type holds, as floating point.
fn number_order(a: &Number, b: &Number) -> Option<Ordering> {
    match (a.as_i128(), b.as_i128()) {
        (Some(a), Some(b)) => Some(a.cmp(&b)),
        _ => a.as_f64()?.partial_cmp(&b.as_f64()?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forward::filter::tests::message;
    use serde_json::json;

    fn ask(payload: &str, pointer: &str, compare: Compare, value: Value) -> bool {
        let test = JsonTest::new(pointer, compare, value).unwrap();
        test.matches(&message("t", payload.as_bytes())).unwrap()
    }

    #[test]
    fn numbers_and_strings_have_an_order() {
        use Compare::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual, NotEqual};
        let doc = r#"{"t": 31, "f": 30.5, "s": "m", "big": 18446744073709551615, "n": null}"#;
        for (pointer, compare, value, expected) in [
            ("/t", Greater, json!(30), true),
            ("/t", Greater, json!(31.0), false),
            ("/t", GreaterOrEqual, json!(31.0), true),
            ("/t", Equal, json!(31.0), true),
            ("/t", NotEqual, json!(31), false),
            ("/f", Less, json!(31), true),
            ("/f", LessOrEqual, json!(30), false),
            ("/big", Greater, json!(18_446_744_073_709_551_614_u64), true),
            ("/s", Less, json!("n"), true),
            ("/s", Greater, json!(1), false),
            ("/s", NotEqual, json!(1), true),
            ("/n", Equal, Value::Null, true),
        ] {
            assert_eq!(
                ask(doc, pointer, compare, value.clone()),
                expected,
                "{pointer} {compare:?} {value}"
            );
        }
        assert!(ask(r#"{"a": [1, {"b": 2.0}]}"#, "/a", Equal, json!([1.0, {"b": 2}])));
    }

    #[test]
    fn what_is_not_there_matches_nothing() {
        assert!(!ask("{}", "/a", Compare::NotEqual, json!(1)));
        assert!(!ask("{}", "/a", Compare::Equal, Value::Null));
        let exists = JsonTest::exists("/a").unwrap();
        assert_eq!(exists.matches(&message("t", br#"{"a":null}"#)), Ok(true));
        assert_eq!(exists.matches(&message("t", b"{}")), Ok(false));
    }

    #[test]
    fn a_payload_that_is_not_json_is_a_failure() {
        let test = JsonTest::exists("/a").unwrap();
        for payload in [&b""[..], b"hello", b"\xff", b"{"] {
            let failure = test.matches(&message("t", payload)).unwrap_err();
            assert!(failure.message().contains("not JSON"), "{failure}");
        }
        assert!(JsonTest::exists("a").is_err());
    }

    #[test]
    fn deep_values_are_a_failure_and_no_overflow() {
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        let test = JsonTest::new("/a", Compare::Equal, 1).unwrap();
        assert!(test.matches(&message("t", deep.as_bytes())).is_err());
    }
}

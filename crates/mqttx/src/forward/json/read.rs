//! Finding a value without reading the rest.

use std::fmt;

use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::MAX_BYTES;
use super::pointer::{Pointer, index};

/// A payload as text that may be JSON.
///
/// # Errors
/// It is too large, or not UTF-8.
pub(in crate::forward) fn text_of(payload: &[u8]) -> Result<&str, String> {
    if payload.len() > MAX_BYTES {
        return Err(format!(
            "the payload of {} bytes is too large to be read as JSON: {MAX_BYTES} are allowed",
            payload.len()
        ));
    }
    std::str::from_utf8(payload).map_err(|error| format!("the payload is not JSON: {error}"))
}

/// The value that the pointer names, as it stands in the text. Of a key that stands twice the last one counts.
///
/// # Errors
/// The text is not JSON, anywhere.
pub(in crate::forward) fn find<'a>(
    text: &'a str,
    pointer: &Pointer,
) -> Result<Option<&'a str>, String> {
    let whole: &RawValue = serde_json::from_str(text).map_err(|error| not_json(&error))?;
    let mut at = whole.get();
    for token in pointer.tokens() {
        let mut reader = serde_json::Deserializer::from_str(at);
        let found = match at.as_bytes().first() {
            Some(b'{') => reader.deserialize_map(Member(token)),
            Some(b'[') => match index(token) {
                Some(index) => reader.deserialize_seq(Element(index)),
                None => return Ok(None),
            },
            _ => return Ok(None),
        };
        match found.map_err(|error| not_json(&error))? {
            Some(raw) => at = raw.get(),
            None => return Ok(None),
        }
    }
    Ok(Some(at))
}

pub(super) fn not_json(error: &serde_json::Error) -> String {
    format!("the payload is not JSON: {error}")
}

struct Member<'k>(&'k str);

impl<'de> Visitor<'de> for Member<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(key) = map.next_key::<super::document::Key<'de>>()? {
            if key.0 == self.0 {
                found = Some(map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

struct Element(usize);

impl<'de> Visitor<'de> for Element {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        let mut at = 0_usize;
        loop {
            if at == self.0 {
                match seq.next_element()? {
                    Some(value) => found = Some(value),
                    None => return Ok(None),
                }
            } else if seq.next_element::<IgnoredAny>()?.is_none() {
                return Ok(found);
            }
            at = at.checked_add(1).ok_or_else(|| A::Error::custom("too many elements"))?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DOC: &str = r#" {"foo": ["bar", 2.50], "": 0, "a/b": 1, "m~n": {"x": null}, "x\u0061": 1, "d": 1, "d": 2} "#;

    fn at(pointer: &str) -> Option<&'static str> {
        find(DOC, &Pointer::parse(pointer).unwrap()).unwrap()
    }

    #[test]
    fn values_are_found_as_they_stand_there() {
        assert_eq!(at(""), Some(DOC.trim()));
        assert_eq!(at("/foo"), Some(r#"["bar", 2.50]"#));
        assert_eq!(at("/foo/1"), Some("2.50"));
        assert_eq!(at("/"), Some("0"));
        assert_eq!(at("/a~1b"), Some("1"));
        assert_eq!(at("/m~0n/x"), Some("null"));
        assert_eq!(at("/xa"), Some("1"), "an escaped key");
        assert_eq!(at("/d"), Some("2"), "the last one");
    }

    #[test]
    fn what_is_not_there_is_not_found() {
        for missing in ["/bar", "/foo/2", "/foo/-", "/foo/bar", "/foo/0/1", "/m~0n/x/y"] {
            assert_eq!(at(missing), None, "{missing}");
        }
    }

    #[test]
    fn the_whole_text_must_be_json() {
        let pointer = Pointer::parse("/a").unwrap();
        for wrong in ["", "{", "{\"a\":1}x", "{\"a\":1,\"b\":}", "[1,]", "nul", "\u{feff}{}"] {
            let error = find(wrong, &pointer).unwrap_err();
            assert!(error.starts_with("the payload is not JSON"), "{wrong}: {error}");
        }
        assert!(text_of(b"\xff").unwrap_err().contains("not JSON"));
    }

    #[test]
    fn a_payload_beyond_the_limit_is_not_read() {
        assert!(text_of(&vec![b' '; MAX_BYTES]).is_ok());
        assert!(text_of(&vec![b' '; MAX_BYTES + 1]).unwrap_err().contains("too large"));
    }

    #[test]
    fn depth_takes_no_stack() {
        let deep = "[".repeat(200_000) + &"]".repeat(200_000);
        assert!(find(&deep, &Pointer::parse("/0/0").unwrap()).unwrap().is_some());
    }

    proptest! {
        #[test]
        fn it_finds_what_a_tree_finds(text in r#"(\{|\}|\[|\]|,|:|"a"|"b"|1|null| ){0,24}"#, p in "(/(a|b|0|1)){0,3}") {
            let pointer = Pointer::parse(&p).unwrap();
            let tree: Result<serde_json::Value, _> = serde_json::from_str(&text);
            let found = find(&text, &pointer);
            prop_assert_eq!(tree.is_ok(), found.is_ok());
            if let (Ok(tree), Ok(found)) = (tree, found) {
                let found = found.map(|raw| serde_json::from_str(raw).unwrap());
                prop_assert_eq!(tree.pointer(&p), found.as_ref());
            }
        }
    }
}

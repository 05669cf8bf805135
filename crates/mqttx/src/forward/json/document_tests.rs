use super::*;
use proptest::prelude::*;

fn pointer(text: &str) -> Pointer {
    Pointer::parse(text).unwrap()
}

/// The text, changed or not.
fn text_of(document: Document<'_>, text: &str) -> String {
    document.into_changed().unwrap_or_else(|| text.to_owned())
}

fn set(text: &str, at: &str, json: &str) -> Result<String, String> {
    let mut document = Document::parse(text)?;
    document.set(&pointer(at), json.to_owned())?;
    Ok(text_of(document, text))
}

fn removed(text: &str, at: &str) -> String {
    let mut document = Document::parse(text).unwrap();
    document.remove(&pointer(at));
    text_of(document, text)
}

fn renamed(text: &str, from: &str, to: &str) -> Result<String, String> {
    let mut document = Document::parse(text)?;
    document.rename(&pointer(from), &pointer(to))?;
    Ok(text_of(document, text))
}

#[test]
fn set_replaces_adds_and_creates_what_is_missing() {
    assert_eq!(set(r#"{"a":1}"#, "/a", "2").unwrap(), r#"{"a":2}"#);
    assert_eq!(set(r#"{"a":1}"#, "/b", "\"x\"").unwrap(), r#"{"a":1,"b":"x"}"#);
    assert_eq!(set("{}", "/a/b/c", "1").unwrap(), r#"{"a":{"b":{"c":1}}}"#);
    assert_eq!(set("[1,2]", "/0", "9").unwrap(), "[9,2]");
    assert_eq!(set("[1,2]", "/-", "9").unwrap(), "[1,2,9]");
    assert_eq!(set("[1,2]", "/2/x", "9").unwrap(), r#"[1,2,{"x":9}]"#);
    assert_eq!(set("[1,2]", "", "null").unwrap(), "null");
    assert_eq!(set(r#"{"a":1,"a":2}"#, "/a", "3").unwrap(), r#"{"a":1,"a":3}"#);
}

#[test]
fn set_destroys_nothing_on_its_way() {
    let error = set(r#"{"a":5}"#, "/a/b", "1").unwrap_err();
    assert!(error.contains("/a/b") && error.contains("neither object nor array"), "{error}");
    assert!(set("[1]", "/3", "1").unwrap_err().contains("has 1 elements"));
    assert!(set("[1]", "/x", "1").is_err());
    assert!(set("5", "/x", "1").is_err());
}

#[test]
fn remove_takes_out_and_minds_nothing_missing() {
    assert_eq!(removed(r#"{"a":1,"b":2}"#, "/a"), r#"{"b":2}"#);
    assert_eq!(removed(r#"{"a":1,"b":2,"a":3}"#, "/a"), r#"{"b":2}"#);
    assert_eq!(removed("[1,2,3]", "/1"), "[1,3]");
    for missing in ["/x", "/a/b", "/b/5", "/b/-"] {
        assert_eq!(removed(r#"{"a":1,"b":[2]}"#, missing), r#"{"a":1,"b":[2]}"#, "{missing}");
    }
}

#[test]
fn rename_moves_and_minds_nothing_missing() {
    assert_eq!(renamed(r#"{"t":1.50}"#, "/t", "/temp").unwrap(), r#"{"temp":1.50}"#);
    assert_eq!(renamed(r#"{"t":1}"#, "/t", "/t/u").unwrap(), r#"{"t":{"u":1}}"#);
    assert_eq!(renamed(r#"{"t":[{"x": 1}]}"#, "/t/0", "/y").unwrap(), r#"{"t":[],"y":{"x": 1}}"#);
    assert_eq!(renamed(r#"{"t": 1}"#, "/x", "/y").unwrap(), r#"{"t": 1}"#);
    assert!(renamed(r#"{"t":1,"u":2}"#, "/t", "/u/v").is_err());
}

#[test]
fn what_is_not_on_the_way_stays_byte_for_byte() {
    let text =
        r#"{"n": 12345678901234567890123, "f": 1.50e+2, "s": "\u00e9\/", "o": { "x" : [ 1 ] }}"#;
    let expected =
        r#"{"n":12345678901234567890123,"f":1.50e+2,"s":"\u00e9\/","o":{ "x" : [ 1 ] },"z":1}"#;
    assert_eq!(set(text, "/z", "1").unwrap(), expected);
}

#[test]
fn new_values_are_taken_apart_like_old_ones() {
    let mut document = Document::parse("{}").unwrap();
    document.set(&pointer("/a"), r#"{"b":[1,2]}"#.to_owned()).unwrap();
    document.set(&pointer("/a/b/0"), "7".to_owned()).unwrap();
    document.remove(&pointer("/a/b/1"));
    assert_eq!(document.into_changed().unwrap(), r#"{"a":{"b":[7]}}"#);
}

#[test]
fn keys_are_escaped() {
    let text = set("{}", "/q\"\\\n\u{1}é", "1").unwrap();
    assert_eq!(text, "{\"q\\\"\\\\\\n\\u0001é\":1}");
    let tree: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(tree["q\"\\\n\u{1}é"], 1);
}

#[test]
fn only_objects_can_have_members() {
    for (text, is) in [("{}", true), (" {\"a\":1}", true), ("[]", false), ("1", false)] {
        assert_eq!(Document::parse(text).unwrap().is_object(), is, "{text}");
    }
}

proptest! {
    #[test]
    fn a_changed_document_is_json_and_what_was_set_is_there(
        text in r#"(\{"a":|\{"b":|\[|1|null|"x"|\}|\]|,"a":2|,3){0,16}"#,
        at in "(/(a|b|0|-|c)){0,4}",
        from in "(/(a|b|0)){1,3}",
    ) {
        let Ok(mut document) = Document::parse(&text) else { return Ok(()) };
        document.remove(&pointer(&from));
        let moved = document.rename(&pointer(&from), &pointer(&at));
        prop_assert!(moved.is_ok(), "there is nothing to move");
        let was_set = document.set(&pointer(&at), "42".to_owned());
        let out = text_of(document, &text);
        let tree: serde_json::Value = serde_json::from_str(&out).unwrap();
        if was_set.is_ok() && !at.contains('-') {
            prop_assert_eq!(tree.pointer(&at), Some(&serde_json::json!(42)));
        }
    }
}

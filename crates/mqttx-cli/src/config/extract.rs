//! From a table to a struct, with every problem on the way.

use std::ops::Range;

use mqttx::{ConfigErrors, ConfigProblem, PropertyContext, PropertyId};
use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::hide;
use super::layout::Part;
use super::near;
use super::report::Report;

/// Reads a table into a struct. What cannot be read is reported and taken out of the table until the rest
/// can; `None` when even that fails.
pub(super) fn extract<T: DeserializeOwned>(
    part: &mut Part<'_>,
    report: &mut Report<'_>,
) -> Option<T> {
    extract_beside(part, &[], report)
}

/// [`extract`] for a struct beside which the table has further keys, which were taken out before.
pub(super) fn extract_beside<T: DeserializeOwned>(
    part: &mut Part<'_>,
    further: &[&str],
    report: &mut Report<'_>,
) -> Option<T> {
    loop {
        let table = Spanned::new(part.span.clone(), part.table.clone());
        let error = match T::deserialize(toml::de::Deserializer::from(table)) {
            Ok(value) => return Some(value),
            Err(error) => error,
        };
        let span = error.span().unwrap_or_else(|| part.span.clone());
        let removed = remove(&mut part.table, &span);
        let hidden = part.taken.contains(&span) || removed.as_deref().is_some_and(is_secret);
        report.add(part.file, &span, describe(error.message(), further, hidden));
        removed?;
    }
}

/// Reports what the library's builders find, at the values that they name.
///
/// `whole` is the table as it stands in the file, `readable` what could be read of it: a value that is
/// missing because it was reported already is not reported again.
pub(super) fn report_problems(
    group: &str,
    whole: &Part<'_>,
    readable: &Part<'_>,
    errors: &ConfigErrors,
    report: &mut Report<'_>,
) {
    report_some(group, whole, readable, errors.problems().iter(), report);
}

/// [`report_problems`] for some of them.
pub(super) fn report_some<'e>(
    group: &str,
    whole: &Part<'_>,
    readable: &Part<'_>,
    problems: impl Iterator<Item = &'e ConfigProblem>,
    report: &mut Report<'_>,
) {
    for problem in problems {
        let field = problem.field.as_str();
        if !walk(readable, field).1 && walk(whole, field).1 {
            continue;
        }
        let place = place_of(readable, field);
        let value = if readable.taken.contains(&place) { "***" } else { &problem.value };
        let name = &whole.name;
        let message = format!("{group}.{name}.{field} = {value}: {}", problem.message);
        report.add(whole.file, &place, message);
    }
}

/// The place of a value by its path, as `to[0].map["a/+"]`; of the nearest table around it when the value
/// is not there.
pub(super) fn place_of(part: &Part<'_>, path: &str) -> Range<usize> {
    walk(part, path).0
}

/// Whether the value itself is there.
pub(super) fn stands(part: &Part<'_>, path: &str) -> bool {
    walk(part, path).1
}

/// The nearest place, and whether it is the value itself.
fn walk(part: &Part<'_>, path: &str) -> (Range<usize>, bool) {
    let mut place = part.key.clone();
    let mut table = Some(&part.table);
    let mut array: Option<&DeArray<'_>> = None;
    let mut rest = path;
    while !rest.is_empty() {
        let value;
        (value, rest) = if let Some(quoted) = rest.strip_prefix("[\"") {
            let (key, after) = quoted.split_once("\"]").unwrap_or((quoted, ""));
            (table.and_then(|table| table.get(key)), after)
        } else if let Some(opened) = rest.strip_prefix('[') {
            let (index, after) = opened.split_once(']').unwrap_or((opened, ""));
            let index = index.parse::<usize>().ok();
            (array.zip(index).and_then(|(array, index)| array.get(index)), after)
        } else {
            let name = rest.strip_prefix('.').unwrap_or(rest);
            let (key, after) = name.split_at(name.find(['.', '[']).unwrap_or(name.len()));
            (table.and_then(|table| table.get(key)), after)
        };
        let Some(value) = value else { return (place, false) };
        place = value.span();
        table = value.get_ref().as_table();
        array = value.get_ref().as_array();
    }
    (place, true)
}

/// Takes out what an error points at and returns the keys that lead to it.
fn remove(table: &mut DeTable<'_>, span: &Range<usize>) -> Option<String> {
    let hit = table.iter().find(|(key, value)| key.span() == *span || value.span() == *span);
    if let Some(key) = hit.map(|(key, _)| key.get_ref().to_string()) {
        table.remove(key.as_str());
        return Some(key);
    }
    for (key, value) in table.iter_mut() {
        if let Some(inside) = remove_inside(value, span) {
            return Some(format!("{}.{inside}", key.get_ref()));
        }
    }
    None
}

fn remove_inside(value: &mut Spanned<DeValue<'_>>, span: &Range<usize>) -> Option<String> {
    match value.get_mut() {
        DeValue::Table(table) => remove(table, span),
        DeValue::Array(array) => {
            let hit = array.iter().position(|element| element.span() == *span);
            if let Some(index) = hit {
                let others = array.iter().enumerate().filter(|(n, _)| *n != index);
                *array = others.map(|(_, element)| element.clone()).collect();
                return Some(String::new());
            }
            array.iter_mut().find_map(|element| remove_inside(element, span))
        }
        _ => None,
    }
}

/// Also the name of a file with a secret: where a value has the wrong type nobody knows what was meant by it.
fn is_secret(keys: &str) -> bool {
    let secret =
        |key: &str| hide::is_secret(key) || key.contains("password") || key.contains("token");
    keys == "auth" || keys.split('.').any(secret)
}

/// The deserializer's words in those of a person. `hidden`: the value must not be shown.
fn describe(message: &str, further: &[&str], hidden: bool) -> String {
    let mut names = message.split('`').skip(1).step_by(2);
    if message.starts_with("unknown field `") {
        let name = names.next().unwrap_or_default();
        return near::unknown("key", name, names.chain(further.iter().copied()));
    }
    if message.starts_with("unknown variant `") {
        let name = names.next().unwrap_or_default();
        return near::unknown("value", if hidden { "***" } else { name }, names);
    }
    if message.starts_with("missing field `") {
        return format!("the key '{}' is missing", names.next().unwrap_or_default());
    }
    if let Some(name) = message.strip_prefix("unknown property '") {
        let name = name.trim_end_matches('\'');
        let known = PropertyId::ALL.iter().filter(|id| id.allowed_in(PropertyContext::Will));
        return near::unknown("property", name, known.map(|id| id.name()));
    }
    if message == "invalid IP address syntax" {
        return "an IP address is expected, as 192.0.2.7 or 2001:db8::7".to_owned();
    }
    if message == "wanted string or table" {
        return "invalid type, expected a string".to_owned();
    }
    // A length is no secret.
    let hidden = hidden && !message.starts_with("invalid length ");
    match (message.split_once(", expected "), hidden) {
        (Some((wrong, expected)), false) => {
            format!("{}, expected {}", hide::without_credentials(wrong), plain(expected))
        }
        (None, false) => message.to_owned(),
        (Some((_, expected)), true) => {
            format!("invalid value '***', expected {}", plain(expected))
        }
        (None, true) => "invalid value '***'".to_owned(),
    }
}

/// What a type is called by who writes a file.
fn plain(expected: &str) -> &str {
    match expected {
        "u8" => "a number from 0 to 255",
        "u16" => "a number from 0 to 65535",
        "u32" | "u64" | "usize" | "i64" => "a number that is not negative",
        "a sequence" => "a list: [ … ]",
        "a map" => "a table: { … }",
        "a tuple of size 2" => "a pair of a name and a value",
        other if other.starts_with("struct ") => "a table: { … }",
        other => other,
    }
}

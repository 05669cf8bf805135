//! The configuration in effect as JSON: variables expanded, defaults of sessions put in, secrets left out.

use std::ops::Range;

use mqttx::{SessionOptions, Version};
use serde_json::{Map, Value, json};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::hide::{HIDDEN, is_secret, without_credentials};
use super::layout::{Layout, Part};
use super::sessions::{SessionEntry, with_defaults};

pub(super) fn value(layout: &Layout<'_>, sessions: &[SessionEntry]) -> Value {
    let empty = DeTable::new();
    let defaults = layout.session_defaults.as_ref().map_or(&empty, |part| &part.table);
    let default_taken = layout.session_defaults.as_ref().map_or(&[][..], |part| &part.taken);
    let mut all = Map::new();
    for (name, part) in [("daemon", &layout.daemon), ("http", &layout.http), ("log", &layout.log)] {
        if let Some(part) = part {
            all.insert(name.to_owned(), table(&part.table, &part.taken));
        }
    }
    for (group, parts) in [("stores", &layout.stores), ("forwarders", &layout.forwarders)] {
        let tables = parts.iter().map(|part| (part.name.clone(), table(&part.table, &part.taken)));
        all.insert(group.to_owned(), tables.collect());
    }
    for (group, parts) in [("sessions", &layout.sessions), ("fleets", &layout.fleets)] {
        let tables = parts.iter().map(|part| {
            let mut entries = sessions.iter().filter(|entry| entry.is_of(part, group == "fleets"));
            let options = entries.find_map(|entry| entry.options.as_ref());
            (part.name.clone(), session(part, defaults, default_taken, options))
        });
        all.insert(group.to_owned(), tables.collect());
    }
    Value::Object(all)
}

/// A session with the defaults of the file, and those of the library that are asked for most.
fn session(
    part: &Part<'_>,
    defaults: &DeTable<'_>,
    default_taken: &[Range<usize>],
    options: Option<&SessionOptions>,
) -> Value {
    let version = options.map_or(Version::V5, |options| options.protocol);
    let merged = with_defaults(&part.table, defaults, version);
    let taken: Vec<Range<usize>> = part.taken.iter().chain(default_taken).cloned().collect();
    let mut value = table(&merged, &taken);
    if let (Some(options), Some(shown)) = (options, value.as_object_mut()) {
        let seconds = |time: std::time::Duration| format!("{}s", time.as_secs_f64());
        let protocol = if version == Version::V311 { "3.1.1" } else { "5" };
        let effective = [
            ("enabled", json!(options.enabled)),
            ("protocol", json!(protocol)),
            ("keep_alive", json!(seconds(options.keep_alive))),
            ("clean_start", json!(options.starts_clean())),
            ("auto_reconnect", json!(options.auto_reconnect)),
            ("connect_timeout", json!(seconds(options.connect_timeout))),
        ];
        for (key, value) in effective {
            shown.entry(key).or_insert(value);
        }
    }
    value
}

fn table(table: &DeTable<'_>, taken: &[Range<usize>]) -> Value {
    let entries = table.iter().map(|(key, value)| {
        let name = key.get_ref().to_string();
        let shown = shown(&name, value, taken);
        (name, shown)
    });
    Value::Object(entries.collect())
}

fn shown(name: &str, value: &Spanned<DeValue<'_>>, taken: &[Range<usize>]) -> Value {
    if is_secret(name) {
        return HIDDEN.into();
    }
    match value.get_ref() {
        // What comes from outside may be a secret wherever nobody would look for one.
        DeValue::String(_) if taken.contains(&value.span()) && !is_plain(name) => HIDDEN.into(),
        DeValue::String(text) => without_credentials(text).into(),
        DeValue::Boolean(value) => (*value).into(),
        DeValue::Integer(number) => {
            let text = number.as_str().replace('_', "");
            i64::from_str_radix(&text, number.radix()).map_or_else(|_| text.into(), Value::from)
        }
        DeValue::Float(number) => {
            let text = number.as_str().replace('_', "");
            text.parse::<f64>().map_or_else(|_| text.clone().into(), Value::from)
        }
        DeValue::Datetime(time) => time.to_string().into(),
        DeValue::Array(array) => array.iter().map(|value| shown(name, value, taken)).collect(),
        DeValue::Table(inner) => table(inner, taken),
    }
}

/// Keys whose values may come from the environment and be shown all the same.
fn is_plain(name: &str) -> bool {
    const PLAIN: [&str; 17] = [
        "brokers",
        "client_id",
        "data_dir",
        "fsync",
        "kind",
        "level",
        "listen",
        "name",
        "path",
        "prefix",
        "protocol",
        "session",
        "store",
        "topic",
        "topics",
        "url",
        "username",
    ];
    PLAIN.contains(&name) || name.ends_with("_file")
}

//! The configuration in effect as JSON: variables expanded, defaults of sessions put in, secrets left out.

use std::ops::Range;

use mqttx::{SessionOptions, Version};
use serde_json::{Map, Value, json};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::layout::{Layout, Part};
use super::sessions::{SessionEntry, with_defaults};

/// What stands for a secret.
const HIDDEN: &str = "***";

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

/// Keys whose values are never shown. The paths of files with secrets are.
fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    const WORDS: [&str; 12] = [
        "password",
        "passwd",
        "token",
        "secret",
        "passphrase",
        "credential",
        "private",
        "api_key",
        "api-key",
        "authorization",
        // Of the handshake of a WebSocket: any of its fields may be what lets the client in.
        "headers",
        "user_properties",
    ];
    WORDS.iter().any(|word| name.contains(word)) && !name.ends_with("_file")
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

/// `scheme://user:password@host?query` without what stands between, and without the query, which may be a secret, too.
fn without_credentials(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    // Also in what looks like a path: a password may hold a slash that somebody forgot to encode.
    let (user, place) = rest.rsplit_once('@').map_or((None, rest), |(u, place)| (Some(u), place));
    match (user, place.split_once('?')) {
        // Password or query: nobody can say where one ends.
        (Some(user), _) if user.contains('?') => format!("{scheme}://{HIDDEN}"),
        (Some(_), Some((place, _))) => format!("{scheme}://{HIDDEN}@{place}?{HIDDEN}"),
        (Some(_), None) => format!("{scheme}://{HIDDEN}@{place}"),
        (None, Some((place, _))) => format!("{scheme}://{place}?{HIDDEN}"),
        (None, None) => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_of_addresses_are_left_out() {
        for (text, shown) in [
            ("mqtt://u:p@h:1883", "mqtt://***@h:1883"),
            ("mqtt://h:1883", "mqtt://h:1883"),
            ("redis://:p/w@h/1", "redis://***@h/1"),
            ("redis+sentinel://a,b/m", "redis+sentinel://a,b/m"),
            ("http://u:p%40@h?x", "http://***@h?***"),
            ("wss://h/mqtt?token=geheim", "wss://h/mqtt?***"),
            ("wss://h/mqtt?user=a@b", "wss://***"),
            ("redis://:p@s/w@h/1", "redis://***@h/1"),
            ("redis://:p?w@h/1", "redis://***"),
            ("line/+/sensor", "line/+/sensor"),
            ("a@b", "a@b"),
        ] {
            assert_eq!(without_credentials(text), shown, "{text}");
        }
    }

    #[test]
    fn keys_of_secrets_are_known() {
        for name in ["password", "key_password", "token", "client_secret", "API_TOKEN", "headers"] {
            assert!(is_secret(name), "{name}");
        }
        for name in ["password_file", "token_file", "key", "topics", "username"] {
            assert!(!is_secret(name), "{name}");
        }
    }
}

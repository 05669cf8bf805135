//! `[sessions]`, `[fleets]` and `[defaults.session]`.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use mqttx::{
    ConfigErrors, ConfigProblem, Endpoint, OnRefusal, Proxy, Scheme, SessionOptions, Version,
};
use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::extract::{extract, extract_beside, place_of, report_some, stands};
use super::layout::{Layout, Part};
use super::report::Report;
use super::source::SourceFile;
use super::stores::{Choice, STORE_KEY, Stores, take_choice};

/// A session by name; without options when its table has errors.
pub(super) struct SessionEntry {
    pub(super) name: String,
    /// The name of its store.
    pub(super) store: Option<String>,
    pub(super) options: Option<SessionOptions>,
    file: usize,
    client_id_at: Range<usize>,
}

impl SessionEntry {
    /// Whether its place is this table: of a session, or of a fleet that it is a member of.
    pub(super) fn is_of(&self, part: &Part<'_>, is_fleet: bool) -> bool {
        let member = self.name.strip_prefix(&part.name).is_some_and(|rest| rest.starts_with('-'));
        self.file == part.file && if is_fleet { member } else { self.name == part.name }
    }
}

/// Keys that mean something in MQTT 5 only: from the defaults they are not for 3.1.1 sessions.
const V5_KEYS: [&str; 3] = ["session_expiry", "topic_alias_maximum", "user_properties"];

pub(super) fn read(
    layout: &Layout<'_>,
    stores: &Stores,
    files: &[SourceFile],
    report: &mut Report<'_>,
) -> Vec<SessionEntry> {
    let mut common = Common { defaults: DeTable::new(), part: None, choice: None, stores, files };
    if let Some(part) = &layout.session_defaults {
        let mut part = part.clone();
        common.choice = take_choice(part.file, &mut part.table, report);
        let _: Option<SessionOptions> = extract_beside(&mut part, &[STORE_KEY], report);
        common.choice.iter().for_each(|choice| stores.check(choice, report));
        common.defaults = part.table.clone();
        common.part = Some(part);
    }
    let mut entries = Vec::new();
    for part in &layout.sessions {
        entries.push(read_one("sessions", part, &common, &part.name, report));
    }
    for part in &layout.fleets {
        entries.extend(read_fleet(part, &common, report));
    }
    check_names(layout, &entries, report);
    check_client_ids(&entries, report);
    entries
}

/// What all sessions have in common.
struct Common<'a> {
    defaults: DeTable<'a>,
    /// The same with its place, if there is one.
    part: Option<Part<'a>>,
    /// The store of the defaults.
    choice: Option<Choice>,
    stores: &'a Stores,
    files: &'a [SourceFile],
}

fn read_one(
    group: &str,
    part: &Part<'_>,
    common: &Common<'_>,
    name: &str,
    report: &mut Report<'_>,
) -> SessionEntry {
    let Common { defaults, stores, files, .. } = common;
    let mut readable = part.clone();
    let choice = take_choice(part.file, &mut readable.table, report);
    choice.iter().for_each(|choice| stores.check(choice, report));
    let choice = choice.as_ref().or(common.choice.as_ref());
    let own: Option<SessionOptions> = extract_beside(&mut readable, &[STORE_KEY], report);
    let client_id_at = place_of(part, "client_id");
    let entry = SessionEntry {
        name: name.to_owned(),
        store: choice.map(|choice| choice.name().to_owned()),
        options: None,
        file: part.file,
        client_id_at,
    };
    let Some(own) = own.filter(|_| report.is_complete()) else { return entry };
    let version = protocol(&readable, own.protocol, defaults);
    let merged = with_defaults(&readable.table, defaults, version);
    let [refusal, restore] =
        ["on_refusal", "restore_subscriptions"].map(|key| merged.contains_key(key));
    let table = Spanned::new(part.span.clone(), merged);
    // Both tables were read alone; together they can be read, too.
    let Ok(mut options) = SessionOptions::deserialize(toml::de::Deserializer::from(table)) else {
        return entry;
    };
    options.name.clone_from(&entry.name);
    options.proxy.get_or_insert(Proxy::Environment);
    if !refusal {
        options.on_refusal = OnRefusal::Retry;
    }
    if !restore {
        // The forwarders of this file say what is wanted, not those of an earlier one.
        options.restore_subscriptions = false;
    }
    // A server that loses count must not stop a bridge: memory is bounded without its help.
    options.enforce_receive_maximum = false;
    let defaults_file = common.part.as_ref().map_or(part.file, |defaults| defaults.file);
    // Whoever says it, says it from its own file.
    let directory_of = |key: &str| {
        let says = if stands(part, key) { part.file } else { defaults_file };
        files.get(says).map(SourceFile::directory)
    };
    if let Some(directory) = directory_of("password_file") {
        options.password_file.iter_mut().for_each(|path| *path = directory.join(&path));
    }
    if let Some(auth) = &mut options.auth {
        let keys = ["auth.password_file", "auth.token_file"];
        for (key, path) in keys.into_iter().zip([&mut auth.password_file, &mut auth.token_file]) {
            if let (Some(path), Some(directory)) = (path, directory_of(key)) {
                *path = directory.join(&path);
            }
        }
    }
    if let (Some(tls), Some(directory)) = (&mut options.tls, directory_of("tls")) {
        tls.resolve_paths(directory);
    }
    if let Err(errors) = options.check() {
        report_with_defaults(group, part, &readable, common, &errors, report);
        return entry;
    }
    let store = choice.and_then(|choice| stores.of(choice));
    options.store = store.map(|defined| Arc::clone(&defined.store));
    SessionEntry { options: Some(options), ..entry }
}

/// Reports what is wrong with a session; what its defaults got wrong is said once, where they stand.
fn report_with_defaults(
    group: &str,
    part: &Part<'_>,
    readable: &Part<'_>,
    common: &Common<'_>,
    errors: &ConfigErrors,
    report: &mut Report<'_>,
) {
    let of_defaults = |problem: &&ConfigProblem| {
        let field = &problem.field;
        !stands(part, field) && common.part.as_ref().is_some_and(|part| stands(part, field))
    };
    let (theirs, own): (Vec<_>, Vec<_>) = errors.problems().iter().partition(of_defaults);
    report_some(group, part, readable, own.into_iter(), report);
    if let Some(defaults) = &common.part {
        report_some("defaults", defaults, defaults, theirs.into_iter(), report);
    }
}

/// The session's own version, else that of the defaults, else the library's.
fn protocol(own: &Part<'_>, stated: Version, defaults: &DeTable<'_>) -> Version {
    if own.table.contains_key("protocol") {
        return stated;
    }
    let value = defaults.get("protocol").map(Spanned::get_ref);
    let text = value.and_then(DeValue::as_str);
    text.and_then(|text| text.parse().ok()).unwrap_or(stated)
}

/// A session's table with the defaults where nothing of its own stands.
pub(super) fn with_defaults<'a>(
    own: &DeTable<'a>,
    defaults: &DeTable<'a>,
    version: Version,
) -> DeTable<'a> {
    let mut merged = own.clone();
    for (key, value) in defaults {
        let name = key.get_ref().as_ref();
        if version == Version::V311 && (V5_KEYS.contains(&name) || has_method(name, value)) {
            continue;
        }
        merge(&mut merged, key, value);
    }
    merged
}

/// Whether it is `auth` with a method, which means something in MQTT 5 only.
fn has_method(name: &str, value: &Spanned<DeValue<'_>>) -> bool {
    name == "auth" && value.get_ref().as_table().is_some_and(|auth| auth.contains_key("method"))
}

/// Puts a default in where nothing stands; tables are completed key by key.
fn merge<'a>(
    table: &mut DeTable<'a>,
    key: &Spanned<std::borrow::Cow<'a, str>>,
    value: &Spanned<DeValue<'a>>,
) {
    match (table.get_mut(key.get_ref().as_ref()).map(Spanned::get_mut), value.get_ref()) {
        (Some(DeValue::Table(own)), DeValue::Table(defaults)) => {
            for (key, value) in defaults {
                merge(own, key, value);
            }
        }
        (Some(_), _) => {}
        (None, _) => {
            table.insert(key.clone(), value.clone());
        }
    }
}

/// Most members of one fleet.
const MAX_COUNT: u32 = 100_000;

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct FleetSection {
    count: Option<u32>,
}

fn read_fleet(part: &Part<'_>, common: &Common<'_>, report: &mut Report<'_>) -> Vec<SessionEntry> {
    let Some(count) = fleet_count(part, report) else { return Vec::new() };
    let mut entries = Vec::new();
    for index in 0..count {
        let mut member = part.clone();
        member.table.remove("count");
        if let Err((span, message)) = number(&mut member.table, index) {
            report.add(part.file, &span, message);
            break;
        }
        let name = format!("{}-{index:05}", part.name);
        let entry = read_one("fleets", &member, common, &name, report);
        // What is wrong with the first member is wrong with all of them.
        let stop = entry.options.is_none();
        entries.push(entry);
        if stop {
            break;
        }
    }
    entries
}

fn fleet_count(part: &Part<'_>, report: &mut Report<'_>) -> Option<u32> {
    let Some((key, value)) = part.table.get_key_value("count") else {
        report.add(part.file, &part.key, "a fleet needs the number of its sessions: count");
        return None;
    };
    let mut only = Part { table: DeTable::new(), ..part.clone() };
    only.table.insert(key.clone(), value.clone());
    let FleetSection { count } = extract(&mut only, report)?;
    // What it is instead was said.
    let count = count?;
    if !(1..=MAX_COUNT).contains(&count) {
        let message = format!("count = {count}: 1 to {MAX_COUNT} are allowed");
        report.add(part.file, &value.span(), message);
        return None;
    }
    Some(count)
}

/// Replaces `{i}` and `{i:05}` in every string of a table.
fn number(table: &mut DeTable<'_>, index: u32) -> Result<(), (Range<usize>, String)> {
    table.iter_mut().try_for_each(|(_, value)| number_value(value, index))
}

fn number_value(
    value: &mut Spanned<DeValue<'_>>,
    index: u32,
) -> Result<(), (Range<usize>, String)> {
    let span = value.span();
    match value.get_mut() {
        DeValue::String(text) if text.contains("{i") => {
            *text = numbered(text, index).map_err(|message| (span, message))?.into();
            Ok(())
        }
        DeValue::Array(array) => array.iter_mut().try_for_each(|value| number_value(value, index)),
        DeValue::Table(table) => number(table, index),
        _ => Ok(()),
    }
}

fn numbered(text: &str, index: u32) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{i") {
        out.push_str(before);
        let Some((format, tail)) = after.split_once('}') else {
            return Err("'{i' without '}'".to_owned());
        };
        match format.strip_prefix(":0").map(str::parse::<usize>) {
            None if format.is_empty() => out.push_str(&index.to_string()),
            Some(Ok(width)) if width <= 20 => out.push_str(&format!("{index:0width$}")),
            _ => return Err(format!("unknown '{{i{format}}}': allowed are {{i}} and {{i:05}}")),
        }
        rest = tail;
    }
    out.push_str(rest);
    Ok(out)
}

fn check_names(layout: &Layout<'_>, entries: &[SessionEntry], report: &mut Report<'_>) {
    let mut seen: HashMap<&str, ()> = HashMap::new();
    for entry in entries {
        if seen.insert(&entry.name, ()).is_some() {
            let mut parts = layout.fleets.iter().chain(&layout.sessions);
            let part = parts.find(|part| entry.name.starts_with(&part.name));
            let place = part.map_or_else(|| entry.client_id_at.clone(), |part| part.key.clone());
            report.add(
                entry.file,
                &place,
                format!("the session '{}' is defined twice", entry.name),
            );
        }
    }
}

/// A server disconnects the older of two connections with one client id `[MQTT-3.1.4-3]`.
fn check_client_ids(entries: &[SessionEntry], report: &mut Report<'_>) {
    let mut seen: HashMap<(String, &str), &str> = HashMap::new();
    let places: HashMap<&str, _> =
        entries.iter().map(|entry| (&*entry.name, (entry.file, &entry.client_id_at))).collect();
    for entry in entries {
        let Some(options) = entry.options.as_ref().filter(|options| options.enabled) else {
            continue;
        };
        let Some(id) = options.client_id.as_deref().filter(|id| !id.is_empty()) else { continue };
        let scheme = if options.tls.is_some() { Scheme::Tls } else { Scheme::Tcp };
        let brokers = options.brokers.iter();
        for broker in brokers.filter_map(|broker| Endpoint::parse_as(broker, scheme).ok()) {
            let Some(other) = seen.insert((broker.broker(), id), &entry.name) else { continue };
            if other != entry.name {
                let message = if places.get(other) == Some(&(entry.file, &entry.client_id_at)) {
                    // A table that makes several sessions.
                    format!(
                        "the client id '{id}' is that of every session of the fleet: they would disconnect each other; \
                         tell them apart with {{i}}"
                    )
                } else {
                    format!(
                        "the client id '{id}' is that of the session '{other}' at the same broker, too: they would \
                         disconnect each other"
                    )
                };
                report.add(entry.file, &entry.client_id_at, message);
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_of_a_fleet_are_numbered() {
        assert_eq!(numbered("dev-{i:05}/{i}", 42).as_deref(), Ok("dev-00042/42"));
        assert_eq!(numbered("{id}", 1).unwrap_err(), "unknown '{id}': allowed are {i} and {i:05}");
        assert_eq!(numbered("x{i", 1).unwrap_err(), "'{i' without '}'");
    }
}

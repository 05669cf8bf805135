//! `docs/configuration.md` against the types that read the file.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;

use super::rules::{DeadLetterSection, RateLimitSection, TransformSection};
use super::sections::{ForwarderSection, FromSection, ToSection};
use super::sessions::FleetSection;
use super::stores::{StoreSection, WaitSection};
use super::*;

const REFERENCE: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md"));

/// A row of a table.
#[derive(Debug)]
struct Row {
    key: String,
    default: String,
}

/// The tables by the heading before them.
fn tables() -> BTreeMap<String, Vec<Row>> {
    let mut tables: BTreeMap<String, Vec<Row>> = BTreeMap::new();
    let mut heading = String::new();
    for line in REFERENCE.lines() {
        if let Some(text) = line.strip_prefix('#') {
            heading = text.trim_start_matches('#').trim().trim_matches('`').to_owned();
        }
        let mut cells = line.split(" | ").map(|cell| cell.trim_matches(['|', ' ']));
        let key = cells.next().and_then(|cell| cell.strip_prefix('`')?.strip_suffix('`'));
        if let Some(key) = key.filter(|key| !key.contains('`')) {
            let default = cells.nth(1).unwrap_or_default().to_owned();
            tables.entry(heading.clone()).or_default().push(Row { key: key.to_owned(), default });
        }
    }
    tables
}

/// The keys that a type reads, in the words of its error for an unknown one.
fn keys<T: DeserializeOwned>() -> Vec<String> {
    let error = toml::from_str::<T>("'?' = 1").err().expect("an unknown key").to_string();
    let (_, expected) = error.split_once("expected").expect("what is known");
    expected.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn assert_documented(heading: &str, mut expected: Vec<String>) {
    let tables = tables();
    let rows = tables.get(heading).unwrap_or_else(|| panic!("no table below '{heading}'"));
    let mut found: Vec<String> = rows.iter().map(|row| row.key.clone()).collect();
    found.sort();
    expected.sort();
    assert_eq!(found, expected, "below '{heading}'");
}

#[test]
fn every_key_is_documented_and_nothing_else() {
    assert_documented("[daemon]", keys::<DaemonSection>());
    assert_documented("[log]", keys::<LogSection>());
    assert_documented("[http]", keys::<http::Table>());
    assert_documented("[stores.NAME]", keys::<StoreSection>());
    assert_documented("wait", keys::<WaitSection>());
    let store = ["store".to_owned()];
    let session = keys::<SessionOptions>().into_iter().chain(store).collect();
    assert_documented("[sessions.NAME]", session);
    assert_documented("reconnect", keys::<mqttx::Backoff>());
    assert_documented("on", keys::<mqttx::Reactions>());
    assert_documented("tls", keys::<mqttx::TlsOptions>());
    assert_documented("auth", keys::<mqttx::auth::AuthOptions>());
    assert_documented("transform", keys::<TransformSection>());
    assert_documented("outbox", keys::<mqttx::Outbox>());
    assert_documented("performance", keys::<mqttx::Performance>());
    assert_documented("will", keys::<mqttx::Will>());
    assert_documented("tcp", keys::<mqttx::TcpOptions>());
    assert_documented("ws", keys::<mqttx::WebSocketOptions>());
    assert_documented("[fleets.NAME]", keys::<FleetSection>());
    assert_documented("[forwarders.NAME]", keys::<ForwarderSection>());
    assert_documented("from", keys::<FromSection>());
    assert_documented("to", keys::<ToSection>());
    assert_documented("rate_limit", keys::<RateLimitSection>());
    assert_documented("dead_letter", keys::<DeadLetterSection>());
}

/// What is needed to be there at all, around the lines of a table.
fn file(heading: &str, lines: &str) -> String {
    let sessions = "[sessions.s]\nbrokers = ['h']\n";
    let forwarder = |inside: &str| {
        format!(
            "{sessions}[forwarders.f]\n{inside}\n[[forwarders.f.from]]\nsession = 's'\ntopics = ['a']\n{}\n\
             [[forwarders.f.to]]\nsession = 's'\ntopic = 'b'\n{}\n",
            if heading == "from" { lines } else { "" },
            if heading == "to" { lines } else { "" },
        )
    };
    match heading {
        "[stores.NAME]" => format!("{sessions}store = 'x'\n[stores.x]\nkind = 'file'\n{lines}"),
        "wait" => format!(
            "{sessions}store = 'x'\n[stores.x]\nkind = 'redis'\nurl = 'redis://h'\n[stores.x.wait]\n{lines}"
        ),
        "[sessions.NAME]" => format!("{sessions}{lines}"),
        "will" => format!("{sessions}[sessions.s.will]\ntopic = 't'\n{lines}"),
        "reconnect" | "outbox" | "performance" | "tcp" | "ws" | "tls" => {
            format!("{sessions}[sessions.s.{heading}]\n{lines}")
        }
        "[fleets.NAME]" => format!("[fleets.f]\ncount = 1\nbrokers = ['h']\n{lines}"),
        "[forwarders.NAME]" => forwarder(lines),
        "on" => format!("{sessions}[sessions.s.reconnect.on]\n{lines}"),
        "auth" => {
            format!("{sessions}auth = {{ method = 'PLAIN', username = 'u', password = 'p' }}")
        }
        "from" | "to" | "transform" => forwarder(""),
        "rate_limit" => forwarder("rate_limit.messages = 1"),
        "[http]" => format!("[http]\nlisten = '127.0.0.1:1'\n{lines}"),
        "dead_letter" => forwarder("dead_letter = { session = 's', topic = 'd' }"),
        _ => format!("{heading}\n{lines}"),
    }
}

/// Everything that can be compared.
fn effect(text: &str) -> (String, Vec<SessionOptions>) {
    let path = std::env::temp_dir().join(format!("mqttx-reference-{}.toml", std::process::id()));
    std::fs::write(&path, text).unwrap();
    let config = load(&path).unwrap_or_else(|problems| panic!("{text}\n{problems:#?}"));
    std::fs::remove_file(&path).unwrap();
    let DaemonConfig { daemon, http, log, data_dir, stores, mut sessions, forwarders, .. } = config;
    let rate = daemon.connect_rate.unwrap_or(mqttx::ManagerBuilder::CONNECT_RATE);
    let stores: Vec<String> = stores.values().map(|store| format!("{:?}", store.file)).collect();
    for session in &mut sessions {
        // Another object each time.
        session.store = None;
    }
    let levels: BTreeMap<_, _> =
        log.level.targets().map(|(part, level)| (part, level.as_str())).collect();
    let text = format!(
        "{data_dir:?} {:?} {rate} {:?} {:?} {levels:?} {stores:?} {forwarders:?} {http:?}",
        daemon.shutdown_grace, log.format, log.level.general
    );
    (text, sessions)
}

#[test]
fn defaults_that_are_shown_are_those_in_effect() {
    let mut shown = 0;
    for (heading, rows) in tables() {
        let without = effect(&file(&heading, ""));
        for Row { key, default } in rows {
            // A value stands between backticks alone; other defaults are words.
            let Some(value) = default.strip_prefix('`').and_then(|rest| rest.strip_suffix('`'))
            else {
                continue;
            };
            if value.contains('`') || value == "mqttx:" {
                continue;
            }
            shown += 1;
            let with = effect(&file(&heading, &format!("{key} = {value}\n")));
            assert!(with == without, "{heading} {key} = {value}\n{}\n{}", with.0, without.0);
        }
    }
    assert!(shown > 35, "{shown} defaults are values");
}

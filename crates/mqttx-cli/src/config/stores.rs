//! `[stores]`, and which store a session names.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use mqttx::store::Store;
use mqttx::{FileStore, Fsync, MemoryStore, OnFull, OnStoreError, RedisStore, Secret};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};
use toml::de::DeTable;

use super::extract::{extract, place_of};
use super::layout::{Layout, Part};
use super::near;
use super::report::Report;
use crate::stores::parse_fsync;

/// The key of a session that names its store.
pub(super) const STORE_KEY: &str = "store";

/// A store of the file. Nothing is created or connected to before it is opened.
#[derive(Clone, Debug)]
pub(crate) struct DefinedStore {
    pub(crate) store: Arc<dyn Store>,
    /// It again, if it is a file store.
    pub(crate) file: Option<FileStore>,
}

/// The stores by name.
pub(super) struct Stores {
    /// `None`: its table has errors.
    defined: BTreeMap<String, Option<DefinedStore>>,
}

/// `[stores.NAME]`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct StoreSection {
    kind: Option<Kind>,
    path: Option<String>,
    #[serde(deserialize_with = "fsync")]
    fsync: Option<Fsync>,
    #[serde(deserialize_with = "mqttx::human::optional_bytes")]
    max_bytes: Option<usize>,
    on_full: OnFull,
    on_error: Option<OnStoreError>,
    url: Option<String>,
    username: Option<String>,
    password: Option<Secret>,
    database: Option<u32>,
    prefix: Option<String>,
    #[serde(deserialize_with = "mqttx::human::optional_duration")]
    ttl: Option<Duration>,
    wait: Option<WaitSection>,
}

/// `wait = { replicas = 1, timeout = "1s" }`.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct WaitSection {
    replicas: u32,
    #[serde(deserialize_with = "mqttx::human::duration")]
    timeout: Duration,
}

impl Default for WaitSection {
    fn default() -> Self {
        Self { replicas: 1, timeout: Duration::from_secs(1) }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Memory,
    File,
    Redis,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::File => "file",
            Self::Redis => "redis",
        }
    }

    /// The keys that mean something for it, beside `kind`.
    const fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Memory => &[],
            Self::File => &["path", "fsync", "max_bytes", "on_full", "on_error"],
            Self::Redis => &[
                "url", "username", "password", "database", "prefix", "ttl", "wait", "on_full",
                "on_error",
            ],
        }
    }
}

/// The smallest limit of a file store.
const LEAST_BYTES: usize = 1 << 20;

/// Reads all stores. Files are under `data_dir`.
pub(super) fn read(layout: &Layout<'_>, data_dir: &Path, report: &mut Report<'_>) -> Stores {
    let mut defined = BTreeMap::new();
    let mut paths = BTreeMap::new();
    for part in &layout.stores {
        defined.insert(part.name.clone(), read_one(part, data_dir, &mut paths, report));
    }
    Stores { defined }
}

fn read_one<'l>(
    part: &'l Part<'_>,
    data_dir: &Path,
    paths: &mut BTreeMap<PathBuf, &'l str>,
    report: &mut Report<'_>,
) -> Option<DefinedStore> {
    let mut readable = part.clone();
    let section: StoreSection = extract(&mut readable, report)?;
    let Some(kind) = section.kind else {
        if !part.table.contains_key("kind") && report.is_complete() {
            report.add(part.file, &part.key, "a store needs its kind: memory, file or redis");
        }
        return None;
    };
    let mut fits = true;
    for (key, _) in &readable.table {
        let name = key.get_ref().as_ref();
        if name != "kind" && !kind.keys().contains(&name) {
            let message = format!("'{name}' means nothing for a {} store", kind.name());
            report.add(part.file, &key.span(), message);
            fits = false;
        }
    }
    let mut problem = |key: &str, message: String| {
        let message = format!("stores.{}.{key}: {message}", part.name);
        report.add(part.file, &place_of(&readable, key), message);
    };
    let (store, file): (Arc<dyn Store>, _) = match kind {
        Kind::Memory => (Arc::new(MemoryStore::new()), None),
        Kind::File => {
            let store = file(&section, &part.name, data_dir, &mut problem)?;
            if let Some(other) = paths.insert(store.directory().to_owned(), &part.name) {
                problem("path", format!("the store '{other}' has the same path"));
            }
            (Arc::new(store.clone()), Some(store))
        }
        Kind::Redis => (Arc::new(redis(section, &mut problem)?), None),
    };
    fits.then_some(DefinedStore { store, file })
}

fn file(
    section: &StoreSection,
    name: &str,
    data_dir: &Path,
    problem: &mut dyn FnMut(&str, String),
) -> Option<FileStore> {
    let path = Path::new(section.path.as_deref().unwrap_or(name));
    let plain = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
    if path.as_os_str().is_empty() || !path.components().all(plain) {
        problem("path", "it is a relative path below daemon.data_dir, without '..'".to_owned());
        return None;
    }
    let mut fits = true;
    if section.on_error == Some(OnStoreError::Pause) {
        problem("on_error", "a file store fails with its disk: allowed is \"fail\"".to_owned());
        fits = false;
    }
    // Two spellings of one path are one path.
    let below: PathBuf = path.components().filter(|part| *part != Component::CurDir).collect();
    let mut store = FileStore::new(data_dir.join(below))
        .fsync(section.fsync.unwrap_or_default())
        .when_full(section.on_full);
    if let Some(bytes) = section.max_bytes {
        if bytes < LEAST_BYTES {
            problem("max_bytes", format!("{bytes} is too little: at least 1 MiB is needed"));
            fits = false;
        }
        store = store.max_bytes(bytes as u64);
    }
    fits.then_some(store)
}

fn redis(section: StoreSection, problem: &mut dyn FnMut(&str, String)) -> Option<RedisStore> {
    let fits = check_redis(&section, problem);
    let Some(url) = &section.url else {
        problem("url", "a redis store needs its address: redis://HOST[:PORT][/DB]".to_owned());
        return None;
    };
    let mut store = match RedisStore::new(url) {
        Ok(store) => {
            store.on_error(section.on_error.unwrap_or_default()).when_full(section.on_full)
        }
        Err(error) => {
            problem("url", error.message().to_owned());
            return None;
        }
    };
    store = store.ttl(section.ttl);
    if let Some(prefix) = section.prefix {
        store = store.prefix(prefix);
    }
    if let Some(username) = section.username {
        store = store.username(username);
    }
    if let Some(password) = section.password {
        store = store.password(password);
    }
    if let Some(database) = section.database {
        store = store.database(database);
    }
    if let Some(wait) = section.wait {
        store = store.wait_replicas(wait.replicas, wait.timeout);
    }
    fits.then_some(store)
}

/// Whether the values are good that need no address.
fn check_redis(section: &StoreSection, problem: &mut dyn FnMut(&str, String)) -> bool {
    let mut fits = true;
    let mut wrong = |key: &str, message: &str| {
        problem(key, message.to_owned());
        fits = false;
    };
    if section.ttl.is_some_and(|ttl| ttl < Duration::from_secs(1)) {
        wrong("ttl", "at least 1s is needed");
    }
    if section.prefix.as_ref().is_some_and(|prefix| prefix.contains(['{', '}'])) {
        wrong("prefix", "braces mark what a cluster keeps together");
    }
    if section.wait.as_ref().is_some_and(|wait| wait.replicas == 0 || wait.timeout.is_zero()) {
        wrong("wait", "replicas and timeout are above 0");
    }
    fits
}

/// What a session, or the defaults of sessions, say about the store.
#[derive(Clone, Debug)]
pub(super) struct Choice {
    name: String,
    place: Range<usize>,
    /// The table is in this file.
    file: usize,
}

/// Takes the name of the store out of the table of a session.
pub(super) fn take_choice(
    file: usize,
    table: &mut DeTable<'_>,
    report: &mut Report<'_>,
) -> Option<Choice> {
    let value = table.remove(STORE_KEY)?;
    let place = value.span();
    match value.get_ref().as_str() {
        Some(name) => Some(Choice { name: name.to_owned(), place, file }),
        None => {
            report.add(file, &place, "store is the name of one of [stores]");
            None
        }
    }
}

impl Stores {
    /// Reports a name that is not there.
    pub(super) fn check(&self, choice: &Choice, report: &mut Report<'_>) {
        if report.is_complete() && !self.defined.contains_key(&choice.name) {
            let known = self.defined.keys().map(String::as_str);
            let message = near::unknown("store", &choice.name, known);
            report.add(choice.file, &choice.place, message);
        }
    }

    /// The store of that name, if it is good.
    pub(super) fn of(&self, choice: &Choice) -> Option<&DefinedStore> {
        self.defined.get(&choice.name)?.as_ref()
    }

    /// All that are good.
    pub(super) fn into_defined(self) -> BTreeMap<String, DefinedStore> {
        self.defined.into_iter().filter_map(|(name, store)| Some((name, store?))).collect()
    }
}

impl Choice {
    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

fn fsync<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Fsync>, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_fsync(&text).map(Some).map_err(D::Error::custom)
}

//! What runs: sessions, forwarders and stores, from their start to their stop.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use mqttx::{
    ForwarderManager, ForwarderMetrics, Session, SessionManager, SessionOptions, Version, WireLog,
};

use super::log::{Log, Watcher};
use super::reload::Reload;
use super::{data_dir, failure, name};
use crate::config::{
    DaemonConfig, DaemonSection, DefinedStore, Fingerprints, HttpSection, LogSection,
};
use crate::exit::{Failure, Outcome};
use crate::http::{Bound, Facts, HttpServer};
use crate::wire_log::TracedLog;

/// The running daemon.
pub(super) struct Daemon {
    pub(super) sessions: SessionManager,
    pub(super) forwarders: ForwarderManager,
    pub(super) stores: BTreeMap<String, DefinedStore>,
    pub(super) section: DaemonSection,
    pub(super) log_section: LogSection,
    pub(super) http_section: Option<HttpSection>,
    pub(super) data_dir: PathBuf,
    /// What stores and forwarders are asked for.
    pub(super) fingerprints: Fingerprints,
    /// One for each version, so that sessions which are asked for the same share it.
    wire_logs: [Arc<dyn WireLog>; 2],
    pub(super) log: Log,
    watcher: Option<Watcher>,
    pub(super) http: Option<HttpServer>,
}

/// Events that may wait for the log: thousands of sessions connect at once.
const EVENTS: usize = 16 * 1024;

impl Daemon {
    /// Adds everything, then connects: the first SUBSCRIBE of a session knows all forwarders.
    ///
    /// # Errors
    /// A store cannot be used: its disk, another process, a later version. Nothing was begun then.
    pub(super) async fn start(
        mut config: DaemonConfig,
        log: Log,
        bound: Option<Bound>,
        reload: Reload,
    ) -> Result<Self, Failure> {
        for (name, store) in &config.stores {
            prepare(store, &config)
                .await
                .map_err(|error| failure(format!("store {name}"), error))?;
        }
        let own_name = config.daemon.name.get_or_insert_with(|| name::kept_in(&config.data_dir));
        let own_name = own_name.clone();
        let mut builder = SessionManager::builder().event_capacity(EVENTS);
        if let Some(rate) = config.daemon.connect_rate {
            builder = builder.connect_rate(rate);
        }
        let sessions = builder.build();
        let watcher = Watcher::start(&sessions);
        let forwarders = ForwarderManager::named(&sessions, own_name.as_str());
        let mut daemon = Self {
            forwarders,
            stores: config.stores,
            section: config.daemon,
            log_section: config.log,
            http_section: config.http,
            data_dir: config.data_dir,
            fingerprints: config.fingerprints,
            wire_logs: [Version::V311, Version::V5]
                .map(|version| Arc::new(TracedLog(version)) as _),
            log,
            watcher: Some(watcher),
            http: None,
            sessions,
        };
        let mut ready = Vec::new();
        for options in config.sessions {
            ready.extend(daemon.add(options).map_err(Failure::runtime)?);
        }
        for options in config.forwarders {
            daemon.forwarders.add_forwarder(options).map_err(Failure::runtime)?;
        }
        if let Some(bound) = bound {
            let address = bound.address();
            let facts = daemon.facts(config.effective, SystemTime::now());
            let (sessions, forwarders) = (daemon.sessions.clone(), daemon.forwarders.clone());
            daemon.http = Some(bound.serve(sessions, forwarders, facts, reload)?);
            tracing::info!(target: "mqttx::http", "http://{address} is served");
        }
        ready.iter().for_each(Session::connect);
        let (sessions, forwarders) =
            (daemon.sessions.sessions().len(), daemon.forwarders.list().len());
        let version = env!("CARGO_PKG_VERSION");
        tracing::info!(
            target: "mqttx::daemon",
            "mqttx {version} runs as '{own_name}': {sessions} sessions, {forwarders} forwarders"
        );
        Ok(daemon)
    }

    /// What the HTTP server shows and goes by, of the configuration `effective`.
    pub(super) fn facts(&self, effective: serde_json::Value, loaded: SystemTime) -> Facts {
        let stores = self.stores.iter();
        let section = self.http_section.as_ref();
        Facts {
            stores: stores.map(|(name, store)| (name.clone(), Arc::clone(&store.store))).collect(),
            config: effective,
            loaded,
            successful: true,
            grace: self.section.shutdown_grace,
            token: section.and_then(|section| section.token.clone()),
            per_session_limit: section.map_or(0, |section| section.per_session_limit),
        }
    }

    pub(super) fn sessions(&self) -> &SessionManager {
        &self.sessions
    }

    pub(super) fn forwarders(&self) -> &ForwarderManager {
        &self.forwarders
    }

    /// Adds a session; it is given back if it is to be connected.
    pub(super) fn add(&self, options: SessionOptions) -> Result<Option<Session>, mqttx::Error> {
        let connects = options.enabled && !options.manual_connect;
        let session = self.sessions.add_session(self.dressed(options))?;
        Ok(connects.then_some(session))
    }

    /// What every session of the daemon has besides its own options.
    pub(super) fn dressed(&self, mut options: SessionOptions) -> SessionOptions {
        options.manual_connect = true;
        let [v311, v5] = &self.wire_logs;
        let log = if options.protocol == Version::V311 { v311 } else { v5 };
        options.wire_log = Some(Arc::clone(log));
        options
    }

    /// Takes nothing more from the sources, waits for the targets, disconnects without unsubscribing.
    pub(super) async fn stop(&mut self) -> Outcome {
        let grace = self.section.shutdown_grace;
        let start = Instant::now();
        let left = self.forwarders.shutdown(grace).await;
        let report = self.sessions.shutdown(grace.saturating_sub(start.elapsed())).await;
        self.summarise();
        if let Some(watcher) = self.watcher.take() {
            watcher.finish().await;
        }
        if let Some(http) = self.http.take() {
            http.stop().await;
        }
        if left == 0 && report.clean {
            return Ok(ExitCode::SUCCESS);
        }
        let mut text = format!("{left} messages of forwarders were not acknowledged");
        if report.unacknowledged > 0 {
            let sessions = shown(&report.unfinished);
            // Writing to memory does not fail.
            let _ = write!(text, ", {} of the sessions {sessions} not sent", report.unacknowledged);
        }
        Err(Failure::runtime(format_args!("{text} within {} ms", grace.as_millis())))
    }

    /// The end at a second signal.
    pub(super) fn stopped_at_once(&self) -> Outcome {
        self.summarise();
        let metrics = self.forwarders.all_metrics();
        let left: u64 = metrics.values().map(|metrics| metrics.in_flight).sum();
        let text = format!("stopped at once: {left} messages were not acknowledged");
        Err(Failure::runtime(text))
    }

    fn summarise(&self) {
        for (name, metrics) in self.forwarders.all_metrics() {
            let done = summary(&metrics);
            tracing::info!(target: "mqttx::daemon", "forwarder {name}: {done}");
        }
    }
}

/// Opens a store that is a file: what is wrong with it is found before anything uses it.
pub(super) async fn prepare(store: &DefinedStore, config: &DaemonConfig) -> Result<(), String> {
    let Some(file) = &store.file else { return Ok(()) };
    let directory = &config.data_dir;
    data_dir::create(directory)
        .map_err(|error| format!("daemon.data_dir {}: {error}", directory.display()))?;
    file.prepare().await.map_err(|error| error.to_string())
}

/// Names for one line.
pub(super) fn shown(names: &[String]) -> String {
    const SHOWN: usize = 10;
    let first: Vec<&str> = names.iter().take(SHOWN).map(String::as_str).collect();
    let more = names.len().saturating_sub(SHOWN);
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{rest}", first.join(", "))
}

/// What a forwarder did, in one line.
fn summary(metrics: &ForwarderMetrics) -> String {
    let mut line = format!(
        "received {}, forwarded {}, dropped {}",
        metrics.received, metrics.forwarded, metrics.dropped
    );
    let reasons: Vec<String> =
        metrics.dropped_by_reason.iter().map(|(reason, n)| format!("{reason} {n}")).collect();
    // Writing to memory does not fail.
    if !reasons.is_empty() {
        let _ = write!(line, " ({})", reasons.join(", "));
    }
    let further = [("filtered", metrics.filtered), ("dead letters", metrics.dead_lettered)];
    for (what, count) in further.into_iter().filter(|(_, count)| *count > 0) {
        let _ = write!(line, ", {what} {count}");
    }
    let _ = write!(line, ", in flight {}", metrics.in_flight);
    if metrics.optional_lost > 0 {
        let _ = write!(line, ", lost for optional targets {}", metrics.optional_lost);
    }
    line
}

//! `mqttx run`: the daemon.

mod log;
mod name;

use std::fmt::Write as _;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::time::{Duration, Instant, SystemTime};

use mqttx::{ForwarderManager, ForwarderMetrics, SessionManager};

use super::block_on;
use crate::config::{self, BAD_CONFIG, DaemonConfig, Level};
use crate::exit::{Failure, Outcome, warn};
use crate::http::{Bound, HttpServer, Site};
use crate::signal::StopSignals;
use crate::wire_log::StderrLog;
use log::Log;

/// Run the sessions and forwarders of a configuration file until SIGTERM or SIGINT
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// The file, or a directory of *.toml files
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,

    /// Only check the configuration, as check-config does
    #[arg(long)]
    check: bool,
}

pub(crate) fn run(args: &Args) -> Outcome {
    match config::load(&args.config) {
        Err(problems) => {
            problems.iter().for_each(warn);
            Ok(ExitCode::from(BAD_CONFIG))
        }
        Ok(_) if args.check => Ok(ExitCode::SUCCESS),
        Ok(config) => block_on(serve(config)),
    }
}

async fn serve(config: DaemonConfig) -> Outcome {
    let mut signals = StopSignals::new()?;
    let grace = config.daemon.shutdown_grace;
    let bound = config.http.as_ref().map(Bound::new).transpose()?;
    prepare(&config).await?;
    let mut daemon = Daemon::start(config, bound)?;
    signals.next().await;
    daemon.http.iter().for_each(HttpServer::is_stopping);
    let outcome = tokio::select! {
        outcome = daemon.stop(grace) => Some(outcome),
        () = signals.next() => None,
    };
    outcome.unwrap_or_else(|| {
        daemon.summarise();
        Err(Failure::runtime(format_args!("stopped at once: {}", daemon.left())))
    })
}

/// Opens the stores that are files: what is wrong with them is found before anything runs.
///
/// # Errors
/// The first store that cannot be used: its disk, another process, a later version.
async fn prepare(config: &DaemonConfig) -> Result<(), Failure> {
    for (name, defined) in &config.stores {
        if let Some(store) = &defined.file {
            create(&config.data_dir)?;
            let prepared = store.prepare().await;
            prepared.map_err(|error| Failure::runtime(error).of(format_args!("store {name}")))?;
        }
    }
    Ok(())
}

/// Messages of others are nobody else's business.
fn create(data_dir: &Path) -> Result<(), Failure> {
    create_private(data_dir).map_err(|error| {
        Failure::runtime(format_args!("daemon.data_dir {}: {error}", data_dir.display()))
    })
}

fn create_private(directory: &Path) -> std::io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)
}

struct Daemon {
    sessions: SessionManager,
    forwarders: ForwarderManager,
    http: Option<HttpServer>,
    _log: Log,
}

impl Daemon {
    /// Adds everything, then connects: the first SUBSCRIBE of a session knows all forwarders.
    fn start(config: DaemonConfig, bound: Option<Bound>) -> Result<Self, Failure> {
        // Only forwarders say it.
        let name = (!config.forwarders.is_empty()).then(|| name::of(&config));
        let DaemonConfig { daemon, http, log: log_section, stores, effective, .. } = config;
        let mut builder = SessionManager::builder();
        if let Some(rate) = daemon.connect_rate {
            builder = builder.connect_rate(rate);
        }
        let sessions = builder.build();
        let log = Log::start(&sessions, &log_section).map_err(Failure::runtime)?;
        let mut ready = Vec::new();
        for mut options in config.sessions {
            let connects = options.enabled && !options.manual_connect;
            options.manual_connect = true;
            if log_section.level.wire >= Level::Debug {
                options.wire_log = Some(Arc::new(StderrLog(options.protocol)));
            }
            let session = sessions.add_session(options).map_err(Failure::runtime)?;
            ready.extend(connects.then_some(session));
        }
        let forwarders = match name {
            Some(name) => ForwarderManager::named(&sessions, name),
            None => ForwarderManager::new(&sessions),
        };
        for options in config.forwarders {
            forwarders.add_forwarder(options).map_err(Failure::runtime)?;
        }
        let http = match (bound, http) {
            (Some(bound), Some(section)) => {
                log.note(Level::Info, "http", &format!("http://{} is served", bound.address()));
                let stores = stores.into_iter().map(|(name, defined)| (name, defined.store));
                let site = Site {
                    sessions: sessions.clone(),
                    forwarders: forwarders.clone(),
                    stores: stores.collect(),
                    config: effective,
                    loaded: SystemTime::now(),
                    grace: daemon.shutdown_grace,
                    token: section.token,
                    per_session_limit: section.per_session_limit,
                    stopping: AtomicBool::new(false),
                    listeners: AtomicUsize::new(0),
                };
                Some(bound.serve(site)?)
            }
            _ => None,
        };
        for session in ready {
            session.connect();
        }
        Ok(Self { sessions, forwarders, http, _log: log })
    }

    /// Takes nothing more from the sources, waits for the targets, disconnects without unsubscribing.
    async fn stop(&mut self, grace: Duration) -> Outcome {
        let outcome = self.wind_down(grace).await;
        if let Some(http) = self.http.take() {
            http.stop().await;
        }
        outcome
    }

    async fn wind_down(&self, grace: Duration) -> Outcome {
        let start = Instant::now();
        let left = self.forwarders.shutdown(grace).await;
        let report = self.sessions.shutdown(grace.saturating_sub(start.elapsed())).await;
        self.summarise();
        if left == 0 && report.clean {
            return Ok(ExitCode::SUCCESS);
        }
        let mut text = format!("{left} messages of forwarders were not acknowledged");
        if report.unacknowledged > 0 {
            let sessions = report.unfinished.join(", ");
            // Writing to memory does not fail.
            let _ = write!(text, ", {} of the sessions {sessions} not sent", report.unacknowledged);
        }
        Err(Failure::runtime(format_args!("{text} within {} ms", grace.as_millis())))
    }

    /// What is not acknowledged now.
    fn left(&self) -> String {
        let metrics = self.forwarders.all_metrics();
        let left: u64 = metrics.values().map(|metrics| metrics.in_flight).sum();
        format!("{left} messages were not acknowledged")
    }

    fn summarise(&self) {
        for (name, metrics) in self.forwarders.all_metrics() {
            warn(summary(&name, &metrics));
        }
    }
}

/// What a forwarder did, in one line.
fn summary(name: &str, metrics: &ForwarderMetrics) -> String {
    let mut line = format!(
        "forwarder {name}: received {}, forwarded {}, dropped {}",
        metrics.received, metrics.forwarded, metrics.dropped
    );
    let further = [("filtered", metrics.filtered), ("dead letters", metrics.dead_lettered)];
    let reasons: Vec<String> =
        metrics.dropped_by_reason.iter().map(|(reason, n)| format!("{reason} {n}")).collect();
    // Writing to memory does not fail.
    if !reasons.is_empty() {
        let _ = write!(line, " ({})", reasons.join(", "));
    }
    for (what, count) in further.into_iter().filter(|(_, count)| *count > 0) {
        let _ = write!(line, ", {what} {count}");
    }
    let _ = write!(line, ", in flight {}", metrics.in_flight);
    if metrics.optional_lost > 0 {
        let _ = write!(line, ", lost for optional targets {}", metrics.optional_lost);
    }
    line
}

//! `mqttx run`: the daemon.

mod apply;
mod daemon;
mod data_dir;
mod log;
mod name;
pub(crate) mod reload;
mod systemd;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::block_on;
use crate::config::{self, BAD_CONFIG, DaemonConfig, Problem};
use crate::exit::{Failure, Outcome, warn};
use crate::http::{Bound, HttpServer};
use crate::signal::StopSignals;
use daemon::Daemon;
use log::Log;
use reload::{Outcome as Reloaded, Reload};
use systemd::Systemd;

/// Run the sessions and forwarders of a configuration file until SIGTERM or SIGINT
///
/// SIGHUP reads the configuration again and applies what changed. Under systemd the service is of the
/// type notify, or notify-reload, and its watchdog is served.
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
        Ok(config) => block_on(serve(&args.config, config)),
    }
}

async fn serve(path: &Path, config: DaemonConfig) -> Outcome {
    let log = Log::start(&config.log);
    let outcome = serve_logged(path, config, log.clone()).await;
    log.finish(outcome)
}

async fn serve_logged(path: &Path, config: DaemonConfig, log: Log) -> Outcome {
    let mut signals = StopSignals::new()?;
    let (reload, mut requests) = Reload::new();
    reload.on_hangup()?;
    let bound = config.http.as_ref().map(Bound::new).transpose()?;
    let mut daemon = Daemon::start(config, log, bound, reload).await?;
    let systemd = Systemd::start(daemon.sessions(), daemon.forwarders());
    loop {
        tokio::select! {
            () = signals.next() => break,
            Some(request) = requests.recv() => {
                systemd.reloading();
                let read = tokio::select! {
                    read = read_again(path) => read,
                    // Files may lie where reading takes for ever, and nothing has changed yet.
                    () = signals.next() => break,
                };
                let finished = finish(&mut signals, apply(&mut daemon, path, read)).await;
                systemd.reloaded();
                match finished {
                    Finished::Done(outcome) => request.answer(outcome),
                    Finished::Stopping(outcome) => {
                        request.answer(outcome);
                        break;
                    }
                    Finished::Abandoned => return daemon.stopped_at_once(),
                }
            }
        }
    }
    systemd.stopping();
    daemon.http.iter().for_each(HttpServer::is_stopping);
    // Whoever waits for a reload is told that there will be none.
    drop(requests);
    let stopped = tokio::select! {
        outcome = daemon.stop() => Some(outcome),
        () = signals.next() => None,
    };
    stopped.unwrap_or_else(|| daemon.stopped_at_once())
}

/// Reads the configuration on a thread of its own, so that a signal is heard meanwhile.
async fn read_again(path: &Path) -> Result<DaemonConfig, Vec<Problem>> {
    let whole = path.to_owned();
    let read = tokio::task::spawn_blocking(move || config::load(&whole)).await;
    // It fails only when it panics.
    read.unwrap_or_else(|error| Err(vec![Problem::of_whole(path, error)]))
}

/// Applies what changed, if the configuration is a good one; the log says what came of it.
async fn apply(
    daemon: &mut Daemon,
    path: &Path,
    read: Result<DaemonConfig, Vec<Problem>>,
) -> Reloaded {
    let outcome = match read {
        Ok(config) => daemon.apply(path, config).await,
        Err(problems) => Err(problems),
    };
    match &outcome {
        Ok(changes) => changes.log(),
        Err(problems) => {
            daemon.http.iter().for_each(HttpServer::reload_failed);
            for problem in problems {
                tracing::error!(target: "mqttx::daemon", "{problem}");
            }
            let (count, s) = (problems.len(), if problems.len() == 1 { "" } else { "s" });
            tracing::error!(target: "mqttx::daemon", "nothing was reloaded: {count} problem{s}");
        }
    }
    outcome
}

enum Finished<T> {
    Done(T),
    /// A signal came meanwhile.
    Stopping(T),
    /// A second one came.
    Abandoned,
}

/// Finishes what was begun, also when the daemon is to stop; a second signal does not wait for it.
async fn finish<T>(signals: &mut StopSignals, job: impl Future<Output = T>) -> Finished<T> {
    let mut job = std::pin::pin!(job);
    tokio::select! {
        done = &mut job => return Finished::Done(done),
        () = signals.next() => {}
    }
    tokio::select! {
        done = job => Finished::Stopping(done),
        () = signals.next() => Finished::Abandoned,
    }
}

/// What is wrong with the daemon itself.
fn failure(what: impl std::fmt::Display, error: impl std::fmt::Display) -> Failure {
    Failure::runtime(error).of(what)
}

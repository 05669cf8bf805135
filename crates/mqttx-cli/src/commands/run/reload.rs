//! The request to read the configuration again, and what came of it.

use std::fmt;

use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};

use super::daemon::shown;
use crate::config::Problem;
use crate::exit::Failure;

/// What a reload changed, or why it changed nothing: the errors of check-config.
pub(crate) type Outcome = Result<Changes, Vec<Problem>>;

/// Asks the daemon to read its configuration again; clones ask the same daemon.
#[derive(Clone, Debug)]
pub(crate) struct Reload(mpsc::Sender<Request>);

/// One who asked, and waits.
#[derive(Debug)]
pub(super) struct Request(oneshot::Sender<Outcome>);

impl Reload {
    /// The asking and the answering side.
    pub(super) fn new() -> (Self, mpsc::Receiver<Request>) {
        // Whoever asks while others wait, waits too.
        let (sender, receiver) = mpsc::channel(1);
        (Self(sender), receiver)
    }

    /// Reads and checks the configuration, and applies what changed. Requests are served one after the other. It takes as long
    /// as what is removed takes to finish, at most twice `shutdown_grace`, and two seconds for the forwarders that change: these
    /// are changed together.
    ///
    /// # Errors
    /// The problems of the configuration, or that the daemon is stopping. Nothing has changed then.
    pub(crate) async fn reload(&self) -> Outcome {
        let stopping = || {
            let message = "the daemon is stopping";
            vec![Problem::of_whole(std::path::Path::new("mqttx"), message)]
        };
        let (answer, answered) = oneshot::channel();
        self.0.send(Request(answer)).await.map_err(|_| stopping())?;
        answered.await.map_err(|_| stopping())?
    }

    /// From here on SIGHUP asks, too.
    ///
    /// # Errors
    /// The system does not let us take the signal.
    pub(super) fn on_hangup(&self) -> Result<(), Failure> {
        let hangups = signal(SignalKind::hangup());
        let mut hangups = hangups.map_err(|error| Failure::runtime(error).of("signals"))?;
        let reload = self.clone();
        tokio::spawn(async move {
            while hangups.recv().await.is_some() {
                // The log has what came of it.
                let _ = reload.reload().await;
            }
        });
        Ok(())
    }
}

impl Request {
    pub(super) fn answer(self, outcome: Outcome) {
        // Nobody may wait any more.
        let _ = self.0.send(outcome);
    }
}

/// What a reload changed.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub(crate) struct Changes {
    pub(crate) sessions: Names,
    pub(crate) forwarders: Names,
    pub(crate) stores: Names,
    /// Keys of `[daemon]`, `[http]` and `[log]` that have another value.
    pub(crate) settings: Vec<String>,
    /// What differs in the file and counts only after a restart.
    pub(crate) restart: Vec<String>,
    /// What went wrong with what is gone: messages that were left, and who has them.
    pub(crate) notes: Vec<String>,
}

/// Who came, changed and went.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub(crate) struct Names {
    pub(crate) added: Vec<String>,
    pub(crate) changed: Vec<String>,
    pub(crate) removed: Vec<String>,
}

impl Changes {
    pub(super) fn log(&self) {
        tracing::info!(target: "mqttx::daemon", "{self}");
        for what in &self.restart {
            tracing::warn!(target: "mqttx::daemon", "{what} differs: it counts after a restart");
        }
        for note in &self.notes {
            tracing::warn!(target: "mqttx::daemon", "{note}");
        }
    }
}

impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        let groups = [
            ("sessions", &self.sessions),
            ("forwarders", &self.forwarders),
            ("stores", &self.stores),
        ];
        for (group, names) in groups {
            for (what, names) in
                [("added", &names.added), ("changed", &names.changed), ("removed", &names.removed)]
            {
                if !names.is_empty() {
                    parts.push(format!("{group} {what}: {}", shown(names)));
                }
            }
        }
        if !self.settings.is_empty() {
            parts.push(format!("changed: {}", self.settings.join(", ")));
        }
        if parts.is_empty() {
            return f.write_str("reloaded: nothing changed");
        }
        write!(f, "reloaded: {}", parts.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_asks_a_daemon_that_stops_is_told_so() {
        let (reload, requests) = Reload::new();
        let (early, late) = (reload.clone(), reload);
        let early = tokio::spawn(async move { early.reload().await });
        while requests.is_empty() {
            tokio::task::yield_now().await;
        }
        drop(requests);
        for outcome in [early.await.expect("no panic"), late.reload().await] {
            assert_eq!(outcome.unwrap_err()[0].message, "the daemon is stopping");
        }
    }

    #[test]
    fn a_report_names_what_changed_in_one_line() {
        assert_eq!(Changes::default().to_string(), "reloaded: nothing changed");
        let names = |range: std::ops::Range<u8>| range.map(|n| format!("s{n}")).collect();
        let changes = Changes {
            sessions: Names { added: names(0..12), removed: names(0..1), ..Names::default() },
            settings: vec!["log.level".to_owned()],
            ..Changes::default()
        };
        assert_eq!(
            changes.to_string(),
            "reloaded: sessions added: s0, s1, s2, s3, s4, s5, s6, s7, s8, s9 and 2 more; sessions removed: s0; \
             changed: log.level"
        );
    }
}

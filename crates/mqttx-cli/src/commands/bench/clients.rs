//! Many sessions from the flags of one.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use mqttx::{DropReason, Error, Session, SessionManager, SessionStatus};

use super::ClientFlags;
use crate::client::{builder, failure, finished};
use crate::exit::Failure;
use crate::flags::Connection;

/// How long all clients together may take to connect, unless `--timeout` says otherwise.
const CONNECT: Duration = Duration::from_secs(60);

/// Connections being made at the same time: fewer than what brokers let wait to be accepted.
const AT_ONCE: usize = 100;

/// No limit of connects per second.
const NO_LIMIT: u32 = 0;

/// How often somebody looks whether a session gave up.
const LOOK: Duration = Duration::from_millis(100);

/// How long DISCONNECT may take.
const GOODBYE: Duration = Duration::from_secs(2);

/// The sessions of a measurement.
pub(super) struct Clients {
    pub(super) manager: SessionManager,
    pub(super) sessions: Vec<Session>,
    timeout: Duration,
}

impl Clients {
    /// Makes the sessions; they connect in [`connected`](Self::connected), at no more than so many
    /// a second.
    ///
    /// Each has a number behind the client id, if there is one, and takes broker and local address
    /// in turn.
    ///
    /// # Errors
    /// Options that the library does not take.
    pub(super) fn start(
        flags: &ClientFlags,
        connection: &Connection,
        connect_rate: Option<u32>,
    ) -> Result<Self, Failure> {
        let manager =
            SessionManager::builder().connect_rate(connect_rate.unwrap_or(NO_LIMIT)).build();
        let sessions = (0..flags.clients as usize)
            .map(|n| Self::session(&manager, flags, connection, n))
            .collect::<Result<_, _>>()?;
        Ok(Self { manager, sessions, timeout: connection.timeout.unwrap_or(CONNECT) })
    }

    fn session(
        manager: &SessionManager,
        flags: &ClientFlags,
        connection: &Connection,
        n: usize,
    ) -> Result<Session, Failure> {
        let brokers = connection.brokers.len();
        let mut own = connection.clone();
        own.brokers = vec![connection.brokers[n % brokers].clone()];
        let mut name = format!("client-{n}");
        if !own.client_id.is_empty() {
            own.client_id = format!("{}-{n}", own.client_id);
            // A store knows the session by this name.
            name.clone_from(&own.client_id);
        }
        let mut builder = builder(&own, name).manual_connect(true);
        if !flags.bind.is_empty() {
            // All combinations of broker and address come up.
            builder = builder.bind(flags.bind[n / brokers % flags.bind.len()]);
        }
        let options = finished(builder, connection)?;
        manager.add_session(options).map_err(|error| failure(&error))
    }

    /// Connects all and waits for them; returns how many there are and why the first of the others is not.
    pub(super) async fn connected(&self, progress: &ProgressBar) -> (u64, Option<Error>) {
        let deadline = tokio::time::Instant::now() + self.timeout;
        let mut missing = None;
        let mut count = 0;
        self.sessions.iter().take(AT_ONCE).for_each(Session::connect);
        for (n, session) in self.sessions.iter().enumerate() {
            let left = deadline.saturating_duration_since(tokio::time::Instant::now());
            match session.wait_connected(left).await {
                Ok(()) => count += 1,
                Err(error) => {
                    missing.get_or_insert(error);
                }
            }
            progress.set_position(count);
            if let Some(next) = self.sessions.get(n + AT_ONCE) {
                next.connect();
            }
        }
        (count, missing)
    }

    /// [`connected`](Self::connected), or an error.
    ///
    /// # Errors
    /// A client is not connected in time.
    pub(super) async fn all_connected(&self) -> Result<(), Failure> {
        let progress = progress(self.sessions.len() as u64, "connected");
        let (count, missing) = self.connected(&progress).await;
        progress.finish_and_clear();
        missing.map_or(Ok(()), |error| {
            let all = self.sessions.len();
            Err(failure(&error).of(format_args!("{count} of {all} clients are connected")))
        })
    }

    /// Waits until a session gives up for good, and tells why.
    pub(super) async fn failed(&self) -> Failure {
        loop {
            let failed = |session: &&Session| session.status() == SessionStatus::Failed;
            if let Some(session) = self.sessions.iter().find(failed) {
                let error = session.last_error();
                return error.map_or_else(|| Failure::runtime("a session failed"), |e| failure(&e));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Accepted messages with QoS > 0 that are not acknowledged.
    pub(super) fn unacknowledged(&self) -> usize {
        self.sessions.iter().map(Session::unacknowledged).sum()
    }

    /// Accepted messages that were given up.
    pub(super) fn dropped(&self) -> u64 {
        let dropped = |session: &Session| {
            let dropped = session.metrics().dropped;
            // What a server sends unasked is nobody's.
            dropped.total() - dropped.of(DropReason::Unrouted)
        };
        self.sessions.iter().map(dropped).sum()
    }

    /// DISCONNECT for all.
    pub(super) async fn stop(self) {
        self.manager.shutdown(GOODBYE).await;
    }
}

/// A bar on stderr, where that is a terminal.
pub(super) fn progress(total: u64, what: &str) -> ProgressBar {
    let bar = ProgressBar::new(total);
    let template = "{msg} {human_pos} of {human_len} {wide_bar} {per_sec} {eta}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.with_message(what.to_owned())
}

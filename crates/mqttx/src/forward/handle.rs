//! The handle of a forwarder.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mqttx_proto::Version;
use tokio::time::{Instant, timeout_at};

use super::arrive::Inlet;
use super::endpoint::RetainRule;
use super::engine::{Ends, Engine};
use super::flows::Phase;
use super::metrics::ForwarderMetrics;
use super::rule::ForwarderOptions;
use crate::error::Error;
use crate::event::EventKind;
use crate::router::Route;
use crate::session::Session;

/// A forwarder of a [`ForwarderManager`](super::ForwarderManager); clones are handles to the same one.
///
/// A message with QoS > 0 is acknowledged to its source only after every required target acknowledged it.
/// Dropping handles stops nothing.
#[derive(Clone)]
pub struct Forwarder {
    shared: Arc<Shared>,
}

struct Shared {
    engine: Arc<Engine>,
    /// One after the other: starting, stopping, removing.
    control: tokio::sync::Mutex<()>,
    routes: Mutex<Routes>,
    /// Out of the registry, for good.
    removed: AtomicBool,
}

/// Where a forwarder stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[non_exhaustive]
pub enum ForwarderState {
    /// It takes messages and sends them.
    Running,
    /// It is subscribed and sends nothing; see [`Forwarder::pause`].
    Paused,
    /// It takes nothing.
    Stopped,
}

impl ForwarderState {
    /// Its name: `running`, `paused`, `stopped`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        }
    }
}

impl std::fmt::Display for ForwarderState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[derive(Default)]
struct Routes {
    running: Vec<(Session, Route)>,
    /// Out of their sessions; messages that came through them may still be acknowledged.
    retired: Vec<Route>,
}

impl Forwarder {
    pub(super) fn new(options: ForwarderOptions, ends: Ends, daemon: &str) -> Self {
        let engine = Engine::new(options, ends, daemon);
        engine.watch_failover();
        let shared = Shared {
            engine,
            control: tokio::sync::Mutex::default(),
            routes: Mutex::default(),
            removed: AtomicBool::new(false),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.engine.options.name
    }

    /// The same, as metrics carry it.
    pub(crate) fn shared_name(&self) -> Arc<str> {
        Arc::clone(&self.shared.engine.options.name)
    }

    /// Its rules.
    #[must_use]
    pub fn options(&self) -> &ForwarderOptions {
        &self.shared.engine.options
    }

    /// Whether it takes messages and sends them.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.state() == ForwarderState::Running
    }

    /// Where it stands.
    #[must_use]
    pub fn state(&self) -> ForwarderState {
        match self.shared.engine.phase() {
            Phase::Stopped | Phase::Gone => ForwarderState::Stopped,
            Phase::Paused => ForwarderState::Paused,
            Phase::Running => ForwarderState::Running,
        }
    }

    /// Its counters, as of now.
    #[must_use]
    pub fn metrics(&self) -> ForwarderMetrics {
        self.shared.engine.metrics()
    }

    /// Subscribes its sources and forwards; nothing to do if it runs. Messages that a
    /// [`stop`](Self::stop) or [`pause`](Self::pause) left go first.
    ///
    /// # Errors
    /// A source's session was removed, or rules a filter out; the forwarder was removed. It stays stopped.
    pub async fn start(&self) -> Result<(), Error> {
        let _control = self.shared.control.lock().await;
        self.start_now()
    }

    /// [`start`](Self::start) for a forwarder that nobody else knows yet.
    pub(super) fn start_now(&self) -> Result<(), Error> {
        let engine = &self.shared.engine;
        if self.shared.removed.load(Ordering::Acquire) {
            return Err(Error::closed().with_context("forwarder", self.name()));
        }
        if !engine.resume() {
            return Ok(());
        }
        match self.subscribe() {
            Ok(running) => {
                self.routes().running = running;
                let forwarder = Arc::clone(&engine.options.name);
                self.emit(EventKind::ForwarderStarted { forwarder });
                Ok(())
            }
            Err(error) => {
                engine.pause();
                Err(error.with_context("forwarder", self.name()))
            }
        }
    }

    /// Sends nothing until [`start`](Self::start), and stays subscribed: what is on its way is still acknowledged, what
    /// arrives waits unacknowledged. So servers send no more than the source's Receive Maximum; with QoS 0 what exceeds
    /// `qos0_queue` is counted as dropped. Nothing to do unless it runs.
    pub async fn pause(&self) {
        let _control = self.shared.control.lock().await;
        self.shared.engine.hold();
    }

    /// Unsubscribes its sources, forwards what arrived, and waits for the acknowledgements of the targets
    /// until `deadline` is over. Returns the number of messages left: they stay unacknowledged, and a
    /// [`start`](Self::start) goes on with them.
    pub async fn stop(&self, deadline: Duration) -> usize {
        let until = Instant::now() + deadline;
        let _control = self.shared.control.lock().await;
        if self.shared.engine.phase() == Phase::Paused {
            self.shared.engine.resume();
        }
        let running = std::mem::take(&mut self.routes().running);
        // The routes take messages until the servers have answered, so that none is lost in between.
        for (session, route) in &running {
            let _ = timeout_at(until, session.leave(route)).await;
        }
        for (_, route) in &running {
            route.unhook();
        }
        let retired = running.into_iter().map(|(_, route)| route);
        self.routes().retired.extend(retired);
        let _ = timeout_at(until, self.shared.engine.drained()).await;
        self.finish_stop()
    }

    /// [`stop`](Self::stop), then starts again.
    ///
    /// # Errors
    /// As for [`start`](Self::start).
    pub async fn restart(&self, deadline: Duration) -> Result<(), Error> {
        self.stop(deadline).await;
        self.start().await
    }

    /// The end of the process: takes nothing more from its sources, without unsubscribing, and waits until
    /// `until` for the targets. What is left stays unacknowledged.
    pub(super) async fn wind_down(&self, until: Instant) -> usize {
        let _control = self.shared.control.lock().await;
        for source in &self.shared.engine.sources {
            source.stop_receiving();
        }
        let _ = timeout_at(until, self.shared.engine.drained()).await;
        self.shared.engine.leave_behind();
        let left = self.finish_stop();
        self.forget();
        left
    }

    /// Ends for good: what is held stays unacknowledged.
    pub(super) fn forget(&self) {
        self.shared.removed.store(true, Ordering::Release);
        let routes = std::mem::take(&mut *self.routes());
        let running = routes.running.into_iter().map(|(_, route)| route);
        for route in running.chain(routes.retired) {
            route.abandon();
        }
        self.shared.engine.abandon();
    }

    fn finish_stop(&self) -> usize {
        let was_running = self.shared.engine.pause();
        let left = self.shared.engine.held();
        if left == 0 {
            self.routes().retired.clear();
        }
        if was_running {
            let forwarder = Arc::clone(&self.shared.engine.options.name);
            self.emit(EventKind::ForwarderStopped { forwarder, unacknowledged: left });
        }
        left
    }

    fn subscribe(&self) -> Result<Vec<(Session, Route)>, Error> {
        let options = &self.shared.engine.options;
        let retain = options.targets.iter().any(|target| target.retain == RetainRule::Source);
        let mut running = Vec::new();
        for (n, (rule, session)) in
            options.sources.iter().zip(&self.shared.engine.sources).enumerate()
        {
            let is_v5 = session.common_options().protocol == Version::V5;
            for (m, filter) in rule.topics.iter().enumerate() {
                let engine = Arc::clone(&self.shared.engine);
                let inlet = Inlet { engine, source: n, filter: m };
                let is_shared = mqttx_proto::split_shared(filter).is_some();
                let route = session
                    .route(filter)
                    .qos(rule.qos)
                    .no_local(is_v5 && !is_shared)
                    .retain_as_published(is_v5 && retain)
                    .by_lot(inlet)?;
                running.push((session.clone(), route));
            }
        }
        Ok(running)
    }

    fn emit(&self, kind: EventKind) {
        if let Some(session) = self.shared.engine.sources.first() {
            session.services().events.emit(None, kind);
        }
    }

    fn routes(&self) -> MutexGuard<'_, Routes> {
        self.shared.routes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Forwarder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Forwarder")
            .field("name", &self.name())
            .field("running", &self.is_running())
            .field("metrics", &self.metrics())
            .finish_non_exhaustive()
    }
}

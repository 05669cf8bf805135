//! The handle of a forwarder.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use mqttx_proto::Version;
use tokio::task::unconstrained;
use tokio::time::{Instant, timeout_at};

use super::arrive::Inlet;
use super::endpoint::RetainRule;
use super::engine::Engine;
use super::flows::Phase;
use super::generations::Generations;
use super::late::Late;
use super::leaving::Routes;
use super::metrics::ForwarderMetrics;
use super::phases::End;
use super::rule::ForwarderOptions;
use crate::error::Error;
use crate::event::EventKind;
use crate::router::{Prepared, Route};
use crate::session::{FailureSink, Session};

/// A forwarder of a [`ForwarderManager`](super::ForwarderManager); clones are handles to the same one.
///
/// A message with QoS > 0 is acknowledged to its source only after every required target acknowledged it.
/// Dropping handles stops nothing.
#[derive(Clone)]
pub struct Forwarder {
    shared: Arc<Shared>,
}

pub(super) struct Shared {
    name: Arc<str>,
    pub(super) generations: Generations,
    pub(super) late: Arc<Late>,
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
    /// It is subscribed and sends nothing, since the session of a required target, or of the dead letters, was removed, and those
    /// that take its place. What the session had not acknowledged was given back; what comes waits unacknowledged, as in a
    /// [pause](Forwarder::pause). It goes on by itself when a session of that name is added, or with
    /// [other rules](super::ForwarderManager::reconfigure).
    Blocked,
    /// It takes nothing.
    Stopped,
}

impl ForwarderState {
    /// Its name: `running`, `paused`, `blocked`, `stopped`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Blocked => "blocked",
            Self::Stopped => "stopped",
        }
    }
}

impl std::fmt::Display for ForwarderState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Forwarder {
    pub(super) fn new(engine: Arc<Engine>) -> Self {
        engine.watch_targets_in_time();
        let shared = Shared {
            name: Arc::clone(&engine.options.name),
            generations: Generations::new(engine),
            control: tokio::sync::Mutex::default(),
            routes: Mutex::default(),
            late: Arc::default(),
            removed: AtomicBool::new(false),
        };
        let forwarder = Self { shared: Arc::new(shared) };
        forwarder.take_back_failures(&forwarder.engine());
        forwarder
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// The same, as metrics carry it.
    pub(crate) fn shared_name(&self) -> Arc<str> {
        Arc::clone(&self.shared.name)
    }

    /// Its rules: a copy.
    #[must_use]
    pub fn options(&self) -> ForwarderOptions {
        self.engine().options.clone()
    }

    /// Whether it takes messages and sends them.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.state() == ForwarderState::Running
    }

    /// Where it stands.
    #[must_use]
    pub fn state(&self) -> ForwarderState {
        let engine = self.engine();
        match engine.phase() {
            Phase::Stopped | Phase::Gone => ForwarderState::Stopped,
            Phase::Paused => ForwarderState::Paused,
            Phase::Running if engine.is_stranded() => ForwarderState::Blocked,
            Phase::Running => ForwarderState::Running,
        }
    }

    /// Its counters, as of now.
    #[must_use]
    pub fn metrics(&self) -> ForwarderMetrics {
        let mut metrics = self.shared.generations.metrics();
        self.shared.late.add_to(&mut metrics);
        metrics
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
        let engine = self.engine();
        if self.is_removed() {
            return Err(Error::closed().with_context("forwarder", self.name()));
        }
        // What a pause or a stop left goes first, by the rules by which it was taken.
        let earlier = self.shared.generations.resume_retired();
        if !engine.resume_after(&earlier) {
            return Ok(());
        }
        match self.subscribe(&engine) {
            Ok(()) => {
                self.shared.generations.end_stranded();
                let forwarder = Arc::clone(&self.shared.name);
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
        let retired = self.shared.generations.retired();
        retired.into_iter().chain([self.engine()]).for_each(|engine| engine.hold());
    }

    /// Unsubscribes its sources, forwards what arrived, and waits for the acknowledgements of the targets
    /// until `deadline` is over. Returns the number of messages left: they stay unacknowledged, and a
    /// [`start`](Self::start) goes on with them. A stop that was begun comes to its end also when the future is dropped.
    pub async fn stop(&self, deadline: Duration) -> usize {
        let (until, this) = (Instant::now() + deadline, self.clone());
        self.to_its_end(async move { this.stop_now(until).await }).await
    }

    /// What must not remain half done, since filters would be subscribed without a route, or routes end with messages on their
    /// way: it does not depend on whoever waits for it. It is begun here, and becomes a task if it has to wait.
    async fn to_its_end(&self, job: impl Future<Output = usize> + Send + 'static) -> usize {
        let Some(source) = self.engine().sources.first().cloned() else { return job.await };
        let runtime = &source.services().runtime;
        let mut job = Box::pin(job);
        let begun = {
            // Its timers are those of the task. That asks again for whatever it waits for, with its own waker.
            let _context = runtime.enter();
            // A task for no more than a budget that is used up would cost two wake-ups of threads.
            pin!(unconstrained(job.as_mut())).poll(&mut Context::from_waker(Waker::noop()))
        };
        match begun {
            Poll::Ready(left) => left,
            // It fails only when the runtime ends.
            Poll::Pending => {
                runtime.spawn(job).await.unwrap_or_else(|_| self.shared.generations.held())
            }
        }
    }

    async fn stop_now(&self, until: Instant) -> usize {
        let _control = self.shared.control.lock().await;
        let engine = self.engine();
        if engine.phase() == Phase::Paused {
            let earlier = self.shared.generations.resume_retired();
            engine.resume_after(&earlier);
        }
        self.leave(until).await;
        let _ = timeout_at(until, engine.drained()).await;
        self.shared.generations.settle(until).await;
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

    /// [`stop`](Self::stop) for good, after [`ForwarderManager::take_out`](super::ForwarderManager::take_out). Returns
    /// the number of messages left. They are given back: no acknowledgement may overtake a missing one, so that their source
    /// connects anew, and its server sends them again. The server of a source that is not persistent would forget them: there
    /// they are acknowledged.
    pub async fn end(&self, deadline: Duration) -> usize {
        let (until, this) = (Instant::now() + deadline, self.clone());
        let end = async move {
            let left = this.stop_now(until).await;
            this.forget(End::Alone);
            left
        };
        self.to_its_end(end).await
    }

    /// The end of the process: takes nothing more from its sources, without unsubscribing, and waits until
    /// `until` for the targets. What is left stays unacknowledged.
    pub(super) async fn wind_down(&self, until: Instant) -> usize {
        for engine in self.shared.generations.retired().iter().chain([&self.engine()]) {
            engine.sources.iter().for_each(Session::stop_receiving);
        }
        // A stop that was begun may have longer: it finds nothing to wait for once this is over.
        let _control = timeout_at(until, self.shared.control.lock()).await;
        let engine = self.engine();
        let _ = timeout_at(until, engine.drained()).await;
        self.shared.generations.settle(until).await;
        for engine in self.shared.generations.retired().into_iter().chain([engine]) {
            engine.leave_behind();
        }
        let left = self.finish_stop();
        self.forget(End::WithAll);
        left
    }

    /// Ends for good.
    pub(super) fn forget(&self, how: End) {
        self.shared.removed.store(true, Ordering::Release);
        let routes = std::mem::take(&mut *self.routes());
        routes.into_all().for_each(Route::abandon);
        self.shared.generations.end_retired(how);
        self.engine().end(how);
    }

    fn finish_stop(&self) -> usize {
        let was_running = self.engine().pause();
        let left = self.shared.generations.held();
        self.routes().forget_retired(left > 0);
        if was_running {
            let forwarder = Arc::clone(&self.shared.name);
            self.emit(EventKind::ForwarderStopped { forwarder, unacknowledged: left });
        }
        left
    }

    pub(super) fn engine(&self) -> Arc<Engine> {
        self.shared.generations.current()
    }

    pub(super) fn generations(&self) -> &Generations {
        &self.shared.generations
    }

    pub(super) fn control(&self) -> &tokio::sync::Mutex<()> {
        &self.shared.control
    }

    /// Whether it is out of the registry, for good.
    pub(super) fn is_removed(&self) -> bool {
        self.shared.removed.load(Ordering::Acquire)
    }

    /// What the targets of this engine stored, and their servers do not take, comes back to the forwarder.
    pub(super) fn take_back_failures(&self, engine: &Engine) {
        engine.register_origin(&(self.weak() as Weak<dyn FailureSink>));
    }

    fn emit(&self, kind: EventKind) {
        if let Some(session) = self.engine().sources.first() {
            session.services().events.emit(None, kind);
        }
    }

    pub(super) fn routes(&self) -> MutexGuard<'_, Routes> {
        self.shared.routes()
    }

    pub(super) fn weak(&self) -> Weak<Shared> {
        Arc::downgrade(&self.shared)
    }
}

impl Shared {
    pub(super) fn routes(&self) -> MutexGuard<'_, Routes> {
        self.routes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The routes of an engine, in the order of its filters.
pub(super) fn inlets(engine: &Arc<Engine>) -> Result<Vec<(Session, Prepared)>, Error> {
    let options = &engine.options;
    let retain = options.targets.iter().any(|target| target.retain == RetainRule::Source);
    let mut inlets = Vec::new();
    for (n, (rule, session)) in options.sources.iter().zip(&engine.sources).enumerate() {
        let is_v5 = session.common_options().protocol == Version::V5;
        for (m, filter) in rule.topics.iter().enumerate() {
            let inlet = Inlet { engine: Arc::clone(engine), source: n, filter: m };
            let is_shared = mqttx_proto::split_shared(filter).is_some();
            let route = session
                .route(filter)
                .qos(rule.qos)
                .no_local(is_v5 && !is_shared)
                .retain_as_published(is_v5 && retain)
                .prepare_by_lot(inlet)?;
            inlets.push((session.clone(), route));
        }
    }
    Ok(inlets)
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

//! Many sessions under one roof: names, routes over all of them, events, one shutdown.

mod by_name;
mod near;
mod observe;
mod routes;
mod sessions;
mod shutdown;
mod snapshot;

pub use shutdown::ShutdownReport;

pub use snapshot::Detail;

pub(crate) use near::near;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::JoinSet;

use sessions::Sessions;
use snapshot::Leaving;

use crate::error::Error;
use crate::event::{EventBus, EventKind};
use crate::metrics::ManagerCounters;
use crate::options::{Kinds, SessionOptions};
use crate::router::{HandlerJobs, Target};
use crate::session::{Alarms, ConnectGate, Services, Session, SessionStatus};
use crate::transport::tls::TlsPool;

/// Holds sessions by name, and what they share: routes over all of them, the event bus and the
/// limit of connection attempts.
///
/// Clones are handles to the same manager. Every method may be called from anywhere, event
/// handlers and message handlers included; none waits for a connection unless its name says so.
/// When the last handle is dropped the sessions end without ceremony: call
/// [`shutdown`](Self::shutdown) to lose nothing.
///
/// ```no_run
/// use mqttx::{QoS, SessionManager, SessionOptions};
/// use std::time::Duration;
///
/// # async fn example() -> Result<(), mqttx::Error> {
/// let manager = SessionManager::new();
/// let plant = manager.add_session(SessionOptions::quick_connect("plant", "localhost:1883").build()?)?;
/// manager.wait_for_session("plant", Duration::from_secs(10)).await?;
/// let _route = manager.handle("sensors/+/temperature", |m| println!("{} {:?}", m.topic(), m.payload()))?;
/// plant.publish("sensors/7/temperature", "21.5", QoS::AtLeastOnce, false).await?;
/// manager.shutdown(Duration::from_secs(5)).await;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct SessionManager {
    inner: Arc<Inner>,
}

/// The options of a [`SessionManager`].
#[derive(Clone, Debug)]
pub struct ManagerBuilder {
    connect_rate: u32,
    event_capacity: usize,
}

pub(crate) struct Inner {
    registry: Mutex<Registry>,
    events: Arc<EventBus>,
    connect_rate: AtomicU32,
    counters: Arc<ManagerCounters>,
    /// From the first call inside a runtime on.
    services: OnceLock<Arc<Services>>,
    newcomers: Mutex<Vec<Weak<dyn Newcomers>>>,
}

/// Learns of sessions that are added, outside of all locks.
pub(crate) trait Newcomers: Send + Sync {
    fn session_added(self: Arc<Self>, session: &Session);
}

#[derive(Default)]
struct Registry {
    sessions: Sessions,
    /// Sessions that are being closed: nobody finds them any more, and they still count.
    leaving: Vec<Session>,
    /// How many left `sessions`.
    removals: u64,
    /// Routes over all sessions, those added later included.
    routes: Vec<Arc<Target>>,
    closed: bool,
    /// Calls of `shutdown` that are under way.
    shutdowns: usize,
    /// One was completed.
    shut_down: bool,
    /// What calls of it that were given up have left: the next one ends these.
    given_up: Vec<Session>,
}

impl Default for ManagerBuilder {
    fn default() -> Self {
        Self { connect_rate: Self::CONNECT_RATE, event_capacity: 1024 }
    }
}

impl ManagerBuilder {
    /// CONNECTs per second unless something else is asked for.
    pub const CONNECT_RATE: u32 = 500;

    /// CONNECTs per second over all sessions, with a burst of a tenth of a second. Default 500; 0
    /// is no limit. It spreads the load of thousands of sessions that come up at once.
    #[must_use]
    pub fn connect_rate(mut self, per_second: u32) -> Self {
        self.connect_rate = per_second;
        self
    }

    /// Events kept for each subscriber that is behind; default 1024, at least 1. Beyond it the
    /// oldest are dropped and an [`EventKind::EventsLagged`] says how many.
    #[must_use]
    pub fn event_capacity(mut self, events: usize) -> Self {
        self.event_capacity = events;
        self
    }

    /// A manager without sessions.
    #[must_use]
    pub fn build(self) -> SessionManager {
        SessionManager {
            inner: Arc::new(Inner {
                registry: Mutex::default(),
                events: EventBus::new(self.event_capacity),
                connect_rate: AtomicU32::new(self.connect_rate),
                counters: Arc::default(),
                services: OnceLock::new(),
                newcomers: Mutex::default(),
            }),
        }
    }
}

/// Sessions: adding, finding, removing.
impl SessionManager {
    /// A manager with default options and no sessions.
    #[must_use]
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// Options first.
    #[must_use]
    pub fn builder() -> ManagerBuilder {
        ManagerBuilder::default()
    }

    /// Adds a session and starts connecting it, unless its options say `manual_connect` or not
    /// `enabled`. Returns at once, whether or not a broker can be reached.
    ///
    /// # Errors
    /// The name is taken, the manager has shut down, or no Tokio runtime is running.
    pub fn add_session(&self, options: SessionOptions) -> Result<Session, Error> {
        let services = self.inner.services()?;
        let mut registry = self.inner.registry();
        registry.check_open()?;
        if registry.sessions.contains(&options.name) {
            let text = format!("a session called '{}' exists already", options.name);
            return Err(Error::session_error(text).with_session(options.name));
        }
        let session = Session::start(options, services)?;
        for target in &registry.routes {
            if let Err(error) = session.attach(target) {
                services.runtime.spawn(async move { session.close().await });
                return Err(error);
            }
        }
        if let Some(before) = self.inner.counted_before(&registry, session.name()) {
            session.go_on_from(before);
        }
        registry.sessions.insert(session.clone());
        // Before the lock is gone, so that no other event of the session is earlier.
        self.inner.events.emit(Some(session.shared_name()), EventKind::SessionAdded);
        drop(registry);
        let told: Vec<_> = self.inner.newcomers().iter().filter_map(Weak::upgrade).collect();
        told.into_iter().for_each(|told| told.session_added(&session));
        Ok(session)
    }

    /// `told` learns of every session that is added from now on.
    pub(crate) fn tell_of_newcomers(&self, told: Weak<dyn Newcomers>) {
        let mut all = self.inner.newcomers();
        all.retain(|known| known.strong_count() > 0);
        all.push(told);
    }

    /// Disconnects a session and forgets it. What it had accepted and not finished is given up:
    /// each `Delivery` resolves with an error, and
    /// [`SessionRemoved`](EventKind::SessionRemoved) tells how many.
    ///
    /// # Errors
    /// No session has that name.
    pub async fn remove_session(&self, name: &str) -> Result<(), Error> {
        let session = {
            let mut registry = self.inner.registry();
            let removed = registry.sessions.remove(name);
            let removed = removed.ok_or_else(|| registry.unknown(name))?;
            registry.leaving.push(removed.clone());
            registry.removals += 1;
            removed
        };
        let leaving = Leaving { inner: &self.inner, session: &session };
        let unacknowledged = session.unacknowledged();
        session.close().await;
        drop(leaving);
        self.inner.events.emit(Some(&name.into()), EventKind::SessionRemoved { unacknowledged });
        Ok(())
    }

    /// The session called `name`.
    ///
    /// # Errors
    /// No session has that name; the error lists near ones.
    pub fn session(&self, name: &str) -> Result<Session, Error> {
        let registry = self.inner.registry();
        registry.sessions.get(name).cloned().ok_or_else(|| registry.unknown(name))
    }

    /// The names of all sessions, in order.
    #[must_use]
    pub fn sessions(&self) -> Vec<String> {
        self.inner.registry().sessions.iter().map(|s| s.name().to_owned()).collect()
    }

    /// The status of every session, by name.
    #[must_use]
    pub fn statuses(&self) -> BTreeMap<String, SessionStatus> {
        self.all().into_iter().map(|s| (s.name().to_owned(), s.status())).collect()
    }

    /// Connects every session that is at rest; returns at once.
    pub fn connect_all(&self) {
        self.all().iter().for_each(Session::connect);
    }

    /// Reads the certificates and keys of all sessions again, whether or not their options watch them. Connections that
    /// begin from now on use them; [`reconnect`](Session::reconnect) renews one that stands.
    ///
    /// # Errors
    /// The first file that cannot be used: what its sessions had before stays. The files of others are taken.
    pub fn reload_tls(&self) -> Result<(), Error> {
        self.inner.services.get().map_or(Ok(()), |services| services.kinds.tls.reload())
    }

    /// Sends DISCONNECT on every session and leaves them at rest until they are connected again.
    pub async fn disconnect_all(&self) {
        each(self.all(), |session| async move { session.disconnect().await }).await;
    }

    /// Waits until a session is connected and its subscriptions are answered.
    ///
    /// # Errors
    /// No session has that name, it failed or was removed meanwhile, or the time is over.
    pub async fn wait_for_session(&self, name: &str, timeout: Duration) -> Result<(), Error> {
        self.session(name)?.wait_ready(timeout).await
    }

    /// Waits until every enabled session is connected and its subscriptions are answered.
    ///
    /// # Errors
    /// Names the sessions that were not ready in time, or that failed.
    pub async fn wait_for_all_sessions(&self, timeout: Duration) -> Result<(), Error> {
        let deadline = tokio::time::Instant::now().checked_add(timeout);
        let mut failed = Vec::new();
        // One after the other: a task for each of thousands would take as much memory as the sessions.
        for session in self.all() {
            if session.common_options().enabled
                && let Err(error) = session.wait_ready_until(deadline, timeout).await
            {
                failed.push((session, error));
            }
        }
        let Some((_, first)) = failed.first() else { return Ok(()) };
        let names: Vec<&str> = failed.iter().map(|(session, _)| session.name()).collect();
        let text = format!("{} sessions are not ready: {}", names.len(), names.join(", "));
        let error = if failed.iter().any(|(_, e)| e.is_timeout()) {
            Error::timeout(text)
        } else {
            Error::session_error(text)
        };
        Err(error.with_source(first.clone()))
    }

    /// Another [`connect_rate`](ManagerBuilder::connect_rate), for attempts that begin from now on.
    pub fn set_connect_rate(&self, per_second: u32) {
        self.inner.connect_rate.store(per_second, Ordering::Relaxed);
        if let Some(services) = self.inner.services.get() {
            services.gate.set_rate(per_second);
        }
    }

    fn all(&self) -> Vec<Session> {
        self.inner.registry().sessions.iter().cloned().collect()
    }
}

impl Default for SessionManager {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for SessionManager {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionManager").field("sessions", &self.sessions()).finish()
    }
}

impl Inner {
    fn newcomers(&self) -> MutexGuard<'_, Vec<Weak<dyn Newcomers>>> {
        self.newcomers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the sessions need.
    ///
    /// # Errors
    /// No Tokio runtime is running.
    fn services(&self) -> Result<&Arc<Services>, Error> {
        if let Some(services) = self.services.get() {
            return Ok(services);
        }
        let runtime = Handle::try_current().map_err(|source| {
            Error::config("call this inside a Tokio runtime").with_source(source)
        })?;
        let services = || Services {
            events: Arc::clone(&self.events),
            gate: ConnectGate::new(self.connect_rate.load(Ordering::Relaxed)),
            alarms: Alarms::new(&runtime),
            jobs: HandlerJobs::new(runtime.clone()),
            kinds: Kinds::new(TlsPool::new(Arc::clone(&self.events), runtime.clone())),
            runtime,
            counters: Arc::clone(&self.counters),
        };
        Ok(self.services.get_or_init(|| Arc::new(services())))
    }

    fn registry(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Registry {
    fn check_open(&self) -> Result<(), Error> {
        if self.closed { Err(Error::closed()) } else { Ok(()) }
    }

    fn unknown(&self, name: &str) -> Error {
        let near = near(name, self.sessions.iter().map(Session::name));
        let text = match near.as_slice() {
            [] if self.sessions.len() == 0 => {
                format!("no session is called '{name}': there is none")
            }
            [] => format!("no session is called '{name}'"),
            [only] => format!("no session is called '{name}': did you mean '{only}'?"),
            several => {
                format!(
                    "no session is called '{name}': did you mean one of '{}'?",
                    several.join("', '")
                )
            }
        };
        Error::session_error(text).with_session(name)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let (sessions, routes) = {
            let mut registry = self.registry();
            let mut sessions = std::mem::take(&mut registry.sessions).into_vec();
            sessions.append(&mut registry.given_up);
            (sessions, std::mem::take(&mut registry.routes))
        };
        let last = Last { routes, events: Arc::clone(&self.events) };
        let Some(services) = self.services.get() else { return };
        services.runtime.spawn(async move {
            each(sessions, |session| async move { session.close().await }).await;
            drop(last);
        });
    }
}

/// What ends after the sessions, or with their runtime.
struct Last {
    routes: Vec<Arc<Target>>,
    events: Arc<EventBus>,
}

impl Drop for Last {
    fn drop(&mut self) {
        self.routes.iter().for_each(|route| route.end());
        self.events.close();
    }
}

/// Runs `job` for all sessions at once; the results come in the order of the sessions.
async fn each<F, Fut, T>(sessions: Vec<Session>, job: F) -> Vec<(String, T)>
where
    F: Fn(Session) -> Fut,
    Fut: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    let mut jobs = JoinSet::new();
    for (i, session) in sessions.into_iter().enumerate() {
        let name = session.name().to_owned();
        let future = job(session);
        jobs.spawn(async move { (i, name, future.await) });
    }
    let mut results = Vec::with_capacity(jobs.len());
    while let Some(done) = jobs.join_next().await {
        // A job that is cancelled belongs to a runtime that shuts down: nobody reads the results.
        results.extend(done.ok());
    }
    results.sort_unstable_by_key(|(i, ..)| *i);
    results.into_iter().map(|(_, name, result)| (name, result)).collect()
}

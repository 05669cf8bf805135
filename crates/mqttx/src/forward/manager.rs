//! The registry of forwarders.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::cycle::find_cycles;
use super::endpoint::TargetRule;
use super::engine::{Ends, Engine};
use super::handle::Forwarder;
use super::metrics::ForwarderMetrics;
use super::rule::ForwarderOptions;
use super::takeover::take_over;
use crate::error::Error;
use crate::manager::{SessionManager, near};
use crate::session::Session;

/// Holds forwarders by name, between the sessions of one [`SessionManager`].
///
/// Clones are handles to the same registry.
///
/// ```no_run
/// use mqttx::{ForwarderBuilder, ForwarderManager, SessionManager, SessionOptions};
/// use std::time::Duration;
///
/// # async fn example() -> Result<(), mqttx::Error> {
/// let sessions = SessionManager::new();
/// sessions.add_session(SessionOptions::quick_connect("plant", "plant:1883").build()?)?;
/// sessions.add_session(SessionOptions::quick_connect("cloud", "cloud:1883").build()?)?;
///
/// let forwarders = ForwarderManager::new(&sessions);
/// let telemetry = forwarders.add_forwarder(
///     ForwarderBuilder::new("telemetry")
///         .source("plant", "sensors/+/temperature")
///         .target("cloud")
///         .topic("site/{1}/temp")
///         .build()?,
/// )?;
/// println!("{} forwarded", telemetry.metrics().forwarded);
///
/// let left = forwarders.shutdown(Duration::from_secs(10)).await;
/// sessions.shutdown(Duration::from_secs(10)).await;
/// assert_eq!(left, 0);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct ForwarderManager {
    shared: Arc<Shared>,
}

pub(super) struct Shared {
    /// What messages say of where they passed.
    name: Box<str>,
    sessions: SessionManager,
    forwarders: Mutex<BTreeMap<String, Forwarder>>,
}

impl ForwarderManager {
    /// An empty registry with a random name.
    #[must_use]
    pub fn new(sessions: &SessionManager) -> Self {
        Self::named(sessions, format!("{:016x}", random()))
    }

    /// An empty registry. On MQTT 5, messages say which forwarders they passed, as `NAME/FORWARDER`, so that they do
    /// not run in circles: give the same name after a restart, and another one to each process.
    #[must_use]
    pub fn named(sessions: &SessionManager, name: impl Into<String>) -> Self {
        let name = name.into().into();
        let shared = Shared { name, sessions: sessions.clone(), forwarders: Mutex::default() };
        let shared = Arc::new(shared);
        let newcomers: Weak<Shared> = Arc::downgrade(&shared);
        sessions.tell_of_newcomers(newcomers);
        Self { shared }
    }

    pub(super) fn of(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Adds a forwarder and starts it, unless its options say not [`enabled`](ForwarderOptions::is_enabled).
    ///
    /// # Errors
    /// The name is taken; a session does not exist (the error lists near names); it would close a circle
    /// with others through a session without no-local (MQTT 3.1.1); a session rules a filter out.
    pub fn add_forwarder(&self, options: ForwarderOptions) -> Result<Forwarder, Error> {
        let mut forwarders = self.lock();
        if forwarders.contains_key(options.name()) {
            let text = format!("a forwarder called '{}' exists already", options.name());
            return Err(Error::forwarder(text));
        }
        self.check_circles(std::slice::from_ref(&options), &[], &forwarders)?;
        let enabled = options.is_enabled();
        let forwarder = Forwarder::new(self.engine(options)?);
        if enabled {
            forwarder.start_now()?;
        }
        forwarders.insert(forwarder.name().to_owned(), forwarder.clone());
        Ok(forwarder)
    }

    /// Gives forwarders other rules, adds those that are not there, and [takes out](Self::take_out) those named in
    /// `removed`, in one go. One that runs goes on running: its sources
    /// are not unsubscribed where the filter stays, no connection is touched, and every message is forwarded once,
    /// by the rules of the moment when it arrived. A stopped one stays so, unless
    /// [`enabled`](ForwarderOptions::is_enabled) changed; one that is not enabled any more is
    /// [stopped](Forwarder::stop) within `deadline`. [`settle`](Forwarder::settle) waits for what the changed ones
    /// took by their old rules, [`end`](Forwarder::end) for the removed ones. One that comes in the place of a removed one, with
    /// the same filter of the same source, takes what arrives from then on in its place. It comes to its end also
    /// when the future is dropped.
    ///
    /// # Errors
    /// As for [`add_forwarder`](Self::add_forwarder), with all of them in place. Everything is as before then.
    pub async fn reconfigure(
        &self,
        rules: Vec<ForwarderOptions>,
        removed: &[String],
        deadline: Duration,
    ) -> Result<Reconfigured, Error> {
        let (changes, added) = self.prepare(rules, removed)?;
        let engines = changes.iter().map(|(_, engine)| Arc::clone(engine));
        let mut engines = engines.chain(added.iter().map(Forwarder::engine));
        let source = engines.next().and_then(|engine| engine.sources.first().cloned());
        drop(engines);
        let (this, removed) = (self.clone(), removed.to_vec());
        let job = async move {
            let changed = this.carry_out(changes, &added, deadline).await?;
            this.catch_up(&changed).await;
            let removed: Vec<Forwarder> = {
                let mut forwarders = this.lock();
                removed.iter().filter_map(|name| forwarders.remove(name)).collect()
            };
            take_over(&added, &removed).await;
            Ok(Reconfigured { added, changed, removed })
        };
        match source {
            // Half of it would leave forwarders that send nothing. The task fails only when the runtime ends.
            Some(source) => {
                source.services().runtime.spawn(job).await.unwrap_or_else(|_| Err(Error::closed()))
            }
            None => job.await,
        }
    }

    /// Checks all rules and finds their sessions. New forwarders are in the registry then, and do not run.
    pub(super) fn prepare(
        &self,
        rules: Vec<ForwarderOptions>,
        removed: &[String],
    ) -> Result<(Changes, Vec<Forwarder>), Error> {
        let mut forwarders = self.lock();
        if let Some(name) = removed.iter().find(|name| !forwarders.contains_key(*name)) {
            return Err(unknown(name, &forwarders));
        }
        self.check_circles(&rules, removed, &forwarders)?;
        let engines =
            rules.into_iter().map(|rules| self.engine(rules)).collect::<Result<Vec<_>, _>>()?;
        let (mut changes, mut added) = (Vec::new(), Vec::new());
        for engine in engines {
            match forwarders.get(&*engine.options.name) {
                Some(known) => changes.push((known.clone(), engine)),
                None => added.push(Forwarder::new(engine)),
            }
        }
        for forwarder in &added {
            forwarders.insert(forwarder.name().to_owned(), forwarder.clone());
        }
        Ok((changes, added))
    }

    /// [Stops](Forwarder::stop) a forwarder and forgets it. Returns the number of messages that were left
    /// and given back, as by [`end`](Forwarder::end).
    ///
    /// # Errors
    /// No forwarder has that name.
    pub async fn remove(&self, name: &str, deadline: Duration) -> Result<usize, Error> {
        Ok(self.take_out(name)?.end(deadline).await)
    }

    /// The first half of [`remove`](Self::remove): its name is free at once, and it goes on until its
    /// [`end`](Forwarder::end).
    ///
    /// # Errors
    /// No forwarder has that name.
    pub fn take_out(&self, name: &str) -> Result<Forwarder, Error> {
        let mut forwarders = self.lock();
        forwarders.remove(name).ok_or_else(|| unknown(name, &forwarders))
    }

    /// The forwarder called `name`.
    ///
    /// # Errors
    /// No forwarder has that name; the error lists near ones.
    pub fn get(&self, name: &str) -> Result<Forwarder, Error> {
        let forwarders = self.lock();
        forwarders.get(name).cloned().ok_or_else(|| unknown(name, &forwarders))
    }

    /// All forwarders, in the order of their names.
    #[must_use]
    pub fn list(&self) -> Vec<Forwarder> {
        self.lock().values().cloned().collect()
    }

    /// The counters of all forwarders, by name.
    #[must_use]
    pub fn all_metrics(&self) -> BTreeMap<String, ForwarderMetrics> {
        self.list().into_iter().map(|f| (f.name().to_owned(), f.metrics())).collect()
    }

    /// [Stops](Forwarder::stop) all forwarders at once. Returns the number of messages that were left.
    pub async fn stop_all(&self, deadline: Duration) -> usize {
        let mut jobs = JoinSet::new();
        for forwarder in self.list() {
            jobs.spawn(async move { forwarder.stop(deadline).await });
        }
        jobs.join_all().await.into_iter().sum()
    }

    /// The end of the process: from now on what arrives at the source sessions stays unacknowledged, and
    /// nothing is unsubscribed, so that a persistent session gets it again. Waits until `deadline` is over
    /// for the acknowledgements of the targets, and returns the number of messages that were left. Shut
    /// the [`SessionManager`] down after it.
    pub async fn shutdown(&self, deadline: Duration) -> usize {
        let until = Instant::now() + deadline;
        let mut jobs = JoinSet::new();
        for forwarder in self.list() {
            jobs.spawn(async move { forwarder.wind_down(until).await });
        }
        jobs.join_all().await.into_iter().sum()
    }

    pub(super) fn session(&self, name: &str) -> Result<Session, Error> {
        self.shared.sessions.session(name)
    }

    /// A moving part for these rules, between the sessions that they name.
    pub(super) fn engine(&self, options: ForwarderOptions) -> Result<Arc<Engine>, Error> {
        let find = |name: &str| {
            let found = self.shared.sessions.session(name);
            found.map_err(|error| error.with_context("forwarder", options.name()))
        };
        let all = |rule: &TargetRule| {
            rule.sessions().map(|name| find(name)).collect::<Result<Vec<Session>, _>>()
        };
        let ends = Ends {
            sources: options.source_sessions().map(find).collect::<Result<_, _>>()?,
            targets: options.targets.iter().map(all).collect::<Result<_, _>>()?,
            dead_letters: options.rules.dead_letter.as_ref().map(all).transpose()?,
        };
        Ok(Engine::new(options, ends, &self.shared.name))
    }

    /// With the new rules, and those of the other forwarders that stay.
    fn check_circles(
        &self,
        new: &[ForwarderOptions],
        removed: &[String],
        forwarders: &BTreeMap<String, Forwarder>,
    ) -> Result<(), Error> {
        let others = forwarders.values().map(Forwarder::options);
        let goes = |old: &ForwarderOptions| removed.iter().any(|name| name == old.name());
        let stays = |old: &ForwarderOptions| new.iter().all(|new| new.name() != old.name());
        let others: Vec<_> = others.filter(|old| stays(old) && !goes(old)).collect();
        let all: Vec<&ForwarderOptions> = others.iter().chain(new).collect();
        let version =
            |name: &str| Some(self.shared.sessions.session(name).ok()?.common_options().protocol);
        match find_cycles(&all, version).into_iter().next() {
            Some(cycle) => Err(Error::forwarder(cycle.to_string()).with_source(cycle)),
            None => Ok(()),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Forwarder>> {
        self.shared.forwarders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for ForwarderManager {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ForwarderManager").field("forwarders", &self.list()).finish()
    }
}

/// What [`ForwarderManager::reconfigure`] did.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Reconfigured {
    /// Those that were not there before.
    pub added: Vec<Forwarder>,
    /// Those that got other rules.
    pub changed: Vec<Forwarder>,
    /// Those that are out of the registry, and go on until their [`end`](Forwarder::end).
    pub removed: Vec<Forwarder>,
}

/// Forwarders and what they are to go on with.
pub(super) type Changes = Vec<(Forwarder, Arc<Engine>)>;

fn random() -> u64 {
    // The keys of the standard library's maps are random.
    RandomState::new().hash_one(0)
}

fn unknown(name: &str, forwarders: &BTreeMap<String, Forwarder>) -> Error {
    let near = near(name, forwarders.keys().map(String::as_str));
    Error::forwarder(match near.as_slice() {
        [] if forwarders.is_empty() => format!("no forwarder is called '{name}': there is none"),
        [] => format!("no forwarder is called '{name}'"),
        [only] => format!("no forwarder is called '{name}': did you mean '{only}'?"),
        several => {
            format!(
                "no forwarder is called '{name}': did you mean one of '{}'?",
                several.join("', '")
            )
        }
    })
}

//! From the configuration that runs to another one.
//!
//! First everything that can fail is done in a way that can be taken back: new stores are opened, new sessions added,
//! forwarders given their rules. Only then are sessions changed, and what is gone ends.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mqttx::store::Store;
use mqttx::{
    Forwarder, ForwarderOptions, Reconfigured, Secret, Session, SessionOptions, SessionStatus,
};
use tokio::task::JoinSet;

use super::daemon::{Daemon, prepare};
use super::reload::{Changes, Names, Outcome};
use crate::config::{DaemonConfig, DefinedStore, HttpSection, Problem};

/// What is to be done, as far as it is known without doing it.
#[derive(Default)]
struct Plan {
    added: Vec<SessionOptions>,
    /// Sessions that go on, with what is asked of them now; many are asked for the same as before.
    kept: Vec<(Session, SessionOptions)>,
    removed: Vec<String>,
    forwarders: Vec<ForwarderOptions>,
    removed_forwarders: Vec<String>,
    new_stores: Vec<(String, DefinedStore)>,
}

impl Daemon {
    /// Applies what differs from what runs.
    ///
    /// # Errors
    /// Something that `config` asks for cannot be had. All is as before then.
    pub(super) async fn apply(&mut self, path: &Path, mut config: DaemonConfig) -> Outcome {
        let mut changes = Changes::default();
        let problem = |error: &dyn std::fmt::Display| vec![Problem::of_whole(path, error)];
        self.compare_settings(&config, &mut changes);
        let plan = self.plan(&mut config, &mut changes);
        for (name, store) in &plan.new_stores {
            let prepared = prepare(store, &config).await;
            prepared.map_err(|error| problem(&format_args!("store {name}: {error}")))?;
            changes.stores.added.push(name.clone());
        }
        let new = self.add_all(plan.added).await.map_err(|error| problem(&error))?;
        changes.sessions.added.extend(new.iter().map(|(session, _)| session.name().to_owned()));
        let grace = config.daemon.shutdown_grace;
        let forwarders =
            self.forwarders.reconfigure(plan.forwarders, &plan.removed_forwarders, grace).await;
        let forwarders = match forwarders {
            Ok(forwarders) => forwarders,
            Err(error) => {
                for (session, _) in &new {
                    // It was added a moment ago.
                    let _ = self.sessions.remove_session(session.name()).await;
                }
                return Err(problem(&error));
            }
        };
        // From here on nothing goes back.
        self.reload_certificates(&mut changes).await;
        new.iter().filter(|(_, connects)| *connects).for_each(|(session, _)| session.connect());
        self.reconfigure(plan.kept, &mut changes).await;
        changes.forwarders = names(&forwarders);
        self.finish_old(forwarders, plan.removed, grace, &mut changes).await;
        self.close_stores(&config, &mut changes).await;
        let effective = std::mem::take(&mut config.effective);
        self.take_settings(config);
        self.stores.extend(plan.new_stores);
        if let Some(http) = &self.http {
            http.change(self.facts(effective, SystemTime::now()));
        }
        Ok(changes)
    }

    /// Certificates may have changed under the same names, also where nobody watches them.
    async fn reload_certificates(&self, changes: &mut Changes) {
        let sessions = self.sessions.clone();
        let reloaded = tokio::task::spawn_blocking(move || sessions.reload_tls()).await;
        if let Ok(Err(error)) = reloaded {
            changes.notes.push(format!("changed certificates are not used: {error}"));
        }
    }

    /// `[daemon]`, `[http]` and `[log]`.
    fn compare_settings(&self, config: &DaemonConfig, changes: &mut Changes) {
        let (before, now) = (&self.section, &config.daemon);
        let mut changed = |key: &str, differs: bool| {
            changes.settings.extend(differs.then(|| key.to_owned()));
        };
        changed("daemon.shutdown_grace", before.shutdown_grace != now.shutdown_grace);
        changed("daemon.connect_rate", before.connect_rate != now.connect_rate);
        let (http, new_http) = (self.http_section.as_ref(), config.http.as_ref());
        if let (Some(before), Some(now)) = (http, new_http) {
            changed("http.token", before.token.as_ref() != token_of(before, now));
            changed("http.per_session_limit", before.per_session_limit != now.per_session_limit);
        }
        changed("log.format", self.log_section.format != config.log.format);
        changed("log.level", self.log_section.level != config.log.level);
        let named = now.name.is_some() && before.name != now.name;
        changes.restart.extend(named.then(|| "daemon.name".to_owned()));
        let address = |section: Option<&HttpSection>| section.map(|section| section.listen);
        let elsewhere = address(http) != address(new_http);
        changes.restart.extend(elsewhere.then(|| "http.listen".to_owned()));
        let moved = self.data_dir != config.data_dir;
        changes.restart.extend(moved.then(|| "daemon.data_dir".to_owned()));
    }

    fn plan(&self, config: &mut DaemonConfig, changes: &mut Changes) -> Plan {
        let mut plan = Plan::default();
        for (name, store) in &config.stores {
            if !self.stores.contains_key(name) {
                plan.new_stores.push((name.clone(), store.clone()));
            } else if self.fingerprints.stores.get(name) != config.fingerprints.stores.get(name) {
                changes.restart.push(format!("stores.{name}"));
            }
        }
        let mut gone: BTreeSet<String> = self.sessions.sessions().into_iter().collect();
        for mut options in std::mem::take(&mut config.sessions) {
            options.store = options.store.map(|store| self.running(&store, config));
            gone.remove(&options.name);
            let Ok(session) = self.sessions.session(&options.name) else {
                plan.added.push(options);
                continue;
            };
            let before = session.options();
            let what = match (before.protocol == options.protocol, same_store(&before, &options)) {
                (true, true) => {
                    plan.kept.push((session, options));
                    continue;
                }
                (false, _) => "protocol",
                (true, false) => "store",
            };
            changes.restart.push(format!("sessions.{}.{what}", options.name));
        }
        plan.removed = gone.into_iter().collect();
        let (before, now) = (&self.fingerprints.forwarders, &config.fingerprints.forwarders);
        let all = std::mem::take(&mut config.forwarders).into_iter();
        plan.forwarders =
            all.filter(|rules| before.get(rules.name()) != now.get(rules.name())).collect();
        plan.removed_forwarders =
            before.keys().filter(|name| !now.contains_key(*name)).cloned().collect();
        plan
    }

    /// The store that runs under the name that `store` has in the file, if there is one.
    fn running(&self, store: &Arc<dyn Store>, config: &DaemonConfig) -> Arc<dyn Store> {
        let named = config.stores.iter().find(|(_, defined)| Arc::ptr_eq(&defined.store, store));
        let running = named.and_then(|(name, _)| self.stores.get(name));
        running.map_or_else(|| Arc::clone(store), |running| Arc::clone(&running.store))
    }

    /// All of them, or none: with whether they are to be connected.
    async fn add_all(
        &self,
        all: Vec<SessionOptions>,
    ) -> Result<Vec<(Session, bool)>, mqttx::Error> {
        let mut added: Vec<(Session, bool)> = Vec::new();
        for options in all {
            let name = options.name.clone();
            let outcome = self.add(options);
            match outcome.and_then(|ready| Ok((self.sessions.session(&name)?, ready.is_some()))) {
                Ok(new) => added.push(new),
                Err(error) => {
                    for (session, _) in &added {
                        // It was added a moment ago.
                        let _ = self.sessions.remove_session(session.name()).await;
                    }
                    return Err(error);
                }
            }
        }
        Ok(added)
    }

    /// Sessions that go on: changed ones reconnect, each alone; one that stopped gets another chance.
    async fn reconfigure(&self, kept: Vec<(Session, SessionOptions)>, changes: &mut Changes) {
        for (session, options) in kept {
            let was_enabled = session.options().enabled;
            let connects = options.enabled && !options.manual_connect;
            match session.reconfigure(self.dressed(options)) {
                Ok(true) => changes.sessions.changed.push(session.name().to_owned()),
                Ok(false) => {}
                // It was checked with the file; the file of its password may be gone since.
                Err(error) => changes.notes.push(error.to_string()),
            }
            if !connects && was_enabled {
                session.disconnect().await;
            } else if connects && (!was_enabled || session.status() == SessionStatus::Failed) {
                session.connect();
            }
        }
    }

    /// What runs by old rules, or not at all any more, finishes what it has.
    async fn finish_old(
        &self,
        forwarders: Reconfigured,
        removed: Vec<String>,
        grace: Duration,
        changes: &mut Changes,
    ) {
        let mut jobs = JoinSet::new();
        for forwarder in forwarders.changed {
            jobs.spawn(async move { (forwarder.settle(grace).await, forwarder) });
        }
        for forwarder in forwarders.removed {
            jobs.spawn(async move { (forwarder.end(grace).await, forwarder) });
        }
        while let Some(Ok((left, forwarder))) = jobs.join_next().await {
            if left > 0 {
                let name = forwarder.name();
                changes.notes.push(format!(
                    "forwarder {name}: {left} messages taken by its old rules were not acknowledged: their servers get them back"
                ));
            }
        }
        let mut jobs = JoinSet::new();
        for session in removed.iter().filter_map(|name| self.sessions.session(name).ok()) {
            jobs.spawn(async move { (session.flush(grace).await, session) });
        }
        while let Some(Ok((flushed, session))) = jobs.join_next().await {
            if let Err(error) =
                flushed.as_ref().err().filter(|_| session.unacknowledged() > 0).map_or(Ok(()), Err)
            {
                changes.notes.push(format!("session {}: removed: {error}", session.name()));
            }
            // Nobody else removes sessions.
            let _ = self.sessions.remove_session(session.name()).await;
        }
        changes.sessions.removed = removed;
    }

    /// Stores that no session uses any more.
    async fn close_stores(&mut self, config: &DaemonConfig, changes: &mut Changes) {
        let gone: Vec<String> =
            self.stores.keys().filter(|name| !config.stores.contains_key(*name)).cloned().collect();
        for name in gone {
            if let Some(store) = self.stores.remove(&name) {
                let _ = tokio::time::timeout(CLOSING, store.store.close()).await;
            }
            changes.stores.removed.push(name);
        }
    }

    fn take_settings(&mut self, config: DaemonConfig) {
        let rate = config.daemon.connect_rate;
        if self.section.connect_rate != rate {
            self.sessions.set_connect_rate(rate.unwrap_or(mqttx::ManagerBuilder::CONNECT_RATE));
        }
        self.log.change(&config.log);
        self.log_section = config.log;
        if let (Some(before), Some(now)) = (&mut self.http_section, config.http) {
            let token = token_of(before, &now).cloned();
            // Its address counts after a restart.
            *before = HttpSection { listen: before.listen, token, ..now };
        }
        let name = self.section.name.take();
        self.section = config.daemon;
        // It counts after a restart.
        self.section.name = name;
        self.fingerprints.forwarders = config.fingerprints.forwarders;
        for (name, fingerprint) in config.fingerprints.stores {
            // One that runs goes on as it was.
            self.fingerprints.stores.entry(name).or_insert(fingerprint);
        }
        let stores = &self.stores;
        self.fingerprints
            .stores
            .retain(|name, _| stores.contains_key(name) || config.stores.contains_key(name));
    }
}

/// For a store to have what it was given.
const CLOSING: Duration = Duration::from_secs(5);

/// The token from now on. An address that is served until the restart, and that others may reach, is not left without one because
/// the next address needs none.
fn token_of<'a>(before: &'a HttpSection, now: &'a HttpSection) -> Option<&'a Secret> {
    let kept = before.token.as_ref().filter(|_| before.listen != now.listen);
    now.token.as_ref().or(kept)
}

fn same_store(one: &SessionOptions, other: &SessionOptions) -> bool {
    match (&one.store, &other.store) {
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        (one, other) => one.is_none() && other.is_none(),
    }
}

fn names(forwarders: &Reconfigured) -> Names {
    let names = |all: &[Forwarder]| all.iter().map(|one| one.name().to_owned()).collect();
    Names {
        added: names(&forwarders.added),
        changed: names(&forwarders.changed),
        removed: names(&forwarders.removed),
    }
}

//! Other rules for forwarders that run.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::engine::Engine;
use super::flows::Phase;
use super::handle::{Forwarder, ForwarderState, inlets};
use super::manager::{Changes, ForwarderManager};
use super::phases::End;
use super::rule::ForwarderOptions;
use crate::error::Error;
use crate::router::{Prepared, Route};
use crate::session::Session;

/// A forwarder that has other rules now, with what it was before.
struct Changed {
    forwarder: Forwarder,
    rules: ForwarderOptions,
    state: ForwarderState,
}

impl Changed {
    /// The new rules begin or end it.
    fn turns(&self, enabled: bool) -> bool {
        self.rules.is_enabled() != enabled && self.forwarder.options().is_enabled() == enabled
    }
}

impl ForwarderManager {
    /// Gives forwarders their engines, all of them at once, and starts and stops those that are to be; the changed ones in their
    /// order. Each waits for nobody but its own sessions and targets.
    pub(super) async fn carry_out(
        &self,
        changes: Changes,
        added: &[Forwarder],
        deadline: Duration,
    ) -> Result<Vec<Forwarder>, Error> {
        let mut jobs = JoinSet::new();
        for (n, (forwarder, engine)) in changes.into_iter().enumerate() {
            let (rules, state) = (forwarder.options(), forwarder.state());
            jobs.spawn(async move {
                let outcome = forwarder.advance(engine).await;
                (n, outcome.map(|()| Changed { forwarder, rules, state }))
            });
        }
        let mut outcomes = jobs.join_all().await;
        outcomes.sort_by_key(|(n, _)| *n);
        let (mut changed, mut failure) = (Vec::new(), None);
        for (_, outcome) in outcomes {
            match outcome {
                Ok(done) => changed.push(done),
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        // What can fail comes first.
        let begin = changed.iter().filter(|changed| changed.turns(true));
        let begin = begin.map(|changed| &changed.forwarder);
        let new = added.iter().filter(|forwarder| forwarder.options().is_enabled());
        for forwarder in new.chain(begin) {
            if failure.is_none() {
                failure = forwarder.start().await.err();
            }
        }
        if let Some(error) = failure {
            self.take_back(changed, added, deadline).await;
            return Err(error);
        }
        let mut jobs = JoinSet::new();
        for end in changed.iter().filter(|changed| changed.turns(false)) {
            let forwarder = end.forwarder.clone();
            jobs.spawn(async move { forwarder.stop(deadline).await });
        }
        jobs.join_all().await;
        Ok(changed.into_iter().map(|changed| changed.forwarder).collect())
    }

    /// Undoes half a change.
    async fn take_back(&self, changed: Vec<Changed>, added: &[Forwarder], deadline: Duration) {
        for forwarder in added {
            self.lock().remove(forwarder.name());
            forwarder.forget(End::Alone);
        }
        let mut jobs = JoinSet::new();
        for Changed { forwarder, rules, state } in changed {
            // Its sessions were there a moment ago; without them it cannot run by its old rules, either.
            let engine = self.engine(rules);
            jobs.spawn(async move {
                if state == ForwarderState::Stopped && forwarder.state() != state {
                    forwarder.stop(deadline).await;
                }
                if let Ok(engine) = engine {
                    let _ = forwarder.advance(engine).await;
                }
            });
        }
        jobs.join_all().await;
    }
}

impl Forwarder {
    /// Goes on with another engine. Every message is taken by one of the two; what the old one took, it finishes by the old
    /// rules, and before it is with its targets the new one sends nothing to the same sessions.
    pub(super) async fn advance(&self, engine: Arc<Engine>) -> Result<(), Error> {
        let _control = self.control().lock().await;
        self.advance_now(engine).await
    }

    /// [`advance`](Self::advance) for whoever has the control.
    pub(super) async fn advance_now(&self, engine: Arc<Engine>) -> Result<(), Error> {
        let located = |error: Error| error.with_context("forwarder", self.name());
        if self.is_removed() {
            return Err(located(Error::closed()));
        }
        let before = self.engine();
        engine.take_sessions_of(&before);
        engine.watch_targets_in_time();
        self.take_back_failures(&engine);
        let phase = before.phase();
        if !matches!(phase, Phase::Running | Phase::Paused) {
            let retired = self.take_retired(Instant::now() + HANDOVER).await;
            self.generations().advance(engine, retired);
            return Ok(());
        }
        engine.begin_held();
        if phase == Phase::Paused {
            engine.hold();
        }
        let old = std::mem::take(&mut self.routes().running);
        match replace(inlets(&engine), &old) {
            Ok(running) => self.routes().running = running,
            Err(error) => {
                engine.end(End::Alone);
                self.routes().running = old;
                return Err(located(error));
            }
        }
        let (mut sessions, routes): (Vec<Session>, Vec<Route>) = old.into_iter().unzip();
        self.generations().advance(Arc::clone(&engine), routes);
        // Whoever found the old routes before they were replaced has handed over what it had.
        sessions.dedup_by(|one, other| one.name() == other.name());
        let mut pulses = JoinSet::new();
        for session in sessions {
            pulses.spawn(async move { session.pulse(HANDOVER).await });
        }
        pulses.join_all().await;
        if phase == Phase::Running {
            let _ = timeout(HANDOVER, before.sent()).await;
        }
        engine.take_pace_of(&before);
        // In the order of arrival. Another target does not wait for one that takes nothing.
        engine.release_after(&self.generations().retired());
        Ok(())
    }

    /// Waits until what was taken by earlier rules is acknowledged by its targets, but for what a
    /// [`pause`](Self::pause) or a [`stop`](Self::stop) left: that goes on with [`start`](Self::start). What is not acknowledged when `deadline` is over is
    /// given back: its source connects anew, so that its server sends it again, to be forwarded by today's rules. The server of a
    /// source that is not persistent would forget it: there it is acknowledged. Returns how many messages these are.
    pub async fn settle(&self, deadline: Duration) -> usize {
        if self.generations().settle(Instant::now() + deadline).await {
            return 0;
        }
        self.generations().end_running()
    }
}

/// New routes for old ones, session by session; on an error all is as before.
pub(super) fn replace(
    new: Result<Vec<(Session, Prepared)>, Error>,
    old: &[(Session, Route)],
) -> Result<Vec<(Session, Route)>, Error> {
    let mut new = new?;
    let mut sessions: Vec<Session> = Vec::new();
    let all = new.iter().map(|(session, _)| session).chain(old.iter().map(|(session, _)| session));
    for session in all {
        if !sessions.iter().any(|known| known.name() == session.name()) {
            sessions.push(session.clone());
        }
    }
    // Nothing else can be wrong: the filters are checked.
    new.iter().try_for_each(|(session, _)| session.check_open())?;
    let mut running = Vec::new();
    for session in sessions {
        let is_here = |(other, _): &mut (Session, Prepared)| other.name() == session.name();
        let here: Vec<Prepared> = new.extract_if(.., is_here).map(|(_, route)| route).collect();
        let gone = old.iter().filter(|(other, _)| other.is(&session));
        let gone: Vec<&Route> = gone.map(|(_, route)| route).collect();
        let takes = !here.is_empty();
        let routes = match session.replace_routes(here, &gone) {
            Ok(routes) => routes,
            Err(error) if takes => return Err(error),
            // A session that was removed has no routes any more.
            Err(_) => continue,
        };
        running.extend(routes.into_iter().map(|route| (session.clone(), route)));
    }
    Ok(running)
}

/// For the messages that are between the old rules and the new.
pub(super) const HANDOVER: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forward::rule::ForwarderBuilder;
    use crate::manager::SessionManager;
    use crate::options::SessionOptions;

    fn add(sessions: &SessionManager, name: &str) -> Session {
        let options = SessionOptions::quick_connect(name, "127.0.0.1:1").manual_connect(true);
        sessions.add_session(options.build().unwrap()).unwrap()
    }

    #[tokio::test]
    async fn a_session_that_is_added_again_during_a_change_has_its_place() {
        let sessions = SessionManager::new();
        for name in ["src", "dst"] {
            add(&sessions, name);
        }
        let forwarders = ForwarderManager::named(&sessions, "d");
        let rules = || ForwarderBuilder::new("f").source("src", "a/+").target("dst");
        let forwarder = forwarders.add_forwarder(rules().build().unwrap()).unwrap();
        let first = forwarder.engine();
        let (changes, added) =
            forwarders.prepare(vec![rules().window(7).build().unwrap()], &[]).unwrap();
        sessions.remove_session("dst").await.unwrap();
        let again = add(&sessions, "dst");
        // Before the change, whose rules know the old session.
        while forwarder.engine().is_left_by(&again) {
            tokio::task::yield_now().await;
        }
        let changed = forwarders.carry_out(changes, &added, Duration::ZERO).await.unwrap();
        assert!(forwarder.engine().is_left_by(&again));
        forwarders.catch_up(&changed).await;
        assert!(!forwarder.engine().is_left_by(&again));
        assert_eq!((forwarder.engine().options.window, forwarder.is_running()), (7, true));
        assert!(first.phase() == Phase::Gone, "what finished takes nothing more");
    }

    #[tokio::test]
    async fn a_forwarder_that_cannot_begin_changes_none_of_those_beside_it() {
        let sessions = SessionManager::new();
        for name in ["src", "dst", "gone"] {
            add(&sessions, name);
        }
        let forwarders = ForwarderManager::named(&sessions, "d");
        let rules =
            |name: &str, from: &str| ForwarderBuilder::new(name).source(from, "a/+").target("dst");
        let fine = forwarders.add_forwarder(rules("fine", "src").build().unwrap()).unwrap();
        let idle =
            forwarders.add_forwarder(rules("idle", "src").enabled(false).build().unwrap()).unwrap();
        let later = forwarders
            .add_forwarder(rules("later", "gone").enabled(false).build().unwrap())
            .unwrap();
        let all = [rules("fine", "src").window(7), rules("idle", "src"), rules("later", "gone")];
        let all = all.into_iter().map(|rules| rules.build().unwrap()).collect();
        let (changes, added) = forwarders.prepare(all, &[]).unwrap();
        sessions.remove_session("gone").await.unwrap();
        let outcome = forwarders.carry_out(changes, &added, Duration::ZERO).await;
        outcome.expect_err("its source was removed a moment ago");
        assert_eq!(fine.engine().options.window, rules("fine", "src").build().unwrap().window);
        assert!(fine.is_running() && !idle.is_running() && !later.is_running());
        assert!(!idle.options().is_enabled());
    }
}

//! Other rules for a forwarder that runs.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::engine::Engine;
use super::flows::Phase;
use super::handle::{Forwarder, inlets};
use super::phases::End;
use crate::error::Error;
use crate::router::{Prepared, Route};
use crate::session::Session;

impl Forwarder {
    /// Goes on with another engine. Every message is taken by one of the two; what the old one took, it finishes by the old
    /// rules, and before it is with its targets the new one sends nothing.
    pub(super) async fn advance(&self, engine: Arc<Engine>) -> Result<(), Error> {
        let _control = self.control().lock().await;
        let located = |error: Error| error.with_context("forwarder", self.name());
        if self.is_removed() {
            return Err(located(Error::closed()));
        }
        let before = self.engine();
        engine.watch_targets_in_time();
        self.take_back_failures(&engine);
        let phase = before.phase();
        if !matches!(phase, Phase::Running | Phase::Paused) {
            let retired = std::mem::take(&mut self.routes().retired);
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
        for session in sessions {
            session.pulse(HANDOVER).await;
        }
        // In the order of arrival. A target that takes nothing does not keep the new rules waiting.
        if phase == Phase::Running {
            let _ = timeout(HANDOVER, before.sent()).await;
        }
        engine.release();
        Ok(())
    }

    /// Waits until what was taken by earlier rules is acknowledged by its targets, but for what a
    /// [`pause`](Self::pause) holds: that goes on with [`start`](Self::start). What is not acknowledged when `deadline` is over is
    /// given back: its source connects anew, so that its server sends it again, to be forwarded by today's rules. The server of a
    /// source that is not persistent would forget it: there it is acknowledged. Returns how many messages these are.
    pub async fn settle(&self, deadline: Duration) -> usize {
        if self.generations().settle(Instant::now() + deadline).await {
            return 0;
        }
        self.generations().end_unpaused()
    }
}

/// New routes for old ones, session by session; on an error all is as before.
fn replace(
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
        let gone = old.iter().filter(|(other, _)| other.name() == session.name());
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
const HANDOVER: Duration = Duration::from_secs(1);

//! Routes whose forwarder stopped, until their servers have answered that they are unsubscribed.
//!
//! Until then servers go on sending, whatever the deadline of the stop: what comes waits for the start, and is not acknowledged as
//! a message without a route would be.

use std::sync::{Arc, Weak};

use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use super::engine::Engine;
use super::handle::{Forwarder, Shared, inlets};
use super::reconfigure::replace;
use crate::error::Error;
use crate::router::{Route, Target};
use crate::session::{Session, Waiting};

/// The routes of a forwarder.
#[derive(Default)]
pub(super) struct Routes {
    pub(super) running: Vec<(Session, Route)>,
    /// They are unsubscribed, and still take what comes.
    pub(super) leaving: Vec<(Session, Route)>,
    /// Out of their sessions; messages that came through them may still be acknowledged.
    pub(super) retired: Vec<Route>,
    /// Ends once none is leaving.
    parting: Option<JoinHandle<()>>,
}

impl Routes {
    /// All of them, for the end.
    pub(super) fn into_all(self) -> impl Iterator<Item = Route> {
        let hooked = self.running.into_iter().chain(self.leaving).map(|(_, route)| route);
        hooked.chain(self.retired)
    }

    /// Ends the routes through which nothing comes any more. While messages are held, a driver may still be about to hand some to
    /// those that it knows.
    pub(super) fn forget_retired(&mut self, holds: bool) {
        self.retired.retain(|route| holds && Arc::strong_count(route.target()) > 1);
    }
}

impl Forwarder {
    /// Unsubscribes, and waits until `until` for the servers' answers.
    pub(super) async fn leave(&self, until: Instant) {
        let Some(asked) = self.unsubscribe() else { return };
        let Some(source) = self.engine().sources.first().cloned() else { return };
        let shared = self.weak();
        // The answers are waited for beyond `until`, too.
        let task = source.services().runtime.spawn(async move {
            for (target, answer) in asked {
                answer.await;
                let Some(shared) = Weak::upgrade(&shared) else { return };
                shared.has_left(&target);
            }
        });
        self.routes().parting = Some(task);
        self.have_left(until).await;
    }

    /// Asks the servers of all routes at once; what they have to answer, if anything.
    fn unsubscribe(&self) -> Option<Vec<(Arc<Target>, Waiting)>> {
        let mut routes = self.routes();
        let running = std::mem::take(&mut routes.running);
        let mut asked = Vec::new();
        for (session, mut route) in running {
            if let Some(answer) = session.leave(route.target()) {
                asked.push((Arc::clone(route.target()), answer));
                routes.leaving.push((session, route));
            } else {
                route.unhook();
                routes.retired.push(route);
            }
        }
        (!asked.is_empty()).then_some(asked)
    }

    /// Waits until `until` for the answers of the servers to the last [`leave`](Self::leave).
    async fn have_left(&self, until: Instant) {
        let Some(mut task) = self.routes().parting.take() else { return };
        if timeout_at(until, &mut task).await.is_err() {
            self.routes().parting = Some(task);
        }
    }

    /// Subscribes again, in the place of routes that are still leaving.
    pub(super) fn subscribe(&self, engine: &Arc<Engine>) -> Result<(), Error> {
        let mut routes = self.routes();
        let old = std::mem::take(&mut routes.leaving);
        match replace(inlets(engine), &old) {
            Ok(running) => {
                routes.running = running;
                // None is leaving any more.
                if let Some(parting) = routes.parting.take() {
                    parting.abort();
                }
                routes.retired.extend(old.into_iter().map(|(_, route)| route));
                Ok(())
            }
            Err(error) => {
                routes.leaving = old;
                Err(error)
            }
        }
    }

    /// The routes of an engine that is stopped, and gets no further messages. Servers that do not answer are not waited for
    /// beyond `until`.
    pub(super) async fn take_retired(&self, until: Instant) -> Vec<Route> {
        self.have_left(until).await;
        let mut routes = self.routes();
        let mut leaving: Vec<_> =
            std::mem::take(&mut routes.leaving).into_iter().map(|(_, route)| route).collect();
        leaving.iter_mut().for_each(Route::unhook);
        std::mem::take(&mut routes.retired).into_iter().chain(leaving).collect()
    }
}

impl Shared {
    /// The server sends nothing more for this route.
    fn has_left(&self, target: &Target) {
        let mut routes = self.routes();
        let is_its = |(_, route): &mut (Session, Route)| route.target().id() == target.id();
        let mut left: Vec<_> =
            routes.leaving.extract_if(.., is_its).map(|(_, route)| route).collect();
        left.iter_mut().for_each(Route::unhook);
        routes.retired.extend(left);
    }
}

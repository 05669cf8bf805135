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
use crate::session::Session;

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
}

impl Forwarder {
    /// Unsubscribes, and waits until `until` for the servers' answers.
    pub(super) async fn leave(&self, until: Instant) {
        let parting: Vec<(Session, Arc<Target>)> = {
            let mut routes = self.routes();
            let running = std::mem::take(&mut routes.running);
            let parting = running
                .iter()
                .map(|(session, route)| (session.clone(), Arc::clone(route.target())));
            let parting = parting.collect();
            routes.leaving.extend(running);
            parting
        };
        let Some((first, _)) = parting.first() else { return };
        let (runtime, shared) = (first.services().runtime.clone(), self.weak());
        let task = runtime.spawn(async move {
            for (session, target) in parting {
                session.leave(&target).await;
                let Some(shared) = Weak::upgrade(&shared) else { return };
                shared.has_left(&target);
            }
        });
        self.routes().parting = Some(task);
        self.have_left(until).await;
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
        let leaving = std::mem::take(&mut routes.leaving).into_iter().map(|(_, route)| route);
        let leaving: Vec<Route> = leaving.inspect(Route::unhook).collect();
        std::mem::take(&mut routes.retired).into_iter().chain(leaving).collect()
    }
}

impl Shared {
    /// The server sends nothing more for this route.
    fn has_left(&self, target: &Target) {
        let mut routes = self.routes();
        let is_its = |(_, route): &mut (Session, Route)| route.target().id() == target.id();
        let left: Vec<_> = routes.leaving.extract_if(.., is_its).map(|(_, route)| route).collect();
        left.iter().for_each(Route::unhook);
        routes.retired.extend(left);
    }
}

//! Routes over all sessions, and those of one session by its name.

use std::future::Future;
use std::sync::Arc;

use super::{Inner, SessionManager};
use crate::error::Error;
use crate::event::EventBus;
use crate::message::Message;
use crate::router::{HandlerJobs, MessageStream, Route, RouteBuilder, RouteHost, Target};

/// Routes over all sessions, those added later included.
impl SessionManager {
    /// Options first; see [`RouteBuilder`].
    pub fn route(&self, filter: &str) -> RouteBuilder {
        RouteBuilder::new(Arc::clone(&self.inner) as Arc<dyn RouteHost>, filter)
    }

    /// Calls `handler` with each message that matches, from any session; see
    /// [`RouteBuilder::handle`].
    ///
    /// # Errors
    /// As [`RouteBuilder::handle`].
    pub fn handle<F>(&self, filter: &str, handler: F) -> Result<Route, Error>
    where
        F: Fn(&Message) + Send + Sync + 'static,
    {
        self.route(filter).handle(handler)
    }

    /// Awaits `handler` with each message that matches, from any session; see
    /// [`RouteBuilder::handle_async`].
    ///
    /// # Errors
    /// As [`RouteBuilder::handle`].
    pub fn handle_async<F, Fut>(&self, filter: &str, handler: F) -> Result<Route, Error>
    where
        F: Fn(Message) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.route(filter).handle_async(handler)
    }

    /// The messages that match, from any session; see [`RouteBuilder::listen`].
    ///
    /// # Errors
    /// As [`RouteBuilder::handle`].
    pub fn listen(&self, filter: &str) -> Result<MessageStream, Error> {
        self.route(filter).listen()
    }

    /// [`Session::handle`](crate::Session::handle) on the session called `name`.
    ///
    /// # Errors
    /// No session has that name, or as [`RouteBuilder::handle`].
    pub fn handle_to<F>(&self, name: &str, filter: &str, handler: F) -> Result<Route, Error>
    where
        F: Fn(&Message) + Send + Sync + 'static,
    {
        self.session(name)?.route(filter).handle(handler)
    }

    /// [`Session::listen`](crate::Session::listen) on the session called `name`.
    ///
    /// # Errors
    /// No session has that name, or as [`RouteBuilder::handle`].
    pub fn listen_to(&self, name: &str, filter: &str) -> Result<MessageStream, Error> {
        self.session(name)?.route(filter).listen()
    }
}

/// What a route over all sessions needs.
impl RouteHost for Inner {
    fn attach(&self, target: &Arc<Target>) -> Result<(), Error> {
        let mut registry = self.registry();
        registry.check_open()?;
        for (done, session) in registry.sessions.iter().enumerate() {
            if let Err(error) = session.attach(target) {
                for session in registry.sessions.iter().take(done) {
                    session.detach(target);
                }
                return Err(error);
            }
        }
        registry.routes.push(Arc::clone(target));
        Ok(())
    }

    fn detach(&self, target: &Target) {
        let mut registry = self.registry();
        registry.routes.retain(|route| route.id() != target.id());
        for session in registry.sessions.iter() {
            session.detach(target);
        }
    }

    fn session_name(&self) -> Option<&Arc<str>> {
        None
    }

    fn events(&self) -> &Arc<EventBus> {
        &self.events
    }

    fn jobs(&self) -> Result<Arc<HandlerJobs>, Error> {
        Ok(Arc::clone(&self.services()?.jobs))
    }
}

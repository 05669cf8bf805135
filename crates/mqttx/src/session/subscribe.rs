//! Subscriptions: the desired set, its owners, and routes.

use std::sync::Arc;

use mqttx_proto::{NO_TOKEN, Outcome, SubscribeError, Subscription};
use mqttx_proto::{PropertiesRef, QoS, ReasonCode, SubscribeOptions, Version};

use super::Session;
use super::delivery::Waiting;
use super::interest::Owner;
use super::shared::{Shared, State};
use super::status::SessionStatus;
use crate::error::Error;
use crate::event::EventBus;
use crate::message::Message;
use crate::router::{
    HandlerJobs, MessageStream, Prepared, Route, RouteBuilder, RouteHost, Target, subscribe_options,
};

impl Session {
    /// Subscribes a filter and waits for the server's answer, over any number of reconnects. The
    /// filter stays in the desired set: it is subscribed again whenever the server lost it.
    ///
    /// Its messages go to the routes that match; see [`handle`](Self::handle).
    ///
    /// Dropping the future, for example at a timeout, gives up the answer and not the filter. Of requests for one filter that the
    /// server leaves without an answer, 8 are sent on a connection; later ones wait, and give way to newer ones if nobody waits for
    /// their answer.
    ///
    /// # Errors
    /// The filter is not valid, the server refused it, or the session was removed.
    pub async fn subscribe(&self, filter: &str, qos: QoS) -> Result<ReasonCode, Error> {
        self.subscribe_with(filter, SubscribeOptions { qos, ..SubscribeOptions::default() }).await
    }

    /// [`subscribe`](Self::subscribe) with all options.
    ///
    /// # Errors
    /// As for [`subscribe`](Self::subscribe).
    pub async fn subscribe_with(
        &self,
        filter: &str,
        options: SubscribeOptions,
    ) -> Result<ReasonCode, Error> {
        let codes = self.subscribe_many(&[(filter, options)], PropertiesRef::EMPTY).await?;
        let code = codes.first().copied().unwrap_or(ReasonCode::UNSPECIFIED_ERROR);
        if code.is_error() {
            return Err(Error::refused("SUBSCRIBE", code, None)
                .with_code("subscribe.refused")
                .with_session(self.name())
                .with_topic(filter));
        }
        Ok(code)
    }

    /// Subscribes one filter for a group of subscribers that share its messages:
    /// `$share/group/filter` `[MQTT-4.8.2]`.
    ///
    /// # Errors
    /// As for [`subscribe`](Self::subscribe).
    pub async fn subscribe_shared(
        &self,
        group: &str,
        filter: &str,
        qos: QoS,
    ) -> Result<ReasonCode, Error> {
        self.subscribe(&format!("$share/{group}/{filter}"), qos).await
    }

    /// Subscribes several filters, with properties of SUBSCRIBE, and waits for the server's answer:
    /// one code a filter, errors among them.
    ///
    /// # Errors
    /// A filter or property is not valid, or the session was removed.
    pub async fn subscribe_many(
        &self,
        filters: &[(&str, SubscribeOptions)],
        properties: PropertiesRef<'_>,
    ) -> Result<Vec<ReasonCode>, Error> {
        let waiting = self.request_subscribe(filters, properties, Owner::Caller)?;
        match waiting.await {
            Outcome::Subscribed(codes) => Ok(codes),
            _ => Err(Error::closed().with_session(self.name())),
        }
    }

    /// Takes filters out of the desired set, whoever asked for them, and waits for the server's
    /// answer. Routes on them stay, for what other subscriptions bring.
    ///
    /// # Errors
    /// The filter is not valid, the server refused, or the session was removed.
    pub async fn unsubscribe(&self, filter: &str) -> Result<ReasonCode, Error> {
        let codes = self.unsubscribe_many(&[filter], PropertiesRef::EMPTY).await?;
        let code = codes.first().copied().unwrap_or(ReasonCode::SUCCESS);
        if code.is_error() {
            return Err(Error::refused("UNSUBSCRIBE", code, None)
                .with_code("unsubscribe.refused")
                .with_session(self.name())
                .with_topic(filter));
        }
        Ok(code)
    }

    /// [`unsubscribe`](Self::unsubscribe) for several filters, with properties of UNSUBSCRIBE.
    ///
    /// # Errors
    /// A filter or property is not valid, or the session was removed.
    pub async fn unsubscribe_many(
        &self,
        filters: &[&str],
        properties: PropertiesRef<'_>,
    ) -> Result<Vec<ReasonCode>, Error> {
        let waiting = {
            let mut state = self.shared.open()?;
            let token = state.waiters.insert_task();
            if let Err(error) = state.core.unsubscribe(filters, properties, token) {
                state.waiters.remove(token);
                return Err(self.shared.subscribe_error(&error));
            }
            for filter in filters {
                state.interests.clear(filter);
            }
            self.shared.unlock_and_tell(state);
            Waiting::new(Arc::clone(&self.shared), token)
        };
        match waiting.await {
            Outcome::Unsubscribed(codes) => Ok(codes),
            _ => Err(Error::closed().with_session(self.name())),
        }
    }

    /// A route does not want its filter any more, but takes what still comes. If it was the last one the filter is unsubscribed,
    /// without waiting: the future ends with the server's answer. `None` if nobody is to answer: without a connection, or
    /// if others want the filter.
    pub(crate) fn leave(&self, route: &Target) -> Option<Waiting> {
        let mut state = self.shared.lock();
        let last = state.interests.remove(route.filter(), Owner::Route(route.id().0));
        if !last || state.closed || state.winding_down {
            return None;
        }
        let connected = state.status == SessionStatus::Connected;
        let token = if connected { state.waiters.insert_task() } else { NO_TOKEN };
        let filters = [route.filter()];
        if state.core.unsubscribe(&filters, PropertiesRef::EMPTY, token).is_err() {
            state.waiters.remove(token);
            return None;
        }
        self.shared.unlock_and_tell(state);
        connected.then(|| Waiting::new(Arc::clone(&self.shared), token))
    }

    /// Whether the server granted a filter.
    pub(crate) fn is_granted(&self, filter: &str) -> bool {
        self.shared.lock().core.is_granted(filter)
    }

    /// Whether it still accepts commands.
    ///
    /// # Errors
    /// It was removed.
    pub(crate) fn check_open(&self) -> Result<(), Error> {
        self.shared.open().map(|_| ())
    }

    /// It was removed, or is about to end.
    pub(crate) fn is_removed(&self) -> bool {
        self.check_open().is_err()
    }

    /// Puts new routes in the place of old ones: every message finds either these or those. Filters that only the old ones
    /// wanted are unsubscribed; the old ones hold what they got.
    ///
    /// # Errors
    /// The session was removed, or rules a filter out; then nothing has changed.
    pub(crate) fn replace_routes(
        &self,
        new: Vec<Prepared>,
        old: &[&Route],
    ) -> Result<Vec<Route>, Error> {
        let shared = &self.shared;
        let mut state = shared.open()?;
        let mut wanted = Vec::with_capacity(new.len());
        for prepared in &new {
            match shared.want(&mut state, &prepared.target) {
                Ok(identifier) => wanted.push((Arc::clone(&prepared.target), identifier)),
                Err(error) => {
                    for (target, _) in &wanted {
                        disown(&mut state, target.filter(), Owner::Route(target.id().0));
                    }
                    shared.unlock_and_tell(state);
                    return Err(error);
                }
            }
        }
        let targets: Vec<&Target> = old.iter().map(|route| &**route.target()).collect();
        // Under the lock: the driver sees the routes before it sees what their filters bring.
        shared.router.replace(&wanted, &targets);
        for route in old {
            disown(&mut state, route.filter(), Owner::Route(route.id()));
        }
        state.routes_added = true;
        shared.unlock_and_tell(state);
        Ok(new.into_iter().map(Prepared::attached).collect())
    }

    /// Starts a route: `handler` gets the messages that match `filter`, on a thread of its own where
    /// it may block. The filter is subscribed with QoS 1. See [`route`](Self::route) for options.
    ///
    /// # Errors
    /// The filter is not valid, or the session was removed. A refusal by the server is an event.
    pub fn handle<F>(&self, filter: &str, handler: F) -> Result<Route, Error>
    where
        F: Fn(&Message) + Send + Sync + 'static,
    {
        self.route(filter).handle(handler)
    }

    /// [`handle`](Self::handle) with an async handler; a message is done when its future is.
    ///
    /// # Errors
    /// As for [`handle`](Self::handle).
    pub fn handle_async<F, Fut>(&self, filter: &str, handler: F) -> Result<Route, Error>
    where
        F: Fn(Message) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.route(filter).handle_async(handler)
    }

    /// [`handle`](Self::handle) as a stream; a message is done when the next one is asked for.
    ///
    /// # Errors
    /// As for [`handle`](Self::handle).
    pub fn listen(&self, filter: &str) -> Result<MessageStream, Error> {
        self.route(filter).listen()
    }

    /// A route with options.
    pub fn route(&self, filter: &str) -> RouteBuilder {
        let host = Arc::clone(&self.shared);
        RouteBuilder::new(host, filter).capacity(self.shared.options().performance.message_channel)
    }

    /// Asks for filters; the future tells the server's answer.
    pub(super) fn request_subscribe(
        &self,
        filters: &[(&str, SubscribeOptions)],
        properties: PropertiesRef<'_>,
        owner: Owner,
    ) -> Result<Waiting, Error> {
        let mut state = self.shared.open()?;
        let token = state.waiters.insert_task();
        let mut wanted = Vec::with_capacity(filters.len());
        for &(filter, options) in filters {
            let interest = state.interests.add(filter, owner, options);
            wanted.push(Subscription {
                filter,
                options: interest.options,
                identifier: state.identifier(interest.identifier),
            });
        }
        if let Err(error) = state.core.subscribe(&wanted, properties, token) {
            state.waiters.remove(token);
            for (filter, _) in filters {
                state.interests.remove(filter, owner);
            }
            return Err(self.shared.subscribe_error(&error));
        }
        self.shared.unlock_and_tell(state);
        Ok(Waiting::new(Arc::clone(&self.shared), token))
    }
}

impl State {
    /// The identifier that a filter is subscribed with.
    pub(super) fn identifier(&self, identifier: u32) -> Option<u32> {
        let options = &self.options;
        (options.subscription_identifiers && options.protocol == Version::V5).then_some(identifier)
    }
}

impl Shared {
    /// The state of a session that still accepts commands.
    pub(super) fn open(&self) -> Result<std::sync::MutexGuard<'_, State>, Error> {
        let state = self.lock();
        if state.closed { Err(Error::closed().with_session(&*self.name)) } else { Ok(state) }
    }

    pub(super) fn subscribe_error(&self, error: &SubscribeError) -> Error {
        let topic = match error {
            SubscribeError::Filter { filter, .. } | SubscribeError::NoLocalShared { filter } => {
                Some(filter.clone())
            }
            _ => None,
        };
        let text = Error::subscribe(error.to_string())
            .with_session(&*self.name)
            .with_source(error.clone());
        match topic {
            Some(topic) => text.with_topic(topic),
            None => text,
        }
    }

    /// Subscribes the filters of the options, before the first connection.
    pub(crate) fn subscribe_configured(&self) -> Result<(), Error> {
        self.resubscribe(&mut self.lock(), &[])
    }

    /// `owner` does not want `filter` any more; the last one unsubscribes.
    pub(super) fn disown(&self, filter: &str, owner: Owner) {
        let mut state = self.lock();
        disown(&mut state, filter, owner);
        self.unlock_and_tell(state);
    }

    /// A route wants its filter.
    fn want(&self, state: &mut State, target: &Target) -> Result<u32, Error> {
        let options = subscribe_options(target.options());
        let owner = Owner::Route(target.id().0);
        let wanted = state.interests.add(target.filter(), owner, options);
        let identifier = state.identifier(wanted.identifier);
        if wanted.changed {
            let subscription =
                Subscription { filter: target.filter(), options: wanted.options, identifier };
            let asked = state.core.subscribe(&[subscription], PropertiesRef::EMPTY, NO_TOKEN);
            if let Err(error) = asked {
                state.interests.remove(target.filter(), owner);
                return Err(self.subscribe_error(&error));
            }
        }
        Ok(identifier.unwrap_or(0))
    }
}

impl RouteHost for Shared {
    fn attach(&self, target: &Arc<Target>) -> Result<(), Error> {
        let mut state = self.open()?;
        let identifier = if target.options().subscribe {
            self.want(&mut state, target)?
        } else {
            let known = state.interests.identifier(target.filter());
            known.and_then(|known| state.identifier(known)).unwrap_or(0)
        };
        // Under the lock: the driver sees the route before it sees what its filter brings.
        self.router.add(target, identifier);
        state.routes_added = true;
        self.unlock_and_tell(state);
        Ok(())
    }

    fn detach(&self, target: &Target) {
        let mut state = self.lock();
        self.router.remove(target);
        disown(&mut state, target.filter(), Owner::Route(target.id().0));
        self.unlock_and_tell(state);
    }

    fn session_name(&self) -> Option<&Arc<str>> {
        Some(&self.name)
    }

    fn events(&self) -> &Arc<EventBus> {
        &self.services.events
    }

    fn jobs(&self) -> Result<Arc<HandlerJobs>, Error> {
        Ok(Arc::clone(&self.services.jobs))
    }
}

/// `owner` does not want `filter` any more; the last one unsubscribes.
pub(super) fn disown(state: &mut State, filter: &str, owner: Owner) {
    let last = state.interests.remove(filter, owner);
    if last && !state.closed && !state.winding_down {
        // A filter that was accepted is valid, and no property can be wrong.
        let _ = state.core.unsubscribe(&[filter], PropertiesRef::EMPTY, NO_TOKEN);
    }
}

//! New options for a session that runs.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use mqttx_proto::{NO_TOKEN, PropertiesRef, QoS, SubscribeOptions, Subscription};

use super::Session;
use super::interest::Owner;
use super::shared::{Shared, State, Wish};
use super::subscribe::disown;
use crate::error::Error;
use crate::options::{Asked, SessionOptions};

impl Session {
    /// Asks something else of the session; `false` when it is what was asked before.
    ///
    /// What was accepted and not acknowledged stays, as do routes and subscriptions. A connection is made anew
    /// with the new options, without delay; a session that failed tries again, and one that was disconnected
    /// stays so. `enabled` and `manual_connect` count when a session is added, and nowhere else.
    ///
    /// # Errors
    /// The options cannot be used, or they differ in what makes the session another one: its name,
    /// protocol version or store. Nothing has changed then. To have that changed,
    /// [remove](crate::SessionManager::remove_session) the session and add it again.
    pub fn reconfigure(&self, options: SessionOptions) -> Result<bool, Error> {
        let located = |error: Error| error.with_session(self.name());
        options.check().map_err(|errors| located(errors.into()))?;
        let other_name = options.name != self.name();
        let (asked, client_id) = self.shared.services.kinds.keep(options).map_err(located)?;
        let mut state = self.shared.open()?;
        let other = other_name.then_some("the name");
        if let Some(what) = other.or_else(|| other_session(&state, &asked)) {
            let text = format!("{what} cannot change while the session runs: remove and add it");
            return Err(located(Error::config(text)));
        }
        let renamed = state.client_id() != client_id;
        if !renamed && state.options.is_same(&asked) {
            return Ok(false);
        }
        if renamed {
            state.new_client_id = Some(Box::new(client_id.to_owned()));
        }
        let before = std::mem::replace(&mut state.options, asked);
        self.shared.inbound_buffer.store(state.options.inbound_buffer, Ordering::Relaxed);
        let subscribed = self.shared.resubscribe(&mut state, before.subscriptions());
        let wanted = matches!(state.wish, Wish::Connected | Wish::Reconnected);
        let failed = state.has_failed();
        if wanted || failed {
            self.shared.wish_with(state, Wish::Reconnected);
        } else {
            self.shared.unlock_and_wake(state);
        }
        subscribed.map(|()| true)
    }
}

/// What makes it another session than before.
fn other_session(state: &State, asked: &Asked) -> Option<&'static str> {
    let before = &state.options;
    let same_store = match (&before.store, &asked.store) {
        (Some(before), Some(now)) => Arc::ptr_eq(before, now),
        (before, now) => before.is_none() && now.is_none(),
    };
    if before.protocol != asked.protocol {
        Some("the protocol version")
    } else {
        (!same_store).then_some("the store")
    }
}

impl Shared {
    /// Filters of the options: those that are new are asked for, those that are gone are not any more.
    pub(super) fn resubscribe(
        &self,
        state: &mut State,
        before: &[(String, QoS)],
    ) -> Result<(), Error> {
        let asked = Arc::clone(&state.options);
        let now = asked.subscriptions();
        let wanted: HashSet<&str> = now.iter().map(|(filter, _)| filter.as_str()).collect();
        for (filter, _) in before.iter().filter(|(old, _)| !wanted.contains(old.as_str())) {
            disown(state, filter, Owner::Caller);
        }
        let known: HashSet<(&str, u8)> =
            before.iter().map(|(filter, qos)| (filter.as_str(), *qos as u8)).collect();
        let is_new = |(filter, qos): &&(String, QoS)| !known.contains(&(filter, *qos as u8));
        for (filter, qos) in now.iter().filter(is_new) {
            let options = SubscribeOptions { qos: *qos, ..SubscribeOptions::default() };
            let interest = state.interests.add(filter, Owner::Caller, options);
            if interest.changed {
                let identifier = state.identifier(interest.identifier);
                let wanted = Subscription { filter, options: interest.options, identifier };
                let asked = state.core.subscribe(&[wanted], PropertiesRef::EMPTY, NO_TOKEN);
                asked.map_err(|error| self.subscribe_error(&error))?;
            }
        }
        Ok(())
    }
}

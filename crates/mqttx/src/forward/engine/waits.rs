//! What a forwarder waits for before it goes on: room at a target, another session in its place, and its rate limit.

use std::sync::{Arc, Weak};
use std::time::Duration;

use super::Engine;
use crate::event::EventKind;
use crate::forward::target::Target;

/// Between two attempts to fit a message into an outbox that has some room.
const RETRY: Duration = Duration::from_millis(5);

impl Engine {
    /// Sends again once the target has room. `again`: there seemed to be room, but not enough for the
    /// bytes of the message.
    pub(super) fn wait_for_room(&self, target: usize, again: bool) {
        let Some((_, target)) = self.target(target) else { return };
        if target.session().is_removed() {
            return self.stand_still(target);
        }
        // Whoever waits does not keep a forwarder that ended.
        let (session, me) = (target.session().clone(), Weak::clone(&self.me));
        session.services().runtime.clone().spawn(async move {
            if again {
                tokio::time::sleep(RETRY).await;
            }
            session.room().await;
            let Some(engine) = me.upgrade() else { return };
            let turn = {
                let mut inner = engine.lock();
                inner.flows.unblock();
                inner.flows.take_turn()
            };
            if turn {
                engine.pump();
            }
        });
    }

    /// A target has no session: nothing goes before another one takes its place.
    fn stand_still(&self, target: &Target) {
        if !target.is_gone() {
            return;
        }
        target.session().services().events.emit(
            None,
            EventKind::ForwarderBlocked {
                forwarder: Arc::clone(&self.options.name),
                target: Arc::clone(target.session().shared_name()),
            },
        );
        // Nothing of what waits will be sent.
        self.idle.notify_waiters();
        self.quiet.notify_waiters();
    }

    /// Sends again once the rate limit allows it.
    pub(super) fn wait_for_pace(&self, at: std::time::Instant) {
        let (Some(source), me) = (self.sources.first(), Weak::clone(&self.me)) else { return };
        source.services().runtime.clone().spawn(async move {
            tokio::time::sleep_until(at.into()).await;
            let Some(engine) = me.upgrade() else { return };
            let turn = {
                let mut inner = engine.lock();
                inner.flows.resume_pace();
                inner.flows.take_turn()
            };
            if turn {
                engine.pump();
            }
        });
    }
}

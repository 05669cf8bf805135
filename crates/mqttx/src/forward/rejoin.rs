//! A session that was removed and is added again takes its old place in the forwarders.

use std::sync::Arc;

use super::handle::Forwarder;
use super::manager::{ForwarderManager, Shared};
use super::reconfigure::HANDOVER;
use crate::manager::Newcomers;
use crate::session::Session;

impl Newcomers for Shared {
    fn session_added(self: Arc<Self>, session: &Session) {
        let forwarders = ForwarderManager::of(self);
        for forwarder in forwarders.list() {
            if forwarder.engine().is_left_by(session) {
                let (forwarders, session) = (forwarders.clone(), session.clone());
                let runtime = session.services().runtime.clone();
                runtime.spawn(async move { forwarder.rejoin(&forwarders, &session).await });
            }
        }
    }
}

impl ForwarderManager {
    /// Sessions may have been removed and added again while these forwarders got rules that were made before.
    pub(super) async fn catch_up(&self, changed: &[Forwarder]) {
        for forwarder in changed {
            for name in forwarder.options().sessions() {
                if let Ok(session) = self.session(name) {
                    forwarder.rejoin(self, &session).await;
                }
            }
        }
    }
}

impl Forwarder {
    /// Goes on by its own rules, with the session that is there now. What the old one was to get goes back to the servers, which
    /// send it again.
    async fn rejoin(&self, forwarders: &ForwarderManager, session: &Session) {
        {
            let _control = self.control().lock().await;
            // Other rules may have come first.
            if self.is_removed() || !self.engine().is_left_by(session) {
                return;
            }
            // Without its other sessions it waits for them, too.
            let Ok(engine) = forwarders.engine(self.options()) else { return };
            if self.advance_now(engine).await.is_err() {
                return;
            }
        }
        // What a stop left waits for the start, when there is a subscription again.
        if self.state() != super::ForwarderState::Stopped {
            self.settle(HANDOVER).await;
        }
    }
}

//! Many messages for one session, under one lock and with one wake-up.

use std::sync::MutexGuard;

use mqttx_proto::{Limits, NO_TOKEN, QoS};

use super::Session;
use super::delivery::Wake;
use super::offer::Draft;
use super::shared::{Shared, State};
use super::sinks::SinkId;
use super::storage::Waits;
use crate::error::Error;

/// The session's lock, for a caller that has several messages: end it with [`finish`](Self::finish).
pub(crate) struct Handover<'a> {
    shared: &'a Shared,
    state: MutexGuard<'a, State>,
    wakes: Vec<Wake>,
    /// What the session accepts survives the process.
    durable: bool,
}

impl Session {
    /// Begins to hand messages over.
    pub(crate) fn hand_over(&self) -> Handover<'_> {
        let durable = self.is_durable();
        Handover { shared: &self.shared, state: self.shared.lock(), wakes: Vec::new(), durable }
    }
}

impl Handover<'_> {
    /// [`Session::try_publish`] for a caller that wants to be told: `sink` learns with `key` what became of the message; with a
    /// durable store (QoS 1 and 2), that the store has it. If the server does not take it then, the origin of the message learns
    /// of that.
    ///
    /// # Errors
    /// As for [`Session::try_publish`]; then the sink is not told.
    pub(crate) fn offer(
        &mut self,
        message: &Draft<'_>,
        sink: SinkId,
        key: u32,
    ) -> Result<(), Error> {
        let (state, token) = (&mut *self.state, sink.token(key));
        let stored = self.durable && message.qos != QoS::AtMostOnce;
        let told_by_core = if stored { NO_TOKEN } else { token };
        let offered = self.shared.offer_locked(state, message, told_by_core, &mut self.wakes);
        let accepted = offered.map_err(|refused| self.shared.error_of(refused))?;
        if stored {
            state.storage.wait(accepted.lsn, Waits::Sink(token));
        }
        Ok(())
    }

    /// What the server allows on this connection; `None` while there is none.
    pub(crate) fn limits(&self) -> Option<&Limits> {
        self.state.core.limits()
    }

    /// Unlocks, wakes the driver if it has to, and tells of messages that had to go.
    pub(crate) fn finish(mut self) {
        self.shared.unlock_and_wake(self.state);
        self.shared.fire(&mut self.wakes);
    }
}

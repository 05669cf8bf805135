//! Many messages for one session, under one lock and with one wake-up.

use std::sync::MutexGuard;

use mqttx_proto::{Limits, NO_TOKEN, PlainMessage, QoS};

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
    /// Up to which size plain messages may go the shortest way.
    plain: Option<usize>,
}

impl Session {
    /// Begins to hand messages over.
    pub(crate) fn hand_over(&self) -> Handover<'_> {
        let durable = self.is_durable();
        let state = self.shared.lock();
        let plain = state.takes_plain();
        Handover { shared: &self.shared, state, wakes: Vec::new(), durable, plain }
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

    /// [`offer`](Self::offer) for a message before which nothing is, and that no store is to have; `false`: it has to be offered.
    pub(crate) fn offer_plain(
        &mut self,
        message: &PlainMessage<'_>,
        sink: SinkId,
        key: u32,
    ) -> bool {
        let at_most_once = message.qos == QoS::AtMostOnce;
        if self.plain.is_none_or(|limit| message.payload.len() > limit)
            || self.durable && !at_most_once
        {
            return false;
        }
        let (state, token) = (&mut *self.state, sink.token(key));
        let taken = state.core.publish_plain(message, token).is_some();
        if taken && !at_most_once {
            state.probe.begin(token, &self.shared.services.counters);
        }
        taken
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

//! What a session shows of itself.

use std::sync::Arc;

use mqttx_proto::Version;

use super::shared::now;
use super::{Session, SessionStatus};
use crate::metrics::{Counts, SessionMetrics, SessionSample};
use crate::transport::Endpoint;

/// Where it goes and what it counts.
impl Session {
    /// Whether it is to connect by itself.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.shared.options().enabled
    }

    /// The version that it speaks.
    #[must_use]
    pub fn protocol(&self) -> Version {
        self.shared.options().protocol
    }

    /// The address of the broker that the session is connected to, or tries or tried last, without credentials.
    #[must_use]
    pub fn broker(&self) -> String {
        let endpoint = {
            let state = self.shared.lock();
            match &state.redirect {
                Some(endpoint) => Some((**endpoint).clone()),
                None => {
                    let broker = state.options.brokers.get(usize::from(state.broker));
                    broker.and_then(|broker| state.options.endpoint(broker).ok())
                }
            }
        };
        endpoint.map_or_else(String::new, |endpoint: Endpoint| endpoint.to_string())
    }

    /// Its counters, as of now.
    #[must_use]
    pub fn metrics(&self) -> SessionMetrics {
        self.completed(self.shared.origin.counters.snapshot(now()))
    }

    /// The same for somebody who looks often: the rates are those of the last [`metrics`](Self::metrics), and the rates of
    /// the next one count from there as if nobody had looked meanwhile.
    #[must_use]
    pub fn peek(&self) -> SessionMetrics {
        self.completed(self.shared.origin.counters.peek(now()))
    }

    /// With what the counters do not know.
    fn completed(&self, mut metrics: SessionMetrics) -> SessionMetrics {
        metrics.parked_bytes = self.shared.parked.bytes();
        self.shared.options().certificate_ends(&mut metrics);
        let state = self.shared.lock();
        let outbox = state.core.outbox();
        metrics.connected = state.status == SessionStatus::Connected;
        metrics.subscriptions = state.interests.len();
        metrics.outbox_messages = outbox.messages;
        metrics.outbox_spilled = outbox.spilled;
        metrics.outbox_bytes = outbox.bytes;
        metrics.in_flight = outbox.in_flight;
        metrics
    }

    /// Everything that is shown of it, and its status. The lock that publishers need is held for a few numbers.
    pub(crate) fn sample(&self) -> (SessionSample, SessionStatus) {
        let metrics = self.metrics();
        let status = self.status();
        let options = self.shared.options();
        let clean = u64::from(options.starts_clean());
        let sample = SessionSample {
            name: Some(Arc::clone(&self.shared.name)),
            status: status.code(),
            connected: u64::from(metrics.connected),
            persistent: 1 - clean,
            clean_session: clean,
            auto_reconnect: u64::from(options.auto_reconnect),
            metrics,
        };
        (sample, status)
    }

    /// Whether both are handles of one session.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    /// Its counters go on from those of a session of the same name.
    pub(crate) fn go_on_from(&self, before: Counts) {
        self.shared.origin.counters.go_on_from(before);
    }

    /// What it counted itself, and what sessions of its name had counted before it.
    pub(crate) fn counts(&self) -> (Counts, Counts) {
        let counters = &self.shared.origin.counters;
        (counters.own(), counters.before())
    }
}

//! Everything that is counted, as of a moment.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use mqttx_proto::ReasonCode;

use super::{Counts, HistogramMetrics, ProcessMetrics, SessionMetrics};
use crate::forward::{ForwarderManager, ForwarderMetrics};
use crate::store::{Store, StoreMetrics};

/// What there is to show, as plain data: taken once, then written in any format without touching a session.
///
/// [`SessionManager::snapshot`](crate::SessionManager::snapshot) makes one with the sessions; the rest is added.
///
/// ```
/// use mqttx::{ForwarderManager, PrometheusExporter, SessionManager};
///
/// let manager = SessionManager::new();
/// let forwarders = ForwarderManager::new(&manager);
/// let snapshot = manager.snapshot().with_forwarders(&forwarders).with_process();
/// let text = PrometheusExporter::new("mqtt").export(&snapshot);
/// assert!(text.contains("# TYPE mqtt_sessions gauge"));
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct MetricsSnapshot {
    /// Each session, by name; or one without a name, which is all of them together.
    pub sessions: Vec<SessionSample>,
    /// How many sessions there are with each status.
    pub statuses: BTreeMap<&'static str, usize>,
    /// Attempts to connect by the code of CONNACK; without one there was none.
    pub connects: Vec<(Option<ReasonCode>, u64)>,
    /// Accepted connections that ended, by the reason code of the end; without one the transport failed.
    pub disconnects: Vec<(Option<ReasonCode>, u64)>,
    /// Seconds until a transport was connected.
    pub connect_seconds: HistogramMetrics,
    /// Seconds from CONNECT to CONNACK.
    pub handshake_seconds: HistogramMetrics,
    /// Seconds from the acceptance of a message with QoS > 0 to its acknowledgement; a sample.
    pub ack_seconds: HistogramMetrics,
    /// Forwarders by name.
    pub forwarders: Vec<ForwarderSample>,
    /// Stores by the names that they were added with.
    pub stores: Vec<StoreSample>,
    /// This process.
    pub process: Option<ProcessMetrics>,
    /// The configuration of a daemon.
    pub config: Option<ConfigMetrics>,
}

impl MetricsSnapshot {
    /// Adds the forwarders.
    #[must_use]
    pub fn with_forwarders(mut self, forwarders: &ForwarderManager) -> Self {
        self.forwarders.extend(forwarders.list().iter().map(|forwarder| ForwarderSample {
            name: forwarder.shared_name(),
            running: forwarder.is_running(),
            metrics: forwarder.metrics(),
        }));
        self
    }

    /// Adds a store, shown with that name.
    #[must_use]
    pub fn with_store(mut self, name: impl Into<Arc<str>>, store: &dyn Store) -> Self {
        self.stores.push(StoreSample { name: name.into(), metrics: store.metrics() });
        self
    }

    /// Adds this process, where the system tells of it.
    #[must_use]
    pub fn with_process(mut self) -> Self {
        self.process = ProcessMetrics::now();
        self
    }

    /// Adds how the last loading of a configuration went.
    #[must_use]
    pub fn with_config(mut self, config: ConfigMetrics) -> Self {
        self.config = Some(config);
        self
    }
}

/// One session, or several together.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SessionSample {
    /// Its name; `None` stands for all sessions together.
    pub name: Option<Arc<str>>,
    /// What it counts; added up for several. The times are the latest.
    pub metrics: SessionMetrics,
    /// Its status as a number, see [`SessionStatus::code`](crate::SessionStatus::code); of several that of most of them.
    pub status: u8,
    /// How many of them are connected.
    pub connected: u64,
    /// How many do not start clean.
    pub persistent: u64,
    /// How many start clean.
    pub clean_session: u64,
    /// How many reconnect by themselves.
    pub auto_reconnect: u64,
}

impl SessionSample {
    /// All of `sessions`, which counted `counts` together with those that are gone.
    pub(crate) fn sum<'a>(sessions: impl Iterator<Item = &'a Self>, counts: &Counts) -> Self {
        let mut sum = Self {
            name: None,
            metrics: SessionMetrics::of(counts),
            status: 0,
            connected: 0,
            persistent: 0,
            clean_session: 0,
            auto_reconnect: 0,
        };
        let mut statuses = [0_usize; 8];
        for session in sessions {
            sum.metrics.add_state(&session.metrics);
            sum.connected += session.connected;
            sum.persistent += session.persistent;
            sum.clean_session += session.clean_session;
            sum.auto_reconnect += session.auto_reconnect;
            if let Some(count) = statuses.get_mut(usize::from(session.status)) {
                *count += 1;
            }
        }
        let most = (0_u8..).zip(statuses).max_by_key(|(status, count)| (*count, u8::MAX - status));
        sum.status = most.map_or(0, |(status, _)| status);
        sum
    }
}

/// One forwarder.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ForwarderSample {
    /// Its name.
    pub name: Arc<str>,
    /// Whether it takes messages.
    pub running: bool,
    /// What it counts.
    pub metrics: ForwarderMetrics,
}

/// One store.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StoreSample {
    /// The name that it was added with.
    pub name: Arc<str>,
    /// What it counts.
    pub metrics: StoreMetrics,
}

/// How the last loading of a configuration went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConfigMetrics {
    /// Whether it was taken.
    pub successful: bool,
    /// When the one in use was loaded.
    pub loaded: SystemTime,
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::super::SessionCounters;
    use super::*;

    fn sample(name: &str, sent: u64, status: u8) -> SessionSample {
        let now = Instant::now();
        let counters = SessionCounters::new(now);
        counters.record_sent(sent, 10 * sent);
        let connected = u64::from(status == 2);
        SessionSample {
            name: Some(name.into()),
            metrics: counters.snapshot(now),
            status,
            connected,
            persistent: 1,
            clean_session: 0,
            auto_reconnect: 1,
        }
    }

    #[test]
    fn a_sum_has_the_given_counts_and_the_status_of_most() {
        let sessions = [sample("a", 1, 3), sample("b", 2, 2), sample("c", 4, 2)];
        let counts = Counts { messages_sent: 107, ..Counts::default() };
        let sum = SessionSample::sum(sessions.iter(), &counts);
        assert_eq!((sum.metrics.messages_sent, sum.metrics.bytes_sent), (107, 0));
        assert_eq!((sum.status, sum.connected, sum.persistent, sum.clean_session), (2, 2, 3, 0));
        assert_eq!(sum.metrics.last_message, sessions[2].metrics.last_message);
        assert!(sum.name.is_none());
        let none = SessionSample::sum([].iter(), &Counts::default());
        assert_eq!((none.status, none.connected), (0, 0));
    }
}

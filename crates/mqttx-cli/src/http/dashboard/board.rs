//! All that pages show, as of the last look.

use std::time::{Duration, SystemTime};

use mqttx::{ForwarderManager, SessionManager};

use super::forwarder::ForwarderRow;
use super::history::{History, Totals};
use super::journal::Journal;
use super::session::SessionRow;
use super::table::Table;

/// The last look at everything.
#[derive(Default)]
pub(super) struct Board {
    pub(super) version: u64,
    /// There while somebody watches.
    pub(super) rows: Option<Rows>,
    pub(super) history: History,
    pub(super) journal: Journal,
}

/// Each session and forwarder.
#[derive(Default)]
pub(super) struct Rows {
    pub(super) sessions: Table<SessionRow>,
    pub(super) forwarders: Table<ForwarderRow>,
}

impl Board {
    /// One more point for the charts.
    pub(super) fn count(&mut self, sessions: &SessionManager, forwarders: &ForwarderManager) {
        self.history.add(SystemTime::now(), totals(sessions, forwarders));
    }

    /// Looks at each session and forwarder, `elapsed` after the last time.
    pub(super) fn look(
        &mut self,
        sessions: &SessionManager,
        forwarders: &ForwarderManager,
        elapsed: Duration,
    ) {
        self.version += 1;
        let rows = self.rows.get_or_insert_default();
        rows.sessions.look(self.version, &sessions.handles(), elapsed);
        rows.forwarders.look(self.version, &forwarders.list(), elapsed);
    }

    /// Nobody watches any more. Versions go on.
    pub(super) fn rest(&mut self) {
        self.rows = None;
    }
}

fn totals(sessions: &SessionManager, forwarders: &ForwarderManager) -> Totals {
    let sum = sessions.peek();
    let mut totals = Totals {
        sessions: sum.sessions as u64,
        connected: sum.connected as u64,
        waiting: sum.outbox_messages as u64,
        ..Totals::default()
    };
    let [received, sent, bytes_received, bytes_sent, forwarded, lost] = &mut totals.counters;
    (*received, *sent) = (sum.messages_received, sum.messages_sent);
    (*bytes_received, *bytes_sent) = (sum.bytes_received, sum.bytes_sent);
    for forwarder in forwarders.list() {
        let metrics = forwarder.metrics();
        totals.in_flight += metrics.in_flight;
        *forwarded += metrics.forwarded;
        *lost += metrics.dropped + metrics.dead_lettered;
    }
    totals
}

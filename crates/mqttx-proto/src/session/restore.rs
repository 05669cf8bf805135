//! A session from the records that a store kept.

use std::sync::Arc;
use std::time::Instant;

use super::incoming::Incoming;
use super::lazy::Lazy;
use super::record::{Journal, Priority, Record, RecordBatch, StoredLane};
use super::subscriptions::Subscriptions;
use super::{Config, Continuity, Outcome, PacketIds, Session, new_outbox};

impl Session {
    /// A session from its records: [`new`](Self::new) and [`restore`](Self::restore_state) in one.
    #[must_use]
    pub fn restore(config: impl Into<Arc<Config>>, now: Instant, records: &RecordBatch) -> Self {
        let mut session = Self::new(config);
        session.restore_state(now, records, &Default::default());
        session
    }

    /// Begins anew with what a store kept, while there is no connection: with the state that `records` describe, in the order in
    /// which they were given to the store, and with the queued messages that it has besides them.
    ///
    /// Messages that were in flight keep their packet ids. A record that contradicts the earlier ones is passed over, so that
    /// damage costs itself only. Filters that were asked for before stay asked for, and come on top of those of the store. What
    /// was published before is told [`Outcome::StoreFailed`].
    pub fn restore_state(
        &mut self,
        now: Instant,
        records: &RecordBatch,
        lanes: &[StoredLane; Priority::COUNT],
    ) {
        self.handle_disconnected();
        let cx = &mut self.cx;
        self.outbox.used().into_iter().for_each(|outbox| outbox.close(cx, &Outcome::StoreFailed));
        let asked = std::mem::take(&mut self.subscriptions);
        let totals = self.outbox.totals;
        self.cx.ids = PacketIds::default();
        self.cx.journal = Journal::new(false);
        self.outbox = new_outbox(&self.cx.config);
        self.outbox.totals = totals;
        self.incoming = Lazy::default();
        self.continuity = Continuity::default();
        self.subscriptions = Lazy::default();
        for record in records.iter().flatten() {
            self.apply(record);
        }
        self.outbox.restore_spilled(lanes);
        self.outbox.restored();
        self.cx.journal = Journal::new(self.cx.config.journal);
        if let Some(asked) = asked.into_used() {
            self.subscriptions.adopt(&mut self.cx, asked);
        }
        debug_assert!(self.cx.link.is_none(), "there is no connection at {now:?}");
    }

    fn apply(&mut self, record: Record<'_>) {
        let cx = &mut self.cx;
        match record {
            Record::Enqueue { sequence, message } => {
                self.outbox.restore_message(cx, sequence, &message);
            }
            Record::Assign { sequence, id, order } => {
                self.outbox.restore_id(cx, sequence, id, order);
            }
            Record::Release { sequence } => self.outbox.restore_release(sequence),
            Record::Done { sequence } => self.outbox.restore_done(cx, sequence),
            Record::Requeue { sequence } => self.outbox.restore_requeue(cx, sequence),
            Record::Received { id } => self.incoming.restore(id),
            Record::Forgotten { id } => self.incoming.restore_forgotten(id),
            Record::Subscribe { filter, options, identifier, properties } => {
                self.subscriptions.restore(filter, options, identifier, properties);
            }
            Record::Granted { filter, code } => self.subscriptions.restore_granted(filter, code),
            Record::Unsubscribe { filter } => self.subscriptions.restore_removal(filter),
            Record::Connecting => self.continuity.unanswered = true,
            Record::Resumed => self.continuity.unanswered = false,
            Record::Epoch { epoch, broker, client_id } => {
                self.incoming.used().into_iter().for_each(Incoming::on_session_lost);
                self.subscriptions.used().into_iter().for_each(Subscriptions::on_session_lost);
                self.continuity =
                    Continuity { known: true, broker, epoch, ..Continuity::default() };
                if self.client_id.is_empty() && self.cx.config.client_id.is_empty() {
                    self.continuity.assigned_client_id = client_id.into();
                }
            }
        }
    }
}

//! A session from the records that a store kept.

use std::time::Instant;

use super::record::{Record, RecordBatch};
use super::{Config, Session};

impl Session {
    /// Rebuilds the session from its records, in the order in which they were given to the store.
    ///
    /// Messages that were in flight keep their packet ids. A record that contradicts the earlier ones is passed over, so that
    /// damage costs itself only.
    #[must_use]
    pub fn restore(config: Config, now: Instant, records: &RecordBatch) -> Self {
        let mut session = Self::new(config);
        for record in records.iter().filter_map(Result::ok) {
            session.apply(now, record);
        }
        // The last life may have ended between a CONNECT and the record of its answer.
        session.continuity.unanswered = true;
        session
    }

    fn apply(&mut self, now: Instant, record: Record<'_>) {
        match record {
            Record::Enqueue { sequence, message } => {
                self.outbox.restore_message(&mut self.cx, now, sequence.number(), &message);
            }
            Record::Assign { sequence, id, .. } => {
                self.outbox.restore_id(&mut self.cx, sequence.number(), id);
            }
            Record::Release { sequence } => self.outbox.restore_release(sequence.number()),
            Record::Done { sequence } => self.outbox.restore_done(&mut self.cx, sequence.number()),
            Record::Requeue { sequence } => {
                self.outbox.restore_requeue(&mut self.cx, sequence.number());
            }
            Record::Received { id } => self.incoming.restore(id),
            Record::Forgotten { id } => self.incoming.restore_forgotten(id),
            Record::Subscribe { filter, options, identifier, .. } => {
                self.subscriptions.restore(filter.to_owned(), options, identifier);
            }
            Record::Granted { filter, .. } => self.subscriptions.restore_granted(filter),
            Record::Unsubscribe { filter } => self.subscriptions.restore_removal(filter),
            Record::Connecting | Record::Resumed => {}
            Record::Epoch { epoch, broker, client_id } => {
                self.incoming.on_session_lost();
                self.subscriptions.on_session_lost();
                self.continuity.known = true;
                self.continuity.broker = broker;
                self.continuity.epoch = epoch;
                if self.cx.config.client_id.is_empty() {
                    client_id.clone_into(&mut self.continuity.assigned_client_id);
                }
            }
        }
    }
}

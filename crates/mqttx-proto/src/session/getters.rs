//! What a session can be asked without changing it.

use std::sync::Arc;

use super::link::Stage;
use super::{Config, Limits, Lsn, OutboxStatus, Phase, SendTotals, Sequence, Session};

impl Session {
    /// What was asked for.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.cx.config
    }

    /// For changes, which take effect at the next connection.
    pub fn config_mut(&mut self) -> &mut Config {
        Arc::make_mut(&mut self.cx.config)
    }

    /// Replaces the configuration, from the next connection on. Sessions of which the same is asked can share it.
    pub fn set_config(&mut self, config: Arc<Config>) {
        self.cx.config = config;
    }

    /// Gives it another client id, from the next connection on: the server then has another session for it, in which nothing of
    /// ours is. What is unfinished goes out as new messages, and the filters are asked for again.
    pub fn set_client_id(&mut self, client_id: &str) {
        self.client_id = client_id.into();
        self.continuity.known = false;
        self.continuity.assigned_client_id = Box::default();
    }

    /// What the server allows; `None` unless online.
    #[must_use]
    pub fn limits(&self) -> Option<&Limits> {
        self.cx.link.as_ref().filter(|link| link.is_online()).map(|link| &link.limits)
    }

    /// The message that waits longest on this connection for the server to finish it, and whether its PUBREC arrived.
    #[must_use]
    pub fn oldest_sent(&self) -> Option<(Sequence, bool)> {
        self.outbox.oldest_sent()
    }

    /// How far the connection has come.
    #[must_use]
    pub fn phase(&self) -> Phase {
        match self.cx.link.as_ref().map(|link| link.stage) {
            None => Phase::Offline,
            Some(Stage::Handshake | Stage::Verifying) => Phase::Handshake,
            Some(Stage::Online) => Phase::Online,
            Some(Stage::Closing) => Phase::Closing,
        }
    }

    /// The client id of the next CONNECT: the configured one, or the one that the server assigned.
    #[must_use]
    pub fn client_id(&self) -> &str {
        let own = [&*self.client_id, &self.cx.config.client_id];
        let own = own.into_iter().find(|id| !id.is_empty());
        own.unwrap_or(&self.continuity.assigned_client_id)
    }

    /// The client id that was given to it by [`with_client_id`](Self::with_client_id); empty without one.
    #[must_use]
    pub fn own_client_id(&self) -> &str {
        &self.client_id
    }

    /// What waits and what is in flight.
    #[must_use]
    pub fn outbox(&self) -> OutboxStatus {
        self.outbox.status()
    }

    /// Whether another message is accepted, as far as the limits go and the store keeps up.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.outbox.has_room(&self.cx)
    }

    /// QoS 1 and 2 messages that wait until the server has acknowledged others. 0 without a connection, and with a store, for
    /// which messages wait as well.
    #[must_use]
    #[inline]
    pub fn awaiting_window(&self) -> usize {
        let online = self.cx.link.as_ref().is_some_and(|link| link.is_online());
        if online && self.cx.journal.is_off() { self.outbox.queued() } else { 0 }
    }

    /// Whether the record at that position is as durable as the store promises.
    #[must_use]
    pub fn is_stored(&self, lsn: Lsn) -> bool {
        self.cx.journal.is_synced(lsn)
    }

    /// Totals of what was sent.
    #[must_use]
    pub fn send_totals(&self) -> SendTotals {
        self.outbox.totals
    }

    /// Received messages that were known already and not delivered again.
    #[must_use]
    pub fn received_duplicates(&self) -> u64 {
        self.incoming.duplicates
    }

    /// QoS 1 and 2 messages that are accepted and not finished.
    #[must_use]
    pub fn unacknowledged(&self) -> usize {
        self.outbox.unfinished()
    }

    /// Received QoS 1 and 2 messages that are with the application, or wait behind one that is.
    #[must_use]
    pub fn undelivered(&self) -> usize {
        self.incoming.owed()
    }

    /// Received QoS 1 and 2 messages of this connection that are with the application.
    #[must_use]
    pub fn delivering(&self) -> usize {
        self.incoming.delivering()
    }

    /// Whether a received QoS 2 message still waits for the server's PUBREL.
    #[must_use]
    pub fn awaits_release(&self) -> bool {
        self.incoming.awaits_release()
    }

    /// How many filters are desired.
    #[must_use]
    pub fn subscriptions(&self) -> usize {
        self.subscriptions.len()
    }

    /// Whether the server granted a filter, as far as it said so: not while it was asked and has not answered.
    #[must_use]
    pub fn is_granted(&self, filter: &str) -> bool {
        self.subscriptions.is_granted(filter)
    }

    /// Whether an answer of the server to something of ours is outstanding: CONNACK, AUTH, an acknowledgement, SUBACK, PINGRESP. A
    /// driver that does not read now would wait for ever.
    #[must_use]
    pub fn awaits_server(&self) -> bool {
        self.cx.link.as_ref().is_some_and(|link| {
            !link.is_online()
                || link.timer.is_waiting_for_ping()
                || link.exchange.as_ref().is_some_and(|exchange| exchange.awaits_server())
                || !self.subscriptions.is_settled()
                || self.outbox.status().in_flight > 0
        })
    }

    /// The desired filters that the server refused, in the order of their names: it sends nothing for them.
    pub fn refused_filters(&self) -> impl Iterator<Item = &str> {
        self.subscriptions.refused()
    }

    /// Whether every subscribe and unsubscribe has its answer.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.subscriptions.is_settled()
    }

    /// Whether all that was accepted is finished and all that was encoded is with the socket.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.is_flushed() && self.subscriptions.is_settled()
    }

    /// [`is_drained`](Self::is_drained), whatever the server still has to say to requests for subscriptions.
    #[must_use]
    pub fn is_flushed(&self) -> bool {
        self.outbox.status().messages == 0
            && self
                .cx
                .link
                .as_ref()
                .is_none_or(|link| link.everything_written() && !link.has_unwritten_messages())
    }
}

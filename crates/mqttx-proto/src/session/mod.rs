//! The client side of one MQTT session: a state machine without I/O and without a clock.
//!
//! The driver tells what happened (`handle_*`), the application what it wants ([`publish`](Session::publish), …), and the driver
//! asks what to do next (`poll_*`). This file only dispatches; each concern has a file of its own.

mod alias;
mod arena;
mod auth;
mod config;
mod context;
mod dispatch;
mod event;
mod getters;
mod handshake;
mod id_guard;
mod id_table;
mod incoming;
mod lazy;
mod link;
mod outgoing;
mod packet_ids;
mod polls;
mod record;
mod restore;
mod row;
mod subscriptions;
mod timer;
mod unwritten;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use crate::packet::{FrameStatus, PINGREQ, frame};
use crate::{PropertiesRef, ReasonCode};

pub use auth::{AuthenticateError, Authentication};
pub use config::{Clock, Config, OutboxLimits, WillMessage};
pub use event::{
    Accepted, AckTicket, CloseCause, Completion, Connected, DropReason, Event, Inbound, NO_TOKEN,
    Outcome, PublishError, Refusal, SubscribeError, Token,
};
pub use link::Limits;
pub use outgoing::{
    FailedMessage, FetchRequest, OutboxStatus, Outgoing, Payload, PlainMessage, PlainProperties,
    SendTotals,
};
pub use record::{
    Lsn, Origin, Priority, Record, RecordBatch, RecordError, Records, Sequence, StoredLane,
    StoredMessage,
};
pub use subscriptions::Subscription;

use context::Context;
use incoming::Incoming;
use lazy::{Lazy, SeldomQueue};
use link::{Link, Stage};
use outgoing::Outbox;
use packet_ids::PacketIds;
use record::Journal;
use subscriptions::Subscriptions;
use timer::Expired;

/// How far the session's connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// No transport.
    Offline,
    /// CONNECT is on its way, CONNACK awaited.
    Handshake,
    /// CONNACK accepted.
    Online,
    /// The last bytes are to be flushed, then the transport is to be closed.
    Closing,
}

/// Which server session our state belongs to.
#[derive(Debug, Default)]
struct Continuity {
    /// A server has, as far as we know, a session that fits our state.
    known: bool,
    broker: u64,
    epoch: u64,
    /// A CONNECT got no CONNACK: the server may have begun a session that we were not told of.
    unanswered: bool,
    /// The record that says so.
    connecting: Lsn,
    /// Assigned by the server, else empty.
    assigned_client_id: Box<str>,
}

/// One MQTT session: what the application wants, what is in flight, and at most one connection.
///
/// ```
/// use mqttx_proto::{Config, Session, Transmit, Version};
/// use std::time::Instant;
///
/// let mut session = Session::new(Config::new(Version::V311));
/// session.handle_connected(Instant::now(), 0);
/// let mut out = Transmit::new();
/// assert!(session.poll_transmit(&mut out));
/// assert_eq!(out.remaining(), 14); // CONNECT with a zero-length client id
/// ```
#[derive(Debug)]
pub struct Session {
    cx: Context,
    /// Its own, where the configuration has none.
    client_id: Box<str>,
    outbox: Lazy<Outbox>,
    incoming: Lazy<Incoming>,
    subscriptions: Lazy<Subscriptions>,
    continuity: Continuity,
}

impl Session {
    /// A session without a past. Sessions of which the same is asked can share the configuration.
    #[must_use]
    pub fn new(config: impl Into<Arc<Config>>) -> Self {
        let config = config.into();
        let journal = Journal::new(config.journal);
        let outbox = new_outbox(&config);
        Self {
            cx: Context {
                config,
                link: None,
                ids: PacketIds::default(),
                journal,
                events: SeldomQueue::default(),
                completions: VecDeque::new(),
            },
            client_id: Box::default(),
            outbox,
            incoming: Lazy::default(),
            subscriptions: Lazy::default(),
            continuity: Continuity::default(),
        }
    }

    /// Gives it a client id of its own, which counts before the one of the configuration unless it is empty.
    #[must_use]
    pub fn with_client_id(mut self, client_id: &str) -> Self {
        self.client_id = client_id.into();
        self
    }
}

/// What happened.
impl Session {
    /// The transport is connected to the broker address that the driver calls `broker`: CONNECT is encoded.
    pub fn handle_connected(&mut self, now: Instant, broker: u64) {
        let mut link = Box::new(Link::new(&self.cx.config, now, broker));
        let encoded =
            handshake::encode_connect(&self.cx.config, self.client_id(), link.writes.bytes_mut());
        if self.continuity.known && !self.cx.config.clean_start {
            if !self.continuity.unanswered {
                // From here on the server may have a session that nobody was told of.
                self.continuity.connecting = self.cx.journal.push(|| Record::Connecting);
            }
            link.hold_until = self.continuity.connecting;
        }
        // A CONNECT that cannot be said leaves no doubt.
        link.answered = encoded.is_err();
        self.cx.link = Some(link);
        if let Err(error) = encoded {
            self.cx.close(CloseCause::InvalidConnect(error.to_string()));
        }
    }

    /// Takes whole packets from `input`, appends the messages to deliver to `inbound`, and returns how many bytes are done with.
    ///
    /// The rest, part of a packet, is to be offered again with more bytes behind it. After a fault everything is done with.
    pub fn handle_input<'a>(
        &mut self,
        now: Instant,
        input: &'a [u8],
        inbound: &mut Vec<Inbound<'a>>,
    ) -> usize {
        let version = self.cx.config.version;
        let mut rest = input;
        let acknowledged = match (self.outbox.used(), rest.first()) {
            (Some(outbox), Some(&Outbox::PUBACK)) => outbox.on_pubacks(&mut self.cx, rest),
            _ => 0,
        };
        rest = rest.get(acknowledged..).unwrap_or_default();
        let mut received = acknowledged > 0;
        while let Some(link) = self.cx.link.as_mut().filter(|link| link.takes_input()) {
            let found = match frame(rest, version, link.accepts_packets_up_to) {
                Ok(FrameStatus::Complete(found)) => found,
                Ok(FrameStatus::Incomplete { .. }) => break,
                Err(error) => {
                    self.cx.fault(error);
                    break;
                }
            };
            received = true;
            let (Some(body), Some(after)) =
                (rest.get(found.header_len..found.total_len), rest.get(found.total_len..))
            else {
                break;
            };
            let (packet, before) = (rest, inbound.len());
            rest = after;
            let outcome = self.on_packet(now, found.first_byte, body, found.total_len, inbound);
            match outcome {
                Ok(()) if inbound.len() > before => rest = self.take_row(&found, packet, inbound),
                Ok(()) => {}
                Err(error) => self.cx.fault(error),
            }
        }
        if received && let Some(link) = self.cx.link.as_mut() {
            link.timer.on_received(now);
        }
        if self.phase() == Phase::Closing {
            return input.len();
        }
        self.pump(now);
        input.len() - rest.len()
    }

    /// Sends what could not leave before.
    fn pump(&mut self, now: Instant) {
        if let Some(outbox) = self.outbox.used() {
            outbox.pump(&mut self.cx, now);
        }
        if !self.subscriptions.is_settled() {
            self.subscriptions.pump(&mut self.cx);
        }
    }

    /// The socket took `bytes` more of what [`poll_transmit`](Self::poll_transmit) gave.
    pub fn handle_written(&mut self, now: Instant, bytes: usize) {
        let Some(link) = self.cx.link.as_mut() else { return };
        let had_room = link.has_room();
        link.on_written(bytes);
        link.timer.on_sent(now);
        while let Some((token, count)) = self.cx.link.as_mut().and_then(|link| link.next_written())
        {
            self.cx.complete_all(token, count, Outcome::Written);
        }
        if !had_room && let Some(outbox) = self.outbox.used() {
            outbox.pump(&mut self.cx, now);
        }
    }

    /// A deadline of [`poll_timeout`](Self::poll_timeout) is over.
    pub fn handle_timeout(&mut self, now: Instant) {
        if let Some(outbox) = self.outbox.used() {
            outbox.on_timeout(&mut self.cx, now);
        }
        let Some(link) = self.cx.link.as_mut().filter(|link| link.stage != Stage::Closing) else {
            return;
        };
        if link.exchange.as_ref().and_then(|exchange| exchange.deadline).is_some_and(|at| at <= now)
        {
            let (reason, nothing) = (ReasonCode::UNSPECIFIED_ERROR, PropertiesRef::EMPTY);
            return self.cx.disconnect(reason, nothing, CloseCause::AuthenticationTimeout);
        }
        match link.timer.expired(now) {
            None => {}
            Some(Expired::Handshake) => self.cx.close(CloseCause::HandshakeTimeout),
            Some(Expired::PingResponse) => self.cx.close(CloseCause::KeepAliveTimeout),
            Some(Expired::Ping) => {
                link.writes.bytes_mut().extend_from_slice(&PINGREQ);
                link.timer.on_ping(now);
                self.shrink();
            }
        }
    }

    /// The store has all records up to `written`, and can no longer lose those up to `synced`.
    pub fn handle_stored(&mut self, now: Instant, written: Lsn, synced: Lsn) {
        self.cx.journal.handle_stored(written, synced);
        let cx = &mut self.cx;
        self.incoming.used().into_iter().for_each(|incoming| incoming.flush(cx));
        self.subscriptions.used().into_iter().for_each(|subscriptions| subscriptions.on_stored(cx));
        self.outbox.used().into_iter().for_each(|outbox| outbox.on_stored(cx, now));
    }

    /// The store gave back all queued messages of that priority below the number `next`, from where it was asked to begin.
    pub fn handle_fetched(
        &mut self,
        now: Instant,
        priority: Priority,
        next: u64,
        records: &RecordBatch,
    ) {
        self.outbox.handle_fetched(&mut self.cx, now, priority, next, records);
    }

    /// The transport is gone. What is in flight is kept for the next connection.
    pub fn handle_disconnected(&mut self) {
        let Some(mut link) = self.cx.link.take() else { return };
        self.continuity.unanswered |= !link.answered;
        let cx = &mut self.cx;
        self.outbox.used().into_iter().for_each(|outbox| outbox.on_disconnected(cx, &mut link));
        self.incoming.used().into_iter().for_each(Incoming::on_disconnected);
        self.subscriptions.used().into_iter().for_each(|these| these.on_disconnected(cx));
    }

    /// The session ends for good: everybody who waits is told [`Outcome::Closed`].
    pub fn handle_closed(&mut self) {
        self.close(&Outcome::Closed);
    }

    /// The store will not keep anything further: everybody who waits is told [`Outcome::StoreFailed`]. What the store has comes
    /// back by [`restore_state`](Self::restore_state).
    pub fn handle_store_failed(&mut self) {
        self.close(&Outcome::StoreFailed);
    }

    fn close(&mut self, outcome: &Outcome) {
        self.handle_disconnected();
        let cx = &mut self.cx;
        self.outbox.used().into_iter().for_each(|outbox| outbox.close(cx, outcome));
        self.subscriptions.used().into_iter().for_each(|these| these.close(cx, outcome));
    }
}

/// What the application wants.
impl Session {
    /// Accepts a message, in every phase; sends it as soon as the connection, the quota and the store allow.
    ///
    /// # Errors
    ///
    /// Nothing was changed: the outbox is full, the message is not valid, or this connection does not allow it.
    pub fn publish(
        &mut self,
        now: Instant,
        message: &Outgoing<'_>,
        token: Token,
    ) -> Result<Accepted, PublishError> {
        self.outbox.publish(&mut self.cx, now, message, token)
    }

    /// [`publish`](Self::publish) for a message that goes straight into the write queue, as most do; the size of its packet.
    ///
    /// `None`: something is in its way, or wrong with it, and nothing was changed. Then `publish` it.
    #[inline]
    pub fn publish_plain(&mut self, message: &PlainMessage<'_>, token: Token) -> Option<usize> {
        self.outbox.used()?.publish_plain(&mut self.cx, message, token)
    }

    /// Adds filters to the desired set, or replaces them, and asks the server for them now or at the next connection.
    ///
    /// # Errors
    ///
    /// Nothing was changed: a filter or property is not valid.
    pub fn subscribe(
        &mut self,
        subscriptions: &[Subscription<'_>],
        properties: PropertiesRef<'_>,
        token: Token,
    ) -> Result<(), SubscribeError> {
        self.subscriptions.subscribe(&mut self.cx, subscriptions, properties, token)
    }

    /// Removes filters from the desired set and tells the server, now or at the next connection.
    ///
    /// # Errors
    ///
    /// Nothing was changed: a filter or property is not valid.
    pub fn unsubscribe(
        &mut self,
        filters: &[&str],
        properties: PropertiesRef<'_>,
        token: Token,
    ) -> Result<(), SubscribeError> {
        self.subscriptions.unsubscribe(&mut self.cx, filters, properties, token)
    }

    /// Nobody waits for the answer to the subscribe or unsubscribe with this token any more: there will be no completion, and as
    /// with [`NO_TOKEN`] a newer request for the filter takes its place, unless it was sent. What is desired stays as it is.
    ///
    /// `false`: there is no such request, or it has its answer, of which the completion tells.
    pub fn abandon(&mut self, token: Token) -> bool {
        self.subscriptions.used().is_some_and(|these| these.abandon(&mut self.cx, token))
    }

    /// Every route is done with the message: its acknowledgement may leave. A ticket that is not valid any more has no effect.
    pub fn ack(&mut self, ticket: AckTicket) {
        if let Some(incoming) = self.incoming.used() {
            incoming.on_delivered(&mut self.cx, ticket);
        }
    }

    /// There is no room for the message: neither it nor what came after it is acknowledged on this connection, so that the
    /// server sends them again on the next one. `false`: it did not come on this connection, which goes on as it is.
    pub fn refuse(&mut self, ticket: AckTicket) -> bool {
        self.incoming.used().is_some_and(|incoming| incoming.on_refused(ticket))
    }

    /// Ends the connection with DISCONNECT, behind what is encoded already.
    pub fn disconnect(&mut self, reason: ReasonCode, properties: PropertiesRef<'_>) {
        self.cx.disconnect(reason, properties, CloseCause::Requested);
    }

    /// Gives up the oldest message that was never sent; `false`: there is none.
    pub fn drop_oldest(&mut self) -> bool {
        self.outbox.used().is_some_and(|outbox| outbox.drop_oldest(&mut self.cx))
    }

    /// A message that [`Event::MessageFailed`] said the store still has is taken care of: the store may forget it.
    pub fn forget(&mut self, sequence: Sequence) {
        self.cx.journal.push(|| Record::Done { sequence });
    }

    /// Gives the memory that bursts needed back; done by itself when a ping is due.
    pub fn shrink(&mut self) {
        self.outbox.used().into_iter().for_each(Outbox::shrink);
        self.incoming.used().into_iter().for_each(Incoming::shrink);
        self.cx.ids.shrink();
        self.cx.journal.shrink();
        if let Some(link) = self.cx.link.as_mut() {
            link.shrink();
        }
        if self.cx.completions.is_empty() {
            self.cx.completions = VecDeque::new();
        }
    }
}

/// Without a store nothing of the outbox is there before the first message.
fn new_outbox(config: &Config) -> Lazy<Outbox> {
    let window = config.spill.filter(|_| config.journal);
    window.map_or_else(Lazy::default, |window| Lazy::new(Outbox::new(window)))
}

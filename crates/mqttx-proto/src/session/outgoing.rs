//! The outbox: messages accepted for sending, queued and in flight, as one ordered sequence.
//!
//! ```text
//!            pump: id, quota, durable            PUBREC (QoS 2)
//!  Queued ───────────────────────────▶ Sent ───────────────────▶ Released
//!    │  ▲                               │ │                          │
//!    │  └─────── session lost ──────────┼─┼──────────────────────────┤
//!    │                                  │ └─▶ PUBACK, error          │ PUBCOMP
//!    └─▶ expired, evicted, not allowed ─┴────────▶ Gone ◀────────────┘
//! ```
//!
//! Two cursors walk the sequence on each connection: `assigned` gives packet ids within the quota, `sent` follows it and encodes
//! what is durable. After a reconnect both start at the front again, so that replay is nothing but the same walk: Sent goes out
//! with DUP, Released as PUBREL, in the original order, before anything new `[MQTT-4.4.0-1]`, `[MQTT-4.6.0-1]`.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::{
    Ack, PacketId, PacketType, PropertiesRef, PropertyContext, PropertyError, PropertyId, QoS,
    ReasonCode, Version, validate_topic,
};

use super::Context;
use super::arena::{Arena, Span};
use super::event::{Accepted, DropReason, Event, NO_TOKEN, Outcome, PublishError, Token};
use super::id_guard::IdGuard;
use super::incoming::encode_ack;
use super::link::Link;
use super::packet_ids::Owner;
use super::record::{Journal, Lsn, Record, StoredMessage};
use crate::encode_publish;
use crate::write_queue::BY_REFERENCE;

/// A message to send.
#[derive(Debug, Clone, Copy)]
pub struct Outgoing<'a> {
    /// Where it goes: a topic name without wildcards.
    pub topic: &'a str,
    /// What it carries. Large payloads are shared, not copied.
    pub payload: &'a Bytes,
    /// At which level.
    pub qos: QoS,
    /// Whether the server retains it.
    pub retain: bool,
    /// Properties of PUBLISH; ignored in 3.1.1. A message expiry interval counts down while the message waits.
    pub properties: PropertiesRef<'a>,
    /// When to give up a message that was never sent; `None`: only by its message expiry.
    pub expires_at: Option<Instant>,
}

/// What is in the outbox.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OutboxStatus {
    /// Everything accepted and not finished, in messages.
    pub messages: usize,
    /// The same in bytes of encoded packets.
    pub bytes: usize,
    /// QoS 1 and 2 messages that take part of the quota on this connection.
    pub in_flight: usize,
}

/// Totals since the session began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SendTotals {
    /// First transmissions of PUBLISH.
    pub messages: u64,
    /// Their bytes, whole packets.
    pub bytes: u64,
    /// Transmissions of the same PUBLISH again.
    pub resent: u64,
    /// Messages that were in flight when the server lost the session, sent as new ones.
    pub requeued: u64,
    /// Messages given up before they were sent.
    pub dropped: u64,
}

/// An encoded PUBLISH.
#[derive(Debug)]
struct Encoded {
    span: Span,
    /// A large payload, which follows the span's bytes.
    payload: Option<Bytes>,
    /// Of the whole packet, in bytes.
    len: u32,
    id_offset: u32,
    expiry_offset: u32,
    expiry: Option<Box<Expiry>>,
    alias: u16,
    qos: QoS,
    retain: bool,
}

/// The two ways for a message to become worthless.
#[derive(Debug)]
struct Expiry {
    /// The outbox gives it up.
    time_to_live: Option<Instant>,
    /// Its message expiry interval, counted from its acceptance.
    message: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Queued,
    /// PUBREL asks a server that may still hold this id to forget it; the message itself waits.
    Clearing,
    Sent,
    Released,
    Gone,
}

#[derive(Debug)]
struct Entry {
    encoded: Encoded,
    state: State,
    id: Option<PacketId>,
    /// PUBREL left on this connection.
    released_here: bool,
    token: Token,
    /// The record that must be durable before the next step.
    lsn: Lsn,
}

#[derive(Debug, Default)]
pub(crate) struct Outbox {
    entries: VecDeque<Entry>,
    /// The sequence number of the first entry.
    base: u64,
    assigned: u64,
    sent: u64,
    /// Entries below this were there when the connection began.
    replay_end: u64,
    /// QoS 0 messages that wait for a connection or the socket.
    qos0: VecDeque<(Encoded, Token)>,
    arena: Arena,
    status: OutboxStatus,
    /// Unfinished QoS 1 and 2 messages.
    unfinished: usize,
    next_expiry: Option<Instant>,
    /// Releases whose record is not durable yet.
    releases: VecDeque<(Lsn, u64)>,
    guard: Option<Box<IdGuard>>,
    pub(crate) totals: SendTotals,
}

impl Outbox {
    pub(crate) fn status(&self) -> OutboxStatus {
        self.status
    }

    pub(crate) fn unfinished(&self) -> usize {
        self.unfinished
    }

    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        self.next_expiry
    }

    // ---- what the application wants ----

    pub(crate) fn publish(
        &mut self,
        cx: &mut Context,
        now: Instant,
        message: &Outgoing<'_>,
        token: Token,
    ) -> Result<Accepted, PublishError> {
        validate_topic(message.topic).map_err(PublishError::Topic)?;
        if !message.properties.is_empty() {
            check_properties(message.properties).map_err(PublishError::Property)?;
        }
        if self.status.messages >= cx.config.outbox.messages {
            return Err(PublishError::OutboxFull);
        }
        let direct = message.qos == QoS::AtMostOnce
            && self.qos0.is_empty()
            && message.expires_at.is_none()
            && cx.link.as_ref().is_some_and(|link| link.is_online() && link.has_room());
        if direct {
            return self.publish_direct(cx, message, token);
        }
        let encoded = self.encode(cx.config.version, now, message)?;
        let len = encoded.len as usize;
        let allowed = match cx.link.as_ref().filter(|link| link.is_online()) {
            Some(link) => link.allows(&encoded).map_err(PublishError::NotAllowed),
            None => Ok(()),
        };
        let full = self.status.bytes + len > cx.config.outbox.bytes && self.status.messages > 0;
        if full || allowed.is_err() {
            self.arena.remove(encoded.span);
            allowed?;
            return Err(PublishError::OutboxFull);
        }
        self.status.messages += 1;
        self.status.bytes += len;
        self.note_expiry(&encoded);
        let lsn = if encoded.qos == QoS::AtMostOnce {
            self.qos0.push_back((encoded, token));
            0
        } else {
            self.enqueue(cx, encoded, message, token)
        };
        self.pump(cx, now);
        Ok(Accepted { lsn, packet_len: len })
    }

    fn enqueue(
        &mut self,
        cx: &mut Context,
        encoded: Encoded,
        message: &Outgoing<'_>,
        token: Token,
    ) -> Lsn {
        let sequence = self.end();
        let lsn = cx.journal.push(|| Record::Enqueue {
            sequence,
            message: Box::new(StoredMessage {
                topic: message.topic.to_owned(),
                payload: message.payload.clone(),
                qos: message.qos,
                retain: message.retain,
                properties: message.properties.to_owned(),
            }),
        });
        self.unfinished += 1;
        self.entries.push_back(Entry {
            encoded,
            state: State::Queued,
            id: None,
            released_here: false,
            token,
            lsn,
        });
        lsn
    }

    /// QoS 0 with a connection and room: encoded straight into the write queue.
    fn publish_direct(
        &mut self,
        cx: &mut Context,
        message: &Outgoing<'_>,
        token: Token,
    ) -> Result<Accepted, PublishError> {
        let Some(link) = cx.link.as_mut() else { return Err(PublishError::OutboxFull) };
        let alias = alias_of(message.properties);
        let by_reference = message.payload.len() >= BY_REFERENCE;
        let out = link.writes.bytes_mut();
        let start = out.len();
        let layout = encode_publish(
            cx.config.version,
            false,
            message.qos,
            message.retain,
            message.topic,
            0,
            message.properties,
            message.payload.len(),
            out,
        )
        .map_err(PublishError::Encode)?;
        let encoded_len = layout.total_len;
        if let Err(reason) = link.limits_allow(encoded_len, alias, message.qos, message.retain) {
            link.writes.bytes_mut().truncate(start);
            return Err(PublishError::NotAllowed(reason));
        }
        if by_reference {
            link.writes.push_payload(message.payload.clone());
        } else {
            link.writes.bytes_mut().extend_from_slice(message.payload);
        }
        link.on_qos0_encoded(token);
        self.totals.messages += 1;
        self.totals.bytes += encoded_len as u64;
        Ok(Accepted { lsn: 0, packet_len: encoded_len })
    }

    fn encode(
        &mut self,
        version: Version,
        now: Instant,
        message: &Outgoing<'_>,
    ) -> Result<Encoded, PublishError> {
        let by_reference = message.payload.len() >= BY_REFERENCE;
        let copied = if by_reference { 0 } else { message.payload.len() };
        let bound = message.topic.len() + message.properties.as_bytes().len() + copied + 16;
        let mut layout = None;
        let span = self
            .arena
            .insert(bound, |out| {
                layout = Some(encode_publish(
                    version,
                    false,
                    message.qos,
                    message.retain,
                    message.topic,
                    0,
                    message.properties,
                    message.payload.len(),
                    out,
                )?);
                if !by_reference {
                    out.extend_from_slice(message.payload);
                }
                Ok(())
            })
            .map_err(PublishError::Encode)?;
        let (len, id_offset, expiry_offset) = layout.map_or((0, None, None), |layout| {
            (layout.total_len, layout.packet_id_offset, layout.message_expiry_offset)
        });
        let interval = expiry_offset.and_then(|_| message.properties.message_expiry_interval());
        let expiry = (interval.is_some() || message.expires_at.is_some()).then(|| {
            Box::new(Expiry {
                time_to_live: message.expires_at,
                message: interval.map(|seconds| now + Duration::from_secs(u64::from(seconds))),
            })
        });
        Ok(Encoded {
            span,
            payload: by_reference.then(|| message.payload.clone()),
            len: len as u32,
            id_offset: id_offset.unwrap_or(0) as u32,
            expiry_offset: expiry_offset.unwrap_or(0) as u32,
            expiry,
            alias: alias_of(message.properties),
            qos: message.qos,
            retain: message.retain,
        })
    }

    /// Gives up the oldest message that was never sent, so that a newer one fits.
    pub(crate) fn drop_oldest(&mut self, cx: &mut Context) -> bool {
        if let Some((encoded, token)) = self.qos0.pop_front() {
            self.forget_qos0(cx, &encoded, token, DropReason::Evicted);
            return true;
        }
        let from = self.assigned.max(self.base);
        for sequence in from..self.end() {
            if self.entry(sequence).is_some_and(|e| e.state == State::Queued) {
                self.give_up(cx, sequence, DropReason::Evicted);
                return true;
            }
        }
        false
    }

    // ---- what the driver must do next ----

    /// Sends whatever may be sent: within the quota, while the socket keeps up, once it is durable.
    pub(crate) fn pump(&mut self, cx: &mut Context, now: Instant) {
        if !cx.link.as_ref().is_some_and(|link| link.is_online()) {
            return;
        }
        self.pump_qos0(cx, now);
        if self.sent == self.end() {
            return;
        }
        self.assign_ids(cx, now);
        self.send_assigned(cx, now);
        self.release_rest(cx);
    }

    fn pump_qos0(&mut self, cx: &mut Context, now: Instant) {
        while !self.qos0.is_empty() {
            let Some(link) = cx.link.as_mut().filter(|link| link.has_room()) else { return };
            let Some((encoded, token)) = self.qos0.pop_front() else { return };
            let verdict = if encoded.is_expired(now) {
                Err(DropReason::Expired)
            } else {
                link.allows(&encoded)
            };
            match verdict {
                Ok(()) => {
                    encoded.write(&self.arena, link, now, false, None);
                    link.on_qos0_encoded(token);
                    self.totals.messages += 1;
                    self.totals.bytes += u64::from(encoded.len);
                    self.discard(&encoded);
                }
                Err(reason) => self.forget_qos0(cx, &encoded, token, reason),
            }
        }
    }

    fn assign_ids(&mut self, cx: &mut Context, now: Instant) {
        while self.assigned < self.end() {
            let sequence = self.assigned;
            let Some(link) = cx.link.as_ref() else { return };
            let quota = usize::from(link.limits.receive_maximum.min(cx.config.max_in_flight));
            let in_flight = self.status.in_flight;
            let Some(entry) = entry_mut(&mut self.entries, self.base, sequence) else { return };
            match entry.state {
                State::Gone => {}
                // Its PUBREL left already, ahead of messages that wait for quota.
                State::Released if entry.released_here => {}
                State::Released => self.status.in_flight += 1,
                State::Queued | State::Sent | State::Clearing => {
                    if in_flight >= quota {
                        return;
                    }
                    let verdict = match entry.state {
                        State::Queued if entry.encoded.is_expired(now) => Err(DropReason::Expired),
                        _ => link.allows(&entry.encoded),
                    };
                    if let Err(reason) = verdict {
                        self.assigned += 1;
                        self.sent = self.sent.max(self.base);
                        self.give_up(cx, sequence, reason);
                        continue;
                    }
                    if entry.id.is_none() {
                        let Some(id) = cx.ids.allocate(Owner::Publish(sequence)) else { return };
                        entry.id = Some(id);
                        let lsn = cx.journal.push(|| Record::Assign { sequence, id });
                        entry.lsn = entry.lsn.max(lsn);
                    }
                    self.status.in_flight += 1;
                }
            }
            self.assigned += 1;
        }
    }

    fn send_assigned(&mut self, cx: &mut Context, now: Instant) {
        self.sent = self.sent.max(self.base);
        while self.sent < self.assigned {
            let Some(link) = cx.link.as_mut() else { return };
            let Some(entry) = entry_mut(&mut self.entries, self.base, self.sent) else { return };
            match (entry.state, entry.id) {
                (State::Released, Some(id)) if !entry.released_here => {
                    if !cx.journal.is_synced(entry.lsn) {
                        return;
                    }
                    entry.released_here = true;
                    encode_ack(
                        link,
                        cx.config.version,
                        PacketType::PubRel,
                        id,
                        ReasonCode::SUCCESS,
                    );
                }
                (State::Queued | State::Sent, Some(id)) => {
                    let durable = match entry.encoded.qos {
                        QoS::ExactlyOnce => cx.journal.is_synced(entry.lsn),
                        _ => cx.journal.is_written(entry.lsn),
                    };
                    if !durable || !link.has_room() {
                        return;
                    }
                    if entry.encoded.qos == QoS::ExactlyOnce
                        && entry.state == State::Queued
                        && self.guard.as_ref().is_some_and(|guard| !guard.is_clear(id))
                    {
                        entry.state = State::Clearing;
                        encode_ack(
                            link,
                            cx.config.version,
                            PacketType::PubRel,
                            id,
                            ReasonCode::SUCCESS,
                        );
                        return;
                    }
                    let again = entry.state == State::Sent;
                    entry.encoded.write(&self.arena, link, now, again, Some(id));
                    entry.state = State::Sent;
                    if again {
                        self.totals.resent += 1;
                    } else {
                        self.totals.messages += 1;
                        self.totals.bytes += u64::from(entry.encoded.len);
                    }
                }
                (State::Clearing, _) => return,
                _ => {}
            }
            self.sent += 1;
        }
    }

    /// After a reconnect only PUBLISH waits for quota: the PUBRELs behind one that waits go out now.
    fn release_rest(&mut self, cx: &mut Context) {
        let from = self.assigned;
        let to = std::mem::take(&mut self.replay_end);
        for sequence in from..to {
            let Some(link) = cx.link.as_mut() else { return };
            let Some(entry) = entry_mut(&mut self.entries, self.base, sequence) else { continue };
            if let (State::Released, Some(id), false) = (entry.state, entry.id, entry.released_here)
                && cx.journal.is_synced(entry.lsn)
            {
                entry.released_here = true;
                self.status.in_flight += 1;
                encode_ack(link, cx.config.version, PacketType::PubRel, id, ReasonCode::SUCCESS);
            }
        }
    }

    // ---- what happened ----

    /// PUBACK, or an error in it.
    pub(crate) fn on_puback(&mut self, cx: &mut Context, sequence: u64, ack: &Ack<'_>) -> bool {
        match self.entry(sequence) {
            Some(entry) if entry.encoded.qos == QoS::AtLeastOnce && entry.state == State::Sent => {
                self.finish(cx, sequence, outcome_of(ack));
                true
            }
            _ => false,
        }
    }

    /// PUBREC: from here on only PUBREL; an error ends the flow `[MQTT-4.3.3-4]`.
    pub(crate) fn on_pubrec(&mut self, cx: &mut Context, sequence: u64, ack: &Ack<'_>) -> bool {
        let Some(entry) = entry_mut(&mut self.entries, self.base, sequence) else { return false };
        if entry.encoded.qos != QoS::ExactlyOnce {
            return false;
        }
        match entry.state {
            State::Sent if ack.reason.is_error() => self.finish(cx, sequence, outcome_of(ack)),
            State::Sent => {
                entry.state = State::Released;
                entry.released_here = true;
                entry.lsn = cx.journal.push(|| Record::Release { sequence });
                self.releases.push_back((entry.lsn, sequence));
                self.flush_releases(cx);
            }
            State::Released if !ack.reason.is_error() => {
                if let Some(link) = cx.link.as_mut()
                    && cx.journal.is_synced(entry.lsn)
                {
                    encode_ack(
                        link,
                        cx.config.version,
                        PacketType::PubRel,
                        ack.packet_id,
                        ReasonCode::SUCCESS,
                    );
                }
            }
            State::Released => self.finish(cx, sequence, outcome_of(ack)),
            _ => return false,
        }
        true
    }

    /// PUBCOMP: the message is finished. An error says that the server had forgotten it: finished all the same.
    pub(crate) fn on_pubcomp(
        &mut self,
        cx: &mut Context,
        now: Instant,
        sequence: u64,
        ack: &Ack<'_>,
    ) -> bool {
        let Some(entry) = entry_mut(&mut self.entries, self.base, sequence) else { return false };
        match entry.state {
            State::Released => {
                let (reason, packet_id) = (ReasonCode::SUCCESS, ack.packet_id);
                self.finish(cx, sequence, Outcome::Acknowledged { reason, packet_id });
                true
            }
            State::Clearing => {
                entry.state = State::Queued;
                if let Some(guard) = self.guard.as_mut() {
                    guard.clear(ack.packet_id);
                }
                self.pump(cx, now);
                true
            }
            _ => false,
        }
    }

    /// Records became durable: PUBRELs and PUBLISHes that waited for them go out.
    pub(crate) fn on_stored(&mut self, cx: &mut Context, now: Instant) {
        self.flush_releases(cx);
        self.pump(cx, now);
    }

    /// CONNACK with our session: the walk starts again at the front.
    pub(crate) fn on_session_resumed(&mut self) {
        self.rewind();
        self.replay_end = self.end();
    }

    /// CONNACK without our session: what was in flight goes out as new messages. Returns how many those are.
    pub(crate) fn on_session_lost(&mut self, cx: &mut Context, foreign: bool) -> usize {
        let mut requeued = 0;
        for (index, entry) in self.entries.iter_mut().enumerate() {
            if entry.state == State::Gone {
                continue;
            }
            if let Some(id) = entry.id.take() {
                cx.ids.free(id);
                let sequence = self.base + index as u64;
                entry.lsn = cx.journal.push(|| Record::Requeue { sequence });
            }
            requeued += usize::from(entry.state != State::Queued);
            entry.state = State::Queued;
        }
        self.guard = foreign.then(Box::default);
        self.totals.requeued += requeued as u64;
        self.rewind();
        requeued
    }

    /// The connection is gone. QoS 0 that the socket did not take is lost, and said so.
    pub(crate) fn on_disconnected(&mut self, cx: &mut Context, link: &mut Link) {
        let unwritten = link.take_unwritten();
        let count = unwritten.len();
        for (_, token) in unwritten {
            cx.complete(token, Outcome::ConnectionLost);
        }
        if count > 0 {
            self.totals.dropped += count as u64;
            cx.events
                .push_back(Event::MessageDropped { reason: DropReason::ConnectionLost, count });
        }
        self.releases.clear();
        self.rewind();
    }

    /// Drops queued messages whose time is over.
    pub(crate) fn on_timeout(&mut self, cx: &mut Context, now: Instant) {
        if self.next_expiry.is_none_or(|at| at > now) {
            return;
        }
        self.next_expiry = None;
        for _ in 0..self.qos0.len() {
            let Some((encoded, token)) = self.qos0.pop_front() else { break };
            if encoded.is_expired(now) {
                self.forget_qos0(cx, &encoded, token, DropReason::Expired);
            } else {
                self.note_expiry(&encoded);
                self.qos0.push_back((encoded, token));
            }
        }
        for sequence in self.assigned.max(self.base)..self.end() {
            let Some(entry) = self.entry(sequence) else { continue };
            if entry.state != State::Queued {
                continue;
            }
            let (expired, at) = (entry.encoded.is_expired(now), entry.encoded.expires_at());
            if expired {
                self.give_up(cx, sequence, DropReason::Expired);
            } else {
                self.next_expiry = earliest(self.next_expiry, at);
            }
        }
    }

    /// The session ends for good: everybody who waits is told.
    pub(crate) fn close(&mut self, cx: &mut Context) {
        for (_, token) in std::mem::take(&mut self.qos0) {
            cx.complete(token, Outcome::Closed);
        }
        for entry in &mut self.entries {
            cx.complete(std::mem::replace(&mut entry.token, NO_TOKEN), Outcome::Closed);
        }
    }

    /// Nobody waits for `token` any more.
    pub(crate) fn shrink(&mut self) {
        if self.status.messages == 0 {
            self.arena.shrink();
            self.entries = VecDeque::new();
            self.qos0 = VecDeque::new();
            self.releases = VecDeque::new();
        }
    }

    // ---- what a store remembered ----

    pub(crate) fn restore_message(
        &mut self,
        cx: &mut Context,
        now: Instant,
        sequence: u64,
        message: &StoredMessage,
    ) {
        if self.entries.is_empty() {
            self.base = sequence;
            self.rewind();
        }
        if sequence != self.end() {
            return;
        }
        let outgoing = Outgoing {
            topic: &message.topic,
            payload: &message.payload,
            qos: message.qos,
            retain: message.retain,
            properties: message.properties.as_ref(),
            expires_at: None,
        };
        let Ok(encoded) = self.encode(cx.config.version, now, &outgoing) else { return };
        self.status.messages += 1;
        self.status.bytes += encoded.len as usize;
        self.unfinished += 1;
        self.note_expiry(&encoded);
        self.entries.push_back(Entry {
            encoded,
            state: State::Queued,
            id: None,
            released_here: false,
            token: NO_TOKEN,
            lsn: 0,
        });
    }

    /// The message may have left with this id: it goes out again with DUP.
    pub(crate) fn restore_id(&mut self, cx: &mut Context, sequence: u64, id: PacketId) {
        if let Some(entry) = entry_mut(&mut self.entries, self.base, sequence)
            && entry.state == State::Queued
            && cx.ids.restore(id, Owner::Publish(sequence))
        {
            entry.id = Some(id);
            entry.state = State::Sent;
        }
    }

    pub(crate) fn restore_release(&mut self, sequence: u64) {
        if let Some(entry) = entry_mut(&mut self.entries, self.base, sequence)
            && entry.state == State::Sent
        {
            entry.state = State::Released;
        }
    }

    pub(crate) fn restore_requeue(&mut self, cx: &mut Context, sequence: u64) {
        if let Some(entry) = entry_mut(&mut self.entries, self.base, sequence)
            && let Some(id) = entry.id.take()
        {
            cx.ids.free(id);
            entry.state = State::Queued;
        }
    }

    pub(crate) fn restore_done(&mut self, cx: &mut Context, sequence: u64) {
        // Not a change of ours: it is in the store already.
        let mut silent = std::mem::replace(&mut cx.journal, Journal::new(false));
        self.finish(cx, sequence, Outcome::Closed);
        std::mem::swap(&mut silent, &mut cx.journal);
    }

    // ---- inside ----

    fn end(&self) -> u64 {
        self.base + self.entries.len() as u64
    }

    fn entry(&self, sequence: u64) -> Option<&Entry> {
        self.entries.get(sequence.checked_sub(self.base)? as usize)
    }

    fn rewind(&mut self) {
        self.assigned = self.base;
        self.sent = self.base;
        self.replay_end = 0;
        self.status.in_flight = 0;
        for entry in &mut self.entries {
            entry.released_here = false;
            if entry.state == State::Clearing {
                entry.state = State::Queued;
            }
        }
    }

    fn flush_releases(&mut self, cx: &mut Context) {
        while let Some((lsn, sequence)) = self.releases.front().copied() {
            if !cx.journal.is_synced(lsn) {
                return;
            }
            self.releases.pop_front();
            let id = self.entry(sequence).and_then(|e| e.id);
            if let (Some(id), Some(link)) = (id, cx.link.as_mut()) {
                encode_ack(link, cx.config.version, PacketType::PubRel, id, ReasonCode::SUCCESS);
            }
        }
    }

    /// An accepted QoS 1 or 2 message that will not be sent.
    fn give_up(&mut self, cx: &mut Context, sequence: u64, reason: DropReason) {
        self.totals.dropped += 1;
        cx.events.push_back(Event::MessageDropped { reason, count: 1 });
        // `finish` takes back the quota of every entry below `assigned`; this one has none yet.
        if sequence < self.assigned {
            self.status.in_flight += 1;
        }
        self.finish(cx, sequence, Outcome::Dropped(reason));
    }

    fn finish(&mut self, cx: &mut Context, sequence: u64, outcome: Outcome) {
        let assigned = self.assigned;
        let Some(entry) = entry_mut(&mut self.entries, self.base, sequence) else { return };
        if entry.state == State::Gone {
            return;
        }
        let counted = sequence < assigned || entry.released_here;
        entry.state = State::Gone;
        entry.encoded.payload = None;
        if let Some(id) = entry.id.take() {
            cx.ids.free(id);
        }
        let token = std::mem::replace(&mut entry.token, NO_TOKEN);
        let (span, len) = (entry.encoded.span, entry.encoded.len);
        self.arena.remove(span);
        self.status.messages -= 1;
        self.status.bytes -= len as usize;
        self.unfinished -= 1;
        if counted {
            self.status.in_flight = self.status.in_flight.saturating_sub(1);
        }
        cx.journal.push(|| Record::Done { sequence });
        cx.complete(token, outcome);
        while self.entries.front().is_some_and(|e| e.state == State::Gone) {
            self.entries.pop_front();
            self.base += 1;
        }
        self.assigned = self.assigned.max(self.base);
        self.sent = self.sent.max(self.base);
    }

    fn forget_qos0(
        &mut self,
        cx: &mut Context,
        encoded: &Encoded,
        token: Token,
        reason: DropReason,
    ) {
        self.totals.dropped += 1;
        cx.events.push_back(Event::MessageDropped { reason, count: 1 });
        cx.complete(token, Outcome::Dropped(reason));
        self.discard(encoded);
    }

    fn discard(&mut self, encoded: &Encoded) {
        self.arena.remove(encoded.span);
        self.status.messages -= 1;
        self.status.bytes -= encoded.len as usize;
    }

    fn note_expiry(&mut self, encoded: &Encoded) {
        self.next_expiry = earliest(self.next_expiry, encoded.expires_at());
    }
}

impl Encoded {
    fn expires_at(&self) -> Option<Instant> {
        self.expiry.as_ref().and_then(|expiry| earliest(expiry.time_to_live, expiry.message))
    }

    fn is_expired(&self, now: Instant) -> bool {
        self.expiry.is_some() && self.expires_at().is_some_and(|at| at <= now)
    }

    /// Appends the packet to the write queue, with this transmission's DUP, id and remaining expiry.
    fn write(&self, arena: &Arena, link: &mut Link, now: Instant, dup: bool, id: Option<PacketId>) {
        let out = link.writes.bytes_mut();
        let start = out.len();
        out.extend_from_slice(arena.get(self.span));
        let Some(packet) = out.get_mut(start..) else { return };
        if let (true, Some(first)) = (dup, packet.first_mut()) {
            *first |= DUP;
        }
        if let Some(id) = id {
            overwrite(packet, self.id_offset as usize, &id.get().to_be_bytes());
        }
        if let Some(at) = self.expiry.as_ref().and_then(|expiry| expiry.message) {
            let left = at.saturating_duration_since(now).as_millis().div_ceil(1000) as u32;
            overwrite(packet, self.expiry_offset as usize, &left.to_be_bytes());
        }
        if let Some(payload) = &self.payload {
            link.writes.push_payload(payload.clone());
        }
    }
}

impl Link {
    fn allows(&self, encoded: &Encoded) -> Result<(), DropReason> {
        self.limits_allow(encoded.len as usize, encoded.alias, encoded.qos, encoded.retain)
    }

    /// What CONNACK forbids is not sent `[MQTT-3.2.2-11]`, `[MQTT-3.2.2-14]`, `[MQTT-3.2.2-15]`, `[MQTT-3.2.2-17]`.
    fn limits_allow(
        &self,
        size: usize,
        alias: u16,
        qos: QoS,
        retain: bool,
    ) -> Result<(), DropReason> {
        let limits = &self.limits;
        if size > limits.maximum_packet_size as usize {
            Err(DropReason::TooLarge { size, limit: limits.maximum_packet_size })
        } else if qos > limits.maximum_qos {
            Err(DropReason::QoSNotSupported { maximum: limits.maximum_qos })
        } else if retain && !limits.retain_available {
            Err(DropReason::RetainNotAvailable)
        } else if alias > limits.topic_alias_maximum {
            Err(DropReason::TopicAlias { alias, maximum: limits.topic_alias_maximum })
        } else {
            Ok(())
        }
    }
}

const DUP: u8 = 0b1000;

fn entry_mut(entries: &mut VecDeque<Entry>, base: u64, sequence: u64) -> Option<&mut Entry> {
    entries.get_mut(sequence.checked_sub(base)? as usize)
}

fn overwrite(packet: &mut [u8], offset: usize, bytes: &[u8]) {
    if let Some(place) = packet.get_mut(offset..offset + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

fn alias_of(properties: PropertiesRef<'_>) -> u16 {
    if properties.is_empty() { 0 } else { properties.topic_alias().unwrap_or(0) }
}

/// What PUBLISH may carry; subscription identifiers go only from server to client `[MQTT-3.3.4-6]`.
fn check_properties(properties: PropertiesRef<'_>) -> Result<(), PropertyError> {
    let (id, context) = (PropertyId::SubscriptionIdentifier, PropertyContext::Publish);
    if properties.subscription_identifiers().next().is_some() {
        return Err(PropertyError::NotAllowed { id, context });
    }
    properties.check(context)
}

fn earliest(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

fn outcome_of(ack: &Ack<'_>) -> Outcome {
    let (reason, packet_id) = (ack.reason, ack.packet_id);
    if reason.is_error() {
        let reason_string = ack.properties.reason_string().map(str::to_owned);
        Outcome::Refused { reason, reason_string, packet_id }
    } else {
        Outcome::Acknowledged { reason, packet_id }
    }
}

//! What the server, the connection, the clock and the store do to the outbox.

use std::collections::VecDeque;
use std::time::Instant;

use super::encoded::earliest;
use super::{Outbox, State, entry_mut};
use crate::session::Context;
use crate::session::event::{DropReason, Event, NO_TOKEN, Outcome};
use crate::session::incoming::encode_ack;
use crate::session::link::Link;
use crate::session::record::Record;
use crate::{Ack, PacketType, QoS, ReasonCode};

impl Outbox {
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
                entry.lsn = cx.journal.push(|| Record::Release { sequence: super::named(sequence) });
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

    /// PUBCOMP: the message is finished. That the server does not know the id is no error after a reconnect (it had finished
    /// already), and one at other times: the two sides disagree.
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
                let outcome = if entry.recovered {
                    Outcome::Acknowledged { reason, packet_id }
                } else {
                    outcome_of(ack)
                };
                self.finish(cx, sequence, outcome);
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
                entry.lsn = cx.journal.push(|| Record::Requeue { sequence: super::named(sequence) });
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

    /// Gives the memory of an empty outbox back.
    pub(crate) fn shrink(&mut self) {
        if self.status.messages == 0 {
            self.arena.shrink();
            self.entries = VecDeque::new();
            self.qos0 = VecDeque::new();
            self.releases = VecDeque::new();
        }
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

//! What the server, the connection, the clock and the store do to the outbox.

use std::collections::VecDeque;
use std::time::Instant;

use super::flight::Flight;
use super::{Outbox, State, at_mut};
use crate::session::Context;
use crate::session::event::{DropReason, Event, Outcome};
use crate::session::incoming::encode_ack;
use crate::session::link::Link;
use crate::session::record::{Priority, Record};
use crate::{Ack, PacketType, QoS, ReasonCode};

impl Outbox {
    /// PUBACK, or an error in it.
    pub(crate) fn on_puback(&mut self, cx: &mut Context, place: u64, ack: &Ack<'_>) -> bool {
        match self.at(place) {
            Some(entry) if entry.encoded.qos == QoS::AtLeastOnce && entry.state == State::Sent => {}
            _ => return false,
        }
        if ack.reason.is_error() {
            self.finish(cx, place, outcome_of(ack));
        } else {
            let token = self.retire(cx, place);
            let (reason, packet_id) = (ack.reason, ack.packet_id);
            cx.complete(token, Outcome::Acknowledged { reason, packet_id });
        }
        true
    }

    /// PUBREC: from here on only PUBREL; an error ends the flow `[MQTT-4.3.3-4]`.
    pub(crate) fn on_pubrec(&mut self, cx: &mut Context, place: u64, ack: &Ack<'_>) -> bool {
        let Some(entry) = at_mut(&mut self.flight, self.base, place) else { return false };
        if entry.encoded.qos != QoS::ExactlyOnce {
            return false;
        }
        match entry.state {
            State::Sent if ack.reason.is_error() => self.finish(cx, place, outcome_of(ack)),
            State::Sent => {
                entry.state = State::Released;
                entry.released_here = true;
                if place >= self.admitted {
                    // An answer to an earlier connection: the walk, which would count it, passes over it now.
                    self.status.in_flight += 1;
                }
                let sequence = entry.sequence;
                entry.lsn = cx.journal.push(|| Record::Release { sequence });
                self.releases.push_back((entry.lsn, place));
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
            State::Released => self.finish(cx, place, outcome_of(ack)),
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
        place: u64,
        ack: &Ack<'_>,
    ) -> bool {
        let Some(entry) = at_mut(&mut self.flight, self.base, place) else { return false };
        match entry.state {
            State::Released => {
                let (reason, packet_id) = (ReasonCode::SUCCESS, ack.packet_id);
                let outcome = if entry.recovered {
                    Outcome::Acknowledged { reason, packet_id }
                } else {
                    outcome_of(ack)
                };
                self.finish(cx, place, outcome);
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

    /// CONNACK without our session: what was in flight goes out as new messages, before what was queued. Returns how many those
    /// are.
    pub(crate) fn on_session_lost(&mut self, cx: &mut Context, foreign: bool) -> usize {
        let mut requeued = 0;
        while let Some(mut entry) = self.flight.pop_back() {
            let Some(id) = entry.id.take() else { continue };
            cx.ids.free(id);
            let sequence = entry.sequence;
            entry.lsn = entry.lsn.max(cx.journal.push(|| Record::Requeue { sequence }));
            requeued += usize::from(entry.state != State::Queued);
            entry.state = State::Queued;
            entry.recovered = false;
            self.queued += 1;
            self.queued_bytes += entry.encoded.len as usize;
            self.note_expiry(&entry.encoded);
            self.lane_mut(sequence.priority()).entries.push_front(entry);
        }
        self.guard = foreign.then(Box::default);
        self.totals.requeued += requeued as u64;
        self.rewind();
        requeued
    }

    /// The connection is gone. QoS 0 that the socket did not take is lost, and said so.
    pub(crate) fn on_disconnected(&mut self, cx: &mut Context, link: &mut Link) {
        let (count, tokens) = link.take_unwritten();
        tokens.for_each(|(token, count)| cx.complete_all(token, count, Outcome::ConnectionLost));
        if count > 0 {
            self.totals.dropped += count;
            let count = count as usize;
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
        for priority in Priority::ascending() {
            for _ in 0..self.lane_mut(priority).entries.len() {
                let Some(entry) = self.lane_mut(priority).entries.pop_front() else { break };
                if entry.encoded.is_expired(now) {
                    self.give_up_queued(cx, entry, DropReason::Expired);
                } else {
                    self.note_expiry(&entry.encoded);
                    self.lane_mut(priority).entries.push_back(entry);
                }
            }
        }
    }

    /// Gives the memory back in which no message is.
    pub(crate) fn shrink(&mut self) {
        self.arena.shrink();
        if self.status.messages == 0 {
            self.flight = Flight::new();
            self.lanes.iter_mut().for_each(|lane| lane.entries = VecDeque::new());
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

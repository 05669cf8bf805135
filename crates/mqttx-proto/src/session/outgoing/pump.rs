//! Sending: the walk that gives packet ids within the quota and encodes what is durable, on every connection from the front.

use std::time::Instant;

use super::{Outbox, State, entry_mut};
use crate::session::Context;
use crate::session::event::DropReason;
use crate::session::incoming::encode_ack;
use crate::session::packet_ids::Owner;
use crate::session::record::Record;
use crate::{PacketType, QoS, ReasonCode};

impl Outbox {
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

    pub(super) fn pump_qos0(&mut self, cx: &mut Context, now: Instant) {
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

    pub(super) fn assign_ids(&mut self, cx: &mut Context, now: Instant) {
        while self.assigned < self.end() {
            let sequence = self.assigned;
            let Some(link) = cx.link.as_ref() else { return };
            let in_flight = self.status.in_flight;
            let Some(entry) = entry_mut(&mut self.entries, self.base, sequence) else { return };
            let quota = link.limits.receive_maximum.min(cx.config.max_in_flight);
            let quota = usize::from(match entry.encoded.qos {
                QoS::ExactlyOnce => quota.min(cx.config.max_in_flight_qos2),
                _ => quota,
            });
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
                        let lsn = cx.journal.push(|| Record::Assign { sequence: super::named(sequence), id, order: sequence });
                        entry.lsn = entry.lsn.max(lsn);
                    }
                    self.status.in_flight += 1;
                }
            }
            self.assigned += 1;
        }
    }

    pub(super) fn send_assigned(&mut self, cx: &mut Context, now: Instant) {
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
                    entry.recovered = true;
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
    pub(super) fn release_rest(&mut self, cx: &mut Context) {
        let from = self.assigned;
        let to = std::mem::take(&mut self.replay_end);
        for sequence in from..to {
            let Some(link) = cx.link.as_mut() else { return };
            let Some(entry) = entry_mut(&mut self.entries, self.base, sequence) else { continue };
            if let (State::Released, Some(id), false) = (entry.state, entry.id, entry.released_here)
                && cx.journal.is_synced(entry.lsn)
            {
                entry.released_here = true;
                entry.recovered = true;
                self.status.in_flight += 1;
                encode_ack(link, cx.config.version, PacketType::PubRel, id, ReasonCode::SUCCESS);
            }
        }
    }
}

//! Sending: the walk that takes quota, gives packet ids and encodes what is durable, on every connection from the front.

use std::time::Instant;

use super::{Outbox, State, at_mut};
use crate::session::Context;
use crate::session::config::Config;
use crate::session::event::DropReason;
use crate::session::incoming::encode_ack;
use crate::session::link::Link;
use crate::session::packet_ids::Owner;
use crate::session::record::Record;
use crate::{PacketType, QoS, ReasonCode};

impl Outbox {
    /// Sends whatever may be sent: within the quota, while the socket keeps up, once it is durable.
    pub(crate) fn pump(&mut self, cx: &mut Context, now: Instant) {
        let Some(link) = cx.link.as_deref().filter(|link| link.is_online()) else { return };
        let full = self.status.in_flight >= Self::quota(link, &cx.config, QoS::AtLeastOnce);
        if !self.qos0.is_empty() {
            self.pump_qos0(cx, now);
        }
        if self.sent == self.end() && (self.queued == 0 || full) {
            return;
        }
        if self.admit_flight(cx) {
            self.admit_queued(cx, now);
        }
        self.send_admitted(cx, now);
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
                    link.on_qos0_encoded(encoded.len, token);
                    self.totals.messages += 1;
                    self.totals.bytes += u64::from(encoded.len);
                    self.discard(&encoded);
                }
                Err(reason) => self.forget_qos0(cx, &encoded, token, reason),
            }
        }
    }

    /// How many messages of this level may be unfinished at once.
    pub(super) fn quota(link: &Link, config: &Config, qos: QoS) -> usize {
        let quota = link.limits.receive_maximum.min(config.max_in_flight);
        usize::from(match qos {
            QoS::ExactlyOnce => quota.min(config.max_in_flight_qos2),
            _ => quota,
        })
    }

    /// Takes quota for what has an id from an earlier connection; `true` when nothing of that is left.
    fn admit_flight(&mut self, cx: &mut Context) -> bool {
        while self.admitted < self.end() {
            let (place, in_flight) = (self.admitted, self.status.in_flight);
            let (Some(entry), Some(link)) = (self.at(place), cx.link.as_ref()) else {
                return false;
            };
            match entry.state {
                State::Gone => {}
                // Its PUBREL left already, ahead of messages that wait for quota.
                State::Released if entry.released_here => {}
                State::Released => self.status.in_flight += 1,
                State::Queued | State::Sent | State::Clearing => {
                    if in_flight >= Self::quota(link, &cx.config, entry.encoded.qos) {
                        return false;
                    }
                    if let Err(reason) = link.allows(&entry.encoded) {
                        self.admitted += 1;
                        self.give_up(cx, place, reason);
                        continue;
                    }
                    self.status.in_flight += 1;
                }
            }
            self.admitted += 1;
        }
        true
    }

    /// Gives ids to what waits in the lanes, and sends it if nothing is before it.
    fn admit_queued(&mut self, cx: &mut Context, now: Instant) {
        while self.queued > 0 {
            let in_flight = self.status.in_flight;
            let place = self.end();
            let order = self.assignments;
            let Some(lane) = self.next_lane() else { return };
            let (Some(entry), Some(link)) = (lane.entries.front(), cx.link.as_ref()) else {
                return;
            };
            if in_flight >= Self::quota(link, &cx.config, entry.encoded.qos) {
                return;
            }
            let verdict = if entry.encoded.is_expired(now) {
                Err(DropReason::Expired)
            } else {
                link.allows(&entry.encoded)
            };
            let id = match verdict {
                Ok(()) => match cx.ids.allocate(Owner::Publish(place)) {
                    Some(id) => Ok(id),
                    None => return,
                },
                Err(reason) => Err(reason),
            };
            let Some(mut entry) = lane.entries.pop_front() else { return };
            match id {
                Ok(id) => {
                    let sequence = entry.sequence;
                    entry.id = Some(id);
                    let lsn = cx.journal.push(|| Record::Assign { sequence, id, order });
                    entry.lsn = entry.lsn.max(lsn);
                    self.queued -= 1;
                    self.queued_bytes -= entry.encoded.len as usize;
                    self.assignments += 1;
                    self.flight.push_back(entry);
                    self.status.in_flight += 1;
                    self.admitted += 1;
                    if self.sent == place {
                        self.send_next(cx, now);
                    }
                }
                Err(reason) => self.give_up_queued(cx, entry, reason),
            }
        }
    }

    fn send_admitted(&mut self, cx: &mut Context, now: Instant) {
        self.sent = self.sent.max(self.base);
        while self.sent < self.admitted && self.send_next(cx, now) {}
    }

    /// Encodes the next message, or its PUBREL; `false`: something else has to happen before.
    #[inline]
    fn send_next(&mut self, cx: &mut Context, now: Instant) -> bool {
        let Some(link) = cx.link.as_deref_mut() else { return false };
        let Some(entry) = at_mut(&mut self.flight, self.base, self.sent) else { return false };
        let version = cx.config.version;
        match (entry.state, entry.id) {
            (State::Released, Some(id)) if !entry.released_here => {
                if !cx.journal.is_synced(entry.lsn) {
                    return false;
                }
                entry.released_here = true;
                entry.recovered = true;
                encode_ack(link, version, PacketType::PubRel, id, ReasonCode::SUCCESS);
            }
            (State::Queued | State::Sent, Some(id)) => {
                let qos2 = entry.encoded.qos == QoS::ExactlyOnce;
                let durable = if qos2 {
                    cx.journal.is_synced(entry.lsn)
                } else {
                    cx.journal.is_written(entry.lsn)
                };
                if !durable || !link.has_room() {
                    return false;
                }
                let again = entry.state == State::Sent;
                let unsafe_id = |guard: &super::IdGuard| !guard.is_clear(id);
                if qos2 && !again && self.guard.as_deref().is_some_and(unsafe_id) {
                    entry.state = State::Clearing;
                    encode_ack(link, version, PacketType::PubRel, id, ReasonCode::SUCCESS);
                    return false;
                }
                entry.encoded.write(&self.arena, link, now, again, Some(id));
                entry.state = State::Sent;
                if again {
                    self.totals.resent += 1;
                } else {
                    self.totals.messages += 1;
                    self.totals.bytes += u64::from(entry.encoded.len);
                }
            }
            (State::Clearing, _) => return false,
            _ => {}
        }
        self.sent += 1;
        true
    }

    /// After a reconnect only PUBLISH waits for quota: the PUBRELs behind one that waits go out now.
    fn release_rest(&mut self, cx: &mut Context) {
        let from = self.admitted;
        let to = std::mem::take(&mut self.replay_end);
        for place in from..to {
            let Some(link) = cx.link.as_mut() else { return };
            let Some(entry) = at_mut(&mut self.flight, self.base, place) else { continue };
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

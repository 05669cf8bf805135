//! Received QoS 1 and 2 messages: duplicates, the order of acknowledgements, our Receive Maximum.
//!
//! ```text
//! QoS 1, valid for one connection            QoS 2, by packet id, survives connections
//!
//!   PUBLISH ─▶ Delivering ─ack()─▶ PUBACK      PUBLISH ─▶ Delivering ─ack()─▶ Received ─PUBREL─▶ gone
//!                                                 ▲ │ PUBLISH again: not         │ ▲ PUBLISH again:
//!                                                 └─┘ delivered again            └─┘ PUBREC again
//! ```
//!
//! Acknowledgements leave in the order in which the messages came `[MQTT-4.6.0-2]`, `[MQTT-4.6.0-3]`: each message has a place in
//! `owed`, and only a finished front leaves.

use std::collections::VecDeque;

use crate::{Ack, DecodeError, PacketId, PacketType, PropertiesRef, QoS, ReasonCode};

use super::Context;
use super::event::AckTicket;
use super::id_table::IdTable;
use super::lazy::Blank;
use super::link::Link;
use super::record::{Lsn, Record};

/// What to do with a received message.
pub(crate) enum Admission {
    Deliver(AckTicket),
    /// It was delivered, or is being delivered.
    Duplicate,
}

/// An acknowledgement that this connection owes.
#[derive(Debug)]
struct Owed {
    id: PacketId,
    /// PUBACK or PUBREC.
    answer: PacketType,
    /// The server sent PUBREL without waiting for our PUBREC: PUBCOMP follows at once.
    released: bool,
    /// `None` while the message is being delivered; then the record that must be durable first.
    done: Option<Lsn>,
}

impl Owed {
    fn new(id: PacketId, answer: PacketType, done: Option<Lsn>) -> Self {
        Self { id, answer, released: false, done }
    }
}

#[derive(Debug, Clone, Copy)]
enum Flow {
    /// With the routes; the place in `owed` of its last PUBLISH, if that came on this connection.
    Delivering { delivery: u64, place: Option<u64> },
    /// PUBREC is sent or owed; PUBREL is awaited.
    Received { lsn: Lsn },
}

#[derive(Debug)]
struct ExactlyOnce {
    flow: Flow,
    /// Whether this connection's Receive Maximum counts it.
    counted: bool,
    /// The server may have begun a session that we were not told of: without DUP the id is a new message's.
    doubtful: bool,
}

/// A PUBCOMP lets the server use the id for another message. A process that then began again from records in which the id is
/// still in use would take that message for the old one, and acknowledge it unseen: so the record comes first.
#[derive(Debug)]
struct Completion {
    id: PacketId,
    reason: ReasonCode,
    lsn: Lsn,
}

#[derive(Debug)]
pub(crate) struct Incoming {
    owed: VecDeque<Owed>,
    /// The place of the first element of `owed`.
    base: u64,
    flows: IdTable<ExactlyOnce>,
    /// PUBCOMPs that this connection owes.
    completions: VecDeque<Completion>,
    /// The last record that forgets an id.
    forgotten: Lsn,
    /// Messages seen again and not delivered again.
    pub(crate) duplicates: u64,
}

impl Blank for Incoming {
    const BLANK: Self = Self {
        owed: VecDeque::new(),
        base: 0,
        flows: IdTable::new(),
        completions: VecDeque::new(),
        forgotten: 0,
        duplicates: 0,
    };
    const SHARED: &'static Self = &Self::BLANK;
}

impl Incoming {
    /// A QoS 1 or 2 PUBLISH arrived.
    pub(crate) fn on_publish(
        &mut self,
        cx: &mut Context,
        id: PacketId,
        qos: QoS,
        dup: bool,
    ) -> Result<Admission, DecodeError> {
        let place = self.base + self.owed.len() as u64;
        if qos == QoS::ExactlyOnce {
            if !dup && self.flows.get(id).is_some_and(|known| known.doubtful) {
                self.flows.remove(id);
            }
            if self.flows.get(id).is_some() {
                return self.on_repeated(cx, id, place);
            }
            count(cx, &mut false)?;
            let flow = Flow::Delivering { delivery: place, place: Some(place) };
            self.flows.insert(id, ExactlyOnce { flow, counted: true, doubtful: false });
            self.owed.push_back(Owed::new(id, PacketType::PubRec, None));
        } else {
            count(cx, &mut false)?;
            self.owed.push_back(Owed::new(id, PacketType::PubAck, None));
        }
        Ok(Admission::Deliver(AckTicket::new(place, id, qos)))
    }

    /// A QoS 2 PUBLISH whose id is in use: not delivered again, answered again `[MQTT-4.3.3-10]`.
    fn on_repeated(
        &mut self,
        cx: &mut Context,
        id: PacketId,
        place: u64,
    ) -> Result<Admission, DecodeError> {
        self.duplicates += 1;
        let Some(known) = self.flows.get_mut(id) else { return Ok(Admission::Duplicate) };
        count(cx, &mut known.counted)?;
        let done = match &mut known.flow {
            // A second copy on the same connection: one PUBREC answers both.
            Flow::Delivering { place: Some(_), .. } => return Ok(Admission::Duplicate),
            Flow::Delivering { place: last, .. } => {
                *last = Some(place);
                None
            }
            Flow::Received { lsn } => Some(*lsn),
        };
        self.owed.push_back(Owed::new(id, PacketType::PubRec, done));
        self.flush(cx);
        Ok(Admission::Duplicate)
    }

    /// Every route is done with the message. A ticket of an earlier connection has no effect for QoS 1: the server sends again.
    pub(crate) fn on_delivered(&mut self, cx: &mut Context, ticket: AckTicket) {
        let (index, lsn) = if ticket.is_exactly_once() {
            let Some(id) = ticket.id() else { return };
            let Some(known) = self.flows.get_mut(id) else { return };
            let Flow::Delivering { delivery, place } = known.flow else { return };
            if !ticket.is_of(delivery) {
                return;
            }
            let mut lsn = cx.journal.push(|| Record::Received { id });
            known.flow = Flow::Received { lsn };
            if place.and_then(|place| self.owed_at(place)).is_some_and(|owed| owed.released) {
                self.flows.remove(id);
                lsn = cx.journal.push(|| Record::Forgotten { id });
                self.forgotten = lsn;
            }
            let Some(index) = place.and_then(|place| place.checked_sub(self.base)) else { return };
            (index as usize, lsn)
        } else {
            (ticket.after(self.base), 0)
        };
        if let Some(owed) = self.owed.get_mut(index) {
            owed.done = Some(lsn);
        }
        if index == 0 {
            self.flush(cx);
        }
    }

    /// The message was not taken. Its place in line stays open, which holds back every later acknowledgement of this connection;
    /// a QoS 2 id is forgotten, so that the next PUBLISH with it is delivered. `false`: it has no place, since it came on an
    /// earlier connection and did not come again, or since it is done.
    pub(crate) fn on_refused(&mut self, ticket: AckTicket) -> bool {
        let index = if ticket.is_exactly_once() {
            let Some(id) = ticket.id() else { return false };
            let Some(&ExactlyOnce { flow: Flow::Delivering { delivery, place }, .. }) =
                self.flows.get(id)
            else {
                return false;
            };
            if !ticket.is_of(delivery) {
                return false;
            }
            self.flows.remove(id);
            place.and_then(|place| place.checked_sub(self.base)).map(|index| index as usize)
        } else {
            Some(ticket.after(self.base))
        };
        index.and_then(|index| self.owed.get(index)).is_some_and(|owed| owed.done.is_none())
    }

    /// PUBREL: the id is free again. Answered whether or not it is known, never punished; after PUBREC when it came too early.
    pub(crate) fn on_pubrel(&mut self, cx: &mut Context, id: PacketId) {
        if let Some(&ExactlyOnce { flow: Flow::Delivering { place: Some(place), .. }, .. }) =
            self.flows.get(id)
            && let Some(owed) = self.owed_at(place)
        {
            owed.released = true;
            return;
        }
        let known = self.flows.remove(id);
        let reason = match &known {
            Some(_) => ReasonCode::SUCCESS,
            None => ReasonCode::PACKET_IDENTIFIER_NOT_FOUND,
        };
        if let Some(ExactlyOnce { counted, .. }) = known {
            self.forgotten = cx.journal.push(|| Record::Forgotten { id });
            if let (true, Some(link)) = (counted, cx.link.as_mut()) {
                link.unfinished_inbound = link.unfinished_inbound.saturating_sub(1);
            }
        }
        // An id that is not known may be one that was forgotten on the connection before, a moment ago.
        self.completions.push_back(Completion { id, reason, lsn: self.forgotten });
        self.complete(cx);
    }

    /// Sends every PUBCOMP whose record is durable.
    fn complete(&mut self, cx: &mut Context) {
        let Some(link) = cx.link.as_mut() else { return };
        while let Some(front) = self.completions.front() {
            if !cx.journal.is_synced(front.lsn) {
                return;
            }
            encode_ack(link, cx.config.version, PacketType::PubComp, front.id, front.reason);
            self.completions.pop_front();
        }
    }

    /// Sends every acknowledgement that is due: done, durable, and nothing before it outstanding.
    pub(crate) fn flush(&mut self, cx: &mut Context) {
        if !self.completions.is_empty() {
            self.complete(cx);
        }
        let Some(link) = cx.link.as_mut().filter(|link| link.is_online()) else { return };
        while let Some(front) = self.owed.front() {
            let Some(lsn) = front.done else { return };
            if !cx.journal.is_synced(lsn) {
                return;
            }
            if front.answer == PacketType::PubAck || front.released {
                link.unfinished_inbound = link.unfinished_inbound.saturating_sub(1);
            }
            let (version, success) = (cx.config.version, ReasonCode::SUCCESS);
            encode_ack(link, version, front.answer, front.id, success);
            if front.released {
                encode_ack(link, version, PacketType::PubComp, front.id, success);
            }
            self.owed.pop_front();
            self.base += 1;
        }
    }

    /// The connection is gone: what it owed is void, ids of QoS 2 stay.
    pub(crate) fn on_disconnected(&mut self) {
        self.base += self.owed.len() as u64;
        self.owed.clear();
        self.completions.clear();
        for known in self.flows.values_mut() {
            known.counted = false;
            if let Flow::Delivering { place, .. } = &mut known.flow {
                *place = None;
            }
        }
    }

    /// "Session present" may mean a session that the server began without telling us: it has none of our ids then, and sends
    /// its first message with an id of ours without DUP `[MQTT-3.3.1-1]`.
    pub(crate) fn on_session_doubtful(&mut self) {
        self.flows.values_mut().for_each(|known| known.doubtful = true);
    }

    /// The server has no session: the ids of the old one are void.
    pub(crate) fn on_session_lost(&mut self) {
        self.flows.clear();
    }

    /// A store remembered that this id was received.
    pub(crate) fn restore(&mut self, id: PacketId) {
        if self.flows.get(id).is_none() {
            let flow = Flow::Received { lsn: 0 };
            self.flows.insert(id, ExactlyOnce { flow, counted: false, doubtful: false });
        }
    }

    /// A store remembered that this id was released.
    pub(crate) fn restore_forgotten(&mut self, id: PacketId) {
        self.flows.remove(id);
    }

    /// Messages that are with the routes, or whose acknowledgement waits for an earlier one.
    pub(crate) fn owed(&self) -> usize {
        self.owed.len()
    }

    /// Messages that are with the routes.
    pub(crate) fn delivering(&self) -> usize {
        self.owed.iter().filter(|owed| owed.done.is_none()).count()
    }

    /// Whether a QoS 2 flow waits for PUBREL, or its PUBCOMP for the store.
    pub(crate) fn awaits_release(&self) -> bool {
        !self.completions.is_empty()
            || self.flows.values().any(|known| matches!(known.flow, Flow::Received { .. }))
    }

    pub(crate) fn shrink(&mut self) {
        if self.owed.is_empty() {
            self.owed = VecDeque::new();
        }
        if self.flows.is_empty() {
            self.flows.clear();
        }
    }

    fn owed_at(&mut self, place: u64) -> Option<&mut Owed> {
        self.owed.get_mut(place.checked_sub(self.base)? as usize)
    }
}

/// Counts a message against our Receive Maximum, once per connection `[MQTT-3.3.4-9]`.
fn count(cx: &mut Context, counted: &mut bool) -> Result<(), DecodeError> {
    let Some(link) = cx.link.as_mut() else { return Ok(()) };
    if *counted {
        return Ok(());
    }
    if link.receive_maximum.is_some_and(|maximum| link.unfinished_inbound >= usize::from(maximum)) {
        return Err(DecodeError::new(
            ReasonCode::RECEIVE_MAXIMUM_EXCEEDED,
            "more unacknowledged messages than our receive maximum",
        ));
    }
    *counted = true;
    link.unfinished_inbound += 1;
    Ok(())
}

/// Appends PUBACK, PUBREC, PUBREL or PUBCOMP in its shortest form.
pub(crate) fn encode_ack(
    link: &mut Link,
    version: crate::Version,
    packet: PacketType,
    packet_id: PacketId,
    reason: ReasonCode,
) {
    let ack = Ack { packet_id, reason, properties: PropertiesRef::EMPTY };
    // Four bytes without properties cannot be too long.
    let _ = ack.encode(packet, version, link.writes.bytes_mut());
}

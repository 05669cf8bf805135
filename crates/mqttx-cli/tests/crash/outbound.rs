//! What the broker has for `sub`, and what became of it.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use super::packet::{self, Version};
use super::random::payload;

/// Messages under way to the client at once.
const WINDOW: usize = 8;

/// A store writes what nothing waits for within 50 ms; the rest is for a busy machine.
pub(crate) const CERTAINLY_WRITTEN: Duration = Duration::from_millis(200);

/// The server's half of a subscription, over all lives of the client.
#[derive(Debug)]
pub(crate) struct Outbound {
    version: Version,
    qos: u8,
    subscribed: bool,
    /// The last SUBACK left then.
    granted: Option<Instant>,
    /// CONNACK left then, in this life. A client that does not know how the server answered its last CONNECT cannot know whose
    /// session that began.
    accepted: Option<Instant>,
    /// The client was given its end then.
    doomed: Option<Instant>,
    /// All records of what the client saw so far on this connection are durable.
    recorded: bool,
    /// The last message before that CONNACK or SUBACK.
    before: u64,
    /// The client must know that the server granted its filter.
    grant_known: bool,
    flights: VecDeque<Flight>,
    /// Messages with a PUBREC that the broker saw.
    received: BTreeSet<u64>,
    last_id: u16,
    /// The last message that was sent, and the last that may be.
    last: u64,
    end: u64,
}

#[derive(Debug)]
struct Flight {
    id: u16,
    number: u64,
    released: bool,
}

impl Outbound {
    pub(crate) fn new(version: Version, qos: u8) -> Self {
        Self {
            version,
            qos,
            subscribed: false,
            granted: None,
            accepted: None,
            doomed: None,
            recorded: false,
            before: 0,
            grant_known: false,
            flights: VecDeque::new(),
            received: BTreeSet::new(),
            last_id: 0,
            last: 0,
            end: 0,
        }
    }

    /// So many more messages may be sent.
    pub(crate) fn more(&mut self, messages: u64) {
        self.end = self.last + messages;
    }

    /// All that may be sent is sent and finished.
    pub(crate) fn is_finished(&self) -> bool {
        self.subscribed && self.last == self.end && self.flights.is_empty()
    }

    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    /// The broker saw a PUBREC of the message.
    pub(crate) fn was_received(&self, number: u64) -> bool {
        self.received.contains(&number)
    }

    /// Messages under way whose PUBACK or PUBREC the broker did not see.
    pub(crate) fn unacknowledged(&self) -> Vec<u64> {
        let flights = self.flights.iter().filter(|flight| !flight.released);
        flights.map(|flight| flight.number).collect()
    }

    /// The client is given its end: what it does not know by now it may never learn.
    pub(crate) fn doomed(&mut self) {
        self.doomed.get_or_insert_with(Instant::now);
    }

    /// The client was killed. Without a connection it may have begun a new one, and does not know whose session that has.
    pub(crate) fn killed(&mut self) {
        self.grant_known = self.is_known(self.granted) && self.is_known(self.accepted);
        (self.accepted, self.doomed, self.recorded) = (None, None, false);
    }

    /// The connection ends in the middle, and what left last may not arrive.
    pub(crate) fn severed(&mut self) {
        self.grant_known &= self.is_known(self.accepted);
        self.granted = self.granted.filter(|_| self.is_known(self.granted));
        (self.accepted, self.recorded) = (None, false);
    }

    /// CONNACK leaves.
    pub(crate) fn accepted(&mut self) {
        self.grant_known &= self.accepted.is_none() || self.is_known(self.accepted);
        (self.accepted, self.recorded, self.before) = (Some(Instant::now()), false, self.last);
    }

    /// What left then has arrived, and is on record.
    fn is_known(&self, left: Option<Instant>) -> bool {
        let end = self.doomed.unwrap_or_else(Instant::now);
        left.is_some_and(|at| self.recorded || end.duration_since(at) > CERTAINLY_WRITTEN)
    }

    /// A connection with the session kept: what is sent again.
    pub(crate) fn resume(&self) -> Vec<Vec<u8>> {
        let again = |flight: &Flight| match flight.released {
            true => packet::ack(0x62, flight.id),
            false => self.publish(true, flight.id, flight.number),
        };
        self.flights.iter().map(again).collect()
    }

    /// What is sent as new, as far as the window allows.
    pub(crate) fn fill(&mut self) -> Vec<Vec<u8>> {
        let mut packets = Vec::new();
        while self.subscribed && self.flights.len() < WINDOW && self.last < self.end {
            self.last += 1;
            let id = self.free_id();
            self.flights.push_back(Flight { id, number: self.last, released: false });
            packets.push(self.publish(false, id, self.last));
        }
        packets
    }

    /// Ids come round soon, so that a client which remembers one too long is found out.
    fn free_id(&mut self) -> u16 {
        loop {
            self.last_id = self.last_id % 12 + 1;
            if self.flights.iter().all(|flight| flight.id != self.last_id) {
                return self.last_id;
            }
        }
    }

    fn publish(&self, dup: bool, id: u16, number: u64) -> Vec<u8> {
        packet::publish(self.version, dup, self.qos, id, payload(number).as_bytes())
    }

    pub(crate) fn on_subscribe(&mut self) -> Result<(), String> {
        if self.grant_known {
            return Err(
                "SUBSCRIBE although the session is kept and its grant was stored".to_owned()
            );
        }
        (self.subscribed, self.granted, self.recorded) = (true, None, false);
        Ok(())
    }

    /// SUBACK leaves.
    pub(crate) fn granted(&mut self) {
        (self.granted, self.recorded, self.before) = (Some(Instant::now()), false, self.last);
    }

    pub(crate) fn on_puback(&mut self, id: u16) -> Result<(), String> {
        match self.flights.front() {
            Some(first) if self.qos == 1 && first.id == id => {
                self.flights.pop_front();
                Ok(())
            }
            first => Err(format!("PUBACK with id {id}; the first to be acknowledged is {first:?}")),
        }
    }

    pub(crate) fn on_pubrec(&mut self, id: u16) -> Result<(), String> {
        match self.flights.iter_mut().find(|flight| !flight.released) {
            Some(first) if self.qos == 2 && first.id == id => {
                first.released = true;
                self.received.insert(first.number);
                // Records are durable in order, and that of a message which is new had to be.
                self.recorded |= first.number > self.before;
                self.grant_known |= self.recorded && self.granted.is_some();
                Ok(())
            }
            first => Err(format!("PUBREC with id {id}; the first to be acknowledged is {first:?}")),
        }
    }

    pub(crate) fn on_pubcomp(&mut self, id: u16) -> Result<(), String> {
        let place = self.flights.iter().position(|flight| flight.released && flight.id == id);
        let place = place.ok_or_else(|| format!("PUBCOMP with id {id}, which was not released"))?;
        self.flights.remove(place);
        Ok(())
    }
}

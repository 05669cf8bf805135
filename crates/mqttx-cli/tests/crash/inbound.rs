//! What the broker got from `pub`, and what it makes of each packet.

use std::collections::{BTreeSet, HashMap};

use super::broker::Answer;
use super::random::number;

/// The client's messages, over all its lives.
#[derive(Debug, Default)]
pub(crate) struct Inbound {
    qos: u8,
    /// The server's half of the session, by packet id.
    flows: HashMap<u16, Flow>,
    messages: HashMap<u64, Message>,
    connection: Connection,
    receive_maximum: usize,
    /// Messages come from another server, which may send them again.
    forwarded: bool,
}

#[derive(Debug)]
struct Flow {
    number: u64,
    stage: Stage,
    /// PUBREC left, on any connection.
    received: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Published,
    Released,
    /// PUBACK or PUBCOMP left.
    Finished,
}

#[derive(Debug, Default)]
struct Message {
    /// This session of the server knows it.
    known: bool,
    delivered: usize,
    /// So often it may be delivered with QoS 2: once for each session of the server.
    allowed: usize,
    finished: bool,
}

/// What counts for one network connection.
#[derive(Debug, Default)]
struct Connection {
    /// Unfinished PUBLISHes that came on it.
    open: BTreeSet<u16>,
    /// PUBRECs that left on it.
    received: BTreeSet<u16>,
    last_resent: Option<u64>,
    last_new: Option<u64>,
}

impl Inbound {
    pub(crate) fn new(qos: u8) -> Self {
        Self { qos, receive_maximum: usize::from(u16::MAX), ..Self::default() }
    }

    /// The client forwards: a message may come again as a new one, and then out of order.
    pub(crate) fn is_forwarded(&mut self) {
        self.forwarded = true;
    }

    /// Nothing is under way.
    pub(crate) fn is_finished(&self) -> bool {
        self.flows.values().all(|flow| flow.stage == Stage::Finished)
    }

    pub(crate) fn connected(&mut self, receive_maximum: Option<u16>) {
        self.connection = Connection::default();
        self.receive_maximum = usize::from(receive_maximum.unwrap_or(u16::MAX));
    }

    /// The server loses the session. What was not finished may come, and be delivered, again.
    pub(crate) fn forget(&mut self) {
        self.flows.clear();
        for message in self.messages.values_mut() {
            message.known = false;
            message.allowed += 1;
        }
    }

    /// The client has reported the acknowledgement long ago: the message must not come again at all.
    pub(crate) fn finished_for_good(&mut self, number: u64) {
        self.messages.entry(number).or_default().finished = true;
    }

    pub(crate) fn delivered(&self, number: u64) -> usize {
        self.messages.get(&number).map_or(0, |message| message.delivered)
    }

    /// Messages that were delivered more often than QoS 2 allows.
    pub(crate) fn repeated(&self) -> Vec<u64> {
        let repeated = |(_, message): &(_, &Message)| message.delivered > message.allowed;
        self.messages.iter().filter(repeated).map(|(&number, _)| number).collect()
    }

    pub(crate) fn on_publish(
        &mut self,
        dup: bool,
        qos: u8,
        id: u16,
        payload: &[u8],
    ) -> Result<Answer, String> {
        let number = number(payload)?;
        let what = format!("PUBLISH of message {number} with id {id}, dup {dup}");
        if qos != self.qos || id == 0 {
            return Err(format!("{what}: QoS {qos}"));
        }
        let message = self
            .messages
            .entry(number)
            .or_insert_with(|| Message { allowed: 1, ..Message::default() });
        if message.finished {
            return Err(format!("{what}: its acknowledgement was reported long before the kill"));
        }
        let flow = self.flows.get(&id);
        // What is forwarded again may get its old id again, by chance.
        let by_chance = |flow: &Flow| self.forwarded && !dup && flow.stage == Stage::Finished;
        let again = flow.is_some_and(|flow| flow.number == number && !by_chance(flow));
        match flow {
            Some(flow) if again && !dup => {
                return Err(format!("{what}: sent again as new, {flow:?}"));
            }
            Some(flow) if again && qos == 2 && flow.stage != Stage::Published => {
                return Err(format!("{what}: after its PUBREL, {flow:?}"));
            }
            Some(flow) if !again && flow.stage != Stage::Finished => {
                return Err(format!("{what}: the id is in use, {flow:?}"));
            }
            _ if !again && message.known && !self.forwarded => {
                return Err(format!("{what}: known under another id"));
            }
            _ => {}
        }
        if !self.forwarded {
            self.connection.order(number, dup).map_err(|error| format!("{what}: {error}"))?;
        }
        if !again || qos == 1 {
            message.delivered += 1;
        }
        message.known = true;
        let received = again && flow.is_some_and(|flow| flow.received);
        self.flows.insert(id, Flow { number, stage: Stage::Published, received });
        self.connection.open.insert(id);
        if self.connection.open.len() > self.receive_maximum {
            let (open, maximum) = (self.connection.open.len(), self.receive_maximum);
            return Err(format!("{what}: {open} unfinished, Receive Maximum is {maximum}"));
        }
        Ok(if qos == 1 { Answer::PubAck(id) } else { Answer::PubRec(id) })
    }

    pub(crate) fn on_pubrel(&mut self, id: u16) -> Result<Answer, String> {
        // An id that a new process clears before it uses it, or that ended with a lost session.
        let Some(flow) = self.flows.get_mut(&id) else { return Ok(Answer::UnknownId(id)) };
        if !flow.received {
            return Err(format!("PUBREL with id {id} without PUBREC, {flow:?}"));
        }
        if flow.stage == Stage::Finished && self.messages[&flow.number].finished {
            return Err(format!("PUBREL with id {id} long after its PUBCOMP, {flow:?}"));
        }
        if flow.stage == Stage::Published {
            flow.stage = Stage::Released;
        }
        if !self.connection.received.contains(&id) && !self.forwarded {
            let number = flow.number;
            self.connection.order(number, true).map_err(|e| format!("PUBREL with id {id}: {e}"))?;
        }
        Ok(Answer::PubComp(id))
    }

    /// The answer leaves.
    pub(crate) fn answered(&mut self, answer: &Answer) {
        let (Answer::PubAck(id) | Answer::PubRec(id) | Answer::PubComp(id)) = *answer else {
            return;
        };
        let Some(flow) = self.flows.get_mut(&id) else { return };
        if matches!(answer, Answer::PubRec(_)) {
            flow.received = true;
            self.connection.received.insert(id);
        } else {
            flow.stage = Stage::Finished;
            self.connection.open.remove(&id);
        }
    }
}

impl Connection {
    /// What is sent again comes first, in the order of old; then what is new, in its order.
    fn order(&mut self, number: u64, again: bool) -> Result<(), String> {
        let Self { last_resent, last_new, .. } = self;
        let fits = if again {
            last_new.is_none() && last_resent.is_none_or(|last| last < number)
        } else {
            (*last_new).max(*last_resent).is_none_or(|last| last < number)
        };
        if !fits {
            return Err(format!("out of order: sent again {last_resent:?}, new {last_new:?}"));
        }
        *(if again { last_resent } else { last_new }) = Some(number);
        Ok(())
    }
}

//! The short way: messages with QoS 0 that nothing is before go to the forwarder's one target together.
//!
//! They share a [flow](super::flows), and the target's session tells of all that it has written at a time. What cannot go this way
//! goes one by one, with the same result.

use mqttx_proto::packet::Publish;
use mqttx_proto::{Payload, Priority, Properties, QoS};

use super::arrive::Inlet;
use super::flows::{FlowKey, Together};
use super::outgoing::Outgoing;
use super::reason::ForwardDrop;
use super::scratch::Scratch;
use super::send::{Hand, NotTaken};
use crate::router::{Lot, LotItem};
use crate::session::{Draft, Handover};
use crate::trace;

impl Inlet {
    /// Hands the messages to the target that can go together: all of them, none, or the first ones, if the target has no room for
    /// the rest. They are taken out of `items`. `true`: the caller has the turn from now on.
    pub(super) fn run(
        &self,
        lot: &Lot<'_>,
        items: &mut Vec<LotItem>,
        scratch: &mut Scratch,
    ) -> bool {
        if !self.engine.plain || items.is_empty() {
            return false;
        }
        let Some(hand) = Hand::new(&self.engine, 0, Some(lot)) else { return false };
        let Some(bytes) = self.look(&hand, lot, items, scratch) else { return false };
        let Some(key) = self.open(lot, items, bytes) else { return false };
        let (sent, online) = self.hand_run(&hand, lot, items, key, scratch);
        let left = items.len() - sent;
        if left > 0 || !online || !scratch.refused.is_empty() {
            self.after_run(lot, items, key, (sent, online), scratch);
        }
        for item in items.drain(..sent) {
            let ticket = item.due.settle();
            scratch.acks.extend(ticket.map(|ticket| (self.source, ticket)));
        }
        true
    }

    /// Their bytes, if none of the messages needs more than to be passed on, and in `scratch.places` their topics: nothing is rendered
    /// under the session's lock.
    fn look(
        &self,
        hand: &Hand<'_>,
        lot: &Lot<'_>,
        items: &[LotItem],
        scratch: &mut Scratch,
    ) -> Option<usize> {
        let rule = self.engine.options.sources.get(self.source)?;
        let mark = &self.engine.mark;
        let Scratch { topics, places, .. } = scratch;
        topics.clear();
        places.clear();
        let cast = hand.cast((self.source, self.filter))?;
        let mut bytes = 0;
        for item in items {
            let publish = lot.read.get(item.index)?;
            let properties = publish.properties;
            if publish.qos.min(rule.qos) != QoS::AtMostOnce
                || !properties.is_empty()
                    && (trace::may_be_in(properties) || mark.ends(mark.read(properties)))
            {
                return None;
            }
            let topic = publish.topic;
            places.push(topics.render(&cast, (topic, topic), lot.inbound.received_at));
            bytes += topic.len() + publish.payload.len();
        }
        Some(bytes)
    }

    /// Takes the turn and opens the flow, if nothing is before these messages and there is room for them.
    fn open(&self, lot: &Lot<'_>, items: &[LotItem], bytes: usize) -> Option<FlowKey> {
        let source = self.engine.sources.get(self.source)?;
        let last = lot.read.get(items.last()?.index)?;
        let together = Together {
            source: self.source,
            count: items.len(),
            passing: bytes / items.len(),
            received_at: lot.inbound.received_at,
            topic: last.topic,
        };
        let mut inner = self.engine.lock();
        if !inner.flows.begin() {
            return None;
        }
        let Some(key) = inner.flows.open_run(&together) else {
            inner.flows.end_turn();
            return None;
        };
        // Under the lock: whoever finds the flow may say at once that nobody waits for it.
        source.pass(together.passing * together.count);
        Some(key)
    }

    /// Hands the messages over; how many, and whether the target has a connection.
    fn hand_run(
        &self,
        hand: &Hand<'_>,
        lot: &Lot<'_>,
        items: &[LotItem],
        key: FlowKey,
        scratch: &mut Scratch,
    ) -> (usize, bool) {
        let Scratch { topics, places, properties, refused, .. } = scratch;
        let waited = hand.now.saturating_duration_since(lot.inbound.received_at);
        let mut handover = hand.target.session().hand_over();
        let online = handover.limits().is_some();
        let mut sent = 0;
        for (item, place) in items.iter().zip(&*places) {
            let Some(publish) = lot.read.get(item.index) else { break };
            // Whatever level it came with: here it has this one.
            let qos = QoS::AtMostOnce;
            let topic = place.map(|place| topics.get(place));
            let taken = match topic {
                Some(topic) if hand.pass_plain(&publish, (topic, qos), &mut handover, key) => {
                    Ok(())
                }
                Some(topic) => {
                    let further = hand.further(self.source, None, publish.topic);
                    let outgoing = Outgoing { arrived: publish.properties, waited, further };
                    hand.pass_on(&publish, topic, &outgoing, properties, &mut handover, key)
                }
                None => Err(NotTaken::Refused(ForwardDrop::Topic, None)),
            };
            match taken {
                Ok(()) => {}
                Err(NotTaken::Full) => break,
                Err(NotTaken::Refused(reason, _)) => refused.push((reason, sent)),
            }
            sent += 1;
        }
        handover.finish();
        (sent, online)
    }

    /// The rest of what is to be done under the forwarder's lock.
    fn after_run(
        &self,
        lot: &Lot<'_>,
        items: &[LotItem],
        key: FlowKey,
        (sent, online): (usize, bool),
        scratch: &mut Scratch,
    ) {
        let mut inner = self.engine.lock();
        if let Some(left) = inner.flows.shorten_run(key, items.len() - sent) {
            scratch.pass(left.source, left.passed);
        }
        let mut refused = std::mem::take(&mut scratch.refused);
        let handed = |place: &usize| refused.iter().all(|(_, other)| other != place);
        let last = (0..sent).rev().find(handed).and_then(|place| items.get(place));
        if let Some(last) = last.and_then(|item| lot.read.get(item.index)) {
            inner.flows.name_run(key, last.topic);
        }
        for (reason, place) in refused.drain(..) {
            let publish = items.get(place).and_then(|item| lot.read.get(item.index));
            let named = publish.as_ref().map(|publish| publish.topic);
            inner.settle_run(key, 1, Some((reason, named)), scratch);
        }
        scratch.refused = refused;
        // It waits for a target that is slow, and not for one that is away. One that leaves later finds the flow, and says so.
        if !online && let Some((source, bytes)) = inner.flows.let_run_pass(key) {
            scratch.pass(source, bytes);
        }
    }
}

impl Hand<'_> {
    /// Hands over a message with QoS 0 as it came.
    fn pass_on(
        &self,
        publish: &Publish<'_>,
        topic: &str,
        outgoing: &Outgoing<'_>,
        scratch: &mut Properties,
        handover: &mut Handover<'_>,
        key: FlowKey,
    ) -> Result<(), NotTaken> {
        let properties =
            outgoing.properties(scratch).map_err(|reason| NotTaken::Refused(reason, None))?;
        let draft = Draft {
            topic,
            payload: Payload::from(publish.payload),
            qos: QoS::AtMostOnce,
            retain: self.rule.retain.apply(publish.retain),
            properties,
            ttl: None,
            priority: Priority::LOWEST,
            origin: None,
        };
        handover.offer(&draft, self.sink, key).map_err(|error| NotTaken::of(&error, false))
    }
}

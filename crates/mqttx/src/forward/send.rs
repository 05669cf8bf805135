//! Handing messages to their targets.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use mqttx_proto::{Payload, Priority, Properties, PropertiesRef, Property, PropertyId, QoS};

use super::endpoint::TargetRule;
use super::engine::{Engine, Target};
use super::reason::ForwardDrop;
use super::scratch::{Body, Scratch, Sending};
use super::topics::{Cast, Topic, Topics};
use crate::error::{Error, ErrorKind};
use crate::router::Lot;
use crate::session::{Draft, Handover};

/// A required target has no room.
pub(super) struct Full {
    /// So many of the lot were handed to all targets.
    pub(super) sent: usize,
    pub(super) target: usize,
}

impl Engine {
    /// Hands what is in `scratch.sending` to the targets, one after the other: each is locked once.
    pub(super) fn send(&self, scratch: &mut Scratch, lot: Option<&Lot<'_>>) -> Option<Full> {
        let now = crate::session::now();
        let mut full: Option<Full> = None;
        let targets = self.options.targets.iter().zip(&self.targets).enumerate();
        for (n, (rule, target)) in targets {
            let until = full.as_ref().map_or(scratch.sending.len(), |full| full.sent);
            let hand = Hand { engine: self, n, rule, target, lot, now };
            if let Some(sent) = hand.over(scratch, until) {
                // What this target did not get, those after it do not get before it.
                let left = scratch.sending.iter_mut().take(until).skip(sent);
                left.for_each(|sending| sending.next_target = n);
                full = Some(Full { sent, target: n });
            }
        }
        // With optional targets only, a message that none of them took is lost.
        if self.options.targets.iter().all(|target| !target.required) {
            for sending in scratch.sending.iter_mut().filter(|sending| sending.taken == 0) {
                sending.failure = sending.failure.or(Some(ForwardDrop::QueueFull));
            }
        }
        full
    }
}

/// One target gets its part of a lot.
struct Hand<'a> {
    engine: &'a Engine,
    n: usize,
    rule: &'a TargetRule,
    target: &'a Target,
    lot: Option<&'a Lot<'a>>,
    now: Instant,
}

impl Hand<'_> {
    /// Hands over the first `until` messages; how many, if the target had no room for the next.
    fn over(&self, scratch: &mut Scratch, until: usize) -> Option<usize> {
        // All topics first: nothing is rendered under the session's lock.
        scratch.topics.clear();
        for sending in scratch.sending.iter_mut().take(until) {
            sending.topic = None;
            if sending.next_target <= self.n {
                sending.topic = self.topic(sending, &mut scratch.topics);
            }
        }
        let mut handover = self.target.session.hand_over();
        let mut sent = None;
        for (at, sending) in scratch.sending.iter_mut().take(until).enumerate() {
            if sending.next_target > self.n {
                continue;
            }
            let topic = sending.topic.map(|topic| scratch.topics.get(topic));
            let outcome = match topic {
                Some(topic) => self.one(sending, topic, &mut scratch.properties, &mut handover),
                None => Err(NotTaken::Refused(ForwardDrop::Topic)),
            };
            match outcome {
                Ok(qos) => {
                    sending.taken += 1;
                    scratch.downgraded += u64::from(qos < self.rule.qos.apply(sending.qos));
                }
                Err(NotTaken::Full) if self.rule.required => {
                    sent = Some(at);
                    break;
                }
                Err(NotTaken::Refused(ForwardDrop::Expired)) if !self.rule.required => {
                    sending.failure = sending.failure.or(Some(ForwardDrop::Expired));
                }
                Err(_) if !self.rule.required => scratch.optional_lost += 1,
                Err(NotTaken::Full) => {}
                Err(NotTaken::Refused(reason)) => {
                    sending.failed += 1;
                    sending.failure = sending.failure.or(Some(reason));
                }
            }
        }
        handover.finish();
        sent
    }

    fn topic(&self, sending: &Sending, topics: &mut Topics) -> Topic {
        let publish = sending.body.publish(self.lot)?;
        let cast = Cast {
            rule: self.rule,
            uses_time: self.target.uses_time,
            forwarder: &self.engine.options.name,
            now: self.now,
        };
        let from = (sending.source, sending.filter);
        let session = self.engine.sources.get(sending.source)?.name();
        topics.render(&cast, from, session, publish.topic, self.received_at(sending))
    }

    /// Hands over one message; the level that it has now.
    fn one(
        &self,
        sending: &Sending,
        topic: &str,
        scratch: &mut Properties,
        handover: &mut Handover<'_>,
    ) -> Result<QoS, NotTaken> {
        let pending = &self.target.pending;
        if !self.rule.required && pending.load(Ordering::Relaxed) >= self.engine.options.qos0_queue
        {
            return Err(NotTaken::Full);
        }
        let Some(publish) = sending.body.publish(self.lot) else { return Err(NotTaken::Full) };
        let waited = self.now.saturating_duration_since(self.received_at(sending));
        let properties =
            outgoing_properties(publish.properties, waited, scratch).map_err(NotTaken::Refused)?;
        let shared;
        let payload = match &sending.body {
            Body::Own(message) if publish.payload.len() >= LARGE => {
                shared = message.payload_bytes();
                Payload::from(&shared)
            }
            _ => Payload::from(publish.payload),
        };
        let mut draft = Draft {
            topic,
            payload,
            qos: self.rule.qos.apply(sending.qos),
            retain: self.rule.retain.apply(publish.retain),
            properties,
            ttl: None,
            priority: Priority::LOWEST,
        };
        let (sink, key) = (self.target.sink, sending.key);
        // Counted before: the message may be finished before the lock is free.
        pending.fetch_add(usize::from(!self.rule.required), Ordering::Relaxed);
        let mut outcome = handover.offer(&draft, sink, key);
        if outcome.as_ref().is_err_and(|error| error.code() == "publish.not_allowed")
            && let Some(limits) = handover.limits()
            && limits.maximum_qos < draft.qos
        {
            draft.qos = limits.maximum_qos;
            outcome = handover.offer(&draft, sink, key);
        }
        outcome.map(|()| draft.qos).map_err(|error| {
            pending.fetch_sub(usize::from(!self.rule.required), Ordering::Relaxed);
            NotTaken::of(&error)
        })
    }

    fn received_at(&self, sending: &Sending) -> Instant {
        match (&sending.body, self.lot) {
            (Body::Own(message), _) => message.received_at(),
            (Body::Read(_), Some(lot)) => lot.inbound.received_at,
            (Body::Read(_), None) => self.now,
        }
    }
}

/// From this size on a target keeps a payload and does not copy it.
pub(super) const LARGE: usize = 4096;

/// Why a target did not take a message.
enum NotTaken {
    Full,
    Refused(ForwardDrop),
}

impl NotTaken {
    fn of(error: &Error) -> Self {
        match error.kind() {
            ErrorKind::Full => Self::Full,
            _ => Self::Refused(ForwardDrop::of(error)),
        }
    }
}

/// The properties to publish with: those that arrived, without what concerns one connection only, and
/// with the message expiry counted down by the time since then `[MQTT-3.3.2-6]`.
fn outgoing_properties<'a>(
    arrived: PropertiesRef<'a>,
    waited: Duration,
    scratch: &'a mut Properties,
) -> Result<PropertiesRef<'a>, ForwardDrop> {
    if arrived.is_empty() {
        return Ok(arrived);
    }
    let waited = u32::try_from(waited.as_secs()).unwrap_or(u32::MAX);
    let expiry = arrived.message_expiry_interval();
    if waited > 0 && expiry.is_some_and(|expiry| expiry <= waited) {
        return Err(ForwardDrop::Expired);
    }
    let is_local =
        arrived.subscription_identifiers().next().is_some() || arrived.topic_alias().is_some();
    if !is_local && (waited == 0 || expiry.is_none()) {
        return Ok(arrived);
    }
    scratch.copy_from(arrived);
    scratch.remove(PropertyId::SubscriptionIdentifier);
    scratch.remove(PropertyId::TopicAlias);
    if let Some(expiry) = expiry {
        // Any value of the counter is valid.
        let _ = scratch.set(Property::MessageExpiryInterval(expiry.saturating_sub(waited)));
    }
    Ok(scratch.as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed_on(properties: &[Property<'_>], waited: Duration) -> Result<Properties, ForwardDrop> {
        let mut given = Properties::new();
        for property in properties {
            given.push(*property).unwrap();
        }
        let mut scratch = Properties::new();
        scratch.user_property("left", "over").unwrap();
        outgoing_properties(given.as_ref(), waited, &mut scratch).map(PropertiesRef::to_owned)
    }

    #[test]
    fn what_concerns_one_connection_stays_behind() {
        let user = Property::UserProperty("k", "v");
        let local = [Property::SubscriptionIdentifier(1), Property::SubscriptionIdentifier(9)];
        let out = passed_on(&[local[0], user, Property::TopicAlias(3), local[1]], Duration::ZERO);
        assert_eq!(out, passed_on(&[user], Duration::ZERO));
        assert!(passed_on(&local, Duration::ZERO).unwrap().is_empty());
    }

    #[test]
    fn message_expiry_counts_down_and_ends() {
        let ten = [Property::MessageExpiryInterval(10)];
        let after = |seconds| passed_on(&ten, Duration::from_secs(seconds));
        let left = |out: Properties| out.as_ref().message_expiry_interval();
        assert_eq!(after(0).map(left), Ok(Some(10)));
        assert_eq!(after(4).map(left), Ok(Some(6)));
        assert_eq!(after(10), Err(ForwardDrop::Expired));
        let zero = passed_on(&[Property::MessageExpiryInterval(0)], Duration::ZERO);
        assert_eq!(zero.map(left), Ok(Some(0)), "the server decided to send it");
    }
}

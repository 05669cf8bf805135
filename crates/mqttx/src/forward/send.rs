//! Handing messages to their targets.

use std::sync::atomic::Ordering;
use std::time::Instant;

use mqttx_proto::packet::Publish;
use mqttx_proto::{Payload, PlainMessage, PlainProperties, Priority, Properties, QoS};

use super::endpoint::TargetRule;
use super::engine::{Engine, explanation};
use super::flows::FlowKey;
use super::kept::bit;
use super::outgoing::{Further, Outgoing};
use super::prepare::received_at;
use super::reason::ForwardDrop;
use super::scratch::{Body, Extra, Scratch, Sending};
use super::target::Target;
use super::template::TopicContext;
use super::topics::{Cast, Inflow, Topic, Topics};
use crate::error::{Error, ErrorKind};
use crate::router::Lot;
use crate::session::{Draft, Handover, SinkId};

/// A required target has no room, its store failed, or its session was removed.
pub(super) struct Full {
    /// So many of the lot were handed to all targets.
    pub(super) sent: usize,
    pub(super) target: usize,
}

impl Engine {
    /// Hands what is in `scratch.sending` to the targets, one after the other: each is locked once.
    pub(super) fn send(&self, scratch: &mut Scratch, lot: Option<&Lot<'_>>) -> Option<Full> {
        let mut full: Option<Full> = None;
        for n in 0..=self.targets.len() {
            let until = full.as_ref().map_or(scratch.sending.len(), |full| full.sent);
            let Some(hand) = Hand::new(self, n, lot) else { continue };
            if let Some(sent) = hand.over(scratch, until) {
                // What this target did not get, those after it do not get before it.
                let left = scratch.sending.iter_mut().take(until).skip(sent);
                left.for_each(|sending| sending.next_target = sending.next_target.max(n));
                full = Some(Full { sent, target: n });
            }
        }
        // With optional targets only, a message that none of them took is lost.
        if self.options.targets.iter().all(|target| !target.required) {
            let nobody = |sending: &&mut Sending| sending.taken == 0 && !sending.is_settled();
            for sending in scratch.sending.iter_mut().filter(nobody) {
                sending.failure = sending.failure.or(Some(ForwardDrop::QueueFull));
            }
        }
        full
    }
}

/// One target gets its part of a lot.
pub(super) struct Hand<'a> {
    engine: &'a Engine,
    n: usize,
    /// It gets the dead letters.
    letters: bool,
    pub(super) rule: &'a TargetRule,
    pub(super) target: &'a Target,
    pub(super) sink: SinkId,
    is_v5: bool,
    /// The properties of a message that came with none.
    plain: Option<PlainProperties<'a>>,
    lot: Option<&'a Lot<'a>>,
    pub(super) now: Instant,
}

impl<'e> Hand<'e> {
    /// `None`: there is no such target, or it gets nothing any more.
    pub(super) fn new(engine: &'e Engine, n: usize, lot: Option<&'e Lot<'e>>) -> Option<Self> {
        let (rule, target) = engine.target(n)?;
        let (sink, is_v5) = (target.sink()?, target.is_v5());
        let (letters, now) = (n == engine.targets.len(), crate::session::now());
        let plain = match is_v5 {
            true => PlainProperties::of(engine.mark.first()),
            false => Some(PlainProperties::EMPTY),
        };
        Some(Self { engine, n, letters, rule, target, sink, is_v5, plain, lot, now })
    }

    /// Hands over the first `until` messages; how many, if the target had no room for the next.
    fn over(&self, scratch: &mut Scratch, until: usize) -> Option<usize> {
        // All topics first: nothing is rendered under the session's lock.
        scratch.topics.clear();
        let mut cast = None;
        for sending in scratch.sending.iter_mut().take(until) {
            sending.topic = None;
            if sending.is_for(self.n, self.letters) {
                sending.topic = self.topic(sending, &mut cast, &mut scratch.topics);
                scratch.metadata_left_out += u64::from(!self.merge(sending));
            }
        }
        let mut handover = self.target.session().hand_over();
        let mut sent = None;
        for (at, sending) in scratch.sending.iter_mut().take(until).enumerate() {
            if !sending.is_for(self.n, self.letters) {
                continue;
            }
            let topic = sending.topic.map(|topic| scratch.topics.get(topic));
            let outcome = match topic {
                Some(topic) => self.one(sending, topic, &mut scratch.properties, &mut handover),
                None => Err(NotTaken::Refused(ForwardDrop::Topic, None)),
            };
            match outcome {
                Ok((qos, asked)) => {
                    sending.taken += 1;
                    sending.took |= bit(self.n);
                    scratch.downgraded += u64::from(qos < asked);
                }
                Err(NotTaken::Full) if self.rule.required => {
                    sent = Some(at);
                    break;
                }
                Err(NotTaken::Refused(ForwardDrop::Expired, _)) if !self.rule.required => {
                    sending.failure = sending.failure.or(Some(ForwardDrop::Expired));
                }
                Err(_) if !self.rule.required => scratch.optional_lost += 1,
                Err(NotTaken::Full) => {}
                Err(NotTaken::Refused(reason, why)) => {
                    if let Some(why) = why {
                        sending.extra().why = Some(why);
                    }
                    sending.failed += 1;
                    sending.failure = sending.failure.or(Some(reason));
                }
            }
        }
        handover.finish();
        sent
    }

    /// The topic for this target; `cast` is that of the message before, perhaps.
    fn topic<'a>(
        &'a self,
        sending: &Sending,
        cast: &mut Option<Cast<'a>>,
        topics: &mut Topics,
    ) -> Topic {
        let from = (sending.source, sending.filter);
        if cast.as_ref().is_none_or(|cast| cast.from != from) {
            *cast = self.cast(from);
        }
        let arrived = sending.body.publish(self.lot)?.topic;
        let now_called = sending.publish(self.lot)?.topic;
        let received_at = received_at(sending, self.lot, self.now);
        topics.render(cast.as_ref()?, (arrived, now_called), received_at)
    }

    /// How topics are rendered for this target that came through a filter of a source.
    pub(super) fn cast(&self, from: Inflow) -> Option<Cast<'_>> {
        Some(Cast {
            from,
            session: self.engine.sources.get(from.0)?.name(),
            map: &self.rule.map,
            fallback: self.rule.fallback(from),
            uses_time: self.target.uses_time,
            forwarder: &self.engine.options.name,
            now: self.now,
        })
    }

    /// Puts the metadata into the payload for a target without properties; `false`: it has no place there.
    fn merge(&self, sending: &mut Sending) -> bool {
        if self.is_v5 || sending.extra.as_ref().is_none_or(|extra| extra.metadata.is_none()) {
            return true;
        }
        let merged =
            sending.publish(self.lot).zip(sending.extra.as_ref()).and_then(|(publish, extra)| {
                extra
                    .metadata
                    .as_ref()?
                    .merged(&self.engine.options.rules.metadata, publish.payload)
            });
        let done = merged.is_some();
        sending.extra().merged = merged;
        done
    }

    /// What the message gets on its way besides its own properties.
    pub(super) fn further<'a>(
        &'a self,
        source: usize,
        extra: Option<&'a Extra>,
        topic: &'a str,
    ) -> Option<Further<'a>> {
        let rules = &self.engine.options.rules;
        let metadata = extra.and_then(|extra| extra.metadata.as_ref());
        let session = self.engine.sources.get(source).map_or("", |session| session.name());
        self.is_v5.then(|| Further {
            mark: &self.engine.mark,
            map: &self.rule.map,
            cx: TopicContext {
                topic,
                forwarder: &self.engine.options.name,
                session,
                received_unix_ms: 0,
            },
            metadata: metadata.map(|rendered| (rendered, &*rules.metadata)),
            error: extra.and_then(|extra| extra.letter.as_ref()).map(|letter| &*letter.text),
            // Dead letters go as they came.
            trace: extra.filter(|extra| extra.letter.is_none()).and_then(|e| e.trace.as_ref()),
        })
    }

    /// Hands over a message without properties that nothing is before, at the level `qos`; `false`: it is another one.
    pub(super) fn pass_plain(
        &self,
        publish: &Publish<'_>,
        (topic, qos): (&str, QoS),
        handover: &mut Handover<'_>,
        key: FlowKey,
    ) -> bool {
        let Some(properties) = self.plain.filter(|_| publish.properties.is_empty()) else {
            return false;
        };
        let plain = PlainMessage {
            topic,
            properties,
            payload: publish.payload,
            qos,
            retain: self.rule.retain.apply(publish.retain),
            priority: Priority::LOWEST,
        };
        handover.offer_plain(&plain, self.sink, key)
    }

    /// Hands over one message; the level that it has now, and the one that was asked for.
    fn one(
        &self,
        sending: &Sending,
        topic: &str,
        scratch: &mut Properties,
        handover: &mut Handover<'_>,
    ) -> Result<(QoS, QoS), NotTaken> {
        let pending = &self.target.pending;
        if !self.rule.required && pending.load(Ordering::Relaxed) >= self.engine.options.qos0_queue
        {
            return Err(NotTaken::Full);
        }
        let Some(publish) = sending.publish(self.lot) else { return Err(NotTaken::Full) };
        let qos = self.rule.qos.apply(publish.qos);
        if sending.extra.is_none()
            && self.rule.required
            && self.pass_plain(&publish, (topic, qos), handover, sending.key)
        {
            return Ok((qos, qos));
        }
        let outgoing = Outgoing {
            arrived: publish.properties,
            waited: self.now.saturating_duration_since(received_at(sending, self.lot, self.now)),
            further: self.further(sending.source, sending.extra.as_deref(), publish.topic),
        };
        let properties =
            outgoing.properties(scratch).map_err(|reason| NotTaken::Refused(reason, None))?;
        let extra = sending.extra.as_deref();
        let made = extra.and_then(|extra| extra.made.as_ref());
        let merged = extra.and_then(|extra| extra.merged.as_ref());
        let shared;
        let payload = match (merged, made, &sending.body) {
            (Some(merged), _, _) => Payload::from(merged),
            (None, Some(made), _) => Payload::from(&made.payload),
            (None, None, Body::Own(message)) if publish.payload.len() >= LARGE => {
                shared = message.payload_bytes();
                Payload::from(&shared)
            }
            _ => Payload::from(publish.payload),
        };
        let mut draft = Draft {
            topic,
            payload,
            qos,
            retain: self.rule.retain.apply(publish.retain),
            properties,
            ttl: made.and_then(|made| made.ttl),
            priority: made.map_or(Priority::LOWEST, |made| made.priority),
            // A dead letter that fails becomes no further one.
            origin: (!self.letters).then_some(self.engine.origin),
        };
        let (sink, key) = (self.sink, sending.key);
        // Counted before: the message may be finished before the lock is free.
        pending.fetch_add(usize::from(!self.rule.required), Ordering::Relaxed);
        let asked = draft.qos;
        let mut outcome = handover.offer(&draft, sink, key);
        if outcome.as_ref().is_err_and(|error| error.code() == "publish.not_allowed")
            && let Some(limits) = handover.limits()
            && limits.maximum_qos < draft.qos
        {
            draft.qos = limits.maximum_qos;
            outcome = handover.offer(&draft, sink, key);
        }
        outcome.map(|()| (draft.qos, asked)).map_err(|error| {
            pending.fetch_sub(usize::from(!self.rule.required), Ordering::Relaxed);
            NotTaken::of(&error, self.engine.keeps)
        })
    }
}

/// From this size on a target keeps a payload and does not copy it.
pub(super) const LARGE: usize = 4096;

/// Why a target did not take a message.
pub(super) enum NotTaken {
    Full,
    /// And in words, for a dead letter.
    Refused(ForwardDrop, Option<Box<str>>),
}

impl NotTaken {
    pub(super) fn of(error: &Error, keeps: bool) -> Self {
        match error.kind() {
            // A store that failed takes messages again once it is opened again, and a session may be added again.
            ErrorKind::Full | ErrorKind::Store | ErrorKind::Closed => Self::Full,
            _ => Self::Refused(ForwardDrop::of(error), keeps.then(|| explanation(error))),
        }
    }
}

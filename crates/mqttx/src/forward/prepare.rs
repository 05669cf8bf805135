//! What the rules say of messages: filters when they arrive, transforms and metadata before they are sent. It runs
//! without the forwarder's lock, since closures of the program are among the rules.

use std::time::Instant;

use bytes::Bytes;
use mqttx_proto::Priority;

use super::arrive::Inlet;
use super::engine::Engine;
use super::fault::RuleFailure;
use super::metadata;
use super::reason::ForwardDrop;
use super::rules::OnFilterError;
use super::scratch::{Body, Letter, Scratch, Sending, Verdict};
use super::send::LARGE;
use super::text::RuleContext;
use crate::message::{MessageView, Publish};
use crate::router::{Lot, LotItem};
use crate::trace::{self, About, Hop};

impl Inlet {
    /// Asks the filter about each message of a lot.
    pub(super) fn judge(&self, lot: &Lot<'_>, items: &[LotItem], scratch: &mut Scratch) {
        scratch.verdicts.clear();
        let rules = &self.engine.options.rules;
        let (Some(filter), Some(source)) =
            (&rules.filter, self.engine.options.sources.get(self.source))
        else {
            return;
        };
        for item in items {
            let Some(publish) = lot.read.get(item.index) else {
                scratch.verdicts.push(Verdict::Leave);
                continue;
            };
            let message = MessageView {
                topic: publish.topic,
                payload: publish.payload,
                qos: publish.qos.min(source.qos),
                retain: publish.retain,
                properties: publish.properties,
                session: &lot.origin.name,
            };
            scratch.verdicts.push(match filter.matches(message) {
                Ok(true) => Verdict::Take,
                Ok(false) => Verdict::Leave,
                Err(failure) => match rules.on_filter_error {
                    OnFilterError::Pass => Verdict::Take,
                    OnFilterError::Drop => Verdict::Drop(ForwardDrop::Filter),
                    OnFilterError::DeadLetter => {
                        Verdict::Letter(letter(ForwardDrop::Filter, &failure))
                    }
                },
            });
        }
    }
}

impl Engine {
    /// Applies transform and metadata to what is about to be sent, and continues its trace, once for each message.
    pub(super) fn prepare(&self, scratch: &mut Scratch, lot: Option<&Lot<'_>>) {
        if !self.changes && !trace::AVAILABLE {
            return;
        }
        for sending in &mut scratch.sending {
            if sending.extra.as_ref().is_some_and(|extra| extra.prepared || extra.letter.is_some())
            {
                continue;
            }
            if let Some(mut hop) = self.continue_trace(sending, lot) {
                scratch.begun.extend(hop.span().map(|span| (sending.key, span)));
                let extra = sending.extra();
                (extra.trace, extra.prepared) = (Some(hop), true);
            }
            if !self.changes {
                continue;
            }
            let failed = self.prepare_one(sending, lot);
            sending.extra().prepared = true;
            match failed {
                Ok(()) => {}
                Err(Failed::Given(reason)) => self.give_up(sending, reason),
                Err(Failed::Rule(failure)) => match self.options.rules.on_filter_error {
                    OnFilterError::Pass => {}
                    OnFilterError::Drop => self.give_up(sending, ForwardDrop::Transform),
                    OnFilterError::DeadLetter if sending.extra().only.is_some() => {
                        // It went well when it was sent first, and other targets have it.
                        self.give_up(sending, ForwardDrop::Transform);
                    }
                    OnFilterError::DeadLetter => {
                        scratch.letters.push((sending.key, ForwardDrop::Transform));
                        sending.next_target = self.targets.len();
                        sending.extra().letter = Some(letter(ForwardDrop::Transform, &failure));
                    }
                },
            }
        }
        if !scratch.letters.is_empty() || !scratch.begun.is_empty() {
            let mut inner = self.lock();
            for (key, span) in scratch.begun.drain(..) {
                scratch.ended.extend(inner.flows.trace(key, span));
            }
            for (key, reason) in scratch.letters.drain(..) {
                inner.flows.begin_letter(key, reason);
            }
        }
    }

    /// The trace of a message, if it is in one.
    fn continue_trace(&self, sending: &Sending, lot: Option<&Lot<'_>>) -> Option<Hop> {
        let publish = sending.body.publish(lot)?;
        if publish.properties.is_empty() {
            return None;
        }
        let received_at = match (&sending.body, lot) {
            (Body::Own(message), _) => message.received_at(),
            (Body::Read(_), lot) => lot?.inbound.received_at,
        };
        let about = About { forwarder: &self.options.name, topic: publish.topic, received_at };
        Hop::begin(publish.properties, about)
    }

    fn prepare_one(&self, sending: &mut Sending, lot: Option<&Lot<'_>>) -> Result<(), Failed> {
        let rules = &self.options.rules;
        let received_at = received_at(sending, lot, crate::session::now());
        let source = self.options.sources.get(sending.source);
        let session = self.sources.get(sending.source);
        let (Some(publish), Some(source), Some(session)) =
            (sending.body.publish(lot), source, session)
        else {
            return Ok(());
        };
        let cx = RuleContext {
            topic: publish.topic,
            filter: source.topics.get(sending.filter).map_or("", |filter| filter),
            forwarder: &self.options.name,
            session: session.name(),
            received_at,
            payload: publish.payload,
        };
        let mut made = None;
        if !rules.transform.is_empty() {
            let payload = match &sending.body {
                Body::Own(message) if publish.payload.len() >= LARGE => message.payload_bytes(),
                _ => Bytes::copy_from_slice(publish.payload),
            };
            let draft = Publish {
                topic: publish.topic.into(),
                payload,
                qos: sending.qos,
                retain: publish.retain,
                properties: publish.properties.to_owned(),
                ttl: None,
                priority: Priority::LOWEST,
            };
            let changed = rules.transform.apply(&cx, draft).map_err(Failed::Rule)?;
            made = Some(changed.ok_or(Failed::Given(ForwardDrop::Discarded))?);
        }
        let metadata = match &*rules.metadata {
            [] => None,
            entries => {
                let rendered = metadata::render(entries, &cx);
                Some(rendered.map_err(|text| Failed::Rule(RuleFailure::new(text)))?)
            }
        };
        let extra = sending.extra();
        (extra.made, extra.metadata) = (made, metadata);
        Ok(())
    }

    /// No target gets the message.
    fn give_up(&self, sending: &mut Sending, reason: ForwardDrop) {
        let only = sending.extra().only;
        let targets = self.options.targets.iter().enumerate();
        let all =
            targets.filter(|(n, target)| target.required && only.is_none_or(|only| only == *n));
        (sending.failed, sending.failure) = (all.count(), Some(reason));
        sending.next_target = usize::MAX;
    }
}

enum Failed {
    Rule(RuleFailure),
    Given(ForwardDrop),
}

fn letter(reason: ForwardDrop, failure: &RuleFailure) -> Letter {
    Letter { reason, text: failure.message().into() }
}

/// When the message arrived; `now` for one whose lot is gone.
pub(super) fn received_at(sending: &Sending, lot: Option<&Lot<'_>>, now: Instant) -> Instant {
    match (&sending.body, lot) {
        (Body::Own(message), _) => message.received_at(),
        (Body::Read(_), Some(lot)) => lot.inbound.received_at,
        (Body::Read(_), None) => now,
    }
}

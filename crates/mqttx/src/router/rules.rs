//! Filters and transforms of a route: asked when a message leaves the queue, by whoever consumes it, so that no code of the
//! program runs on a driver's turn. Only inline routes ask at once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use mqttx_proto::packet::Publish as Packet;

use super::InboundMeta;
use crate::forward::{Filter, RuleContext, RuleFailure, Transform};
use crate::message::{Message, Publish};

/// The rules of one route.
#[derive(Default)]
pub(super) struct Rules {
    /// There are some.
    any: AtomicBool,
    list: RwLock<Arc<[Rule]>>,
}

#[derive(Clone)]
enum Rule {
    Filter(Filter),
    Transform(Transform),
}

/// What the rules make of a message.
pub(super) enum Passed {
    /// It stays as it is.
    Same,
    Changed(Message),
    /// It is not for the handler.
    Out,
    Failed(RuleFailure),
}

impl Rules {
    pub(super) fn add_filter(&self, filter: Filter) {
        self.add(Rule::Filter(filter));
    }

    pub(super) fn add_transform(&self, transform: Transform) {
        self.add(Rule::Transform(transform));
    }

    fn add(&self, rule: Rule) {
        let mut list = self.list.write().unwrap_or_else(PoisonError::into_inner);
        *list = list.iter().cloned().chain([rule]).collect();
        self.any.store(true, Ordering::Release);
    }

    /// Whether there is something to ask.
    pub(super) fn are_any(&self) -> bool {
        self.any.load(Ordering::Acquire)
    }

    /// Asks all rules in the order in which they were added; each sees what those before it made.
    pub(super) fn ask(&self, message: &Message, filter: &str) -> Passed {
        let list = Arc::clone(&self.list.read().unwrap_or_else(PoisonError::into_inner));
        let mut changed: Option<Message> = None;
        for rule in &*list {
            let now = changed.as_ref().unwrap_or(message);
            match rule {
                Rule::Filter(filter) => match filter.matches(now) {
                    Ok(true) => {}
                    Ok(false) => return Passed::Out,
                    Err(failure) => return Passed::Failed(failure),
                },
                Rule::Transform(transform) => match apply(transform, now, filter) {
                    Ok(Some(made)) => changed = Some(made),
                    Ok(None) => return Passed::Out,
                    Err(failure) => return Passed::Failed(failure),
                },
            }
        }
        changed.map_or(Passed::Same, Passed::Changed)
    }
}

fn apply(
    transform: &Transform,
    message: &Message,
    filter: &str,
) -> Result<Option<Message>, RuleFailure> {
    let cx = RuleContext {
        topic: message.topic(),
        filter,
        forwarder: "",
        session: message.session(),
        received_at: message.received_at(),
        payload: message.payload(),
    };
    let draft = Publish {
        qos: message.qos(),
        retain: message.retain(),
        properties: message.properties().to_owned(),
        ..Publish::new(message.topic(), message.payload_bytes())
    };
    let Some(made) = transform.apply(&cx, draft)? else { return Ok(None) };
    let packet = Packet {
        dup: message.dup(),
        qos: made.qos,
        retain: made.retain,
        topic: &made.topic,
        packet_id: message.packet_id(),
        properties: made.properties.as_ref(),
        payload: &made.payload,
    };
    let inbound = InboundMeta {
        ticket: None,
        received_at: message.received_at(),
        flow_controlled: true,
        shed: false,
    };
    Ok(Some(message.remade(&packet, &inbound)))
}

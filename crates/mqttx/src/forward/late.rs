//! Messages that a target stored durably, and that its server does not take later.
//!
//! For the source they were done with the store, and perhaps it was another process that forwarded them. So the store knows by
//! the [origin](origin) whose they are, and keeps each until the dead letters have it: a process that dies before sends it again,
//! and gets it back again.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mqttx_proto::{FailedMessage, Origin, Priority, Properties, Sequence};

use super::endpoint::TargetRule;
use super::engine::{Engine, explanation};
use super::handle::Shared;
use super::metrics::ForwarderMetrics;
use super::outgoing::{ERROR, SOURCE_TOPIC};
use super::reason::ForwardDrop;
use super::template::TopicContext;
use crate::error::{Error, ErrorKind};
use crate::event::EventKind;
use crate::message::Publish;
use crate::session::{FailureSink, Session, published};

/// By which stores know the messages of a forwarder: the same in every process, and in both versions of MQTT.
pub(super) fn origin(forwarder: &str) -> Origin {
    Origin::new(crc32c::crc32c(forwarder.as_bytes())).unwrap_or(Origin::MAX)
}

/// What a forwarder counts of them.
#[derive(Default)]
pub(super) struct Late {
    counts: Mutex<Counts>,
    /// Those on their way to the dead letters.
    under_way: AtomicUsize,
}

#[derive(Default)]
struct Counts {
    failed: [u64; ForwardDrop::ALL.len()],
    dead_lettered: u64,
}

impl Late {
    pub(super) fn add_to(&self, metrics: &mut ForwarderMetrics) {
        let counts = self.counts();
        let failed = ForwardDrop::ALL.into_iter().zip(counts.failed);
        metrics.failed_later_by_reason = failed.filter(|(_, count)| *count > 0).collect();
        metrics.dead_lettered_later = counts.dead_lettered;
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Room for one more on its way.
    fn enter(&self) -> bool {
        self.under_way
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| (n < MOST).then_some(n + 1))
            .is_ok()
    }
}

/// What becomes of one.
#[derive(Clone, Copy)]
enum Fate {
    DeadLetter,
    Lost,
    /// It stays in the store of the target.
    Kept,
}

impl Fate {
    const fn as_str(self) -> &'static str {
        match self {
            Self::DeadLetter => "dead-letter",
            Self::Lost => "lost",
            Self::Kept => "kept",
        }
    }
}

impl FailureSink for Shared {
    fn failed(&self, session: &Session, message: FailedMessage) {
        let engine = self.generations.current();
        let Err(error) = published(message.outcome.clone(), session.shared_name()) else { return };
        let reason = ForwardDrop::of(&error);
        if let Some(count) = self.late.counts().failed.get_mut(reason.index()) {
            *count += 1;
        }
        let why = explanation(&error);
        let letter = message
            .sequence
            .filter(|_| reason.is_for_dead_letters() && engine.requires(session))
            .and_then(|sequence| Some((sequence, engine.letter(&message, &why)?)));
        let fate = match (letter, message.sequence) {
            (Some(_), _) if !self.late.enter() => Fate::Kept,
            (Some((sequence, letter)), _) => {
                self.bury(&engine, session.clone(), sequence, letter);
                Fate::DeadLetter
            }
            (None, sequence) => {
                sequence.into_iter().for_each(|sequence| session.forget(sequence));
                Fate::Lost
            }
        };
        engine.tell_failed(session, (reason, why), message.topic, fate);
    }
}

impl Shared {
    /// Gives the message to the dead letters; once they have it, the store of `from` may forget it.
    fn bury(&self, engine: &Arc<Engine>, from: Session, sequence: Sequence, letter: Publish) {
        let Some(letters) = engine.dead_letters.as_ref().map(|letters| letters.session().clone())
        else {
            return;
        };
        let (engine, late) = (Arc::clone(engine), Arc::clone(&self.late));
        from.services().runtime.clone().spawn(async move {
            let topic = Arc::clone(&letter.topic);
            let outcome = hand_over(&letters, letter).await;
            late.under_way.fetch_sub(1, Ordering::AcqRel);
            match outcome {
                Ok(()) => {
                    late.counts().dead_lettered += 1;
                    from.forget(sequence);
                }
                Err(error) => {
                    let lost = matches!(error.kind(), ErrorKind::Publish | ErrorKind::Refused);
                    if lost {
                        from.forget(sequence);
                    }
                    let fate = if lost { Fate::Lost } else { Fate::Kept };
                    let reason = (ForwardDrop::of(&error), explanation(&error));
                    engine.tell_failed(&letters, reason, topic.to_string(), fate);
                }
            }
        });
    }
}

/// Until the session has stored it durably, or its server has acknowledged it.
async fn hand_over(letters: &Session, letter: Publish) -> Result<(), Error> {
    if letters.is_durable() {
        return letters.submit(letter).await.map_err(Error::from);
    }
    letters.publish_message(letter).await.map(drop).map_err(Error::from)
}

impl Engine {
    /// Its targets tell whose messages come back.
    pub(super) fn register_origin(&self, sink: &std::sync::Weak<dyn FailureSink>) {
        for session in self.targets.iter().flat_map(|target| &target.sessions) {
            session.register_origin(self.origin, std::sync::Weak::clone(sink));
        }
    }

    /// Whether messages of the session are not those of an optional target only.
    fn requires(&self, session: &Session) -> bool {
        let mut here = self
            .options
            .targets
            .iter()
            .filter(|target| target.sessions().any(|name| **name == *session.name()));
        // One that the rules do not name any more had required messages, perhaps.
        let first = here.next();
        first.is_none_or(|first| first.required || here.any(|other| other.required))
    }

    /// The message as it went to the target, for the dead letters; `None`: there are none, or their topic needs what only the
    /// source's topic has.
    fn letter(&self, message: &FailedMessage, why: &str) -> Option<Publish> {
        let rule = self.options.rules.dead_letter.as_ref()?;
        let letters = self.dead_letters.as_ref()?;
        let mut properties = Properties::new();
        if letters.is_v5() {
            properties = message.properties.clone();
            properties.user_property(ERROR, why).ok()?;
            properties.user_property(SOURCE_TOPIC, &message.topic).ok()?;
        }
        Some(Publish {
            topic: self.letter_topic(rule, &message.topic)?.into(),
            payload: message.payload.clone(),
            qos: rule.qos.apply(message.qos),
            retain: rule.retain.apply(message.retain),
            properties,
            ttl: None,
            priority: Priority::LOWEST,
        })
    }

    fn letter_topic(&self, rule: &TargetRule, topic: &str) -> Option<String> {
        let session = self.sources.first().map_or("", |session| session.name());
        let received_unix_ms = crate::session::unix_ms();
        let cx = TopicContext { topic, forwarder: &self.options.name, session, received_unix_ms };
        let mut rendered = String::new();
        let template = rule.fallback((0, 0));
        if template.uses_captures() {
            return None;
        }
        template.render(&cx, &mut rendered).ok()?;
        Some(rendered)
    }

    fn tell_failed(
        &self,
        target: &Session,
        (reason, error): (ForwardDrop, Box<str>),
        topic: String,
        fate: Fate,
    ) {
        target.services().events.emit(
            None,
            EventKind::ForwarderDeliveryFailed {
                forwarder: Arc::clone(&self.options.name),
                target: Arc::clone(target.shared_name()),
                reason: reason.as_str(),
                error: error.into(),
                topic,
                outcome: fate.as_str(),
            },
        );
    }
}

/// Messages on their way to the dead letters; what comes beyond them stays in its store until the next start.
const MOST: usize = 1000;

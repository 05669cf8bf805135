//! Handing a message to the core, and what becomes of it when there is no room.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use mqttx_proto::{
    Accepted as CoreAccepted, DropReason, Lsn, NO_TOKEN, Origin, Outgoing, Payload, PlainMessage,
    PlainProperties, PublishError as Refusal, Token,
};
use mqttx_proto::{Priority, Properties, PropertiesRef, QoS};

use super::ahead::Lead;
use super::delivery::{Waiting, Wake};
use super::room::Needs;
use super::shared::{Shared, State};
use super::storage::Condition;
use crate::error::{Error, ErrorKind};
use crate::message::Publish;
use crate::options::OnFull;
use crate::trace::Injected;

/// A message that the caller still owns.
#[derive(Clone, Copy)]
pub(crate) struct Draft<'a> {
    pub(crate) topic: &'a str,
    pub(crate) payload: Payload<'a>,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) properties: PropertiesRef<'a>,
    pub(crate) ttl: Option<Duration>,
    pub(crate) priority: Priority,
    /// Who learns of it when the server does not take what the store has.
    pub(crate) origin: Option<Origin>,
}

impl<'a> Draft<'a> {
    pub(crate) fn of(message: &'a Publish) -> Self {
        Self {
            topic: &message.topic,
            payload: (&message.payload).into(),
            qos: message.qos,
            retain: message.retain,
            properties: message.properties.as_ref(),
            ttl: message.ttl,
            priority: message.priority,
            origin: None,
        }
    }

    /// With the properties that the active span adds to.
    pub(super) fn within(self, context: &'a Injected) -> Self {
        Self { properties: context.or(self.properties), ..self }
    }

    pub(super) fn to_publish(self) -> Publish {
        Publish {
            topic: self.topic.into(),
            payload: self.payload.to_bytes(),
            qos: self.qos,
            retain: self.retain,
            properties: Properties::new(),
            ttl: self.ttl,
            priority: self.priority,
        }
    }
}

/// A message that the session has.
#[derive(Clone, Copy)]
pub(super) struct Accepted {
    /// Whoever waits for its end.
    pub(super) token: Token,
    pub(super) lsn: Lsn,
    /// How often the store had failed by then.
    pub(super) failures: u32,
    /// Nothing has to be waited for until it counts as accepted.
    pub(super) stored: bool,
    /// Whether the publisher is far ahead.
    pub(super) lead: Lead,
}

/// What a publisher waits for once the session has its message.
#[derive(Clone, Copy)]
pub(super) struct Awaited {
    /// Its end.
    end: bool,
    /// At once, that the store has it.
    stored: bool,
    /// Then it goes on, and stands aside where it is told to.
    makes_way: bool,
}

impl Awaited {
    pub(super) const NOTHING: Self = Self { end: false, stored: false, makes_way: true };
    pub(super) const END: Self = Self { end: true, stored: false, makes_way: true };
    pub(super) const STORED: Self = Self { end: false, stored: true, makes_way: true };
    pub(super) const BOTH: Self = Self { end: true, stored: true, makes_way: true };
    /// Its end, and nothing before that.
    pub(super) const ANSWER: Self = Self { end: true, stored: false, makes_way: false };
}

/// A place in the queue for room; left when the publisher got in or gives up.
pub(super) struct Place<'a> {
    shared: &'a Shared,
    /// Zero: not in the queue.
    pub(super) ticket: u64,
}

impl<'a> Place<'a> {
    pub(super) fn new(shared: &'a Shared) -> Self {
        Self { shared, ticket: 0 }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if self.ticket != 0 {
            // Both without the lock: a waker may run code of its executor, also when it is dropped.
            let (_own, next) = self.shared.lock().room.leave(self.ticket);
            if let Some(next) = next {
                next.wake();
            }
        }
    }
}

impl Shared {
    /// Who waits for the end of an accepted message.
    pub(super) fn waiting(self: &Arc<Self>, token: Token) -> Waiting {
        Waiting::new(Arc::clone(self), token)
    }

    /// Hands over a message whose way is clear, and for whose end nobody waits. `None`: it is another one, or something is in its
    /// way; nothing was changed.
    ///
    /// `makes_way`: the caller stands aside as it is told.
    ///
    /// What it leaves out of [`poll_accept`](Self::poll_accept) concerns others: what expires, has properties, or goes to a store.
    #[inline(always)]
    pub(super) fn submit_plain(&self, message: &Draft<'_>, makes_way: bool) -> Option<Lead> {
        if !message.properties.is_empty() || message.ttl.is_some() || message.origin.is_some() {
            return None;
        }
        let Draft { topic, qos, retain, priority, .. } = *message;
        let properties = PlainProperties::EMPTY;
        let payload = &message.payload;
        let plain = PlainMessage { topic, properties, payload, qos, retain, priority };
        let mut guard = self.lock();
        let state = &mut *guard;
        if state.takes_plain().is_none_or(|limit| plain.payload.len() > limit) {
            return None;
        }
        let packet_len = state.core.publish_plain(&plain, NO_TOKEN)?;
        let waiting = state.core.awaiting_window();
        let lead = state.ahead.on_accepted(packet_len, waiting, makes_way);
        self.unlock_and_wake(guard);
        Some(lead)
    }

    /// Hands the message over, or leaves the waker until there is room.
    #[inline(always)]
    pub(super) fn poll_accept(
        &self,
        cx: &mut Context<'_>,
        message: &Draft<'_>,
        awaited: Awaited,
        place: &mut Place<'_>,
    ) -> Poll<Result<Accepted, Error>> {
        let mut state = self.lock();
        let token = if awaited.end { state.waiters.insert_task() } else { NO_TOKEN };
        let mut wakes = Vec::new();
        let outcome = self.offer_locked(&mut state, message, token, &mut wakes);
        let outcome = match outcome {
            Ok(CoreAccepted { lsn, packet_len }) => {
                let stored = state.core.is_stored(lsn);
                if awaited.stored && !stored {
                    state.storage.want(lsn);
                }
                let waiting = state.core.awaiting_window();
                let makes_way = awaited.makes_way && (stored || !awaited.stored);
                let lead = state.ahead.on_accepted(packet_len, waiting, makes_way);
                Ok(Accepted { token, lsn, failures: state.storage.failures, stored, lead })
            }
            Err(refused) if Self::may_pass(&state, &refused) => {
                let store = message.qos != QoS::AtMostOnce;
                let needs = if store { Needs::Store } else { Needs::Outbox };
                let before = state.room.wait(&mut place.ticket, cx.waker(), needs);
                drop(state);
                drop(before);
                // Who was dropped to make room is told, although that was not enough.
                self.fire(&mut wakes);
                return Poll::Pending;
            }
            Err(refused) => Err(refused),
        };
        self.unlock_and_wake(state);
        self.fire(&mut wakes);
        Poll::Ready(outcome.map_err(|refused| self.error_of(refused)))
    }

    /// Whether to wait is what the options say to do about it.
    #[cold]
    fn may_pass(state: &State, refused: &Refused) -> bool {
        match refused {
            Refused::Core(Refusal::OutboxFull) => state.options.outbox.on_full == OnFull::Block,
            Refused::Opening => true,
            Refused::StoreFull { on_full } => *on_full != OnFull::Reject,
            _ => false,
        }
    }

    /// Hands the message over, or says why not. On success the waiter of `token` stays.
    pub(super) fn offer(
        &self,
        mut state: std::sync::MutexGuard<'_, State>,
        message: &Draft<'_>,
        token: Token,
    ) -> Result<Lsn, Error> {
        let mut wakes = Vec::new();
        let outcome = self.offer_locked(&mut state, message, token, &mut wakes);
        self.unlock_and_wake(state);
        self.fire(&mut wakes);
        outcome.map(|accepted| accepted.lsn).map_err(|refused| self.error_of(refused))
    }

    pub(super) fn offer_locked(
        &self,
        state: &mut State,
        message: &Draft<'_>,
        token: Token,
        wakes: &mut Vec<Wake>,
    ) -> Result<CoreAccepted, Refused> {
        let outcome = self.offer_to_core(state, message, token, wakes);
        if outcome.is_err() {
            state.waiters.remove(token);
        }
        outcome
    }

    fn offer_to_core(
        &self,
        state: &mut State,
        message: &Draft<'_>,
        token: Token,
        wakes: &mut Vec<Wake>,
    ) -> Result<CoreAccepted, Refused> {
        if state.closed {
            return Err(Refused::Closed);
        }
        self.check_storage(state, message, wakes)?;
        let limit = state.options.performance.max_message_size;
        if message.payload.len() > limit {
            return Err(Refused::Payload { size: message.payload.len(), limit });
        }
        let ttl = message.ttl.or_else(|| state.options.default_ttl());
        let expires = ttl.is_some() || message.properties.message_expiry_interval().is_some();
        let now = state.time_for(expires);
        let outgoing = Outgoing {
            topic: message.topic,
            payload: message.payload,
            qos: message.qos,
            retain: message.retain,
            properties: message.properties,
            expires_at: ttl.and_then(|ttl| now.checked_add(ttl)),
            priority: message.priority,
            origin: message.origin,
        };
        loop {
            match state.core.publish(now, &outgoing, token) {
                Ok(accepted) => {
                    if message.qos != QoS::AtMostOnce {
                        state.probe.begin(token, &self.services.counters);
                    }
                    return Ok(accepted);
                }
                Err(Refusal::OutboxFull)
                    if state.options.outbox.on_full == OnFull::DropOldest
                        && state.core.drop_oldest() =>
                {
                    state.collect_completions(wakes);
                }
                Err(refusal) => return Err(Refused::Core(refusal)),
            }
        }
    }

    /// Whether the store takes messages now.
    fn check_storage(
        &self,
        state: &mut State,
        message: &Draft<'_>,
        wakes: &mut Vec<Wake>,
    ) -> Result<(), Refused> {
        match &state.storage.condition {
            Condition::Open => {}
            Condition::Opening => return Err(Refused::Opening),
            Condition::Failed(error) => return Err(Refused::Store(error.clone())),
        }
        if message.qos == QoS::AtMostOnce || !state.storage.full {
            return Ok(());
        }
        let on_full = state.options.store.as_ref().map_or(OnFull::Block, |store| store.on_full());
        if on_full == OnFull::DropOldest && state.core.drop_oldest() {
            state.collect_completions(wakes);
            return Ok(());
        }
        Err(Refused::StoreFull { on_full })
    }

    #[cold]
    pub(super) fn error_of(&self, refused: Refused) -> Error {
        let error = match refused {
            Refused::Closed => Error::closed(),
            Refused::Store(error) => *error,
            Refused::Opening => Error::full("the store is being opened: wait with enqueue"),
            Refused::StoreFull { .. } => {
                Error::full("the store is full: make room, or wait with enqueue")
                    .with_code("store.full")
            }
            Refused::Payload { size, limit } => Error::publish(format!(
                "the payload of {size} bytes is larger than performance.max_message_size, {limit}"
            ))
            .with_code("publish.too_large"),
            Refused::Core(Refusal::OutboxFull) => Error::full(
                "the outbox is full: wait for room with enqueue, or raise outbox.messages and bytes",
            ),
            Refused::Core(refusal) => {
                let code = match &refusal {
                    Refusal::Topic(_) => "publish.topic",
                    Refusal::Property(_) => "publish.property",
                    Refusal::NotAllowed(DropReason::TooLarge { .. }) => "publish.too_large",
                    Refusal::NotAllowed(_) => "publish.not_allowed",
                    _ => "publish.invalid",
                };
                Error::new(ErrorKind::Publish, refusal.to_string())
                    .with_code(code)
                    .with_source(refusal)
            }
        };
        error.with_session(&*self.name)
    }
}

impl State {
    /// Whether nothing here concerns a message with plain properties, with a payload of so many bytes at most.
    #[inline]
    pub(super) fn takes_plain(&self) -> Option<usize> {
        let asked = &*self.options;
        let takes = !self.closed
            && matches!(self.storage.condition, Condition::Open)
            && asked.default_ttl().is_none();
        takes.then_some(asked.performance.max_message_size)
    }
}

/// Why a message was not accepted.
pub(super) enum Refused {
    Closed,
    /// The store is not open yet.
    Opening,
    /// The store failed.
    Store(Box<Error>),
    /// The store has no room.
    StoreFull {
        on_full: OnFull,
    },
    Payload {
        size: usize,
        limit: usize,
    },
    Core(Refusal),
}

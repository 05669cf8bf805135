//! The way of a message from the application into the core: one lock, no channel.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use mqttx_proto::{DropReason, Lsn, NO_TOKEN, Outgoing, PublishError as Refusal, Token};
use mqttx_proto::{Priority, Properties, PropertiesRef, QoS};

use super::Session;
use super::delivery::{CompletionSink, Delivery, Published, Waiting, Wake, published};
use super::shared::{Shared, State};
use super::storage::Condition;
use crate::error::{Error, ErrorKind, PublishError};
use crate::message::Publish;
use crate::options::OnFull;

impl Session {
    /// Publishes a message and waits for the server's answer, over any number of reconnects. While
    /// the outbox is full it waits for room, unless the options say otherwise.
    ///
    /// QoS 0: it returns when the socket took the message.
    ///
    /// # Errors
    /// The message cannot be sent as it is, the outbox is full and does not block, the server refused
    /// the message, it expired, or the session was removed. The message is handed back.
    pub async fn publish(
        &self,
        topic: impl AsRef<str>,
        payload: impl Into<Bytes>,
        qos: QoS,
        retain: bool,
    ) -> Result<Published, PublishError> {
        let topic = topic.as_ref();
        let payload = payload.into();
        let message = Draft {
            topic,
            payload: &payload,
            qos,
            retain,
            properties: PropertiesRef::EMPTY,
            ttl: None,
            priority: Priority::LOWEST,
        };
        let outcome = match self.accept(&message, Awaited::END).await {
            Ok(accepted) => published(self.shared.waiting(accepted.token).await, &self.shared.name),
            Err(error) => Err(error),
        };
        outcome.map_err(|error| PublishError::new(error.with_topic(topic), message.to_publish()))
    }

    /// [`publish`](Self::publish) with everything that a message may carry.
    ///
    /// # Errors
    /// As for [`publish`](Self::publish).
    pub async fn publish_message(&self, message: Publish) -> Result<Published, PublishError> {
        let outcome = match self.accept(&Draft::of(&message), Awaited::END).await {
            Ok(accepted) => published(self.shared.waiting(accepted.token).await, &self.shared.name),
            Err(error) => Err(error),
        };
        match outcome {
            Ok(done) => Ok(done),
            Err(error) => Err(PublishError::new(error.with_topic(&*message.topic), message)),
        }
    }

    /// Hands a message over and returns when the session accepted it: from then on it is sent,
    /// over any number of reconnects; with a store (QoS 1 and 2), as soon as it is as durable as the store promises.
    /// The [`Delivery`] tells the server's answer.
    ///
    /// When the future is dropped before it is ready, the message may have been accepted.
    ///
    /// # Errors
    /// The message cannot be sent as it is, the outbox or the store is full and does not block, the store failed, or the
    /// session was removed. The message is handed back.
    pub async fn enqueue(&self, message: Publish) -> Result<Delivery, PublishError> {
        let accepted = match self.accept(&Draft::of(&message), Awaited::BOTH).await {
            Ok(accepted) => self.when_stored(accepted).await,
            Err(error) => Err(error),
        };
        match accepted {
            Ok(waiting) => Ok(Delivery::new(waiting)),
            Err(error) => Err(PublishError::new(error.with_topic(&*message.topic), message)),
        }
    }

    /// [`enqueue`](Self::enqueue) for a message whose acknowledgement nobody waits for: once it is accepted, it costs no
    /// memory beyond its own, and with a store that keeps queued messages outside memory next to none.
    ///
    /// A refusal by the server is told by the event [`MessageRefused`](crate::EventKind::MessageRefused).
    ///
    /// # Errors
    /// As for [`enqueue`](Self::enqueue).
    pub async fn submit(&self, message: Publish) -> Result<(), PublishError> {
        let draft = Draft::of(&message);
        let mut place = Place::new(&self.shared);
        let accepted =
            poll_fn(|cx| self.shared.poll_accept(cx, &draft, Awaited::STORED, &mut place)).await;
        let accepted = match accepted {
            Ok(Accepted { stored: true, .. }) => Ok(()),
            Ok(Accepted { lsn, .. }) => self.stored(lsn).await,
            Err(error) => Err(error),
        };
        accepted.map_err(|error| PublishError::new(error.with_topic(&*message.topic), message))
    }

    /// [`submit`](Self::submit) without waiting, for code that cannot wait or sends one message again and again: it takes
    /// nothing but what it encodes. With a store the message counts as accepted once that has it; [`flush`](Self::flush) tells.
    ///
    /// # Errors
    /// As for [`try_publish`](Self::try_publish).
    pub fn try_submit(&self, message: &Publish) -> Result<(), Error> {
        let outcome = self.shared.offer(self.shared.lock(), &Draft::of(message), NO_TOKEN);
        outcome.map(|_| ()).map_err(|error| error.with_topic(&*message.topic))
    }

    /// The first half of [`enqueue`](Self::enqueue): returns as soon as the session has the message, in the order of the
    /// calls. The second half is [`Accepting`], so that many messages become durable together.
    ///
    /// # Errors
    /// As for [`enqueue`](Self::enqueue), except for what the store says later.
    pub async fn begin_enqueue(&self, message: Publish) -> Result<Accepting, PublishError> {
        match self.accept(&Draft::of(&message), Awaited::END).await {
            Ok(Accepted { token, lsn, .. }) => {
                let waiting = Some(self.shared.waiting(token));
                Ok(Accepting { session: self.clone(), lsn, waiting })
            }
            Err(error) => Err(PublishError::new(error.with_topic(&*message.topic), message)),
        }
    }

    /// The first half of [`submit`](Self::submit), as [`begin_enqueue`](Self::begin_enqueue) is that of `enqueue`.
    ///
    /// # Errors
    /// As for [`begin_enqueue`](Self::begin_enqueue).
    pub async fn begin_submit(&self, message: Publish) -> Result<Accepting, PublishError> {
        let draft = Draft::of(&message);
        let mut place = Place::new(&self.shared);
        let accepted =
            poll_fn(|cx| self.shared.poll_accept(cx, &draft, Awaited::NOTHING, &mut place)).await;
        match accepted {
            Ok(Accepted { lsn, .. }) => Ok(Accepting { session: self.clone(), lsn, waiting: None }),
            Err(error) => {
                drop(place);
                Err(PublishError::new(error.with_topic(&*message.topic), message))
            }
        }
    }

    /// [`enqueue`](Self::enqueue) without waiting, for code that cannot wait.
    ///
    /// # Errors
    /// As for [`enqueue`](Self::enqueue); a full outbox is an error whatever its policy, unless the
    /// oldest message makes room.
    pub fn try_publish(&self, message: Publish) -> Result<Delivery, PublishError> {
        let mut state = self.shared.lock();
        let token = state.waiters.insert_task();
        match self.shared.offer(state, &Draft::of(&message), token) {
            Ok(_) => Ok(Delivery::new(Waiting::new(Arc::clone(&self.shared), token))),
            Err(error) => Err(PublishError::new(error.with_topic(&*message.topic), message)),
        }
    }

    /// [`try_publish`](Self::try_publish) for a caller that wants to be told: `sink` learns with `key`
    /// what became of the message; with a durable store (QoS 1 and 2), that the store has it.
    ///
    /// # Errors
    /// As for [`try_publish`](Self::try_publish); then `sink` is not called.
    pub(crate) fn try_enqueue_with(
        &self,
        message: &Draft<'_>,
        sink: Arc<dyn CompletionSink>,
        key: u64,
    ) -> Result<(), Error> {
        let mut state = self.shared.lock();
        if message.qos != QoS::AtMostOnce && self.is_durable() {
            return self.shared.offer_to_store(state, message, sink, key);
        }
        let token = state.waiters.insert_sink(sink, key);
        self.shared.offer(state, message, token).map(|_| ())
    }

    /// Waits until the outbox has room for a message, or the session is gone.
    pub(crate) async fn room(&self) {
        let mut place = Place::new(&self.shared);
        poll_fn(|cx| {
            let mut state = self.shared.lock();
            if state.closed || state.has_room() {
                return Poll::Ready(());
            }
            state.room.wait(&mut place.ticket, cx.waker());
            Poll::Pending
        })
        .await;
    }

    /// Waits for room as the options say, and hands the message over.
    async fn accept(&self, message: &Draft<'_>, awaited: Awaited) -> Result<Accepted, Error> {
        let mut place = Place::new(&self.shared);
        poll_fn(|cx| self.shared.poll_accept(cx, message, awaited, &mut place)).await
    }

    /// Who waits for the end of a message, once the store has it.
    async fn when_stored(&self, accepted: Accepted) -> Result<Waiting, Error> {
        // From now on nobody forgets it.
        let waiting = self.shared.waiting(accepted.token);
        if !accepted.stored {
            self.stored(accepted.lsn).await?;
        }
        Ok(waiting)
    }
}

/// A message that the session has, and its store perhaps not yet.
#[must_use = "a message counts as accepted once it is stored"]
pub struct Accepting {
    session: Session,
    lsn: Lsn,
    waiting: Option<Waiting>,
}

impl Accepting {
    /// Waits until the message is as durable as the store promises, at once without a store. Gives the [`Delivery`] of a
    /// message whose acknowledgement is awaited, `None` for one that was submitted.
    ///
    /// # Errors
    /// The store failed, or the session was removed: the message may be lost.
    pub async fn stored(self) -> Result<Option<Delivery>, Error> {
        self.session.stored(self.lsn).await?;
        Ok(self.waiting.map(Delivery::new))
    }
}

impl std::fmt::Debug for Accepting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Accepting").field("session", &self.session.name()).finish_non_exhaustive()
    }
}

/// A message that the caller still owns.
#[derive(Clone, Copy)]
pub(crate) struct Draft<'a> {
    pub(crate) topic: &'a str,
    pub(crate) payload: &'a Bytes,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) properties: PropertiesRef<'a>,
    pub(crate) ttl: Option<Duration>,
    pub(crate) priority: Priority,
}

impl<'a> Draft<'a> {
    pub(crate) fn of(message: &'a Publish) -> Self {
        Self {
            topic: &message.topic,
            payload: &message.payload,
            qos: message.qos,
            retain: message.retain,
            properties: message.properties.as_ref(),
            ttl: message.ttl,
            priority: message.priority,
        }
    }

    fn to_publish(self) -> Publish {
        Publish {
            topic: self.topic.into(),
            payload: self.payload.clone(),
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
struct Accepted {
    /// Whoever waits for its end.
    token: Token,
    lsn: Lsn,
    /// Nothing has to be waited for until it counts as accepted.
    stored: bool,
}

/// What a publisher waits for once the session has its message.
#[derive(Clone, Copy)]
struct Awaited {
    /// Its end.
    end: bool,
    /// At once, that the store has it.
    stored: bool,
}

impl Awaited {
    const NOTHING: Self = Self { end: false, stored: false };
    const END: Self = Self { end: true, stored: false };
    const STORED: Self = Self { end: false, stored: true };
    const BOTH: Self = Self { end: true, stored: true };
}

/// A place in the queue for room; left when the publisher got in or gives up.
struct Place<'a> {
    shared: &'a Shared,
    /// Zero: not in the queue.
    ticket: u64,
}

impl<'a> Place<'a> {
    fn new(shared: &'a Shared) -> Self {
        Self { shared, ticket: 0 }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if self.ticket != 0 {
            let next = self.shared.lock().room.leave(self.ticket);
            if let Some(next) = next {
                next.wake();
            }
        }
    }
}

impl Shared {
    /// Who waits for the end of an accepted message.
    fn waiting(self: &Arc<Self>, token: Token) -> Waiting {
        Waiting::new(Arc::clone(self), token)
    }

    /// Hands the message over, or leaves the waker until there is room.
    fn poll_accept(
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
        let waits = match &outcome {
            Err(Refused::Core(Refusal::OutboxFull)) => self.options.outbox.on_full == OnFull::Block,
            Err(Refused::Opening) => true,
            Err(Refused::StoreFull { on_full }) => *on_full != OnFull::Reject,
            _ => false,
        };
        if waits {
            state.room.wait(&mut place.ticket, cx.waker());
            return Poll::Pending;
        }
        let accepted = outcome.map(|lsn| {
            let stored = state.core.is_stored(lsn);
            if awaited.stored && !stored {
                state.storage.want(lsn);
            }
            Accepted { token, lsn, stored }
        });
        self.unlock_and_wake(state);
        self.fire(&mut wakes);
        Poll::Ready(accepted.map_err(|refused| self.error_of(refused)))
    }

    /// Hands the message over, or says why not. On success the waiter of `token` stays.
    fn offer(
        &self,
        mut state: std::sync::MutexGuard<'_, State>,
        message: &Draft<'_>,
        token: Token,
    ) -> Result<Lsn, Error> {
        let mut wakes = Vec::new();
        let outcome = self.offer_locked(&mut state, message, token, &mut wakes);
        self.unlock_and_wake(state);
        self.fire(&mut wakes);
        outcome.map_err(|refused| self.error_of(refused))
    }

    /// [`offer`](Self::offer) for a caller that is content once the store has the message.
    fn offer_to_store(
        &self,
        mut state: std::sync::MutexGuard<'_, State>,
        message: &Draft<'_>,
        sink: Arc<dyn CompletionSink>,
        key: u64,
    ) -> Result<(), Error> {
        let mut wakes = Vec::new();
        let outcome = self.offer_locked(&mut state, message, NO_TOKEN, &mut wakes);
        if let Ok(lsn) = outcome {
            state.tell_when_stored(lsn, sink, key);
        }
        self.unlock_and_wake(state);
        self.fire(&mut wakes);
        outcome.map(|_| ()).map_err(|refused| self.error_of(refused))
    }

    fn offer_locked(
        &self,
        state: &mut State,
        message: &Draft<'_>,
        token: Token,
        wakes: &mut Vec<Wake>,
    ) -> Result<Lsn, Refused> {
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
    ) -> Result<Lsn, Refused> {
        if state.closed {
            return Err(Refused::Closed);
        }
        self.check_storage(state, message, wakes)?;
        let limit = self.options.performance.max_message_size;
        if message.payload.len() > limit {
            return Err(Refused::Payload { size: message.payload.len(), limit });
        }
        let ttl = message.ttl.or_else(|| self.options.default_ttl());
        let now = state.time_for(ttl.is_some() || !message.properties.is_empty());
        let outgoing = Outgoing {
            topic: message.topic,
            payload: message.payload,
            qos: message.qos,
            retain: message.retain,
            properties: message.properties,
            expires_at: ttl.and_then(|ttl| now.checked_add(ttl)),
            priority: message.priority,
        };
        loop {
            match state.core.publish(now, &outgoing, token) {
                Ok(accepted) => return Ok(accepted.lsn),
                Err(Refusal::OutboxFull)
                    if self.options.outbox.on_full == OnFull::DropOldest
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
        let on_full = self.options.store.as_ref().map_or(OnFull::Block, |store| store.on_full());
        if on_full == OnFull::DropOldest && state.core.drop_oldest() {
            state.collect_completions(wakes);
            return Ok(());
        }
        Err(Refused::StoreFull { on_full })
    }

    fn error_of(&self, refused: Refused) -> Error {
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

/// Why a message was not accepted.
enum Refused {
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

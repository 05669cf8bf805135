//! The way of a message from the application into the core: one lock, no channel.

use std::borrow::Borrow;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use mqttx_proto::{Lsn, NO_TOKEN, Priority, PropertiesRef, QoS};

use super::Session;
use super::ahead::Lead;
use super::delivery::{Delivery, Published, Waiting, published};
use super::offer::{Accepted, Awaited, Draft, Place};
use super::room::Needs;
use crate::error::{Error, PublishError};
use crate::message::Publish;
use crate::trace;

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
        let context = trace::inject(PropertiesRef::EMPTY);
        let message = Draft {
            topic,
            payload: (&payload).into(),
            qos,
            retain,
            properties: context.or(PropertiesRef::EMPTY),
            ttl: None,
            priority: Priority::LOWEST,
            origin: None,
        };
        let outcome = match self.accept(&message, Awaited::ANSWER).await {
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
        let context = trace::inject(message.properties.as_ref());
        let outcome = match self
            .accept(&Draft::of(&message).within(&context), Awaited::ANSWER)
            .await
        {
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
        let context = trace::inject(message.properties.as_ref());
        let accepted = match self.accept(&Draft::of(&message).within(&context), Awaited::BOTH).await
        {
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
    /// It takes the message, or a reference to one that is sent again and again.
    ///
    /// # Errors
    /// As for [`enqueue`](Self::enqueue).
    pub async fn submit(
        &self,
        message: impl Borrow<Publish> + Into<Publish>,
    ) -> Result<(), PublishError> {
        let context = trace::inject(message.borrow().properties.as_ref());
        let draft = Draft::of(message.borrow()).within(&context);
        let accepted = match self.shared.submit_plain(&draft, true) {
            Some(Lead::None) => return Ok(()),
            Some(lead) => {
                self.shared.stand_aside(lead).await;
                return Ok(());
            }
            None => self.submit_any(&draft).await,
        };
        accepted.map_err(|error| {
            let topic = Arc::clone(&message.borrow().topic);
            PublishError::new(error.with_topic(&*topic), message.into())
        })
    }

    /// [`submit`](Self::submit) without waiting, for code that cannot wait or sends one message again and again: it takes
    /// nothing but what it encodes. With a store the message counts as accepted once that has it; [`flush`](Self::flush) tells.
    ///
    /// # Errors
    /// As for [`try_publish`](Self::try_publish).
    pub fn try_submit(&self, message: &Publish) -> Result<(), Error> {
        let context = trace::inject(message.properties.as_ref());
        let draft = Draft::of(message).within(&context);
        if self.shared.submit_plain(&draft, false).is_some() {
            return Ok(());
        }
        let outcome = self.shared.offer(self.shared.lock(), &draft, NO_TOKEN);
        outcome.map(|_| ()).map_err(|error| error.with_topic(&*message.topic))
    }

    /// The first half of [`enqueue`](Self::enqueue): returns as soon as the session has the message, in the order of the
    /// calls. The second half is [`Accepting`], so that many messages become durable together.
    ///
    /// # Errors
    /// As for [`enqueue`](Self::enqueue), except for what the store says later.
    pub async fn begin_enqueue(&self, message: Publish) -> Result<Accepting, PublishError> {
        let context = trace::inject(message.properties.as_ref());
        match self.accept(&Draft::of(&message).within(&context), Awaited::END).await {
            Ok(accepted) => {
                let Accepted { token, lsn, failures, .. } = accepted;
                let waiting = Some(self.shared.waiting(token));
                self.shared.stand_aside(accepted.lead).await;
                Ok(Accepting { session: self.clone(), lsn, failures, waiting })
            }
            Err(error) => Err(PublishError::new(error.with_topic(&*message.topic), message)),
        }
    }

    /// The first half of [`submit`](Self::submit), as [`begin_enqueue`](Self::begin_enqueue) is that of `enqueue`.
    ///
    /// # Errors
    /// As for [`begin_enqueue`](Self::begin_enqueue).
    pub async fn begin_submit(&self, message: Publish) -> Result<Accepting, PublishError> {
        let context = trace::inject(message.properties.as_ref());
        let draft = Draft::of(&message).within(&context);
        match self.accept(&draft, Awaited::NOTHING).await {
            Ok(accepted) => {
                self.shared.stand_aside(accepted.lead).await;
                let Accepted { lsn, failures, .. } = accepted;
                Ok(Accepting { session: self.clone(), lsn, failures, waiting: None })
            }
            Err(error) => Err(PublishError::new(error.with_topic(&*message.topic), message)),
        }
    }

    /// [`enqueue`](Self::enqueue) without waiting, for code that cannot wait.
    ///
    /// # Errors
    /// As for [`enqueue`](Self::enqueue); a full outbox is an error whatever its policy, unless the
    /// oldest message makes room.
    pub fn try_publish(&self, message: Publish) -> Result<Delivery, PublishError> {
        let context = trace::inject(message.properties.as_ref());
        let mut state = self.shared.lock();
        let token = state.waiters.insert_task();
        match self.shared.offer(state, &Draft::of(&message).within(&context), token) {
            Ok(_) => Ok(Delivery::new(Waiting::new(Arc::clone(&self.shared), token))),
            Err(error) => Err(PublishError::new(error.with_topic(&*message.topic), message)),
        }
    }

    /// Waits for room and for the store, as far as the message has to.
    async fn submit_any(&self, draft: &Draft<'_>) -> Result<(), Error> {
        let accepted = self.accept(draft, Awaited::STORED).await?;
        if accepted.stored {
            self.shared.stand_aside(accepted.lead).await;
            return Ok(());
        }
        self.stored(accepted.lsn, accepted.failures).await
    }

    /// Waits until the outbox has room for a message, or the session is gone.
    pub(crate) async fn room(&self) {
        let mut place = Place::new(&self.shared);
        poll_fn(|cx| {
            let mut state = self.shared.lock();
            if state.closed || state.has_room() {
                return Poll::Ready(());
            }
            let before = state.room.wait(&mut place.ticket, cx.waker(), Needs::Store);
            drop(state);
            drop(before);
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
        if accepted.stored {
            self.shared.stand_aside(accepted.lead).await;
        } else {
            self.stored(accepted.lsn, accepted.failures).await?;
        }
        Ok(waiting)
    }
}

/// A message that the session has, and its store perhaps not yet.
#[must_use = "a message counts as accepted once it is stored"]
pub struct Accepting {
    session: Session,
    lsn: Lsn,
    failures: u32,
    waiting: Option<Waiting>,
}

impl Accepting {
    /// Waits until the message is as durable as the store promises, at once without a store. Gives the [`Delivery`] of a
    /// message whose acknowledgement is awaited, `None` for one that was submitted.
    ///
    /// # Errors
    /// The store failed, or the session was removed: the message may be lost.
    pub async fn stored(self) -> Result<Option<Delivery>, Error> {
        self.session.stored(self.lsn, self.failures).await?;
        Ok(self.waiting.map(Delivery::new))
    }
}

impl std::fmt::Debug for Accepting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Accepting").field("session", &self.session.name()).finish_non_exhaustive()
    }
}

//! The stations of a message: handed over in order, stored, acknowledged.

use std::pin::Pin;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{FuturesOrdered, FuturesUnordered};
use mqttx::{Accepting, Delivery, Error, Publish, PublishError, Published, Session};

/// Messages whose acknowledgement is awaited at once.
const TRACKED: usize = 100_000;

/// Messages that become durable together.
const STORING: usize = 8192;

/// Their bytes.
const STORING_BYTES: usize = 32 << 20;

/// A message with its place in the source, counted from 1.
#[derive(Clone, Debug)]
pub(super) struct Numbered {
    pub(super) n: u64,
    pub(super) payload: Bytes,
}

/// Whether somebody wants to know what becomes of each message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Interest {
    /// Each acknowledgement is awaited.
    Each,
    /// The store has the messages, and takes no memory for them; refusals come as events.
    Refusals,
}

/// What happened to a message.
#[derive(Debug)]
pub(super) enum Step {
    /// The session has it, the store not yet: there is room for the next one.
    Handed,
    /// The session has it, and the store.
    Accepted(u64),
    /// It was not accepted.
    Rejected(u64, Error),
    /// The server has it, or refused it.
    Finished(Numbered, Result<Published, Error>),
}

/// A message, and what became of it.
type Told<T> = (Numbered, Result<T, Error>);

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// All messages that are under way.
pub(super) struct Pipeline {
    session: Session,
    interest: Interest,
    /// Whether the payload is kept until the end, for messages that have to be given again.
    keep_payloads: bool,
    /// At most one at a time: messages keep their order.
    handing: Option<Boxed<(Numbered, Result<Accepting, PublishError>)>>,
    storing: FuturesOrdered<Boxed<Told<Option<Delivery>>>>,
    storing_bytes: usize,
    deliveries: FuturesUnordered<Boxed<Told<Published>>>,
}

impl Pipeline {
    pub(super) fn new(session: Session, interest: Interest, keep_payloads: bool) -> Self {
        Self {
            session,
            interest,
            keep_payloads,
            handing: None,
            storing: FuturesOrdered::new(),
            storing_bytes: 0,
            deliveries: FuturesUnordered::new(),
        }
    }

    pub(super) fn interest(&self) -> Interest {
        self.interest
    }

    /// Whether the next message may come.
    pub(super) fn has_room(&self) -> bool {
        self.handing.is_none()
            && self.storing.len() < STORING
            && self.storing_bytes < STORING_BYTES
            && self.deliveries.len() < TRACKED
    }

    pub(super) fn is_empty(&self) -> bool {
        self.handing.is_none() && self.storing.is_empty() && self.deliveries.is_empty()
    }

    /// Messages that the session does not have.
    pub(super) fn outside(&self) -> usize {
        usize::from(self.handing.is_some())
    }

    /// Messages that the store does not have for certain.
    pub(super) fn not_stored(&self) -> usize {
        self.outside() + self.storing.len()
    }

    /// Messages under way, as far as they are known here.
    pub(super) fn len(&self) -> usize {
        self.outside() + self.storing.len() + self.deliveries.len()
    }

    /// Hands a message to the session. There is [room](Self::has_room).
    pub(super) fn push(&mut self, message: Numbered, publish: Publish) {
        let (session, interest) = (self.session.clone(), self.interest);
        self.handing = Some(Box::pin(async move {
            let result = match interest {
                Interest::Each => session.begin_enqueue(publish).await,
                Interest::Refusals => session.begin_submit(publish).await,
            };
            (message, result)
        }));
    }

    /// What happens next; never ready while there is nothing under way. Cancel safe.
    pub(super) async fn next(&mut self) -> Step {
        loop {
            tokio::select! {
                biased;
                Some((message, result)) = self.deliveries.next() => {
                    return Step::Finished(message, result);
                }
                Some((message, result)) = self.storing.next() => {
                    self.storing_bytes -= message.payload.len();
                    match result {
                        Ok(delivery) => return self.stored(message, delivery),
                        Err(error) => return Step::Rejected(message.n, error),
                    }
                }
                (message, result) = ready(&mut self.handing), if self.handing.is_some() => {
                    self.handing = None;
                    match result {
                        Ok(accepting) => {
                            self.storing_bytes += message.payload.len();
                            self.storing.push_back(Box::pin(async { (message, accepting.stored().await) }));
                            return Step::Handed;
                        }
                        Err(refused) => return Step::Rejected(message.n, refused.into_error()),
                    }
                }
                else => std::future::pending().await,
            }
        }
    }

    fn stored(&mut self, mut message: Numbered, delivery: Option<Delivery>) -> Step {
        let n = message.n;
        if let Some(delivery) = delivery {
            if !self.keep_payloads {
                message.payload = Bytes::new();
            }
            self.deliveries.push(Box::pin(async { (message, delivery.await) }));
        }
        Step::Accepted(n)
    }
}

async fn ready<T>(future: &mut Option<Boxed<T>>) -> T {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

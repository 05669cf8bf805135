//! Who waits for what: the futures of publishes, subscribes and unsubscribes.
//!
//! A waiter is a place in a table that the session's state owns; the core carries its token. So a
//! delivery needs no allocation of its own, survives any number of reconnects, and is resolved when
//! the session is removed.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use mqttx_proto::{Outcome, Token};
use mqttx_proto::{PacketId, ReasonCode};

use super::shared::Shared;
use super::sinks::{CompletionSink, Finish};
use crate::error::{Error, ErrorKind};

/// The server's answer to a published message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Published {
    /// [`ReasonCode::SUCCESS`], or [`ReasonCode::NO_MATCHING_SUBSCRIBERS`]. QoS 0: success, the
    /// socket took it.
    pub reason: ReasonCode,
    /// The packet identifier that it had; `None` for QoS 0.
    pub packet_id: Option<PacketId>,
}

/// The future of an accepted message: the server's answer.
///
/// It resolves at the acknowledgement, over any number of reconnects. It fails when the server
/// refuses the message, when the message expires, and when the session is removed, so it never
/// hangs. Dropping it does not cancel the message.
#[must_use = "await it to learn what became of the message, or drop it on purpose"]
pub struct Delivery {
    waiting: Waiting,
}

impl Delivery {
    pub(crate) fn new(waiting: Waiting) -> Self {
        Self { waiting }
    }
}

impl Future for Delivery {
    type Output = Result<Published, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let outcome = std::task::ready!(Pin::new(&mut self.waiting).poll(cx));
        Poll::Ready(published(outcome, &self.waiting.shared.name))
    }
}

impl std::fmt::Debug for Delivery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Delivery")
            .field("session", &self.waiting.shared.name)
            .finish_non_exhaustive()
    }
}

/// The future of any command.
pub(crate) struct Waiting {
    shared: Arc<Shared>,
    /// Zero once the outcome was taken.
    token: Token,
}

impl Waiting {
    pub(crate) fn new(shared: Arc<Shared>, token: Token) -> Self {
        Self { shared, token }
    }
}

impl Future for Waiting {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        // Dropped outside the lock, as below.
        let mut before = None;
        let outcome = self.shared.lock().waiters.poll(self.token, cx.waker(), &mut before);
        if outcome.is_ready() {
            self.token = 0;
        }
        outcome
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if self.token != 0 {
            let mut state = self.shared.lock();
            let left = state.waiters.abandon(self.token);
            if state.core.abandon(self.token) {
                // No outcome will free the place, and what the request held back may go.
                state.waiters.remove(self.token);
                self.shared.unlock_and_tell(state);
            } else {
                drop(state);
            }
            // Dropped outside the lock: a waker may run code of its executor.
            drop(left);
        }
    }
}

/// Who is to be told, once no lock is held.
pub(crate) enum Wake {
    Task(Waker),
    /// The finished messages that follow are those of this sink, by the tag of its registration.
    Sink(Arc<dyn CompletionSink>, usize),
    /// What became of so many messages of the sink before it, by their token.
    Finished(Token, u64, Outcome),
}

impl Wake {
    /// Tells everybody; a sink gets all its messages in one call.
    pub(crate) fn fire_all(wakes: &mut Vec<Self>, session: &Arc<str>) {
        let mut wakes = wakes.drain(..);
        while let Some(wake) = wakes.next() {
            match wake {
                Self::Task(waker) => waker.wake(),
                Self::Sink(sink, tag) => {
                    let mut finished = std::iter::from_fn(|| match wakes.as_slice().first() {
                        Some(Self::Finished(..)) => match wakes.next() {
                            // The lower half is the sink's own key.
                            Some(Self::Finished(token, count, outcome)) => {
                                let (key, result) = (token as u32, published(outcome, session));
                                Some(Finish { key, count, result })
                            }
                            _ => None,
                        },
                        _ => None,
                    });
                    sink.complete(tag, &mut finished);
                }
                // They never stand without their sink.
                Self::Finished(..) => {}
            }
        }
    }
}

/// The table of waiters.
#[derive(Default)]
pub(crate) struct Waiters {
    /// From the first waiter on, until the session is quiet: one word in those where nobody waits.
    table: Option<Box<Table>>,
    generation: u32,
}

#[derive(Default)]
struct Table {
    places: Vec<Place>,
    /// The first free place, plus one.
    free: u32,
    live: usize,
}

struct Place {
    generation: u32,
    waiter: Waiter,
}

enum Waiter {
    /// The next free place, plus one.
    Free(u32),
    Task(Option<Waker>),
    Done(Outcome),
    Abandoned,
}

impl Waiters {
    /// A waiter whose future will ask.
    pub(crate) fn insert_task(&mut self) -> Token {
        // The highest bit of a token marks those of sinks.
        self.generation = self.generation.wrapping_add(1) & (u32::MAX >> 1);
        let generation = self.generation;
        let table = self.table.get_or_insert_default();
        table.live += 1;
        let place = Place { generation, waiter: Waiter::Task(None) };
        let index = if let Some(free) = (table.free as usize).checked_sub(1)
            && let Some(slot) = table.places.get_mut(free)
        {
            if let Waiter::Free(next) = slot.waiter {
                table.free = next;
            }
            *slot = place;
            free
        } else {
            table.places.push(place);
            table.places.len() - 1
        };
        u64::from(generation) << 32 | (index as u64 + 1)
    }

    /// The command was refused after all: the place is free again.
    pub(crate) fn remove(&mut self, token: Token) {
        self.release(token);
    }

    /// Stores the outcome, and says who is to be told.
    pub(crate) fn complete(&mut self, token: Token, outcome: Outcome) -> Option<Wake> {
        match self.get(token)? {
            Waiter::Task(_) => {
                let place = self.get(token)?;
                let Waiter::Task(waker) = std::mem::replace(place, Waiter::Done(outcome)) else {
                    return None;
                };
                waker.map(Wake::Task)
            }
            Waiter::Abandoned => {
                self.release(token);
                None
            }
            Waiter::Free(_) | Waiter::Done(_) => None,
        }
    }

    /// Takes the outcome, or leaves the waker in the place of the one `before`.
    fn poll(&mut self, token: Token, waker: &Waker, before: &mut Option<Waker>) -> Poll<Outcome> {
        let Some(waiter) = self.get(token) else { return Poll::Ready(Outcome::Closed) };
        match waiter {
            Waiter::Task(Some(known)) if known.will_wake(waker) => Poll::Pending,
            Waiter::Task(known) => {
                *before = known.replace(waker.clone());
                Poll::Pending
            }
            _ => match self.release(token) {
                Some(Waiter::Done(outcome)) => Poll::Ready(outcome),
                _ => Poll::Ready(Outcome::Closed),
            },
        }
    }

    /// Nobody waits any more. What is returned wants to be dropped outside the lock.
    fn abandon(&mut self, token: Token) -> Option<Waker> {
        let waiter = self.get(token)?;
        if matches!(waiter, Waiter::Task(_)) {
            match std::mem::replace(waiter, Waiter::Abandoned) {
                Waiter::Task(waker) => waker,
                _ => None,
            }
        } else {
            self.release(token);
            None
        }
    }

    /// The session is gone: everything that still waits ends now.
    pub(crate) fn close(&mut self, wakes: &mut Vec<Wake>) {
        let places = self.table.as_ref().map_or(0, |table| table.places.len());
        for index in 0..places {
            let place = self.table.as_ref().and_then(|table| table.places.get(index));
            let Some(place) = place else { return };
            let token = u64::from(place.generation) << 32 | (index as u64 + 1);
            if !matches!(place.waiter, Waiter::Free(_)) {
                wakes.extend(self.complete(token, Outcome::Closed));
            }
        }
    }

    /// Gives the memory of a burst back, when nobody waits.
    pub(crate) fn shrink(&mut self) {
        if self.table.as_ref().is_some_and(|table| table.live == 0) {
            self.table = None;
        }
    }

    fn get(&mut self, token: Token) -> Option<&mut Waiter> {
        let place = self.table.as_mut()?.places.get_mut(index(token)?)?;
        (place.generation == generation(token) && !matches!(place.waiter, Waiter::Free(_)))
            .then_some(&mut place.waiter)
    }

    fn release(&mut self, token: Token) -> Option<Waiter> {
        let next = self.table.as_ref()?.free;
        let waiter = self.get(token)?;
        let old = std::mem::replace(waiter, Waiter::Free(next));
        let table = self.table.as_mut()?;
        table.free = u32::try_from(index(token)? + 1).unwrap_or(0);
        table.live -= 1;
        Some(old)
    }
}

fn index(token: Token) -> Option<usize> {
    ((token & u64::from(u32::MAX)) as usize).checked_sub(1)
}

fn generation(token: Token) -> u32 {
    (token >> 32) as u32
}

/// What an outcome means to a publisher.
pub(crate) fn published(outcome: Outcome, session: &Arc<str>) -> Result<Published, Error> {
    let error = match outcome {
        Outcome::Acknowledged { reason, packet_id } => {
            return Ok(Published { reason, packet_id: Some(packet_id) });
        }
        Outcome::Written => {
            return Ok(Published { reason: ReasonCode::SUCCESS, packet_id: None });
        }
        Outcome::Refused { reason, reason_string, packet_id } => {
            Error::refused("PUBLISH", reason, reason_string.as_deref())
                .with_code("publish.refused")
                .with_context("packet id", packet_id)
        }
        Outcome::Dropped(reason) => Error::new(ErrorKind::Publish, format!("not sent: {reason}"))
            .with_code("publish.dropped")
            .with_context("reason", reason.name()),
        Outcome::ConnectionLost => {
            Error::connection("the connection ended before the socket took the message")
                .with_code("publish.connection_lost")
        }
        Outcome::StoreFailed => Error::store(
            "the store failed before the message was acknowledged; if it had it, it is sent later",
        ),
        _ => Error::closed(),
    };
    Err(error.with_session(&**session))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake as _;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl std::task::Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn places_are_reused_and_old_tokens_mean_nothing() {
        let mut waiters = Waiters::default();
        let first = waiters.insert_task();
        assert!(waiters.complete(first, Outcome::Written).is_none(), "nobody polled yet");
        assert!(waiters.poll(first, Waker::noop(), &mut None).is_ready());
        let second = waiters.insert_task();
        assert_eq!(index(first), index(second));
        assert!(waiters.complete(first, Outcome::Written).is_none());
        assert!(waiters.poll(second, Waker::noop(), &mut None).is_pending());
    }

    #[test]
    fn a_thousand_waiters_in_flight_need_a_thousand_places() {
        let mut waiters = Waiters::default();
        for _ in 0..3 {
            let tokens: Vec<_> = (0..1000).map(|_| waiters.insert_task()).collect();
            for token in tokens.into_iter().rev() {
                waiters.complete(token, Outcome::Written);
                assert_eq!(
                    waiters.poll(token, Waker::noop(), &mut None),
                    Poll::Ready(Outcome::Written)
                );
            }
        }
        assert_eq!(waiters.table.as_ref().map(|table| table.places.len()), Some(1000));
        waiters.shrink();
        assert!(waiters.table.is_none());
    }

    #[test]
    fn closing_tells_everybody_who_waits() {
        let mut waiters = Waiters::default();
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        let tokens: Vec<_> = (0..3).map(|_| waiters.insert_task()).collect();
        assert!(waiters.poll(tokens[0], &waker, &mut None).is_pending());
        assert!(waiters.abandon(tokens[1]).is_none());
        let mut wakes = Vec::new();
        waiters.close(&mut wakes);
        Wake::fire_all(&mut wakes, &Arc::from("s"));
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
        assert_eq!(waiters.poll(tokens[0], &waker, &mut None), Poll::Ready(Outcome::Closed));
        assert_eq!(waiters.poll(tokens[2], &waker, &mut None), Poll::Ready(Outcome::Closed));
        assert_eq!(waiters.table.as_ref().map(|table| table.live), Some(0));
        count.wake();
    }

    #[test]
    fn outcomes_are_told_with_their_reason() {
        let id = PacketId::new(7).expect("not zero");
        let refused = Outcome::Refused {
            reason: ReasonCode::new(0x97),
            reason_string: Some("later".to_owned()),
            packet_id: id,
        };
        let error = published(refused, &Arc::from("plant")).expect_err("refused");
        assert_eq!(error.code(), "publish.refused");
        assert_eq!(error.reason_code(), Some(ReasonCode::new(0x97)));
        assert_eq!(error.session(), Some("plant"));
        let done = Outcome::Acknowledged { reason: ReasonCode::SUCCESS, packet_id: id };
        let done = published(done, &Arc::from("plant")).expect("acknowledged");
        assert_eq!(done.packet_id, Some(id));
    }
}

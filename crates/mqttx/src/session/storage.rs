//! What the handles of a session know of its store: whether it is open, has room, and has what it was given.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Poll, Waker};

use mqttx_proto::{Lsn, Outcome, Token};

use super::Session;
use super::delivery::Wake;
use super::shared::State;
use super::sinks::Sinks;
use crate::error::Error;

/// The store of a session, as its handles see it.
#[derive(Default)]
pub(crate) struct Storage {
    pub(crate) condition: Condition,
    /// The store has no room.
    pub(crate) full: bool,
    /// How often it failed: positions of another log say nothing about this one.
    pub(crate) failures: u32,
    /// What is waited for; from the first time on.
    queue: Option<Box<Queue>>,
}

/// What is waited for.
#[derive(Default)]
struct Queue {
    /// Who waits until the record at that position is durable, the lowest first.
    stored: VecDeque<(Lsn, Waits)>,
    /// Somebody waits for everything up to here, or will at once.
    wanted: Lsn,
    /// The store was told of it.
    hurried: Lsn,
}

/// Who waits for a record.
pub(crate) enum Waits {
    Task(Waker),
    /// A sink, for the message of the token.
    Sink(Token),
}

impl Waits {
    fn tell(self, outcome: Outcome, sinks: &Sinks, wakes: &mut Vec<Wake>) {
        match self {
            Self::Task(waker) => wakes.push(Wake::Task(waker)),
            Self::Sink(token) => sinks.tell(token, 1, outcome, wakes),
        }
    }
}

/// Whether anything can be kept.
#[derive(Default)]
pub(crate) enum Condition {
    /// There is no store, or it is open.
    #[default]
    Open,
    /// It is being opened: nothing is accepted yet.
    Opening,
    /// It failed: nothing is accepted until it is opened again.
    Failed(Box<Error>),
}

impl Storage {
    pub(crate) fn new(condition: Condition) -> Self {
        Self { condition, ..Self::default() }
    }

    /// Tells once the record is durable. Positions rise, so that it goes to the end, or near it.
    pub(crate) fn wait(&mut self, lsn: Lsn, waits: Waits) {
        let stored = &mut self.queue.get_or_insert_default().stored;
        let index = stored.partition_point(|(other, _)| *other <= lsn);
        stored.insert(index, (lsn, waits));
        self.want(lsn);
    }

    /// Somebody is about to wait for the record.
    pub(crate) fn want(&mut self, lsn: Lsn) {
        let queue = self.queue.get_or_insert_default();
        queue.wanted = queue.wanted.max(lsn);
    }

    /// Whether the store has to be told that somebody waits.
    pub(crate) fn hurries(&self) -> bool {
        self.queue.as_ref().is_some_and(|queue| queue.hurried < queue.wanted)
    }

    /// What to tell the store.
    pub(crate) fn take_wanted(&mut self) -> Option<Lsn> {
        let queue = self.queue.as_mut()?;
        let news = (queue.hurried < queue.wanted).then_some(queue.wanted);
        queue.hurried = queue.wanted;
        news
    }

    /// Positions begin again with another log.
    pub(crate) fn opened(&mut self) {
        (self.condition, self.full) = (Condition::Open, false);
        if let Some(queue) = &mut self.queue {
            (queue.wanted, queue.hurried) = (0, 0);
        }
    }

    /// Its log is lost, and with it what was not durable.
    pub(crate) fn fail(&mut self, error: Error, sinks: &Sinks, wakes: &mut Vec<Wake>) {
        self.condition = Condition::Failed(Box::new(error));
        self.failures = self.failures.wrapping_add(1);
        self.close(sinks, wakes);
    }

    /// Who waited for what is durable now.
    pub(crate) fn on_stored(
        &mut self,
        is_stored: impl Fn(Lsn) -> bool,
        sinks: &Sinks,
        wakes: &mut Vec<Wake>,
    ) {
        let Some(Queue { stored, .. }) = self.queue.as_deref_mut() else { return };
        while stored.front().is_some_and(|(lsn, _)| is_stored(*lsn)) {
            if let Some((_, waits)) = stored.pop_front() {
                // The same as for a message that needs no answer.
                waits.tell(Outcome::Written, sinks, wakes);
            }
        }
        if stored.is_empty() && stored.capacity() > KEEP {
            *stored = VecDeque::new();
        }
    }

    /// Everybody looks again: nothing further becomes durable. Sinks are told so.
    pub(crate) fn close(&mut self, sinks: &Sinks, wakes: &mut Vec<Wake>) {
        for (_, waits) in self.queue.iter_mut().flat_map(|queue| queue.stored.drain(..)) {
            waits.tell(Outcome::StoreFailed, sinks, wakes);
        }
    }

    /// Why nothing can be kept any more.
    pub(crate) fn failure(&self) -> Option<&Error> {
        match &self.condition {
            Condition::Failed(error) => Some(error),
            _ => None,
        }
    }
}

impl State {
    /// Whether another message is accepted.
    pub(crate) fn has_room(&self) -> bool {
        matches!(self.storage.condition, Condition::Open)
            && !self.storage.full
            && self.core.has_room()
    }

    /// Whether another message with QoS 0 is accepted, which needs no store.
    pub(super) fn outbox_has_room(&self) -> bool {
        let (limits, status) = (&self.core.config().outbox, self.core.outbox());
        matches!(self.storage.condition, Condition::Open)
            && status.messages < limits.messages
            && status.bytes < limits.bytes
    }
}

impl Session {
    /// Whether what the session accepts survives the process.
    pub(crate) fn is_durable(&self) -> bool {
        self.shared.is_durable
    }

    /// Waits until the store has what it was given up to `lsn`; `failures`: as often it had failed by then.
    pub(super) async fn stored(&self, lsn: Lsn, failures: u32) -> Result<(), Error> {
        let mut waker: Option<Waker> = None;
        poll_fn(|cx| {
            let mut state = self.shared.lock();
            if let Some(error) = state.storage.failure() {
                return Poll::Ready(Err(error.clone()));
            }
            if state.storage.failures != failures {
                let error = Error::store("the store failed before it had the message");
                return Poll::Ready(Err(error.with_session(&*self.shared.name)));
            }
            if state.core.is_stored(lsn) {
                return Poll::Ready(Ok(()));
            }
            if state.closed {
                return Poll::Ready(Err(Error::closed().with_session(&*self.shared.name)));
            }
            if !waker.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
                waker = Some(cx.waker().clone());
                state.storage.wait(lsn, Waits::Task(cx.waker().clone()));
                self.shared.unlock_and_wake(state);
            }
            Poll::Pending
        })
        .await
    }
}

/// Room for waiters that is kept while nobody waits.
const KEEP: usize = 64;

//! A consumer's side of its route: what it took from the queue, and the message in its hands.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::batch::Batch;
use super::done::{Due, Slot};
use super::{MessageSource, Origin};
use crate::message::{CLASSES, Message, Packed};

/// Belongs to the consumer while that runs, and is with the route else.
#[derive(Default)]
pub(super) struct Work {
    /// The messages that come next.
    pub(super) batch: Batch,
    /// Of a consumer that only borrows its messages: shows those of the batch, which are here instead.
    lent: Option<Message>,
    /// A message of its own; after it, memory for the next one.
    message: Option<Message>,
    hand: Hand,
    lends: bool,
    /// What the route owes for the message in hand.
    due: Due,
    /// Of a manual route: where that is held instead.
    pub(super) slot: Option<Slot>,
    /// How often the handler panicked on it.
    pub(super) attempts: u32,
    /// Memory of other sizes.
    spares: [Option<Message>; CLASSES],
    pub(super) turn: Turn,
}

/// What a task had since it paused.
#[derive(Default)]
pub(super) struct Turn {
    messages: u32,
    /// When it had [`LOOK`] messages first.
    since: Option<Instant>,
}

/// Messages after which a task looks at the clock.
const LOOK: u32 = 32;
/// A task that always finds a message pauses after so much time. To do so after each hundred messages, as Tokio's channels do, took a
/// third of the throughput of short ones.
const TURN: Duration = Duration::from_millis(1);

/// Which message is in hand.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum Hand {
    #[default]
    Empty,
    /// The one that `lent` shows.
    Lent,
    Own,
}

impl Work {
    /// Of a consumer that only borrows its messages.
    pub(super) fn lending() -> Box<Self> {
        Box::new(Self { lends: true, ..Self::default() })
    }

    /// Whether its task is to pause before the next message.
    pub(super) fn has_had_its_turn(&mut self) -> bool {
        self.turn.messages += 1;
        if !self.turn.messages.is_multiple_of(LOOK) {
            return false;
        }
        let now = Instant::now();
        let is_over = now.duration_since(*self.turn.since.get_or_insert(now)) >= TURN;
        if is_over {
            self.turn = Turn::default();
        }
        is_over
    }

    /// The next batch.
    pub(super) fn load(&mut self, batch: Batch) {
        self.batch = batch;
        if self.lends
            && let Some(source) = self.batch.source()
        {
            let lent = self.lent.get_or_insert_with(|| Message::lent(source.origin()));
            self.batch.lend(lent);
        }
    }

    /// Takes the next message in hand; `false`: there is none.
    pub(super) fn advance(&mut self) -> bool {
        let Some((index, due)) = self.batch.advance() else { return false };
        (self.due, self.slot, self.attempts) = (due, None, 0);
        if self.lent.as_mut().is_some_and(|lent| lent.show(index)) {
            self.hand = Hand::Lent;
            return true;
        }
        self.unpack(index)
    }

    fn unpack(&mut self, index: usize) -> bool {
        let (Some(packed), Some(source)) = (self.batch.packed(index), self.batch.source()) else {
            let Some(whole) = self.batch.take_whole() else { return false };
            self.replace(whole);
            return true;
        };
        let origin = source.origin();
        if self.message.as_mut().is_some_and(|old| old.refill(&packed, origin)) {
            self.hand = Hand::Own;
        } else {
            let message = unpack(&mut self.spares, &packed, origin);
            self.replace(message);
        }
        true
    }

    /// Another message in the place of the one in hand.
    pub(super) fn replace(&mut self, message: Message) {
        if self.hand == Hand::Lent
            && let Some(lent) = &mut self.lent
        {
            lent.disarm();
        }
        self.hand = Hand::Own;
        let Some(mut old) = self.message.replace(message) else { return };
        if let Some(class) = old.class()
            && let Some(spare) = self.spares.get_mut(class)
            && old.is_spent()
        {
            *spare = Some(old);
        }
    }

    /// The message in hand, or its memory.
    pub(super) fn message(&self) -> Option<&Message> {
        match self.hand {
            Hand::Lent => self.lent.as_ref(),
            Hand::Own | Hand::Empty => self.message.as_ref(),
        }
    }

    /// The message in hand, for somebody who may keep it.
    pub(super) fn hand_out(&mut self) -> Option<Message> {
        // Memory of other messages is not used again: no handle needs to stay here.
        match &self.message {
            Some(message) if message.class().is_some() => Some(message.clone()),
            _ => self.message.take(),
        }
    }

    pub(super) fn has_message(&self) -> bool {
        self.hand != Hand::Empty
    }

    pub(super) fn is_owed(&self) -> bool {
        !self.due.is_nothing()
    }

    /// What is owed for the message in hand, for a route that holds it elsewhere, and to whom.
    pub(super) fn take_due(&mut self) -> Option<(Due, &Arc<dyn MessageSource>)> {
        let source = self.batch.source()?;
        Some((std::mem::take(&mut self.due), source))
    }

    pub(super) fn arm(&mut self, arm: impl FnOnce(Message) -> Message) {
        let place = self.place();
        *place = place.take().map(arm);
    }

    /// Where the message in hand is.
    fn place(&mut self) -> &mut Option<Message> {
        match self.hand {
            Hand::Lent => &mut self.lent,
            Hand::Own | Hand::Empty => &mut self.message,
        }
    }

    /// The route is done with the message in hand. Not under a lock.
    pub(super) fn done(&mut self) {
        if self.hand == Hand::Empty {
            return;
        }
        if self.slot.take().is_some()
            && let Some(message) = self.place()
        {
            // The right to acknowledge is a handle of the route itself.
            message.disarm();
        }
        self.hand = Hand::Empty;
        if let Some(source) = self.batch.source() {
            std::mem::take(&mut self.due).finish(source);
        }
    }

    /// The route is done with everything. Not under a lock.
    pub(super) fn finish(&mut self) {
        self.done();
        self.batch.finish();
    }

    /// Forgets everything.
    pub(super) fn forget(&mut self) {
        *self = Self { lends: self.lends, ..Self::default() };
    }
}

/// A message in memory that nobody needs, if there is some of its size.
#[cold]
fn unpack(
    spares: &mut [Option<Message>; CLASSES],
    packed: &Packed<'_>,
    origin: &Arc<Origin>,
) -> Message {
    let spare = spares.get_mut(packed.class()).and_then(Option::take);
    if let Some(mut spare) = spare
        && spare.refill(packed, origin)
    {
        return spare;
    }
    Message::unpack(packed, origin)
}

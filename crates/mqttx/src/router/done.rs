//! Who still owes what for a message: the way from "the handler returned" to the acknowledgement.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use mqttx_proto::AckTicket;

use super::{MessageSource, Target};

/// What one message owes its source while it is being dispatched.
#[derive(Clone, Copy)]
pub(super) enum Owed<'a> {
    /// QoS 0.
    Nothing,
    /// One route matched.
    One(AckTicket),
    /// Several did; the last one to finish acknowledges.
    Shared(&'a Arc<Countdown>),
}

impl Owed<'_> {
    /// The same for a route that knows the source.
    pub(super) fn due(self) -> Due {
        match self {
            Owed::Nothing => Due::Nothing,
            Owed::One(ticket) => Due::One(ticket),
            Owed::Shared(countdown) => {
                countdown.holders.fetch_add(1, Ordering::Relaxed);
                Due::Shared(Arc::clone(countdown))
            }
        }
    }

    /// The route keeps the message beyond the dispatch.
    pub(super) fn keep(self, source: &Arc<dyn MessageSource>) -> Completion {
        match self {
            Owed::Nothing => Completion::Nothing,
            Owed::One(ticket) => Completion::One { source: Arc::clone(source), ticket },
            Owed::Shared(countdown) => {
                countdown.holders.fetch_add(1, Ordering::Relaxed);
                Completion::Shared(Arc::clone(countdown))
            }
        }
    }
}

/// One route's part of a message's acknowledgement. Dropping it says nothing to the source: a
/// message lost with its task is sent again by the server.
pub(super) enum Completion {
    Nothing,
    One { source: Arc<dyn MessageSource>, ticket: AckTicket },
    Shared(Arc<Countdown>),
}

impl Completion {
    /// The route is done with the message. Call it outside all locks.
    pub(super) fn finish(self) {
        match self {
            Self::Nothing => {}
            Self::One { source, ticket } => source.ack(ticket),
            Self::Shared(countdown) => {
                if countdown.release() {
                    countdown.source.ack(countdown.ticket);
                }
            }
        }
    }

    pub(super) fn is_owed_to(&self, other: &Arc<dyn MessageSource>) -> bool {
        match self {
            Self::Nothing => false,
            Self::One { source, .. } => Arc::ptr_eq(source, other),
            Self::Shared(countdown) => Arc::ptr_eq(&countdown.source, other),
        }
    }
}

/// One route's part of a message's acknowledgement, for a route that knows the source. As with [`Completion`], nothing is said
/// when it is dropped.
#[derive(Default)]
pub(crate) enum Due {
    #[default]
    Nothing,
    One(AckTicket),
    Shared(Arc<Countdown>),
}

impl Due {
    /// What it is about, whoever else has the message.
    pub(crate) fn ticket(&self) -> Option<AckTicket> {
        match self {
            Self::Nothing => None,
            Self::One(ticket) => Some(*ticket),
            Self::Shared(countdown) => Some(countdown.ticket),
        }
    }

    /// The route is done with the message: what to acknowledge, unless another route still has it.
    pub(crate) fn settle(self) -> Option<AckTicket> {
        match self {
            Self::Nothing => None,
            Self::One(ticket) => Some(ticket),
            Self::Shared(countdown) => countdown.release().then_some(countdown.ticket),
        }
    }

    /// The route is done with the message of `source`. Call it outside all locks.
    pub(super) fn finish(self, source: &Arc<dyn MessageSource>) {
        if let Some(ticket) = self.settle() {
            source.ack(ticket);
        }
    }

    /// The dispatch, which still runs, learns from `deliver` that the route is done.
    pub(super) fn forgo(self) {
        if let Self::Shared(countdown) = self {
            countdown.release();
        }
    }

    /// What a route holds that knows no source.
    pub(super) fn hold(self, source: &Arc<dyn MessageSource>) -> Completion {
        match self {
            Self::Nothing => Completion::Nothing,
            Self::One(ticket) => Completion::One { source: Arc::clone(source), ticket },
            Self::Shared(countdown) => Completion::Shared(countdown),
        }
    }

    pub(super) fn is_nothing(&self) -> bool {
        matches!(self, Self::Nothing)
    }
}

/// How many still hold one message: the dispatch itself, and each route that kept it.
pub(crate) struct Countdown {
    holders: AtomicU32,
    source: Arc<dyn MessageSource>,
    ticket: AckTicket,
}

impl Countdown {
    /// Held by the dispatch until it calls [`release`](Self::release).
    pub(super) fn new(source: &Arc<dyn MessageSource>, ticket: AckTicket) -> Arc<Self> {
        Arc::new(Self { holders: AtomicU32::new(1), source: Arc::clone(source), ticket })
    }

    /// `true` for the last holder.
    pub(super) fn release(&self) -> bool {
        self.holders.fetch_sub(1, Ordering::AcqRel) == 1
    }
}

/// The right to acknowledge one message of a manual route; clones share it.
#[derive(Clone)]
pub(crate) struct Acker {
    target: Arc<Target>,
    slot: Slot,
}

impl Acker {
    pub(super) fn new(target: &Arc<Target>, slot: Slot) -> Self {
        Self { target: Arc::clone(target), slot }
    }

    pub(crate) fn ack(&self) {
        self.target.finish_unacked(self.slot);
    }

    pub(crate) fn is_acked(&self) -> bool {
        !self.target.is_unacked(self.slot)
    }
}

/// A place in [`Unacked`]; the generation tells its users apart.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot {
    index: usize,
    generation: u32,
}

/// The messages that a manual route handed out and that are not acknowledged: at most Receive
/// Maximum per connection and session, since the server sends no more.
#[derive(Default)]
pub(super) struct Unacked {
    places: Vec<Place>,
    free: Vec<usize>,
}

struct Place {
    generation: u32,
    held: Option<Held>,
}

struct Held {
    completion: Completion,
    /// Redelivered after a reconnect, so that the old acknowledgement means nothing.
    sent_again: bool,
}

impl Unacked {
    pub(super) fn insert(&mut self, completion: Completion, sent_again: bool) -> Slot {
        let held = Some(Held { completion, sent_again });
        if let Some(index) = self.free.pop()
            && let Some(place) = self.places.get_mut(index)
        {
            place.held = held;
            return Slot { index, generation: place.generation };
        }
        self.places.push(Place { generation: 0, held });
        Slot { index: self.places.len() - 1, generation: 0 }
    }

    pub(super) fn take(&mut self, slot: Slot) -> Option<Completion> {
        let place = self.places.get_mut(slot.index).filter(|p| p.generation == slot.generation)?;
        let held = place.held.take()?;
        place.generation = place.generation.wrapping_add(1);
        self.free.push(slot.index);
        Some(held.completion)
    }

    pub(super) fn contains(&self, slot: Slot) -> bool {
        self.places
            .get(slot.index)
            .is_some_and(|p| p.generation == slot.generation && p.held.is_some())
    }

    /// Takes what `which` selects.
    pub(super) fn take_where(
        &mut self,
        which: impl Fn(&Completion, bool) -> bool,
    ) -> Vec<Completion> {
        let selected: Vec<Slot> = self
            .places
            .iter()
            .enumerate()
            .filter(|(_, p)| p.held.as_ref().is_some_and(|h| which(&h.completion, h.sent_again)))
            .map(|(index, p)| Slot { index, generation: p.generation })
            .collect();
        selected.into_iter().filter_map(|slot| self.take(slot)).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }
}

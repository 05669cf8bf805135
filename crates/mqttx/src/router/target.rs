//! A route's inner side: the queue that dispatch fills and a consumer empties.

mod drops;
mod ending;
mod inline;

use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use super::batch::Batch;
use super::consumer::Consumer;
use super::done::{Owed, Slot, Unacked};
use super::lot::{Lot, LotItem};
use super::row::Row;
use super::rules::Rules;
use super::scratch::Outbox;
use super::subscription::{Pushed, Queue};
use super::work::Work;
use super::{Arrival, MessageSource, Overflow, RouteOptions, RouteStats};
use crate::event::EventBus;
use crate::metrics::DropReason;

use drops::DropReport;
pub(super) use ending::Phase;

/// The identity of a route, also as an owner of desired subscriptions.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
pub(crate) struct RouteId(pub(crate) u64);

/// One route: shared by its handle, the routers it is in, and its consumer.
pub(crate) struct Target {
    id: RouteId,
    filter: Arc<str>,
    options: RouteOptions,
    session: Option<Arc<str>>,
    pub(super) consumer: Consumer,
    pub(super) events: Arc<EventBus>,
    counts: Counts,
    pub(super) rules: Rules,
    /// The phase is `Open`: who finds it set looks at nothing else.
    pub(super) open: AtomicBool,
    pub(super) done: Done,
    state: Mutex<State>,
}

pub(super) struct State {
    pub(super) queue: Queue,
    /// Memory of batches that were handled, for the next ones.
    spare: Vec<Batch>,
    /// What the consumer has, while it does not run.
    pub(super) work: Option<Box<Work>>,
    pub(super) unacked: Unacked,
    pub(super) phase: Phase,
    /// A blocking job is running or scheduled; of no meaning for other consumers.
    pub(super) running: bool,
    pub(super) waker: Option<Waker>,
    pub(super) drops: DropReport,
}

/// So many messages are worth a job at once.
const ENOUGH: usize = 512;

/// Memory for so many batches is kept.
const SPARE: usize = 256;

impl State {
    /// The memory of a batch may serve another.
    pub(super) fn keep(&mut self, mut batch: Batch) {
        batch.clear();
        if self.spare.len() < SPARE && batch.room() > 0 {
            self.spare.push(batch);
        }
    }

    /// One of them.
    fn take_spare(&mut self) -> Option<Batch> {
        self.spare.pop()
    }
}

#[derive(Default)]
struct Counts {
    received: AtomicU64,
    dropped: AtomicU64,
}

/// What the consumer says of each message: in a cache line of its own, so that the driver does not wait for it.
#[derive(Default)]
#[repr(align(64))]
pub(super) struct Done {
    pub(super) handled: AtomicU64,
    pub(super) filtered: AtomicU64,
    pub(super) failed: AtomicU64,
    /// Messages that it took from the queue and that still wait.
    pub(super) taken: AtomicUsize,
}

impl Target {
    pub(crate) fn new(
        filter: Arc<str>,
        options: RouteOptions,
        consumer: Consumer,
        session: Option<Arc<str>>,
        events: Arc<EventBus>,
    ) -> Arc<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let queue = Queue::new(options.capacity, options.overflow);
        Arc::new(Self {
            id: RouteId(NEXT.fetch_add(1, Relaxed)),
            filter,
            options,
            session,
            consumer,
            events,
            counts: Counts::default(),
            rules: Rules::default(),
            open: AtomicBool::new(true),
            done: Done::default(),
            state: Mutex::new(State {
                queue,
                spare: Vec::new(),
                work: None,
                unacked: Unacked::default(),
                phase: Phase::Open,
                running: false,
                waker: None,
                drops: DropReport::default(),
            }),
        })
    }

    pub(crate) fn id(&self) -> RouteId {
        self.id
    }

    pub(crate) fn filter(&self) -> &str {
        &self.filter
    }

    pub(super) fn shared_filter(&self) -> &Arc<str> {
        &self.filter
    }

    pub(crate) fn options(&self) -> &RouteOptions {
        &self.options
    }

    /// `None`: a route over all sessions of a manager.
    pub(crate) fn session(&self) -> Option<&Arc<str>> {
        self.session.as_ref()
    }

    pub(super) fn stats(&self) -> RouteStats {
        let (queued, unacked) = {
            let state = self.state();
            (self.done.taken.load(Relaxed) + state.queue.len(), state.unacked.len())
        };
        RouteStats {
            received: self.counts.received.load(Relaxed),
            handled: self.done.handled.load(Relaxed),
            filtered: self.done.filtered.load(Relaxed),
            dropped: self.counts.dropped.load(Relaxed),
            failed: self.done.failed.load(Relaxed),
            queued,
            unacked,
        }
    }

    /// Whether a task takes its messages.
    pub(super) fn is_polled(&self) -> bool {
        matches!(self.consumer, Consumer::Polled)
    }

    /// Whether messages that came in a row may come to it together. What a queue may drop is looked at one by one.
    pub(super) fn takes_rows(&self) -> bool {
        match self.consumer {
            Consumer::Inline(_) | Consumer::Lot(_) => true,
            Consumer::Blocking { .. } | Consumer::Polled => {
                self.options.overflow == Overflow::Block
            }
        }
    }

    /// How many messages may come together.
    pub(super) fn most_together(&self) -> usize {
        Queue::most_together(self.options.capacity, self.options.overflow)
    }

    /// Hands a message over; `true` if the route is done with it at once, in which case nothing
    /// of `owed` was kept.
    pub(super) fn deliver(
        self: &Arc<Self>,
        arrival: &Arrival<'_>,
        owed: Owed<'_>,
        outbox: &mut Outbox,
    ) -> bool {
        match &self.consumer {
            Consumer::Inline(handler) => {
                self.count_on_driver(&self.counts.received, 1);
                self.call_inline(handler, arrival, owed)
            }
            Consumer::Lot(handler) => {
                self.count_on_driver(&self.counts.received, 1);
                if !self.open.load(Acquire) {
                    return true;
                }
                outbox.by_lot.push(self, &**handler, owed.due(), arrival);
                matches!(owed, Owed::Nothing)
            }
            // What the queue may drop is decided message by message.
            _ if self.options.overflow == Overflow::Block && !arrival.inbound.shed => {
                outbox.push(self, arrival, owed.due());
                false
            }
            _ => self.enqueue(outbox.single(arrival, owed.due()), arrival, outbox),
        }
    }

    /// Adds to a count where the driver does. That of a route of one session is the only one to do so: no other count is lost.
    fn count_on_driver(&self, counter: &AtomicU64, more: u64) {
        if self.session.is_some() {
            counter.store(counter.load(Relaxed) + more, Relaxed);
        } else {
            counter.fetch_add(more, Relaxed);
        }
    }

    /// Adds a row to the lot that the message before is in; how many.
    pub(super) fn collect_row(self: &Arc<Self>, row: &Row<'_>, outbox: &mut Outbox) -> usize {
        let taken = match self.open.load(Acquire) {
            true => outbox.by_lot.push_row(self, row),
            false => 0,
        };
        self.count_on_driver(&self.counts.received, taken as u64);
        taken
    }

    /// Takes what was collected for it.
    pub(super) fn take_lot(&self, lot: &Lot<'_>, items: &mut Vec<LotItem>) {
        if let Consumer::Lot(handler) = &self.consumer {
            handler.take(lot, items);
        }
    }

    /// Takes messages that its queue does not drop. In return `spare` gets memory that nobody needs. `more` is on its way: a
    /// job that would have to be started may wait for it, since to start one costs as much as many messages.
    pub(super) fn enqueue_all(
        self: &Arc<Self>,
        mut batch: Batch,
        source: &Arc<dyn MessageSource>,
        spare: &mut Vec<Batch>,
        more: bool,
    ) {
        self.counts.received.fetch_add(batch.len() as u64, Relaxed);
        let mut state = self.state();
        if state.phase != Phase::Open {
            drop(state);
            // The dispatch said that an acknowledgement would come.
            batch.finish();
            return spare.push(batch);
        }
        state.queue.push_or_park(batch, source);
        spare.extend(state.take_spare());
        let enough = !more || state.queue.len() >= ENOUGH;
        let start = enough && !state.running;
        state.running |= start;
        let waker = state.waker.take();
        drop(state);
        self.wake_consumer(start, waker);
    }

    /// No more is on its way.
    pub(super) fn start(self: &Arc<Self>) {
        let start = {
            let mut state = self.state();
            let start = !state.running && state.queue.len() > 0;
            state.running |= start;
            start
        };
        self.wake_consumer(start, None);
    }

    /// Takes a batch of one message.
    fn enqueue(
        self: &Arc<Self>,
        mut batch: Batch,
        arrival: &Arrival<'_>,
        outbox: &mut Outbox,
    ) -> bool {
        self.counts.received.fetch_add(1, Relaxed);
        let mut state = self.state();
        if state.phase != Phase::Open {
            drop(state);
            batch.forgo();
            outbox.spares.put(batch);
            return true;
        }
        let (reason, dropped) = match state.queue.push(batch, arrival.source, arrival.inbound.shed)
        {
            Pushed::Queued => {
                let spare = state.take_spare();
                let start = !std::mem::replace(&mut state.running, true);
                let waker = state.waker.take();
                drop(state);
                self.wake_consumer(start, waker);
                spare.into_iter().for_each(|batch| outbox.spares.put(batch));
                return false;
            }
            Pushed::DroppedNewest(batch) => (DropReason::RouteFull, Err(batch)),
            Pushed::DroppedOldest(batch, unparks) => (DropReason::RouteFull, Ok((batch, unparks))),
            Pushed::Shed(batch) => (DropReason::InboundFull, Err(batch)),
        };
        let told = state.drops.add(reason, arrival.inbound.received_at);
        drop(state);
        self.counts.dropped.fetch_add(1, Relaxed);
        arrival.source.origin().counters.record_dropped(reason, 1);
        self.tell_of_drops(told, Some((&arrival.source.origin().name, arrival.publish.topic)));
        let is_done = dropped.is_err();
        let batch = match dropped {
            Err(mut newest) => {
                newest.forgo();
                newest
            }
            Ok((mut oldest, unparks)) => {
                unparks.tell();
                oldest.finish();
                oldest
            }
        };
        outbox.spares.put(batch);
        is_done
    }

    /// Nothing came for a while: memory for the next messages is given back.
    pub(super) fn shrink(&self) {
        let unneeded = {
            let mut state = self.state();
            let idle = state.work.take_if(|work| !work.has_message());
            (std::mem::take(&mut state.spare), idle)
        };
        drop(unneeded);
        if let Consumer::Lot(handler) = &self.consumer {
            handler.shrink();
        }
    }

    pub(super) fn finish_unacked(&self, slot: Slot) {
        let completion = self.state().unacked.take(slot);
        if let Some(completion) = completion {
            completion.finish();
        }
    }

    pub(super) fn is_unacked(&self, slot: Slot) -> bool {
        self.state().unacked.contains(slot)
    }

    /// See [`Router::link_lost`](super::Router::link_lost).
    pub(super) fn forget_unacked(&self, source: &Arc<dyn MessageSource>) {
        let forgotten = self
            .state()
            .unacked
            .take_where(|completion, sent_again| sent_again && completion.is_owed_to(source));
        drop(forgotten);
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

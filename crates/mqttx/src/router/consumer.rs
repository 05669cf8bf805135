//! The other end of a route's queue: who takes the messages, and what a panic means.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::HandlerJobs;
use super::done::Acker;
use super::jobs::Job;
use super::lot::LotHandler;
use super::rules::Passed;
use super::target::{Phase, State, Target};
use super::work::{Turn, Work};
use crate::event::{EventKind, EventName};
use crate::message::{Message, MessageRef};
use crate::trace::Surroundings;
use mqttx_proto::QoS;

pub(crate) type InlineHandler = dyn Fn(&MessageRef<'_>) + Send + Sync;
pub(crate) type BlockingHandler = dyn Fn(&Message) + Send + Sync;

/// Doubles with each attempt.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);

/// Who takes a route's messages.
pub(crate) enum Consumer {
    /// Called by the dispatch itself; nothing is queued.
    Inline(Box<InlineHandler>),
    /// Called with the messages of a read together; nothing is queued.
    Lot(Box<dyn LotHandler>),
    /// A job on the blocking pool, added when there is something to do.
    Blocking { handler: Arc<BlockingHandler>, jobs: Arc<HandlerJobs> },
    /// Whoever polls: the task of an async handler, or a stream.
    Polled,
}

impl Job for Arc<Target> {
    fn run(self) {
        self.run_blocking();
    }
}

impl Target {
    /// After a push; `start`: nothing was running.
    pub(super) fn wake_consumer(self: &Arc<Self>, start: bool, waker: Option<Waker>) {
        if let Some(waker) = waker {
            waker.wake();
        }
        if start && let Consumer::Blocking { jobs, .. } = &self.consumer {
            jobs.add(Arc::clone(self));
        }
    }

    /// Handles messages until none is left or one fails; the one job of the route.
    fn run_blocking(self: Arc<Self>) {
        let Consumer::Blocking { handler, jobs } = &self.consumer else { return };
        let mut work = self.state().work.take().unwrap_or_else(Work::lending);
        while self.take(&mut work, |state| state.running = false) {
            let Some(message) = work.message() else { return };
            let result = {
                let _entered = Surroundings::of(message.properties()).enter();
                catch_unwind(AssertUnwindSafe(|| handler(message)))
            };
            let Some(backoff) = self.finish(&mut work, result) else { continue };
            self.lay_down(work);
            let (target, jobs) = (Arc::clone(&self), Arc::clone(jobs));
            // The wait costs a timer, not a thread of the pool.
            jobs.runtime().clone().spawn(async move {
                tokio::time::sleep(backoff).await;
                jobs.add(target);
            });
            return;
        }
        // Memory for the next job, which may have begun, and even have laid down its own.
        let mut state = self.state();
        if state.work.is_none() {
            state.work = Some(work);
        }
    }

    /// Takes the next message in hand, or comes to the end. A task that always finds one pauses now and then: whom its messages wake
    /// may be on its thread.
    pub(super) fn poll_take(self: &Arc<Self>, cx: &mut Context<'_>, work: &mut Work) -> Poll<bool> {
        if work.has_had_its_turn() {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let mut open = false;
        let taken = self.take(work, |state| {
            open = state.phase == Phase::Open;
            if open && !state.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                state.waker = Some(cx.waker().clone());
            }
        });
        if !taken && open {
            work.turn = Turn::default();
            return Poll::Pending;
        }
        Poll::Ready(taken)
    }

    /// Takes the next message that the route's rules let through in hand. `nothing` is called under the lock if there is none.
    fn take(self: &Arc<Self>, work: &mut Work, mut nothing: impl FnMut(&mut State)) -> bool {
        loop {
            if !self.open.load(Acquire) {
                self.stop_working(work);
            }
            if work.has_message() {
                // It comes again after a panic, and has been through the rules.
                return true;
            }
            while !work.advance() {
                if !self.restock(work, &mut nothing) {
                    return false;
                }
            }
            self.done.taken.store(work.batch.len(), Relaxed);
            if self.options().manual_ack && work.is_owed() {
                self.hold(work);
            }
            if !self.rules.are_any() || self.pass(work) {
                return true;
            }
        }
    }

    /// The route may be over: what waits counts as done, or is forgotten.
    #[cold]
    fn stop_working(&self, work: &mut Work) {
        let phase = self.state().phase;
        if phase.is_over() {
            self.done.taken.store(0, Relaxed);
        }
        match phase {
            Phase::Stopped => work.finish(),
            Phase::Abandoned => work.forget(),
            Phase::Open | Phase::Ending => {}
        }
    }

    /// Takes the next batch from the queue.
    fn restock(&self, work: &mut Work, nothing: &mut impl FnMut(&mut State)) -> bool {
        let mut state = self.state();
        state.keep(std::mem::take(&mut work.batch));
        let popped = state.queue.pop();
        let told = state.drops.due_now();
        let found = popped.is_some();
        match &popped {
            // Under the lock, so that what is counted as queued never misses them.
            Some((batch, _)) => self.done.taken.store(batch.len(), Relaxed),
            None => nothing(&mut state),
        }
        drop(state);
        if let Some((batch, unparks)) = popped {
            work.load(batch);
            // Outside the lock: what taking messages brings with it.
            unparks.tell();
        }
        self.tell_of_drops(told, None);
        found
    }

    /// The consumer does not run until its message comes again.
    fn lay_down(&self, mut work: Box<Work>) {
        let mut state = self.state();
        if state.phase.is_over() {
            drop(state);
            return self.stop_working(&mut work);
        }
        self.done.taken.store(work.batch.len() + 1, Relaxed);
        state.work = Some(work);
    }

    /// A manual route holds what is owed for the message in hand.
    fn hold(self: &Arc<Self>, work: &mut Work) {
        let sent_again = work.message().is_some_and(|message| message.qos() == QoS::AtLeastOnce);
        let Some((due, source)) = work.take_due() else { return };
        let held = due.hold(source);
        let slot = self.state().unacked.insert(held, sent_again);
        work.arm(|message| message.with_acker(Some(Acker::new(self, slot))));
        work.slot = Some(slot);
    }

    /// Leaves the message in hand as the route's rules want it; `false`: it is done.
    fn pass(&self, work: &mut Work) -> bool {
        let Some(message) = work.message() else { return false };
        match self.ask_rules(message) {
            Some(None) => true,
            Some(Some(made)) => {
                work.replace(made);
                true
            }
            None => {
                message.ack();
                work.done();
                false
            }
        }
    }

    /// `None`: the rules leave the message out; `Some(None)`: they leave it as it is.
    pub(super) fn ask_rules(&self, message: &Message) -> Option<Option<Message>> {
        match self.rules.ask(message, self.filter()) {
            Passed::Same => return Some(None),
            Passed::Changed(made) => return Some(Some(made)),
            Passed::Out => {
                self.done.filtered.fetch_add(1, Relaxed);
            }
            Passed::Failed(failure) => {
                let text: Box<dyn Any + Send> = Box::new(failure.message().to_owned());
                self.report_failure(message, 1, &*text);
            }
        }
        None
    }

    /// The handler returned or panicked; if the message is to come again, after which time.
    fn finish(&self, work: &mut Work, result: Result<(), Panic>) -> Option<Duration> {
        let Err(panic) = result else {
            self.count_handled();
            work.done();
            return None;
        };
        work.attempts += 1;
        if work.attempts > self.options().retries {
            if let Some(message) = work.message() {
                self.report_failure(message, work.attempts, &*panic);
                message.ack();
            }
            work.done();
            return None;
        }
        if work.slot.is_some_and(|slot| !self.is_unacked(slot)) {
            // Answered before the panic.
            work.done();
            return None;
        }
        Some(FIRST_BACKOFF.saturating_mul(1 << (work.attempts - 1).min(16)))
    }

    /// The one consumer of a queue counts, so that no other count is lost.
    fn count_handled(&self) {
        let handled = &self.done.handled;
        handled.store(handled.load(Relaxed) + 1, Relaxed);
    }

    pub(super) fn report_failure(&self, message: &Message, attempts: u32, panic: &dyn Any) {
        self.done.failed.fetch_add(1, Relaxed);
        message.origin().counters.record_handler_failed();
        if self.events.wants(EventName::HandlerFailed) {
            let kind = EventKind::HandlerFailed {
                route: self.filter().to_owned(),
                topic: message.topic().to_owned(),
                payload: message.payload_bytes(),
                panic: panic_text(panic),
                attempts,
            };
            self.events.emit(Some(&message.origin().name), kind);
        }
    }

    /// A stream's consumer asked for the next message.
    pub(super) fn finish_handled(&self, work: &mut Work) {
        if work.has_message() {
            self.count_handled();
            work.done();
        }
    }

    /// A stream's consumer is gone.
    pub(super) fn finish_rest(&self, work: &mut Work) {
        let abandoned = self.state().phase == Phase::Abandoned;
        self.done.taken.store(0, Relaxed);
        if abandoned { work.forget() } else { work.finish() }
    }
}

/// The task of a route with an async handler.
pub(super) async fn run_async<F, Fut>(target: Arc<Target>, handler: F)
where
    F: Fn(Message) -> Fut + Send + Sync,
    Fut: Future<Output = ()> + Send,
{
    let mut work = Box::<Work>::default();
    while std::future::poll_fn(|cx| target.poll_take(cx, &mut work)).await {
        let Some(message) = work.message().cloned() else { return };
        let surroundings = Surroundings::of(message.properties());
        let result = call_async(&handler, message, &surroundings).await;
        if let Some(backoff) = target.finish(&mut work, result) {
            target.lay_down(work);
            tokio::time::sleep(backoff).await;
            work = target.state().work.take().unwrap_or_default();
        }
    }
}

type Panic = Box<dyn Any + Send>;

/// Like `handler(message).await`, with a panic of either part as an error.
async fn call_async<F, Fut>(
    handler: &F,
    message: Message,
    surroundings: &Surroundings,
) -> Result<(), Panic>
where
    F: Fn(Message) -> Fut,
    Fut: Future<Output = ()>,
{
    let future = {
        let _entered = surroundings.enter();
        catch_unwind(AssertUnwindSafe(|| handler(message)))?
    };
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(|cx| {
        let _entered = surroundings.enter();
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
            Ok(poll) => poll.map(Ok),
            Err(panic) => Poll::Ready(Err(panic)),
        }
    })
    .await
}

fn panic_text(panic: &dyn Any) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("not text").to_owned()
}

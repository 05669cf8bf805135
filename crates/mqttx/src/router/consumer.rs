//! The other end of a route's queue: who takes the messages, and what a panic means.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use mqttx_proto::QoS;
use tokio::runtime::Handle;

use super::done::{Acker, Completion, Slot};
use super::lot::LotHandler;
use super::rules::Passed;
use super::scratch::SPARE;
use super::subscription::{Item, Unparks};
use super::target::{Phase, State, Target};
use crate::event::{EventKind, EventName};
use crate::message::{Message, MessageRef};
use crate::trace::Surroundings;

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
    /// A job on the blocking pool, started when there is something to do.
    Blocking { handler: Arc<BlockingHandler>, runtime: Handle },
    /// Whoever polls: the task of an async handler, or a stream.
    Polled,
}

/// A message that was handed to the consumer.
pub(super) struct Taken {
    pub(super) message: Message,
    /// How often the handler panicked on it.
    attempts: u32,
    pub(super) completion: Completion,
    /// Of a manual route: where the completion is held instead.
    slot: Option<Slot>,
}

impl Target {
    /// After a push; `start`: nothing was running.
    pub(super) fn wake_consumer(self: &Arc<Self>, start: bool, waker: Option<Waker>) {
        if let Some(waker) = waker {
            waker.wake();
        }
        if start && let Consumer::Blocking { runtime, .. } = &self.consumer {
            let target = Arc::clone(self);
            runtime.spawn_blocking(move || target.run_blocking());
        }
    }

    /// Handles messages until none is left or one fails; the one job of the route.
    fn run_blocking(self: Arc<Self>) {
        let Consumer::Blocking { handler, runtime } = &self.consumer else { return };
        let mut spent = None;
        while let Some(taken) = self.take(spent.take()) {
            let result = {
                let _entered = Surroundings::of(taken.message.properties()).enter();
                catch_unwind(AssertUnwindSafe(|| handler(&taken.message)))
            };
            let backoff = match self.finish(taken, result) {
                Finished::Done(message) => {
                    spent = Some(message);
                    continue;
                }
                Finished::Again(backoff) => backoff,
            };
            let (target, blocking) = (Arc::clone(&self), runtime.clone());
            // The wait costs a timer, not a thread of the pool.
            runtime.spawn(async move {
                tokio::time::sleep(backoff).await;
                blocking.spawn_blocking(move || target.run_blocking());
            });
            return;
        }
    }

    /// The next message; when there is none, the job is over. `spent` is the one before.
    fn take(self: &Arc<Self>, mut spent: Option<Message>) -> Option<Taken> {
        loop {
            let taken = self.next(spent.take(), |state| state.running = false)?;
            if let Some(taken) = self.pass(taken) {
                return Some(taken);
            }
        }
    }

    pub(super) fn poll_take(
        self: &Arc<Self>,
        cx: &mut Context<'_>,
        mut spent: Option<Message>,
    ) -> Poll<Option<Taken>> {
        loop {
            let mut open = false;
            let next = self.next(spent.take(), |state| {
                open = state.phase == Phase::Open;
                if open && !state.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                    state.waker = Some(cx.waker().clone());
                }
            });
            match next {
                Some(taken) => {
                    if let Some(taken) = self.pass(taken) {
                        return Poll::Ready(Some(taken));
                    }
                }
                None if open => return Poll::Pending,
                None => return Poll::Ready(None),
            }
        }
    }

    /// The message as the route's rules leave it; `None`: it is done.
    fn pass(&self, mut taken: Taken) -> Option<Taken> {
        // One that comes again after a panic has been through them.
        if taken.attempts > 0 || !self.rules.are_any() {
            return Some(taken);
        }
        match self.ask_rules(&taken.message) {
            Some(made) => {
                taken.message = made.unwrap_or(taken.message);
                Some(taken)
            }
            None => {
                taken.message.ack();
                taken.completion.finish();
                None
            }
        }
    }

    /// `None`: the rules leave the message out; `Some(None)`: they leave it as it is.
    pub(super) fn ask_rules(&self, message: &Message) -> Option<Option<Message>> {
        match self.rules.ask(message, self.filter()) {
            Passed::Same => return Some(None),
            Passed::Changed(made) => return Some(Some(made)),
            Passed::Out => {
                self.counts.filtered.fetch_add(1, Relaxed);
            }
            Passed::Failed(failure) => {
                let text: Box<dyn Any + Send> = Box::new(failure.message().to_owned());
                self.report_failure(message, 1, &*text);
            }
        }
        None
    }

    /// The next message. `nothing` is called under the lock if there is none.
    fn next(
        self: &Arc<Self>,
        spent: Option<Message>,
        nothing: impl FnOnce(&mut State),
    ) -> Option<Taken> {
        let mut front = self.front();
        front.spent.extend(spent.and_then(|mut spent| spent.is_spent().then_some(spent)));
        if let Some(taken) = front.taken.pop_front() {
            return Some(taken);
        }
        let mut unparks = Unparks::default();
        let mut state = self.state();
        if state.spare.len() < SPARE {
            state.spare.append(&mut front.spent);
        }
        front.spent.clear();
        let handful = if self.options().manual_ack { 1 } else { state.queue.handful() };
        for _ in 0..handful {
            let Some((item, unpark)) = state.queue.pop() else { break };
            unparks.add(unpark);
            front.taken.push_back(self.hold(&mut state, item));
        }
        let told = state.drops.due_now();
        let next = front.taken.pop_front();
        if next.is_none() {
            nothing(&mut state);
        }
        drop((state, front));
        // Outside the locks: what taking messages brings with it.
        unparks.tell();
        self.tell_of_drops(told, None);
        next
    }

    /// A message leaves the queue. A manual route holds what is owed for it.
    fn hold(self: &Arc<Self>, state: &mut State, item: Item) -> Taken {
        let (mut message, mut completion, mut slot) = (item.message, item.completion, None);
        if self.options().manual_ack && !completion.is_nothing() {
            let held = std::mem::replace(&mut completion, Completion::Nothing);
            let place = state.unacked.insert(held, message.qos() == QoS::AtLeastOnce);
            message = message.with_acker(Some(Acker::new(self, place)));
            slot = Some(place);
        }
        Taken { message, attempts: 0, completion, slot }
    }

    /// The handler returned or panicked.
    fn finish(&self, mut taken: Taken, result: Result<(), Panic>) -> Finished {
        let Err(panic) = result else {
            self.counts.handled.fetch_add(1, Relaxed);
            taken.completion.finish();
            return Finished::Done(taken.message);
        };
        taken.attempts += 1;
        if taken.attempts > self.options().retries {
            self.report_failure(&taken.message, taken.attempts, &*panic);
            taken.message.ack();
            taken.completion.finish();
            return Finished::Done(taken.message);
        }
        let answered = taken.slot.is_some_and(|slot| !self.is_unacked(slot));
        let backoff = FIRST_BACKOFF.saturating_mul(1 << (taken.attempts - 1).min(16));
        let mut front = self.front();
        if self.state().phase == Phase::Stopped || answered {
            drop(front);
            taken.completion.finish();
            return Finished::Done(taken.message);
        }
        front.taken.push_front(taken);
        Finished::Again(backoff)
    }

    pub(super) fn report_failure(&self, message: &Message, attempts: u32, panic: &dyn Any) {
        self.counts.failed.fetch_add(1, Relaxed);
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
    pub(super) fn finish_handled(&self, taken: Completion) {
        self.counts.handled.fetch_add(1, Relaxed);
        taken.finish();
    }
}

/// What became of a message that a handler had.
enum Finished {
    Done(Message),
    /// It is the next one again, after that time.
    Again(Duration),
}

/// The task of a route with an async handler.
pub(super) async fn run_async<F, Fut>(target: Arc<Target>, handler: F)
where
    F: Fn(Message) -> Fut + Send + Sync,
    Fut: Future<Output = ()> + Send,
{
    let mut spent = None;
    while let Some(taken) = std::future::poll_fn(|cx| target.poll_take(cx, spent.take())).await {
        let surroundings = Surroundings::of(taken.message.properties());
        let result = call_async(&handler, taken.message.clone(), &surroundings).await;
        match target.finish(taken, result) {
            Finished::Done(message) => spent = Some(message),
            Finished::Again(backoff) => tokio::time::sleep(backoff).await,
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

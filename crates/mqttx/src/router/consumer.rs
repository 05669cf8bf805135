//! The other end of a route's queue: who takes the messages, and what a panic means.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use mqttx_proto::QoS;
use tokio::runtime::Handle;

use super::done::{Acker, Completion, Slot};
use super::target::{Phase, State, Target};
use crate::event::{EventKind, EventName};
use crate::message::{Message, MessageRef};

pub(crate) type InlineHandler = dyn Fn(&MessageRef<'_>) + Send + Sync;
pub(crate) type BlockingHandler = dyn Fn(&Message) + Send + Sync;

/// Doubles with each attempt.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);

/// Who takes a route's messages.
pub(crate) enum Consumer {
    /// Called by the dispatch itself; nothing is queued.
    Inline(Box<InlineHandler>),
    /// A job on the blocking pool, started when there is something to do.
    Blocking { handler: Arc<BlockingHandler>, runtime: Handle },
    /// The task of an async handler.
    Task,
    /// Whoever asks for messages, and has them from then on.
    Stream,
}

impl Consumer {
    /// Whether the messages that were handled come back to the route.
    pub(super) fn is_handler(&self) -> bool {
        matches!(self, Self::Blocking { .. } | Self::Task)
    }
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
    /// Something was queued, and nothing was running.
    pub(super) fn start_job(self: Arc<Self>) {
        if let Consumer::Blocking { runtime, .. } = &self.consumer {
            runtime.clone().spawn_blocking(move || self.run_blocking());
        }
    }

    /// Handles messages until none is left or one fails; the one job of the route.
    fn run_blocking(self: Arc<Self>) {
        let Consumer::Blocking { handler, runtime } = &self.consumer else { return };
        let mut spare = None;
        while let Some(taken) = self.take(spare.take()) {
            let result = catch_unwind(AssertUnwindSafe(|| handler(&taken.message)));
            let backoff = match self.finish(taken, result) {
                Finished::Done(storage) => {
                    spare = storage;
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

    /// The next message; when there is none, the job is over. `spare`: the storage of the one before.
    fn take(self: &Arc<Self>, spare: Option<BytesMut>) -> Option<Taken> {
        let mut state = self.state();
        spare.into_iter().for_each(|spare| state.spares.give_back(spare));
        let next = self.next(&mut state);
        if next.is_none() {
            state.running = false;
        }
        drop(state);
        next.map(|next| self.taken(next))
    }

    /// As `take`; `spare` is taken out.
    pub(super) fn poll_take(
        self: &Arc<Self>,
        cx: &mut Context<'_>,
        spare: &mut Option<BytesMut>,
    ) -> Poll<Option<Taken>> {
        let mut state = self.state();
        spare.take().into_iter().for_each(|spare| state.spares.give_back(spare));
        if let Some(next) = self.next(&mut state) {
            drop(state);
            return Poll::Ready(Some(self.taken(next)));
        }
        if state.phase != Phase::Open {
            return Poll::Ready(None);
        }
        if !state.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            state.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    fn next(self: &Arc<Self>, state: &mut State) -> Option<Next> {
        if let Some(taken) = state.retry.take() {
            return Some(Next { taken, unpark: None, told: None });
        }
        let (item, unpark) = state.queue.pop()?;
        let (mut message, mut completion, mut slot) = (item.message, item.completion, None);
        if self.options().manual_ack && !completion.is_nothing() {
            let held = std::mem::replace(&mut completion, Completion::Nothing);
            let place = state.unacked.insert(held, message.qos() == QoS::AtLeastOnce);
            message = message.with_acker(Some(Acker::new(self, place)));
            slot = Some(place);
        }
        let taken = Taken { message, attempts: 0, completion, slot };
        Some(Next { taken, unpark, told: state.drops.due_now() })
    }

    /// Outside the lock: the rest of what taking a message brings with it.
    fn taken(&self, next: Next) -> Taken {
        if let Some(unpark) = next.unpark {
            unpark.tell();
        }
        self.tell_of_drops(next.told, None);
        next.taken
    }

    /// The handler returned or panicked.
    fn finish(&self, mut taken: Taken, result: Result<(), Panic>) -> Finished {
        let Err(panic) = result else {
            self.counts.handled.fetch_add(1, Relaxed);
            taken.completion.finish();
            return Finished::Done(taken.message.into_storage());
        };
        taken.attempts += 1;
        if taken.attempts > self.options().retries {
            self.report_failure(&taken.message, taken.attempts, &*panic);
            taken.message.ack();
            taken.completion.finish();
            return Finished::Done(None);
        }
        let answered = taken.slot.is_some_and(|slot| !self.is_unacked(slot));
        let backoff = FIRST_BACKOFF.saturating_mul(1 << (taken.attempts - 1).min(16));
        let mut state = self.state();
        if state.phase == Phase::Stopped || answered {
            drop(state);
            taken.completion.finish();
            return Finished::Done(None);
        }
        state.retry = Some(taken);
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

/// What became of a message that was handled.
enum Finished {
    /// It is done; its storage, if nobody kept it.
    Done(Option<BytesMut>),
    /// It is to be taken again after that time.
    Again(Duration),
}

struct Next {
    taken: Taken,
    unpark: Option<super::subscription::Unpark>,
    told: Option<(crate::metrics::DropReason, u64)>,
}

/// The task of a route with an async handler.
pub(super) async fn run_async<F, Fut>(target: Arc<Target>, handler: F)
where
    F: Fn(Message) -> Fut + Send + Sync,
    Fut: Future<Output = ()> + Send,
{
    let mut spare = None;
    while let Some(taken) = std::future::poll_fn(|cx| target.poll_take(cx, &mut spare)).await {
        let result = call_async(&handler, taken.message.clone()).await;
        match target.finish(taken, result) {
            Finished::Done(storage) => spare = storage,
            Finished::Again(backoff) => tokio::time::sleep(backoff).await,
        }
    }
}

type Panic = Box<dyn Any + Send>;

/// Like `handler(message).await`, with a panic of either part as an error.
async fn call_async<F, Fut>(handler: &F, message: Message) -> Result<(), Panic>
where
    F: Fn(Message) -> Fut,
    Fut: Future<Output = ()>,
{
    let future = catch_unwind(AssertUnwindSafe(|| handler(message)))?;
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(poll) => poll.map(Ok),
        Err(panic) => Poll::Ready(Err(panic)),
    })
    .await
}

fn panic_text(panic: &dyn Any) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("not text").to_owned()
}

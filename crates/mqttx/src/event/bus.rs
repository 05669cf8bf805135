//! The bus: bounded queues, one per subscriber.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::SystemTime;

use futures_core::Stream;
use tokio::runtime::Handle;

use super::{Event, EventFilter, EventKind, EventName};

/// Hands events to subscribers. Emitting takes two short locks, never blocks and runs no user
/// code, so it is allowed anywhere, drivers included.
#[derive(Debug)]
pub(crate) struct EventBus {
    capacity: usize,
    wanted: AtomicU64,
    subscribers: Mutex<Vec<Arc<Mailbox>>>,
}

impl EventBus {
    /// A bus that keeps up to `capacity` events (at least one) for each subscriber.
    pub(crate) fn new(capacity: usize) -> Arc<Self> {
        Arc::new(Self {
            capacity: capacity.max(1),
            wanted: AtomicU64::new(0),
            subscribers: Mutex::new(Vec::new()),
        })
    }

    /// Whether anybody listens: lets a caller skip building an event with owned data.
    pub(crate) fn wants(&self, name: EventName) -> bool {
        self.wanted.load(Ordering::Relaxed) & name.bit() != 0
    }

    pub(crate) fn emit(&self, session: Option<&Arc<str>>, kind: EventKind) {
        tracing::debug!(session = session.map(|s| &**s), event = %kind.name(), data = ?kind);
        if !self.wants(kind.name()) {
            return;
        }
        let event =
            Arc::new(Event { kind, session: session.cloned(), timestamp: SystemTime::now() });
        let mut wakers = Vec::new();
        for mailbox in lock(&self.subscribers).iter() {
            if mailbox.filter.wants(&event) {
                wakers.extend(mailbox.push(&event, self.capacity));
            }
        }
        // Outside the lock: a waker may start the handler that subscribes again.
        for waker in wakers {
            waker.wake();
        }
    }

    /// A stream of the events from now on.
    pub(crate) fn subscribe(self: &Arc<Self>, filter: EventFilter) -> EventStream {
        EventStream { mailbox: self.add(filter), bus: Arc::clone(self) }
    }

    /// Calls `handler` on the blocking pool of `runtime`, one event at a time and in order.
    pub(crate) fn on_event<F>(
        self: &Arc<Self>,
        filter: EventFilter,
        runtime: &Handle,
        handler: F,
    ) -> EventHandler
    where
        F: Fn(&Event) + Send + Sync + 'static,
    {
        let mut stream = self.subscribe(filter);
        let guard = self.guard(&stream.mailbox);
        let handler = Arc::new(handler);
        runtime.spawn(async move {
            while let Some(first) = stream.next().await {
                let (handler, mailbox) = (Arc::clone(&handler), Arc::clone(&stream.mailbox));
                // One job takes all that is waiting; the task only sleeps between bursts.
                let burst = tokio::task::spawn_blocking(move || {
                    let mut next = Some(first);
                    while let Some(event) = next {
                        call(&*handler, &event);
                        next = mailbox.try_next();
                    }
                });
                if burst.await.is_err() {
                    break; // The runtime shuts down.
                }
            }
        });
        guard
    }

    fn guard(self: &Arc<Self>, mailbox: &Arc<Mailbox>) -> EventHandler {
        EventHandler { mailbox: Arc::clone(mailbox), bus: Arc::clone(self), detached: false }
    }

    fn add(&self, filter: EventFilter) -> Arc<Mailbox> {
        let mailbox = Arc::new(Mailbox { filter, state: Mutex::default() });
        let mut subscribers = lock(&self.subscribers);
        subscribers.push(Arc::clone(&mailbox));
        self.update_wanted(&subscribers);
        mailbox
    }

    fn remove(&self, mailbox: &Arc<Mailbox>) {
        let mut subscribers = lock(&self.subscribers);
        subscribers.retain(|m| !Arc::ptr_eq(m, mailbox));
        self.update_wanted(&subscribers);
    }

    fn update_wanted(&self, subscribers: &[Arc<Mailbox>]) {
        let wanted = subscribers.iter().fold(0, |all, mailbox| all | mailbox.filter.names);
        self.wanted.store(wanted, Ordering::Relaxed);
    }

    /// Ends every subscription once its waiting events are taken.
    pub(crate) fn close(&self) {
        let subscribers = std::mem::take(&mut *lock(&self.subscribers));
        self.wanted.store(0, Ordering::Relaxed);
        for mailbox in subscribers {
            mailbox.close();
        }
    }
}

/// One subscriber's queue.
#[derive(Debug)]
struct Mailbox {
    filter: EventFilter,
    state: Mutex<MailboxState>,
}

#[derive(Debug, Default)]
struct MailboxState {
    events: VecDeque<Arc<Event>>,
    missed: u64,
    waker: Option<Waker>,
    closed: bool,
}

impl Mailbox {
    fn push(&self, event: &Arc<Event>, capacity: usize) -> Option<Waker> {
        let mut state = lock(&self.state);
        if state.closed {
            return None;
        }
        if state.events.len() >= capacity {
            state.events.pop_front();
            state.missed += 1;
        }
        state.events.push_back(Arc::clone(event));
        state.waker.take()
    }

    fn try_next(&self) -> Option<Arc<Event>> {
        lock(&self.state).pop()
    }

    fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Option<Arc<Event>>> {
        let mut state = lock(&self.state);
        match state.pop() {
            Some(event) => Poll::Ready(Some(event)),
            None if state.closed => Poll::Ready(None),
            None => {
                state.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn close(&self) {
        let waker = {
            let mut state = lock(&self.state);
            state.closed = true;
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl MailboxState {
    /// Tells of lost events before the first one that was kept.
    fn pop(&mut self) -> Option<Arc<Event>> {
        if self.missed == 0 {
            return self.events.pop_front();
        }
        let missed = std::mem::take(&mut self.missed);
        let kind = EventKind::EventsLagged { missed };
        Some(Arc::new(Event { kind, session: None, timestamp: SystemTime::now() }))
    }
}

/// The events of a manager from the moment of the call, in order.
///
/// The queue is bounded ([`event_capacity`](crate::ManagerBuilder::event_capacity)); a reader
/// that is too slow loses the oldest events and gets an [`EventKind::EventsLagged`] in their
/// place. It ends when the manager has shut down.
#[derive(Debug)]
pub struct EventStream {
    mailbox: Arc<Mailbox>,
    bus: Arc<EventBus>,
}

impl EventStream {
    /// The next event; `None` once the manager has shut down. Cancel safe.
    pub async fn next(&mut self) -> Option<Arc<Event>> {
        std::future::poll_fn(|cx| self.mailbox.poll_next(cx)).await
    }

    /// The next event if one is waiting.
    pub fn try_next(&mut self) -> Option<Arc<Event>> {
        self.mailbox.try_next()
    }
}

impl Stream for EventStream {
    type Item = Arc<Event>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.mailbox.poll_next(cx)
    }
}

impl Drop for EventStream {
    fn drop(&mut self) {
        self.bus.remove(&self.mailbox);
    }
}

/// Keeps an event handler registered; dropping it ends the calls.
#[must_use = "dropping the guard removes the handler; `detach` keeps it"]
#[derive(Debug)]
pub struct EventHandler {
    mailbox: Arc<Mailbox>,
    bus: Arc<EventBus>,
    detached: bool,
}

impl EventHandler {
    /// Ends the calls, except for one that is running. Events still waiting are dropped.
    pub fn stop(self) {
        drop(self);
    }

    /// Keeps the handler for as long as the manager lives.
    pub fn detach(mut self) {
        self.detached = true;
    }
}

impl Drop for EventHandler {
    fn drop(&mut self) {
        if !self.detached {
            self.bus.remove(&self.mailbox);
            lock(&self.mailbox.state).events.clear();
            self.mailbox.close();
        }
    }
}

/// A handler that panics loses that event only.
fn call<F: Fn(&Event)>(handler: &F, event: &Event) {
    if catch_unwind(AssertUnwindSafe(|| handler(event))).is_err() {
        tracing::error!(event = %event.name(), "an event handler panicked");
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

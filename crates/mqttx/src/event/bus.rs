//! The bus: bounded queues, one per subscriber.

use std::collections::VecDeque;
use std::future::Future;
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
    subscribers: Mutex<Subscribers>,
}

#[derive(Debug, Default)]
struct Subscribers {
    mailboxes: Vec<Arc<Mailbox>>,
    closed: bool,
}

impl EventBus {
    /// A bus that keeps up to `capacity` events (at least one) for each subscriber.
    pub(crate) fn new(capacity: usize) -> Arc<Self> {
        Arc::new(Self {
            capacity: capacity.max(1),
            wanted: AtomicU64::new(0),
            subscribers: Mutex::default(),
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
        for mailbox in &lock(&self.subscribers).mailboxes {
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

    /// Awaits `handler`, one event at a time and in order, in a task of `runtime`.
    pub(crate) fn on_event_async<F, Fut>(
        self: &Arc<Self>,
        filter: EventFilter,
        runtime: &Handle,
        handler: F,
    ) -> EventHandler
    where
        F: Fn(Arc<Event>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let mut stream = self.subscribe(filter);
        let guard = self.guard(&stream.mailbox);
        runtime.spawn(async move {
            while let Some(event) = stream.next().await {
                let name = event.name();
                let job = catch_unwind(AssertUnwindSafe(|| handler(event)));
                let failed = match job {
                    // A task of its own, so that a panic ends that event only.
                    Ok(job) => tokio::spawn(job).await.is_err_and(|e| e.is_panic()),
                    Err(_) => true,
                };
                if failed {
                    tracing::error!(event = %name, "an event handler panicked");
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
        if subscribers.closed {
            mailbox.close();
        } else {
            subscribers.mailboxes.push(Arc::clone(&mailbox));
            self.update_wanted(&subscribers.mailboxes);
        }
        drop(subscribers);
        mailbox
    }

    fn remove(&self, mailbox: &Arc<Mailbox>) {
        let mut subscribers = lock(&self.subscribers);
        subscribers.mailboxes.retain(|m| !Arc::ptr_eq(m, mailbox));
        self.update_wanted(&subscribers.mailboxes);
    }

    fn update_wanted(&self, subscribers: &[Arc<Mailbox>]) {
        let wanted = subscribers.iter().fold(0, |all, mailbox| all | mailbox.filter.names);
        self.wanted.store(wanted, Ordering::Relaxed);
    }

    /// Ends every subscription once its waiting events are taken.
    pub(crate) fn close(&self) {
        let mailboxes = {
            let mut subscribers = lock(&self.subscribers);
            subscribers.closed = true;
            std::mem::take(&mut subscribers.mailboxes)
        };
        self.wanted.store(0, Ordering::Relaxed);
        for mailbox in mailboxes {
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    fn name(text: &str) -> Arc<str> {
        text.into()
    }

    fn names(stream: &mut EventStream) -> Vec<String> {
        std::iter::from_fn(|| stream.try_next())
            .map(|event| match &event.kind {
                EventKind::EventsLagged { missed } => format!("missed {missed}"),
                kind => format!("{} {}", kind.name(), event.session.as_deref().unwrap_or("-")),
            })
            .collect()
    }

    #[tokio::test]
    async fn a_slow_subscriber_loses_the_oldest_and_learns_how_many() {
        let bus = EventBus::new(2);
        let (mut slow, mut fast) =
            (bus.subscribe(EventFilter::all()), bus.subscribe(EventFilter::all()));
        for session in ["a", "b", "c", "d"] {
            bus.emit(Some(&name(session)), EventKind::SessionAdded);
            assert_eq!(names(&mut fast), [format!("session_added {session}")]);
        }
        assert_eq!(names(&mut slow), ["missed 2", "session_added c", "session_added d"]);
        bus.emit(None, EventKind::SessionAdded);
        assert_eq!(names(&mut slow), ["session_added -"], "told once");
    }

    #[tokio::test]
    async fn a_filter_takes_names_and_a_session() {
        let bus = EventBus::new(8);
        let mut stream = bus.subscribe(EventFilter::from(EventName::SessionAdded).session("plant"));
        bus.emit(Some(&name("plant")), EventKind::SessionRemoved { unacknowledged: 0 });
        bus.emit(Some(&name("cloud")), EventKind::SessionAdded);
        bus.emit(Some(&name("plant")), EventKind::SessionAdded);
        assert_eq!(names(&mut stream), ["session_added plant"]);
        assert!(bus.wants(EventName::SessionAdded) && !bus.wants(EventName::SessionRemoved));
        drop(stream);
        assert!(!bus.wants(EventName::SessionAdded), "nobody is left who wants it");
    }

    #[tokio::test]
    async fn a_handler_that_blocks_or_panics_delays_neither_the_bus_nor_others() {
        let bus = EventBus::new(8);
        let (release, gate) = mpsc::channel::<()>();
        let (seen, mut handled) = tokio::sync::mpsc::unbounded_channel();
        let gate = Mutex::new(gate);
        let _handler = bus.on_event(EventFilter::all(), &Handle::current(), move |event| {
            gate.lock().unwrap().recv().unwrap();
            seen.send(event.session.clone()).unwrap();
            assert_ne!(event.session.as_deref(), Some("a"), "a panic ends one call only");
        });
        let mut other = bus.subscribe(EventFilter::all());
        for session in ["a", "b"] {
            bus.emit(Some(&name(session)), EventKind::SessionAdded);
            assert_eq!(other.next().await.unwrap().session.as_deref(), Some(session));
        }
        for session in ["a", "b"] {
            release.send(()).unwrap();
            assert_eq!(handled.recv().await.unwrap().as_deref(), Some(session));
        }
    }

    #[tokio::test]
    async fn an_async_handler_gets_events_in_order_and_survives_a_panic() {
        let bus = EventBus::new(8);
        let (seen, mut handled) = tokio::sync::mpsc::unbounded_channel();
        let _handler = bus.on_event_async(EventFilter::all(), &Handle::current(), move |event| {
            let seen = seen.clone();
            async move {
                tokio::task::yield_now().await;
                seen.send(event.session.clone()).unwrap();
                assert_ne!(event.session.as_deref(), Some("a"));
            }
        });
        for session in ["a", "b", "c"] {
            bus.emit(Some(&name(session)), EventKind::SessionAdded);
        }
        for session in ["a", "b", "c"] {
            assert_eq!(handled.recv().await.unwrap().as_deref(), Some(session));
        }
    }

    #[tokio::test]
    async fn dropping_the_guard_ends_the_calls() {
        let bus = EventBus::new(8);
        let (seen, mut handled) = tokio::sync::mpsc::unbounded_channel();
        let handler = bus.on_event(EventFilter::all(), &Handle::current(), move |event| {
            seen.send(event.session.clone()).unwrap();
        });
        bus.emit(None, EventKind::SessionAdded);
        assert!(handled.recv().await.is_some());
        handler.stop();
        bus.emit(None, EventKind::SessionAdded);
        assert!(handled.recv().await.is_none(), "the handler is gone with its sender");
    }

    #[tokio::test]
    async fn closing_ends_streams_after_their_last_event() {
        let bus = EventBus::new(8);
        let mut stream = bus.subscribe(EventFilter::all());
        bus.emit(None, EventKind::SessionAdded);
        bus.close();
        bus.emit(None, EventKind::SessionAdded);
        assert!(stream.next().await.is_some());
        assert!(stream.next().await.is_none());
        assert!(bus.subscribe(EventFilter::all()).next().await.is_none(), "late subscribers too");
    }
}

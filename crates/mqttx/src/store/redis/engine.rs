//! The thread of a store, and who gets which request.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot, watch};

use super::address::{Host, Kind};
use super::connect::SlotMap;
use super::keys::Keys;
use super::log::{Cell, Inner};
use super::opened::Parts;
use super::settings::{OnStoreError, Settings};
use super::worker::{Inbox, Worker};
use crate::error::Error;
use crate::metrics::Histogram;
use crate::store::StoreMetrics;

/// What all clones of a store, all its logs and its thread share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) settings: Settings,
    state: Mutex<State>,
    /// Logs and openings that have something to do.
    busy: watch::Sender<usize>,
    pub(super) counters: Counters,
}

/// What [`StoreMetrics`] is made of.
#[derive(Debug)]
pub(super) struct Counters {
    pub(super) records: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) errors: AtomicU64,
    pub(super) answer_time: Histogram,
    pub(super) group_records: Histogram,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            records: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            answer_time: Histogram::of_latency(),
            group_records: Histogram::of_counts(),
        }
    }
}

#[derive(Debug, Default)]
struct State {
    /// While the thread runs.
    engine: Option<Engine>,
    /// The logs that are open.
    cells: Vec<Weak<Cell>>,
    /// Those that were dropped, and may have something to do.
    draining: Vec<Arc<Cell>>,
    /// Nobody can open a log any more.
    abandoned: bool,
    /// Why a server cannot be used.
    trouble: Option<Error>,
    slots: SlotMap,
    inboxes: HashMap<Host, Arc<Inbox>>,
}

#[derive(Debug)]
struct Engine {
    handle: Handle,
    stop: Arc<Notify>,
}

/// Something that a worker has to do.
#[derive(Debug)]
pub(super) enum Request {
    Open(Box<OpenRequest>),
    /// A log with records, a fetch, or a time to live to refresh.
    Log(Arc<Cell>),
}

/// A session to be taken over.
#[derive(Debug)]
pub(super) struct OpenRequest {
    pub(super) keys: Keys,
    pub(super) answer: oneshot::Sender<Result<Parts, Error>>,
}

/// One clone of the store or one log: the thread ends when there is none, and nothing left to do.
#[derive(Debug)]
pub(super) struct Lease(Arc<Shared>);

impl Lease {
    pub(super) fn new(settings: Settings) -> Self {
        let busy = watch::Sender::new(0);
        let counters = Counters::default();
        Self(Arc::new(Shared { settings, state: Mutex::default(), busy, counters }))
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.0
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.lock().abandoned = true;
        self.0.stop_when_abandoned();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a session over.
    pub(super) async fn open(self: &Arc<Self>, session: &str) -> Result<(Parts, Arc<Cell>), Error> {
        let keys = Keys::new(&self.settings.prefix, session);
        // Counted before the thread is looked for: it does not end meanwhile.
        let _open = Counted::new(self);
        self.start()?;
        let mut busy = self.busy.subscribe();
        while self.is_draining(&keys) {
            let _ = busy.changed().await;
        }
        let (answer, answered) = oneshot::channel();
        let request = OpenRequest { keys: keys.clone(), answer };
        self.dispatch(Request::Open(Box::new(request)));
        let ended = |_| Err(Error::store("the thread of the Redis store has ended"));
        let parts =
            answered.await.unwrap_or_else(ended).map_err(|error| error.with_session(session))?;
        let cell = Arc::new(Cell::new(session.to_owned(), keys, parts.owner.clone()));
        self.lock().cells.push(Arc::downgrade(&cell));
        Ok((parts, cell))
    }

    /// Whether an earlier log of the session was dropped, and is not through: its records come before the opening.
    fn is_draining(&self, keys: &Keys) -> bool {
        let draining = self.lock().draining.clone();
        let (busy, through): (Vec<_>, Vec<_>) =
            draining.into_iter().partition(|cell| cell.lock().has_work());
        self.lock().draining.retain(|cell| !through.iter().any(|other| Arc::ptr_eq(cell, other)));
        busy.iter().any(|cell| cell.keys == *keys)
    }

    /// The log was dropped.
    pub(super) fn forget(&self, cell: &Arc<Cell>) {
        let busy = cell.lock().has_work();
        let mut state = self.lock();
        state.cells.retain(|other| !std::ptr::eq(other.as_ptr(), Arc::as_ptr(cell)));
        if busy {
            state.draining.push(Arc::clone(cell));
        }
    }

    /// The logs that are open.
    fn cells(&self) -> Vec<Arc<Cell>> {
        self.lock().cells.iter().filter_map(Weak::upgrade).collect()
    }

    pub(super) fn metrics(&self) -> StoreMetrics {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut metrics = StoreMetrics::new("redis");
        metrics.available = self.trouble().is_none();
        metrics.full = self.cells().iter().any(|cell| cell.lock().full);
        metrics.records = get(&self.counters.records);
        metrics.written_bytes = get(&self.counters.bytes);
        metrics.errors = get(&self.counters.errors);
        metrics.sync_seconds = Some(self.counters.answer_time.snapshot());
        metrics.group_records = Some(self.counters.group_records.snapshot());
        metrics
    }

    pub(super) fn trouble(&self) -> Option<Error> {
        self.lock().trouble.clone()
    }

    pub(super) fn set_trouble(&self, trouble: Option<Error>) {
        self.lock().trouble = trouble;
    }

    /// Tells all logs whose requests go to `host` that it is away. They ask for it until it is back.
    pub(super) fn tell_unavailable(self: &Arc<Self>, host: &Host, error: &Error) {
        for cell in self.cells().into_iter().filter(|cell| self.route(cell.keys.slot()) == *host) {
            self.change(&cell, |inner| {
                inner.set_unavailable(Some(error));
                inner.touch = true;
            });
        }
    }

    /// Ends all logs whose requests go to `host`.
    pub(super) fn fail_all(&self, host: &Host, error: &Error) {
        for cell in self.cells().into_iter().filter(|cell| self.route(cell.keys.slot()) == *host) {
            cell.change(self, |inner| inner.fail(error.clone()));
        }
    }

    /// Changes what a log has to do, and lets a worker know unless it knows already.
    pub(super) fn change(self: &Arc<Self>, cell: &Arc<Cell>, change: impl FnOnce(&mut Inner)) {
        let wanted = cell.change(self, |inner| {
            change(inner);
            inner.take_turn()
        });
        if wanted {
            self.dispatch(Request::Log(Arc::clone(cell)));
        }
    }

    /// Gives a request to the worker whose node has the session.
    pub(super) fn dispatch(self: &Arc<Self>, request: Request) {
        let host = self.host_of(&request);
        let mut state = self.lock();
        let state = &mut *state;
        let Some(engine) = &state.engine else { return };
        let inbox = state.inboxes.entry(host.clone()).or_insert_with(|| {
            let inbox = Arc::new(Inbox::default());
            engine.handle.spawn(Worker::new(Arc::clone(self), host, Arc::clone(&inbox)).run());
            inbox
        });
        inbox.put(request);
    }

    /// Gives it to a worker after a while.
    pub(super) fn dispatch_later(self: &Arc<Self>, request: Request, delay: Duration) {
        let shared = Arc::clone(self);
        self.later(delay, move || shared.dispatch(request));
    }

    pub(super) fn later(&self, delay: Duration, work: impl FnOnce() + Send + 'static) {
        if let Some(engine) = &self.lock().engine {
            engine.handle.spawn(async move {
                tokio::time::sleep(delay).await;
                work();
            });
        }
    }

    /// Where a request goes.
    pub(super) fn host_of(&self, request: &Request) -> Host {
        self.route(match request {
            Request::Log(cell) => cell.keys.slot(),
            Request::Open(open) => open.keys.slot(),
        })
    }

    /// The node of a slot, as far as it is known; without a cluster there is one worker, under the first address.
    fn route(&self, slot: u16) -> Host {
        let state = self.lock();
        state.slots.node(slot).unwrap_or(&self.settings.address.hosts[0]).clone()
    }

    /// What the cluster says about its slots.
    pub(super) fn set_slots(&self, slots: SlotMap) {
        self.lock().slots = slots;
    }

    /// All nodes that are known.
    pub(super) fn hosts(&self) -> Vec<Host> {
        let mut hosts = self.lock().slots.nodes();
        for host in &self.settings.address.hosts {
            if !hosts.contains(host) {
                hosts.push(host.clone());
            }
        }
        hosts
    }

    pub(super) fn count(&self, more: bool) {
        self.busy.send_modify(|busy| if more { *busy += 1 } else { *busy -= 1 });
        if !more {
            self.stop_when_abandoned();
        }
    }

    fn stop_when_abandoned(&self) {
        let mut state = self.lock();
        if state.abandoned && *self.busy.borrow() == 0 {
            state.stop();
        }
    }

    /// Waits until there is nothing to do; without open logs, the thread ends.
    pub(super) async fn close(&self) {
        let mut busy = self.busy.subscribe();
        let _ = busy.wait_for(|busy| *busy == 0).await;
        let mut state = self.lock();
        if state.cells.is_empty() && *self.busy.borrow() == 0 {
            state.stop();
        }
    }

    fn start(self: &Arc<Self>) -> Result<(), Error> {
        let mut state = self.lock();
        if state.engine.is_some() {
            return Ok(());
        }
        let failed = |error: std::io::Error| {
            Error::store("the Redis store cannot start its thread").with_source(error)
        };
        // A thread of its own: what was submitted is sent also when the runtime of the sessions is busy, or ends.
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let stop = Arc::new(Notify::new());
        let handle = runtime.handle().clone();
        state.engine = Some(Engine { handle: handle.clone(), stop: Arc::clone(&stop) });
        let work = move || runtime.block_on(stop.notified());
        if let Err(error) = std::thread::Builder::new().name("mqttx-redis".to_owned()).spawn(work) {
            state.engine = None;
            return Err(failed(error));
        }
        if let Some(ttl) = self.settings.ttl {
            handle.spawn(refresh(Arc::downgrade(self), ttl / 3));
        }
        Ok(())
    }

    pub(super) fn fails_when_away(&self) -> bool {
        self.settings.on_error == OnStoreError::Fail
    }

    pub(super) fn is_cluster(&self) -> bool {
        self.settings.address.kind == Kind::Cluster
    }
}

impl State {
    fn stop(&mut self) {
        if let Some(engine) = self.engine.take() {
            engine.stop.notify_one();
        }
        self.inboxes.clear();
        self.trouble = None;
    }
}

/// An opening that is not answered, also when nobody waits for it any more.
struct Counted<'a>(&'a Shared);

impl<'a> Counted<'a> {
    fn new(shared: &'a Shared) -> Self {
        shared.count(true);
        Self(shared)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.count(false);
    }
}

/// Touches every open log from time to time, so that a quiet one does not reach its time to live.
async fn refresh(shared: Weak<Shared>, period: Duration) {
    loop {
        tokio::time::sleep(period).await;
        let Some(shared) = shared.upgrade() else { return };
        for cell in shared.cells() {
            shared.change(&cell, |inner| inner.touch = true);
        }
    }
}

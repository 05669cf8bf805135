//! A store that does only what the test lets it do.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use mqttx::proto::{Record, RecordBatch, Sequence};
use mqttx::store::{
    Fetch, Fetched, FoldedState, Lane, Log, Opened, Opening, Progress, Store, Update,
};
use mqttx::{Error, OnFull};
use tokio::sync::watch;

/// Keeps one session. Opens when it is let, makes durable what it is let, and fails when it is told.
#[derive(Clone, Debug)]
pub(crate) struct ManualStore {
    inner: Arc<Mutex<Inner>>,
    open: watch::Sender<bool>,
    on_full: OnFull,
    spills: bool,
}

#[derive(Debug, Default)]
struct Inner {
    /// What was submitted by all owners.
    log: RecordBatch,
    submitted: u64,
    synced: u64,
    told: u64,
    automatic: bool,
    full: Option<bool>,
    failure: Option<Error>,
    fetch: Option<Fetch>,
    waker: Option<Waker>,
    opened: usize,
    trouble: Option<Error>,
    /// How often somebody asked for it.
    asked: usize,
}

impl ManualStore {
    /// Open, and durable at once.
    pub(crate) fn new() -> Self {
        let inner = Inner { automatic: true, ..Inner::default() };
        Self {
            inner: Arc::new(Mutex::new(inner)),
            open: watch::Sender::new(true),
            on_full: OnFull::Block,
            spills: false,
        }
    }

    /// Closed until [`open_now`](Self::open_now).
    pub(crate) fn closed() -> Self {
        let store = Self::new();
        store.open.send_replace(false);
        store
    }

    pub(crate) fn when_full(mut self, on_full: OnFull) -> Self {
        self.on_full = on_full;
        self
    }

    pub(crate) fn spilling(mut self) -> Self {
        self.spills = true;
        self
    }

    pub(crate) fn open_now(&self) {
        self.open.send_replace(true);
    }

    /// From now on nothing becomes durable, as on a disk that hangs.
    pub(crate) fn stall(&self) {
        self.lock().automatic = false;
    }

    /// The disk goes on.
    pub(crate) fn go_on(&self) {
        self.change(|inner| {
            inner.automatic = true;
            inner.synced = inner.submitted;
        });
    }

    pub(crate) fn set_full(&self, full: bool) {
        self.change(|inner| inner.full = Some(full));
    }

    pub(crate) fn fail(&self, error: Error) {
        self.change(|inner| inner.failure = Some(error));
    }

    /// Why it does not open.
    pub(crate) fn set_trouble(&self, error: Error) {
        self.lock().trouble = Some(error);
    }

    /// How many records it was given.
    pub(crate) fn submitted(&self) -> u64 {
        self.lock().submitted
    }

    /// How often somebody asked why it does not open.
    pub(crate) fn asked(&self) -> usize {
        self.lock().asked
    }

    /// How often it was opened.
    pub(crate) fn opened(&self) -> usize {
        self.lock().opened
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no test panics while it holds the lock")
    }

    fn change(&self, change: impl FnOnce(&mut Inner)) {
        let waker = {
            let mut inner = self.lock();
            change(&mut inner);
            inner.waker.take()
        };
        waker.into_iter().for_each(Waker::wake);
    }
}

impl Store for ManualStore {
    fn open(&self, _: &str) -> Opening {
        let store = self.clone();
        let mut open = self.open.subscribe();
        Box::pin(async move {
            open.wait_for(|open| *open).await.map_err(|_| Error::store("gone"))?;
            let mut state = FoldedState::default();
            let mut inner = store.lock();
            inner.log.iter().flatten().for_each(|record| state.apply(&record));
            inner.opened += 1;
            (inner.submitted, inner.synced, inner.told) = (0, 0, 0);
            let (records, lanes) = (state.records(), lanes(&state, store.spills));
            drop(inner);
            let records = if store.spills { without_queued(&records) } else { records };
            Ok(Opened { records, lanes, log: Box::new(ManualLog(store)), notices: Vec::new() })
        })
    }

    fn spills(&self) -> bool {
        self.spills
    }

    fn on_full(&self) -> OnFull {
        self.on_full
    }

    fn trouble(&self) -> Option<Error> {
        let mut inner = self.lock();
        inner.asked += 1;
        inner.trouble.clone()
    }
}

#[derive(Debug)]
struct ManualLog(ManualStore);

impl Log for ManualLog {
    fn submit(&mut self, records: &mut RecordBatch) {
        let mut inner = self.0.lock();
        inner.submitted += records.len() as u64;
        inner.log.append(records);
        if inner.automatic {
            inner.synced = inner.submitted;
        }
    }

    fn poll_update(&mut self, cx: &mut Context<'_>) -> Poll<Result<Update, Error>> {
        let mut inner = self.0.lock();
        inner.waker = Some(cx.waker().clone());
        if let Some(error) = inner.failure.take() {
            return Poll::Ready(Err(error));
        }
        if let Some(full) = inner.full.take() {
            return Poll::Ready(Ok(Update::Full(full)));
        }
        if let Some(wanted) = inner.fetch.take() {
            let (next, records) = fetched(&inner.log, &wanted);
            let priority = wanted.priority;
            return Poll::Ready(Ok(Update::Fetched(Fetched { priority, records, next })));
        }
        if inner.told == inner.synced {
            return Poll::Pending;
        }
        inner.told = inner.synced;
        let progress = Progress { written: inner.synced, synced: inner.synced };
        Poll::Ready(Ok(Update::Progress(progress)))
    }

    fn fetch(&mut self, wanted: Fetch) {
        self.0.change(|inner| inner.fetch = Some(wanted));
    }
}

fn lanes(state: &FoldedState, spills: bool) -> [Lane; 4] {
    let mut lanes = state.ends().map(|end| Lane { next: end, end, ..Lane::default() });
    if spills {
        lanes[0].next = 0;
        lanes[0].messages = (state.messages() - state.in_flight()) as u64;
    }
    lanes
}

/// The messages that are assigned or finished.
fn under_way(log: &RecordBatch) -> HashSet<Sequence> {
    let of = |record| match record {
        Record::Assign { sequence, .. } | Record::Done { sequence } => Some(sequence),
        _ => None,
    };
    log.iter().flatten().filter_map(of).collect()
}

fn without_queued(records: &RecordBatch) -> RecordBatch {
    let under_way = under_way(records);
    let mut rest = RecordBatch::new();
    for raw in records.iter().raw() {
        match Record::decode(raw) {
            Ok(Record::Enqueue { sequence, .. }) if !under_way.contains(&sequence) => {}
            _ => rest.push_raw(raw),
        }
    }
    rest
}

fn fetched(log: &RecordBatch, wanted: &Fetch) -> (u64, RecordBatch) {
    let under_way = under_way(log);
    let mut batch = RecordBatch::new();
    let mut next = 0;
    for raw in log.iter().raw() {
        let Ok(Record::Enqueue { sequence, .. }) = Record::decode(raw) else { continue };
        if sequence.priority() != wanted.priority {
            continue;
        }
        if batch.len() == wanted.messages {
            return (next, batch);
        }
        next = sequence.number() + 1;
        if sequence.number() >= wanted.from && !under_way.contains(&sequence) {
            batch.push_raw(raw);
        }
    }
    (next, batch)
}

//! What a session's driver and the commit thread share: records one way, news the other.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use mqttx_proto::{Lsn, RecordBatch};

use super::engine::Engine;
use crate::error::Error;
use crate::store::{Fetch, Log, Progress, Update};

/// The log of a session in a file store.
#[derive(Debug)]
pub(super) struct FileLog {
    shared: Arc<LogShared>,
    /// Keeps the store open.
    engine: Arc<Engine>,
}

/// Both sides of a log.
#[derive(Debug)]
pub(super) struct LogShared {
    /// The number of the session.
    pub(super) number: u32,
    pub(super) name: Box<str>,
    state: Mutex<LogState>,
}

#[derive(Debug, Default)]
struct LogState {
    pending: RecordBatch,
    /// Whether the commit thread has it on its list.
    listed: bool,
    fetch: Option<Fetch>,
    /// Somebody waits for the records up to here.
    wanted: Lsn,
    /// The position of the last record that the commit thread took.
    taken: Lsn,
    progress: Progress,
    told: Progress,
    updates: VecDeque<Update>,
    waker: Option<Waker>,
    error: Option<Error>,
}

/// What the commit thread takes from a log.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) records: RecordBatch,
    /// The position before the first of them.
    pub(super) before: Lsn,
    /// Somebody waits for some of these, or of earlier ones.
    pub(super) hurry: bool,
    pub(super) fetch: Option<Fetch>,
}

impl FileLog {
    pub(super) fn new(shared: Arc<LogShared>, engine: Arc<Engine>) -> Self {
        engine.log_opened();
        Self { shared, engine }
    }
}

impl Log for FileLog {
    fn submit(&mut self, records: &mut RecordBatch) {
        if records.is_empty() {
            return;
        }
        let urgent = records.iter().raw().any(is_awaited);
        let mut state = self.shared.lock();
        if state.error.is_some() {
            records.clear();
            return;
        }
        state.pending.append(records);
        let list = !std::mem::replace(&mut state.listed, true);
        drop(state);
        self.engine.ready(list.then_some(&self.shared), urgent);
    }

    fn hurry(&mut self, position: Lsn) {
        let mut state = self.shared.lock();
        state.wanted = state.wanted.max(position);
        let submitted = state.taken + state.pending.len() as Lsn;
        // What is not submitted yet hurries when it is.
        if state.error.is_some() || position > submitted || position <= state.progress.synced {
            return;
        }
        let list = !std::mem::replace(&mut state.listed, true);
        drop(state);
        self.engine.ready(list.then_some(&self.shared), true);
    }

    fn poll_update(&mut self, cx: &mut Context<'_>) -> Poll<Result<Update, Error>> {
        let mut state = self.shared.lock();
        if let Some(update) = state.updates.pop_front() {
            return Poll::Ready(Ok(update));
        }
        if state.told != state.progress {
            state.told = state.progress;
            return Poll::Ready(Ok(Update::Progress(state.progress)));
        }
        if let Some(error) = &state.error {
            return Poll::Ready(Err(error.clone()));
        }
        if !state.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            state.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    fn fetch(&mut self, wanted: Fetch) {
        let mut state = self.shared.lock();
        if state.error.is_some() {
            return;
        }
        state.fetch = Some(wanted);
        let list = !std::mem::replace(&mut state.listed, true);
        drop(state);
        self.engine.ready(list.then_some(&self.shared), true);
    }
}

impl Drop for FileLog {
    fn drop(&mut self) {
        self.engine.log_closed();
    }
}

impl LogShared {
    pub(super) fn new(number: u32, name: &str) -> Self {
        Self { number, name: name.into(), state: Mutex::default() }
    }

    /// Takes what was submitted; `memory` takes its place.
    pub(super) fn take(&self, memory: RecordBatch) -> Taken {
        let mut state = self.lock();
        state.listed = false;
        let records = std::mem::replace(&mut state.pending, memory);
        let before = state.taken;
        state.taken += records.len() as Lsn;
        let hurry = state.wanted > state.progress.synced;
        Taken { records, before, hurry, fetch: state.fetch.take() }
    }

    /// Records up to there reached the next stage.
    pub(super) fn progress(&self, written: Lsn, synced: Lsn) {
        self.news(|state| {
            state.progress.written = state.progress.written.max(written);
            state.progress.synced = state.progress.synced.max(synced);
        });
    }

    pub(super) fn tell(&self, update: Update) {
        self.news(|state| state.updates.push_back(update));
    }

    /// Ends the log. What comes from now on is not kept.
    pub(super) fn fail(&self, error: Error) {
        self.news(|state| {
            state.pending = RecordBatch::new();
            state.error.get_or_insert(error);
        });
    }

    fn news(&self, change: impl FnOnce(&mut LogState)) {
        let mut state = self.lock();
        change(&mut state);
        let waker = state.waker.take();
        drop(state);
        waker.into_iter().for_each(Waker::wake);
    }

    fn lock(&self) -> MutexGuard<'_, LogState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Nothing waits for a message's being finished.
fn is_awaited(record: &[u8]) -> bool {
    record.first() != Some(&DONE)
}

/// The kinds that records begin with; they are part of the format of records.
pub(super) const ENQUEUE: u8 = 1;
const DONE: u8 = 4;

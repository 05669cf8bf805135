//! The log of one session: what was submitted and is not confirmed, and what is to be told.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use mqttx_proto::{Lsn, RecordBatch};

use super::engine::{Lease, Shared};
use super::keys::Keys;
use crate::error::Error;
use crate::store::{Fetch, Fetched, Log, Progress, StoreNotice, Update};

/// Batches are joined up to so many bytes.
const JOINED: usize = 64 << 10;
/// The kind of an `Enqueue` record, its first byte. The forms of records are fixed: `apply.lua` relies on all of them.
const ENQUEUE: u8 = 1;

/// What the session's driver has.
#[derive(Debug)]
pub(super) struct RedisLog {
    cell: Arc<Cell>,
    /// Also keeps the thread of the store going.
    lease: Arc<Lease>,
}

/// What driver and store share of one opened log.
#[derive(Debug)]
pub(super) struct Cell {
    pub(super) session: String,
    pub(super) keys: Keys,
    /// What Redis knows this owner by.
    pub(super) owner: String,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
pub(super) struct Inner {
    /// Not confirmed, in order.
    pub(super) batches: VecDeque<Batch>,
    /// How many of them are in the group that is under way.
    pub(super) sent: usize,
    /// The last one that is confirmed: the first batch begins behind it.
    pub(super) confirmed: Lsn,
    pub(super) fetch: Option<Fetch>,
    /// Something must be sent, be it without records.
    pub(super) touch: bool,
    pub(super) stage: Stage,
    /// The store said that it has no room.
    pub(super) full: bool,
    /// A timer looks again whether there is room.
    pub(super) probing: bool,
    pub(super) unavailable: bool,
    /// The driver is gone, and cannot hold new messages back.
    pub(super) dropped: bool,
    counted: bool,
    news: News,
}

/// Where the log is on its way to Redis.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Stage {
    /// There is nothing to do, or a timer will see to it.
    #[default]
    Idle,
    /// A worker has it in its queue.
    Queued,
    /// A group with its records is on the way.
    UnderWay,
    /// There is no room for it; a timer looks again.
    Waiting,
}

#[derive(Debug)]
pub(super) struct Batch {
    pub(super) records: RecordBatch,
    /// There are messages among them, for which Redis may have no room.
    pub(super) messages: bool,
    /// There are others, which make room or take none.
    pub(super) others: bool,
}

#[derive(Debug, Default)]
struct News {
    updates: VecDeque<Update>,
    told: Progress,
    reached: Progress,
    error: Option<Error>,
    waker: Option<Waker>,
}

impl Cell {
    pub(super) fn new(session: String, keys: Keys, owner: String) -> Self {
        Self { session, keys, owner, inner: Mutex::default() }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what there is to do, and keeps the count of logs that have something to do.
    pub(super) fn change<T>(&self, shared: &Shared, change: impl FnOnce(&mut Inner) -> T) -> T {
        let mut inner = self.lock();
        let outcome = change(&mut inner);
        let busy = inner.has_work();
        if busy != inner.counted {
            inner.counted = busy;
            shared.count(busy);
        }
        let waker = inner.news.take_waker();
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
        outcome
    }
}

impl Inner {
    /// Something that the end of the store has to wait for.
    pub(super) fn has_work(&self) -> bool {
        self.news.error.is_none() && (!self.batches.is_empty() || self.fetch.is_some())
    }

    /// Something that a worker has to do.
    pub(super) fn wants_service(&self) -> bool {
        self.has_work() || self.touch && self.news.error.is_none()
    }

    /// Whether the next group of this log goes past Redis' limit of memory. One without messages does: it makes room, or takes
    /// little. Messages do not, unless something waits behind them that makes room: they were submitted before the store was
    /// found full, and there will not be many more.
    pub(super) fn exceeds(&self) -> bool {
        if self.batches.is_empty() {
            return !self.full || self.fetch.is_some();
        }
        let messages = self.batches.iter().any(|batch| batch.messages);
        let others =
            self.batches.iter().any(|batch| batch.others) || self.fetch.is_some() || self.dropped;
        !messages || self.full && others
    }

    /// Whether a worker has to be told.
    pub(super) fn take_turn(&mut self) -> bool {
        let free = self.stage == Stage::Idle || self.stage == Stage::Waiting && self.exceeds();
        let wanted = free && self.wants_service();
        if wanted {
            self.stage = Stage::Queued;
        }
        wanted
    }

    pub(super) fn is_failed(&self) -> bool {
        self.news.error.is_some()
    }

    /// What was under way has an answer, or will have none.
    pub(super) fn land(&mut self, stage: Stage) {
        self.stage = stage;
        self.sent = 0;
    }

    pub(super) fn tell(&mut self, update: Update) {
        self.news.updates.push_back(update);
    }

    pub(super) fn written(&mut self, position: Lsn) {
        self.news.reached.written = self.news.reached.written.max(position);
    }

    /// Everything up to `position` is where it should be.
    pub(super) fn confirm(&mut self, position: Lsn) {
        self.written(position);
        self.news.reached.synced = self.news.reached.synced.max(position);
        while let Some(batch) = self.batches.front()
            && self.confirmed + batch.records.len() as Lsn <= position
        {
            self.confirmed += batch.records.len() as Lsn;
            self.batches.pop_front();
        }
    }

    pub(super) fn set_full(&mut self, full: bool) {
        if std::mem::replace(&mut self.full, full) != full {
            self.tell(Update::Full(full));
        }
    }

    pub(super) fn set_unavailable(&mut self, error: Option<&Error>) {
        if std::mem::replace(&mut self.unavailable, error.is_some()) != error.is_some() {
            self.tell(error.map_or(Update::Available, |error| Update::Unavailable(error.clone())));
        }
    }

    pub(super) fn answer(&mut self, fetched: Fetched, damaged: Vec<StoreNotice>) {
        self.fetch = None;
        self.tell(Update::Fetched(fetched));
        damaged.into_iter().for_each(|notice| self.tell(Update::Notice(notice)));
    }

    /// Nothing further becomes durable.
    pub(super) fn fail(&mut self, error: Error) {
        self.news.error.get_or_insert(error);
        self.batches.clear();
        self.sent = 0;
        self.fetch = None;
        self.touch = false;
    }
}

impl News {
    fn poll(&mut self, cx: &Context<'_>) -> Poll<Result<Update, Error>> {
        if self.told != self.reached {
            self.told = self.reached;
            return Poll::Ready(Ok(Update::Progress(self.told)));
        }
        if let Some(update) = self.updates.pop_front() {
            return Poll::Ready(Ok(update));
        }
        if let Some(error) = &self.error {
            return Poll::Ready(Err(error.clone()));
        }
        if !self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            self.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    fn take_waker(&mut self) -> Option<Waker> {
        let something =
            self.told != self.reached || !self.updates.is_empty() || self.error.is_some();
        if something { self.waker.take() } else { None }
    }
}

impl RedisLog {
    pub(super) fn new(cell: Arc<Cell>, lease: Arc<Lease>) -> Self {
        Self { cell, lease }
    }
}

impl Log for RedisLog {
    fn submit(&mut self, records: &mut RecordBatch) {
        if records.is_empty() {
            return;
        }
        let is_message = |record: &[u8]| record.first() == Some(&ENQUEUE);
        let messages = records.iter().raw().any(is_message);
        let others = !records.iter().raw().all(is_message);
        self.lease.shared().change(&self.cell, |inner| {
            if inner.is_failed() {
                return;
            }
            // Batches of a group that is under way stay as they are.
            let free = inner.batches.len() > inner.sent;
            let joined = match inner.batches.back_mut() {
                Some(last) if free && last.records.byte_len() < JOINED => {
                    last.messages |= messages;
                    last.others |= others;
                    last.records.append(records);
                    true
                }
                _ => false,
            };
            if !joined {
                let records = std::mem::take(records);
                inner.batches.push_back(Batch { records, messages, others });
            }
        });
        records.clear();
    }

    fn poll_update(&mut self, cx: &mut Context<'_>) -> Poll<Result<Update, Error>> {
        self.cell.lock().news.poll(cx)
    }

    fn fetch(&mut self, wanted: Fetch) {
        self.lease.shared().change(&self.cell, |inner| inner.fetch = Some(wanted));
    }
}

impl Drop for RedisLog {
    fn drop(&mut self) {
        // Nobody waits for an answer any more; what was submitted is kept.
        self.cell.change(self.lease.shared(), |inner| {
            inner.fetch = None;
            inner.dropped = true;
        });
        self.lease.shared().forget(&self.cell);
    }
}

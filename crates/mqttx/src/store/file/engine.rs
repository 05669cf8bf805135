//! The face of an open store: what the threads of sessions see of it.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mqttx_proto::Lsn;
use tokio::sync::oneshot;

use super::commit::Committer;
use super::compact::Candidates;
use super::disk::{Access, Disk, DiskFile};
use super::lock::Lock;
use super::log::LogShared;
use super::recover::recover;
use super::{FileStoreStats, Fsync};
use crate::error::Error;
use crate::metrics::Histogram;
use crate::store::{Opened, StoreMetrics, StoreNotice};

/// An open store. When the last handle goes, the store is closed.
#[derive(Debug)]
pub(super) struct Engine {
    shared: Arc<Shared>,
    logs: AtomicUsize,
}

/// How a store is opened.
#[derive(Clone, Debug)]
pub(super) struct Options {
    pub(super) fsync: Fsync,
    pub(super) max_bytes: Option<u64>,
    /// The size of the first segment.
    pub(super) smallest: u64,
    /// The size to which segments grow.
    pub(super) largest: u64,
    /// Segments from this size on are prepared ahead.
    pub(super) ahead: u64,
    /// Messages that nobody waits for become durable together, in groups of that time.
    pub(super) pace: Duration,
}

/// What the commit thread shares with everybody.
#[derive(Debug, Default)]
pub(super) struct Shared {
    inbox: Mutex<Inbox>,
    arrived: Condvar,
    pub(super) counters: Counters,
}

#[derive(Debug, Default)]
struct Inbox {
    ready: Vec<Arc<LogShared>>,
    requests: Vec<Request>,
    /// Whether something waits for what is ready.
    urgent: bool,
    sleep: Sleep,
    /// The commit thread is gone; why.
    stopped: Option<Error>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Sleep {
    #[default]
    Awake,
    /// Until something happens.
    Long,
    /// Until something urgent happens, or a time.
    Timed,
}

/// What the commit thread is asked, and told by the other threads of the store.
#[derive(Debug)]
pub(super) enum Request {
    Open {
        name: String,
        engine: Arc<Engine>,
        reply: oneshot::Sender<Result<Opened, Error>>,
    },
    /// Make everything durable.
    Flush(oneshot::Sender<()>),
    /// Flush, and come to rest: the last handle is gone.
    Stop,
    /// The same, and say when that is by dropping this.
    Close(oneshot::Sender<()>),
    /// A segment was prepared.
    Prepared {
        id: u64,
        size: u64,
        made: std::io::Result<Arc<dyn DiskFile>>,
    },
    /// A segment is gone, and that is durable.
    Removed {
        slot: u32,
        done: std::io::Result<()>,
    },
    /// Spare files are kept.
    Pooled(u64),
    /// A sync in the background ended.
    Synced {
        result: std::io::Result<()>,
        active: bool,
    },
    /// A sync of groups ended; its logs were told if it succeeded.
    GroupsSynced(std::io::Result<()>, Vec<(Arc<LogShared>, Lsn)>),
    /// Compaction asks which of these messages are unfinished.
    Candidates(Candidates),
    /// Compaction of a segment is through.
    Compacted(super::compact::Compacted),
    /// A person has to know it.
    Notice(Arc<LogShared>, StoreNotice),
}

/// What [`FileStoreStats`] and [`StoreMetrics`] are made of.
#[derive(Debug)]
pub(super) struct Counters {
    pub(super) segments: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) groups: AtomicU64,
    pub(super) records: AtomicU64,
    pub(super) synced_bytes: AtomicU64,
    pub(super) damaged_records: AtomicU64,
    pub(super) full: AtomicBool,
    /// Writes and syncs that failed.
    pub(super) errors: AtomicU64,
    pub(super) sync_time: Histogram,
    pub(super) group_records: Histogram,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            segments: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            groups: AtomicU64::new(0),
            records: AtomicU64::new(0),
            synced_bytes: AtomicU64::new(0),
            damaged_records: AtomicU64::new(0),
            full: AtomicBool::new(false),
            errors: AtomicU64::new(0),
            sync_time: Histogram::of_latency(),
            group_records: Histogram::of_counts(),
        }
    }
}

impl Counters {
    /// Forces a file to the disk, and says how long that took and whether it went wrong.
    pub(super) fn timed_sync(&self, file: &dyn DiskFile) -> std::io::Result<()> {
        let begun = Instant::now();
        let result = file.sync();
        self.sync_time.record_time(begun.elapsed());
        if result.is_err() {
            self.errors.fetch_add(1, Ordering::Relaxed);
        }
        result
    }
}

/// What has arrived.
#[derive(Debug, Default)]
pub(super) struct Arrived {
    pub(super) ready: Vec<Arc<LogShared>>,
    pub(super) requests: Vec<Request>,
}

impl Arrived {
    pub(super) fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.requests.is_empty()
    }
}

impl Engine {
    /// Opens the store: recovers what is there and starts the threads. `stopped` is called when it is at rest again.
    pub(super) fn open(
        disk: Arc<dyn Disk>,
        options: Options,
        lock: Option<Lock>,
        stopped: impl FnOnce() + Send + 'static,
    ) -> Result<Arc<Self>, Error> {
        let recovered = recover(&*disk, Access::Write, false)?;
        let shared = Arc::new(Shared::default());
        let committer = Committer::new(Arc::clone(&shared), disk, options, recovered)?;
        let spawned = std::thread::Builder::new().name("mqttx-store".into()).spawn(move || {
            let waiting = committer.run();
            drop(lock);
            stopped();
            drop(waiting);
        });
        spawned.map_err(|error| {
            Error::store(format!("no thread for the store: {error}")).with_source(error)
        })?;
        Ok(Arc::new(Self { shared, logs: AtomicUsize::new(0) }))
    }

    /// Tells the commit thread that a log has something.
    pub(super) fn ready(&self, log: Option<&Arc<LogShared>>, urgent: bool) {
        self.shared.ready(log, urgent);
    }

    pub(super) fn request(&self, request: Request) {
        self.shared.request(request);
    }

    pub(super) fn log_opened(&self) {
        self.logs.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn log_closed(&self) {
        self.logs.fetch_sub(1, Ordering::Relaxed);
    }

    /// Logs that are open.
    pub(super) fn logs(&self) -> usize {
        self.logs.load(Ordering::Relaxed)
    }

    /// Whether it came to rest, or failed.
    pub(super) fn is_stopped(&self) -> bool {
        self.shared.lock().stopped.is_some()
    }

    pub(super) fn stats(&self) -> FileStoreStats {
        let counters = &self.shared.counters;
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        FileStoreStats {
            segments: get(&counters.segments),
            bytes: get(&counters.bytes),
            groups: get(&counters.groups),
            records: get(&counters.records),
            synced_bytes: get(&counters.synced_bytes),
            damaged_records: get(&counters.damaged_records),
            full: counters.full.load(Ordering::Relaxed),
        }
    }

    pub(super) fn metrics(&self) -> StoreMetrics {
        let (counters, stats) = (&self.shared.counters, self.stats());
        let mut metrics = StoreMetrics::new("file");
        metrics.available = !self.is_stopped();
        metrics.full = stats.full;
        metrics.bytes = stats.bytes;
        metrics.records = stats.records;
        metrics.written_bytes = stats.synced_bytes;
        metrics.errors = counters.errors.load(Ordering::Relaxed);
        metrics.damaged_records = stats.damaged_records;
        metrics.sync_seconds = Some(counters.sync_time.snapshot());
        metrics.group_records = Some(counters.group_records.snapshot());
        metrics
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.shared.request(Request::Stop);
    }
}

impl Shared {
    fn ready(&self, log: Option<&Arc<LogShared>>, urgent: bool) {
        let mut inbox = self.lock();
        if let Some(error) = &inbox.stopped {
            let error = error.clone();
            drop(inbox);
            log.into_iter().for_each(|log| log.fail(error.clone()));
            return;
        }
        inbox.ready.extend(log.cloned());
        inbox.urgent |= urgent;
        let wake = match inbox.sleep {
            Sleep::Awake => false,
            Sleep::Long => true,
            Sleep::Timed => urgent,
        };
        self.wake(inbox, wake);
    }

    pub(super) fn request(&self, request: Request) {
        let mut inbox = self.lock();
        if let Some(error) = inbox.stopped.clone() {
            drop(inbox);
            match request {
                Request::Open { reply, .. } => drop(reply.send(Err(error))),
                Request::Flush(reply) => drop(reply.send(())),
                _ => {}
            }
            return;
        }
        inbox.requests.push(request);
        let wake = inbox.sleep != Sleep::Awake;
        self.wake(inbox, wake);
    }

    fn wake(&self, mut inbox: MutexGuard<'_, Inbox>, wake: bool) {
        if wake {
            inbox.sleep = Sleep::Awake;
            drop(inbox);
            self.arrived.notify_one();
        }
    }

    /// Waits until something urgent is there, or for the time. What nothing waits for is taken with the rest, or `lazy_at`
    /// ends: the caller's answer to when that is, once there is something.
    pub(super) fn wait(
        &self,
        until: Option<Instant>,
        lazy: impl FnOnce() -> Instant,
        into: &mut Arrived,
    ) {
        let mut inbox = self.lock();
        let mut until = until;
        let mut lazy = Some(lazy);
        while !inbox.urgent && inbox.requests.is_empty() {
            if !inbox.ready.is_empty()
                && let Some(lazy) = lazy.take()
            {
                let at = lazy();
                until = Some(until.map_or(at, |until| until.min(at)));
            }
            inbox = match until {
                None => {
                    inbox.sleep = Sleep::Long;
                    self.arrived.wait(inbox).unwrap_or_else(PoisonError::into_inner)
                }
                Some(until) => {
                    let left = until.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        break;
                    }
                    // Without anything lazy, its arrival has to be seen.
                    inbox.sleep = if lazy.is_some() { Sleep::Long } else { Sleep::Timed };
                    let waited = self.arrived.wait_timeout(inbox, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        inbox.sleep = Sleep::Awake;
        inbox.urgent = false;
        into.ready.append(&mut inbox.ready);
        into.requests.append(&mut inbox.requests);
    }

    /// Nothing is taken any more. Returns what was still there.
    pub(super) fn stop(&self, error: &Error) -> Arrived {
        let mut inbox = self.lock();
        inbox.stopped = Some(error.clone());
        Arrived {
            ready: std::mem::take(&mut inbox.ready),
            requests: std::mem::take(&mut inbox.requests),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

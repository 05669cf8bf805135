//! A session without a session: submits records and waits for what the store says.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use mqttx_proto::{
    PacketId, Priority, PropertiesRef, QoS, Record, RecordBatch, Sequence, StoredMessage,
};
use tokio::sync::oneshot;

use super::super::Fsync;
use super::super::engine::{Engine, Options, Request};
use super::disk::FaultDisk;
use crate::error::Error;
use crate::store::{Fetch, FoldedState, Lane, Log, Opened, Progress, StoreNotice, Update};

/// Nothing takes that long; a test that waits so long fails.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

pub(super) struct Client {
    log: Box<dyn Log>,
    pub(super) lanes: [Lane; Priority::COUNT],
    pub(super) records: RecordBatch,
    pub(super) notices: Vec<StoreNotice>,
    pub(super) submitted: u64,
    pub(super) progress: Progress,
    pub(super) full: Vec<bool>,
}

pub(super) fn options(segment: u64) -> Options {
    Options {
        fsync: Fsync::Group,
        max_bytes: None,
        smallest: segment,
        largest: segment,
        ahead: u64::MAX,
        pace: Duration::ZERO,
    }
}

pub(super) fn start(disk: &FaultDisk, options: Options) -> Arc<Engine> {
    Engine::open(Arc::new(disk.clone()), options, None, || ()).unwrap()
}

pub(super) fn open(engine: &Arc<Engine>, name: &str) -> Client {
    let (reply, opened) = oneshot::channel();
    engine.request(Request::Open { name: name.into(), engine: Arc::clone(engine), reply });
    Client::new(block_on(opened).unwrap().unwrap())
}

/// Closes the store, and returns when it is at rest.
pub(super) fn close(engine: Arc<Engine>) {
    let (reply, closed) = oneshot::channel();
    engine.request(Request::Close(reply));
    drop(engine);
    drop(block_on(closed));
}

impl Client {
    pub(super) fn new(opened: Opened) -> Self {
        Self {
            log: opened.log,
            lanes: opened.lanes,
            records: opened.records,
            notices: opened.notices,
            submitted: 0,
            progress: Progress::default(),
            full: Vec::new(),
        }
    }

    pub(super) fn submit(&mut self, records: &[Record<'_>]) {
        let mut batch = RecordBatch::new();
        records.iter().for_each(|record| batch.push(record));
        self.submitted += records.len() as u64;
        self.log.submit(&mut batch);
        assert!(batch.is_empty(), "all of it is taken");
    }

    /// Submits, and waits until it is durable.
    pub(super) fn store(&mut self, records: &[Record<'_>]) {
        self.submit(records);
        self.until_synced();
    }

    /// Says that it waits, and waits until everything is durable.
    pub(super) fn until_synced(&mut self) {
        self.hurry(self.submitted);
        self.until(|client| client.progress.synced == client.submitted);
    }

    pub(super) fn hurry(&mut self, position: u64) {
        self.log.hurry(position);
    }

    pub(super) fn until(&mut self, done: impl Fn(&Self) -> bool) {
        while !done(self) {
            match self.update().unwrap() {
                Update::Fetched(_) => panic!("nothing was fetched"),
                other => self.take(other),
            }
        }
    }

    pub(super) fn until_written(&mut self) {
        self.until(|client| client.progress.written == client.submitted);
    }

    fn take(&mut self, update: Update) {
        match update {
            Update::Progress(progress) => {
                assert!(progress.synced <= progress.written, "{progress:?}");
                assert!(progress.written >= self.progress.written, "{progress:?}");
                assert!(progress.synced >= self.progress.synced, "{progress:?}");
                self.progress = progress;
            }
            Update::Full(full) => self.full.push(full),
            Update::Notice(notice) => self.notices.push(notice),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn update(&mut self) -> Result<Update, Error> {
        block_on(std::future::poll_fn(|cx| self.log.poll_update(cx)))
    }

    /// Takes what there is, without waiting.
    pub(super) fn take_updates(&mut self) {
        while let Poll::Ready(Ok(update)) =
            self.log.poll_update(&mut Context::from_waker(Waker::noop()))
        {
            self.take(update);
        }
    }

    pub(super) fn fetch(&mut self, wanted: Fetch) -> (RecordBatch, u64) {
        self.log.fetch(wanted);
        loop {
            match self.update().unwrap() {
                Update::Fetched(fetched) => return (fetched.records, fetched.next),
                other => self.take(other),
            }
        }
    }

    /// All queued messages of all priorities, as a session reads them.
    pub(super) fn fetch_all(&mut self) -> RecordBatch {
        let mut all = RecordBatch::new();
        for priority in Priority::descending() {
            let lane = self.lanes[usize::from(priority.get())];
            let mut from = lane.next;
            while from < lane.end {
                let wanted = Fetch { priority, from, messages: 3, bytes: 4096 };
                let (mut records, next) = self.fetch(wanted);
                assert!(next > from, "{next} from {from}");
                from = next;
                all.append(&mut records);
            }
        }
        all
    }

    /// What was there when the log was opened.
    pub(super) fn state(&mut self) -> FoldedState {
        let mut state = FoldedState::default();
        let queued = self.fetch_all();
        self.records.iter().chain(queued.iter()).for_each(|record| state.apply(&record.unwrap()));
        state
    }
}

/// The same for comparisons.
pub(super) fn shown(state: &FoldedState) -> Vec<String> {
    state.records().iter().map(|record| format!("{:?}", record.unwrap())).collect()
}

pub(super) fn seq(number: u64) -> Sequence {
    Sequence::new(Priority::LOWEST, number)
}

pub(super) fn id(id: u16) -> PacketId {
    PacketId::new(id).unwrap()
}

pub(super) fn message(sequence: Sequence, payload: &[u8]) -> Record<'_> {
    message_with(sequence, payload, QoS::AtLeastOnce)
}

pub(super) fn message_with(sequence: Sequence, payload: &[u8], qos: QoS) -> Record<'_> {
    let message = StoredMessage {
        topic: "a/b",
        payload,
        qos,
        retain: false,
        properties: PropertiesRef::EMPTY,
        expires_at: None,
        give_up_at: None,
        origin: None,
    };
    Record::Enqueue { sequence, message }
}

/// Waits on this thread.
pub(super) fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    let start = Instant::now();
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        assert!(start.elapsed() < PATIENCE, "nothing happened");
        std::thread::park_timeout(PATIENCE);
    }
}

/// A directory that is removed at the end.
pub(super) struct TempDir(pub(super) std::path::PathBuf);

impl TempDir {
    pub(super) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name =
            format!("mqttx-store-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        Self(std::env::temp_dir().join(name))
    }

    pub(super) fn bytes(&self) -> u64 {
        let entries = std::fs::read_dir(&self.0).unwrap();
        entries.map(|entry| entry.unwrap().metadata().map_or(0, |meta| meta.len())).sum()
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

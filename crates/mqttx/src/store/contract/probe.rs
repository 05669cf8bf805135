//! A log beside the model of what it must give back.

use std::collections::HashSet;
use std::future::poll_fn;
use std::time::Duration;

use mqttx_proto::{Lsn, Priority, Record, RecordBatch, Sequence};

use super::super::{Fetch, Fetched, FoldedState, Lane, Log, Opened, Progress, Store, Update};
use super::records::line;
use crate::error::Error;

/// Longer than any store needs, on any machine: who waits for it in vain has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// The log of one session, and what was submitted to it.
pub(super) struct Probe<'a> {
    store: &'a dyn Store,
    session: String,
    pub(super) log: Box<dyn Log>,
    pub(super) model: FoldedState,
    pub(super) lanes: [Lane; Priority::COUNT],
    /// What `open` gave back.
    pub(super) records: RecordBatch,
    submitted: Lsn,
    pub(super) progress: Progress,
}

impl<'a> Probe<'a> {
    /// Opens a session that is new to the store.
    pub(super) async fn new(store: &'a dyn Store, session: &str) -> Self {
        let probe = Self::open(store, session, FoldedState::default()).await;
        assert_eq!(probe.lanes.map(|lane| lane.messages), [0; 4], "{session} is new");
        probe
    }

    /// Opens a session and compares what comes back with the model.
    pub(super) async fn open(store: &'a dyn Store, session: &str, model: FoldedState) -> Self {
        let opened = within("opening a log", store.open(session)).await;
        let opened = opened.unwrap_or_else(|error| panic!("{session} cannot be opened: {error}"));
        let Opened { records, lanes, log, notices } = opened;
        assert!(notices.is_empty(), "nothing is damaged: {notices:?}");
        let session = session.to_owned();
        let progress = Progress::default();
        let mut probe = Self { store, session, log, model, lanes, records, submitted: 0, progress };
        probe.compare().await;
        probe
    }

    /// Drops the log, closes the store, opens the session again and compares.
    pub(super) async fn reopen(self) -> Self {
        let Self { store, session, log, model, .. } = self;
        drop(log);
        within("closing the store", store.close()).await;
        Self::open(store, &session, model).await
    }

    /// Opens the session again without waiting for anything, and compares.
    pub(super) async fn reopen_at_once(self) -> Self {
        let Self { store, session, log, model, .. } = self;
        drop(log);
        Self::open(store, &session, model).await
    }

    pub(super) fn submit(&mut self, records: &[Record<'_>]) {
        let mut batch = RecordBatch::new();
        for record in records {
            batch.push(record);
            self.model.apply(record);
        }
        self.submitted += records.len() as Lsn;
        self.log.submit(&mut batch);
        assert!(batch.is_empty(), "what was submitted is the log's");
    }

    /// Submits, and waits until it is as durable as the store promises.
    pub(super) async fn keep(&mut self, records: &[Record<'_>]) {
        self.submit(records);
        self.synced().await;
    }

    pub(super) async fn synced(&mut self) {
        self.log.hurry(self.submitted);
        while self.progress.synced < self.submitted {
            self.progress().await;
        }
    }

    pub(super) async fn written(&mut self) {
        while self.progress.written < self.submitted {
            self.progress().await;
        }
    }

    /// Waits for the next progress, and holds it against what is true of all of them.
    pub(super) async fn progress(&mut self) {
        loop {
            let update = self.update().await;
            match update.unwrap_or_else(|error| panic!("{} failed: {error}", self.session)) {
                Update::Progress(progress) => return self.on_progress(progress),
                Update::Notice(notice) => panic!("nothing is damaged: {notice:?}"),
                _ => {}
            }
        }
    }

    fn on_progress(&mut self, progress: Progress) {
        let before = self.progress;
        assert!(progress.written >= before.written, "written fell: {before:?}, {progress:?}");
        assert!(progress.synced >= before.synced, "synced fell: {before:?}, {progress:?}");
        assert!(progress.synced <= progress.written, "synced is not written: {progress:?}");
        assert!(progress.written <= self.submitted, "never submitted: {progress:?}");
        self.progress = progress;
    }

    pub(super) async fn update(&mut self) -> Result<Update, Error> {
        within("an update", poll_fn(|cx| self.log.poll_update(cx))).await
    }

    pub(super) async fn fetch(&mut self, wanted: Fetch) -> Fetched {
        self.log.fetch(wanted);
        loop {
            match self.update().await {
                Ok(Update::Fetched(fetched)) => {
                    assert_eq!(fetched.priority, wanted.priority, "another lane's messages");
                    assert!(fetched.next >= wanted.from, "the next fetch goes back: {fetched:?}");
                    return fetched;
                }
                Ok(Update::Progress(progress)) => self.on_progress(progress),
                Ok(_) => {}
                Err(error) => panic!("{} failed: {error}", self.session),
            }
        }
    }

    /// All messages of a lane that wait in the store, a few at a time.
    async fn fetch_all(&mut self, priority: Priority, out: &mut RecordBatch) {
        let lane = self.lanes[usize::from(priority.get())];
        let mut wanted = Fetch { priority, from: lane.next, messages: 7, bytes: 1 << 20 };
        let mut found = 0;
        while wanted.from < lane.end {
            let mut fetched = self.fetch(wanted).await;
            assert!(fetched.next > wanted.from, "the fetch makes no way: {wanted:?}, {fetched:?}");
            assert!(fetched.records.len() <= wanted.messages, "more than was asked for");
            found += fetched.records.len() as u64;
            wanted.from = fetched.next;
            out.append(&mut fetched.records);
        }
        assert_eq!(found, lane.messages, "the lane {lane:?} counts its messages");
    }

    async fn compare(&mut self) {
        let unfinished = sequences(&self.model.records());
        let mut found = FoldedState::default();
        let mut last_order = None;
        for record in &self.records {
            let record = record.expect("a whole record");
            match record {
                Record::Enqueue { sequence, .. } => {
                    assert!(unfinished.contains(&sequence), "{sequence} is finished, and is back");
                }
                Record::Assign { order, .. } => {
                    assert!(Some(order) > last_order, "{} is out of order", line(&record));
                    last_order = Some(order);
                }
                _ => {}
            }
            found.apply(&record);
        }
        if self.store.spills() {
            let mut queued = RecordBatch::new();
            for priority in Priority::descending() {
                self.fetch_all(priority, &mut queued).await;
            }
            let here = sequences(&self.records);
            assert!(sequences(&queued).is_disjoint(&here), "a message came back twice");
            queued.iter().for_each(|record| found.apply(&record.expect("a whole record")));
        }
        let (expected, found) = (self.model.records(), found.records());
        if expected != found {
            let session = &self.session;
            panic!("{session} came back as\n{}\ninstead of\n{}", lines(&found), lines(&expected));
        }
        for (lane, end) in self.lanes.iter().zip(self.model.ends()) {
            assert!(lane.end >= end, "{lane:?}: numbers below {end} were used");
        }
    }
}

/// Waits for `future`, but not for ever.
pub(super) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    let outcome = tokio::time::timeout(PATIENCE, future).await;
    outcome.unwrap_or_else(|_| panic!("waited {PATIENCE:?} for {what}: is the waker told?"))
}

/// The messages of a batch.
pub(super) fn sequences(records: &RecordBatch) -> HashSet<Sequence> {
    let sequence = |record| match record {
        Ok(Record::Enqueue { sequence, .. }) => Some(sequence),
        _ => None,
    };
    records.iter().filter_map(sequence).collect()
}

fn lines(records: &RecordBatch) -> String {
    let line = |record| match record {
        Ok(record) => format!("  {}\n", line(&record)),
        Err(error) => format!("  damaged: {error}\n"),
    };
    records.iter().map(line).collect()
}

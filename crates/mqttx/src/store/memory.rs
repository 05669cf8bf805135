//! The store that ends with the process: for sessions that are removed and added again, and for tests.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use mqttx_proto::{Lsn, RecordBatch};

use super::{FoldedState, Lane, Log, Opened, Opening, Progress, Store, StoreMetrics, Update};
use crate::error::Error;

/// Keeps sessions in memory, as states rather than logs: a finished message takes no room.
///
/// ```
/// use mqttx::{MemoryStore, SessionOptions};
///
/// let store = MemoryStore::new();
/// let options = SessionOptions::quick_connect("plant", "localhost:1883").storage(store).build()?;
/// # Ok::<(), mqttx::ConfigErrors>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    sessions: Arc<Mutex<HashMap<String, Kept>>>,
}

/// What is kept of one session.
#[derive(Debug, Default)]
struct Kept {
    owner: u64,
    state: FoldedState,
}

impl MemoryStore {
    /// An empty store; its clones are the same store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl Store for MemoryStore {
    fn open(&self, session: &str) -> Opening {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = sessions.entry(session.to_owned()).or_default();
        kept.owner += 1;
        let log = MemoryLog {
            store: self.clone(),
            session: session.to_owned(),
            owner: kept.owner,
            position: 0,
            told: 0,
            fenced: false,
        };
        let opened = Opened {
            records: kept.state.records(),
            lanes: kept.state.ends().map(|end| Lane { next: end, end, ..Lane::default() }),
            log: Box::new(log),
            notices: Vec::new(),
        };
        Box::pin(std::future::ready(Ok(opened)))
    }

    fn is_durable(&self) -> bool {
        false
    }

    fn metrics(&self) -> StoreMetrics {
        StoreMetrics::new("memory")
    }
}

#[derive(Debug)]
struct MemoryLog {
    store: MemoryStore,
    session: String,
    owner: u64,
    position: Lsn,
    told: Lsn,
    fenced: bool,
}

impl Log for MemoryLog {
    fn submit(&mut self, records: &mut RecordBatch) {
        let mut sessions = self.store.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = sessions.entry(self.session.clone()).or_default();
        self.fenced = kept.owner != self.owner;
        if !self.fenced {
            self.position += records.len() as Lsn;
            records.iter().flatten().for_each(|record| kept.state.apply(&record));
        }
        records.clear();
    }

    fn poll_update(&mut self, _: &mut Context<'_>) -> Poll<Result<Update, Error>> {
        if self.fenced {
            return Poll::Ready(Err(Error::fenced(&self.session)));
        }
        // Progress is only ever made by `submit`, on the same driver: nobody needs to be woken.
        if self.told == self.position {
            return Poll::Pending;
        }
        self.told = self.position;
        let progress = Progress { written: self.position, synced: self.position };
        Poll::Ready(Ok(Update::Progress(progress)))
    }
}

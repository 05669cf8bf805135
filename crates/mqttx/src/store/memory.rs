//! The store that ends with the process: for sessions that are removed and added again, and for tests.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use mqttx_proto::{Lsn, PacketId, Record, StoredMessage, SubscribeOptions};

use super::{Log, Opened, Progress, Store};
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
    messages: BTreeMap<u64, KeptMessage>,
    received: BTreeSet<PacketId>,
    filters: Vec<KeptFilter>,
    epoch: Option<Record>,
}

#[derive(Debug)]
struct KeptMessage {
    message: Box<StoredMessage>,
    id: Option<PacketId>,
    released: bool,
}

#[derive(Debug)]
struct KeptFilter {
    filter: String,
    options: SubscribeOptions,
    identifier: Option<u32>,
    granted: bool,
}

impl MemoryStore {
    /// An empty store; its clones are the same store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl Store for MemoryStore {
    fn open(&self, session: &str) -> Result<Opened, Error> {
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
        Ok(Opened { records: kept.records(), log: Box::new(log) })
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
    fn submit(&mut self, records: &mut Vec<Record>) {
        let mut sessions = self.store.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = sessions.entry(self.session.clone()).or_default();
        self.fenced = kept.owner != self.owner;
        if self.fenced {
            return records.clear();
        }
        self.position += records.len() as Lsn;
        records.drain(..).for_each(|record| kept.apply(record));
    }

    fn poll_progress(&mut self, _: &mut Context<'_>) -> Poll<Result<Progress, Error>> {
        if self.fenced {
            let text = "another session of that name has taken over the stored state";
            return Poll::Ready(Err(Error::store(text).with_session(&*self.session)));
        }
        // Progress is only ever made by `submit`, on the same driver: nobody needs to be woken.
        if self.told == self.position {
            return Poll::Pending;
        }
        self.told = self.position;
        Poll::Ready(Ok(Progress { written: self.position, synced: self.position }))
    }
}

impl Kept {
    fn apply(&mut self, record: Record) {
        match record {
            Record::Enqueue { sequence, message } => {
                self.messages.insert(sequence, KeptMessage { message, id: None, released: false });
            }
            Record::Assign { sequence, id } => self.change(sequence, |kept| kept.id = Some(id)),
            Record::Release { sequence } => self.change(sequence, |kept| kept.released = true),
            Record::Requeue { sequence } => self.change(sequence, |kept| {
                kept.id = None;
                kept.released = false;
            }),
            Record::Done { sequence } => {
                self.messages.remove(&sequence);
            }
            Record::Received { id } => {
                self.received.insert(id);
            }
            Record::Forgotten { id } => {
                self.received.remove(&id);
            }
            Record::Subscribe { filter, options, identifier } => {
                self.filters.retain(|kept| kept.filter != filter);
                self.filters.push(KeptFilter { filter, options, identifier, granted: false });
            }
            Record::Granted { filter } => {
                for kept in self.filters.iter_mut().filter(|kept| kept.filter == filter) {
                    kept.granted = true;
                }
            }
            Record::Unsubscribe { filter } => self.filters.retain(|kept| kept.filter != filter),
            epoch @ Record::Epoch { .. } => {
                self.received.clear();
                self.filters.iter_mut().for_each(|kept| kept.granted = false);
                self.epoch = Some(epoch);
            }
            _ => {}
        }
    }

    fn change(&mut self, sequence: u64, change: impl FnOnce(&mut KeptMessage)) {
        if let Some(kept) = self.messages.get_mut(&sequence) {
            change(kept);
        }
    }

    /// Records that lead to this state.
    fn records(&self) -> Vec<Record> {
        let mut records = Vec::new();
        for kept in &self.filters {
            let KeptFilter { filter, options, identifier, .. } = kept;
            let (filter, options, identifier) = (filter.clone(), *options, *identifier);
            records.push(Record::Subscribe { filter, options, identifier });
        }
        records.extend(self.epoch.clone());
        let granted = self.filters.iter().filter(|kept| kept.granted);
        records.extend(granted.map(|kept| Record::Granted { filter: kept.filter.clone() }));
        records.extend(self.received.iter().map(|&id| Record::Received { id }));
        for (&sequence, kept) in &self.messages {
            records.push(Record::Enqueue { sequence, message: kept.message.clone() });
            records.extend(kept.id.map(|id| Record::Assign { sequence, id }));
            records.extend(kept.released.then_some(Record::Release { sequence }));
        }
        records
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use mqttx_proto::{Properties, QoS};
    use std::task::Waker;

    fn enqueue(sequence: u64) -> Record {
        Record::Enqueue {
            sequence,
            message: Box::new(StoredMessage {
                topic: "t".to_owned(),
                payload: Bytes::from_static(b"x"),
                qos: QoS::ExactlyOnce,
                retain: false,
                properties: Properties::new(),
            }),
        }
    }

    fn progress(log: &mut dyn Log) -> Poll<Result<Progress, Error>> {
        log.poll_progress(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn what_is_finished_is_gone_and_the_rest_comes_back() {
        let store = MemoryStore::new();
        let mut opened = store.open("s").unwrap();
        assert!(opened.records.is_empty());
        let id = PacketId::new(7).unwrap();
        let epoch = Record::Epoch { epoch: 1, broker: 0, client_id: "c".to_owned() };
        let mut records = vec![
            epoch.clone(),
            enqueue(1),
            enqueue(2),
            Record::Assign { sequence: 1, id },
            Record::Done { sequence: 1 },
            Record::Assign { sequence: 2, id },
            Record::Release { sequence: 2 },
            Record::Received { id },
        ];
        opened.log.submit(&mut records);
        assert!(records.is_empty());
        let reached = Progress { written: 8, synced: 8 };
        assert!(matches!(progress(&mut *opened.log), Poll::Ready(Ok(p)) if p == reached));
        assert!(progress(&mut *opened.log).is_pending());
        let again = store.open("s").unwrap().records;
        let rest = [
            epoch,
            Record::Received { id },
            enqueue(2),
            Record::Assign { sequence: 2, id },
            Record::Release { sequence: 2 },
        ];
        assert_eq!(again, rest);
        assert!(store.open("other").unwrap().records.is_empty());
    }

    #[test]
    fn a_second_owner_fences_the_first() {
        let store = MemoryStore::new();
        let mut first = store.open("s").unwrap().log;
        let mut second = store.open("s").unwrap().log;
        first.submit(&mut vec![enqueue(1)]);
        assert!(matches!(progress(&mut *first), Poll::Ready(Err(_))));
        second.submit(&mut vec![enqueue(5)]);
        assert!(matches!(progress(&mut *second), Poll::Ready(Ok(_))));
        assert_eq!(store.open("s").unwrap().records, [enqueue(5)]);
    }
}

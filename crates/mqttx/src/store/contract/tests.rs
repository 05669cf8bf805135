//! The suite on stores in memory: a good one, one that spills, and some that break the contract.

use std::collections::{HashMap, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use mqttx_proto::{Lsn, Priority, Record, RecordBatch, Sequence};

use super::super::{
    Fetch, Fetched, FoldedState, Lane, Log, MemoryStore, Opened, Opening, Progress, Store, Update,
};
use super::*;
use crate::error::Error;

#[tokio::test]
async fn the_store_in_memory_keeps_the_contract() {
    verify(async || MemoryStore::new()).await;
}

#[tokio::test]
async fn a_store_that_spills_keeps_the_contract() {
    verify(async || Spilling::default()).await;
}

/// Which claim finds which fault. The clock is not the machine's: waiting in vain takes no time.
#[tokio::test(start_paused = true)]
async fn every_fault_is_found() {
    let skip = |skip| Spilling { skip: Some(skip), ..Spilling::default() };
    let mut missed = Vec::new();
    let mut expect = |what, found: bool| {
        if !found {
            missed.push(what);
        }
    };
    macro_rules! breaks {
        ($what:literal, $store:expr, $claim:ident) => {
            expect($what, panics($claim(&$store)).await);
        };
    }
    breaks!("done", skip(|r| matches!(r, Record::Done { .. })), finished_messages_are_gone);
    breaks!(
        "assign",
        skip(|r| matches!(r, Record::Assign { .. })),
        assignments_come_back_in_their_order
    );
    breaks!(
        "release",
        skip(|r| matches!(r, Record::Release { .. })),
        released_and_requeued_messages_stay_so
    );
    breaks!(
        "requeue",
        skip(|r| matches!(r, Record::Requeue { .. })),
        released_and_requeued_messages_stay_so
    );
    breaks!(
        "requeue",
        skip(|r| matches!(r, Record::Requeue { .. })),
        requeued_messages_are_fetched_again
    );
    breaks!("received", skip(|r| matches!(r, Record::Received { .. })), received_ids_come_back);
    breaks!("forgotten", skip(|r| matches!(r, Record::Forgotten { .. })), received_ids_come_back);
    breaks!(
        "epoch",
        skip(|r| matches!(r, Record::Epoch { .. })),
        epochs_void_received_ids_and_grants
    );
    breaks!("resumed", skip(|r| matches!(r, Record::Resumed)), epochs_void_received_ids_and_grants);
    breaks!(
        "granted",
        skip(|r| matches!(r, Record::Granted { .. })),
        filters_come_back_with_everything_in_order
    );
    breaks!(
        "unsubscribe",
        skip(|r| matches!(r, Record::Unsubscribe { .. })),
        filters_come_back_with_everything_in_order
    );
    let large = |r: &Record<'_>| matches!(r, Record::Enqueue { message, .. } if message.payload.len() > 100_000);
    breaks!("large", skip(large), messages_come_back_whole);
    let high = |r: &Record<'_>| matches!(r, Record::Enqueue { sequence, .. } if sequence.priority() == Priority::HIGHEST);
    breaks!("priorities", skip(high), priorities_are_kept_apart);
    let of = |fault| Spilling { fault: Some(fault), ..Spilling::default() };
    breaks!("ends", of(Fault::ForgetsEnds), numbers_are_not_used_again);
    breaks!("fence", of(Fault::TwoOwners), a_second_owner_fences_the_first);
    breaks!("names", of(Fault::FoldsNames), odd_session_names_are_kept_apart);
    breaks!("limits", of(Fault::ExceedsLimits), a_fetch_honours_its_limits);
    breaks!("next", of(Fault::PassesOver), a_fetch_past_the_end_is_empty);
    breaks!("falls", of(Fault::Falls), positions_never_fall_and_reach_the_last);
    breaks!("lazy", of(Fault::LeavesDone), finished_becomes_written_with_nothing_behind_it);
    breaks!("drop", of(Fault::LosesLast), dropped_logs_have_handed_everything_over);
    breaks!("random", of(Fault::LosesLast), random_one);
    assert!(missed.is_empty(), "nobody noticed: {missed:?}");
}

async fn random_one(store: &dyn Store) {
    random_records_come_back_as_the_model_has_them(store, 7, 300).await;
}

async fn panics(claim: impl Future<Output = ()>) -> bool {
    let mut claim = Box::pin(claim);
    let polled = std::future::poll_fn(|cx| {
        match std::panic::catch_unwind(AssertUnwindSafe(|| claim.as_mut().poll(cx))) {
            Ok(poll) => poll.map(|()| false),
            Err(_) => Poll::Ready(true),
        }
    });
    polled.await
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fault {
    ForgetsEnds,
    TwoOwners,
    FoldsNames,
    ExceedsLimits,
    PassesOver,
    Falls,
    LeavesDone,
    LosesLast,
}

/// Keeps queued messages to itself until they are fetched, and may have a fault.
#[derive(Clone, Default)]
struct Spilling {
    sessions: Arc<Mutex<HashMap<String, (u64, FoldedState)>>>,
    skip: Option<fn(&Record<'_>) -> bool>,
    fault: Option<Fault>,
}

impl std::fmt::Debug for Spilling {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Spilling")
    }
}

impl Spilling {
    fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }
}

/// The records without the queued messages, and those.
fn split(state: &FoldedState) -> (RecordBatch, Vec<(Sequence, Vec<u8>)>) {
    let all = state.records();
    let assigned: Vec<_> = all
        .iter()
        .filter_map(|record| match record {
            Ok(Record::Assign { sequence, .. }) => Some(sequence),
            _ => None,
        })
        .collect();
    let (mut kept, mut queued) = (RecordBatch::new(), Vec::new());
    for raw in all.iter().raw() {
        match Record::decode(raw).expect("a whole record") {
            Record::Enqueue { sequence, .. } if !assigned.contains(&sequence) => {
                queued.push((sequence, raw.to_vec()));
            }
            _ => kept.push_raw(raw),
        }
    }
    (kept, queued)
}

impl Store for Spilling {
    fn open(&self, session: &str) -> Opening {
        let session =
            if self.has(Fault::FoldsNames) { session.to_lowercase() } else { session.to_owned() };
        let mut sessions = self.sessions.lock().unwrap();
        let (owner, state) = sessions.entry(session.clone()).or_default();
        *owner += 1;
        let (records, queued) = split(state);
        let mut lanes = [Lane::default(); Priority::COUNT];
        for (n, lane) in lanes.iter_mut().enumerate() {
            let of_lane = || {
                queued.iter().filter(|(sequence, _)| usize::from(sequence.priority().get()) == n)
            };
            lane.end =
                of_lane().map(|(sequence, _)| sequence.number() + 1).max().unwrap_or_default();
            if !self.has(Fault::ForgetsEnds) {
                lane.end = state.ends()[n];
            }
            lane.next = of_lane().map(|(sequence, _)| sequence.number()).min().unwrap_or(lane.end);
            lane.messages = of_lane().count() as u64;
            lane.bytes = of_lane().map(|(_, raw)| raw.len() as u64).sum();
        }
        let log = SpillingLog {
            store: self.clone(),
            session,
            owner: *owner,
            position: 0,
            fenced: false,
            updates: VecDeque::new(),
        };
        let opened = Opened { records, lanes, log: Box::new(log), notices: Vec::new() };
        Box::pin(std::future::ready(Ok(opened)))
    }

    fn spills(&self) -> bool {
        true
    }
}

#[derive(Debug)]
struct SpillingLog {
    store: Spilling,
    session: String,
    owner: u64,
    position: Lsn,
    fenced: bool,
    updates: VecDeque<Update>,
}

impl Log for SpillingLog {
    fn submit(&mut self, records: &mut RecordBatch) {
        let sessions = Arc::clone(&self.store.sessions);
        let mut sessions = sessions.lock().unwrap();
        let (owner, state) = sessions.get_mut(&self.session).expect("it was opened");
        if *owner != self.owner && !self.store.has(Fault::TwoOwners) {
            self.fenced = true;
            records.clear();
            return;
        }
        let count =
            records.len() - usize::from(self.store.has(Fault::LosesLast) && records.len() > 1);
        for record in records.iter().flatten().take(count) {
            if !self.store.skip.is_some_and(|skip| skip(&record)) {
                state.apply(&record);
            }
        }
        self.position += records.len() as Lsn;
        let only_done = records.iter().all(|record| matches!(record, Ok(Record::Done { .. })));
        records.clear();
        let falls = self.store.has(Fault::Falls) && self.position.is_multiple_of(10);
        let reached = if falls { self.position - 5 } else { self.position };
        if !(only_done && self.store.has(Fault::LeavesDone)) {
            self.updates
                .push_back(Update::Progress(Progress { written: reached, synced: reached }));
        }
    }

    fn poll_update(&mut self, _: &mut Context<'_>) -> Poll<Result<Update, Error>> {
        match self.updates.pop_front() {
            Some(update) => Poll::Ready(Ok(update)),
            None if self.fenced => Poll::Ready(Err(Error::fenced(&self.session))),
            None => Poll::Pending,
        }
    }

    fn fetch(&mut self, wanted: Fetch) {
        let sessions = self.store.sessions.lock().unwrap();
        let (_, state) = &sessions[&self.session];
        let end = state.ends()[usize::from(wanted.priority.get())].max(wanted.from);
        let mut fetched =
            Fetched { priority: wanted.priority, records: RecordBatch::new(), next: end };
        if self.store.has(Fault::PassesOver) {
            fetched.next += 1;
        }
        let (_, queued) = split(state);
        let mut bytes = 0;
        for (sequence, raw) in queued {
            if sequence.priority() != wanted.priority || sequence.number() < wanted.from {
                continue;
            }
            fetched.records.push_raw(&raw);
            bytes += raw.len();
            let enough = bytes >= wanted.bytes || fetched.records.len() >= wanted.messages;
            if enough && !self.store.has(Fault::ExceedsLimits) {
                fetched.next = sequence.number() + 1;
                break;
            }
        }
        self.updates.push_back(Update::Fetched(fetched));
    }
}

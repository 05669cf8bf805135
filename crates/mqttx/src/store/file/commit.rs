//! The commit thread: takes what all sessions submitted as one group, writes it, makes it durable, and tells everybody.
//!
//! ```text
//! wait ─▶ take what is there ─▶ write one group ─▶ tell `written` ─▶ have it synced ─▶ answer, tidy up ─▶ wait
//!                                                                      └─▶ tell `synced`
//! ```
//!
//! A small group is synced on the spot, while the next one gathers. Under load another thread syncs, and groups are written
//! meanwhile: what waits for `written` only is not held up, and the next sync makes all of them durable.

mod answer;
mod reclaim;
mod room;
mod sync;

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mqttx_proto::RecordBatch;
use tokio::sync::oneshot;

use super::catalog::Catalog;
use super::disk::{Disk, DiskFile};
use super::engine::{Arrived, Options, Request, Shared};
use super::format::{GroupInfo, fill_group};
use super::group::{Batch, Fit, Group, Limits};
use super::helper::{self, Work};
use super::log::LogShared;
use super::reader::{self, Job};
use super::recover::Recovered;
use super::segment::{FastMap, Segment, Stage};
use super::worker::Worker;
use crate::error::Error;
use crate::store::{Fetch, StoreNotice};

/// What the commit thread knows.
pub(super) struct Committer {
    shared: Arc<Shared>,
    disk: Arc<dyn Disk>,
    options: Options,
    catalog: Catalog,
    /// Who has which session.
    owners: FastMap<u32, Arc<LogShared>>,
    /// The slot of the segment that is written.
    active: Option<u32>,
    next_id: u64,
    helper: Worker<Work>,
    reader: Worker<Job>,
    syncer: Worker<sync::SyncJob>,
    arrived: Arrived,
    backlog: VecDeque<Batch>,
    fetches: Vec<(Arc<LogShared>, Fetch)>,
    opens: Vec<answer::OpenRequest>,
    flushes: Vec<oneshot::Sender<()>>,
    closes: Vec<oneshot::Sender<()>>,
    stopping: bool,
    /// Until then whoever closes the store waits for room.
    patient_until: Option<Instant>,
    group: Group,
    unsynced: sync::Unsynced,
    room: room::Room,
    reclaim: reclaim::Reclaim,
    memory: Vec<RecordBatch>,
    notices: Vec<StoreNotice>,
}

/// Until then what nothing waits for may lie in memory.
const LAZY: Duration = Duration::from_millis(20);

/// So long a store without room is not closed: what waits for room was not accepted, and is lost then.
const PATIENCE: Duration = Duration::from_secs(5);

/// Segments may depend on each other's removal.
const CLOSING_ROUNDS: usize = 200;

/// How much memory goes back to the sessions.
const MEMORY_BATCHES: usize = 64;
const MEMORY_BATCH: usize = 512 << 10;

impl Committer {
    pub(super) fn new(
        shared: Arc<Shared>,
        disk: Arc<dyn Disk>,
        options: Options,
        recovered: Recovered,
    ) -> Result<Self, Error> {
        let no_thread = |error: std::io::Error| {
            Error::store(format!("no thread for the store: {error}")).with_source(error)
        };
        let helper = helper::start(Arc::clone(&disk), Arc::clone(&shared)).map_err(no_thread)?;
        let reader = reader::start(Arc::clone(&shared)).map_err(no_thread)?;
        let syncer = sync::start(Arc::clone(&shared)).map_err(no_thread)?;
        let mut committer = Self {
            room: room::Room::new(&options),
            shared,
            disk,
            options,
            catalog: recovered.catalog,
            owners: FastMap::default(),
            active: None,
            next_id: recovered.next_id,
            helper,
            reader,
            syncer,
            arrived: Arrived::default(),
            backlog: VecDeque::new(),
            fetches: Vec::new(),
            opens: Vec::new(),
            flushes: Vec::new(),
            closes: Vec::new(),
            stopping: false,
            patient_until: None,
            group: Group::default(),
            unsynced: sync::Unsynced::default(),
            reclaim: reclaim::Reclaim::default(),
            memory: Vec::new(),
            notices: recovered.notices,
        };
        let counters = &committer.shared.counters;
        counters.damaged_records.store(recovered.damaged, Ordering::Relaxed);
        committer.seal_recovered(&recovered.unsealed);
        for name in recovered.empty {
            committer.helper.send(Work::Discard(name));
        }
        committer.reclaim.look_again();
        committer.count();
        Ok(committer)
    }

    /// Works until the store is closed, or fails. Returns whom to tell when it is at rest, by dropping them.
    pub(super) fn run(mut self) -> Vec<oneshot::Sender<()>> {
        let served = catch_unwind(AssertUnwindSafe(|| self.serve()));
        let served = served.unwrap_or_else(|_| {
            Err(Error::store("the thread of the file store panicked; nothing further is durable"))
        });
        let error = match served {
            Ok(()) => {
                self.close();
                Error::store("the store was closed").with_code("store.closed")
            }
            Err(error) => {
                tracing::error!(target: "mqttx::store", "the file store stopped: {error}");
                error
            }
        };
        self.end(&error);
        self.closes
    }

    /// Leaves as little as possible on the disk. What fails here costs room, and nothing else.
    fn close(&mut self) {
        for _ in 0..CLOSING_ROUNDS {
            self.reclaim.look_again();
            self.sweep();
            if self.reclaim.has_records() && self.commit().is_err() {
                break;
            }
            let is_removing = |(_, segment): (u32, &Segment)| segment.stage == Stage::Removing;
            if !self.reclaim.has_records() && !self.catalog.segments.iter().any(is_removing) {
                break;
            }
            self.shared.wait(Some(Instant::now() + LAZY), Instant::now, &mut self.arrived);
            drop(self.take_arrived());
        }
        self.close_active();
        self.remove_next();
    }

    fn serve(&mut self) -> Result<(), Error> {
        loop {
            // What recovery left to do is done before the first request.
            self.turn()?;
            if self.stopping && (self.backlog.is_empty() || self.is_out_of_patience()) {
                return Ok(());
            }
            // A turn that waited for something may have taken in other things.
            if self.arrived.is_empty() {
                let until = self.due_at();
                self.shared.wait(until, || Instant::now() + LAZY, &mut self.arrived);
            }
        }
    }

    fn turn(&mut self) -> Result<(), Error> {
        self.take_arrived()?;
        self.commit()?;
        self.answer()?;
        self.sweep();
        self.on_due()?;
        // Tidying up may have something to say.
        if self.reclaim.has_records() {
            self.commit()?;
            self.sweep();
        }
        self.count();
        Ok(())
    }

    fn take_arrived(&mut self) -> Result<(), Error> {
        let mut arrived = std::mem::take(&mut self.arrived);
        for log in arrived.ready.drain(..) {
            let taken = log.take(self.memory.pop().unwrap_or_default());
            self.fetches.extend(taken.fetch.map(|fetch| (Arc::clone(&log), fetch)));
            let (records, before) = (taken.records, taken.before);
            if !records.is_empty() {
                let hurry = taken.hurry;
                self.backlog.push_back(Batch { log, records, before, hurry, done: 0, looked: 0 });
            } else if taken.hurry {
                self.unsynced.hurry();
            }
        }
        // Before anything that may wait for it.
        for (result, logs) in sync::take_synced(&mut arrived) {
            self.on_groups_synced(result, logs)?;
        }
        for request in arrived.requests.drain(..) {
            self.take_request(request)?;
        }
        self.arrived = arrived;
        Ok(())
    }

    fn take_request(&mut self, request: Request) -> Result<(), Error> {
        match request {
            Request::Open { name, engine, reply } => {
                self.opens.push(answer::OpenRequest { name, engine, reply });
            }
            Request::Flush(reply) => {
                self.patient_until = Some(Instant::now() + PATIENCE);
                self.flushes.push(reply);
            }
            Request::Stop => self.stop(),
            Request::Close(reply) => {
                self.stop();
                self.closes.push(reply);
            }
            Request::Prepared { id, size, made } => self.on_prepared(id, size, made),
            Request::Removed { slot, done } => self.on_removed(slot, done),
            Request::Pooled(bytes) => self.room.pooled = bytes,
            Request::Synced { result, active } => self.on_background_sync(result, active)?,
            Request::GroupsSynced(result, logs) => self.on_groups_synced(result, logs)?,
            Request::Candidates(candidates) => self.on_candidates(candidates),
            Request::Compacted(compacted) => self.on_compacted(compacted),
            Request::Notice(log, notice) => self.on_notice(&log, notice),
        }
        Ok(())
    }

    fn stop(&mut self) {
        self.stopping = true;
        self.patient_until = Some(Instant::now() + PATIENCE);
    }

    /// Whether whoever closes the store has waited for room long enough.
    fn is_out_of_patience(&self) -> bool {
        self.room.is_full() && self.patient_until.is_some_and(|until| until <= Instant::now())
    }

    /// Writes everything that there is, and room for.
    fn commit(&mut self) -> Result<(), Error> {
        while !self.backlog.is_empty() || self.reclaim.has_records() {
            let Some(slot) = self.active else {
                if self.roll(0)? {
                    continue;
                }
                break;
            };
            let fit = self.build(slot);
            self.write_group()?;
            if let Fit::SegmentFull(need) = fit
                && !self.roll(need)?
            {
                self.write_ahead(slot)?;
                break;
            }
        }
        self.serve_fetches();
        if self.unsynced.hurries() { self.have_synced() } else { Ok(()) }
    }

    fn build(&mut self, slot: u32) -> Fit {
        let Some(limits) = self.limits(slot) else { return Fit::SegmentFull(0) };
        self.begin_group(slot);
        let fit = self.reclaim.add_to(&mut self.group, &mut self.catalog, limits.all);
        if fit != Fit::Whole {
            return fit;
        }
        while let Some(batch) = self.backlog.front_mut() {
            let fit = self.group.add(&mut self.catalog, batch, limits);
            if fit != Fit::Whole {
                return fit;
            }
            if let Some(batch) = self.backlog.pop_front() {
                keep_memory(&mut self.memory, batch.records);
            }
        }
        Fit::Whole
    }

    fn begin_group(&mut self, slot: u32) {
        if let Some(segment) = self.catalog.segments.get(slot) {
            self.group.begin(slot, segment.id, segment.used);
        }
    }

    /// There is no room for messages: what finishes others is written all the same.
    fn write_ahead(&mut self, slot: u32) -> Result<(), Error> {
        let Some(limits) = self.limits(slot) else { return Ok(()) };
        self.begin_group(slot);
        let mut blocked = FastMap::default();
        for batch in &mut self.backlog {
            let number = batch.log.number;
            if !blocked.contains_key(&number)
                && self.group.add(&mut self.catalog, batch, limits) == Fit::Whole
            {
                continue;
            }
            blocked.insert(number, ());
            self.group.add_ahead(&mut self.catalog, batch, limits);
        }
        self.backlog.retain(|batch| batch.done < batch.records.len());
        self.write_group()
    }

    /// How far the segment may be filled. The last of it is for what makes room, until there is a next one.
    fn limits(&self, slot: u32) -> Option<Limits> {
        let segment = self.catalog.segments.get(slot)?;
        let reserve = if self.room.has_next() { 0 } else { room::reserve(segment.size) };
        Some(Limits { messages: segment.size - reserve, all: segment.size })
    }

    /// Writes the group, makes it durable if something waits for that, and tells the logs.
    fn write_group(&mut self) -> Result<(), Error> {
        if self.group.is_empty() {
            return Ok(());
        }
        self.group.finish(&self.catalog);
        self.put_group()?;
        let counters = &self.shared.counters;
        counters.records.fetch_add(self.group.records, Ordering::Relaxed);
        counters.group_records.record(self.group.records);
        let syncs_groups = self.syncs_groups();
        let now = Instant::now();
        let at_once = syncs_groups
            && (self.group.sync
                || (self.group.soon && self.unsynced.is_time(now, self.options.pace)));
        for (log, position, awaited) in self.group.logs.drain(..) {
            if awaited || !at_once {
                log.progress(position, if syncs_groups { 0 } else { position });
            }
            if syncs_groups {
                self.unsynced.add(log, position);
            }
        }
        self.unsynced.written(now, self.group.soon);
        if at_once {
            self.unsynced.hurry();
        }
        self.room.used(&self.options);
        Ok(())
    }

    /// Puts the bytes where they belong; without room, until there is some.
    fn put_group(&mut self) -> Result<(), Error> {
        let (base, len) = (self.group.base, self.group.bytes.len());
        let body = len - super::format::GROUP_FRAME;
        let info = GroupInfo {
            unix_ms: unix_ms(),
            durable: self.unsynced.durable,
            len: u32::try_from(body).unwrap_or(u32::MAX),
        };
        fill_group(&mut self.group.bytes, self.group.segment, base, &info);
        let Some(segment) = self.catalog.segments.get_mut(self.group.slot) else { return Ok(()) };
        segment.used = base + len as u64;
        let file = Arc::clone(&segment.file);
        self.write_patiently(&*file, base)?;
        self.unsynced.named = info.durable;
        if self.syncs_groups() {
            self.unsynced.keep(base, &mut self.group.bytes);
        }
        Ok(())
    }

    fn write_patiently(&mut self, file: &dyn DiskFile, base: u64) -> Result<(), Error> {
        let mut patience = 50;
        loop {
            let written = super::disk::write_all_at(file, &self.group.bytes, base);
            if written.is_err() {
                self.shared.counters.errors.fetch_add(1, Ordering::Relaxed);
            }
            match written {
                Ok(()) => return Ok(()),
                Err(error) if super::disk::is_full(&error) => {
                    self.set_full(true);
                    self.wait_a_while();
                    let closing = self
                        .arrived
                        .requests
                        .iter()
                        .any(|r| matches!(r, Request::Stop | Request::Close(_)));
                    patience -= i32::from(closing || self.stopping);
                    if patience < 0 {
                        return Err(failed("written", error));
                    }
                }
                Err(error) => return Err(failed("written", error)),
            }
        }
    }

    /// Lets things arrive for a moment.
    fn wait_a_while(&mut self) {
        let until = Instant::now() + room::PROBE;
        while Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
            let mut arrived = std::mem::take(&mut self.arrived);
            self.shared.wait(Some(Instant::now()), Instant::now, &mut arrived);
            self.arrived = arrived;
        }
    }

    fn syncs_groups(&self) -> bool {
        self.options.fsync == super::Fsync::Group
    }

    /// When something has to be done that nobody asks for.
    fn due_at(&self) -> Option<Instant> {
        let dues = [self.unsynced.due_at(&self.options), self.room.probe_at, self.room.shrink_at];
        dues.into_iter().flatten().min()
    }

    fn on_due(&mut self) -> Result<(), Error> {
        let now = Instant::now();
        if self.room.probe_at.is_some_and(|at| at <= now) {
            self.probe();
            self.commit()?;
        }
        if self.unsynced.due_at(&self.options).is_some_and(|at| at <= now) {
            self.sync_lazily()?;
        }
        if self.room.shrink_at.is_some_and(|at| at <= now) {
            self.shrink()?;
        }
        Ok(())
    }

    fn count(&self) {
        let counters = &self.shared.counters;
        let segments =
            self.catalog.segments.iter().count() as u64 + u64::from(self.room.has_next());
        counters.segments.store(segments, Ordering::Relaxed);
        counters.bytes.store(self.bytes(), Ordering::Relaxed);
    }

    /// Everything ends with this error.
    fn end(&mut self, error: &Error) {
        let left = self.shared.stop(error);
        self.owners.values().for_each(|log| log.fail(error.clone()));
        left.ready.iter().for_each(|log| log.fail(error.clone()));
        let requests = std::mem::take(&mut self.arrived.requests);
        for request in requests.into_iter().chain(left.requests) {
            match request {
                Request::Open { reply, .. } => drop(reply.send(Err(error.clone()))),
                Request::Flush(reply) => drop(reply.send(())),
                Request::Close(reply) => self.closes.push(reply),
                _ => {}
            }
        }
        for open in self.opens.drain(..) {
            drop(open.reply.send(Err(error.clone())));
        }
        self.flushes.drain(..).for_each(|reply| reply.send(()).unwrap_or_default());
    }
}

/// Memory of usual size is used again.
fn keep_memory(memory: &mut Vec<RecordBatch>, mut records: RecordBatch) {
    if memory.len() < MEMORY_BATCHES && records.byte_len() <= MEMORY_BATCH {
        records.clear();
        memory.push(records);
    }
}

pub(super) fn failed(what: &str, error: std::io::Error) -> Error {
    let text =
        format!("the store cannot be {what}: {error}; what was accepted since is not durable");
    Error::store(text).with_code("store.io").with_source(error)
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

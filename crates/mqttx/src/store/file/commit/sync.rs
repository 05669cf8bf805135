//! Making what was written durable, and what happens when that fails.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use mqttx_proto::{Lsn, Sequence};

use super::super::Fsync;
use super::super::disk::{DiskFile, write_all_at};
use super::super::engine::{Arrived, Options, Request, Shared};
use super::super::format::{
    FrameHeader, GROUP_FRAME, GroupInfo, Kind, SEGMENT_HEADER, fill_group, move_frame, put_frame,
};
use super::super::helper::Work;
use super::super::index::Position;
use super::super::log::LogShared;
use super::super::segment::Stage;
use super::super::worker::Worker;
use super::{Committer, failed, unix_ms};
use crate::error::Error;
use crate::store::{StoreNotice, Update};

/// What was written and is not durable.
#[derive(Debug, Default)]
pub(super) struct Unsynced {
    logs: Vec<(Arc<LogShared>, Lsn)>,
    /// The groups, and where they stand: should the sync fail, they are written again elsewhere.
    groups: Vec<(u64, Vec<u8>)>,
    memory: Vec<Vec<u8>>,
    spare_bytes: usize,
    bytes: u64,
    /// Everything below this offset of the active segment is durable.
    pub(super) durable: u64,
    /// The segment says so up to here.
    pub(super) named: u64,
    /// When the first of it was written.
    since: Option<Instant>,
    /// It has messages.
    soon: bool,
    /// Somebody waits for some of it.
    hurry: bool,
    /// When the last sync began.
    begun: Option<Instant>,
    /// When the last group became durable.
    idle_since: Option<Instant>,
    /// A sync that was handed over, of which segment up to where.
    in_background: Option<(u32, u64)>,
    /// The sync that another thread is at.
    under_way: Option<UnderWay>,
    /// Something waits for what was written since that began.
    wanted: bool,
}

/// What a sync makes durable.
#[derive(Debug)]
struct UnderWay {
    /// Everything below this offset of the active segment.
    up_to: u64,
    /// So many of the groups.
    groups: usize,
}

/// A sync for another thread, which tells the logs.
#[derive(Debug)]
pub(super) struct SyncJob {
    file: Arc<dyn DiskFile>,
    logs: Vec<(Arc<LogShared>, Lsn)>,
}

/// Logs, and how far they are durable.
pub(super) type SyncedLogs = Vec<(Arc<LogShared>, Lsn)>;

/// Starts the thread that syncs while the commit thread writes. It ends when the sender goes.
pub(super) fn start(shared: Arc<Shared>) -> std::io::Result<Worker<SyncJob>> {
    Worker::start("mqttx-store-sync", move |work| {
        while let Ok(SyncJob { file, logs }) = work.recv() {
            let result = shared.counters.timed_sync(&*file);
            if result.is_ok() {
                logs.iter().for_each(|(log, position)| log.progress(*position, *position));
            }
            shared.request(Request::GroupsSynced(result, logs));
        }
    })
}

/// Up to so many bytes a sync on the spot is sooner done than handed over.
const ON_THE_SPOT: u64 = 16 << 10;

/// Buffers of groups that are kept for the next ones, and so many bytes.
const SPARE_GROUPS: usize = 64;
const SPARE_BYTES: usize = 16 << 20;

/// Messages that nobody waits for become durable once there are so many bytes of them, whatever the pace.
const PACE_BYTES: u64 = 2 << 20;

/// What nothing waits for becomes durable after that time.
const LAZY_SYNC: Duration = Duration::from_secs(1);

/// After that time without a group the segment says what is durable.
const MARK: Duration = Duration::from_millis(50);

impl Unsynced {
    pub(super) fn add(&mut self, log: Arc<LogShared>, position: Lsn) {
        match self.logs.last_mut() {
            Some((last, to)) if Arc::ptr_eq(last, &log) => *to = position,
            _ => self.logs.push((log, position)),
        }
    }

    pub(super) fn keep(&mut self, base: u64, bytes: &mut Vec<u8>) {
        self.bytes += bytes.len() as u64;
        let memory = self.memory.pop().unwrap_or_default();
        self.spare_bytes -= memory.capacity();
        self.groups.push((base, std::mem::replace(bytes, memory)));
    }

    /// A group was written that nothing waits for; `soon`: with messages.
    pub(super) fn written(&mut self, now: Instant, soon: bool) {
        self.since.get_or_insert(now);
        self.soon |= soon;
    }

    /// Somebody waits for what was written.
    pub(super) fn hurry(&mut self) {
        self.hurry = true;
    }

    pub(super) fn hurries(&self) -> bool {
        self.hurry
    }

    /// Whether messages that nobody waits for have waited long enough for others.
    pub(super) fn is_time(&self, now: Instant, pace: Duration) -> bool {
        self.bytes >= PACE_BYTES || self.begun.is_none_or(|begun| begun + pace <= now)
    }

    pub(super) fn due_at(&self, options: &Options) -> Option<Instant> {
        match options.fsync {
            Fsync::Group => {
                let lazy = self.since.map(|since| since + LAZY_SYNC);
                // Until the sync that is under way ends, there is nothing to do for these.
                let at_rest = self.under_way.is_none();
                let mark = self.idle_since.filter(|_| at_rest).map(|since| since + MARK);
                let waits = self.soon && at_rest;
                let soon = self.begun.filter(|_| waits).map(|begun| begun + options.pace);
                lazy.into_iter().chain(mark).chain(soon).min()
            }
            Fsync::Interval(_) if self.in_background.is_some() => None,
            Fsync::Interval(every) => self.since.map(|since| since + every),
            Fsync::Os => None,
        }
    }

    fn done(&mut self, durable: u64) {
        for (log, position) in self.logs.drain(..) {
            log.progress(position, position);
        }
        self.drop_groups(self.groups.len());
        self.bytes = 0;
        self.durable = durable;
        self.begins(None);
        self.wanted = false;
        self.idle_since = Some(Instant::now());
    }

    /// A sync begins, or ended with everything: what is written from now on waits for the next.
    fn begins(&mut self, now: Option<Instant>) {
        self.begun = now.or(self.begun);
        self.since = None;
        (self.soon, self.hurry) = (false, false);
    }

    fn drop_groups(&mut self, count: usize) {
        for (_, bytes) in self.groups.drain(..count) {
            self.bytes -= bytes.len() as u64;
            let spare = self.spare_bytes + bytes.capacity();
            if self.memory.len() < SPARE_GROUPS && spare <= SPARE_BYTES {
                self.spare_bytes = spare;
                self.memory.push(bytes);
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.logs.is_empty() && self.groups.is_empty()
    }

    /// The segment that is written is a new one.
    pub(super) fn turn_to_new(&mut self) {
        (self.durable, self.named) = (SEGMENT_HEADER, SEGMENT_HEADER);
    }
}

impl Committer {
    /// Sees to it that everything that was written becomes durable: here and now, or by the thread for it.
    pub(super) fn have_synced(&mut self) -> Result<(), Error> {
        self.unsynced.hurry = false;
        if self.unsynced.is_empty() {
            return Ok(());
        }
        if self.unsynced.under_way.is_some() {
            self.unsynced.wanted = true;
            return Ok(());
        }
        if self.unsynced.bytes <= ON_THE_SPOT {
            return self.sync();
        }
        let Some(segment) = self.active.and_then(|slot| self.catalog.segments.get(slot)) else {
            return Ok(());
        };
        let logs = std::mem::take(&mut self.unsynced.logs);
        let job = SyncJob { file: Arc::clone(&segment.file), logs };
        let (up_to, groups) = (segment.used, self.unsynced.groups.len());
        self.unsynced.under_way = Some(UnderWay { up_to, groups });
        self.unsynced.begins(Some(Instant::now()));
        self.unsynced.wanted = false;
        self.syncer.send(job);
        Ok(())
    }

    /// The thread for it is done: goes on with what was written meanwhile.
    pub(super) fn on_groups_synced(
        &mut self,
        result: std::io::Result<()>,
        mut logs: Vec<(Arc<LogShared>, Lsn)>,
    ) -> Result<(), Error> {
        let unsynced = &mut self.unsynced;
        let Some(UnderWay { up_to, groups }) = unsynced.under_way.take() else { return Ok(()) };
        if let Err(error) = result {
            logs.append(&mut unsynced.logs);
            unsynced.logs = logs;
            return self.on_sync_failed(error);
        }
        let counters = &self.shared.counters;
        counters.groups.fetch_add(1, Ordering::Relaxed);
        counters.synced_bytes.fetch_add(up_to.saturating_sub(unsynced.durable), Ordering::Relaxed);
        unsynced.drop_groups(groups);
        unsynced.durable = up_to;
        unsynced.idle_since = Some(Instant::now());
        if unsynced.logs.is_empty() && unsynced.logs.capacity() == 0 {
            logs.clear();
            unsynced.logs = logs;
        }
        if unsynced.wanted { self.have_synced() } else { Ok(()) }
    }

    /// Waits for the sync that is under way, if there is one.
    pub(super) fn await_sync(&mut self) -> Result<(), Error> {
        self.unsynced.wanted = false;
        while self.unsynced.under_way.is_some() {
            let mut arrived = std::mem::take(&mut self.arrived);
            let synced = take_synced(&mut arrived);
            if synced.is_empty() {
                self.shared.wait(Some(Instant::now() + LAZY_SYNC), Instant::now, &mut arrived);
            }
            self.arrived = arrived;
            for (result, logs) in synced {
                self.on_groups_synced(result, logs)?;
            }
        }
        Ok(())
    }

    /// Makes everything durable that was written.
    pub(super) fn sync(&mut self) -> Result<(), Error> {
        self.await_sync()?;
        let Some(segment) = self.active.and_then(|slot| self.catalog.segments.get(slot)) else {
            return Ok(());
        };
        let (file, used) = (Arc::clone(&segment.file), segment.used);
        self.unsynced.begins(Some(Instant::now()));
        match self.shared.counters.timed_sync(&*file) {
            Ok(()) => {
                self.synced(used);
                Ok(())
            }
            Err(error) => self.on_sync_failed(error),
        }
    }

    fn synced(&mut self, used: u64) {
        let counters = &self.shared.counters;
        counters.groups.fetch_add(1, Ordering::Relaxed);
        let bytes = used.saturating_sub(self.unsynced.durable);
        counters.synced_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.unsynced.done(used);
    }

    /// What nothing waited for: it was time.
    pub(super) fn sync_lazily(&mut self) -> Result<(), Error> {
        let now = Instant::now();
        match self.options.fsync {
            Fsync::Group if self.unsynced.since.is_some_and(|since| since + LAZY_SYNC <= now) => {
                self.sync()
            }
            Fsync::Group if self.unsynced.soon && self.unsynced.is_time(now, self.options.pace) => {
                self.have_synced()
            }
            Fsync::Group => self.mark(),
            Fsync::Interval(_) => {
                if let Some(slot) = self.active
                    && let Some(segment) = self.catalog.segments.get(slot)
                {
                    let file = Arc::clone(&segment.file);
                    self.unsynced.in_background = Some((slot, segment.used));
                    self.unsynced.since = None;
                    self.helper.send(Work::Sync { file, active: true });
                }
                Ok(())
            }
            Fsync::Os => Ok(()),
        }
    }

    pub(super) fn on_background_sync(
        &mut self,
        result: std::io::Result<()>,
        active: bool,
    ) -> Result<(), Error> {
        result.map_err(|error| failed("made durable", error))?;
        self.shared.counters.groups.fetch_add(1, Ordering::Relaxed);
        if active
            && let Some((slot, used)) = self.unsynced.in_background.take()
            && self.active == Some(slot)
        {
            let bytes = used.saturating_sub(self.unsynced.durable);
            self.shared.counters.synced_bytes.fetch_add(bytes, Ordering::Relaxed);
            self.unsynced.durable = self.unsynced.durable.max(used);
        }
        Ok(())
    }

    /// Says in the segment what is durable, so that damage there is not taken for a torn end.
    fn mark(&mut self) -> Result<(), Error> {
        self.unsynced.idle_since = None;
        let Some(slot) = self.active else { return Ok(()) };
        let Some(segment) = self.catalog.segments.get(slot) else { return Ok(()) };
        let has_room = segment.used + 4 * (GROUP_FRAME as u64) < segment.size;
        let fresh = self.unsynced.is_empty() && self.unsynced.named < self.unsynced.durable;
        if !fresh || !has_room {
            return Ok(());
        }
        self.begin_group(slot);
        self.put_group()
    }

    /// The data of a failed sync may be gone although the next sync succeeds, so it is not tried again: the segment is given
    /// up from where it was durable, and the groups are written into a new one.
    fn on_sync_failed(&mut self, error: std::io::Error) -> Result<(), Error> {
        let groups = std::mem::take(&mut self.unsynced.groups);
        let Some(old) = self.active.take() else { return Ok(()) };
        if let Some(segment) = self.catalog.segments.get_mut(old) {
            segment.stage = Stage::Sealed;
        }
        let text = format!(
            "a sync of {} failed: {error}; the last {} groups are written again into a new segment",
            super::super::recover::name_of(&self.catalog, old),
            groups.len()
        );
        tracing::error!(target: "mqttx::store", "{text}");
        let need = groups.iter().map(|(_, group)| group.len() as u64).sum::<u64>();
        let names =
            self.catalog.segments.get(old).map_or(0, |segment| segment.touched.len() as u64);
        if !self.open_segment(need + names * 256 + (4 << 10)).unwrap_or(false) {
            return Err(failed("made durable", error));
        }
        self.unsynced.turn_to_new();
        let again =
            self.write_again(old, &groups).map_err(|error| failed("made durable", error))?;
        self.synced(again);
        self.reclaim.look_again();
        let notice = StoreNotice { text, lost_records: 0 };
        for log in self.owners.values() {
            log.tell(Update::Notice(notice.clone()));
        }
        Ok(())
    }

    fn write_again(&mut self, old: u32, groups: &[(u64, Vec<u8>)]) -> std::io::Result<u64> {
        let Some(slot) = self.active else { return Ok(0) };
        let old_id = self.catalog.segments.get(old).map_or(0, |segment| segment.id);
        let (id, file) = match self.catalog.segments.get(slot) {
            Some(segment) => (segment.id, Arc::clone(&segment.file)),
            None => return Ok(0),
        };
        let base = SEGMENT_HEADER;
        let mut out = vec![0; GROUP_FRAME];
        let frames = frames(groups, old_id);
        // The new segment has to know the sessions.
        for (header, ..) in frames.iter().filter(|(header, ..)| header.kind != Kind::Group) {
            if self.catalog.touch(header.session, slot) {
                let session = self.catalog.sessions.get(&header.session);
                let name = session.map_or("", |session| &session.name);
                put_frame(&mut out, (id, base), (Kind::Name, header.session), name.as_bytes());
            }
        }
        self.catalog.add_source(slot, old);
        for &(header, from, frame) in &frames {
            if header.kind == Kind::Group {
                continue;
            }
            let at = base + out.len() as u64;
            let start = out.len();
            out.extend_from_slice(frame);
            move_frame(&mut out[start..], header.kind, id, at);
            if header.kind == Kind::Message {
                self.move_message((old, slot), &header, from, at);
            }
        }
        let body = (out.len() - GROUP_FRAME) as u32;
        let info = GroupInfo { unix_ms: unix_ms(), durable: SEGMENT_HEADER, len: body };
        fill_group(&mut out, id, base, &info);
        write_all_at(&*file, &out, base)?;
        file.sync()?;
        let used = base + out.len() as u64;
        if let Some(segment) = self.catalog.segments.get_mut(slot) {
            segment.used = used;
        }
        Ok(used)
    }

    fn move_message(&mut self, (old, new): (u32, u32), header: &FrameHeader, from: u64, to: u64) {
        let sequence = Sequence::from_bits(header.sequence);
        let place = self.catalog.position(header.session, sequence);
        if let Some(place) = place.filter(|place| place.slot() == old && place.offset() == from) {
            let len = header.frame_len() as usize;
            let to = Position::new(new, to, len, place.is_qos2());
            self.catalog.moved(header.session, sequence, place, to);
        } else if place.is_none() {
            // A `Done` in the same groups finished it: it has to stay finished.
            self.catalog.segments.tomb(new, old, header.session, header.sequence, 1);
        }
    }

    /// Hands the sync of a finished segment over, where nothing waits for it.
    pub(super) fn sync_sealed(&mut self, file: &Arc<dyn DiskFile>) {
        if matches!(self.options.fsync, Fsync::Interval(_)) {
            self.helper.send(Work::Sync { file: Arc::clone(file), active: false });
        }
    }
}

/// What the thread that syncs has done.
pub(super) fn take_synced(arrived: &mut Arrived) -> Vec<(std::io::Result<()>, SyncedLogs)> {
    let is_it = |request: &mut Request| matches!(request, Request::GroupsSynced(..));
    let synced = arrived.requests.extract_if(.., is_it);
    let parts = synced.filter_map(|request| match request {
        Request::GroupsSynced(result, logs) => Some((result, logs)),
        _ => None,
    });
    parts.collect()
}

/// The frames of groups: header, where it stood, and bytes.
fn frames(groups: &[(u64, Vec<u8>)], segment: u64) -> Vec<(FrameHeader, u64, &[u8])> {
    let mut found = Vec::new();
    for (base, group) in groups {
        let mut at = 0;
        while let Some(rest) = group.get(at..)
            && let Some(header) =
                FrameHeader::decode(rest, segment, base + at as u64, rest.len() as u64)
        {
            let len = header.frame_len() as usize;
            found.push((header, base + at as u64, &rest[..len]));
            at += len;
        }
    }
    found
}

#[cfg(test)]
#[test]
fn commit_thread_sleeps_while_a_sync_lasts() {
    let options = Options {
        fsync: Fsync::Group,
        max_bytes: None,
        smallest: 1 << 20,
        largest: 1 << 20,
        ahead: u64::MAX,
        pace: Duration::from_millis(5),
    };
    let begun = Instant::now();
    let mut unsynced = Unsynced { idle_since: Some(begun), ..Unsynced::default() };
    unsynced.begins(Some(begun));
    unsynced.under_way = Some(UnderWay { up_to: SEGMENT_HEADER, groups: 1 });
    let later = begun + 2 * MARK;
    unsynced.written(later, true);
    assert!(unsynced.due_at(&options).is_some_and(|at| at > later), "nothing it could do before");
    unsynced.under_way = None;
    assert!(unsynced.due_at(&options).is_some_and(|at| at <= later), "it is time for both");
}

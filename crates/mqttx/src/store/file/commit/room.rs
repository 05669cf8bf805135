//! Room for more: the next segment, how large it is, and what happens when there is none.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::super::disk::{DiskFile, is_full};
use super::super::engine::{Options, Request};
use super::super::format::{GROUP_FRAME, Kind, SEGMENT_HEADER, SegmentHeader, VERSION, put_frame};
use super::super::helper::{Work, create_segment};
use super::super::segment::{Segment, Stage, file_name};
use super::{Committer, GroupInfo, failed, unix_ms};
use crate::error::Error;
use crate::store::Update;

/// Where the next segment comes from.
#[derive(Debug)]
pub(super) struct Room {
    /// The size of segments, at the moment.
    size: u64,
    /// How many in a row were filled fast.
    fast: u32,
    begun_at: Instant,
    next: Option<Next>,
    preparing: bool,
    /// Bytes of files that wait for another life.
    pub(super) pooled: u64,
    full: bool,
    /// When to look whether there is room again.
    pub(super) probe_at: Option<Instant>,
    /// When a store that nobody writes needs no large segment any more.
    pub(super) shrink_at: Option<Instant>,
}

#[derive(Debug)]
struct Next {
    id: u64,
    size: u64,
    file: Arc<dyn DiskFile>,
}

/// How often a full store looks for room.
pub(super) const PROBE: Duration = Duration::from_millis(100);

/// A segment that was filled in this time makes the next four times as large, from the second on.
const FAST: Duration = Duration::from_secs(10);
const GROWTH: u64 = 4;

/// One that took that long makes it smaller again.
const SLOW: Duration = Duration::from_secs(600);

/// After that time without a group a store without messages begins with a small segment again.
const IDLE: Duration = Duration::from_secs(5);

/// What stays free at the end of the last segment for records that make room.
pub(super) fn reserve(size: u64) -> u64 {
    (size / 8).min(1 << 20)
}

impl Room {
    pub(super) fn new(options: &Options) -> Self {
        Self {
            size: options.smallest,
            fast: 0,
            begun_at: Instant::now(),
            next: None,
            preparing: false,
            pooled: 0,
            full: false,
            probe_at: None,
            shrink_at: None,
        }
    }

    /// A group was written.
    pub(super) fn used(&mut self, options: &Options) {
        self.shrink_at = (self.size > options.smallest).then(|| Instant::now() + IDLE);
    }

    /// Whether the next segment is there.
    pub(super) fn has_next(&self) -> bool {
        self.next.is_some()
    }

    pub(super) fn is_full(&self) -> bool {
        self.full
    }

    /// What is on the disk beside the segments of the catalog.
    fn bytes(&self) -> u64 {
        self.pooled + self.next.as_ref().map_or(0, |next| next.size)
    }
}

impl Committer {
    /// Bytes of all files.
    pub(super) fn bytes(&self) -> u64 {
        self.catalog.segments.bytes() + self.room.bytes()
    }

    /// Ends the active segment and goes on in a new one, with room for `need` bytes in one piece. Returns `false` when there is
    /// no room for one.
    pub(super) fn roll(&mut self, need: u64) -> Result<bool, Error> {
        if self.room.full && self.room.probe_at.is_some_and(|at| at > Instant::now()) {
            return Ok(false);
        }
        let old = self.active;
        if old.is_some() {
            self.grow();
        }
        if !self.open_segment(need)? {
            self.active = old;
            return Ok(false);
        }
        if let Some(old) = old {
            let new = self.active.replace(old);
            self.seal(old)?;
            if self.active == Some(old) {
                self.active = new;
            } else if let Some(unused) = new.and_then(|new| self.catalog.segments.get_mut(new)) {
                // The sync failed, and its groups went into yet another segment.
                unused.stage = Stage::Sealed;
                return Ok(true);
            }
        }
        self.unsynced.turn_to_new();
        self.prepare_ahead();
        self.begin_compaction();
        self.reclaim.look_again();
        Ok(true)
    }

    /// Makes a new segment the active one.
    pub(super) fn open_segment(&mut self, need: u64) -> Result<bool, Error> {
        let least = need + need / 4 + SEGMENT_HEADER + (4 << 10);
        let wanted = self.room.size.max(if need > 0 { least } else { 0 });
        self.await_prepared();
        let ready = self.room.next.take_if(|next| next.size >= wanted.min(least));
        // Segments are written in the order of their ids.
        self.remove_next();
        let created = match ready {
            Some(next) => Some(next),
            None => self.create(wanted.next_multiple_of(4 << 10), least)?,
        };
        let Some(Next { id, size, file }) = created else {
            self.set_full(true);
            return Ok(false);
        };
        let segment = Segment::new(id, file, size, false);
        let Some(slot) = self.catalog.segments.add(segment) else {
            return Err(Error::store("the store has too many segments"));
        };
        self.active = Some(slot);
        if self.room.full && self.has_room() {
            self.set_full(false);
        }
        Ok(true)
    }

    /// A segment that is being prepared is the next one: one made meanwhile would come before it.
    fn await_prepared(&mut self) {
        while self.room.preparing {
            let mut arrived = std::mem::take(&mut self.arrived);
            self.shared.wait(Some(Instant::now() + PROBE), Instant::now, &mut arrived);
            let is_it = |request: &mut Request| matches!(request, Request::Prepared { .. });
            let prepared: Vec<_> = arrived.requests.extract_if(.., is_it).collect();
            self.arrived = arrived;
            for request in prepared {
                if let Request::Prepared { id, size, made } = request {
                    self.on_prepared(id, size, made);
                }
            }
        }
    }

    /// Creates a segment here and now: the first, a small one, or when the helper is late.
    fn create(&mut self, mut size: u64, least: u64) -> Result<Option<Next>, Error> {
        loop {
            let smaller = (size / 2).max(self.options.smallest);
            let can_shrink = smaller < size && smaller >= least;
            let allowed = self.options.max_bytes.is_none_or(|max| self.bytes() + size <= max);
            if allowed {
                let id = self.take_id();
                let header =
                    SegmentHeader { version: VERSION, id, size, cold: false, recycled: false };
                match create_segment(&*self.disk, &header, None) {
                    Ok(file) => return Ok(Some(Next { id, size, file })),
                    Err(error) if is_full(&error) => {}
                    Err(error) => return Err(failed("written", error)),
                }
            }
            if !can_shrink {
                return Ok(None);
            }
            size = smaller;
        }
    }

    pub(super) fn take_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id - 1
    }

    /// Larger segments for a store that is written fast, or tells much of its sessions.
    fn grow(&mut self) {
        let most = self.options.max_bytes.map_or(self.options.largest, |max| {
            self.options.largest.min((max / 8).max(self.options.smallest))
        });
        let room = &mut self.room;
        let took = std::mem::replace(&mut room.begun_at, Instant::now()).elapsed();
        room.fast = if took < FAST { room.fast + 1 } else { 0 };
        if room.fast >= 2 {
            room.size = (room.size * GROWTH).min(most);
        } else if took > SLOW {
            room.size = (room.size / GROWTH).max(self.options.smallest);
        }
        let told: u64 = self.catalog.sessions.values().map(|s| s.snapshot_bytes()).sum();
        room.size = room.size.max((told * 8).next_power_of_two().min(most));
    }

    /// Ends a segment: what was written is durable, and it says that nothing follows.
    fn seal(&mut self, slot: u32) -> Result<(), Error> {
        self.write_end(slot)?;
        if self.syncs_groups() {
            self.sync()?;
        }
        let Some(segment) = self.catalog.segments.get_mut(slot) else { return Ok(()) };
        segment.stage = Stage::Sealed;
        let file = Arc::clone(&segment.file);
        // Room that stayed free goes back, but for files that can be used again.
        let has_rest = segment.size - segment.used > segment.size / 8;
        if (segment.size < self.options.largest || has_rest) && file.set_len(segment.used).is_ok() {
            segment.size = segment.used;
        }
        self.sync_sealed(&file);
        Ok(())
    }

    /// Writes the end record.
    pub(super) fn write_end(&mut self, slot: u32) -> Result<(), Error> {
        let Some(segment) = self.catalog.segments.get_mut(slot) else { return Ok(()) };
        let mut frame = Vec::with_capacity(GROUP_FRAME);
        let info = GroupInfo { unix_ms: unix_ms(), durable: segment.used, len: 0 };
        put_frame(&mut frame, (segment.id, segment.used), (Kind::End, 0), &info.encode());
        match super::super::disk::write_all_at(&*segment.file, &frame, segment.used) {
            Ok(()) => segment.used += frame.len() as u64,
            // Without it the next opening says that the end is missing, and nothing is lost.
            Err(error) if is_full(&error) => {}
            Err(error) => return Err(failed("written", error)),
        }
        Ok(())
    }

    /// The end of a clean close.
    pub(super) fn close_active(&mut self) {
        let Some(slot) = self.active else { return };
        let is_empty = self.catalog.segments.get(slot).is_some_and(|s| s.used == SEGMENT_HEADER);
        if !is_empty && self.write_end(slot).is_err() {
            return;
        }
        let Some(segment) = self.catalog.segments.get_mut(slot) else { return };
        let done = if is_empty {
            self.disk.remove(&file_name(segment.id)).and_then(|()| self.disk.sync())
        } else {
            segment.file.sync().and_then(|()| segment.file.set_len(segment.used))
        };
        if let Err(error) = done {
            tracing::warn!(target: "mqttx::store", "the last segment was not cut: {error}");
        }
    }

    /// Removes the segment that was prepared.
    pub(super) fn remove_next(&mut self) {
        if let Some(next) = self.room.next.take() {
            drop(self.disk.remove(&file_name(next.id)));
        }
    }

    /// Segments of an earlier life are complete from now on.
    pub(super) fn seal_recovered(&mut self, unsealed: &[(u32, u64)]) {
        for &(slot, _) in unsealed {
            if self.write_end(slot).is_err() {
                continue;
            }
            let Some(segment) = self.catalog.segments.get_mut(slot) else { continue };
            if segment.file.set_len(segment.used).and_then(|()| segment.file.sync()).is_ok() {
                segment.size = segment.used;
            }
        }
    }

    /// Has the next segment made before it is needed.
    pub(super) fn prepare_ahead(&mut self) {
        let size = self.room.size;
        if size < self.options.ahead || self.room.preparing || self.room.next.is_some() {
            return;
        }
        if !self.fit_size() {
            self.set_full(true);
            return;
        }
        let size = self.room.size;
        if size < self.options.ahead {
            return;
        }
        let id = self.take_id();
        self.room.preparing = self.helper.send(Work::Prepare { id, size });
    }

    pub(super) fn on_prepared(
        &mut self,
        id: u64,
        size: u64,
        made: std::io::Result<Arc<dyn DiskFile>>,
    ) {
        self.room.preparing = false;
        match made {
            Ok(file) => {
                self.room.next = Some(Next { id, size, file });
                if self.room.full {
                    self.set_full(false);
                }
            }
            Err(error) if is_full(&error) => {
                self.room.size = (size / 2).max(self.options.smallest);
                self.prepare_ahead();
            }
            // Whoever needs it creates it, and sees the error.
            Err(error) => {
                tracing::warn!(target: "mqttx::store", "no segment was prepared: {error}")
            }
        }
    }

    /// Tells everybody that there is no room, or that there is room again.
    pub(super) fn set_full(&mut self, full: bool) {
        self.room.probe_at = full.then(|| Instant::now() + PROBE);
        if std::mem::replace(&mut self.room.full, full) == full {
            return;
        }
        let what = if full { "has no room: new messages wait" } else { "has room again" };
        tracing::warn!(target: "mqttx::store", "the file store {what}");
        self.shared.counters.full.store(full, Ordering::Relaxed);
        self.owners.values().for_each(|log| log.tell(Update::Full(full)));
    }

    /// Looks for room again.
    pub(super) fn probe(&mut self) {
        self.room.probe_at = Some(Instant::now() + PROBE);
        if !self.room.full {
            self.room.probe_at = None;
        } else if self.fit_size() {
            if self.room.size >= self.options.ahead {
                self.prepare_ahead();
            } else {
                self.set_full(false);
            }
        }
    }

    /// Chooses the largest size for which there is room. Returns `false` when there is none.
    fn fit_size(&mut self) -> bool {
        while !self.has_room_for(self.room.size) {
            if self.room.size <= self.options.smallest {
                return false;
            }
            self.room.size = (self.room.size / 2).max(self.options.smallest);
        }
        true
    }

    /// Nobody writes: if no message is left, a small segment will do.
    pub(super) fn shrink(&mut self) -> Result<(), Error> {
        self.room.shrink_at = None;
        if self.catalog.segments.live_bytes() > 0 || !self.backlog.is_empty() {
            return Ok(());
        }
        self.room.fast = 0;
        self.room.size = self.options.smallest;
        self.await_prepared();
        self.remove_next();
        self.roll(0)?;
        self.sweep();
        Ok(())
    }

    /// Whether a small store is about to run out of room; a large one knows it from its next segment.
    pub(super) fn look_for_room(&mut self) {
        let Some(segment) = self.active.and_then(|slot| self.catalog.segments.get(slot)) else {
            return;
        };
        let late =
            segment.used > segment.size / 2 && self.room.next.is_none() && !self.room.preparing;
        if late && !self.room.full && !self.has_room() {
            self.set_full(true);
        }
    }

    /// The size of segments, at the moment.
    pub(super) fn room_size(&self) -> u64 {
        self.room.size
    }

    fn has_room(&self) -> bool {
        self.has_room_for(self.room.size.min(self.options.smallest))
    }

    fn has_room_for(&self, size: u64) -> bool {
        let allowed = self.options.max_bytes.is_none_or(|max| self.bytes() + size <= max);
        allowed && self.disk.available().is_ok_and(|available| available >= size)
    }
}

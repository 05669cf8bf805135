//! Giving room back: segments that nothing needs go, and those with few messages left are emptied first.

use std::collections::VecDeque;
use std::sync::Arc;

use super::super::Fsync;
use super::super::catalog::Catalog;
use super::super::compact::{Candidates, CompactJob, Compacted, Place};
use super::super::format::{SegmentHeader, VERSION};
use super::super::group::{Fit, Group};
use super::super::helper::{Work, create_segment};
use super::super::index::Position;
use super::super::reader::Job;
use super::super::segment::{Run, Segment, Stage};
use super::Committer;
use mqttx_proto::Sequence;

/// What has to be said again before segments can go.
#[derive(Debug, Default)]
pub(super) struct Reclaim {
    look_again: bool,
    /// Sessions whose small state is told again.
    snapshots: VecDeque<u32>,
    /// Finished messages whose bytes are still somewhere.
    tombs: VecDeque<Tombs>,
    /// The slot of the cold segment that is written.
    cold: Option<u32>,
    compacting: bool,
}

#[derive(Debug)]
struct Tombs {
    /// The segment that says so now.
    told: u32,
    target: u32,
    session: u32,
    runs: Vec<Run>,
}

impl Reclaim {
    pub(super) fn look_again(&mut self) {
        self.look_again = true;
    }

    pub(super) fn has_records(&self) -> bool {
        !self.snapshots.is_empty() || !self.tombs.is_empty()
    }

    /// Puts into the group what has to be said again.
    pub(super) fn add_to(&mut self, group: &mut Group, catalog: &mut Catalog, limit: u64) -> Fit {
        while let Some(&number) = self.snapshots.front() {
            let fit = group.add_snapshot(catalog, number, limit);
            if fit != Fit::Whole {
                return fit;
            }
            self.snapshots.pop_front();
            self.look_again = true;
        }
        while let Some(tombs) = self.tombs.front() {
            let runs: Vec<_> = tombs.runs.iter().map(|run| (run.first, run.count)).collect();
            let fit = group.add_tombs(catalog, tombs.session, &runs, limit);
            if fit != Fit::Whole {
                return fit;
            }
            if let Some(Tombs { target, session, .. }) = self.tombs.pop_front() {
                for (first, count) in runs {
                    catalog.segments.tomb(group.slot, target, session, first, count);
                }
            }
            self.look_again = true;
        }
        Fit::Whole
    }
}

impl Committer {
    /// Looks for segments that can go.
    pub(super) fn sweep(&mut self) {
        if !self.catalog.segments.take_emptied() && !self.reclaim.look_again {
            return;
        }
        self.reclaim.look_again = false;
        self.drop_cold();
        let dead: Vec<u32> = self
            .catalog
            .segments
            .iter()
            .filter(|(slot, segment)| {
                segment.stage == Stage::Sealed
                    && segment.live == 0
                    && segment.moving_to.is_none()
                    && self.active != Some(*slot)
            })
            .map(|(slot, _)| slot)
            .collect();
        for slot in dead {
            if !self.needs_snapshots(slot) && !self.needs_tombs(slot) {
                self.remove(slot);
            }
        }
    }

    /// Whether the segment tells of the state of sessions that no later one tells.
    fn needs_snapshots(&mut self, slot: u32) -> bool {
        let Some(segment) = self.catalog.segments.get(slot).filter(|segment| !segment.cold) else {
            return false;
        };
        let (mut wanting, mut cost) = (Vec::new(), 0);
        for number in &segment.touched {
            let session = self.catalog.sessions.get(number);
            if let Some(session) = session.filter(|session| session.state_from <= segment.id) {
                wanting.push(*number);
                cost += session.snapshot_bytes();
            }
        }
        if wanting.is_empty() {
            return false;
        }
        if cost <= segment.size / 4 || self.is_wasteful() {
            let queued = &mut self.reclaim.snapshots;
            let known: std::collections::HashSet<u32> = queued.iter().copied().collect();
            queued.extend(wanting.into_iter().filter(|number| !known.contains(number)));
        }
        true
    }

    /// Whether the segment says of messages that are still somewhere that they are finished.
    fn needs_tombs(&mut self, slot: u32) -> bool {
        let Some(segment) = self.catalog.segments.get(slot) else { return false };
        if segment.tombs.is_empty() {
            return false;
        }
        if self.reclaim.tombs.iter().any(|tombs| tombs.told == slot) {
            return true;
        }
        // Those that are about to go are waited for.
        let is_dying = |target: u32| {
            self.catalog.segments.get(target).is_none_or(|target| {
                target.stage == Stage::Removing || target.live == 0 && target.stage == Stage::Sealed
            })
        };
        if segment.tombs.keys().any(|&(target, _)| is_dying(target)) {
            return true;
        }
        let Some(segment) = self.catalog.segments.get_mut(slot) else { return false };
        let tombs = std::mem::take(&mut segment.tombs);
        let tombs = tombs.into_iter().map(|((target, session), runs)| Tombs {
            told: slot,
            target,
            session,
            runs,
        });
        self.reclaim.tombs.extend(tombs);
        true
    }

    fn remove(&mut self, slot: u32) {
        let first = match self.options.fsync {
            Fsync::Group => None,
            // What is said again elsewhere has to be durable there.
            _ => self.active.and_then(|slot| self.catalog.segments.get(slot)),
        };
        let first = first.map(|segment| Arc::clone(&segment.file));
        let largest = self.options.largest;
        let limited = self.options.max_bytes.is_some() || self.room.is_full() || self.stopping;
        let Some(segment) = self.catalog.segments.get_mut(slot) else { return };
        let recycle =
            if segment.size == largest && !segment.cold && !limited { largest } else { 0 };
        let (id, file) = (segment.id, Arc::clone(&segment.file));
        if self.helper.send(Work::Remove { slot, id, file, first, recycle }) {
            segment.stage = Stage::Removing;
        }
    }

    pub(super) fn on_removed(&mut self, slot: u32, done: std::io::Result<()>) {
        self.reclaim.look_again = true;
        match done {
            Ok(()) => drop(self.catalog.segments.remove(slot)),
            Err(error) => {
                self.reclaim.look_again = false;
                tracing::warn!(target: "mqttx::store", "a segment cannot be removed: {error}");
                if let Some(segment) = self.catalog.segments.get_mut(slot) {
                    segment.stage = Stage::Sealed;
                }
            }
        }
        if self.room.is_full() {
            self.probe();
        }
    }

    /// Whether much more is on the disk than has to be.
    fn is_wasteful(&self) -> bool {
        let needed = self.catalog.segments.live_bytes();
        self.catalog.segments.bytes() > 3 * needed + 6 * self.room_size()
    }

    /// Empties the segment that has the least left, if that is worth it.
    pub(super) fn begin_compaction(&mut self) {
        if self.reclaim.compacting || self.stopping {
            return;
        }
        let part = if self.is_wasteful() { 2 } else { 8 };
        let recent = self.next_id.saturating_sub(3);
        let source = self
            .catalog
            .segments
            .iter()
            .filter(|&(slot, segment)| {
                segment.stage == Stage::Sealed
                    && segment.live > 0
                    && segment.moving_to.is_none()
                    && (segment.cold || segment.id < recent)
                    && self.active != Some(slot)
                    && segment.live_bytes * part < segment.size
            })
            .min_by_key(|(_, segment)| segment.live_bytes * 1024 / segment.size.max(1))
            .map(|(slot, _)| slot);
        let Some(source) = source else { return };
        if let Err(error) = self.compact(source) {
            tracing::warn!(target: "mqttx::store", "no room was made: {error}");
        }
    }

    fn compact(&mut self, source: u32) -> std::io::Result<()> {
        let target = self.cold_segment()?;
        let place = |slot: u32| {
            let segment = self.catalog.segments.get(slot)?;
            let file = Arc::clone(&segment.file);
            Some((Place { slot, id: segment.id, file }, segment.used))
        };
        let (Some((from, used)), Some((to, at))) = (place(source), place(target)) else {
            return Ok(());
        };
        if let Some(segment) = self.catalog.segments.get_mut(source) {
            segment.moving_to = Some(target);
        }
        let job = CompactJob { source: from, used, target: to, at };
        self.reclaim.compacting = self.reader.send(Job::Compact(job));
        Ok(())
    }

    /// The cold segment that has room.
    fn cold_segment(&mut self) -> std::io::Result<u32> {
        if let Some(slot) = self.reclaim.cold
            && let Some(segment) = self.catalog.segments.get_mut(slot)
        {
            if segment.used < self.options.largest / 2 {
                return Ok(slot);
            }
            segment.stage = Stage::Sealed;
        }
        let id = self.take_id();
        let header = SegmentHeader { version: VERSION, id, size: 0, cold: true, recycled: false };
        let file = create_segment(&*self.disk, &header, None)?;
        let segment = Segment::new(id, file, header.encode().len() as u64, true);
        let slot = self.catalog.segments.add(segment);
        self.reclaim.cold = slot;
        slot.ok_or_else(|| std::io::Error::other("too many segments"))
    }

    /// A cold segment without messages goes like any other.
    fn drop_cold(&mut self) {
        if let Some(slot) = self.reclaim.cold.filter(|_| !self.reclaim.compacting)
            && let Some(segment) = self.catalog.segments.get_mut(slot)
            && segment.live == 0
        {
            segment.stage = Stage::Sealed;
            self.reclaim.cold = None;
        }
    }

    pub(super) fn on_candidates(&mut self, candidates: Candidates) {
        let source = candidates.source;
        let live = candidates.messages.iter().map(|message| {
            let sequence = Sequence::from_bits(message.sequence);
            let place = self.catalog.position(message.session, sequence);
            place.is_some_and(|at| at.slot() == source && at.offset() == message.offset)
        });
        let live = live.collect();
        self.reader.send(Job::Live(live));
    }

    pub(super) fn on_compacted(&mut self, compacted: Compacted) {
        self.reclaim.compacting = false;
        self.reclaim.look_again = true;
        let Compacted { source, target, moved, used, result } = compacted;
        if let Err(error) = result {
            // What was copied may be found after a crash: whatever finishes a message of the source counts for the copy, too.
            tracing::warn!(target: "mqttx::store", "a segment was not emptied: {error}");
            self.reclaim.cold = None;
            if let Some(segment) = self.catalog.segments.get_mut(target) {
                segment.stage = Stage::Sealed;
            }
            return;
        }
        self.catalog.add_source(target, source);
        for (message, to) in moved {
            let sequence = Sequence::from_bits(message.sequence);
            let place = self.catalog.position(message.session, sequence);
            if let Some(from) =
                place.filter(|at| at.slot() == source && at.offset() == message.offset)
            {
                let to = Position::new(target, to, message.len, from.is_qos2());
                self.catalog.moved(message.session, sequence, from, to);
            }
        }
        if let Some(segment) = self.catalog.segments.get_mut(target) {
            (segment.used, segment.size) = (used, used);
        }
        if let Some(segment) = self.catalog.segments.get_mut(source) {
            segment.moving_to = None;
        }
        self.begin_compaction();
    }
}

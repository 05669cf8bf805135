//! The segments that exist, and what keeps each of them.
//!
//! A segment goes when nothing needs it:
//!
//! - no unfinished message is in it;
//! - every session of whose state it tells has told all of it again in a later segment;
//! - no `Done` in it finishes a message whose bytes are still in another segment: without it that message would come back.
//!   Such a `Done` is a *tomb*. It is kept until the other segment is gone, or is written again elsewhere.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use super::disk::DiskFile;
use super::index::{MAX_SLOTS, Position};

/// A map with numbers of our own making as keys: nobody can choose them to collide.
pub(super) type FastMap<K, V> = HashMap<K, V, BuildHasherDefault<FastHasher>>;

/// Multiplies.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct FastHasher(u64);

impl Hasher for FastHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.write_u64(byte.into()));
    }

    fn write_u32(&mut self, value: u32) {
        self.write_u64(value.into());
    }

    fn write_u64(&mut self, value: u64) {
        let mixed = (self.0 ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ mixed >> 32;
    }
}

/// One segment.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) id: u64,
    pub(super) file: Arc<dyn DiskFile>,
    /// Bytes of the file.
    pub(super) size: u64,
    /// Bytes behind which nothing was written.
    pub(super) used: u64,
    pub(super) cold: bool,
    pub(super) stage: Stage,
    /// Unfinished messages in it, and about their bytes.
    pub(super) live: u64,
    pub(super) live_bytes: u64,
    /// Numbers of the sessions that it tells of.
    pub(super) touched: Vec<u32>,
    /// By the slot of the segment with the message, and the session.
    pub(super) tombs: FastMap<(u32, u32), Vec<Run>>,
    /// Slots of segments that hold older copies of messages in this one.
    pub(super) sources: Vec<u32>,
    /// The slot of the segment to which its messages are being copied.
    pub(super) moving_to: Option<u32>,
}

/// What happens to a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stage {
    /// It is written.
    Open,
    /// It is complete.
    Sealed,
    /// It is on its way out.
    Removing,
}

/// Messages in a row, by the bits of their sequences.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Run {
    pub(super) first: u64,
    pub(super) count: u64,
}

impl Segment {
    pub(super) fn new(id: u64, file: Arc<dyn DiskFile>, size: u64, cold: bool) -> Self {
        Self {
            id,
            file,
            size,
            used: super::format::SEGMENT_HEADER,
            cold,
            stage: Stage::Open,
            live: 0,
            live_bytes: 0,
            touched: Vec::new(),
            tombs: FastMap::default(),
            sources: Vec::new(),
            moving_to: None,
        }
    }

    fn add_tomb(&mut self, target: u32, session: u32, first: u64, count: u64) {
        let runs = self.tombs.entry((target, session)).or_default();
        match runs.last_mut() {
            Some(run) if run.first + run.count == first => run.count += count,
            _ => runs.push(Run { first, count }),
        }
    }
}

/// The name of a segment's file.
pub(super) fn file_name(id: u64) -> String {
    format!("{id:012}.segment")
}

/// The id of the segment with that name.
pub(super) fn parse_file_name(name: &str) -> Option<u64> {
    name.strip_suffix(".segment")?.parse().ok().filter(|id| name == file_name(*id))
}

/// All segments, each in a slot of its own.
#[derive(Debug, Default)]
pub(super) struct Segments {
    slots: Vec<Option<Segment>>,
    free: Vec<u32>,
    /// Whether one lost its last message.
    emptied: bool,
}

impl Segments {
    /// Whether a segment lost its last message since this was asked.
    pub(super) fn take_emptied(&mut self) -> bool {
        std::mem::take(&mut self.emptied)
    }

    /// `None`: there are too many.
    pub(super) fn add(&mut self, segment: Segment) -> Option<u32> {
        if let Some(slot) = self.free.pop() {
            self.slots[slot as usize] = Some(segment);
            return Some(slot);
        }
        (self.slots.len() < MAX_SLOTS).then(|| {
            self.slots.push(Some(segment));
            self.slots.len() as u32 - 1
        })
    }

    /// Removes a segment that is gone from the disk, and every mention of it.
    pub(super) fn remove(&mut self, slot: u32) -> Option<Segment> {
        let segment = self.slots.get_mut(slot as usize)?.take()?;
        self.free.push(slot);
        for other in self.slots.iter_mut().flatten() {
            other.tombs.retain(|&(target, _), _| target != slot);
            other.sources.retain(|&source| source != slot);
            other.moving_to = other.moving_to.filter(|&target| target != slot);
        }
        Some(segment)
    }

    pub(super) fn get(&self, slot: u32) -> Option<&Segment> {
        self.slots.get(slot as usize)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut Segment> {
        self.slots.get_mut(slot as usize)?.as_mut()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Segment)> {
        self.slots.iter().enumerate().filter_map(|(slot, kept)| Some((slot as u32, kept.as_ref()?)))
    }

    pub(super) fn bytes(&self) -> u64 {
        self.iter().map(|(_, segment)| segment.size).sum()
    }

    pub(super) fn live_bytes(&self) -> u64 {
        self.iter().map(|(_, segment)| segment.live_bytes).sum()
    }

    /// A message was put there.
    pub(super) fn keep(&mut self, position: Position) {
        if let Some(segment) = self.get_mut(position.slot()) {
            segment.live += 1;
            segment.live_bytes += position.len();
        }
    }

    /// The message that was there is somewhere else now.
    pub(super) fn leave(&mut self, position: Position) {
        let slot = position.slot() as usize;
        if let Some(segment) = self.slots.get_mut(slot).and_then(Option::as_mut) {
            segment.live = segment.live.saturating_sub(1);
            segment.live_bytes = segment.live_bytes.saturating_sub(position.len());
            self.emptied |= segment.live == 0;
        }
    }

    /// The message that was at `position` is finished, as the segment in slot `told` says.
    pub(super) fn finish(&mut self, position: Position, session: u32, sequence: u64, told: u32) {
        self.leave(position);
        let slot = position.slot();
        self.tomb(told, slot, session, sequence, 1);
        let Some(segment) = self.get(slot) else { return };
        if segment.sources.is_empty() && segment.moving_to.is_none() {
            return;
        }
        let copies: Vec<u32> = segment.sources.iter().copied().chain(segment.moving_to).collect();
        copies.into_iter().for_each(|copy| self.tomb(told, copy, session, sequence, 1));
    }

    /// What the segment in slot `told` says about messages in slot `target` is needed as long as that one exists.
    pub(super) fn tomb(&mut self, told: u32, target: u32, session: u32, first: u64, count: u64) {
        if told != target
            && self.get(target).is_some()
            && let Some(segment) = self.get_mut(told)
        {
            segment.add_tomb(target, session, first, count);
        }
    }
}

//! Where the queued messages of one priority are: eight bytes a message, and nothing for those that are gone.

use std::collections::BTreeMap;
use std::num::NonZeroU64;

/// Where a message is: its segment, the offset of its frame, about how long it is, and whether it has QoS 2.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Position(NonZeroU64);

const SLOT_BITS: u32 = 24;
const OFFSET_BITS: u32 = 30;
const CLASS_BITS: u32 = 9;
const MANTISSA: u32 = 4;

/// Segments that can exist at the same time.
pub(super) const MAX_SLOTS: usize = 1 << SLOT_BITS;

/// Frames begin below this offset.
pub(super) const MAX_OFFSET: u64 = 1 << OFFSET_BITS;

impl Position {
    /// `offset` is below [`MAX_OFFSET`] and not 0: no frame stands there.
    pub(super) fn new(slot: u32, offset: u64, len: usize, qos2: bool) -> Self {
        let bits = u64::from(slot) << (OFFSET_BITS + CLASS_BITS + 1)
            | (offset & (MAX_OFFSET - 1)) << (CLASS_BITS + 1)
            | class(len) << 1
            | u64::from(qos2);
        Self(NonZeroU64::new(bits).unwrap_or(NonZeroU64::MIN))
    }

    pub(super) fn slot(self) -> u32 {
        (self.0.get() >> (OFFSET_BITS + CLASS_BITS + 1)) as u32
    }

    pub(super) fn offset(self) -> u64 {
        self.0.get() >> (CLASS_BITS + 1) & (MAX_OFFSET - 1)
    }

    /// About how many bytes the record takes.
    pub(super) fn len(self) -> u64 {
        let class = self.0.get() >> 1 & ((1 << CLASS_BITS) - 1);
        let (exponent, mantissa) = (class >> MANTISSA, class & ((1 << MANTISSA) - 1));
        (1 << MANTISSA | mantissa) << exponent >> MANTISSA
    }

    pub(super) fn is_qos2(self) -> bool {
        self.0.get() & 1 != 0
    }
}

/// A length as exponent and mantissa, to 1/16.
fn class(len: usize) -> u64 {
    let len = (len as u64).max(1);
    let exponent = u64::from(len.ilog2());
    let mantissa = (len << MANTISSA >> exponent) & ((1 << MANTISSA) - 1);
    exponent << MANTISSA | mantissa
}

/// The unfinished messages of one priority, by number.
#[derive(Debug, Default)]
pub(super) struct LaneIndex {
    chunks: BTreeMap<u64, Box<Chunk>>,
    /// Above all numbers that were ever used.
    end: u64,
    messages: u64,
    bytes: u64,
}

const CHUNK: u64 = 128;

#[derive(Debug)]
struct Chunk {
    used: u16,
    positions: [Option<Position>; CHUNK as usize],
}

impl LaneIndex {
    /// Puts a message there, and returns where it was before.
    pub(super) fn insert(&mut self, number: u64, position: Position) -> Option<Position> {
        self.raise_end(number + 1);
        let chunk = self
            .chunks
            .entry(number / CHUNK)
            .or_insert_with(|| Box::new(Chunk { used: 0, positions: [None; CHUNK as usize] }));
        let old = chunk.positions[(number % CHUNK) as usize].replace(position);
        match old {
            Some(old) => self.bytes -= old.len(),
            None => {
                chunk.used += 1;
                self.messages += 1;
            }
        }
        self.bytes += position.len();
        old
    }

    pub(super) fn get(&self, number: u64) -> Option<Position> {
        self.chunks.get(&(number / CHUNK))?.positions[(number % CHUNK) as usize]
    }

    pub(super) fn remove(&mut self, number: u64) -> Option<Position> {
        let key = number / CHUNK;
        let chunk = self.chunks.get_mut(&key)?;
        let old = chunk.positions[(number % CHUNK) as usize].take()?;
        chunk.used -= 1;
        if chunk.used == 0 {
            self.chunks.remove(&key);
        }
        self.messages -= 1;
        self.bytes -= old.len();
        Some(old)
    }

    /// The messages from `number` on.
    pub(super) fn from(&self, number: u64) -> impl Iterator<Item = (u64, Position)> {
        let first = number / CHUNK;
        self.chunks.range(first..).flat_map(move |(&key, chunk)| {
            let skipped = if key == first { (number % CHUNK) as usize } else { 0 };
            (skipped..CHUNK as usize)
                .filter_map(move |at| Some((key * CHUNK + at as u64, chunk.positions[at]?)))
        })
    }

    pub(super) fn end(&self) -> u64 {
        self.end
    }

    pub(super) fn raise_end(&mut self, end: u64) {
        self.end = self.end.max(end);
    }

    pub(super) fn messages(&self) -> u64 {
        self.messages
    }

    /// About how many bytes the messages take.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}

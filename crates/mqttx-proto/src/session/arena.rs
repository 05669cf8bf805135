//! Storage of the encoded messages in the outbox: chunks that are filled front to back and reused when all in them is gone.
//!
//! Messages leave in about the order in which they came, so that whole chunks become free and steady traffic allocates nothing.

use std::ops::Range;

const FIRST_CHUNK: usize = 1024;
const LARGEST_CHUNK: usize = 64 * 1024;
/// Empty chunks kept for reuse.
const SPARE: usize = 2;

/// Where a message lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    chunk: u32,
    start: u32,
    end: u32,
}

impl Span {
    /// No bytes; nothing to remove.
    pub(crate) const EMPTY: Self = Self { chunk: 0, start: 0, end: 0 };

    fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

#[derive(Debug, Default)]
struct Chunk {
    bytes: Vec<u8>,
    live: u32,
}

#[derive(Debug)]
pub(crate) struct Arena {
    chunks: Vec<Chunk>,
    current: usize,
    /// Chunks without memory or with nothing alive in them; never the current one.
    free: Vec<usize>,
    next_size: usize,
}

impl Arena {
    /// Empty, without an allocation.
    pub(crate) const fn new() -> Self {
        Self { chunks: Vec::new(), current: 0, free: Vec::new(), next_size: 0 }
    }

    /// Lets `write` append at most `bound` bytes and remembers them.
    #[inline(always)]
    pub(crate) fn insert<E>(
        &mut self,
        bound: usize,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<Span, E> {
        self.make_room(bound);
        let index = self.current;
        let Some(chunk) = self.chunks.get_mut(index) else {
            // make_room always leaves a current chunk.
            return Ok(Span::EMPTY);
        };
        let start = chunk.bytes.len();
        if let Err(error) = write(&mut chunk.bytes) {
            chunk.bytes.truncate(start);
            return Err(error);
        }
        chunk.live += 1;
        Ok(Span { chunk: index as u32, start: start as u32, end: chunk.bytes.len() as u32 })
    }

    /// Remembers a copy of the bytes.
    pub(crate) fn keep(&mut self, bytes: &[u8]) -> Span {
        self.make_room(bytes.len());
        let Some(chunk) = self.chunks.get_mut(self.current) else {
            // make_room always leaves a current chunk.
            return Span::EMPTY;
        };
        let start = chunk.bytes.len();
        chunk.bytes.extend_from_slice(bytes);
        chunk.live += 1;
        Span { chunk: self.current as u32, start: start as u32, end: chunk.bytes.len() as u32 }
    }

    pub(crate) fn get(&self, span: Span) -> &[u8] {
        self.chunks
            .get(span.chunk as usize)
            .and_then(|c| c.bytes.get(span.range()))
            .unwrap_or_default()
    }

    pub(crate) fn remove(&mut self, span: Span) {
        let index = span.chunk as usize;
        let Some(chunk) = self.chunks.get_mut(index) else { return };
        chunk.live = chunk.live.saturating_sub(1);
        if chunk.live > 0 {
            return;
        }
        chunk.bytes.clear();
        if index != self.current {
            if self.free.len() >= SPARE || chunk.bytes.capacity() > LARGEST_CHUNK {
                chunk.bytes = Vec::new();
            }
            self.free.push(index);
        }
    }

    /// Gives the memory of an empty arena back.
    pub(crate) fn shrink(&mut self) {
        if self.chunks.iter().all(|c| c.live == 0) {
            *self = Self::new();
        }
    }

    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.chunks.iter().map(|c| c.bytes.capacity()).sum()
    }

    #[inline(always)]
    fn make_room(&mut self, bound: usize) {
        let has_room = |chunk: &Chunk| chunk.bytes.capacity() - chunk.bytes.len() >= bound;
        if !self.chunks.get(self.current).is_some_and(has_room) {
            self.begin_chunk(bound);
        }
    }

    fn begin_chunk(&mut self, bound: usize) {
        self.next_size = (self.next_size * 2).clamp(FIRST_CHUNK, LARGEST_CHUNK);
        let size = self.next_size.max(bound);
        let retired = self.current;
        self.current = self.free.pop().unwrap_or_else(|| {
            self.chunks.push(Chunk::default());
            self.chunks.len() - 1
        });
        if retired != self.current && self.chunks.get(retired).is_some_and(|c| c.live == 0) {
            self.free.push(retired);
        }
        if let Some(chunk) = self.chunks.get_mut(self.current)
            && chunk.bytes.capacity() < bound.max(FIRST_CHUNK)
        {
            chunk.bytes = Vec::with_capacity(size);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    fn put(arena: &mut Arena, bytes: &[u8]) -> Span {
        arena
            .insert(bytes.len(), |out| {
                out.extend_from_slice(bytes);
                Ok::<_, ()>(())
            })
            .unwrap()
    }

    #[test]
    fn spans_survive_growth_and_removal_of_their_neighbours() {
        let mut arena = Arena::new();
        let mut live = VecDeque::new();
        for round in 0..5_000_usize {
            let bytes = vec![round as u8; round % 300];
            live.push_back((put(&mut arena, &bytes), bytes));
            if round % 3 == 0 {
                let (span, bytes) =
                    if round % 2 == 0 { live.pop_front() } else { live.pop_back() }.unwrap();
                assert_eq!(arena.get(span), bytes);
                arena.remove(span);
            }
        }
        for (span, bytes) in &live {
            assert_eq!(arena.get(*span), bytes);
        }
        for (span, _) in live {
            arena.remove(span);
        }
        assert!(arena.capacity() <= LARGEST_CHUNK * (SPARE + 1) * 2, "{}", arena.capacity());
        arena.shrink();
        assert_eq!(arena.capacity(), 0);
    }

    #[test]
    fn steady_traffic_reuses_its_chunks() {
        let mut arena = Arena::new();
        let mut live: VecDeque<Span> = (0..1000).map(|_| put(&mut arena, &[7; 80])).collect();
        for _ in 0..10_000 {
            arena.remove(live.pop_front().unwrap());
            live.push_back(put(&mut arena, &[7; 80]));
        }
        let capacity = arena.capacity();
        for _ in 0..100_000 {
            arena.remove(live.pop_front().unwrap());
            live.push_back(put(&mut arena, &[7; 80]));
        }
        assert_eq!(arena.capacity(), capacity);
    }

    #[test]
    fn one_straggler_pins_one_chunk_only() {
        let mut arena = Arena::new();
        let straggler = put(&mut arena, b"straggler");
        for _ in 0..100_000 {
            let span = put(&mut arena, &[1; 500]);
            arena.remove(span);
        }
        assert_eq!(arena.get(straggler), b"straggler");
        assert!(arena.capacity() < LARGEST_CHUNK * 4);
    }

    #[test]
    fn a_failed_write_leaves_nothing() {
        let mut arena = Arena::new();
        let kept = put(&mut arena, b"kept");
        let failed = arena.insert(10, |out| {
            out.extend_from_slice(b"half");
            Err("no")
        });
        assert_eq!(failed, Err("no"));
        let next = put(&mut arena, b"next");
        assert_eq!((arena.get(kept), arena.get(next)), (&b"kept"[..], &b"next"[..]));
    }
}

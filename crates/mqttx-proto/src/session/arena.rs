//! Storage of the encoded messages in the outbox: chunks that are filled front to back and reused when all in them is gone.
//!
//! Messages leave in about the order in which they came, so that whole chunks become free and steady traffic allocates nothing.

use std::ops::Range;

const FIRST_CHUNK: usize = 1024;
const LARGEST_CHUNK: usize = 64 * 1024;
/// Empty chunks kept for reuse: 2 MiB. A server acknowledges what is in flight in large lots, and then as much is published again.
const SPARE: usize = 32;

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
    /// The one that is being filled, and its number. Its place in `chunks` is empty meanwhile.
    filling: Chunk,
    current: usize,
    chunks: Vec<Chunk>,
    /// Chunks with memory and nothing alive in it; never the current one.
    free: Vec<usize>,
    /// Chunks without memory; never the current one.
    vacant: Vec<usize>,
    next_size: usize,
}

impl Arena {
    /// Empty, without an allocation.
    pub(crate) const fn new() -> Self {
        let filling = Chunk { bytes: Vec::new(), live: 0 };
        Self {
            filling,
            current: 0,
            chunks: Vec::new(),
            free: Vec::new(),
            vacant: Vec::new(),
            next_size: 0,
        }
    }

    /// Where to append at most `bound` bytes, and where they will start. [`end`](Self::end) remembers them; otherwise they are to
    /// be cut off again.
    #[inline(always)]
    pub(crate) fn begin(&mut self, bound: usize) -> (&mut Vec<u8>, usize) {
        if self.filling.bytes.capacity() - self.filling.bytes.len() < bound {
            self.begin_chunk(bound);
        }
        let start = self.filling.bytes.len();
        (&mut self.filling.bytes, start)
    }

    /// Remembers the bytes that were appended from `start` on.
    #[inline(always)]
    pub(crate) fn end(&mut self, start: usize) -> Span {
        self.filling.live += 1;
        let end = self.filling.bytes.len() as u32;
        Span { chunk: self.current as u32, start: start as u32, end }
    }

    /// Remembers a copy of the bytes.
    #[inline(always)]
    pub(crate) fn keep(&mut self, bytes: &[u8]) -> Span {
        let (chunk, start) = self.copy(bytes);
        Span { chunk, start, end: start + bytes.len() as u32 }
    }

    /// Two numbers, which are returned in registers.
    #[inline(never)]
    fn copy(&mut self, bytes: &[u8]) -> (u32, u32) {
        let (out, start) = self.begin(bytes.len());
        out.extend_from_slice(bytes);
        self.filling.live += 1;
        (self.current as u32, start as u32)
    }

    pub(crate) fn get(&self, span: Span) -> &[u8] {
        let index = span.chunk as usize;
        let chunk =
            if index == self.current { Some(&self.filling) } else { self.chunks.get(index) };
        chunk.and_then(|c| c.bytes.get(span.range())).unwrap_or_default()
    }

    #[inline]
    pub(crate) fn remove(&mut self, span: Span) {
        let index = span.chunk as usize;
        if index != self.current {
            self.remove_elsewhere(index);
            return;
        }
        self.filling.live = self.filling.live.saturating_sub(1);
        if self.filling.live == 0 {
            self.filling.bytes.clear();
        }
    }

    /// From a chunk that was filled.
    fn remove_elsewhere(&mut self, index: usize) {
        let Some(chunk) = self.chunks.get_mut(index) else { return };
        chunk.live = chunk.live.saturating_sub(1);
        if chunk.live == 0 {
            chunk.bytes.clear();
            if self.free.len() >= SPARE || chunk.bytes.capacity() > LARGEST_CHUNK {
                chunk.bytes = Vec::new();
                self.vacant.push(index);
            } else {
                self.free.push(index);
            }
        }
    }

    /// Gives the memory back in which nothing is alive.
    pub(crate) fn shrink(&mut self) {
        if self.filling.live == 0 && self.chunks.iter().all(|c| c.live == 0) {
            *self = Self::new();
            return;
        }
        for index in self.free.drain(..) {
            if let Some(chunk) = self.chunks.get_mut(index) {
                chunk.bytes = Vec::new();
            }
            self.vacant.push(index);
        }
    }

    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        let chunks = self.chunks.iter().map(|c| c.bytes.capacity());
        self.filling.bytes.capacity() + chunks.sum::<usize>()
    }

    /// Begins to fill a chunk with room for `bound` bytes.
    #[cold]
    fn begin_chunk(&mut self, bound: usize) {
        self.next_size = (self.next_size * 2).clamp(FIRST_CHUNK, LARGEST_CHUNK);
        let size = self.next_size.max(bound);
        let full = std::mem::take(&mut self.filling);
        let next = self.free.pop().or_else(|| self.vacant.pop());
        if let Some(place) = self.chunks.get_mut(self.current) {
            if full.live == 0 {
                self.free.push(self.current);
            }
            *place = full;
        }
        self.current = next.unwrap_or_else(|| {
            self.chunks.push(Chunk::default());
            self.chunks.len() - 1
        });
        self.filling = self.chunks.get_mut(self.current).map(std::mem::take).unwrap_or_default();
        if self.filling.bytes.capacity() < bound.max(FIRST_CHUNK) {
            self.filling.bytes = Vec::with_capacity(size);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    fn put(arena: &mut Arena, bytes: &[u8]) -> Span {
        arena.keep(bytes)
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
    fn a_window_that_is_acknowledged_at_once_keeps_its_memory_until_it_is_quiet() {
        let mut arena = Arena::new();
        let fill = |arena: &mut Arena| -> Vec<Span> {
            (0..1000).map(|_| put(arena, &[7; 1100])).collect()
        };
        fill(&mut arena).into_iter().for_each(|span| arena.remove(span));
        let capacity = arena.capacity();
        for _ in 0..10 {
            let spans = fill(&mut arena);
            assert_eq!(arena.capacity(), capacity);
            spans.into_iter().for_each(|span| arena.remove(span));
        }
        assert_eq!(arena.capacity(), capacity);
        let straggler = put(&mut arena, b"straggler");
        arena.shrink();
        assert!(arena.capacity() <= LARGEST_CHUNK, "{}", arena.capacity());
        assert_eq!(arena.get(straggler), b"straggler");
        fill(&mut arena).into_iter().for_each(|span| arena.remove(span));
        assert!(arena.capacity() <= capacity, "{}", arena.capacity());
        assert_eq!(arena.get(straggler), b"straggler");
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
    fn what_was_cut_off_again_leaves_nothing() {
        let mut arena = Arena::new();
        let kept = put(&mut arena, b"kept");
        let (out, start) = arena.begin(10);
        out.extend_from_slice(b"half");
        out.truncate(start);
        let next = put(&mut arena, b"next");
        assert_eq!((arena.get(kept), arena.get(next)), (&b"kept"[..], &b"next"[..]));
    }
}

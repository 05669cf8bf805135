//! Bytes on their way to the socket: one contiguous buffer, with large payloads by reference in between.

mod buffer;

use std::collections::VecDeque;
use std::fmt;
use std::io::IoSlice;

use bytes::Bytes;

use buffer::Buffer;

/// Payloads from this size on are not copied into the write queue but referenced.
///
/// Below it one copy costs less than a further element of the vectored write.
pub(crate) const BY_REFERENCE: usize = 4096;

/// A buffer above this capacity is given back to the allocator once it is empty; so is any, when the session is quiet.
const KEEP_CAPACITY: usize = 1024 * 1024;

/// What the core has encoded for the current connection and the driver has not taken yet.
#[derive(Default)]
pub(crate) struct WriteQueue {
    bytes: Buffer,
    payloads: Payloads,
    payload_bytes: usize,
}

/// Payloads, each before the byte at that position of the contiguous part. There are none in most sessions.
#[expect(clippy::box_collection, reason = "one word while it is empty")]
#[derive(Default)]
struct Payloads(Option<Box<VecDeque<(usize, Bytes)>>>);

impl Payloads {
    fn push(&mut self, position: usize, payload: Bytes) {
        self.0.get_or_insert_default().push_back((position, payload));
    }

    fn iter(&self) -> impl Iterator<Item = &(usize, Bytes)> {
        self.0.iter().flat_map(|payloads| payloads.iter())
    }

    fn front(&self) -> Option<&(usize, Bytes)> {
        self.0.as_ref()?.front()
    }

    fn pop_front(&mut self) {
        self.0.as_mut().and_then(|payloads| payloads.pop_front());
    }

    fn clear(&mut self) {
        if let Some(payloads) = &mut self.0 {
            payloads.clear();
        }
    }

    /// Takes all of `others`, which stand `offset` further on from here.
    fn append(&mut self, offset: usize, others: &mut Self) {
        let others = others.0.iter_mut().flat_map(|payloads| payloads.drain(..));
        others.for_each(|(position, payload)| self.push(position + offset, payload));
    }
}

impl WriteQueue {
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len() + self.payload_bytes
    }

    /// The contiguous part, for encoders that append.
    pub(crate) fn bytes_mut(&mut self) -> &mut Vec<u8> {
        self.bytes.as_vec()
    }

    /// Appends `len` bytes to the contiguous part, all of which are to be written over.
    #[inline(always)]
    pub(crate) fn append(&mut self, len: usize) -> &mut [u8] {
        self.bytes.append(len)
    }

    /// Appends a payload that follows the bytes written so far, without copying it.
    pub(crate) fn push_payload(&mut self, payload: Bytes) {
        self.payload_bytes += payload.len();
        self.payloads.push(self.bytes.len(), payload);
    }
}

/// Bytes that the driver owns and writes: filled by [`Session::poll_transmit`](crate::Session::poll_transmit).
///
/// One value is kept per connection and reused, so that steady traffic allocates nothing.
#[derive(Default)]
pub struct Transmit {
    bytes: Buffer,
    position: usize,
    payloads: Payloads,
    payload_position: usize,
    remaining: usize,
}

/// Without the bytes: a password may be among them.
impl fmt::Debug for WriteQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteQueue").field("len", &self.len()).finish()
    }
}

/// Without the bytes: a password may be among them.
impl fmt::Debug for Transmit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transmit").field("remaining", &self.remaining).finish()
    }
}

impl Transmit {
    /// Empty, without an allocation.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether everything was written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.remaining == 0
    }

    /// The bytes not written yet.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.remaining
    }

    /// Fills `out` with the next pieces to write, in order, and returns how many were filled.
    pub fn io_slices<'a>(&'a self, out: &mut [IoSlice<'a>]) -> usize {
        let mut filled = 0;
        let mut position = self.position;
        let mut payload_position = self.payload_position;
        let mut payloads = self.payloads.iter();
        let mut slots = out.iter_mut();
        loop {
            let next = payloads.next();
            let end = next.map_or(self.bytes.len(), |(at, _)| *at);
            if position < end {
                let piece = self.bytes.as_slice().get(position..end);
                let (Some(slot), Some(piece)) = (slots.next(), piece) else {
                    return filled;
                };
                *slot = IoSlice::new(piece);
                filled += 1;
                position = end;
            }
            let Some((_, payload)) = next else { return filled };
            let piece = payload.get(payload_position..).unwrap_or_default();
            payload_position = 0;
            if !piece.is_empty() {
                let Some(slot) = slots.next() else { return filled };
                *slot = IoSlice::new(piece);
                filled += 1;
            }
        }
    }

    /// The socket took `n` bytes.
    pub fn advance(&mut self, n: usize) {
        let mut n = n.min(self.remaining);
        self.remaining -= n;
        if self.remaining == 0 {
            self.clear();
            return;
        }
        while n > 0 {
            let end = self.payloads.front().map_or(self.bytes.len(), |(at, _)| *at);
            let contiguous = end.saturating_sub(self.position).min(n);
            self.position += contiguous;
            n -= contiguous;
            if n == 0 {
                return;
            }
            let Some((_, payload)) = self.payloads.front() else { return };
            let left = payload.len() - self.payload_position;
            if n < left {
                self.payload_position += n;
                return;
            }
            n -= left;
            self.payload_position = 0;
            self.payloads.pop_front();
        }
    }

    /// Forgets what was not written: the connection is gone.
    pub fn clear(&mut self) {
        self.bytes.clear(KEEP_CAPACITY);
        self.payloads.clear();
        self.position = 0;
        self.payload_position = 0;
        self.remaining = 0;
    }

    /// Gives the memory of an empty buffer back: call it when the session goes idle.
    pub fn shrink(&mut self) {
        if self.is_empty() {
            self.bytes = Buffer::default();
            self.payloads = Payloads::default();
        }
    }

    /// Takes everything of `queue`: a swap of buffers when nothing is left here, a copy of small bytes otherwise.
    pub(crate) fn take(&mut self, queue: &mut WriteQueue) {
        if self.is_empty() {
            self.clear();
            std::mem::swap(&mut self.bytes, &mut queue.bytes);
            std::mem::swap(&mut self.payloads, &mut queue.payloads);
            self.remaining = self.bytes.len() + queue.payload_bytes;
        } else {
            let offset = self.bytes.len();
            self.remaining += queue.len();
            self.bytes.take(&mut queue.bytes);
            self.payloads.append(offset, &mut queue.payloads);
        }
        queue.payload_bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(transmit: &mut Transmit, step: usize) -> Vec<u8> {
        let mut all = Vec::new();
        while !transmit.is_empty() {
            let mut slices = [IoSlice::new(&[]); 3];
            let n = transmit.io_slices(&mut slices);
            let flat: Vec<u8> = slices[..n].iter().flat_map(|s| s.iter().copied()).collect();
            let taken = step.min(flat.len());
            all.extend_from_slice(&flat[..taken]);
            transmit.advance(taken);
        }
        all
    }

    #[test]
    fn payloads_by_reference_keep_their_place_at_any_write_size() {
        for step in 1..20 {
            let mut transmit = Transmit::new();
            let mut queue = WriteQueue::default();
            queue.bytes_mut().extend_from_slice(b"ab");
            queue.push_payload(Bytes::from_static(b"CDE"));
            queue.push_payload(Bytes::from_static(b"FG"));
            queue.bytes_mut().extend_from_slice(b"hi");
            transmit.take(&mut queue);
            assert_eq!(queue.len(), 0);
            queue.bytes_mut().extend_from_slice(b"j");
            queue.push_payload(Bytes::from_static(b"KLMN"));
            transmit.advance(1);
            transmit.take(&mut queue);
            assert_eq!(transmit.remaining(), 13);
            assert_eq!(drain(&mut transmit, step), b"bCDEFGhijKLMN");
        }
    }
}

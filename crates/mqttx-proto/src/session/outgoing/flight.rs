//! The flight: messages with a packet id, in the order in which they are sent.
//!
//! A ring whose slots are written in place. An entry has a hundred bytes: built beside its slot it is written and read once more,
//! by fields and then by vectors, which processors wait for.

use std::iter::{Chain, Take};
use std::slice::{Iter, IterMut};

use super::Entry;

/// Slots of the first allocation.
const FIRST: usize = 4;

#[derive(Debug, Default)]
pub(super) struct Flight {
    /// A power of two, or none. Those outside the flight hold no memory of a message.
    slots: Vec<Entry>,
    /// The slot of the first entry.
    first: u32,
    len: u32,
}

impl Flight {
    /// Empty, without an allocation.
    pub(super) const fn new() -> Self {
        Self { slots: Vec::new(), first: 0, len: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.len as usize
    }

    /// The slot of the entry at `index`.
    #[inline(always)]
    fn slot(&self, index: usize) -> usize {
        (self.first as usize + index) & self.slots.len().wrapping_sub(1)
    }

    #[inline(always)]
    pub(super) fn get(&self, index: usize) -> Option<&Entry> {
        if index < self.len() { self.slots.get(self.slot(index)) } else { None }
    }

    #[inline(always)]
    pub(super) fn get_mut(&mut self, index: usize) -> Option<&mut Entry> {
        let slot = self.slot(index);
        if index < self.len() { self.slots.get_mut(slot) } else { None }
    }

    #[inline(always)]
    pub(super) fn front(&self) -> Option<&Entry> {
        self.get(0)
    }

    #[inline(always)]
    pub(super) fn front_mut(&mut self) -> Option<&mut Entry> {
        self.get_mut(0)
    }

    pub(super) fn push_back(&mut self, entry: Entry) {
        if let Some(slot) = self.push_slot() {
            *slot = entry;
        }
    }

    /// A place at the end, to be written field by field: it has no payload and no expiry, and the rest is of what was there before.
    #[inline(always)]
    pub(super) fn push_slot(&mut self) -> Option<&mut Entry> {
        if self.len() == self.slots.len() {
            self.grow();
        }
        let slot = self.slot(self.len());
        self.len += 1;
        self.slots.get_mut(slot)
    }

    /// Forgets the first entry.
    #[inline(always)]
    pub(super) fn drop_front(&mut self) {
        let Some(first) = self.front_mut() else { return };
        (first.encoded.payload, first.encoded.expiry) = (None, None);
        self.first = self.slot(1) as u32;
        self.len -= 1;
    }

    pub(super) fn pop_back(&mut self) -> Option<Entry> {
        let last = self.get_mut(self.len().checked_sub(1)?)?;
        let last = std::mem::replace(last, Entry::gone());
        self.len -= 1;
        Some(last)
    }

    pub(super) fn iter(&self) -> Chain<Take<Iter<'_, Entry>>, Take<Iter<'_, Entry>>> {
        let (wrapped, front) = self.slots.split_at(self.first as usize);
        let beyond = self.len().saturating_sub(front.len());
        front.iter().take(self.len()).chain(wrapped.iter().take(beyond))
    }

    pub(super) fn iter_mut(&mut self) -> Chain<Take<IterMut<'_, Entry>>, Take<IterMut<'_, Entry>>> {
        let len = self.len();
        let (wrapped, front) = self.slots.split_at_mut(self.first as usize);
        let beyond = len.saturating_sub(front.len());
        front.iter_mut().take(len).chain(wrapped.iter_mut().take(beyond))
    }

    #[cold]
    fn grow(&mut self) {
        self.slots.rotate_left(self.first as usize);
        self.first = 0;
        let size = (2 * self.slots.len()).max(FIRST);
        self.slots.reserve_exact(size - self.slots.len());
        self.slots.resize_with(size, Entry::gone);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::record::{Priority, Sequence};
    use std::collections::VecDeque;

    fn entry(number: u64) -> Entry {
        Entry { sequence: Sequence::new(Priority::LOWEST, number), ..Entry::gone() }
    }

    fn number(entry: &Entry) -> u64 {
        entry.sequence.number()
    }

    #[test]
    fn it_is_a_queue_wherever_in_the_ring_it_begins() {
        let (mut flight, mut queue) = (Flight::new(), VecDeque::new());
        let mut random = 1_u64;
        for step in 0..20_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            // In turns it grows and becomes empty.
            let grows = if step / 1000 % 2 == 0 { 6 } else { 3 };
            match random >> 60 {
                kind if kind < grows => {
                    flight.push_back(entry(step));
                    queue.push_back(step);
                }
                kind if kind % 4 == 0 => {
                    assert_eq!(flight.pop_back().as_ref().map(number), queue.pop_back());
                }
                _ => {
                    flight.drop_front();
                    queue.pop_front();
                }
            }
            assert_eq!(flight.len(), queue.len());
            assert_eq!(flight.front().map(number), queue.front().copied());
            let at = random as usize % (queue.len() + 1);
            assert_eq!(flight.get(at).map(number), queue.get(at).copied());
            assert_eq!(flight.get_mut(at).map(|e| number(e)), queue.get(at).copied());
            if step % 64 == 0 {
                assert!(flight.iter().map(number).eq(queue.iter().copied()));
                assert!(flight.iter().rev().map(number).eq(queue.iter().rev().copied()));
                assert!(flight.iter_mut().map(|e| number(e)).eq(queue.iter().copied()));
                assert!(flight.iter_mut().rev().map(|e| number(e)).eq(queue.iter().rev().copied()));
            }
        }
        assert!(flight.slots.len() <= 1024, "{} slots", flight.slots.len());
    }

    #[test]
    fn what_has_left_holds_no_payload() {
        let mut flight = Flight::new();
        let payload = bytes::Bytes::from(vec![0; 8192]);
        for _ in 0..5 {
            let mut entry = entry(0);
            entry.encoded.payload = Some(payload.clone());
            flight.push_back(entry);
        }
        flight.drop_front();
        drop(flight.pop_back());
        assert!(!payload.is_unique());
        while flight.len() > 0 {
            flight.drop_front();
        }
        assert!(payload.is_unique(), "the slots are kept, the payloads are not");
    }
}

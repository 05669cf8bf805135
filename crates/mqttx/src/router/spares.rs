//! Storage of messages that a route is done with, for those to come: a route whose handler keeps no message allocates none.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::BytesMut;

/// What a route keeps; used from the end, where it is warm.
#[derive(Default)]
pub(super) struct Spares {
    storage: VecDeque<BytesMut>,
    bytes: usize,
    /// So many were there all the time since then: nobody needs them.
    unused: usize,
    since: Option<Instant>,
}

impl Spares {
    /// Larger messages have storage of exactly their size: copying them costs far more than allocating.
    pub(super) const LARGEST: usize = 4096;
    /// What a route keeps at most, in bytes: what a driver reads in one turn, before a task on the same thread can handle it.
    const MOST: usize = 2 * 1024 * 1024;
    /// After that time without use storage is given back.
    const UNUSED: Duration = Duration::from_secs(1);
    /// Capacities are multiples of this, so that messages of about the same size share them.
    const STEP: usize = 16;

    /// Empty storage that has room for so many bytes, and not for many times as many: who keeps a small message does not keep the
    /// memory of a large one.
    pub(super) fn take(&mut self, size: usize, now: Instant) -> BytesMut {
        self.give_up_unused(now);
        let fits = |spare: &BytesMut| (size..=2 * size + 64).contains(&spare.capacity());
        if self.storage.back().is_some_and(fits)
            && let Some(spare) = self.storage.pop_back()
        {
            self.bytes -= spare.capacity();
            self.unused = self.unused.min(self.storage.len());
            return spare;
        }
        let mut new = BytesMut::with_capacity(size.next_multiple_of(Self::STEP));
        // Storage that was shared once stays of the kind that can be frozen and taken back without an allocation.
        drop(new.split_off(new.capacity()));
        new
    }

    pub(super) fn give_back(&mut self, mut spare: BytesMut) {
        spare.clear();
        self.bytes += spare.capacity();
        self.storage.push_back(spare);
        // The oldest ones are of a size that nobody asks for any more.
        while self.bytes > Self::MOST {
            self.drop_oldest();
        }
    }

    fn give_up_unused(&mut self, now: Instant) {
        let since = *self.since.get_or_insert(now);
        if now.saturating_duration_since(since) >= Self::UNUSED {
            (0..self.unused).for_each(|_| self.drop_oldest());
            (self.unused, self.since) = (self.storage.len(), Some(now));
        }
    }

    fn drop_oldest(&mut self) {
        if let Some(oldest) = self.storage.pop_front() {
            self.bytes -= oldest.capacity();
        }
        self.unused = self.unused.min(self.storage.len());
    }

    /// The session is quiet.
    pub(super) fn shrink(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn storage_is_used_again_for_messages_of_about_its_size() {
        let (mut spares, now) = (Spares::default(), Instant::now());
        let mut first = spares.take(110, now);
        first.extend_from_slice(&[7; 110]);
        let place = first.as_ptr();
        let kept = first.freeze();
        spares.give_back(kept.try_into_mut().unwrap());
        let again = spares.take(100, now);
        assert_eq!((again.as_ptr(), again.len()), (place, 0));
        spares.give_back(again);
        assert_ne!(spares.take(200, now).as_ptr(), place, "too small");
        assert_ne!(
            spares.take(10, now).as_ptr(),
            place,
            "too large to be kept with a small message"
        );
        assert_eq!(spares.take(24, now).as_ptr(), place);
        assert_eq!((spares.bytes, spares.storage.len()), (0, 0));
    }

    #[test]
    fn what_is_kept_is_bounded_and_what_nobody_asks_for_goes_first() {
        let (mut spares, now) = (Spares::default(), Instant::now());
        let large: Vec<_> = (0..600).map(|_| spares.take(4096, now)).collect();
        large.into_iter().for_each(|spare| spares.give_back(spare));
        assert_eq!(spares.bytes, Spares::MOST);
        let small: Vec<_> = (0..100).map(|_| spares.take(64, now)).collect();
        small.into_iter().for_each(|spare| spares.give_back(spare));
        assert!(spares.bytes <= Spares::MOST);
        assert!((0..100).all(|_| spares.storage.pop_back().unwrap().capacity() == 64));
        spares.shrink();
        assert_eq!((spares.bytes, spares.storage.len()), (0, 0));
    }

    #[test]
    fn what_a_burst_needed_is_given_back_when_messages_come_one_by_one() {
        let (mut spares, start) = (Spares::default(), Instant::now());
        let burst: Vec<_> = (0..1000).map(|_| spares.take(100, start)).collect();
        burst.into_iter().for_each(|spare| spares.give_back(spare));
        for seconds in 0..4 {
            let now = start + Duration::from_secs(seconds);
            let one = spares.take(100, now);
            spares.give_back(one);
        }
        assert_eq!((spares.storage.len(), spares.bytes), (1, 112));
    }
}

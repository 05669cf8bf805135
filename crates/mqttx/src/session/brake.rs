//! What keeps a driver from reading: received bytes that others are not through with yet.

use std::sync::atomic::{AtomicUsize, Ordering};

/// A sum of bytes, and whether the driver waits until it is at most half of its limit: in one word, so that whoever changes the
/// one sees the other.
#[derive(Default)]
pub(crate) struct Brake(AtomicUsize);

/// The driver waits.
const ON: usize = 1 << (usize::BITS - 1);

impl Brake {
    pub(super) fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed) & !ON
    }

    pub(super) fn add(&self, bytes: usize) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Somebody is through with `bytes`; `true`: the driver waits for that.
    pub(super) fn remove(&self, bytes: usize, limit: usize) -> bool {
        let left = self.0.fetch_sub(bytes, Ordering::AcqRel) - bytes;
        left & ON != 0
            && left & !ON <= limit / 2
            && self.0.fetch_and(!ON, Ordering::AcqRel) & ON != 0
    }

    /// For the driver: whether the limit is reached; once it is (`was`), until half of it is left.
    pub(super) fn holds(&self, was: bool, limit: usize) -> bool {
        if !was && self.bytes() < limit {
            return false;
        }
        let holds = self.0.fetch_or(ON, Ordering::AcqRel) & !ON > limit / 2;
        if !holds {
            self.0.fetch_and(!ON, Ordering::AcqRel);
        }
        holds
    }

    /// Whether nobody removed enough since [`holds`](Self::holds) said that it does.
    pub(super) fn still_holds(&self) -> bool {
        self.0.load(Ordering::Acquire) & ON != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_from_the_limit_down_to_half_of_it() {
        let brake = Brake::default();
        brake.add(99);
        assert!(!brake.holds(false, 100) && !brake.remove(0, 100));
        brake.add(1);
        assert!(brake.holds(false, 100) && brake.holds(true, 100));
        assert!(!brake.remove(49, 100), "51 are left");
        assert!(brake.holds(true, 100) && brake.still_holds());
        assert!(brake.remove(1, 100), "the driver is told");
        assert!(!brake.still_holds() && !brake.remove(1, 100), "once");
        assert!(!brake.holds(true, 100) && !brake.still_holds());
        assert_eq!(brake.bytes(), 49);
    }
}

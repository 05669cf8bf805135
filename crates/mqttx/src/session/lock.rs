//! The lock of a session's state.

use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

/// How often a lock is tried before its owner is slept for.
const GAPS: u32 = 16;
/// Pauses of the processor between two tries. All of them take a microsecond or two.
const PAUSES: u32 = 4;

/// A lock that is held for a moment, and had again soon after by whoever goes on.
///
/// Who sleeps for such a lock makes its owner call the kernel at the end of that moment, and comes too late: a publisher that goes on
/// has it again by then. So the next gaps between its moments are waited for first.
#[derive(Debug, Default)]
pub(super) struct Brief<T>(Mutex<T>);

impl<T> Brief<T> {
    pub(super) fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }

    /// The value. A panic of somebody else while they held it is not ours to care about: what is locked here has to have no
    /// invariant that a panic could break halfway.
    #[inline]
    pub(super) fn lock(&self) -> MutexGuard<'_, T> {
        self.try_lock().unwrap_or_else(|| self.lock_contended())
    }

    #[inline]
    fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        match self.0.try_lock() {
            Ok(value) => Some(value),
            Err(TryLockError::Poisoned(value)) => Some(value.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    #[cold]
    fn lock_contended(&self) -> MutexGuard<'_, T> {
        for _ in 0..GAPS {
            for _ in 0..PAUSES {
                std::hint::spin_loop();
            }
            if let Some(value) = self.try_lock() {
                return value;
            }
        }
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    #[test]
    fn one_at_a_time_has_it_for_a_moment_or_for_long() {
        let sum = Brief::new(0_u64);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for n in 0..20_000 {
                        let mut sum = sum.lock();
                        let before = *sum;
                        if n % 1000 == 0 {
                            // Longer than anybody tries.
                            thread::yield_now();
                        }
                        *sum = before + 1;
                    }
                });
            }
        });
        assert_eq!(*sum.lock(), 80_000);
    }

    #[test]
    fn who_tried_often_enough_sleeps_until_it_is_free() {
        let lock = Brief::new(1);
        let held = lock.lock();
        let (trying, tries) = mpsc::channel();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                trying.send(()).expect("awaited");
                *lock.lock_contended()
            });
            tries.recv().expect("it tries");
            let mut held = held;
            *held = 2;
            drop(held);
            assert_eq!(waiting.join().expect("no panic"), 2);
        });
    }

    #[test]
    fn a_panic_of_somebody_else_does_not_matter() {
        let lock = Brief::new(1);
        let panicked = thread::scope(|scope| {
            let holder = scope.spawn(|| {
                let _held = lock.lock();
                panic!("on purpose");
            });
            holder.join()
        });
        assert!(panicked.is_err());
        *lock.lock() += 1;
        assert_eq!(*lock.lock_contended(), 2);
    }
}

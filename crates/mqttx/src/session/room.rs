//! Publishers that wait for room in the outbox.

use std::collections::BTreeMap;
use std::task::Waker;

/// How many are woken at least when room appears: one that is never polled again must not keep it.
const HERD: usize = 16;

/// The publishers that found the outbox full, in their order. One that is woken is not among them until it fails again.
#[derive(Default)]
pub(crate) struct Room {
    /// By their tickets; `None` while there is none. Thousands may leave in any order.
    #[expect(clippy::box_collection, reason = "one word while it is empty")]
    blocked: Option<Box<BTreeMap<u64, Blocked>>>,
    last: u64,
}

struct Blocked {
    waker: Waker,
    needs: Needs,
}

/// For what a publisher waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Needs {
    /// For the outbox: its message has QoS 0.
    Outbox,
    /// For the store as well, if there is one.
    Store,
}

impl Room {
    /// The publisher waits. `ticket` is zero at first and keeps its place in the queue. Returns the waker that it waited with before.
    pub(crate) fn wait(&mut self, ticket: &mut u64, waker: &Waker, needs: Needs) -> Option<Waker> {
        if *ticket == 0 {
            self.last += 1;
            *ticket = self.last;
        }
        let blocked = self.blocked.get_or_insert_default();
        let known = blocked.insert(*ticket, Blocked { waker: waker.clone(), needs });
        known.map(|known| known.waker)
    }

    /// The publisher got in, or gave up: its own waker, and the next one, who is tried.
    pub(crate) fn leave(&mut self, ticket: u64) -> (Option<Waker>, Option<Waker>) {
        let Some(blocked) = self.blocked.as_mut() else { return (None, None) };
        let own = blocked.remove(&ticket);
        let next = blocked.pop_first();
        self.forget_if_empty();
        (own.map(|own| own.waker), next.map(|(_, next)| next.waker))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.blocked.is_none()
    }

    /// Room for about `places` messages appeared, for those that need no more than that.
    pub(crate) fn appeared(&mut self, places: usize, needs: Needs, mut wake: impl FnMut(Waker)) {
        let Some(blocked) = &mut self.blocked else { return };
        let is_served = |known: &Blocked| needs == Needs::Store || known.needs == needs;
        for _ in 0..places.max(HERD) {
            let next =
                blocked.iter().find(|(_, known)| is_served(known)).map(|(ticket, _)| *ticket);
            let Some(next) = next.and_then(|ticket| blocked.remove(&ticket)) else { break };
            wake(next.waker);
        }
        self.forget_if_empty();
    }

    /// The session is gone: everybody tries again and fails.
    pub(crate) fn close(&mut self, wake: impl FnMut(Waker)) {
        let blocked = self.blocked.take().into_iter().flat_map(|blocked| blocked.into_values());
        blocked.map(|known| known.waker).for_each(wake);
    }

    fn forget_if_empty(&mut self) {
        self.blocked.take_if(|blocked| blocked.is_empty());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    /// Remembers how often it was woken.
    #[derive(Default)]
    struct Task(AtomicUsize);

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Publishers that wait, with their tickets.
    struct Line {
        room: Room,
        tasks: Vec<Arc<Task>>,
        tickets: Vec<u64>,
    }

    impl Line {
        fn of(needs: impl IntoIterator<Item = Needs>) -> Self {
            let mut line = Self { room: Room::default(), tasks: Vec::new(), tickets: Vec::new() };
            for (n, needs) in needs.into_iter().enumerate() {
                line.tasks.push(Arc::default());
                line.tickets.push(0);
                line.wait(n, needs);
            }
            line
        }

        fn wait(&mut self, n: usize, needs: Needs) {
            let waker = Arc::clone(&self.tasks[n]).into();
            drop(self.room.wait(&mut self.tickets[n], &waker, needs));
        }

        fn leave(&mut self, n: usize) {
            self.room.leave(self.tickets[n]).1.into_iter().for_each(Waker::wake);
        }

        /// Those that were woken since this was asked last.
        fn woken(&self) -> Vec<usize> {
            let woken = |n: &usize| self.tasks[*n].0.swap(0, Ordering::Relaxed) > 0;
            (0..self.tasks.len()).filter(woken).collect()
        }
    }

    #[test]
    fn a_publisher_keeps_its_place_when_it_fails_again() {
        let mut line = Line::of([Needs::Store; 20]);
        line.room.appeared(1, Needs::Store, Waker::wake);
        let herd: Vec<_> = (0..HERD).collect();
        assert_eq!(line.woken(), herd, "so that one stuck publisher does not keep the room");
        line.wait(3, Needs::Store);
        line.wait(3, Needs::Store);
        line.leave(0);
        assert_eq!(line.woken(), [3], "before those that came after it");
        line.room.appeared(2, Needs::Store, Waker::wake);
        assert_eq!(line.woken(), [16, 17, 18, 19]);
    }

    #[test]
    fn as_many_are_woken_as_find_room() {
        let mut line = Line::of([Needs::Store; 100]);
        line.room.appeared(40, Needs::Store, Waker::wake);
        assert_eq!(line.woken(), (0..40).collect::<Vec<_>>());
    }

    #[test]
    fn one_that_leaves_wakes_the_next() {
        let mut line = Line::of([Needs::Store; 4]);
        line.leave(1);
        assert_eq!(line.woken(), [0]);
        line.leave(2);
        assert_eq!(line.woken(), [3]);
        assert!(line.room.is_empty());
        line.leave(0);
        line.leave(3);
        assert_eq!(line.woken(), [0; 0]);
    }

    #[test]
    fn who_needs_no_store_does_not_wait_for_one_that_is_full() {
        let mut line = Line::of([Needs::Store, Needs::Outbox, Needs::Store, Needs::Outbox]);
        line.room.appeared(1, Needs::Outbox, Waker::wake);
        assert_eq!(line.woken(), [1, 3]);
        line.room.appeared(1, Needs::Outbox, Waker::wake);
        assert_eq!((line.woken(), line.room.is_empty()), (Vec::new(), false));
        line.wait(3, Needs::Outbox);
        line.room.appeared(1, Needs::Store, Waker::wake);
        assert_eq!(line.woken(), [0, 2, 3]);
        assert!(line.room.is_empty());
    }

    #[test]
    fn everybody_learns_of_the_end() {
        let mut line = Line::of([Needs::Store, Needs::Outbox]);
        line.room.close(Waker::wake);
        assert_eq!(line.woken(), [0, 1]);
        assert!(line.room.is_empty());
    }
}

//! Publishers that wait for room in the outbox.

use std::collections::VecDeque;
use std::task::Waker;

/// How many are woken at least when room appears: one that is never polled again must not keep it.
const HERD: usize = 16;

/// The publishers that found the outbox full, in their order.
#[derive(Default)]
pub(crate) struct Room {
    /// `None` while there is none.
    #[expect(clippy::box_collection, reason = "one word while it is empty")]
    blocked: Option<Box<VecDeque<Blocked>>>,
    last: u64,
}

struct Blocked {
    ticket: u64,
    /// `None`: woken, and not polled since.
    waker: Option<Waker>,
}

impl Room {
    /// The publisher waits. `ticket` is zero at first and keeps its place in the queue.
    pub(crate) fn wait(&mut self, ticket: &mut u64, waker: &Waker) {
        if *ticket != 0
            && let Some(blocked) = self.iter_mut().find(|b| b.ticket == *ticket)
        {
            match &blocked.waker {
                Some(known) if known.will_wake(waker) => {}
                _ => blocked.waker = Some(waker.clone()),
            }
            return;
        }
        self.last += 1;
        *ticket = self.last;
        let blocked = self.blocked.get_or_insert_default();
        blocked.push_back(Blocked { ticket: *ticket, waker: Some(waker.clone()) });
    }

    /// The publisher got in, or gave up: the next one is tried.
    pub(crate) fn leave(&mut self, ticket: u64) -> Option<Waker> {
        let blocked = self.blocked.as_mut()?;
        if let Some(at) = blocked.iter().position(|b| b.ticket == ticket) {
            blocked.remove(at);
        }
        if blocked.is_empty() {
            self.blocked = None;
        }
        self.iter_mut().find_map(|b| b.waker.take())
    }

    fn iter_mut(&mut self) -> impl Iterator<Item = &mut Blocked> {
        self.blocked.iter_mut().flat_map(|blocked| blocked.iter_mut())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.blocked.is_none()
    }

    /// Room for about `places` messages appeared.
    pub(crate) fn appeared(&mut self, places: usize, wake: impl FnMut(Waker)) {
        let woken = self.iter_mut().filter_map(|b| b.waker.take());
        woken.take(places.max(HERD)).for_each(wake);
    }

    /// The session is gone: everybody tries again and fails.
    pub(crate) fn close(&mut self, wake: impl FnMut(Waker)) {
        let blocked = self.blocked.take().into_iter().flat_map(|blocked| *blocked);
        blocked.filter_map(|b| b.waker).for_each(wake);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_publisher_keeps_its_place_when_it_fails_again() {
        let mut room = Room::default();
        let mut tickets = [0; 3];
        for ticket in &mut tickets {
            room.wait(ticket, Waker::noop());
        }
        let mut woken = 0;
        room.appeared(1, |_| woken += 1);
        assert_eq!(woken, 3, "a small herd, so that one stuck publisher does not keep the room");
        room.wait(&mut tickets[0], Waker::noop());
        assert_eq!(room.iter_mut().next().map(|b| b.ticket), Some(tickets[0]));
    }

    #[test]
    fn one_that_leaves_wakes_the_next() {
        let mut room = Room::default();
        let mut tickets = [0; 2];
        for ticket in &mut tickets {
            room.wait(ticket, Waker::noop());
        }
        assert!(room.leave(tickets[0]).is_some());
        assert!(room.leave(tickets[1]).is_none());
        assert!(room.is_empty());
    }
}

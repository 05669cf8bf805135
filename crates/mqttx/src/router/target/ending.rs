//! How a route ends.

use std::sync::atomic::Ordering::{Relaxed, Release};

use super::Target;
use crate::router::consumer::Consumer;
use crate::router::done::Completion;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::router) enum Phase {
    Open,
    /// Takes nothing more; what waits is still handed out.
    Ending,
    Stopped,
    /// Stopped, and nothing that it had is ever acknowledged.
    Abandoned,
}

impl Phase {
    pub(in crate::router) fn is_over(self) -> bool {
        matches!(self, Self::Stopped | Self::Abandoned)
    }
}

impl Target {
    /// Takes nothing more; what waits is still handed out, then streams end.
    pub(crate) fn end(&self) {
        let waker = {
            let mut state = self.state();
            if state.phase == Phase::Open {
                state.phase = Phase::Ending;
                self.open.store(false, Release);
            }
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Hands out nothing more and counts everything held as done; `false` if it was stopped
    /// before.
    pub(in crate::router) fn stop(&self) -> bool {
        let (work, (waiting, unparks), unacked, waker, told) = {
            let mut state = self.state();
            if state.phase.is_over() {
                return false;
            }
            state.phase = Phase::Stopped;
            self.open.store(false, Release);
            (
                state.work.take(),
                state.queue.drain(),
                state.unacked.take_where(|_, _| true),
                state.waker.take(),
                state.drops.rest(),
            )
        };
        unparks.tell();
        // What a consumer has that runs, it finishes itself: until its message is done, no acknowledgement could leave anyway.
        if let Some(mut work) = work {
            self.done.taken.store(0, Relaxed);
            work.finish();
        }
        waiting.into_iter().for_each(|mut batch| batch.finish());
        unacked.into_iter().for_each(Completion::finish);
        self.tell_of_drops(told, None);
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }

    /// Forgets everything held, so that nothing of it is ever acknowledged.
    pub(in crate::router) fn abandon(&self) {
        let (work, (waiting, unparks), unacked) = {
            let mut state = self.state();
            state.phase = Phase::Abandoned;
            // A closed route is done with whatever still comes. One that takes lots is not: what a read brings at this
            // moment its handler leaves with the server, too.
            self.open.store(matches!(self.consumer, Consumer::Lot(_)), Release);
            (state.work.take(), state.queue.drain(), state.unacked.take_where(|_, _| true))
        };
        unparks.tell();
        drop((work, waiting, unacked));
    }
}

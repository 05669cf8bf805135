//! What an engine is to do: run, hold back, pause, stop, end.

use super::engine::Engine;
use super::flows::Phase;
use crate::router::Due;

/// With whom an engine ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Its sources go on: their servers get back what it holds.
    Alone,
    /// So do all sessions, which leaves everything with the servers.
    WithAll,
}

impl Engine {
    pub(super) fn phase(&self) -> Phase {
        self.lock().flows.phase()
    }

    /// Takes messages and sends none; nothing to do if it does not run.
    pub(super) fn hold(&self) {
        {
            let mut inner = self.lock();
            if inner.flows.phase() == Phase::Running {
                inner.flows.set_phase(Phase::Paused);
            }
        }
        self.release_qos0();
    }

    /// What a pause or a stop left, or waits for a target without a session, stays with its servers: nobody waits for it.
    pub(super) fn leave_behind(&self) {
        let mut counts = vec![0; self.sources.len()];
        {
            let stranded = self.is_stranded();
            let inner = self.lock();
            if !inner.flows.phase().waits_for_start() && !stranded {
                return;
            }
            for source in inner.flows.waiting_sources() {
                counts.get_mut(source).into_iter().for_each(|count| *count += 1);
            }
        }
        for (session, count) in self.sources.iter().zip(counts) {
            session.leave_unhandled(count);
        }
    }

    /// Starts sending, what was left from before first; `false` if it was not stopped.
    pub(super) fn resume(&self) -> bool {
        let mut inner = self.lock();
        let phase = inner.flows.phase();
        if phase == Phase::Running {
            return false;
        }
        inner.flows.set_phase(Phase::Running);
        let turn = inner.flows.take_turn();
        drop(inner);
        if turn {
            self.pump();
        }
        phase != Phase::Paused
    }

    /// Takes messages and sends none until [`release`](Self::release): those of an earlier generation go first.
    pub(super) fn begin_held(&self) {
        let mut inner = self.lock();
        inner.flows.set_phase(Phase::Running);
        inner.flows.hold();
    }

    /// With the same rate limit as `before` had, what that one sent counts.
    pub(super) fn take_pace_of(&self, before: &Self) {
        let pace = before.lock().flows.pace();
        self.lock().flows.go_on_with(pace);
    }

    /// Sends what was held, and what comes.
    pub(super) fn release(&self) {
        let mut inner = self.lock();
        inner.flows.release();
        let turn = inner.flows.take_turn();
        drop(inner);
        if turn {
            self.pump();
        }
    }

    /// Stops taking and sending; `false` if it was stopped. What is in flight is still acknowledged.
    pub(super) fn pause(&self) -> bool {
        let mut inner = self.lock();
        let running = matches!(inner.flows.phase(), Phase::Running | Phase::Paused);
        inner.flows.set_phase(Phase::Stopped);
        let rest = inner.reports.rest();
        drop(inner);
        self.release_qos0();
        for (reason, count) in rest {
            self.tell(reason, count, String::new());
        }
        running
    }

    /// Waits until nothing is held, but for what a pause holds, or a target without a session.
    pub(super) async fn drained(&self) {
        loop {
            let mut idle = std::pin::pin!(self.idle.notified());
            // From here on no notification is missed.
            idle.as_mut().enable();
            let (settled, at_rest) = {
                let inner = self.lock();
                (inner.flows.is_settled(), inner.flows.is_at_rest())
            };
            if settled || at_rest && self.is_stranded() {
                return;
            }
            idle.await;
        }
    }

    /// Messages that arrived and are not finished.
    pub(super) fn held(&self) -> usize {
        self.lock().flows.held()
    }

    /// Forgets what is held; nothing of it is acknowledged.
    pub(super) fn end(&self, how: End) {
        let mut dues = self.forget();
        if how == End::Alone {
            dues.sort_by_key(|(source, _)| *source);
            self.hand_back(&mut dues);
        }
    }

    /// The servers get messages back that are not finished here; those of one source together.
    pub(super) fn hand_back(&self, dues: &mut Vec<(usize, Due)>) {
        let mut dues = dues.drain(..).peekable();
        while let Some((source, first)) = dues.next() {
            let more = std::iter::from_fn(|| dues.next_if(|(other, _)| *other == source));
            let all = std::iter::once(first).chain(more.map(|(_, due)| due)).collect();
            if let Some(session) = self.sources.get(source) {
                session.give_back(all);
            }
        }
    }

    fn forget(&self) -> Vec<(usize, Due)> {
        let (dues, passing, parked) = {
            let flows = &mut self.lock().flows;
            (flows.take_dues(), flows.take_passing(), flows.clear())
        };
        parked.iter().for_each(|held| self.unpark(held.source, held.parked));
        passing.into_iter().for_each(|(source, bytes)| self.passed(source, bytes));
        self.release_qos0();
        self.quiet.notify_waiters();
        self.idle.notify_waiters();
        dues
    }
}

//! Which session of a target has its turn.

use std::time::{Duration, Instant};

/// The first session that is up, in the order of the list: away from one that was down for a while, back to an
/// earlier one when that has proved stable.
#[derive(Debug)]
pub(super) struct Failover {
    active: usize,
    /// The one whose turn it is does not acknowledge.
    suspect: bool,
    /// Since when each is connected, or since when it is not.
    states: Vec<State>,
}

#[derive(Clone, Copy, Debug)]
struct State {
    up: bool,
    since: Instant,
    stable_after: Duration,
}

impl Failover {
    /// One session for each time after which its connection counts as stable; nobody is connected yet.
    pub(super) fn new(stable_after: impl Iterator<Item = Duration>, now: Instant) -> Self {
        let down = |stable_after| State { up: false, since: now, stable_after };
        Self { active: 0, suspect: false, states: stable_after.map(down).collect() }
    }

    /// What is seen now: who is connected. The session to change to, if there is one.
    pub(super) fn observe(
        &mut self,
        now: Instant,
        connected: impl Iterator<Item = bool>,
    ) -> Option<usize> {
        for (state, up) in self.states.iter_mut().zip(connected) {
            if state.up != up {
                (state.up, state.since) = (up, now);
            }
        }
        let lasts = |state: &State| now.saturating_duration_since(state.since);
        let stable = |state: &State| state.up && lasts(state) >= state.stable_after;
        let earlier = self.states.iter().take(self.active).position(stable);
        let active = self.states.get(self.active)?;
        if self.suspect {
            let mut others = self.states.iter().enumerate().filter(|(n, _)| *n != self.active);
            let next = others.find(|(_, state)| state.up).map(|(n, _)| n);
            // Until the change is made; with nobody to change to, it gets another chance.
            self.suspect = next.is_some();
            return next;
        }
        let lost = !active.up && lasts(active) >= DOWN;
        earlier.or_else(|| self.states.iter().position(|state| state.up).filter(|_| lost))
    }

    /// The one whose turn it is does not acknowledge: another one that is up gets its turn at once. Before it is used again it
    /// has to prove stable, like one that was down.
    pub(super) fn suspect(&mut self, now: Instant) {
        if let Some(state) = self.states.get_mut(self.active) {
            state.since = now;
        }
        self.suspect = true;
    }

    /// The change was made.
    pub(super) fn changed(&mut self, session: usize) {
        (self.active, self.suspect) = (session, false);
    }
}

/// How long a session is waited for before another one gets its turn.
pub(super) const DOWN: Duration = Duration::from_secs(5);

/// Between two looks at the sessions.
pub(super) const LOOK: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use super::*;

    const STABLE: Duration = Duration::from_secs(10);

    struct Clock(Failover, Instant);

    impl Clock {
        fn new(sessions: usize) -> Self {
            let now = Instant::now();
            Self(Failover::new(std::iter::repeat_n(STABLE, sessions), now), now)
        }

        fn after(&mut self, millis: u64, connected: &[bool]) -> Option<usize> {
            self.1 += Duration::from_millis(millis);
            let next = self.0.observe(self.1, connected.iter().copied())?;
            self.0.changed(next);
            Some(next)
        }
    }

    #[test]
    fn a_session_that_is_down_for_five_seconds_gives_way_to_the_next_that_is_up() {
        let mut clock = Clock::new(3);
        assert_eq!(clock.after(0, &[true, false, true]), None);
        assert_eq!(clock.after(100, &[false, false, true]), None);
        assert_eq!(clock.after(4999, &[false, false, true]), None);
        assert_eq!(clock.after(1, &[false, false, true]), Some(2));
        assert_eq!(clock.after(60_000, &[false, false, true]), None, "there it stays");
    }

    #[test]
    fn one_that_does_not_acknowledge_gives_way_at_once_and_has_to_prove_stable_again() {
        let mut clock = Clock::new(3);
        assert_eq!(clock.after(60_000, &[true, false, true]), None);
        clock.0.suspect(clock.1);
        assert_eq!(clock.after(250, &[true, false, true]), Some(2));
        assert_eq!(clock.after(9_000, &[true, false, true]), None);
        assert_eq!(clock.after(1_000, &[true, false, true]), Some(0));
        clock.0.suspect(clock.1);
        assert_eq!(clock.after(0, &[true, false, false]), None, "nobody else is up");
        assert_eq!(clock.after(60_000, &[true, false, true]), None, "it got another chance");
    }

    #[test]
    fn a_short_loss_changes_nothing() {
        let mut clock = Clock::new(2);
        assert_eq!(clock.after(0, &[true, true]), None);
        assert_eq!(clock.after(100, &[false, true]), None);
        assert_eq!(clock.after(4000, &[true, true]), None);
        assert_eq!(clock.after(2000, &[false, true]), None);
        assert_eq!(clock.after(4000, &[false, true]), None);
    }

    #[test]
    fn the_first_is_used_again_only_after_it_proved_stable() {
        let mut clock = Clock::new(2);
        assert_eq!(clock.after(5000, &[false, true]), Some(1));
        assert_eq!(clock.after(1000, &[true, true]), None);
        assert_eq!(clock.after(9000, &[false, true]), None, "not stable");
        assert_eq!(clock.after(100, &[true, true]), None);
        assert_eq!(clock.after(9999, &[true, true]), None);
        assert_eq!(clock.after(1, &[true, true]), Some(0));
    }

    #[test]
    fn a_change_that_was_not_made_is_asked_for_again() {
        let now = Instant::now();
        let mut failover = Failover::new(std::iter::repeat_n(STABLE, 2), now);
        for _ in 0..2 {
            assert_eq!(failover.observe(now + DOWN, [false, true].into_iter()), Some(1));
        }
        let mut suspected = Failover::new(std::iter::repeat_n(STABLE, 2), now);
        suspected.suspect(now);
        for _ in 0..2 {
            assert_eq!(suspected.observe(now, [true, true].into_iter()), Some(1));
        }
        suspected.changed(1);
        assert_eq!(suspected.observe(now, [true, true].into_iter()), None, "it was made");
    }

    #[test]
    fn it_waits_when_nobody_is_up() {
        let mut clock = Clock::new(2);
        assert_eq!(clock.after(60_000, &[false, false]), None);
        assert_eq!(clock.after(100, &[false, true]), Some(1));
        assert_eq!(clock.after(100, &[true, false]), None, "the other may come back");
        assert_eq!(clock.after(5000, &[true, false]), Some(0));
    }
}

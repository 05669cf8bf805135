//! The alarm of a session.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

/// Sets an alarm only when it must ring earlier: one that rings too early is set again.
#[derive(Default)]
pub(super) struct Timer {
    /// The time of the alarm that was set last.
    set: Option<Instant>,
}

impl Timer {
    /// Whether `deadline` is over; otherwise the driver is woken at it, or earlier, by an alarm that `set` sets if there is none.
    /// `counts`: the number of the alarm that counts, which is odd; even once it rang. Nothing rings before the caller sleeps, who
    /// holds the session's lock.
    pub(super) fn poll(
        &mut self,
        now: Instant,
        deadline: Option<Instant>,
        counts: &AtomicU32,
        set: impl FnOnce(Instant, u32),
    ) -> bool {
        let Some(deadline) = deadline else { return false };
        if deadline <= now {
            return true;
        }
        let last = counts.load(Ordering::Relaxed);
        let rang = last.is_multiple_of(2);
        if rang || self.set.is_none_or(|set| set > deadline) {
            let number = last.wrapping_add(if rang { 1 } else { 2 });
            self.set = Some(deadline);
            counts.store(number, Ordering::Relaxed);
            set(deadline, number);
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn deadlines_move_in_both_directions() {
        let (mut timer, counts, start) = (Timer::default(), AtomicU32::new(0), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut poll = |now, deadline: Option<u64>| {
            let mut alarm = None;
            let set = |time: Instant, number| {
                assert_eq!(counts.load(Ordering::Relaxed), number, "the new one counts");
                alarm = Some((time - start).as_secs());
            };
            (timer.poll(at(now), deadline.map(at), &counts, set), alarm)
        };
        assert_eq!(poll(0, None), (false, None));
        assert_eq!(poll(0, Some(60)), (false, Some(60)));
        assert_eq!(poll(1, Some(5)), (false, Some(5)), "it must ring earlier");
        assert_eq!(poll(2, Some(90)), (false, None), "it rings too early, which is early enough");
        counts.fetch_add(1, Ordering::Relaxed);
        assert_eq!(poll(5, Some(90)), (false, Some(90)), "it rang, and is set again");
        assert_eq!(poll(6, Some(90)), (false, None));
        assert_eq!(poll(90, Some(90)), (true, None));
    }
}

//! How many lines a session, or a forwarder, may write.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Lines of one subject within [`WINDOW`]; what comes beyond them is counted.
pub(super) const LINES: u32 = 30;
const WINDOW: Duration = Duration::from_secs(60);
/// Subjects that are remembered before those are forgotten that were quiet for a while.
const SWEEP_AT: usize = 1024;

/// Counts the lines of each subject.
#[derive(Debug, Default)]
pub(super) struct Limiter {
    subjects: HashMap<String, Window>,
    swept_at: Option<Instant>,
}

#[derive(Debug)]
struct Window {
    since: Instant,
    lines: u32,
    left_out: u64,
}

/// What becomes of a line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Admission {
    Write,
    /// After a line that says how many were left out before.
    WriteAfter(u64),
    LeaveOut,
}

impl Limiter {
    /// A line of that subject is to be written at `now`.
    pub(super) fn admit(&mut self, subject: &str, now: Instant) -> Admission {
        if self.subjects.len() >= SWEEP_AT {
            self.sweep(now);
        }
        let Some(window) = self.subjects.get_mut(subject) else {
            let window = Window { since: now, lines: 1, left_out: 0 };
            self.subjects.insert(subject.to_owned(), window);
            return Admission::Write;
        };
        if window.is_over(now) {
            let left_out = window.left_out;
            *window = Window { since: now, lines: 1, left_out: 0 };
            return if left_out > 0 { Admission::WriteAfter(left_out) } else { Admission::Write };
        }
        if window.lines < LINES {
            window.lines += 1;
            return Admission::Write;
        }
        window.left_out += 1;
        Admission::LeaveOut
    }

    /// When the next count of what was left out is to be told.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let untold = self.subjects.values().filter(|window| window.left_out > 0);
        untold.map(|window| window.since + WINDOW).min()
    }

    /// The counts that are to be told at `now`.
    pub(super) fn due(&mut self, now: Instant) -> Vec<(String, u64)> {
        self.take(|window| window.is_over(now))
    }

    /// All counts that were not told yet.
    pub(super) fn rest(&mut self) -> Vec<(String, u64)> {
        self.take(|_| true)
    }

    fn take(&mut self, which: impl Fn(&Window) -> bool) -> Vec<(String, u64)> {
        let untold = self.subjects.iter_mut().filter(|(_, w)| w.left_out > 0 && which(w));
        let mut found: Vec<(String, u64)> = untold
            .map(|(subject, window)| (subject.clone(), std::mem::take(&mut window.left_out)))
            .collect();
        found.sort();
        found
    }

    /// Forgets the quiet ones, at most once in a while: thousands may be loud at once.
    fn sweep(&mut self, now: Instant) {
        let early = |at| now.saturating_duration_since(at) < WINDOW / 4;
        if self.swept_at.is_some_and(early) {
            return;
        }
        self.swept_at = Some(now);
        self.subjects.retain(|_, window| window.left_out > 0 || !window.is_over(now));
    }
}

impl Window {
    fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) >= WINDOW
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flood(limiter: &mut Limiter, subject: &str, lines: u32, now: Instant) -> Vec<Admission> {
        (0..lines).map(|_| limiter.admit(subject, now)).collect()
    }

    #[test]
    fn a_subject_writes_so_many_lines_a_minute_and_the_rest_is_counted() {
        let mut limiter = Limiter::default();
        let start = Instant::now();
        let first = flood(&mut limiter, "s", LINES, start);
        assert!(first.iter().all(|admission| *admission == Admission::Write));
        let more = flood(&mut limiter, "s", 5, start + WINDOW / 2);
        assert_eq!(more, [Admission::LeaveOut; 5]);
        assert_eq!(limiter.admit("other", start), Admission::Write, "others are not concerned");
        assert_eq!(limiter.admit("s", start + WINDOW), Admission::WriteAfter(5));
        assert_eq!(limiter.admit("s", start + WINDOW), Admission::Write);
    }

    #[test]
    fn what_was_left_out_is_told_at_the_end_of_the_minute_and_once() {
        let mut limiter = Limiter::default();
        let start = Instant::now();
        flood(&mut limiter, "quiet", 1, start);
        assert_eq!(limiter.next_due(), None);
        flood(&mut limiter, "s", LINES + 7, start);
        assert_eq!(limiter.next_due(), Some(start + WINDOW));
        assert!(limiter.due(start + WINDOW / 2).is_empty());
        assert_eq!(limiter.due(start + WINDOW), [("s".to_owned(), 7)]);
        assert_eq!((limiter.next_due(), limiter.rest()), (None, Vec::new()));
        assert_eq!(limiter.admit("s", start + WINDOW), Admission::Write);
    }

    #[test]
    fn subjects_that_are_quiet_are_forgotten_and_untold_ones_are_not() {
        let mut limiter = Limiter::default();
        let start = Instant::now();
        flood(&mut limiter, "loud", LINES + 1, start);
        for n in 0..2 * SWEEP_AT {
            limiter.admit(&n.to_string(), start);
        }
        limiter.admit("late", start + 2 * WINDOW);
        assert_eq!(limiter.subjects.len(), 2);
        assert_eq!(limiter.rest(), [("loud".to_owned(), 1)]);
    }
}

//! The charts' last ten minutes.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime};

/// How far the charts go back.
pub(super) const SPAN: Duration = Duration::from_secs(600);
/// One for each second of [`SPAN`].
const POINTS: usize = 600;

/// What all sessions and forwarders did up to a moment.
#[derive(Clone, Copy, Default)]
pub(super) struct Totals {
    pub(super) sessions: u64,
    pub(super) connected: u64,
    /// Accepted and unfinished publishes.
    pub(super) waiting: u64,
    /// Of all forwarders.
    pub(super) in_flight: u64,
    pub(super) counters: [u64; COUNTERS],
}

/// Messages and bytes received and sent; forwarded, and lost: dropped or a dead letter.
pub(super) const COUNTERS: usize = 6;

/// Points of time with the rates since the one before, the oldest first.
#[derive(Default)]
pub(super) struct History {
    points: VecDeque<Point>,
    last: Option<(Duration, Totals)>,
    /// How many there were.
    count: u64,
}

struct Point {
    at: Duration,
    text: String,
}

impl History {
    /// One more point. Times are since 1970; one that is not later is left out.
    pub(super) fn add(&mut self, at: SystemTime, totals: Totals) {
        let at = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let before = self.last.replace((at, totals));
        let Some((then, before)) = before.filter(|(then, _)| *then < at) else { return };
        let seconds = (at - then).as_secs_f64();
        let mut point = vec![
            at.as_millis().to_string(),
            totals.sessions.to_string(),
            totals.connected.to_string(),
            totals.waiting.to_string(),
            totals.in_flight.to_string(),
        ];
        point.extend(
            totals
                .counters
                .iter()
                .zip(before.counters)
                .map(|(now, before)| format!("{:.1}", now.saturating_sub(before) as f64 / seconds)),
        );
        self.points.push_back(Point { at, text: format!("[{}]", point.join(",")) });
        self.count += 1;
        let oldest = at.saturating_sub(SPAN);
        while self.points.len() > POINTS || self.points.front().is_some_and(|p| p.at < oldest) {
            self.points.pop_front();
        }
    }

    /// Those behind the first `seen`, as JSON arrays with commas between them; `seen` becomes all.
    pub(super) fn after(&self, seen: &mut u64) -> String {
        let new = usize::try_from(self.count - *seen).unwrap_or(usize::MAX);
        *seen = self.count;
        let from = self.points.len().saturating_sub(new);
        let texts: Vec<&str> = self.points.range(from..).map(|point| point.text.as_str()).collect();
        texts.join(",")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn totals(messages: u64) -> Totals {
        let mut counters = [0; COUNTERS];
        counters[0] = messages;
        Totals { sessions: 2, connected: 1, waiting: 3, in_flight: 4, counters }
    }

    #[test]
    fn a_point_has_the_rates_since_the_one_before() {
        let mut history = History::default();
        history.add(at(100), totals(50));
        history.add(at(105), totals(60));
        history.add(at(105), totals(70));
        history.add(at(106), totals(40));
        let mut seen = 0;
        assert_eq!(
            history.after(&mut seen),
            "[105000,2,1,3,4,2.0,0.0,0.0,0.0,0.0,0.0],[106000,2,1,3,4,0.0,0.0,0.0,0.0,0.0,0.0]"
        );
        assert_eq!((seen, history.after(&mut seen).as_str()), (2, ""));
    }

    #[test]
    fn ten_minutes_are_kept_and_no_more_than_a_point_a_second() {
        let mut history = History::default();
        (0..2000).for_each(|n| history.add(at(1) + Duration::from_millis(500 * n), totals(n)));
        assert_eq!(history.points.len(), POINTS);
        history.add(at(100_000), totals(0));
        assert_eq!(history.points.len(), 1, "a long sleep");
        let mut seen = 1;
        assert_eq!(history.after(&mut seen).matches('[').count(), 1, "what is gone is not sent");
    }
}

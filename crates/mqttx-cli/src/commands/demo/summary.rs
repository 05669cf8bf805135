//! What the demo proved.

use std::time::Duration;

use super::plant::Plant;
use crate::exit::Failure;

/// The figures of a whole run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Summary {
    published: u64,
    forwarded: u64,
    received: u64,
    lost: u64,
    duplicates: u64,
    foreign: u64,
    seconds: f64,
    p50_us: u64,
    p99_us: u64,
    max_us: u64,
}

impl Summary {
    /// The figures now, after so long a time of publishing.
    pub(super) fn new(plant: &Plant, time: Duration) -> Self {
        let published = plant.published();
        let forwarded = plant.forwarded();
        let tracker = plant.tracker();
        Self {
            published,
            forwarded,
            received: tracker.received(),
            lost: published.saturating_sub(tracker.received()),
            duplicates: tracker.duplicates(),
            foreign: tracker.foreign(),
            seconds: time.as_secs_f64(),
            p50_us: tracker.latency_us(0.5),
            p99_us: tracker.latency_us(0.99),
            max_us: tracker.latency_us(1.0),
        }
    }

    pub(super) fn json(&self) -> String {
        format!(
            "{{\"published\":{},\"forwarded\":{},\"received\":{},\"lost\":{},\"duplicates\":{},\
             \"seconds\":{:.3},\"rate\":{:.0},\"p50_us\":{},\"p99_us\":{},\"max_us\":{}}}\n",
            self.published,
            self.forwarded,
            self.received,
            self.lost,
            self.duplicates,
            self.seconds,
            self.rate(),
            self.p50_us,
            self.p99_us,
            self.max_us
        )
    }

    pub(super) fn table(&self) -> String {
        format!(
            "published  {:>12}  in {:.1} s\n\
             forwarded  {:>12}\n\
             received   {:>12}\n\
             lost       {:>12}\n\
             duplicates {:>12}\n\
             rate       {:>12.0}  messages per second, end to end\n\
             latency    {:>12}  us (p50), {} us (p99), {} us (longest)\n",
            self.published,
            self.seconds,
            self.forwarded,
            self.received,
            self.lost,
            self.duplicates,
            self.rate(),
            self.p50_us,
            self.p99_us,
            self.max_us
        )
    }

    /// # Errors
    /// Something was lost, arrived twice, or was not published by the demo.
    pub(super) fn verdict(&self) -> Result<(), Failure> {
        if self.lost == 0 && self.duplicates == 0 && self.foreign == 0 {
            return Ok(());
        }
        Err(Failure::runtime(format_args!(
            "{} messages lost, {} duplicated, {} unknown",
            self.lost, self.duplicates, self.foreign
        )))
    }

    fn rate(&self) -> f64 {
        self.received as f64 / self.seconds.max(0.001)
    }
}

#[cfg(test)]
mod tests {
    use super::Summary;

    const GOOD: Summary = Summary {
        published: 10,
        forwarded: 10,
        received: 10,
        lost: 0,
        duplicates: 0,
        foreign: 0,
        seconds: 2.0,
        p50_us: 3,
        p99_us: 4,
        max_us: 5,
    };

    #[test]
    fn only_a_perfect_run_is_a_success() {
        assert!(GOOD.verdict().is_ok());
        assert!(Summary { lost: 1, ..GOOD }.verdict().is_err());
        assert!(Summary { duplicates: 1, ..GOOD }.verdict().is_err());
        assert!(Summary { foreign: 1, ..GOOD }.verdict().is_err());
    }

    #[test]
    fn json_is_one_line_with_the_promised_keys() {
        let line = GOOD.json();
        assert_eq!(line.lines().count(), 1);
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        for key in ["published", "forwarded", "received", "lost", "duplicates", "p50_us", "p99_us"]
        {
            assert!(value[key].is_u64(), "{key}");
        }
        assert_eq!(value["rate"], 5);
    }
}

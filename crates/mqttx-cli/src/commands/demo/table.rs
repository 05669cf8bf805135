//! The table that lives on the terminal while the demo runs.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::plant::Plant;

const REFRESH: Duration = Duration::from_millis(250);

/// Rates of the last moment, messages on their way, latencies. Hidden where stderr is no terminal.
pub(super) struct Table<'p> {
    plant: &'p Plant,
    bar: ProgressBar,
    last: Sample,
}

#[derive(Clone, Copy)]
struct Sample {
    at: Instant,
    published: u64,
    forwarded: u64,
    received: u64,
}

impl<'p> Table<'p> {
    pub(super) fn new(plant: &'p Plant) -> Self {
        let bar = ProgressBar::new_spinner();
        let style = ProgressStyle::with_template("{msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        Self { plant, bar, last: Sample::take(plant) }
    }

    /// Redraws the table again and again; never ends.
    pub(super) async fn refresh(&mut self) {
        loop {
            tokio::time::sleep(REFRESH).await;
            let now = Sample::take(self.plant);
            self.bar.set_message(self.draw(now));
            self.last = now;
        }
    }

    /// Removes the table.
    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }

    fn draw(&self, now: Sample) -> String {
        let seconds = now.at.duration_since(self.last.at).as_secs_f64().max(0.001);
        let rate = |new: u64, old: u64| (new - old) as f64 / seconds;
        let (p50, p99) = {
            let tracker = self.plant.tracker();
            (tracker.latency_us(0.5), tracker.latency_us(0.99))
        };
        format!(
            "             messages    per second\n\
             published {:>10} {:>13.0}\n\
             forwarded {:>10} {:>13.0}\n\
             received  {:>10} {:>13.0}\n\
             on the way {:>9}\n\
             latency    p50 {p50} us, p99 {p99} us",
            now.published,
            rate(now.published, self.last.published),
            now.forwarded,
            rate(now.forwarded, self.last.forwarded),
            now.received,
            rate(now.received, self.last.received),
            now.published.saturating_sub(now.received),
        )
    }
}

impl Sample {
    fn take(plant: &Plant) -> Self {
        // What arrived is read first, so that it never exceeds what was published.
        let (received, forwarded) = (plant.received(), plant.forwarded());
        Self { at: Instant::now(), received, forwarded, published: plant.published() }
    }
}

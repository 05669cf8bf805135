//! The daemon's log: lines on stderr, as text or as JSON.
//!
//! [`events`] turns what happens into `tracing` events, [`line`] writes them and whatever else the process says that way, and
//! [`limit`] keeps a session in trouble from filling the disk.

mod events;
mod limit;
mod line;
mod queue;

pub(super) use events::Watcher;

use std::sync::Arc;
use std::time::Instant;

use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, reload};

use crate::config::{Level, LogLevels, LogSection};
use crate::exit::Outcome;
use line::{Lines, Sink};

/// The log of this process; clones are the same one.
#[derive(Clone)]
pub(super) struct Log {
    sink: Arc<Sink>,
    filter: reload::Handle<Targets, Registry>,
}

impl Log {
    /// From here on what the process says with `tracing` is written as the section asks for.
    pub(super) fn start(section: &LogSection) -> Self {
        let sink = Arc::new(Sink::new(section.format));
        let (filter, handle) = reload::Layer::new(targets(&section.level));
        let lines = Lines(Arc::clone(&sink)).with_filter(filter);
        // Only a second daemon in one process would find another log in place; it writes there.
        let _ = tracing_subscriber::registry().with(lines).try_init();
        let swept = Arc::clone(&sink);
        tokio::spawn(async move {
            loop {
                let due = swept.next_due().await;
                tokio::time::sleep_until(due.into()).await;
                swept.tell_left_out(Instant::now());
            }
        });
        Self { sink, filter: handle }
    }

    /// Another format and other levels, from the next line on.
    pub(super) fn change(&self, section: &LogSection) {
        self.sink.set_format(section.format);
        // It fails only when the log is gone.
        let _ = self.filter.reload(targets(&section.level));
    }

    /// The end: says how many lines were left out and not told of yet, and at last why the daemon failed. Whoever reads them has a
    /// moment for it.
    pub(super) fn finish(&self, outcome: Outcome) -> Outcome {
        let failure = outcome.as_ref().err();
        self.sink.finish(failure.map(ToString::to_string));
        outcome.or_else(|failure| Ok(failure.code()))
    }
}

/// The library tells of each event once for programs without handlers; here [`events`] does, in words.
const TOLD_BY_EVENTS: &str = "mqttx::event";

fn targets(levels: &LogLevels) -> Targets {
    let all = Targets::new().with_default(levels.general.filter());
    let all = all.with_target(TOLD_BY_EVENTS, Level::Off.filter());
    levels.targets().fold(all, |all, (target, level)| all.with_target(target, level.filter()))
}

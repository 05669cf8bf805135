//! What is shown of a forwarder.

use std::time::Duration;

use mqttx::{Forwarder, ForwarderMetrics};
use serde_json::{Value, json};

use super::rate::Rate;
use super::table::{Change, Row, members};

/// Sessions that are named on each side; of the others there is the number.
const NAMED: usize = 8;

/// One forwarder with its flow.
pub(super) struct ForwarderRow {
    received: Rate,
    forwarded: Rate,
    /// All that is shown: there are few forwarders, so that each is sent as a whole.
    shown: String,
}

impl Row for ForwarderRow {
    type Source = Forwarder;

    fn name(forwarder: &Forwarder) -> &str {
        forwarder.name()
    }

    fn new(forwarder: &Forwarder) -> Self {
        let metrics = forwarder.metrics();
        let (received, forwarded) = (Rate::new(metrics.received), Rate::new(metrics.forwarded));
        let mut row = Self { received, forwarded, shown: String::new() };
        row.shown = row.show(forwarder, &metrics);
        row
    }

    fn update(&mut self, forwarder: &Forwarder, elapsed: Duration) -> Change {
        let metrics = forwarder.metrics();
        self.received.next(metrics.received, elapsed);
        self.forwarded.next(metrics.forwarded, elapsed);
        let shown = self.show(forwarder, &metrics);
        if shown == self.shown {
            return Change::Nothing;
        }
        self.shown = shown;
        Change::Words
    }

    fn write(&self, _: bool, out: &mut String) {
        out.push_str(&self.shown);
    }
}

impl ForwarderRow {
    fn show(&self, forwarder: &Forwarder, metrics: &ForwarderMetrics) -> String {
        let options = forwarder.options();
        let reasons = metrics.dropped_by_reason.iter();
        let reasons: serde_json::Map<String, Value> =
            reasons.map(|(reason, count)| (reason.as_str().to_owned(), (*count).into())).collect();
        let (from, more_from) = named(options.source_sessions());
        let (to, more_to) = named(options.target_sessions());
        let object = json!({
            "name": forwarder.name(),
            "state": forwarder.state().as_str(),
            "enabled": options.is_enabled(),
            "from": from,
            "more_from": more_from,
            "to": to,
            "more_to": more_to,
            "in": self.received.tenths(),
            "out": self.forwarded.tenths(),
            "received": metrics.received,
            "forwarded": metrics.forwarded,
            "filtered": metrics.filtered,
            "dropped": metrics.dropped,
            "reasons": reasons,
            "dead_lettered": metrics.dead_lettered,
            "in_flight": metrics.in_flight,
            "queued": metrics.queued,
            "lag_ms": u64::try_from(metrics.lag.as_millis()).unwrap_or(u64::MAX),
        });
        members(&object)
    }
}

/// The first names, each once, and how many more there are.
fn named<'a>(all: impl Iterator<Item = &'a str>) -> (Vec<&'a str>, usize) {
    let mut names: Vec<&str> = all.collect();
    let mut known = std::collections::HashSet::new();
    names.retain(|name| known.insert(*name));
    let more = names.len().saturating_sub(NAMED);
    names.truncate(NAMED);
    (names, more)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fleet_of_sources_is_a_few_names_and_a_number() {
        let many: Vec<String> = (0..1000).map(|n| format!("dev-{}", n % 500)).collect();
        let (names, more) = named(many.iter().map(String::as_str));
        assert_eq!((names.len(), more), (NAMED, 500 - NAMED));
        assert_eq!(named(["a", "b", "a"].into_iter()), (vec!["a", "b"], 0));
    }
}

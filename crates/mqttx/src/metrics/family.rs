//! THE list of metrics: name, kind, labels, meaning, and where the value comes from.

mod forwarder;
mod process;
mod session;
mod store;
mod wide;

use super::render::Emit;
use super::{MetricsSnapshot, SessionSample};

/// One metric: all series of a name.
///
/// ```
/// use mqttx::MetricFamily;
///
/// let sent = MetricFamily::all().find(|family| family.name == "mqtt_session_messages_sent").unwrap();
/// assert_eq!(sent.sample_name(), "mqtt_session_messages_sent_total");
/// assert_eq!(sent.labels, ["session"]);
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct MetricFamily {
    /// Its name with the default prefix `mqtt`, without the suffix of its kind.
    pub name: &'static str,
    /// How its values behave.
    pub kind: MetricKind,
    /// The labels of each of its series.
    pub labels: &'static [&'static str],
    /// What it means, in one line.
    pub help: &'static str,
    pub(super) rows: Rows,
}

/// How the values of a metric behave.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum MetricKind {
    /// Only rises.
    Counter,
    /// Rises and falls.
    Gauge,
    /// How often values were up to each of some bounds.
    Histogram,
    /// Always 1; the labels say it.
    Info,
}

/// Where the series of a metric come from.
#[derive(Debug)]
pub(super) enum Rows {
    /// One or more for each session.
    Session(fn(&SessionSample, &mut Emit<'_>)),
    /// All at once.
    Once(fn(&MetricsSnapshot, &mut Emit<'_>)),
}

impl MetricFamily {
    /// Every metric, in the order of output.
    pub fn all() -> impl Iterator<Item = &'static Self> {
        PARTS.into_iter().flatten()
    }

    /// The name of its samples in the text format of Prometheus; of a histogram without `_bucket`, `_sum` and `_count`.
    #[must_use]
    pub fn sample_name(&self) -> String {
        format!("{}{}", self.name, self.kind.suffix())
    }

    /// The unit that the name ends in.
    pub(super) fn unit(&self) -> Option<&'static str> {
        ["seconds", "bytes"]
            .into_iter()
            .find(|unit| self.name.strip_suffix(unit).is_some_and(|before| before.ends_with('_')))
    }
}

impl MetricKind {
    /// Its name in both text formats.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Info => "info",
        }
    }

    /// What the names of samples end in.
    pub(super) const fn suffix(self) -> &'static str {
        match self {
            Self::Counter => "_total",
            Self::Info => "_info",
            Self::Gauge | Self::Histogram => "",
        }
    }
}

const PARTS: [&[MetricFamily]; 5] = [
    &session::FAMILIES,
    &wide::FAMILIES,
    &forwarder::FAMILIES,
    &store::FAMILIES,
    &process::FAMILIES,
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_legal_unique_and_of_the_house() {
        let mut seen = BTreeSet::new();
        for family in MetricFamily::all() {
            let name = family.name;
            assert!(seen.insert(name), "{name} twice");
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{name}");
            let prefixes = ["mqtt_", "mqttx_", "process_"];
            assert!(prefixes.iter().any(|prefix| name.starts_with(prefix)), "{name}");
            assert!(
                !["_total", "_info", "_bucket", "_count", "_sum", "_created"]
                    .iter()
                    .any(|suffix| name.ends_with(suffix)),
                "{name}: the kind gives the suffix"
            );
            assert!(family.help.ends_with('.') && !family.help.contains('\n'), "{name}");
        }
        let drops: Vec<_> = seen.iter().filter(|name| name.contains("drop")).collect();
        assert_eq!(drops, [&"mqtt_forwarder_dropped"], "one thing has one name");
    }

    #[test]
    fn units_are_those_of_the_names() {
        let unit = |name: &str| MetricFamily::all().find(|f| f.name == name).and_then(|f| f.unit());
        assert_eq!(unit("mqtt_ack_seconds"), Some("seconds"));
        assert_eq!(unit("mqtt_session_outbox_bytes"), Some("bytes"));
        assert_eq!(unit("mqtt_session_bytes_sent"), None);
    }
}

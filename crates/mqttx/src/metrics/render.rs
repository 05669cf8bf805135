//! From a snapshot to text, piece by piece, so that neither all of the text is in memory nor a thread is busy for long.

use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::family::Rows;
use super::{HistogramMetrics, MetricFamily, MetricsSnapshot, SessionSample};

/// The text of a snapshot in pieces of about 32 KiB: an iterator. The pieces put together are the whole.
pub struct Chunks {
    snapshot: MetricsSnapshot,
    format: Box<dyn Format>,
    prefix: Arc<str>,
    families: Vec<&'static MetricFamily>,
    /// The next family, and within it the next session.
    at: (usize, usize),
    /// Something of the family was written.
    begun: bool,
    started: bool,
    finished: bool,
}

/// From this size on a piece is handed out.
const PIECE: usize = 32 << 10;

/// How a format writes what the families emit.
pub(super) trait Format: Send + Sync {
    fn start(&mut self, _out: &mut String) {}
    /// Before the first sample of a family, whose name has the prefix and no suffix.
    fn begin(&mut self, out: &mut String, family: &MetricFamily, name: &str);
    fn sample(
        &mut self,
        out: &mut String,
        family: &MetricFamily,
        name: &str,
        labels: &[(&str, &str)],
        value: Value,
    );
    fn histogram(
        &mut self,
        out: &mut String,
        name: &str,
        labels: &[(&str, &str)],
        histogram: &HistogramMetrics,
    );
    /// Behind the last sample of a family that has some.
    fn end(&mut self, _out: &mut String) {}
    fn finish(&mut self, _out: &mut String) {}
}

/// The value of a sample.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Value {
    Whole(u64),
    Real(f64),
    /// Shown in seconds.
    Milliseconds(u64),
}

/// Where a family puts its samples.
pub(super) struct Emit<'a> {
    out: &'a mut String,
    format: &'a mut dyn Format,
    family: &'static MetricFamily,
    name: &'a str,
    begun: &'a mut bool,
}

impl Chunks {
    pub(super) fn new(
        snapshot: MetricsSnapshot,
        prefix: Arc<str>,
        format: Box<dyn Format>,
    ) -> Self {
        let families = MetricFamily::all().collect();
        let (begun, started, finished) = (false, false, false);
        Self { snapshot, format, prefix, families, at: (0, 0), begun, started, finished }
    }

    /// One session of the current family, or all of another one; `false` when there is nothing left.
    fn step(&mut self, out: &mut String) -> bool {
        let Some(family) = self.families.get(self.at.0) else { return false };
        let name = with_prefix(&self.prefix, family.name);
        let mut emit =
            Emit { out, format: &mut *self.format, family, name: &name, begun: &mut self.begun };
        if let Rows::Session(row) = family.rows {
            while let Some(session) = self.snapshot.sessions.get(self.at.1) {
                self.at.1 += 1;
                row(session, &mut emit);
                if emit.out.len() >= PIECE {
                    return true;
                }
            }
        } else if let Rows::Once(rows) = family.rows {
            rows(&self.snapshot, &mut emit);
        }
        if std::mem::take(&mut self.begun) {
            self.format.end(out);
        }
        self.at = (self.at.0 + 1, 0);
        true
    }
}

impl Iterator for Chunks {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        if self.finished {
            return None;
        }
        let mut out = String::with_capacity(PIECE + PIECE / 8);
        if !std::mem::replace(&mut self.started, true) {
            self.format.start(&mut out);
        }
        while out.len() < PIECE {
            if !self.step(&mut out) {
                self.finished = true;
                self.format.finish(&mut out);
                break;
            }
        }
        Some(out)
    }
}

impl std::fmt::Debug for Chunks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Chunks").field("at", &self.at).finish_non_exhaustive()
    }
}

impl Emit<'_> {
    pub(super) fn sample(&mut self, labels: &[(&str, &str)], value: impl Into<Value>) {
        self.begin();
        self.format.sample(self.out, self.family, self.name, labels, value.into());
    }

    /// A sample of a session, labelled with its name if it has one.
    pub(super) fn session(&mut self, session: &SessionSample, value: impl Into<Value>) {
        match &session.name {
            Some(name) => self.sample(&[("session", name)], value),
            None => self.sample(&[], value),
        }
    }

    pub(super) fn histogram(&mut self, labels: &[(&str, &str)], histogram: &HistogramMetrics) {
        self.begin();
        self.format.histogram(self.out, self.name, labels, histogram);
    }

    fn begin(&mut self) {
        if !std::mem::replace(self.begun, true) {
            self.format.begin(self.out, self.family, self.name);
        }
    }
}

impl Value {
    /// Writes it as both text formats and JSON want a finite number.
    pub(super) fn write(self, out: &mut String) {
        match self {
            Self::Whole(n) => write_whole(out, n),
            // Most rates are.
            Self::Real(0.0) => out.push('0'),
            Self::Real(n) => {
                // Writing to memory does not fail.
                let _ = write!(out, "{n}");
            }
            Self::Milliseconds(n) => {
                write_whole(out, n / 1000);
                write_thousandths(out, n % 1000);
            }
        }
    }
}

impl From<u64> for Value {
    fn from(n: u64) -> Self {
        Self::Whole(n)
    }
}

impl From<usize> for Value {
    fn from(n: usize) -> Self {
        Self::Whole(n as u64)
    }
}

impl From<f64> for Value {
    fn from(n: f64) -> Self {
        Self::Real(n)
    }
}

/// Seconds of Unix time, 0 for never.
impl From<Option<SystemTime>> for Value {
    fn from(time: Option<SystemTime>) -> Self {
        let since = time.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
        let milliseconds = |since: Duration| u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        Self::Milliseconds(since.map_or(0, milliseconds))
    }
}

/// As `write!` does, in a third of the time: with thousands of sessions there are some hundred thousand numbers.
fn write_whole(out: &mut String, mut n: u64) {
    let mut digits = [b'0'; 20];
    let mut first = digits.len();
    for digit in digits.iter_mut().rev() {
        *digit += (n % 10) as u8;
        n /= 10;
        first -= 1;
        if n == 0 {
            break;
        }
    }
    out.push_str(std::str::from_utf8(&digits[first..]).unwrap_or_default());
}

/// What stands behind the whole ones, without zeros at its end.
fn write_thousandths(out: &mut String, n: u64) {
    if n > 0 {
        // Writing to memory does not fail.
        let _ = write!(out, ".{n:03}");
        out.truncate(out.trim_end_matches('0').len());
    }
}

/// A prefix as it can stand at the beginning of a name: letters, digits, `_` and `:`, no digit first.
pub(super) fn legal_prefix(prefix: &str) -> Arc<str> {
    let legal = |c: char| if c.is_ascii_alphanumeric() || c == ':' { c } else { '_' };
    let mut text: String = prefix.trim_end_matches('_').chars().map(legal).collect();
    if text.is_empty() || text.starts_with(|c: char| c.is_ascii_digit()) {
        text.insert(0, '_');
    }
    text.into()
}

/// The names that begin with `mqtt_` begin with the prefix instead; the others are the same everywhere.
fn with_prefix(prefix: &str, name: &'static str) -> std::borrow::Cow<'static, str> {
    match name.strip_prefix("mqtt_") {
        Some(rest) if prefix != "mqtt" => format!("{prefix}_{rest}").into(),
        _ => name.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_replace_that_of_the_house_and_are_made_legal() {
        assert_eq!(with_prefix("mqtt", "mqtt_sessions"), "mqtt_sessions");
        assert_eq!(with_prefix("edge", "mqtt_sessions"), "edge_sessions");
        assert_eq!(with_prefix("edge", "mqttx_build"), "mqttx_build");
        assert_eq!(with_prefix("edge", "process_open_fds"), "process_open_fds");
        for (given, legal) in [("a-b", "a_b"), ("7", "_7"), ("", "_"), ("x_", "x"), ("a:b", "a:b")]
        {
            assert_eq!(&*legal_prefix(given), legal);
        }
    }

    #[test]
    fn values_are_written_without_exponents_and_times_in_seconds() {
        let text = |value: Value| {
            let mut out = String::new();
            value.write(&mut out);
            out
        };
        for n in (0..20).flat_map(|power| [10_u64.pow(power) - 1, 10_u64.pow(power), u64::MAX]) {
            assert_eq!(text(n.into()), n.to_string());
        }
        for (n, shown) in [(0.0, "0"), (-0.0, "0"), (0.1, "0.1"), (1e-7, "0.0000001"), (2.0, "2")] {
            assert_eq!(text(n.into()), shown);
        }
        assert_eq!(text(None.into()), "0");
        for (ms, shown) in [
            (0, "0"),
            (5, "0.005"),
            (1_700_000_000_000, "1700000000"),
            (1_700_000_000_250, "1700000000.25"),
            (1_700_000_000_007, "1700000000.007"),
        ] {
            let time = SystemTime::UNIX_EPOCH + Duration::from_millis(ms);
            assert_eq!(text(Some(time).into()), shown);
        }
    }
}

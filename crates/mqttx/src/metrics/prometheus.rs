//! The text formats of Prometheus (0.0.4) and OpenMetrics (1.0).

use std::fmt::Write;
use std::sync::Arc;

use super::render::{Chunks, Format, Value, legal_prefix};
use super::{HistogramMetrics, MetricFamily, MetricKind, MetricsSnapshot};

/// Which of the two text formats.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum TextFormat {
    /// Version 0.0.4, which everything reads that scrapes. The default.
    #[default]
    Prometheus,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl TextFormat {
    /// Its `Content-Type`.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Writes snapshots as text for Prometheus.
///
/// ```
/// use mqttx::{PrometheusExporter, SessionManager, TextFormat};
///
/// let manager = SessionManager::new();
/// let exporter = PrometheusExporter::new("edge").format(TextFormat::OpenMetrics);
/// let text = exporter.export(&manager.snapshot());
/// assert!(text.contains("edge_ack_seconds_count 0\n") && text.ends_with("# EOF\n"));
/// ```
#[derive(Clone, Debug)]
pub struct PrometheusExporter {
    prefix: Arc<str>,
    format: TextFormat,
}

impl PrometheusExporter {
    /// Names begin with `prefix` and an underscore, by custom `mqtt`; those that begin with `mqttx_` and `process_` stay
    /// as they are. What cannot stand in a name becomes an underscore.
    #[must_use]
    pub fn new(prefix: &str) -> Self {
        Self { prefix: legal_prefix(prefix), format: TextFormat::default() }
    }

    /// The format. Default [`TextFormat::Prometheus`].
    #[must_use]
    pub fn format(mut self, format: TextFormat) -> Self {
        self.format = format;
        self
    }

    /// All of the text.
    #[must_use]
    pub fn export(&self, snapshot: &MetricsSnapshot) -> String {
        self.chunks(snapshot.clone()).collect()
    }

    /// The text in pieces, for a writer that goes on with other things in between.
    #[must_use]
    pub fn chunks(&self, snapshot: MetricsSnapshot) -> Chunks {
        Chunks::new(snapshot, Arc::clone(&self.prefix), Box::new(Text(self.format)))
    }
}

struct Text(TextFormat);

impl Text {
    fn is_open(&self) -> bool {
        self.0 == TextFormat::OpenMetrics
    }
}

impl Format for Text {
    fn begin(&mut self, out: &mut String, family: &MetricFamily, name: &str) {
        // In OpenMetrics the suffix belongs to the samples, in the older format to the name.
        let (suffix, kind) = match family.kind {
            kind if self.is_open() => ("", kind.name()),
            MetricKind::Info => ("_info", "gauge"),
            kind => (kind.suffix(), kind.name()),
        };
        // Writing to memory does not fail.
        let _ = write!(out, "# HELP {name}{suffix} ");
        escape_help(out, family.help, self.is_open());
        let _ = write!(out, "\n# TYPE {name}{suffix} {kind}\n");
        if let Some(unit) = family.unit().filter(|_| self.is_open()) {
            let _ = writeln!(out, "# UNIT {name} {unit}");
        }
    }

    fn sample(
        &mut self,
        out: &mut String,
        family: &MetricFamily,
        name: &str,
        labels: &[(&str, &str)],
        value: Value,
    ) {
        out.push_str(name);
        out.push_str(family.kind.suffix());
        write_labels(out, labels, None);
        out.push(' ');
        value.write(out);
        out.push('\n');
    }

    fn histogram(
        &mut self,
        out: &mut String,
        name: &str,
        labels: &[(&str, &str)],
        histogram: &HistogramMetrics,
    ) {
        // Writing to memory does not fail.
        for (bound, count) in &histogram.buckets {
            let _ = write!(out, "{name}_bucket");
            write_labels(out, labels, Some(*bound));
            let _ = writeln!(out, " {count}");
        }
        if histogram.buckets.is_empty() {
            let _ = write!(out, "{name}_bucket");
            write_labels(out, labels, Some(f64::INFINITY));
            let _ = writeln!(out, " {}", histogram.count);
        }
        let _ = write!(out, "{name}_sum");
        write_labels(out, labels, None);
        let _ = write!(out, " {}\n{name}_count", histogram.sum);
        write_labels(out, labels, None);
        let _ = writeln!(out, " {}", histogram.count);
    }

    fn finish(&mut self, out: &mut String) {
        if self.is_open() {
            out.push_str("# EOF\n");
        }
    }
}

fn write_labels(out: &mut String, labels: &[(&str, &str)], bound: Option<f64>) {
    if labels.is_empty() && bound.is_none() {
        return;
    }
    let mut before = '{';
    for (name, value) in labels {
        out.push(before);
        out.push_str(name);
        out.push_str("=\"");
        escape(out, value);
        out.push('"');
        before = ',';
    }
    match bound {
        Some(bound) if bound.is_finite() => {
            let point = if bound.fract() == 0.0 { ".0" } else { "" };
            // Writing to memory does not fail.
            let _ = write!(out, "{before}le=\"{bound}{point}\"");
        }
        Some(_) => {
            let _ = write!(out, "{before}le=\"+Inf\"");
        }
        None => {}
    }
    out.push('}');
}

/// The value of a label: backslash, quote and line feed are escaped.
fn escape(out: &mut String, text: &str) {
    // All of a name at once: it is short, and nearly always plain.
    let special = |found, byte| found | matches!(byte, b'\\' | b'"' | b'\n');
    if !text.bytes().fold(false, special) {
        return out.push_str(text);
    }
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            c => out.push(c),
        }
    }
}

/// Help escapes quotes only in OpenMetrics.
fn escape_help(out: &mut String, text: &str, open: bool) {
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '"' if open => out.push_str("\\\""),
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_values_are_escaped_and_nothing_else_is() {
        let escaped = |text: &str| {
            let mut out = String::new();
            write_labels(&mut out, &[("session", text)], None);
            out
        };
        assert_eq!(escaped("plant"), r#"{session="plant"}"#);
        assert_eq!(escaped("a\"b\\c\nd\te ü"), "{session=\"a\\\"b\\\\c\\nd\te ü\"}");
    }

    #[test]
    fn bounds_are_floats_and_stand_behind_the_labels() {
        let mut out = String::new();
        write_labels(&mut out, &[("store", "disk")], Some(2.0));
        write_labels(&mut out, &[], Some(0.0025));
        write_labels(&mut out, &[], Some(f64::INFINITY));
        assert_eq!(out, r#"{store="disk",le="2.0"}{le="0.0025"}{le="+Inf"}"#);
    }
}

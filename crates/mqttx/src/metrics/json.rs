//! The same as JSON.

use std::fmt::Write;
use std::sync::Arc;

use super::render::{Chunks, Format, Value, legal_prefix};
use super::{HistogramMetrics, MetricFamily, MetricsSnapshot};

/// Writes snapshots as one JSON object:
/// `{"metrics":[{"name":…,"type":…,"help":…,"samples":[{"labels":{…},"value":…}]}]}`. A histogram's samples have `count`,
/// `sum` and `buckets` of `le` and `count` for `value`.
///
/// ```
/// use mqttx::{JsonExporter, SessionManager};
///
/// let text = JsonExporter::new("mqtt").export(&SessionManager::new().snapshot());
/// let all: serde_json::Value = serde_json::from_str(&text)?;
/// assert_eq!(all["metrics"][0]["type"], "gauge");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct JsonExporter {
    prefix: Arc<str>,
}

impl JsonExporter {
    /// With names as [`PrometheusExporter::new`](super::PrometheusExporter::new) makes them.
    #[must_use]
    pub fn new(prefix: &str) -> Self {
        Self { prefix: legal_prefix(prefix) }
    }

    /// All of the text.
    #[must_use]
    pub fn export(&self, snapshot: &MetricsSnapshot) -> String {
        self.chunks(snapshot.clone()).collect()
    }

    /// The text in pieces, for a writer that goes on with other things in between.
    #[must_use]
    pub fn chunks(&self, snapshot: MetricsSnapshot) -> Chunks {
        Chunks::new(snapshot, Arc::clone(&self.prefix), Box::new(Json::default()))
    }
}

/// Where a comma belongs.
#[derive(Default)]
struct Json {
    families: bool,
    samples: bool,
}

impl Json {
    fn open_sample(&mut self, out: &mut String, labels: &[(&str, &str)]) {
        if std::mem::replace(&mut self.samples, true) {
            out.push(',');
        }
        out.push_str("{\"labels\":{");
        for (n, (name, value)) in labels.iter().enumerate() {
            if n > 0 {
                out.push(',');
            }
            write_string(out, name);
            out.push(':');
            write_string(out, value);
        }
        out.push('}');
    }
}

impl Format for Json {
    fn start(&mut self, out: &mut String) {
        out.push_str("{\"metrics\":[");
    }

    fn begin(&mut self, out: &mut String, family: &MetricFamily, name: &str) {
        if std::mem::replace(&mut self.families, true) {
            out.push(',');
        }
        self.samples = false;
        out.push_str("\n{\"name\":");
        write_string(out, &format!("{name}{}", family.kind.suffix()));
        // Writing to memory does not fail.
        let _ = write!(out, ",\"type\":\"{}\",\"help\":", family.kind.name());
        write_string(out, family.help);
        out.push_str(",\"samples\":[");
    }

    fn sample(
        &mut self,
        out: &mut String,
        _family: &MetricFamily,
        _name: &str,
        labels: &[(&str, &str)],
        value: Value,
    ) {
        self.open_sample(out, labels);
        out.push_str(",\"value\":");
        value.write(out);
        out.push('}');
    }

    fn histogram(
        &mut self,
        out: &mut String,
        _name: &str,
        labels: &[(&str, &str)],
        histogram: &HistogramMetrics,
    ) {
        self.open_sample(out, labels);
        // Writing to memory does not fail.
        let _ =
            write!(out, ",\"count\":{},\"sum\":{},\"buckets\":[", histogram.count, histogram.sum);
        for (n, (bound, count)) in histogram.buckets.iter().enumerate() {
            let comma = if n > 0 { "," } else { "" };
            let _ = match bound.is_finite() {
                true => write!(out, "{comma}{{\"le\":{bound},\"count\":{count}}}"),
                false => write!(out, "{comma}{{\"le\":\"+Inf\",\"count\":{count}}}"),
            };
        }
        out.push_str("]}");
    }

    fn end(&mut self, out: &mut String) {
        out.push_str("]}");
    }

    fn finish(&mut self, out: &mut String) {
        out.push_str("\n]}\n");
    }
}

fn write_string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if u32::from(c) < 0x20 => {
                // Writing to memory does not fail.
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_survives_as_a_string() {
        let text: String = (0..0x250).filter_map(char::from_u32).collect();
        let mut out = String::new();
        write_string(&mut out, &text);
        assert_eq!(serde_json::from_str::<String>(&out).unwrap(), text);
    }
}

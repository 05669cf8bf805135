//! What is counted, and how it is shown.

mod counting;
mod lists;
mod parts;
mod scrape;

use std::time::Duration;

use mqttx::{PrometheusExporter, SessionManager, SessionOptions, TextFormat};
use mqttx_test::Exposition;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// All metrics of a manager, read by both formats, which have to agree.
fn shown(manager: &SessionManager) -> Exposition {
    read(&manager.snapshot())
}

fn read(snapshot: &mqttx::MetricsSnapshot) -> Exposition {
    let exporter = PrometheusExporter::new("mqtt");
    let text = exporter.export(snapshot);
    let plain = Exposition::parse_prometheus(&text).unwrap_or_else(|error| panic!("{error}"));
    let text = exporter.format(TextFormat::OpenMetrics).export(snapshot);
    let open = Exposition::parse_open_metrics(&text).unwrap_or_else(|error| panic!("{error}"));
    let samples = |all: &Exposition| -> Vec<_> {
        all.families.iter().flat_map(|family| family.samples.clone()).collect()
    };
    assert_eq!(samples(&plain), samples(&open));
    plain
}

fn offline(name: &str) -> SessionOptions {
    let options = SessionOptions::quick_connect(name, "mqtt://127.0.0.1:1");
    options.client_id(name).manual_connect(true).build().expect("valid")
}

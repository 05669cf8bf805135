//! What each store shows.

use super::super::render::{Emit, Value};
use super::super::{HistogramMetrics, MetricsSnapshot};
use super::{MetricFamily, MetricKind, Rows};
use crate::store::StoreMetrics;

pub(super) static FAMILIES: [MetricFamily; 9] = [
    MetricFamily {
        name: "mqtt_store_available",
        kind: MetricKind::Gauge,
        labels: &["store", "kind"],
        help: "Whether the store can be used now: 0 or 1.",
        rows: Rows::Once(|all, emit| each(all, emit, |m| u64::from(m.available))),
    },
    MetricFamily {
        name: "mqtt_store_full",
        kind: MetricKind::Gauge,
        labels: &["store", "kind"],
        help: "Whether the store has no room for messages: 0 or 1.",
        rows: Rows::Once(|all, emit| each(all, emit, |m| u64::from(m.full))),
    },
    MetricFamily {
        name: "mqtt_store_bytes",
        kind: MetricKind::Gauge,
        labels: &["store", "kind"],
        help: "Bytes that its files take; 0 where that is not known.",
        rows: Rows::Once(|all, emit| each(all, emit, |m| m.bytes)),
    },
    MetricFamily {
        name: "mqtt_store_records",
        kind: MetricKind::Counter,
        labels: &["store", "kind"],
        help: "Records written.",
        rows: Rows::Once(|all, emit| each(all, emit, |m| m.records)),
    },
    MetricFamily {
        name: "mqtt_store_written_bytes",
        kind: MetricKind::Counter,
        labels: &["store", "kind"],
        help: "Bytes made durable.",
        rows: Rows::Once(|all, emit| each(all, emit, |m| m.written_bytes)),
    },
    MetricFamily {
        name: "mqtt_store_errors",
        kind: MetricKind::Counter,
        labels: &["store", "kind"],
        help: "Writes, syncs and connections that failed.",
        rows: Rows::Once(|all, emit| each(all, emit, |m| m.errors)),
    },
    MetricFamily {
        name: "mqtt_store_damaged_records",
        kind: MetricKind::Counter,
        labels: &["store", "kind"],
        help: "Records that were found damaged.",
        rows: Rows::Once(|all, emit| each(all, emit, |m| m.damaged_records)),
    },
    MetricFamily {
        name: "mqtt_store_sync_seconds",
        kind: MetricKind::Histogram,
        labels: &["store", "kind"],
        help: "Time until a group was durable: the sync of the disk, or the answer of the server.",
        rows: Rows::Once(|all, emit| distribution(all, emit, |m| m.sync_seconds.as_ref())),
    },
    MetricFamily {
        name: "mqtt_store_group_records",
        kind: MetricKind::Histogram,
        labels: &["store", "kind"],
        help: "Records written as one group.",
        rows: Rows::Once(|all, emit| distribution(all, emit, |m| m.group_records.as_ref())),
    },
];

fn each<V: Into<Value>>(all: &MetricsSnapshot, emit: &mut Emit<'_>, value: fn(&StoreMetrics) -> V) {
    for store in &all.stores {
        let labels = [("store", &*store.name), ("kind", store.metrics.kind)];
        emit.sample(&labels, value(&store.metrics));
    }
}

fn distribution(
    all: &MetricsSnapshot,
    emit: &mut Emit<'_>,
    of: fn(&StoreMetrics) -> Option<&HistogramMetrics>,
) {
    for store in &all.stores {
        if let Some(histogram) = of(&store.metrics) {
            let labels = [("store", &*store.name), ("kind", store.metrics.kind)];
            emit.histogram(&labels, histogram);
        }
    }
}

//! What each forwarder shows.

use super::super::render::{Emit, Value};
use super::super::{ForwarderSample, MetricsSnapshot};
use super::{MetricFamily, MetricKind, Rows};
use crate::forward::ForwardDrop;

pub(super) static FAMILIES: [MetricFamily; 18] = [
    MetricFamily {
        name: "mqtt_forwarder_received",
        kind: MetricKind::Counter,
        labels: &["forwarder"],
        help: "Messages that arrived for it; a copy that the server sends again counts again.",
        rows: Rows::Once(|all, emit| each(all, emit, |f| f.metrics.received)),
    },
    MetricFamily {
        name: "mqtt_forwarder_forwarded",
        kind: MetricKind::Counter,
        labels: &["forwarder"],
        help: "Messages that every required target acknowledged; with QoS 0, that its socket took.",
        rows: Rows::Once(|all, emit| each(all, emit, |f| f.metrics.forwarded)),
    },
    MetricFamily {
        name: "mqtt_forwarder_filtered",
        kind: MetricKind::Counter,
        labels: &["forwarder"],
        help: "Messages that the filters left out.",
        rows: Rows::Once(|all, emit| each(all, emit, |f| f.metrics.filtered)),
    },
    MetricFamily {
        name: "mqtt_forwarder_dropped",
        kind: MetricKind::Counter,
        labels: &["forwarder", "reason"],
        help: "Messages given up, each once.",
        rows: Rows::Once(dropped),
    },
    MetricFamily {
        name: "mqtt_forwarder_dead_lettered",
        kind: MetricKind::Counter,
        labels: &["forwarder"],
        help: "Messages that the dead letters' session acknowledged.",
        rows: Rows::Once(|all, emit| each(all, emit, |f| f.metrics.dead_lettered)),
    },
    MetricFamily {
        name: "mqtt_forwarder_retried",
        kind: MetricKind::Counter,
        labels: &["forwarder"],
        help: "Attempts to send that found no room at a target and were made again.",
        rows: Rows::Once(|all, emit| each(all, emit, |f| f.metrics.retried)),
    },
    MetricFamily {
        name: "mqtt_forwarder_optional_lost",
        kind: MetricKind::Counter,
        labels: &["forwarder"],
        help: "Copies that targets which are not required did not take.",
        rows: Rows::Once(|all, emit| each(all, emit, |f| f.metrics.optional_lost)),
    },
    MetricFamily {
        name: "mqtt_forwarder_downgraded",
        kind: MetricKind::Counter,
        labels: &["forwarder"],
        help: "Messages sent with a lower QoS, since the server of the target allows no higher one.",
        rows: Rows::Once(|all, emit| each(all, emit, |f| f.metrics.downgraded)),
    },
    MetricFamily {
        name: "mqtt_forwarder_metadata_left_out",
        kind: MetricKind::Counter,
        labels: &["forwarder"],
        help: "Copies to MQTT 3.1.1 targets whose payload is no JSON object, so that it has no metadata.",
        rows: Rows::Once(|all, emit| each(all, emit, |f| f.metrics.metadata_left_out)),
    },
    MetricFamily {
        name: "mqtt_forwarder_failovers",
        kind: MetricKind::Counter,
        labels: &["forwarder"],
        help: "How often a target changed its session, away from one that was down or back.",
        rows: Rows::Once(|all, emit| each(all, emit, |f| f.metrics.failovers)),
    },
    MetricFamily {
        name: "mqtt_forwarder_ack_timeouts",
        kind: MetricKind::Counter,
        labels: &["forwarder"],
        help: "How often a target that was connected did not acknowledge within ack_timeout.",
        rows: Rows::Once(|all, emit| each(all, emit, |f| f.metrics.ack_timeouts)),
    },
    MetricFamily {
        name: "mqtt_forwarder_failed_later",
        kind: MetricKind::Counter,
        labels: &["forwarder", "reason"],
        help: "Messages that a target stored durably, so that they were forwarded, and its server did not take later.",
        rows: Rows::Once(failed_later),
    },
    MetricFamily {
        name: "mqtt_forwarder_dead_lettered_later",
        kind: MetricKind::Counter,
        labels: &["forwarder"],
        help: "Of failed_later, those that the session of the dead letters acknowledged or stored durably.",
        rows: Rows::Once(|all, emit| each(all, emit, |f| f.metrics.dead_lettered_later)),
    },
    MetricFamily {
        name: "mqtt_forwarder_running",
        kind: MetricKind::Gauge,
        labels: &["forwarder"],
        help: "Whether it takes messages and sends them: 0 or 1.",
        rows: Rows::Once(|all, emit| each(all, emit, |f| u64::from(f.running))),
    },
    MetricFamily {
        name: "mqtt_forwarder_in_flight",
        kind: MetricKind::Gauge,
        labels: &["forwarder"],
        help: "Messages that arrived and are not finished.",
        rows: Rows::Once(|all, emit| each(all, emit, |f| f.metrics.in_flight)),
    },
    MetricFamily {
        name: "mqtt_forwarder_queued",
        kind: MetricKind::Gauge,
        labels: &["forwarder"],
        help: "Of in_flight, those that wait to be sent.",
        rows: Rows::Once(|all, emit| each(all, emit, |f| f.metrics.queued)),
    },
    MetricFamily {
        name: "mqtt_forwarder_lag_seconds",
        kind: MetricKind::Gauge,
        labels: &["forwarder"],
        help: "How long the oldest message that waits to be sent has been waiting.",
        rows: Rows::Once(|all, emit| each(all, emit, |f| f.metrics.lag.as_secs_f64())),
    },
    MetricFamily {
        name: "mqtt_forwarder_latency_seconds",
        kind: MetricKind::Histogram,
        labels: &["forwarder"],
        help: "Time from the arrival of a message to the acknowledgement of its targets; a sample.",
        rows: Rows::Once(latency),
    },
];

fn each<V: Into<Value>>(
    all: &MetricsSnapshot,
    emit: &mut Emit<'_>,
    value: fn(&ForwarderSample) -> V,
) {
    for forwarder in &all.forwarders {
        emit.sample(&[("forwarder", &forwarder.name)], value(forwarder));
    }
}

/// Every reason, so that a first one is seen as a rise.
fn dropped(all: &MetricsSnapshot, emit: &mut Emit<'_>) {
    by_reason(all, emit, |f| &f.metrics.dropped_by_reason);
}

fn failed_later(all: &MetricsSnapshot, emit: &mut Emit<'_>) {
    by_reason(all, emit, |f| &f.metrics.failed_later_by_reason);
}

fn by_reason(
    all: &MetricsSnapshot,
    emit: &mut Emit<'_>,
    counts: fn(&ForwarderSample) -> &[(ForwardDrop, u64)],
) {
    for forwarder in &all.forwarders {
        for reason in ForwardDrop::ALL {
            let counted = counts(forwarder).iter().find(|(r, _)| *r == reason);
            let labels = [("forwarder", &*forwarder.name), ("reason", reason.as_str())];
            emit.sample(&labels, counted.map_or(0, |(_, count)| *count));
        }
    }
}

fn latency(all: &MetricsSnapshot, emit: &mut Emit<'_>) {
    for forwarder in &all.forwarders {
        emit.histogram(&[("forwarder", &forwarder.name)], &forwarder.metrics.latency_seconds);
    }
}

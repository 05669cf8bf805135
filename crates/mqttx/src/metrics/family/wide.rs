//! What is counted once for all sessions.

use mqttx_proto::ReasonCode;

use super::super::MetricsSnapshot;
use super::super::render::Emit;
use super::{MetricFamily, MetricKind, Rows};

pub(super) static FAMILIES: [MetricFamily; 9] = [
    MetricFamily {
        name: "mqtt_sessions",
        kind: MetricKind::Gauge,
        labels: &["status"],
        help: "Sessions by where their connection stands.",
        rows: Rows::Once(statuses),
    },
    MetricFamily {
        name: "mqtt_connects",
        kind: MetricKind::Counter,
        labels: &["code", "reason"],
        help: "Attempts to connect by the reason code of CONNACK; none: the transport failed.",
        rows: Rows::Once(|all, emit| by_code(&all.connects, emit)),
    },
    MetricFamily {
        name: "mqtt_disconnects",
        kind: MetricKind::Counter,
        labels: &["code", "reason"],
        help: "Accepted connections that ended, by the reason code of the end; none: the transport failed.",
        rows: Rows::Once(|all, emit| by_code(&all.disconnects, emit)),
    },
    MetricFamily {
        name: "mqtt_connect_seconds",
        kind: MetricKind::Histogram,
        labels: &[],
        help: "Time until the transport of an attempt was connected: name, TCP, TLS.",
        rows: Rows::Once(|all, emit| emit.histogram(&[], &all.connect_seconds)),
    },
    MetricFamily {
        name: "mqtt_handshake_seconds",
        kind: MetricKind::Histogram,
        labels: &[],
        help: "Time from CONNECT to the CONNACK that accepts.",
        rows: Rows::Once(|all, emit| emit.histogram(&[], &all.handshake_seconds)),
    },
    MetricFamily {
        name: "mqtt_ack_seconds",
        kind: MetricKind::Histogram,
        labels: &[],
        help: "Time from the acceptance of a message with QoS above 0 to its acknowledgement; a sample, one message of a session at a time.",
        rows: Rows::Once(|all, emit| emit.histogram(&[], &all.ack_seconds)),
    },
    MetricFamily {
        name: "mqttx_config_last_reload_successful",
        kind: MetricKind::Gauge,
        labels: &[],
        help: "Whether the last loading of the configuration was successful: 0 or 1.",
        rows: Rows::Once(|all, emit| {
            if let Some(config) = &all.config {
                emit.sample(&[], u64::from(config.successful));
            }
        }),
    },
    MetricFamily {
        name: "mqttx_config_last_reload_success_timestamp_seconds",
        kind: MetricKind::Gauge,
        labels: &[],
        help: "When the configuration in use was loaded, in Unix time.",
        rows: Rows::Once(|all, emit| {
            if let Some(config) = &all.config {
                emit.sample(&[], Some(config.loaded));
            }
        }),
    },
    MetricFamily {
        name: "mqttx_build",
        kind: MetricKind::Info,
        labels: &["version"],
        help: "The version of mqttx.",
        rows: Rows::Once(|_, emit| emit.sample(&[("version", env!("CARGO_PKG_VERSION"))], 1_u64)),
    },
];

fn statuses(all: &MetricsSnapshot, emit: &mut Emit<'_>) {
    for (status, count) in &all.statuses {
        emit.sample(&[("status", *status)], *count);
    }
}

fn by_code(counts: &[(Option<ReasonCode>, u64)], emit: &mut Emit<'_>) {
    for (code, count) in counts {
        match code {
            Some(code) => {
                let value = format!("0x{:02x}", code.value());
                emit.sample(&[("code", &value), ("reason", code.name())], *count);
            }
            None => emit.sample(&[("code", "none"), ("reason", "No answer")], *count),
        }
    }
}

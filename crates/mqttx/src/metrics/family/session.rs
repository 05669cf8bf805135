//! What each session shows, or all of them together. The first seventeen names are promised to dashboards.

use super::super::SessionSample;
use super::super::render::Emit;
use super::{MetricFamily, MetricKind, Rows};

pub(super) static FAMILIES: [MetricFamily; 27] = [
    MetricFamily {
        name: "mqtt_session_messages_sent",
        kind: MetricKind::Counter,
        labels: &["session"],
        help: "PUBLISH packets sent, first transmissions only.",
        rows: Rows::Session(|s, emit| emit.session(s, s.metrics.messages_sent)),
    },
    MetricFamily {
        name: "mqtt_session_messages_received",
        kind: MetricKind::Counter,
        labels: &["session"],
        help: "PUBLISH packets received, without those that came again.",
        rows: Rows::Session(|s, emit| emit.session(s, s.metrics.messages_received)),
    },
    MetricFamily {
        name: "mqtt_session_bytes_sent",
        kind: MetricKind::Counter,
        labels: &["session"],
        help: "Bytes of the whole packets in messages_sent, properties included.",
        rows: Rows::Session(|s, emit| emit.session(s, s.metrics.bytes_sent)),
    },
    MetricFamily {
        name: "mqtt_session_bytes_received",
        kind: MetricKind::Counter,
        labels: &["session"],
        help: "Bytes of the whole packets in messages_received, properties included.",
        rows: Rows::Session(|s, emit| emit.session(s, s.metrics.bytes_received)),
    },
    MetricFamily {
        name: "mqtt_session_message_rate",
        kind: MetricKind::Gauge,
        labels: &["session"],
        help: "Messages per second, both directions, since the look before this one.",
        rows: Rows::Session(|s, emit| emit.session(s, s.metrics.message_rate)),
    },
    MetricFamily {
        name: "mqtt_session_avg_message_rate",
        kind: MetricKind::Gauge,
        labels: &["session"],
        help: "Messages per second, both directions, since the session was added.",
        rows: Rows::Session(|s, emit| emit.session(s, s.metrics.avg_message_rate)),
    },
    MetricFamily {
        name: "mqtt_session_bytes_rate",
        kind: MetricKind::Gauge,
        labels: &["session"],
        help: "Bytes per second, both directions, since the look before this one.",
        rows: Rows::Session(|s, emit| emit.session(s, s.metrics.bytes_rate)),
    },
    MetricFamily {
        name: "mqtt_session_connected",
        kind: MetricKind::Gauge,
        labels: &["session"],
        help: "Whether the session is connected: 0 or 1; of several, how many are.",
        rows: Rows::Session(|s, emit| emit.session(s, s.connected)),
    },
    MetricFamily {
        name: "mqtt_session_status",
        kind: MetricKind::Gauge,
        labels: &["session"],
        help: "0 not connected, 1 connecting, 2 connected, 3 reconnecting, 4 failed; of several, that of most of them.",
        rows: Rows::Session(|s, emit| emit.session(s, u64::from(s.status))),
    },
    MetricFamily {
        name: "mqtt_session_subscriptions",
        kind: MetricKind::Gauge,
        labels: &["session"],
        help: "Filters that the session wants.",
        rows: Rows::Session(|s, emit| emit.session(s, s.metrics.subscriptions)),
    },
    MetricFamily {
        name: "mqtt_session_errors",
        kind: MetricKind::Counter,
        labels: &["session"],
        help: "Connections lost or refused, and operations refused.",
        rows: Rows::Session(|s, emit| emit.session(s, s.metrics.errors)),
    },
    MetricFamily {
        name: "mqtt_session_reconnects",
        kind: MetricKind::Counter,
        labels: &["session"],
        help: "Connections after the first one.",
        rows: Rows::Session(|s, emit| emit.session(s, s.metrics.reconnects)),
    },
    MetricFamily {
        name: "mqtt_session_last_message_timestamp_seconds",
        kind: MetricKind::Gauge,
        labels: &["session"],
        help: "When the last message was sent or received, in Unix time; 0 before the first one.",
        rows: Rows::Session(|s, emit| emit.session(s, s.metrics.last_message)),
    },
    MetricFamily {
        name: "mqtt_session_last_error_timestamp_seconds",
        kind: MetricKind::Gauge,
        labels: &["session"],
        help: "When the last error was counted, in Unix time; 0 before the first one.",
        rows: Rows::Session(|s, emit| emit.session(s, s.metrics.last_error)),
    },
    MetricFamily {
        name: "mqtt_session_persistent",
        kind: MetricKind::Gauge,
        labels: &["session"],
        help: "Whether clean start is off: 0 or 1; of several, how many.",
        rows: Rows::Session(|s, emit| emit.session(s, s.persistent)),
    },
    MetricFamily {
        name: "mqtt_session_clean_session",
        kind: MetricKind::Gauge,
        labels: &["session"],
        help: "Whether clean start is on: 0 or 1; of several, how many.",
        rows: Rows::Session(|s, emit| emit.session(s, s.clean_session)),
    },
    MetricFamily {
        name: "mqtt_session_auto_reconnect",
        kind: MetricKind::Gauge,
        labels: &["session"],
        help: "Whether the session reconnects by itself: 0 or 1; of several, how many.",
        rows: Rows::Session(|s, emit| emit.session(s, s.auto_reconnect)),
    },
    MetricFamily {
        name: "mqtt_session_resends",
        kind: MetricKind::Counter,
        labels: &["session"],
        help: "PUBLISH packets sent again after a reconnect.",
        rows: Rows::Session(|s, emit| emit.session(s, s.metrics.resends)),
    },
    MetricFamily {
        name: "mqtt_session_duplicates",
        kind: MetricKind::Counter,
        labels: &["session"],
        help: "PUBLISH packets that the server sent again.",
        rows: Rows::Session(|s, emit| emit.session(s, s.metrics.duplicates_received)),
    },
    MetricFamily {
        name: "mqtt_session_handler_failures",
        kind: MetricKind::Counter,
        labels: &["session"],
        help: "Messages given up after a handler panicked at every attempt.",
        rows: Rows::Session(|s, emit| emit.session(s, s.metrics.handler_failed)),
    },
    MetricFamily {
        name: "mqtt_session_outbox_messages",
        kind: MetricKind::Gauge,
        labels: &["session"],
        help: "Publishes that are accepted and unfinished.",
        rows: Rows::Session(|s, emit| emit.session(s, s.metrics.outbox_messages)),
    },
    MetricFamily {
        name: "mqtt_session_outbox_spilled_messages",
        kind: MetricKind::Gauge,
        labels: &["session"],
        help: "Of outbox_messages, those that are in the store only.",
        rows: Rows::Session(|s, emit| emit.session(s, s.metrics.outbox_spilled)),
    },
    MetricFamily {
        name: "mqtt_session_outbox_bytes",
        kind: MetricKind::Gauge,
        labels: &["session"],
        help: "Bytes of topics and payloads of outbox_messages.",
        rows: Rows::Session(|s, emit| emit.session(s, s.metrics.outbox_bytes)),
    },
    MetricFamily {
        name: "mqtt_session_in_flight_messages",
        kind: MetricKind::Gauge,
        labels: &["session"],
        help: "Messages with QoS above 0 that are sent and unacknowledged.",
        rows: Rows::Session(|s, emit| emit.session(s, s.metrics.in_flight)),
    },
    MetricFamily {
        name: "mqtt_session_parked_bytes",
        kind: MetricKind::Gauge,
        labels: &["session"],
        help: "Bytes of received messages that wait for full routes.",
        rows: Rows::Session(|s, emit| emit.session(s, s.metrics.parked_bytes)),
    },
    MetricFamily {
        name: "mqtt_session_discarded",
        kind: MetricKind::Counter,
        labels: &["session", "reason"],
        help: "Messages given up instead of delivered.",
        rows: Rows::Session(discarded),
    },
    MetricFamily {
        name: "mqtt_tls_cert_expiry_timestamp_seconds",
        kind: MetricKind::Gauge,
        labels: &["session", "certificate"],
        help: "When our client certificate, or the server's that was seen last, expires, in Unix time; of several, the earliest.",
        rows: Rows::Session(certificates),
    },
];

fn certificates(session: &SessionSample, emit: &mut Emit<'_>) {
    let metrics = &session.metrics;
    let ends = [
        ("client", metrics.client_certificate_not_after),
        ("server", metrics.server_certificate_not_after),
    ];
    for (certificate, end) in ends.into_iter().filter(|(_, end)| end.is_some()) {
        match &session.name {
            Some(name) => emit.sample(&[("session", name), ("certificate", certificate)], end),
            None => emit.sample(&[("certificate", certificate)], end),
        }
    }
}

fn discarded(session: &SessionSample, emit: &mut Emit<'_>) {
    for (reason, count) in session.metrics.dropped.iter() {
        match &session.name {
            Some(name) => emit.sample(&[("session", name), ("reason", reason.name())], count),
            None => emit.sample(&[("reason", reason.name())], count),
        }
    }
}

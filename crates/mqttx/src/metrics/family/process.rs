//! What the system says of this process, under the names that every exporter uses.

use super::{MetricFamily, MetricKind, Rows};

pub(super) static FAMILIES: [MetricFamily; 7] = [
    MetricFamily {
        name: "process_cpu_seconds",
        kind: MetricKind::Counter,
        labels: &[],
        help: "Processor time of this process, user and system.",
        rows: Rows::Once(|all, emit| {
            if let Some(process) = &all.process {
                emit.sample(&[], process.cpu_seconds);
            }
        }),
    },
    MetricFamily {
        name: "process_resident_memory_bytes",
        kind: MetricKind::Gauge,
        labels: &[],
        help: "Memory of this process that is in RAM.",
        rows: Rows::Once(|all, emit| {
            if let Some(process) = &all.process {
                emit.sample(&[], process.resident_bytes);
            }
        }),
    },
    MetricFamily {
        name: "process_virtual_memory_bytes",
        kind: MetricKind::Gauge,
        labels: &[],
        help: "Address space of this process.",
        rows: Rows::Once(|all, emit| {
            if let Some(process) = &all.process {
                emit.sample(&[], process.virtual_bytes);
            }
        }),
    },
    MetricFamily {
        name: "process_open_fds",
        kind: MetricKind::Gauge,
        labels: &[],
        help: "Open file descriptors, sockets included.",
        rows: Rows::Once(|all, emit| {
            if let Some(process) = &all.process {
                emit.sample(&[], process.open_fds);
            }
        }),
    },
    MetricFamily {
        name: "process_max_fds",
        kind: MetricKind::Gauge,
        labels: &[],
        help: "The most file descriptors that the system allows.",
        rows: Rows::Once(|all, emit| {
            if let Some(process) = &all.process {
                emit.sample(&[], process.max_fds);
            }
        }),
    },
    MetricFamily {
        name: "process_threads",
        kind: MetricKind::Gauge,
        labels: &[],
        help: "Threads of this process.",
        rows: Rows::Once(|all, emit| {
            if let Some(process) = &all.process {
                emit.sample(&[], process.threads);
            }
        }),
    },
    MetricFamily {
        name: "process_start_time_seconds",
        kind: MetricKind::Gauge,
        labels: &[],
        help: "When this process started, in Unix time.",
        rows: Rows::Once(|all, emit| {
            if let Some(process) = &all.process {
                emit.sample(&[], process.start_seconds);
            }
        }),
    },
];

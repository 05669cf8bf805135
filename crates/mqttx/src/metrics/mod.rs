//! What sessions, forwarders and stores count, and the formats in which that is shown.
//!
//! Counters are relaxed atomics. The driver adds to them once per turn, not once per message; a snapshot is therefore
//! consistent enough for rates and totals, not a transaction. [`MetricsSnapshot`] is plain data: it is taken first, and
//! written ([`PrometheusExporter`], [`JsonExporter`]) without any lock. [`MetricFamily::all`] is the list of what is
//! shown; `docs/metrics.md` comes from it.

mod counters;
mod drops;
mod family;
mod histogram;
mod json;
mod process;
mod prometheus;
mod render;
mod session;
mod shared;
mod snapshot;
mod totals;

pub use drops::{DropReason, Dropped};
pub use family::{MetricFamily, MetricKind};
pub use histogram::HistogramMetrics;
pub use json::JsonExporter;
pub use process::ProcessMetrics;
pub use prometheus::{PrometheusExporter, TextFormat};
pub use render::Chunks;
pub use session::SessionMetrics;
pub use snapshot::{ConfigMetrics, ForwarderSample, MetricsSnapshot, SessionSample, StoreSample};
pub use totals::ManagerMetrics;

pub(crate) use counters::{Counts, SessionCounters};
pub(crate) use histogram::Histogram;
pub(crate) use shared::ManagerCounters;

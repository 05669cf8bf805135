//! What a store counts.

use crate::metrics::HistogramMetrics;

/// What a store did since it was opened, and how it is; see [`Store::metrics`](super::Store::metrics).
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct StoreMetrics {
    /// `file`, `redis`, `memory`, or what a store of your own calls itself.
    pub kind: &'static str,
    /// Whether it can be used now.
    pub available: bool,
    /// Whether it has no room for messages.
    pub full: bool,
    /// Bytes that its files take; 0 where that is not known.
    pub bytes: u64,
    /// Records written.
    pub records: u64,
    /// Bytes made durable.
    pub written_bytes: u64,
    /// Writes, syncs and connections that failed.
    pub errors: u64,
    /// Records that were found damaged.
    pub damaged_records: u64,
    /// Seconds until a group was durable; `None` for a store that has no such time.
    pub sync_seconds: Option<HistogramMetrics>,
    /// Records written as one group.
    pub group_records: Option<HistogramMetrics>,
}

impl StoreMetrics {
    /// A store that counts nothing and works.
    #[must_use]
    pub const fn new(kind: &'static str) -> Self {
        Self {
            kind,
            available: true,
            full: false,
            bytes: 0,
            records: 0,
            written_bytes: 0,
            errors: 0,
            damaged_records: 0,
            sync_seconds: None,
            group_records: None,
        }
    }
}

//! The records of one session that the driver has not taken yet, and how far the store is with the others.

use std::collections::VecDeque;

use super::{Lsn, Record, RecordBatch};

/// The position that every record has reached when nothing is journaled.
const EVERYTHING: Lsn = Lsn::MAX;

#[derive(Debug, Default)]
pub(crate) struct Journal {
    enabled: bool,
    records: RecordBatch,
    last: Lsn,
    written: Lsn,
    synced: Lsn,
    /// Batches that the driver took and the store has not synced: the last position in each, and its bytes.
    under_way: VecDeque<(Lsn, usize)>,
    under_way_bytes: usize,
}

impl Journal {
    pub(crate) fn new(enabled: bool) -> Self {
        let reached = if enabled { 0 } else { EVERYTHING };
        Self { enabled, written: reached, synced: reached, ..Self::default() }
    }

    /// Appends the record; with journaling off it is not even built.
    pub(crate) fn push<'a>(&mut self, record: impl FnOnce() -> Record<'a>) -> Lsn {
        if !self.enabled {
            return 0;
        }
        self.records.push(&record());
        self.last += 1;
        self.last
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    pub(crate) fn handle_stored(&mut self, written: Lsn, synced: Lsn) {
        if !self.enabled {
            return;
        }
        self.written = self.written.max(written);
        self.synced = self.synced.max(synced);
        while let Some(&(lsn, bytes)) = self.under_way.front()
            && lsn <= self.synced
        {
            self.under_way.pop_front();
            self.under_way_bytes -= bytes;
        }
    }

    pub(crate) fn is_written(&self, lsn: Lsn) -> bool {
        lsn <= self.written
    }

    pub(crate) fn is_synced(&self, lsn: Lsn) -> bool {
        lsn <= self.synced
    }

    /// Bytes of records that the store has not made durable.
    pub(crate) fn pending_bytes(&self) -> usize {
        self.under_way_bytes + self.records.byte_len()
    }

    /// Moves the records to `out` and returns the position of the last one.
    pub(crate) fn take(&mut self, out: &mut RecordBatch) -> Lsn {
        let bytes = self.records.byte_len();
        if bytes > 0 {
            self.under_way.push_back((self.last, bytes));
            self.under_way_bytes += bytes;
            out.append(&mut self.records);
        }
        self.last
    }

    pub(crate) fn shrink(&mut self) {
        self.records.shrink();
        if self.under_way.is_empty() {
            self.under_way = VecDeque::new();
        }
    }
}

//! The records of one session that the driver has not taken yet, and how far the store is with the others.

use std::collections::VecDeque;

use super::{Lsn, Record, RecordBatch};

/// Nothing, for a session without a store: there every position counts as reached.
#[derive(Debug, Default)]
pub(crate) struct Journal(Option<Box<Pages>>);

#[derive(Debug, Default)]
struct Pages {
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
        Self(enabled.then(Box::default))
    }

    /// Appends the record; with journaling off it is not even built.
    pub(crate) fn push<'a>(&mut self, record: impl FnOnce() -> Record<'a>) -> Lsn {
        let Some(pages) = &mut self.0 else { return 0 };
        pages.records.push(&record());
        pages.last += 1;
        pages.last
    }

    /// Whether there is no store.
    pub(crate) fn is_off(&self) -> bool {
        self.0.is_none()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.as_ref().is_none_or(|pages| pages.records.is_empty())
    }

    pub(crate) fn handle_stored(&mut self, written: Lsn, synced: Lsn) {
        let Some(pages) = &mut self.0 else { return };
        pages.written = pages.written.max(written);
        pages.synced = pages.synced.max(synced);
        while let Some(&(lsn, bytes)) = pages.under_way.front()
            && lsn <= pages.synced
        {
            pages.under_way.pop_front();
            pages.under_way_bytes -= bytes;
        }
    }

    pub(crate) fn is_written(&self, lsn: Lsn) -> bool {
        self.0.as_ref().is_none_or(|pages| lsn <= pages.written)
    }

    pub(crate) fn is_synced(&self, lsn: Lsn) -> bool {
        self.0.as_ref().is_none_or(|pages| lsn <= pages.synced)
    }

    /// Bytes of records that the store has not made durable.
    pub(crate) fn pending_bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |pages| pages.under_way_bytes + pages.records.byte_len())
    }

    /// Moves the records to `out` and returns the position of the last one.
    pub(crate) fn take(&mut self, out: &mut RecordBatch) -> Lsn {
        let Some(pages) = &mut self.0 else { return 0 };
        let bytes = pages.records.byte_len();
        if bytes > 0 {
            pages.under_way.push_back((pages.last, bytes));
            pages.under_way_bytes += bytes;
            out.append(&mut pages.records);
        }
        pages.last
    }

    pub(crate) fn shrink(&mut self) {
        let Some(pages) = &mut self.0 else { return };
        pages.records.shrink();
        if pages.under_way.is_empty() {
            pages.under_way = VecDeque::new();
        }
    }
}

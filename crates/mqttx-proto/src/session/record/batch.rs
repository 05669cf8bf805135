//! Records in a row, as bytes.

use super::Record;
use super::codec::RecordError;

const LENGTH: usize = 4;

/// Records in their order, as bytes: what a session hands to its store, and what it gets back from it.
///
/// ```
/// use mqttx_proto::{PacketId, Record, RecordBatch};
///
/// let mut batch = RecordBatch::new();
/// let id = PacketId::new(7).unwrap();
/// batch.push(&Record::Received { id });
/// assert_eq!(batch.len(), 1);
/// assert_eq!(batch.iter().next(), Some(Ok(Record::Received { id })));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordBatch {
    /// Each record behind its length, four bytes, least significant first.
    bytes: Vec<u8>,
    count: usize,
}

impl RecordBatch {
    /// Empty, without an allocation.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a record.
    pub fn push(&mut self, record: &Record<'_>) {
        self.push_with(|out| record.encode(out));
    }

    /// Appends the bytes of one record, as [`Records::raw`] gave them.
    pub fn push_raw(&mut self, record: &[u8]) {
        self.push_with(|out| out.extend_from_slice(record));
    }

    fn push_with(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; LENGTH]);
        write(&mut self.bytes);
        let length = self.bytes.len() - start - LENGTH;
        if let Some(place) = self.bytes.get_mut(start..start + LENGTH) {
            // A record holds one packet of at most 256 MiB, and a few numbers.
            place.copy_from_slice(&(length as u32).to_le_bytes());
        }
        self.count += 1;
    }

    /// How many records there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many bytes they take.
    #[must_use]
    pub fn byte_len(&self) -> usize {
        self.bytes.len()
    }

    /// The records, in order.
    #[must_use]
    pub fn iter(&self) -> Records<'_> {
        Records { rest: &self.bytes }
    }

    /// Removes all records and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.count = 0;
    }

    /// Moves all records of `other` behind those of this batch. An empty batch takes the other's memory instead of copying.
    pub fn append(&mut self, other: &mut Self) {
        if self.is_empty() {
            std::mem::swap(self, other);
        } else {
            self.bytes.append(&mut other.bytes);
            self.count += other.count;
        }
        other.clear();
    }

    /// Gives the memory of a burst back.
    pub fn shrink(&mut self) {
        if self.is_empty() {
            self.bytes = Vec::new();
        }
    }
}

impl<'a> IntoIterator for &'a RecordBatch {
    type Item = Result<Record<'a>, RecordError>;
    type IntoIter = Records<'a>;

    fn into_iter(self) -> Records<'a> {
        self.iter()
    }
}

/// The records of a [`RecordBatch`].
#[derive(Clone, Debug)]
pub struct Records<'a> {
    rest: &'a [u8],
}

impl<'a> Records<'a> {
    /// The bytes of each record, for stores that keep them as they are.
    pub fn raw(self) -> impl Iterator<Item = &'a [u8]> {
        let mut records = self;
        std::iter::from_fn(move || records.next_raw())
    }

    fn next_raw(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = self.rest.split_first_chunk::<LENGTH>()?;
        let (record, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        self.rest = rest;
        Some(record)
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_raw().map(Record::decode)
    }
}

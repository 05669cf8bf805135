//! Reading a segment from its beginning, whatever is in it.

use std::io;
use std::sync::Arc;

use super::disk::{DiskFile, read_full_at};
use super::format::{FrameHeader, GroupInfo, MESSAGE_HEADER, SEGMENT_HEADER};

/// A part of a file that is in memory.
#[derive(Debug)]
pub(super) struct Window {
    file: Arc<dyn DiskFile>,
    start: u64,
    bytes: Vec<u8>,
    chunk: usize,
    /// What is behind it may not be written yet.
    limit: u64,
}

/// Read ahead at once.
pub(super) const READ_AHEAD: usize = 1 << 20;

impl Window {
    pub(super) fn new(file: Arc<dyn DiskFile>, chunk: usize) -> Self {
        Self { file, start: 0, bytes: Vec::new(), chunk, limit: u64::MAX }
    }

    /// Looks at another file, with the same memory, or at the same one, of which more is written now.
    pub(super) fn turn_to(&mut self, file: &Arc<dyn DiskFile>, limit: u64) {
        self.limit = limit;
        if !Arc::ptr_eq(&self.file, file) {
            self.file = Arc::clone(file);
            self.bytes.clear();
        }
    }

    /// The bytes from `offset` on: fewer only at the end of the file.
    pub(super) fn get(&mut self, offset: u64, len: usize) -> io::Result<&[u8]> {
        let there =
            offset >= self.start && offset + len as u64 <= self.start + self.bytes.len() as u64;
        if !there {
            self.fill(offset, len)?;
        }
        let at = (offset - self.start) as usize;
        let end = (at + len).min(self.bytes.len());
        Ok(self.bytes.get(at..end).unwrap_or_default())
    }

    /// Behind a jump only what is needed is read: the next bytes may be far away again.
    fn fill(&mut self, offset: u64, len: usize) -> io::Result<()> {
        let in_row = (self.start..=self.start + self.bytes.len() as u64).contains(&offset);
        let ahead = if in_row || self.bytes.is_empty() { self.chunk } else { self.chunk / 16 };
        let written = usize::try_from(self.limit.saturating_sub(offset)).unwrap_or(usize::MAX);
        let wanted = len.max(ahead).min(written);
        self.start = offset;
        self.bytes.resize(wanted, 0);
        let read = match read_full_at(&*self.file, &mut self.bytes, offset) {
            Ok(read) => read,
            Err(error) => self.read_pages(offset, error)?,
        };
        self.bytes.truncate(read);
        if wanted > self.chunk * 4 {
            // Only until the next one: a large message does not keep its memory.
            self.bytes.shrink_to(self.bytes.len());
        }
        Ok(())
    }

    /// What the disk cannot read costs itself: it counts as zeros, which are no frame and no payload. Fails when nothing can
    /// be read.
    fn read_pages(&mut self, offset: u64, mut error: io::Error) -> io::Result<usize> {
        let (mut at, mut end, mut any) = (0, 0, false);
        while at < self.bytes.len() {
            let place = offset + at as u64;
            let len = (PAGE - place as usize % PAGE).min(self.bytes.len() - at);
            let bytes = &mut self.bytes[at..at + len];
            match read_full_at(&*self.file, bytes, place) {
                Ok(read) => {
                    any |= read > 0;
                    end = if read > 0 { at + read } else { end };
                }
                Err(found) => {
                    bytes.fill(0);
                    end = at + len;
                    error = found;
                }
            }
            at += len;
        }
        if any { Ok(end) } else { Err(error) }
    }
}

const PAGE: usize = 4096;

/// Walks through the frames of a segment.
#[derive(Debug)]
pub(super) struct Scan {
    window: Window,
    segment: u64,
    offset: u64,
    end: u64,
}

/// What stands next in a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Found {
    /// A frame whose header is intact.
    Frame(FrameHeader, u64),
    /// Bytes that are no frame, with frames behind them.
    Damage { from: u64, to: u64 },
}

impl Scan {
    /// From the first frame to `end`.
    pub(super) fn new(file: Arc<dyn DiskFile>, segment: u64, end: u64) -> Self {
        let window = Window { limit: end, ..Window::new(file, READ_AHEAD) };
        Self { window, segment, offset: SEGMENT_HEADER, end }
    }

    /// Goes on at `offset`.
    pub(super) fn jump(&mut self, offset: u64) {
        self.offset = offset;
    }

    /// Where the next frame is looked for; when there is none, where they end.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    pub(super) fn next(&mut self) -> io::Result<Option<Found>> {
        if let Some(header) = self.header(self.offset)? {
            let at = self.offset;
            self.offset += header.frame_len();
            return Ok(Some(Found::Frame(header, at)));
        }
        let from = self.offset;
        let Some(to) = self.resync(from + 1)? else { return Ok(None) };
        self.offset = to;
        Ok(Some(Found::Damage { from, to }))
    }

    /// The payload of a frame that was found; `None` when it is damaged.
    pub(super) fn payload(&mut self, header: &FrameHeader, at: u64) -> io::Result<Option<&[u8]>> {
        let payload = self.window.get(at + header.header_len() as u64, header.len)?;
        Ok(Some(payload).filter(|payload| header.is_intact(payload)))
    }

    /// Any bytes of the segment.
    pub(super) fn bytes(&mut self, at: u64, len: usize) -> io::Result<&[u8]> {
        self.window.get(at, len)
    }

    /// What a group frame or an end frame says.
    pub(super) fn group(&mut self, header: &FrameHeader, at: u64) -> io::Result<Option<GroupInfo>> {
        Ok(self.payload(header, at)?.and_then(GroupInfo::decode))
    }

    fn header(&mut self, at: u64) -> io::Result<Option<FrameHeader>> {
        let (segment, room) = (self.segment, self.end.saturating_sub(at));
        let bytes = self.window.get(at, MESSAGE_HEADER)?;
        Ok(FrameHeader::decode(bytes, segment, at, room))
    }

    /// The next place from `at` on where a frame stands.
    fn resync(&mut self, mut at: u64) -> io::Result<Option<u64>> {
        while at < self.end {
            let (segment, end) = (self.segment, self.end);
            let len = (READ_AHEAD as u64).min(end - at) as usize;
            let block = self.window.get(at, len)?;
            if let Some(found) = first_frame(block, segment, at, end) {
                return Ok(Some(found));
            }
            if block.len() < len || at + len as u64 == end {
                return Ok(None);
            }
            at += (len - MESSAGE_HEADER) as u64;
        }
        Ok(None)
    }
}

fn first_frame(block: &[u8], segment: u64, base: u64, end: u64) -> Option<u64> {
    let mut i = 0;
    while let Some(rest) = block.get(i..).filter(|rest| !rest.is_empty()) {
        if rest.starts_with(&[0; ZEROS]) {
            i += ZEROS - KIND_AT;
            continue;
        }
        let at = base + i as u64;
        if FrameHeader::decode(rest, segment, at, end - at).is_some() {
            return Some(at);
        }
        i += 1;
    }
    None
}

/// Never written: no frame begins in so many zeros, except near their end, as the kind is not zero.
const ZEROS: usize = 64;
const KIND_AT: usize = 11;

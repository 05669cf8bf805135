//! The bytes of a segment.
//!
//! A segment is a file: a header of 64 bytes, then frames one behind the other. A frame is a header, which has a checksum of
//! its own, and a payload with another: so one bad payload is skipped without losing the place.
//!
//! ```text
//! frame    header CRC-32C · payload CRC-32C · kind (3 bits) and length (29 bits) · session, 4 bytes each
//!          message: its sequence, 8 bytes
//!          the payload
//! ```
//!
//! The checksum of a header is seeded with the id of the segment and the offset of the frame, so that neither the bytes of
//! an earlier life of the file nor a copy of a frame inside of a payload are taken for a frame.
//!
//! | kind | payload |
//! |---|---|
//! | group | when it was written, the offset below which all was durable before it, and how many bytes of frames belong to it |
//! | name | the name of a session; the frame's session is the number that stands for it |
//! | message | an `Enqueue` record behind its kind and sequence |
//! | changes | what else happened to one session, see [`changes`](super::changes) |
//! | end | like a group without frames: nothing comes behind it |

use crc32c::{crc32c, crc32c_append};

/// Bytes of the header of a segment.
pub(super) const SEGMENT_HEADER: u64 = 64;

/// Bytes of a frame's header, except for messages.
pub(super) const FRAME_HEADER: usize = 16;

/// Bytes of the header of a message.
pub(super) const MESSAGE_HEADER: usize = 24;

/// What an `Enqueue` record begins with: its kind and sequence, which the header of its frame holds.
pub(super) const RECORD_PREFIX: usize = 9;

/// Bytes of a group frame, and of the end frame.
pub(super) const GROUP_FRAME: usize = FRAME_HEADER + GROUP_PAYLOAD;

const GROUP_PAYLOAD: usize = 20;

/// The version of the format that is written.
pub(super) const VERSION: u32 = 1;

/// The largest payload: a record with the largest packet fits.
pub(super) const MAX_PAYLOAD: usize = (1 << 29) - 1;

const MAGIC: [u8; 8] = *b"mqttxlog";
const KIND_SHIFT: u32 = 29;
const COLD: u8 = 1;
const RECYCLED: u8 = 2;

/// The header of a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct SegmentHeader {
    pub(super) version: u32,
    pub(super) id: u64,
    /// As many bytes were allocated.
    pub(super) size: u64,
    /// Written by compaction: messages only, each a copy.
    pub(super) cold: bool,
    /// The file had an earlier life, and its bytes behind the end are not zero.
    pub(super) recycled: bool,
}

impl SegmentHeader {
    pub(super) fn encode(&self) -> [u8; SEGMENT_HEADER as usize] {
        let mut out = [0; SEGMENT_HEADER as usize];
        out[..8].copy_from_slice(&MAGIC);
        out[8..12].copy_from_slice(&self.version.to_le_bytes());
        out[12] = if self.cold { COLD } else { 0 } | if self.recycled { RECYCLED } else { 0 };
        out[16..24].copy_from_slice(&self.id.to_le_bytes());
        out[24..32].copy_from_slice(&self.size.to_le_bytes());
        let crc = crc32c(&out[..60]);
        out[60..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// `None`: these bytes are no header, or a damaged one.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..SEGMENT_HEADER as usize)?;
        if bytes[..8] != MAGIC || u32_at(bytes, 60) != crc32c(&bytes[..60]) {
            return None;
        }
        Some(Self {
            version: u32_at(bytes, 8),
            id: u64_at(bytes, 16),
            size: u64_at(bytes, 24),
            cold: bytes[12] & COLD != 0,
            recycled: bytes[12] & RECYCLED != 0,
        })
    }
}

/// What a frame is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Group = 1,
    Name = 2,
    Message = 3,
    Changes = 4,
    End = 5,
}

impl Kind {
    const fn from_bits(bits: u32) -> Option<Self> {
        match bits {
            1 => Some(Self::Group),
            2 => Some(Self::Name),
            3 => Some(Self::Message),
            4 => Some(Self::Changes),
            5 => Some(Self::End),
            _ => None,
        }
    }

    const fn header_len(self) -> usize {
        if matches!(self, Self::Message) { MESSAGE_HEADER } else { FRAME_HEADER }
    }
}

/// The header of a frame that passed its check.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct FrameHeader {
    pub(super) kind: Kind,
    pub(super) session: u32,
    /// Of a message.
    pub(super) sequence: u64,
    /// Bytes of the payload.
    pub(super) len: usize,
    payload_crc: u32,
}

impl FrameHeader {
    /// The header that stands at `offset` of the segment, if there is one, and its frame has no more than `room` bytes.
    pub(super) fn decode(bytes: &[u8], segment: u64, offset: u64, room: u64) -> Option<Self> {
        let fixed = bytes.get(..FRAME_HEADER)?;
        let kind_len = u32_at(fixed, 8);
        let kind = Kind::from_bits(kind_len >> KIND_SHIFT)?;
        let header = bytes.get(..kind.header_len())?;
        let frame_len = header.len() as u64 + u64::from(kind_len & MAX_PAYLOAD as u32);
        if frame_len > room || u32_at(header, 0) != header_crc(header, segment, offset) {
            return None;
        }
        Some(Self {
            kind,
            session: u32_at(header, 12),
            sequence: if kind == Kind::Message { u64_at(header, 16) } else { 0 },
            len: kind_len as usize & MAX_PAYLOAD,
            payload_crc: u32_at(header, 4),
        })
    }

    pub(super) fn header_len(&self) -> usize {
        self.kind.header_len()
    }

    /// Bytes of the whole frame.
    pub(super) fn frame_len(&self) -> u64 {
        (self.kind.header_len() + self.len) as u64
    }

    pub(super) fn is_intact(&self, payload: &[u8]) -> bool {
        payload.len() == self.len && crc32c(payload) == self.payload_crc
    }
}

fn header_crc(header: &[u8], segment: u64, offset: u64) -> u32 {
    let seed = segment.rotate_left(32) ^ offset.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    crc32c_append(seed as u32 ^ (seed >> 32) as u32, &header[4..])
}

/// Appends a frame; `out` begins at `base` of the segment.
pub(super) fn put_frame(
    out: &mut Vec<u8>,
    (segment, base): (u64, u64),
    (kind, session): (Kind, u32),
    payload: &[u8],
) {
    put(out, (segment, base), (kind, session, &[]), payload);
}

/// Appends the frame of an `Enqueue` record, whose sequence is in its bytes.
pub(super) fn put_message(
    out: &mut Vec<u8>,
    (segment, base): (u64, u64),
    session: u32,
    record: &[u8],
) {
    let (prefix, payload) = record.split_at(RECORD_PREFIX);
    put(out, (segment, base), (Kind::Message, session, &prefix[1..]), payload);
}

fn put(
    out: &mut Vec<u8>,
    (segment, base): (u64, u64),
    (kind, session, sequence): (Kind, u32, &[u8]),
    payload: &[u8],
) {
    let mut header = [0; MESSAGE_HEADER];
    let header = &mut header[..kind.header_len()];
    header[4..8].copy_from_slice(&crc32c(payload).to_le_bytes());
    let kind_len = (kind as u32) << KIND_SHIFT | payload.len() as u32;
    header[8..12].copy_from_slice(&kind_len.to_le_bytes());
    header[12..16].copy_from_slice(&session.to_le_bytes());
    header[16..].copy_from_slice(sequence);
    let crc = header_crc(header, segment, base + out.len() as u64);
    header[..4].copy_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(header);
    out.extend_from_slice(payload);
}

/// Gives the frame that stands at the beginning of `frame` another place.
pub(super) fn move_frame(frame: &mut [u8], kind: Kind, segment: u64, offset: u64) {
    let header = &mut frame[..kind.header_len()];
    let crc = header_crc(header, segment, offset);
    header[..4].copy_from_slice(&crc.to_le_bytes());
}

/// What a group frame and an end frame say.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct GroupInfo {
    pub(super) unix_ms: u64,
    /// Everything below this offset was durable before the group was written.
    pub(super) durable: u64,
    /// Bytes of the frames that follow and belong to it.
    pub(super) len: u32,
}

impl GroupInfo {
    pub(super) fn encode(&self) -> [u8; GROUP_PAYLOAD] {
        let mut out = [0; GROUP_PAYLOAD];
        out[..8].copy_from_slice(&self.unix_ms.to_le_bytes());
        out[8..16].copy_from_slice(&self.durable.to_le_bytes());
        out[16..].copy_from_slice(&self.len.to_le_bytes());
        out
    }

    pub(super) fn decode(payload: &[u8]) -> Option<Self> {
        (payload.len() == GROUP_PAYLOAD).then(|| Self {
            unix_ms: u64_at(payload, 0),
            durable: u64_at(payload, 8),
            len: u32_at(payload, 16),
        })
    }
}

/// Writes a group frame over the place that was left for it at the beginning of `out`.
pub(super) fn fill_group(out: &mut [u8], segment: u64, base: u64, info: &GroupInfo) {
    let mut frame = Vec::with_capacity(GROUP_FRAME);
    put_frame(&mut frame, (segment, base), (Kind::Group, 0), &info.encode());
    out[..GROUP_FRAME].copy_from_slice(&frame);
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |&four| u32::from_le_bytes(four))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes
        .get(at..)
        .and_then(|rest| rest.first_chunk())
        .map_or(0, |&eight| u64::from_le_bytes(eight))
}

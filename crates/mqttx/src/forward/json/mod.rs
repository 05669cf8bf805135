//! JSON payloads: read and changed along pointers, the rest stays byte for byte what it was.

mod document;
mod pointer;
mod read;
mod value;

pub(super) use document::Document;
pub(super) use pointer::Pointer;
pub(super) use read::{find, text_of};
pub(super) use value::ValueTemplate;

/// A larger payload is not looked into: it would hold the session up for too long.
pub(super) const MAX_BYTES: usize = 16 << 20;

/// Levels that a pointer may have.
const MAX_DEPTH: usize = 128;

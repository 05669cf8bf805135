//! What a message carries, from wherever it lies.

use std::ops::Deref;

use bytes::Bytes;

/// The payload of a message to send: bytes of the caller. A small one is copied; a large one is kept, for which [`Bytes`] only
/// need another handle, and a slice needs a copy of its own.
///
/// ```
/// use bytes::Bytes;
/// use mqttx_proto::Payload;
///
/// let shared = Bytes::from_static(b"21.5");
/// assert_eq!(*Payload::from(&shared), *Payload::from(&b"21.5"[..]));
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Payload<'a> {
    bytes: &'a [u8],
    shared: Option<&'a Bytes>,
}

impl Payload<'_> {
    /// The bytes, to keep.
    #[must_use]
    pub fn to_bytes(self) -> Bytes {
        self.shared.map_or_else(|| Bytes::copy_from_slice(self.bytes), Clone::clone)
    }
}

impl<'a> From<&'a Bytes> for Payload<'a> {
    fn from(shared: &'a Bytes) -> Self {
        Self { bytes: shared, shared: Some(shared) }
    }
}

impl<'a> From<&'a [u8]> for Payload<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self { bytes, shared: None }
    }
}

impl Deref for Payload<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes
    }
}

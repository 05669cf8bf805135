//! The data types of section 1.5: every bounds check of the decoder, every append of the encoder.

use crate::error::{DecodeError, EncodeError};
use crate::scan::contains_any;

/// The largest remaining length, in bytes: four bytes of seven bits `[MQTT-1.5.5]`.
pub const MAX_REMAINING_LENGTH: u32 = 268_435_455;

/// Reads the fields of a packet's body from front to back, without copying.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the first byte.
    #[must_use]
    #[inline]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Whether every byte has been read.
    #[must_use]
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The bytes not read yet, without taking them.
    #[must_use]
    #[inline]
    pub const fn remaining(&self) -> &'a [u8] {
        self.rest
    }

    /// Takes all bytes that are left.
    #[inline]
    pub const fn rest(&mut self) -> &'a [u8] {
        let rest = self.rest;
        self.rest = &[];
        rest
    }

    /// Takes one byte.
    ///
    /// # Errors
    /// The packet ends before.
    #[inline]
    pub const fn u8(&mut self) -> Result<u8, DecodeError> {
        match self.rest.split_first() {
            Some((byte, rest)) => {
                self.rest = rest;
                Ok(*byte)
            }
            None => Err(TOO_SHORT),
        }
    }

    /// Takes a two byte integer, big-endian.
    ///
    /// # Errors
    /// The packet ends before.
    #[inline]
    pub const fn u16(&mut self) -> Result<u16, DecodeError> {
        match self.rest.split_first_chunk() {
            Some((bytes, rest)) => {
                self.rest = rest;
                Ok(u16::from_be_bytes(*bytes))
            }
            None => Err(TOO_SHORT),
        }
    }

    /// Takes a four byte integer, big-endian.
    ///
    /// # Errors
    /// The packet ends before.
    #[inline]
    pub const fn u32(&mut self) -> Result<u32, DecodeError> {
        match self.rest.split_first_chunk() {
            Some((bytes, rest)) => {
                self.rest = rest;
                Ok(u32::from_be_bytes(*bytes))
            }
            None => Err(TOO_SHORT),
        }
    }

    /// Takes a variable byte integer, 0 to 268 435 455.
    ///
    /// # Errors
    /// The packet ends before, the integer has more than four bytes, or more bytes than its value
    /// needs `[MQTT-1.5.5-1]`.
    #[inline]
    pub const fn varint(&mut self) -> Result<u32, DecodeError> {
        match self.rest.split_first() {
            Some((byte, rest)) if *byte < 0x80 => {
                self.rest = rest;
                Ok(*byte as u32)
            }
            _ => self.long_varint(),
        }
    }

    const fn long_varint(&mut self) -> Result<u32, DecodeError> {
        match split_varint(self.rest) {
            Varint::Complete { minimal: false, .. } => Err(OVER_LONG_VARINT),
            Varint::Complete { value, len, .. } => match self.rest.split_at_checked(len) {
                Some((_, rest)) => {
                    self.rest = rest;
                    Ok(value)
                }
                None => Err(TOO_SHORT),
            },
            Varint::Incomplete => Err(TOO_SHORT),
            Varint::TooLong => Err(LONG_VARINT),
        }
    }

    /// Takes exactly `len` bytes.
    ///
    /// # Errors
    /// The packet ends before.
    #[inline]
    pub const fn take(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        match self.rest.split_at_checked(len) {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(taken)
            }
            None => Err(TOO_SHORT),
        }
    }

    /// Takes binary data: a two byte length and as many bytes.
    ///
    /// # Errors
    /// The packet ends before.
    #[inline]
    pub const fn binary(&mut self) -> Result<&'a [u8], DecodeError> {
        match self.u16() {
            Ok(len) => self.take(len as usize),
            Err(error) => Err(error),
        }
    }

    /// Takes a UTF-8 encoded string.
    ///
    /// # Errors
    /// The packet ends before, the string is not well-formed UTF-8 `[MQTT-1.5.4-1]`, or contains
    /// U+0000 `[MQTT-1.5.4-2]`.
    #[inline]
    pub fn utf8(&mut self) -> Result<&'a str, DecodeError> {
        let bytes = self.binary()?;
        if contains_any(bytes, [0]) {
            return Err(NUL);
        }
        str::from_utf8(bytes).map_err(|_| ILL_FORMED)
    }

    /// Succeeds when every byte has been read.
    ///
    /// # Errors
    /// Bytes follow the packet's last field.
    #[inline]
    pub const fn finish(&self) -> Result<(), DecodeError> {
        if self.rest.is_empty() { Ok(()) } else { Err(TRAILING) }
    }
}

/// What a variable byte integer at the start of some bytes looks like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Varint {
    Complete { value: u32, len: usize, minimal: bool },
    Incomplete,
    TooLong,
}

/// Finds the variable byte integer at the start of `bytes`, section 1.5.5.
pub(crate) const fn split_varint(bytes: &[u8]) -> Varint {
    let mut rest = bytes;
    let mut value = 0;
    let mut len = 0;
    while len < 4 {
        let Some((byte, after)) = rest.split_first() else { return Varint::Incomplete };
        value |= ((*byte & 0x7F) as u32) << (7 * len);
        len += 1;
        if *byte < 0x80 {
            return Varint::Complete { value, len, minimal: len == varint_len(value) };
        }
        rest = after;
    }
    Varint::TooLong
}

/// How many bytes the value needs as a variable byte integer: 1 to 4.
#[must_use]
#[inline]
pub const fn varint_len(value: u32) -> usize {
    match value {
        0..=0x7F => 1,
        0x80..=0x3FFF => 2,
        0x4000..=0x1F_FFFF => 3,
        _ => 4,
    }
}

/// Appends a variable byte integer of at most [`MAX_REMAINING_LENGTH`].
#[inline]
pub fn put_varint(out: &mut Vec<u8>, value: u32) {
    let mut rest = value;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// Appends a fixed header; nearly always two or three bytes, written at once.
#[inline]
pub(crate) fn put_header(out: &mut Vec<u8>, first_byte: u8, length: u32) {
    match length {
        0..=0x7F => out.extend_from_slice(&[first_byte, length as u8]),
        0x80..=0x3FFF => {
            out.extend_from_slice(&[first_byte, length as u8 | 0x80, (length >> 7) as u8]);
        }
        _ => {
            out.push(first_byte);
            put_varint(out, length);
        }
    }
}

/// Appends a two byte integer, big-endian.
#[inline]
pub fn put_u16(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_be_bytes());
}

/// Appends a four byte integer, big-endian.
#[inline]
pub fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_be_bytes());
}

/// Appends a string or binary data after its two byte length.
///
/// # Errors
/// The value is longer than 65 535 bytes; nothing was appended.
#[inline]
pub fn put_binary(out: &mut Vec<u8>, field: &'static str, value: &[u8]) -> Result<(), EncodeError> {
    let Ok(len) = u16::try_from(value.len()) else {
        return Err(EncodeError::FieldTooLong { field, len: value.len() });
    };
    put_u16(out, len);
    out.extend_from_slice(value);
    Ok(())
}

/// A remaining or property length, checked.
#[inline]
pub(crate) const fn checked_length(len: usize) -> Result<u32, EncodeError> {
    if len <= MAX_REMAINING_LENGTH as usize {
        Ok(len as u32)
    } else {
        Err(EncodeError::PacketTooLarge { len })
    }
}

const TOO_SHORT: DecodeError = DecodeError::malformed("the packet ends inside a field");
const TRAILING: DecodeError = DecodeError::malformed("bytes follow the last field of the packet");
pub(crate) const NUL: DecodeError = DecodeError::malformed("a string contains U+0000");
pub(crate) const ILL_FORMED: DecodeError =
    DecodeError::malformed("a string is not well-formed UTF-8");
pub(crate) const OVER_LONG_VARINT: DecodeError =
    DecodeError::malformed("a variable byte integer has more bytes than its value needs");
pub(crate) const LONG_VARINT: DecodeError =
    DecodeError::malformed("a variable byte integer has more than four bytes");

//! The block of properties of a packet, section 2.2.2, which packets of 3.1.1 do not have.

use crate::error::{DecodeError, EncodeError};
use crate::property::{PropertiesRef, PropertyContext};
use crate::types::Version;
use crate::wire::{Reader, checked_length, put_varint, varint_len};

impl<'a> PropertiesRef<'a> {
    /// Takes the length and the properties from the front of a packet; nothing in 3.1.1.
    #[inline]
    pub(super) fn read(
        reader: &mut Reader<'a>,
        version: Version,
        context: PropertyContext,
    ) -> Result<Self, DecodeError> {
        Self::read_after(reader, version, context, Self::EMPTY)
    }

    /// The same; properties that equal `known`, from such a packet, are not checked again.
    #[inline(always)]
    pub(super) fn read_after(
        reader: &mut Reader<'a>,
        version: Version,
        context: PropertyContext,
        known: Self,
    ) -> Result<Self, DecodeError> {
        if version == Version::V311 {
            return Ok(Self::EMPTY);
        }
        match reader.varint()? {
            0 => Ok(Self::EMPTY),
            len => Self::take(reader, len, context, known),
        }
    }

    /// Apart, so that the usual packet without properties is read without a call.
    #[inline(never)]
    fn take(
        reader: &mut Reader<'a>,
        len: u32,
        context: PropertyContext,
        known: Self,
    ) -> Result<Self, DecodeError> {
        match reader.take(len as usize)? {
            same if same == known.as_bytes() => Ok(known),
            new => Self::parse(new, context),
        }
    }

    /// The bytes that [`put`](Self::put) appends.
    #[inline]
    pub(super) const fn wire_len(self, version: Version) -> usize {
        match version {
            Version::V311 => 0,
            Version::V5 if self.is_empty() => 1,
            Version::V5 => {
                let len = self.as_bytes().len();
                varint_len(len as u32) + len
            }
        }
    }

    /// Appends length and properties; nothing in 3.1.1.
    #[inline]
    pub(super) fn put(self, version: Version, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        match version {
            Version::V311 => {}
            Version::V5 if self.is_empty() => out.push(0),
            Version::V5 => {
                put_varint(out, checked_length(self.as_bytes().len())?);
                out.extend_from_slice(self.as_bytes());
            }
        }
        Ok(())
    }
}

//! The value of a property: its wire types and the ranges that the specification gives.

use crate::error::DecodeError;
use crate::topic::has_wildcard;
use crate::wire::{MAX_REMAINING_LENGTH, Reader, put_u16, put_u32, put_varint};

/// One line of the property table.
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) wire_type: WireType,
    pub(super) rule: Rule,
    pub(super) repeatable: bool,
    pub(super) contexts: u16,
    pub(super) section: &'static str,
    pub(super) duplicate: DecodeError,
    /// Section 2.2.2.2: an identifier that is not valid for the packet type makes it malformed.
    pub(super) misplaced: DecodeError,
    pub(super) forbidden: DecodeError,
}

/// How the value of a property is written, section 1.5.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum WireType {
    /// One byte.
    Byte,
    /// A big-endian integer of two bytes.
    TwoByte,
    /// A big-endian integer of four bytes.
    FourByte,
    /// A variable byte integer, 1 to 4 bytes.
    VarInt,
    /// A UTF-8 string after its two byte length.
    Utf8,
    /// Bytes after their two byte length.
    Binary,
    /// Two UTF-8 strings.
    Utf8Pair,
}

/// A value by its wire type.
#[derive(Clone, Copy)]
pub(super) enum Value<'a> {
    Byte(u8),
    TwoByte(u16),
    FourByte(u32),
    VarInt(u32),
    Utf8(&'a str),
    Binary(&'a [u8]),
    Utf8Pair(&'a str, &'a str),
}

impl<'a> Value<'a> {
    pub(super) fn read(wire_type: WireType, reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(match wire_type {
            WireType::Byte => Self::Byte(reader.u8()?),
            WireType::TwoByte => Self::TwoByte(reader.u16()?),
            WireType::FourByte => Self::FourByte(reader.u32()?),
            WireType::VarInt => Self::VarInt(reader.varint()?),
            WireType::Utf8 => Self::Utf8(reader.utf8()?),
            WireType::Binary => Self::Binary(reader.binary()?),
            WireType::Utf8Pair => Self::Utf8Pair(reader.utf8()?, reader.utf8()?),
        })
    }

    pub(super) fn write(self, out: &mut Vec<u8>) {
        match self {
            Self::Byte(value) => out.push(value),
            Self::TwoByte(value) => put_u16(out, value),
            Self::FourByte(value) => put_u32(out, value),
            Self::VarInt(value) => put_varint(out, value),
            Self::Utf8(value) => put_checked(out, value.as_bytes()),
            Self::Binary(value) => put_checked(out, value),
            Self::Utf8Pair(name, value) => {
                put_checked(out, name.as_bytes());
                put_checked(out, value.as_bytes());
            }
        }
    }

    /// The length of a string that no length field can say.
    pub(super) fn too_long(self) -> Option<usize> {
        let longest = match self {
            Self::Utf8(value) => value.len(),
            Self::Binary(value) => value.len(),
            Self::Utf8Pair(name, value) => name.len().max(value.len()),
            _ => 0,
        };
        (longest > usize::from(u16::MAX)).then_some(longest)
    }

    /// What the value must be for its wire type, when it is not.
    pub(super) fn must(self) -> Option<&'static str> {
        match self {
            Self::VarInt(value) if value > MAX_REMAINING_LENGTH => Some("be at most 268435455"),
            Self::Utf8(value) if value.contains('\0') => Some(NO_NUL),
            Self::Utf8Pair(a, b) if a.contains('\0') || b.contains('\0') => Some(NO_NUL),
            _ => None,
        }
    }
}

const NO_NUL: &str = "not contain the character U+0000";

fn put_checked(out: &mut Vec<u8>, value: &[u8]) {
    put_u16(out, value.len() as u16);
    out.extend_from_slice(value);
}

/// Moves over a value without looking at it.
pub(super) fn skip(wire_type: WireType, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
    match wire_type {
        WireType::Byte => reader.take(1).map(drop),
        WireType::TwoByte => reader.take(2).map(drop),
        WireType::FourByte => reader.take(4).map(drop),
        WireType::VarInt => reader.varint().map(drop),
        WireType::Utf8 | WireType::Binary => reader.binary().map(drop),
        WireType::Utf8Pair => reader.binary().and_then(|_| reader.binary()).map(drop),
    }
}

/// What the specification says about the value beyond its type.
#[derive(Clone, Copy)]
pub(super) enum Rule {
    Any,
    /// 0 or 1.
    Boolean,
    NonZero,
    /// A topic name to answer to `[MQTT-3.3.2-14]`.
    NoWildcard,
}

impl Rule {
    pub(super) fn allows(self, value: Value<'_>) -> bool {
        match (self, value) {
            (Self::Boolean, Value::Byte(value)) => value <= 1,
            (Self::NonZero, Value::TwoByte(value)) => value != 0,
            (Self::NonZero, Value::FourByte(value) | Value::VarInt(value)) => value != 0,
            (Self::NoWildcard, Value::Utf8(value)) => !has_wildcard(value),
            _ => true,
        }
    }

    pub(super) const fn must(self) -> &'static str {
        match self {
            Self::Any => "be valid",
            Self::Boolean => "be 0 or 1",
            Self::NonZero => "not be 0",
            Self::NoWildcard => "not contain '+' or '#'",
        }
    }
}

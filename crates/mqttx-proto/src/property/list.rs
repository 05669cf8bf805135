//! The properties of one packet, as the bytes of the wire: borrowed and owned.

use std::fmt;

use super::value::skip;
use super::{Kinds, Property, PropertyContext, PropertyId};
use crate::error::{DecodeError, PropertyError};
use crate::wire::Reader;

/// The validated property bytes of a packet, without the length before them.
///
/// Empty in every 3.1.1 packet. The getters read the bytes from the front each time: ask once.
///
/// ```
/// use mqttx_proto::{Properties, Property};
///
/// let mut properties = Properties::new();
/// properties.push(Property::MessageExpiryInterval(60))?;
/// properties.user_property("site", "north")?;
/// assert_eq!(properties.as_ref().message_expiry_interval(), Some(60));
/// assert_eq!(properties.as_ref().user_properties().next(), Some(("site", "north")));
/// # Ok::<(), mqttx_proto::PropertyError>(())
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct PropertiesRef<'a>(&'a [u8]);

impl<'a> PropertiesRef<'a> {
    /// No property.
    pub const EMPTY: Self = Self(&[]);

    /// Checks all of it: every property known, allowed in this packet, not repeated, its value
    /// well-formed and in its range.
    ///
    /// # Errors
    /// 0x81 for what cannot be parsed, for unknown and for misplaced properties (section 2.2.2.2);
    /// 0x82 for repeated ones and forbidden values.
    pub fn parse(raw: &'a [u8], context: PropertyContext) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(raw);
        let mut seen = 0_u64;
        while !reader.is_empty() {
            let id = PropertyId::from_u8(reader.u8()?).ok_or(UNKNOWN)?;
            let row = id.row();
            if row.contexts & context.bit() == 0 {
                return Err(row.misplaced);
            }
            let bit = 1 << (id as u8);
            if seen & bit != 0 && !id.repeatable_in(context) {
                return Err(row.duplicate);
            }
            seen |= bit;
            Property::read(id, &mut reader)?;
        }
        Ok(Self(raw))
    }

    /// The bytes of the wire, without the length before them.
    #[must_use]
    pub const fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// Whether there is no property.
    #[must_use]
    #[inline]
    pub const fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// All properties, in the order of the wire.
    #[must_use]
    pub const fn iter(self) -> Iter<'a> {
        Iter { reader: Reader::new(self.0) }
    }

    /// All user properties, in order; a name may occur more than once.
    pub fn user_properties(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.iter().filter_map(|property| match property {
            Property::UserProperty(name, value) => Some((name, value)),
            _ => None,
        })
    }

    /// The identifiers of all subscriptions that a message matched, in order.
    pub fn subscription_identifiers(self) -> impl Iterator<Item = u32> {
        self.iter().filter_map(|property| match property {
            Property::SubscriptionIdentifier(id) => Some(id),
            _ => None,
        })
    }

    /// A copy that can be kept and changed; allocates nothing when empty.
    #[must_use]
    pub fn to_owned(self) -> Properties {
        Properties(self.0.to_vec())
    }

    /// Checks that this packet may carry the properties.
    ///
    /// # Errors
    /// The first property that it may not carry, or not twice.
    pub fn check(self, context: PropertyContext) -> Result<(), PropertyError> {
        self.check_kinds(self.kinds(), context)
    }

    /// [`check`](Self::check), if it is known already which kinds there are.
    #[inline]
    pub(crate) fn check_kinds(
        self,
        kinds: Kinds,
        context: PropertyContext,
    ) -> Result<(), PropertyError> {
        if kinds.fit(context) { Ok(()) } else { self.find_misfit(context) }
    }

    /// Says which property it is.
    #[cold]
    fn find_misfit(self, context: PropertyContext) -> Result<(), PropertyError> {
        let mut seen = 0_u64;
        for property in self {
            let id = property.id();
            if !id.allowed_in(context) {
                return Err(PropertyError::NotAllowed { id, context });
            }
            let bit = 1 << (id as u8);
            if seen & bit != 0 && !id.repeatable_in(context) {
                return Err(PropertyError::Duplicate(id));
            }
            seen |= bit;
        }
        Ok(())
    }

    /// The first property of this kind.
    #[inline]
    pub(super) fn find(self, wanted: PropertyId) -> Option<Property<'a>> {
        if self.is_empty() {
            return None;
        }
        let (_, mut reader) = self.seek(wanted)?;
        Property::read(wanted, &mut reader).ok()
    }

    /// Where the value of the first property of this kind starts, from the first property's byte.
    #[inline]
    pub(crate) fn value_offset(self, wanted: PropertyId) -> Option<usize> {
        if self.is_empty() {
            return None;
        }
        let (_, reader) = self.seek(wanted)?;
        Some(self.0.len() - reader.remaining().len())
    }

    /// The offset of the identifier, and a reader at the value behind it.
    fn seek(self, wanted: PropertyId) -> Option<(usize, Reader<'a>)> {
        let mut reader = Reader::new(self.0);
        loop {
            let offset = self.0.len() - reader.remaining().len();
            let id = PropertyId::from_u8(reader.u8().ok()?)?;
            if id == wanted {
                return Some((offset, reader));
            }
            skip(id.wire_type(), &mut reader).ok()?;
        }
    }
}

impl<'a> IntoIterator for PropertiesRef<'a> {
    type Item = Property<'a>;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

impl fmt::Debug for PropertiesRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// The properties of a packet, in the order of the wire.
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    reader: Reader<'a>,
}

impl<'a> Iterator for Iter<'a> {
    type Item = Property<'a>;

    fn next(&mut self) -> Option<Property<'a>> {
        let id = PropertyId::from_u8(self.reader.u8().ok()?)?;
        Property::read(id, &mut self.reader).ok()
    }
}

/// Properties to be sent or kept, in the same form as on the wire.
///
/// Holds no memory while empty. Order is kept, as it matters for user properties
/// `[MQTT-3.3.2-18]`.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Properties(Vec<u8>);

impl Properties {
    /// No property.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Takes bytes of the wire, without the length before them.
    ///
    /// # Errors
    /// Those of [`PropertiesRef::parse`].
    pub fn from_raw(raw: Vec<u8>, context: PropertyContext) -> Result<Self, DecodeError> {
        PropertiesRef::parse(&raw, context)?;
        Ok(Self(raw))
    }

    /// Properties that no packet may carry, perhaps.
    #[cfg(test)]
    pub(super) const fn unchecked(raw: Vec<u8>) -> Self {
        Self(raw)
    }

    /// The borrowed form, as packets carry it.
    #[must_use]
    pub const fn as_ref(&self) -> PropertiesRef<'_> {
        PropertiesRef(self.0.as_slice())
    }

    /// Whether there is no property.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Becomes a copy of others, in the memory that is there.
    pub fn copy_from(&mut self, others: PropertiesRef<'_>) {
        self.0.clear();
        self.0.extend_from_slice(others.as_bytes());
    }

    /// Adds a property behind the others.
    ///
    /// # Errors
    /// The value is too long or out of its range, or the property is there already and may not be
    /// repeated; nothing was added.
    pub fn push(&mut self, property: Property<'_>) -> Result<(), PropertyError> {
        property.check()?;
        let id = property.id();
        if !id.repeatable() && self.as_ref().value_offset(id).is_some() {
            return Err(PropertyError::Duplicate(id));
        }
        property.write(&mut self.0);
        Ok(())
    }

    /// Adds a property in place of all others of its kind.
    ///
    /// # Errors
    /// The value is too long or out of its range; nothing was changed.
    pub fn set(&mut self, property: Property<'_>) -> Result<(), PropertyError> {
        property.check()?;
        self.remove(property.id());
        property.write(&mut self.0);
        Ok(())
    }

    /// Takes out all properties of this kind; says whether there was one.
    pub fn remove(&mut self, id: PropertyId) -> bool {
        let mut found = false;
        while let Some((start, mut reader)) = self.as_ref().seek(id) {
            let end = match skip(id.wire_type(), &mut reader) {
                Ok(()) => self.0.len() - reader.remaining().len(),
                Err(_) => self.0.len(),
            };
            self.0.drain(start..end);
            found = true;
        }
        found
    }

    /// Adds a user property: a name, which may occur more than once, and a value.
    ///
    /// # Errors
    /// Name or value is longer than 65 535 bytes or contains U+0000; nothing was added.
    pub fn user_property(&mut self, name: &str, value: &str) -> Result<(), PropertyError> {
        self.push(Property::UserProperty(name, value))
    }

    /// Checks that this packet may carry the properties.
    ///
    /// # Errors
    /// The first property that it may not carry, or not twice.
    pub fn check(&self, context: PropertyContext) -> Result<(), PropertyError> {
        self.as_ref().check(context)
    }
}

impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.as_ref(), f)
    }
}

impl From<PropertiesRef<'_>> for Properties {
    fn from(properties: PropertiesRef<'_>) -> Self {
        properties.to_owned()
    }
}

const UNKNOWN: DecodeError = DecodeError::malformed("a property has an unknown identifier");

//! Which properties a list has, found in one walk over their identifiers.

use super::value::{WireType, skip};
use super::{PropertiesRef, PropertyContext, PropertyId};
use crate::wire::Reader;

/// The kinds of property in one list: what a sender asks of it needs no further walk.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Kinds {
    /// A bit for each identifier that occurs; the largest is below 64.
    seen: u64,
    /// Those that occur more than once.
    again: u64,
}

impl Kinds {
    /// Of an empty list.
    pub(crate) const NONE: Self = Self { seen: 0, again: 0 };

    /// Whether there is a property of this kind.
    #[inline]
    pub(crate) const fn has(self, id: PropertyId) -> bool {
        self.seen & bit(id) != 0
    }

    /// Whether that packet may carry them, so often.
    #[inline]
    pub(crate) fn fit(self, context: PropertyContext) -> bool {
        let (allowed, repeatable) = MASKS.get(context as usize).copied().unwrap_or((0, 0));
        self.seen & !allowed == 0 && self.again & !repeatable == 0
    }
}

impl PropertiesRef<'_> {
    /// What kinds of property there are.
    #[inline]
    pub(crate) fn kinds(self) -> Kinds {
        if self.is_empty() { Kinds::NONE } else { self.walk() }
    }

    fn walk(self) -> Kinds {
        let mut kinds = Kinds::NONE;
        let mut reader = Reader::new(self.as_bytes());
        while let Ok(id) = reader.u8() {
            // Both always are: the bytes were checked.
            let Some(wire_type) = WIRE_TYPES.get(usize::from(id)).copied().flatten() else { break };
            if skip(wire_type, &mut reader).is_err() {
                break;
            }
            let bit = 1 << id;
            kinds.again |= kinds.seen & bit;
            kinds.seen |= bit;
        }
        kinds
    }
}

const fn bit(id: PropertyId) -> u64 {
    1 << id as u8
}

/// How the value behind each identifier is written.
#[expect(clippy::indexing_slicing, reason = "checked when it is compiled")]
const WIRE_TYPES: [Option<WireType>; 64] = {
    let mut types = [None; 64];
    let mut all = PropertyId::ALL;
    while let [id, rest @ ..] = all {
        types[*id as usize] = Some(id.wire_type());
        all = rest;
    }
    types
};

/// For each packet: what it may carry, and what more than once.
#[expect(clippy::indexing_slicing, reason = "checked when it is compiled")]
const MASKS: [(u64, u64); PropertyContext::ALL.len()] = {
    let mut masks = [(0, 0); PropertyContext::ALL.len()];
    let mut contexts = PropertyContext::ALL;
    while let [context, others @ ..] = contexts {
        let mut all = PropertyId::ALL;
        while let [id, rest @ ..] = all {
            let mask = &mut masks[*context as usize];
            if id.allowed_in(*context) {
                mask.0 |= bit(*id);
            }
            if id.repeatable_in(*context) {
                mask.1 |= bit(*id);
            }
            all = rest;
        }
        contexts = others;
    }
    masks
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Properties, Property};

    /// A property of each kind.
    fn sample(id: PropertyId) -> Property<'static> {
        let bytes: &[u8] = match id.wire_type() {
            WireType::Byte | WireType::VarInt => &[1],
            WireType::TwoByte => &[0, 1],
            WireType::FourByte => &[0, 0, 0, 1],
            WireType::Utf8 | WireType::Binary => &[0, 1, b'x'],
            WireType::Utf8Pair => &[0, 1, b'x', 0, 0],
        };
        Property::read(id, &mut Reader::new(bytes)).unwrap()
    }

    fn list(ids: &[PropertyId]) -> Properties {
        let mut bytes = Vec::new();
        ids.iter().for_each(|id| sample(*id).write(&mut bytes));
        Properties::unchecked(bytes)
    }

    #[test]
    fn one_walk_finds_every_kind_and_each_packet_takes_what_its_table_says() {
        for (n, id) in PropertyId::ALL.iter().copied().enumerate() {
            let other = PropertyId::ALL[(n + 1) % PropertyId::ALL.len()];
            let kinds = list(&[other, id]).as_ref().kinds();
            for any in PropertyId::ALL.iter().copied() {
                assert_eq!(kinds.has(any), any == id || any == other, "{any}");
            }
            for context in PropertyContext::ALL.iter().copied() {
                let once = list(&[id]).as_ref().kinds();
                let twice = list(&[id, id]).as_ref().kinds();
                assert_eq!(once.fit(context), id.allowed_in(context), "{id} in {context}");
                let repeatable = id.allowed_in(context) && id.repeatable_in(context);
                assert_eq!(twice.fit(context), repeatable, "{id} twice in {context}");
            }
        }
        assert_eq!(PropertiesRef::EMPTY.kinds(), Kinds::NONE);
    }
}

//! Values by packet id: an id's low bits are its slot, so that finding one is one array access.
//!
//! Ids in use lie close together, so that a small table serves them; when two want the same slot, it doubles, up to one slot for
//! each id.

use crate::PacketId;

const FIRST_SIZE: usize = 16;
const LARGEST_SIZE: usize = 65_536;

#[derive(Debug)]
pub(crate) struct IdTable<T> {
    slots: Vec<Option<(PacketId, T)>>,
    len: usize,
}

impl<T> Default for IdTable<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> IdTable<T> {
    /// Empty, without an allocation.
    pub(crate) const fn new() -> Self {
        Self { slots: Vec::new(), len: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many slots there are.
    pub(crate) fn size(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn get(&self, id: PacketId) -> Option<&T> {
        match self.slots.get(self.index(id)) {
            Some(Some((found, value))) if *found == id => Some(value),
            _ => None,
        }
    }

    pub(crate) fn get_mut(&mut self, id: PacketId) -> Option<&mut T> {
        let index = self.index(id);
        match self.slots.get_mut(index) {
            Some(Some((found, value))) if *found == id => Some(value),
            _ => None,
        }
    }

    /// Puts the value into its slot, or gives it back when another id is there.
    pub(crate) fn try_insert(&mut self, id: PacketId, value: T) -> Result<(), T> {
        let index = self.index(id);
        match self.slots.get_mut(index) {
            Some(slot @ None) => {
                *slot = Some((id, value));
                self.len += 1;
                Ok(())
            }
            _ => Err(value),
        }
    }

    /// Puts the value of an id that is not in the table, which grows as it must.
    pub(crate) fn insert(&mut self, id: PacketId, mut value: T) {
        while let Err(back) = self.try_insert(id, value) {
            if self.slots.len() >= LARGEST_SIZE {
                return;
            }
            value = back;
            self.grow();
        }
    }

    pub(crate) fn remove(&mut self, id: PacketId) -> Option<T> {
        let index = self.index(id);
        let slot = self.slots.get_mut(index)?;
        if slot.as_ref().is_none_or(|(found, _)| *found != id) {
            return None;
        }
        self.len -= 1;
        slot.take().map(|(_, value)| value)
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &T> {
        self.slots.iter().flatten().map(|(_, value)| value)
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.slots.iter_mut().flatten().map(|(_, value)| value)
    }

    /// Removes everything and gives the memory back.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Doubles the table; two ids that had different slots have different slots again.
    pub(crate) fn grow(&mut self) {
        let size = (self.slots.len() * 2).clamp(FIRST_SIZE, LARGEST_SIZE);
        let mut slots = Vec::new();
        slots.resize_with(size, || None);
        let old = std::mem::replace(&mut self.slots, slots);
        for slot in old.into_iter().flatten() {
            let index = self.index(slot.0);
            if let Some(place) = self.slots.get_mut(index) {
                *place = Some(slot);
            }
        }
    }

    fn index(&self, id: PacketId) -> usize {
        usize::from(id.get()) & self.slots.len().wrapping_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(value: u16) -> PacketId {
        PacketId::new(value).unwrap()
    }

    #[test]
    fn ids_with_the_same_low_bits_live_side_by_side() {
        let mut table = IdTable::default();
        for value in [1, 17, 33, 65_535, 31, 16_401] {
            table.insert(id(value), value);
        }
        for value in [1, 17, 33, 65_535, 31, 16_401] {
            assert_eq!(table.get(id(value)), Some(&value));
        }
        assert_eq!((table.len(), table.get(id(2))), (6, None));
        assert_eq!(table.remove(id(17)), Some(17));
        assert_eq!(table.remove(id(17)), None);
        assert_eq!(table.len(), 5);
    }

    #[test]
    fn every_id_has_a_place() {
        let mut table = IdTable::default();
        for value in 1..=u16::MAX {
            table.insert(id(value), value);
        }
        assert_eq!(table.len(), 65_535);
        assert!((1..=u16::MAX).all(|value| table.get(id(value)) == Some(&value)));
        table.clear();
        assert_eq!(table.size(), 0);
    }
}

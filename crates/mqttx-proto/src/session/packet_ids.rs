//! One allocator of packet ids for publish, subscribe and unsubscribe.
//!
//! An id's low bits are its slot, so that finding the owner of an acknowledgement is one array access. Ids are handed out in
//! rising order; one that is in use is passed over `[MQTT-2.2.1-3]`. When a slot is taken by an older id with the same low bits,
//! the table doubles up to [`GROW_FREELY`] slots, then the id is passed over unless the table is full.

use crate::PacketId;

/// Who uses a packet id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// The outbox entry with that sequence number.
    Publish(u64),
    /// The SUBSCRIBE or UNSUBSCRIBE with that number.
    Operation(u64),
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    id: PacketId,
    owner: Owner,
}

/// Up to this size a collision makes the table grow; above, only a full table does.
const GROW_FREELY: usize = 4096;
const FIRST_SIZE: usize = 16;
/// More ids than this cannot be in use at once.
pub(crate) const MAX_IN_USE: usize = 65_535;

#[derive(Debug, Default)]
pub(crate) struct PacketIds {
    slots: Vec<Option<Slot>>,
    in_use: usize,
    last: u16,
}

impl PacketIds {
    /// The next free id, owned by `owner` from now on; `None` when all 65 535 are in use.
    pub(crate) fn allocate(&mut self, owner: Owner) -> Option<PacketId> {
        if self.in_use >= MAX_IN_USE {
            return None;
        }
        if self.in_use >= self.slots.len() {
            self.grow();
        }
        loop {
            let id = self.following();
            if self.claim(id, owner) {
                return Some(id);
            }
            let busy = self.owner(id).is_some();
            if !busy && self.slots.len() < GROW_FREELY {
                self.grow();
                if self.claim(id, owner) {
                    return Some(id);
                }
            }
        }
    }

    /// Gives an id that a store remembered to its owner again. `false`: it is in use already.
    pub(crate) fn restore(&mut self, id: PacketId, owner: Owner) -> bool {
        if self.owner(id).is_some() {
            return false;
        }
        while !self.claim(id, owner) {
            self.grow();
        }
        self.last = id.get();
        true
    }

    pub(crate) fn owner(&self, id: PacketId) -> Option<Owner> {
        match self.slots.get(self.index(id)) {
            Some(Some(slot)) if slot.id == id => Some(slot.owner),
            _ => None,
        }
    }

    pub(crate) fn free(&mut self, id: PacketId) {
        let index = self.index(id);
        if let Some(slot) = self.slots.get_mut(index)
            && slot.is_some_and(|s| s.id == id)
        {
            *slot = None;
            self.in_use -= 1;
        }
    }

    #[cfg(test)]
    fn in_use(&self) -> usize {
        self.in_use
    }

    /// Gives the table's memory back when no id is in use.
    pub(crate) fn shrink(&mut self) {
        if self.in_use == 0 {
            self.slots = Vec::new();
        }
    }

    fn following(&mut self) -> PacketId {
        loop {
            self.last = self.last.wrapping_add(1);
            if let Some(id) = PacketId::new(self.last) {
                return id;
            }
        }
    }

    fn index(&self, id: PacketId) -> usize {
        usize::from(id.get()) & self.slots.len().wrapping_sub(1)
    }

    fn claim(&mut self, id: PacketId, owner: Owner) -> bool {
        let index = self.index(id);
        match self.slots.get_mut(index) {
            Some(slot @ None) => {
                *slot = Some(Slot { id, owner });
                self.in_use += 1;
                true
            }
            _ => false,
        }
    }

    /// Doubles the table; two ids that had different slots have different slots again.
    fn grow(&mut self) {
        let size = (self.slots.len() * 2).clamp(FIRST_SIZE, MAX_IN_USE + 1);
        let old = std::mem::replace(&mut self.slots, vec![None; size]);
        for slot in old.into_iter().flatten() {
            let index = self.index(slot.id);
            if let Some(place) = self.slots.get_mut(index) {
                *place = Some(slot);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(ids: &mut PacketIds) -> u16 {
        ids.allocate(Owner::Publish(0)).map_or(0, PacketId::get)
    }

    #[test]
    fn ids_rise_wrap_and_never_are_zero() {
        let mut ids = PacketIds::default();
        for expected in (1..=65_535).chain(1..=10) {
            let id = next(&mut ids);
            assert_eq!(id, expected);
            ids.free(PacketId::new(id).unwrap());
        }
        assert!(ids.slots.len() <= FIRST_SIZE);
    }

    #[test]
    fn a_live_id_is_passed_over() {
        let mut ids = PacketIds::default();
        let straggler = ids.allocate(Owner::Operation(7)).unwrap();
        for _ in 0..200_000 {
            let id = ids.allocate(Owner::Publish(1)).unwrap();
            assert_ne!(id, straggler);
            ids.free(id);
        }
        assert_eq!(ids.owner(straggler), Some(Owner::Operation(7)));
        assert_eq!(ids.in_use(), 1);
        assert!(ids.slots.len() <= GROW_FREELY);
    }

    #[test]
    fn ids_stay_contiguous_while_the_first_one_lives() {
        let mut ids = PacketIds::default();
        assert_eq!(next(&mut ids), 1);
        for expected in 2..=4000 {
            let id = next(&mut ids);
            assert_eq!(id, expected);
            ids.free(PacketId::new(id).unwrap());
        }
    }

    #[test]
    fn all_ids_can_be_in_use_and_then_none_is_left() {
        let mut ids = PacketIds::default();
        let mut seen = std::collections::HashSet::new();
        for _ in 0..MAX_IN_USE {
            assert!(seen.insert(next(&mut ids)));
        }
        assert_eq!(ids.allocate(Owner::Publish(0)), None);
        ids.free(PacketId::new(500).unwrap());
        assert_eq!(next(&mut ids), 500);
    }

    #[test]
    fn restored_ids_are_owned_and_not_given_again() {
        let mut ids = PacketIds::default();
        assert!(ids.restore(PacketId::new(65_535).unwrap(), Owner::Publish(1)));
        assert!(ids.restore(PacketId::new(31).unwrap(), Owner::Publish(2)));
        assert!(ids.restore(PacketId::new(15).unwrap(), Owner::Publish(3)));
        assert!(!ids.restore(PacketId::new(15).unwrap(), Owner::Publish(4)));
        assert_eq!(next(&mut ids), 16);
        assert_eq!(ids.owner(PacketId::new(31).unwrap()), Some(Owner::Publish(2)));
    }
}

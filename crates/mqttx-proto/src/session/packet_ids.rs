//! One allocator of packet ids for publish, subscribe and unsubscribe.
//!
//! Ids are handed out in rising order; one that is in use is passed over `[MQTT-2.2.1-3]`. When a slot of the table is taken by an
//! older id with the same low bits, the table doubles up to [`GROW_FREELY`] slots; above, the id is passed over unless the table
//! is full.

use crate::PacketId;

use super::id_table::IdTable;

/// Who uses a packet id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// The outbox entry with that sequence number.
    Publish(u64),
    /// The SUBSCRIBE or UNSUBSCRIBE with that number.
    Operation(u64),
}

/// Up to this size a collision makes the table grow; above, only a full table does.
const GROW_FREELY: usize = 4096;
/// More ids than this cannot be in use at once.
pub(crate) const MAX_IN_USE: usize = 65_535;

#[derive(Debug, Default)]
pub(crate) struct PacketIds {
    owners: IdTable<Owner>,
    last: u16,
}

impl PacketIds {
    /// The next free id, owned by `owner` from now on; `None` when all 65 535 are in use.
    #[inline(always)]
    pub(crate) fn allocate(&mut self, owner: Owner) -> Option<PacketId> {
        if self.are_exhausted() {
            return None;
        }
        if self.owners.len() < self.owners.size() {
            let id = self.following();
            if self.owners.try_insert(id, owner).is_ok() {
                return Some(id);
            }
            self.last = self.last.wrapping_sub(1);
        }
        self.allocate_elsewhere(owner)
    }

    /// The table is full, or the next id's slot is taken.
    #[cold]
    fn allocate_elsewhere(&mut self, owner: Owner) -> Option<PacketId> {
        if self.owners.len() >= self.owners.size() {
            self.owners.grow();
        }
        loop {
            let id = self.following();
            if self.owners.try_insert(id, owner).is_ok() {
                return Some(id);
            }
            if self.owners.get(id).is_none() && self.owners.size() < GROW_FREELY {
                self.owners.grow();
                if self.owners.try_insert(id, owner).is_ok() {
                    return Some(id);
                }
            }
        }
    }

    /// Whether all 65 535 are in use.
    pub(crate) fn are_exhausted(&self) -> bool {
        self.owners.len() >= MAX_IN_USE
    }

    /// Gives an id that a store remembered to its owner again. `false`: it is in use already.
    pub(crate) fn restore(&mut self, id: PacketId, owner: Owner) -> bool {
        if self.owner(id).is_some() {
            return false;
        }
        self.owners.insert(id, owner);
        self.last = id.get();
        true
    }

    pub(crate) fn owner(&self, id: PacketId) -> Option<Owner> {
        self.owners.get(id).copied()
    }

    pub(crate) fn free(&mut self, id: PacketId) {
        self.owners.remove(id);
    }

    /// Gives the table's memory back when no id is in use.
    pub(crate) fn shrink(&mut self) {
        if self.owners.is_empty() {
            self.owners.clear();
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
        assert!(ids.owners.size() <= 16);
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
        assert_eq!(ids.owners.len(), 1);
        assert!(ids.owners.size() <= GROW_FREELY);
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

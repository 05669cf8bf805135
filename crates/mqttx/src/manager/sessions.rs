//! The sessions of a manager, by their names.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::ops::Bound;

use crate::session::Session;

/// Sessions in the order of their names. A session knows its name, so that none is kept here.
#[derive(Default)]
pub(super) struct Sessions(BTreeSet<Named>);

struct Named(Session);

impl Sessions {
    pub(super) fn contains(&self, name: &str) -> bool {
        self.0.contains(name)
    }

    pub(super) fn get(&self, name: &str) -> Option<&Session> {
        self.0.get(name).map(|named| &named.0)
    }

    pub(super) fn insert(&mut self, session: Session) {
        self.0.insert(Named(session));
    }

    pub(super) fn remove(&mut self, name: &str) -> Option<Session> {
        self.0.take(name).map(|named| named.0)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Session> + Clone {
        self.0.iter().map(|named| &named.0)
    }

    /// Those behind a name, in order; without one, all.
    pub(super) fn after(&self, name: Option<&str>) -> impl Iterator<Item = &Session> {
        let from = name.map_or(Bound::Unbounded, Bound::Excluded);
        self.0.range::<str, _>((from, Bound::Unbounded)).map(|named| &named.0)
    }

    pub(super) fn into_vec(self) -> Vec<Session> {
        self.0.into_iter().map(|named| named.0).collect()
    }
}

impl Borrow<str> for Named {
    fn borrow(&self) -> &str {
        self.0.name()
    }
}

impl PartialEq for Named {
    fn eq(&self, other: &Self) -> bool {
        self.0.name() == other.0.name()
    }
}

impl Eq for Named {}

impl PartialOrd for Named {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Named {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.name().cmp(other.0.name())
    }
}

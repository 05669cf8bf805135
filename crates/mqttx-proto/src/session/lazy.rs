//! Parts of a session that many sessions never use.

use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};

/// A value that takes memory from its first change on; before, it reads as blank.
///
/// Thousands of sessions only receive, or only publish, or only wait: what the others need costs them a word each.
#[derive(Debug)]
pub(crate) struct Lazy<T>(Option<Box<T>>);

/// The state of a part that was never used.
pub(crate) trait Blank: 'static {
    const BLANK: Self;
    /// The same, to be read.
    const SHARED: &'static Self;
}

impl<T> Lazy<T> {
    pub(crate) const fn blank() -> Self {
        Self(None)
    }

    pub(crate) fn new(value: T) -> Self {
        Self(Some(Box::new(value)))
    }

    /// The value, if it was ever changed: what happens to the session is of no concern to a blank part.
    pub(crate) fn used(&mut self) -> Option<&mut T> {
        self.0.as_deref_mut()
    }

    /// The value by itself, if it was ever changed.
    pub(crate) fn into_used(self) -> Option<T> {
        self.0.map(|value| *value)
    }
}

impl<T> Default for Lazy<T> {
    fn default() -> Self {
        Self::blank()
    }
}

impl<T: Blank> Deref for Lazy<T> {
    type Target = T;

    fn deref(&self) -> &T {
        match &self.0 {
            Some(value) => value,
            None => T::SHARED,
        }
    }
}

impl<T: Blank> DerefMut for Lazy<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.get_or_insert_with(|| Box::new(T::BLANK))
    }
}

/// A queue of what happens seldom: it takes memory only while something is in it.
#[expect(clippy::box_collection, reason = "one word while it is empty")]
#[derive(Debug)]
pub(crate) struct SeldomQueue<T>(Option<Box<VecDeque<T>>>);

impl<T> SeldomQueue<T> {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.as_ref().is_none_or(|queue| queue.is_empty())
    }

    pub(crate) fn push_back(&mut self, value: T) {
        self.0.get_or_insert_default().push_back(value);
    }

    pub(crate) fn pop_front(&mut self) -> Option<T> {
        let value = self.0.as_mut()?.pop_front();
        if value.is_none() {
            self.0 = None;
        }
        value
    }
}

impl<T> Default for SeldomQueue<T> {
    fn default() -> Self {
        Self(None)
    }
}

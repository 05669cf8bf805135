//! Topic filters as a tree of levels: finds all values whose filter matches a topic.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use crate::topic::{split_level, split_shared};

/// Topic filters with a value each; a filter may have several.
///
/// A match visits only the branches that the topic can take: at each level the literal child,
/// the `+` child and the `#` values. So it costs about the same with a hundred thousand filters as
/// with ten, and allocates nothing besides what it appends.
///
/// ```
/// use mqttx_proto::FilterTree;
///
/// let mut tree = FilterTree::new();
/// tree.insert("sensors/+/temperature", 1);
/// tree.insert("sensors/#", 2);
/// tree.insert("alarms", 3);
/// let mut found = Vec::new();
/// tree.matches("sensors/7/temperature", &mut found);
/// assert_eq!(found, [2, 1]);
/// ```
#[derive(Clone, Debug)]
pub struct FilterTree<T> {
    root: Node<T>,
}

#[derive(Clone, Debug)]
struct Node<T> {
    literal: HashMap<Box<str>, Self, BuildHasherDefault<LevelHasher>>,
    plus: Option<Box<Self>>,
    /// Filters that end with `#` below this node.
    rest: Vec<T>,
    /// Filters that end at this node.
    here: Vec<T>,
}

impl<T> Default for FilterTree<T> {
    fn default() -> Self {
        Self { root: Node::default() }
    }
}

impl<T> Default for Node<T> {
    fn default() -> Self {
        Self { literal: HashMap::default(), plus: None, rest: Vec::new(), here: Vec::new() }
    }
}

impl<T> FilterTree<T> {
    /// Levels of the longest filter that may be inserted: the tree is walked recursively.
    pub const MAX_LEVELS: usize = 1024;

    /// Without filters.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a value under a valid filter of at most [`MAX_LEVELS`](Self::MAX_LEVELS). The `$share/{name}/` prefix does not count: the server
    /// sends what matches the rest of it (MQTT 5, section 4.8.2).
    pub fn insert(&mut self, filter: &str, value: T) {
        let mut node = &mut self.root;
        for level in unshared(filter).split('/') {
            match level {
                "#" => return node.rest.push(value),
                "+" => node = node.plus.get_or_insert_default(),
                name => {
                    if !node.literal.contains_key(name) {
                        node.literal.insert(name.into(), Node::default());
                    }
                    let Some(next) = node.literal.get_mut(name) else { return };
                    node = next;
                }
            }
        }
        node.here.push(value);
    }

    /// Takes out the first value under `filter` for which `which` holds.
    pub fn remove(&mut self, filter: &str, which: impl Fn(&T) -> bool) -> Option<T> {
        self.root.remove(unshared(filter), &which)
    }

    /// Calls `visit` with every value.
    pub fn for_each(&self, mut visit: impl FnMut(&T)) {
        self.root.for_each(&mut visit);
    }
}

impl<T: Clone> FilterTree<T> {
    /// Appends the values of all filters that match the topic name. A wildcard at the first
    /// level does not match a topic that starts with `$` `[MQTT-4.7.2-1]`.
    pub fn matches(&self, topic: &str, out: &mut Vec<T>) {
        if topic.starts_with('$') {
            let (first, rest) = split_level(topic);
            if let Some(next) = self.root.literal.get(first) {
                next.collect(rest, out);
            }
        } else {
            self.root.collect(Some(topic), out);
        }
    }
}

impl<T: Clone> Node<T> {
    /// `topic`: the levels below this node; `None` after the last one.
    fn collect(&self, topic: Option<&str>, out: &mut Vec<T>) {
        // `a/#` matches `a` too `[MQTT-4.7.1.2]`.
        out.extend_from_slice(&self.rest);
        let Some(topic) = topic else {
            out.extend_from_slice(&self.here);
            return;
        };
        if self.literal.is_empty() && self.plus.is_none() {
            return;
        }
        let (level, rest) = split_level(topic);
        if let Some(next) = self.literal.get(level) {
            next.collect(rest, out);
        }
        if let Some(next) = &self.plus {
            next.collect(rest, out);
        }
    }
}

impl<T> Node<T> {
    fn remove(&mut self, filter: &str, which: &impl Fn(&T) -> bool) -> Option<T> {
        let (level, rest) = split_level(filter);
        if level == "#" {
            return take(&mut self.rest, which);
        }
        let next = match level {
            "+" => self.plus.as_deref_mut()?,
            name => self.literal.get_mut(name)?,
        };
        let removed = match rest {
            Some(rest) => next.remove(rest, which)?,
            None => take(&mut next.here, which)?,
        };
        if next.is_empty() {
            match level {
                "+" => self.plus = None,
                name => drop(self.literal.remove(name)),
            }
        }
        Some(removed)
    }

    fn is_empty(&self) -> bool {
        self.literal.is_empty()
            && self.plus.is_none()
            && self.rest.is_empty()
            && self.here.is_empty()
    }

    fn for_each(&self, visit: &mut impl FnMut(&T)) {
        self.rest.iter().chain(&self.here).for_each(&mut *visit);
        for child in self.literal.values().chain(self.plus.as_deref()) {
            child.for_each(visit);
        }
    }
}

fn take<T>(values: &mut Vec<T>, which: &impl Fn(&T) -> bool) -> Option<T> {
    let at = values.iter().position(which)?;
    Some(values.remove(at))
}

fn unshared(filter: &str) -> &str {
    split_shared(filter).map_or(filter, |shared| shared.filter)
}

/// A multiplicative hash of eight bytes at a time. Only the application inserts levels, so a
/// peer cannot build collisions.
#[derive(Default)]
struct LevelHasher(u64);

impl LevelHasher {
    fn mix(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
    }
}

impl Hasher for LevelHasher {
    fn write(&mut self, bytes: &[u8]) {
        let mut words = bytes.chunks_exact(8);
        for word in &mut words {
            self.mix(u64::from_le_bytes(word.try_into().unwrap_or_default()));
        }
        let mut last = [0; 8];
        let rest = words.remainder();
        if let Some(head) = last.get_mut(..rest.len()) {
            head.copy_from_slice(rest);
        }
        self.mix(u64::from_le_bytes(last) ^ ((bytes.len() as u64) << 56));
    }

    fn write_u8(&mut self, byte: u8) {
        self.mix(u64::from(byte));
    }

    fn finish(&self) -> u64 {
        // The table takes its tag from the top and its index from the bottom bits.
        self.0 ^ (self.0 >> 32)
    }
}

#[cfg(test)]
#[path = "filter_tree_tests.rs"]
mod tests;

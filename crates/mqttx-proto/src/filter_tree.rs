//! Topic filters as a tree of levels: finds all values whose filter matches a topic.

mod levels;

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use crate::topic::{split_level, split_shared};
use levels::Levels;

pub use levels::Likeness;

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
    /// The first is the root; there is none without filters. Nodes that are in `free` are empty.
    nodes: Vec<Node<T>>,
    free: Vec<u32>,
    /// The children under a name, of all nodes in one table: a step down is one look into it, and compares numbers.
    children: HashMap<Edge, u32, BuildHasherDefault<NumberHasher>>,
    names: Names,
}

#[derive(Clone, Debug)]
struct Node<T> {
    /// The child under `+`, or [`NONE`].
    plus: u32,
    /// Children under a name.
    named: u32,
    /// Filters that end with `#` below this node.
    rest: Values<T>,
    /// Filters that end at this node.
    here: Values<T>,
}

/// Nearly always one, which needs no memory of its own then.
#[derive(Clone, Debug)]
enum Values<T> {
    None,
    One(T),
    Several(Vec<T>),
}

/// A node and the number of a name.
type Edge = (u32, u32);

const ROOT: u32 = 0;
/// No node: the root is nobody's child.
const NONE: u32 = ROOT;

impl<T> Default for FilterTree<T> {
    fn default() -> Self {
        Self {
            nodes: Vec::new(),
            free: Vec::new(),
            children: HashMap::default(),
            names: Names::default(),
        }
    }
}

impl<T> Default for Node<T> {
    fn default() -> Self {
        Self { plus: NONE, named: 0, rest: Values::None, here: Values::None }
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

    /// Whether there is no filter.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Adds a value under a valid filter of at most [`MAX_LEVELS`](Self::MAX_LEVELS). The `$share/{name}/` prefix does not count:
    /// the server sends what matches the rest of it (MQTT 5, section 4.8.2).
    pub fn insert(&mut self, filter: &str, value: T) {
        if self.nodes.is_empty() {
            self.nodes.push(Node::default());
        }
        let mut at = ROOT;
        for level in unshared(filter).split('/') {
            at = match level {
                "#" => {
                    if let Some(node) = self.node_mut(at) {
                        node.rest.push(value);
                    }
                    return;
                }
                "+" => self.plus_of(at),
                name => self.child_of(at, name),
            };
        }
        if let Some(node) = self.node_mut(at) {
            node.here.push(value);
        }
    }

    /// Takes out the first value under `filter` for which `which` holds.
    pub fn remove(&mut self, filter: &str, which: impl Fn(&T) -> bool) -> Option<T> {
        let removed = self.remove_below(ROOT, unshared(filter), &which);
        if self.node(ROOT).is_some_and(Node::is_empty) {
            *self = Self::default();
        }
        removed
    }

    /// Calls `visit` with every value, in no particular order.
    pub fn for_each(&self, mut visit: impl FnMut(&T)) {
        self.nodes
            .iter()
            .flat_map(|node| node.rest.as_slice().iter().chain(node.here.as_slice()))
            .for_each(&mut visit);
    }
}

impl<T: Clone> FilterTree<T> {
    /// Appends the values of all filters that match the topic name. A wildcard at the first
    /// level does not match a topic that starts with `$` `[MQTT-4.7.2-1]`. Returns which topics match the same filters for sure.
    pub fn matches(&self, topic: &str, out: &mut Vec<T>) -> Likeness {
        let Some(root) = self.node(ROOT) else { return Likeness::whole(topic) };
        let mut levels = Levels::of(topic);
        if topic.starts_with('$') {
            let level = levels.at(0, Some(0), Some(&self.names));
            if let Some(next) = level.and_then(|level| self.child(ROOT, level.number)) {
                self.collect(next, 1, level.and_then(|level| level.next()), &mut levels, out);
            }
        } else {
            root.rest.append_to(out);
            self.descend((ROOT, root), 0, Some(0), &mut levels, out);
        }
        levels.likeness()
    }

    /// The node is so deep; `from`: where the level below it begins, `None` after the last one.
    fn collect(
        &self,
        at: u32,
        depth: usize,
        from: Option<usize>,
        levels: &mut Levels<'_>,
        out: &mut Vec<T>,
    ) {
        let Some(node) = self.node(at) else { return };
        // `a/#` matches `a` too `[MQTT-4.7.1.2]`.
        node.rest.append_to(out);
        if from.is_none() {
            node.here.append_to(out);
        } else {
            self.descend((at, node), depth, from, levels, out);
        }
    }

    fn descend(
        &self,
        (at, node): (u32, &Node<T>),
        depth: usize,
        from: Option<usize>,
        levels: &mut Levels<'_>,
        out: &mut Vec<T>,
    ) {
        // What nobody looks at is not a part of the likeness.
        if node.named == 0 && node.plus == NONE {
            return;
        }
        let names = (node.named > 0).then_some(&self.names);
        let Some(level) = levels.at(depth, from, names) else { return };
        if names.is_some()
            && let Some(next) = self.child(at, level.number)
        {
            self.collect(next, depth + 1, level.next(), levels, out);
        }
        if node.plus != NONE {
            self.collect(node.plus, depth + 1, level.next(), levels, out);
        }
    }
}

impl<T> FilterTree<T> {
    fn node(&self, at: u32) -> Option<&Node<T>> {
        self.nodes.get(at as usize)
    }

    fn node_mut(&mut self, at: u32) -> Option<&mut Node<T>> {
        self.nodes.get_mut(at as usize)
    }

    fn child(&self, at: u32, name: Option<u32>) -> Option<u32> {
        self.children.get(&(at, name?)).copied()
    }

    fn plus_of(&mut self, at: u32) -> u32 {
        match self.node(at).map(|node| node.plus) {
            Some(NONE) | None => {
                let new = self.new_node();
                if let Some(node) = self.node_mut(at) {
                    node.plus = new;
                }
                new
            }
            Some(plus) => plus,
        }
    }

    fn child_of(&mut self, at: u32, name: &str) -> u32 {
        if let Some(child) = self.child(at, self.names.number(name)) {
            return child;
        }
        let (new, name) = (self.new_node(), self.names.take(name));
        self.children.insert((at, name), new);
        if let Some(node) = self.node_mut(at) {
            node.named += 1;
        }
        new
    }

    fn new_node(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            self.nodes.push(Node::default());
            (self.nodes.len() - 1) as u32
        })
    }

    fn remove_below(&mut self, at: u32, filter: &str, which: &impl Fn(&T) -> bool) -> Option<T> {
        let (level, rest) = split_level(filter);
        let next = match level {
            "#" => return self.node_mut(at)?.rest.take(which),
            "+" => Some(self.node(at)?.plus).filter(|plus| *plus != NONE)?,
            name => self.child(at, self.names.number(name))?,
        };
        let removed = match rest {
            Some(rest) => self.remove_below(next, rest, which)?,
            None => self.node_mut(next)?.here.take(which)?,
        };
        if self.node(next)?.is_empty() {
            self.cut(at, level, next);
        }
        Some(removed)
    }

    /// Nothing is left below this child.
    fn cut(&mut self, at: u32, level: &str, child: u32) {
        if level != "+"
            && let Some(number) = self.names.give_back(level)
        {
            self.children.remove(&(at, number));
        }
        if let Some(node) = self.node_mut(at) {
            match level {
                "+" => node.plus = NONE,
                _ => node.named -= 1,
            }
        }
        if let Some(node) = self.node_mut(child) {
            *node = Node::default();
        }
        self.free.push(child);
    }
}

impl<T> Node<T> {
    fn is_empty(&self) -> bool {
        self.named == 0 && self.plus == NONE && self.rest.is_empty() && self.here.is_empty()
    }
}

impl<T> Values<T> {
    fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }

    fn as_slice(&self) -> &[T] {
        match self {
            Self::None => &[],
            Self::One(value) => std::slice::from_ref(value),
            Self::Several(values) => values,
        }
    }

    fn push(&mut self, value: T) {
        *self = match std::mem::replace(self, Self::None) {
            Self::None => Self::One(value),
            Self::One(first) => Self::Several(vec![first, value]),
            Self::Several(mut values) => {
                values.push(value);
                Self::Several(values)
            }
        };
    }

    fn take(&mut self, which: &impl Fn(&T) -> bool) -> Option<T> {
        match self {
            Self::Several(values) => {
                let at = values.iter().position(which)?;
                Some(values.remove(at))
            }
            Self::One(value) if which(value) => match std::mem::replace(self, Self::None) {
                Self::One(value) => Some(value),
                _ => None,
            },
            Self::One(_) | Self::None => None,
        }
    }
}

impl<T: Clone> Values<T> {
    #[inline]
    fn append_to(&self, out: &mut Vec<T>) {
        match self {
            Self::None => {}
            Self::One(value) => out.push(value.clone()),
            Self::Several(values) => out.extend_from_slice(values),
        }
    }
}

/// The names of levels, each once, with a number.
#[derive(Clone, Debug, Default)]
struct Names {
    numbers: HashMap<Box<str>, Name, BuildHasherDefault<NameHasher>>,
    /// Numbers that nobody has, below the largest in use.
    free: Vec<u32>,
}

#[derive(Clone, Debug)]
struct Name {
    number: u32,
    /// Children under that name.
    uses: u32,
}

impl Names {
    fn number(&self, name: &str) -> Option<u32> {
        self.numbers.get(name).map(|name| name.number)
    }

    /// The number for one more child.
    fn take(&mut self, name: &str) -> u32 {
        if let Some(known) = self.numbers.get_mut(name) {
            known.uses += 1;
            return known.number;
        }
        let number = self.free.pop().unwrap_or(self.numbers.len() as u32);
        self.numbers.insert(name.into(), Name { number, uses: 1 });
        number
    }

    /// One child less; the number that it had.
    fn give_back(&mut self, name: &str) -> Option<u32> {
        let known = self.numbers.get_mut(name)?;
        known.uses -= 1;
        let Name { number, uses } = *known;
        if uses == 0 {
            self.numbers.remove(name);
            self.free.push(number);
        }
        Some(number)
    }
}

fn unshared(filter: &str) -> &str {
    split_shared(filter).map_or(filter, |shared| shared.filter)
}

/// A multiplicative hash of eight bytes at a time. Only the application inserts names, so a
/// peer cannot build collisions.
#[derive(Default)]
struct NameHasher(u64);

impl NameHasher {
    fn mix(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
    }
}

impl Hasher for NameHasher {
    fn write(&mut self, bytes: &[u8]) {
        let (words, _) = bytes.as_chunks();
        words.iter().for_each(|word| self.mix(u64::from_le_bytes(*word)));
        // Bytes of the rest may count twice: that costs less than copying them apart.
        let last = if let Some(last) = bytes.last_chunk() {
            u64::from_le_bytes(*last)
        } else if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
            u64::from(u32::from_le_bytes(*first)) << 32 | u64::from(u32::from_le_bytes(*last))
        } else {
            bytes.iter().fold(0, |all, byte| all << 8 | u64::from(*byte))
        };
        self.mix(last ^ ((bytes.len() as u64) << 56));
    }

    fn write_u8(&mut self, byte: u8) {
        self.mix(u64::from(byte));
    }

    fn finish(&self) -> u64 {
        // The table takes its tag from the top and its index from the bottom bits.
        self.0 ^ (self.0 >> 32)
    }
}

/// The same for an edge: one multiplication.
#[derive(Default)]
struct NumberHasher(u64);

impl Hasher for NumberHasher {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u32(u32::from(*byte)));
    }

    fn write_u32(&mut self, number: u32) {
        self.0 = self.0 << 32 | u64::from(number);
    }

    fn finish(&self) -> u64 {
        let product = self.0.wrapping_mul(0x517c_c1b7_2722_0a95);
        // The table takes its tag from the top and its index from the bottom bits.
        product ^ (product >> 32)
    }
}

#[cfg(test)]
#[path = "filter_tree_tests.rs"]
mod tests;

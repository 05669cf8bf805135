//! The levels of a topic at which a match looks, and the topics that are alike there.

use super::{Names, unshared};
use crate::scan::strip_prefix;
use crate::topic::split_level;

/// Levels of a topic that are kept; deeper ones are looked at again by each branch.
const KEPT: usize = 8;

/// The levels of a topic, as far as a branch came: others come by the same ones.
pub(super) struct Levels<'t> {
    topic: &'t str,
    known: [Option<Level>; KEPT],
    /// How many were looked at.
    depth: usize,
    /// Those whose name counted: a bit for each.
    named: u8,
}

#[derive(Clone, Copy)]
pub(super) struct Level {
    /// The number of its name, if that counted and a filter has it.
    pub(super) number: Option<u32>,
    /// Where the next one begins, unless this is the last.
    next: Option<u32>,
}

impl Level {
    /// Where the next one begins, unless this is the last.
    #[inline]
    pub(super) fn next(&self) -> Option<usize> {
        self.next.map(|next| next as usize)
    }
}

impl<'t> Levels<'t> {
    pub(super) fn of(topic: &'t str) -> Self {
        Self { topic, known: [None; KEPT], depth: 0, named: 0 }
    }

    /// The level at this depth, which begins there; with `names` its name counts.
    #[inline]
    pub(super) fn at(
        &mut self,
        depth: usize,
        from: Option<usize>,
        names: Option<&Names>,
    ) -> Option<Level> {
        if let Some(Some(known)) = self.known.get(depth)
            && (names.is_none() || self.named >> depth & 1 == 1)
        {
            return Some(*known);
        }
        let from = from?;
        let (name, rest) = split_level(self.topic.get(from..)?);
        let next = rest.map(|_| (from + name.len() + 1) as u32);
        let number = names.and_then(|names| names.number(name));
        let level = Level { number, next };
        if let Some(place) = self.known.get_mut(depth) {
            *place = Some(level);
            self.named |= u8::from(names.is_some()) << depth;
        }
        self.depth = self.depth.max(depth + 1);
        Some(level)
    }

    pub(super) fn likeness(&self) -> Likeness {
        if self.depth > KEPT {
            return Likeness::whole(self.topic);
        }
        let run = (self.named.trailing_ones() as usize).min(self.depth);
        let next = |depth: usize| self.known.get(depth.wrapping_sub(1)).copied().flatten()?.next;
        let prefix = if run == 0 { 0 } else { next(run).unwrap_or(self.topic.len() as u32) };
        let (depth, goes_on) = (self.depth as u8, next(self.depth).is_some());
        Likeness { prefix, run: run as u8, depth, named: self.named, goes_on }
    }
}

/// What a match looked at of its topic. Topics that are alike there match the same filters, as long as these are the same.
///
/// ```
/// use mqttx_proto::FilterTree;
///
/// let mut tree = FilterTree::new();
/// tree.insert("plant/+/temperature", ());
/// let alike = tree.matches("plant/7/temperature", &mut Vec::new());
/// assert!(alike.covers("plant/7/temperature", "plant/12/temperature"));
/// assert!(!alike.covers("plant/7/temperature", "plant/7/pressure"));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Likeness {
    /// Bytes of the topic up to the first level whose name does not count; with the slash before that.
    prefix: u32,
    /// The levels in it.
    run: u8,
    /// How many levels were looked at.
    depth: u8,
    /// Those whose name counts: a bit for each.
    named: u8,
    /// There is a level behind those.
    goes_on: bool,
}

impl Likeness {
    /// Every byte counts.
    #[must_use]
    pub fn whole(topic: &str) -> Self {
        let (prefix, all) = (topic.len() as u32, KEPT as u8);
        Self { prefix, run: all, depth: all, named: u8::MAX, goes_on: false }
    }

    /// What decides whether that filter matches the topic, which it does.
    #[must_use]
    pub fn through(filter: &str, topic: &str) -> Self {
        let (mut levels, mut from) = (Levels::of(topic), Some(0));
        for (depth, wanted) in unshared(filter).split('/').enumerate() {
            if wanted == "#" {
                break;
            }
            let Some(level) = levels.at(depth, from, None) else { break };
            if wanted != "+" && depth < KEPT {
                levels.named |= 1 << depth;
            }
            from = level.next();
        }
        levels.likeness()
    }

    /// Whether the other topic is like the `topic` of the match.
    #[must_use]
    #[inline]
    pub fn covers(&self, topic: &str, other: &str) -> bool {
        let prefix = topic.as_bytes().get(..self.prefix as usize);
        let Some(rest) = prefix.and_then(|prefix| strip_prefix(other.as_bytes(), prefix)) else {
            return false;
        };
        // A wildcard at the first level does not match these `[MQTT-4.7.2-1]`.
        if self.run == 0 && other.starts_with('$') {
            return false;
        }
        if self.run == self.depth {
            return self.goes_on || self.run == 0 || rest.is_empty();
        }
        self.covers_rest(topic, other)
    }

    /// The same from the first level on whose name does not count.
    fn covers_rest(&self, topic: &str, other: &str) -> bool {
        let prefix = self.prefix as usize;
        let (mut mine, mut other) = (topic.get(prefix..), other.get(prefix..));
        let mut named = self.named.checked_shr(self.run.into()).unwrap_or(0);
        for _ in self.run..self.depth {
            let Some(text) = other else { return false };
            let (name, rest) = split_level(text);
            other = rest;
            // The topic itself only matters as long as there are names to compare.
            if named > 0 {
                let (own, rest) = split_level(mine.unwrap_or_default());
                if named & 1 == 1 && own != name {
                    return false;
                }
                (mine, named) = (rest, named >> 1);
            }
        }
        other.is_some() == self.goes_on
    }
}

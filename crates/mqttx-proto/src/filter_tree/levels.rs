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
    from: u32,
    end: u32,
    /// Once somebody asked: the number of its name, if a filter has it.
    number: Option<Option<u32>>,
    /// It is not the last one.
    goes_on: bool,
}

impl Level {
    /// Where the next one begins, unless this is the last.
    #[inline]
    pub(super) fn next(&self) -> Option<usize> {
        self.goes_on.then_some(self.end as usize + 1)
    }
}

impl<'t> Levels<'t> {
    pub(super) fn of(topic: &'t str) -> Self {
        Self { topic, known: [None; KEPT], depth: 0, named: 0 }
    }

    /// The level at this depth, which begins there.
    #[inline]
    pub(super) fn at(&mut self, depth: usize, from: Option<usize>) -> Option<Level> {
        if let Some(Some(known)) = self.known.get(depth) {
            return Some(*known);
        }
        let from = from?;
        let (name, rest) = split_level(self.topic.get(from..)?);
        let end = (from + name.len()) as u32;
        let level = Level { from: from as u32, end, number: None, goes_on: rest.is_some() };
        if let Some(place) = self.known.get_mut(depth) {
            *place = Some(level);
        }
        self.depth = self.depth.max(depth + 1);
        Some(level)
    }

    /// The number of the name of that level, at this depth.
    #[inline]
    pub(super) fn number(&mut self, depth: usize, level: &Level, names: &Names) -> Option<u32> {
        if let Some(number) = level.number {
            return number;
        }
        self.count_name(depth);
        let name = self.topic.get(level.from as usize..level.end as usize)?;
        let number = names.number(name);
        if let Some(Some(known)) = self.known.get_mut(depth) {
            known.number = Some(number);
        }
        number
    }

    fn count_name(&mut self, depth: usize) {
        self.named |= 1_u8.checked_shl(depth as u32).unwrap_or(0);
    }

    pub(super) fn likeness(&self) -> Likeness {
        if self.depth > KEPT {
            return Likeness::whole(self.topic);
        }
        let run = (self.named.trailing_ones() as usize).min(self.depth);
        let level = |depth: usize| self.known.get(depth.wrapping_sub(1)).copied().flatten();
        Likeness {
            prefix: level(run).map_or(0, |level| level.end + u32::from(level.goes_on)),
            run: run as u8,
            depth: self.depth as u8,
            named: self.named,
            goes_on: level(self.depth).is_some_and(|level| level.goes_on),
        }
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
            let Some(level) = levels.at(depth, from) else { break };
            if wanted != "+" {
                levels.count_name(depth);
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

//! The static check for loops: can what a forwarder publishes come back to it?
//!
//! Topics are compared as patterns: the levels that a template fixes, "any level" for a capture, "any number
//! of levels" for what a `#` brought. A capture whose level the source's filter fixes is that level.

use std::collections::VecDeque;
use std::fmt;

use mqttx_proto::Version;

use super::endpoint::TargetRule;
use super::rule::ForwarderOptions;
use super::template::{BoundPart, BoundTemplate, without_share};

/// A circle of forwarders in which messages would run for ever.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ForwarderCycle {
    /// Each forwarder of the circle with the session it publishes to and the next one receives from.
    pub steps: Vec<(String, String)>,
}

impl fmt::Display for ForwarderCycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("forwarders feed each other in a circle: ")?;
        for (forwarder, session) in &self.steps {
            write!(f, "{forwarder} -> [{session}] -> ")?;
        }
        f.write_str(self.steps.first().map_or("", |(forwarder, _)| forwarder))
    }
}

impl std::error::Error for ForwarderCycle {}

/// The circles of two and more forwarders that go through a session without no-local: one for which
/// `version` does not say MQTT 5. Circles over MQTT 5 sessions end at their no-local subscriptions.
/// Forwarders that are not [enabled](ForwarderOptions::is_enabled) do not count.
pub fn find_cycles(
    forwarders: &[&ForwarderOptions],
    version: impl Fn(&str) -> Option<Version>,
) -> Vec<ForwarderCycle> {
    let edges = edges(forwarders);
    let mut found: Vec<(Vec<usize>, ForwarderCycle)> = Vec::new();
    for first in edges.iter().filter(|e| e.from != e.to && version(e.session) != Some(Version::V5))
    {
        let Some(path) = shortest(&edges, first.to, first.from, forwarders.len()) else { continue };
        let steps: Vec<&Edge<'_>> = std::iter::once(first).chain(path).collect();
        let mut members: Vec<usize> = steps.iter().map(|edge| edge.from).collect();
        members.sort_unstable();
        if found.iter().any(|(known, _)| *known == members) {
            continue;
        }
        let steps = steps.iter().filter_map(|edge| {
            Some((forwarders.get(edge.from)?.name().to_owned(), edge.session.to_owned()))
        });
        found.push((members, ForwarderCycle { steps: steps.collect() }));
    }
    found.into_iter().map(|(_, cycle)| cycle).collect()
}

/// The targets, the dead letters behind them, whose output a source of the same forwarder would receive again, with
/// the reason.
pub(super) fn own_echoes(options: &ForwarderOptions) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (n, target) in options.targets.iter().chain(&options.rules.dead_letter).enumerate() {
        let echo = options
            .sources
            .iter()
            .filter(|source| target.sessions().any(|session| *session == source.session))
            .flat_map(|source| &source.topics)
            .find(|filter| outputs(options, target).any(|output| output.meets(filter)));
        if let Some(filter) = echo {
            let message = format!(
                "what is published here can match the forwarder's own filter '{filter}' on the same session"
            );
            found.push((n, message));
        }
    }
    found
}

struct Edge<'a> {
    from: usize,
    to: usize,
    session: &'a str,
}

fn edges<'a>(forwarders: &[&'a ForwarderOptions]) -> Vec<Edge<'a>> {
    let enabled = || forwarders.iter().enumerate().filter(|(_, options)| options.enabled);
    let mut edges = Vec::new();
    for (from, feeding) in enabled() {
        let targets = feeding.targets.iter().chain(&feeding.rules.dead_letter);
        for (target, session) in targets.flat_map(|t| t.sessions().map(move |name| (t, name))) {
            for (to, fed) in enabled() {
                let filters = fed.sources.iter().filter(|s| s.session == *session);
                if filters
                    .flat_map(|source| &source.topics)
                    .any(|filter| outputs(feeding, target).any(|output| output.meets(filter)))
                {
                    edges.push(Edge { from, to, session });
                }
            }
        }
    }
    edges
}

fn shortest<'a, 'e>(
    edges: &'e [Edge<'a>],
    start: usize,
    goal: usize,
    nodes: usize,
) -> Option<Vec<&'e Edge<'a>>> {
    let mut by: Vec<Option<&Edge<'a>>> = vec![None; nodes];
    let mut queue = VecDeque::from([start]);
    while let Some(node) = queue.pop_front() {
        if node == goal {
            let mut path = Vec::new();
            let mut at = goal;
            while at != start {
                let edge = by.get(at).copied().flatten()?;
                path.push(edge);
                at = edge.from;
            }
            path.reverse();
            return Some(path);
        }
        for edge in edges.iter().filter(|edge| edge.from == node && edge.to != start) {
            if let Some(slot @ None) = by.get_mut(edge.to) {
                *slot = Some(edge);
                queue.push_back(edge.to);
            }
        }
    }
    None
}

/// Everything that a target may publish, as patterns.
fn outputs<'a>(
    options: &'a ForwarderOptions,
    target: &'a TargetRule,
) -> impl Iterator<Item = Output<'a>> {
    options.sources.iter().enumerate().flat_map(move |(s, source)| {
        source.topics.iter().enumerate().flat_map(move |(f, filter)| {
            let filter = without_share(filter);
            let names = Names { forwarder: &options.name, session: &source.session };
            let mapped = target.map.entries().filter_map(move |(from, template)| {
                Some(Output::of(template, &Input::common(from, filter)?, names))
            });
            let all_mapped = target.map.entries().any(|(from, _)| contains(from, filter));
            let fallback = target.fallback.get(s).and_then(|by| by.get(f)).filter(|_| !all_mapped);
            let input = Input::of(filter);
            mapped.chain(fallback.map(move |template| Output::of(template, &input, names)))
        })
    })
}

#[derive(Clone, Copy)]
struct Names<'a> {
    forwarder: &'a str,
    session: &'a str,
}

/// The topics that arrive: known or unknown levels, and whether any number of levels may follow.
struct Input<'a> {
    levels: Vec<Option<&'a str>>,
    open: bool,
}

impl<'a> Input<'a> {
    fn of(filter: &'a str) -> Self {
        let (levels, open) = levels_of(filter);
        let levels = levels.into_iter().map(|level| (level != "+").then_some(level)).collect();
        Self { levels, open }
    }

    /// The topics that both filters match; `None` when there are none.
    fn common(a: &'a str, b: &'a str) -> Option<Self> {
        let (a, b) = (Self::of(a), Self::of(b));
        let count = a.levels.len().max(b.levels.len());
        if (a.levels.len() < count && !a.open) || (b.levels.len() < count && !b.open) {
            return None;
        }
        let mut levels = Vec::with_capacity(count);
        for n in 0..count {
            let (x, y) = (a.levels.get(n).copied().flatten(), b.levels.get(n).copied().flatten());
            match (x, y) {
                (Some(x), Some(y)) if x != y => return None,
                (known, other) => levels.push(known.or(other)),
            }
        }
        Some(Self { levels, open: a.open && b.open })
    }

    fn level(&self, n: usize) -> Piece<'a> {
        match self.levels.get(n) {
            Some(Some(text)) => Piece::Text(text),
            _ => Piece::Anything,
        }
    }
}

/// The topics that leave.
struct Output<'a>(Vec<OutLevel<'a>>);

enum OutLevel<'a> {
    One(Vec<Piece<'a>>),
    Many,
}

#[derive(Clone, Copy)]
enum Piece<'a> {
    Text(&'a str),
    Anything,
}

impl<'a> Output<'a> {
    fn of(template: &'a BoundTemplate, input: &Input<'a>, names: Names<'a>) -> Self {
        let mut out = Self(vec![OutLevel::One(Vec::new())]);
        for part in template.parts() {
            match part {
                BoundPart::Text(text) => out.text(text),
                BoundPart::Forwarder => out.text(names.forwarder),
                BoundPart::Session => out.text(names.session),
                BoundPart::ReceivedUnixMs => out.piece(Piece::Anything),
                BoundPart::Level(n) => out.piece(input.level(usize::from(*n))),
                BoundPart::Topic => out.rest(input, 0, false),
                BoundPart::Rest { level, slash } => out.rest(input, usize::from(*level), *slash),
            }
        }
        out
    }

    fn text(&mut self, text: &'a str) {
        for (n, level) in text.split('/').enumerate() {
            if n > 0 {
                self.0.push(OutLevel::One(Vec::new()));
            }
            if !level.is_empty() {
                self.piece(Piece::Text(level));
            }
        }
    }

    fn piece(&mut self, piece: Piece<'a>) {
        match self.0.last_mut() {
            Some(OutLevel::One(pieces)) => pieces.push(piece),
            // The piece goes on with the last of the many levels, or with the level before them when there are none and
            // the slash is gone: neither beginning is known.
            _ => {
                self.0.truncate(self.0.len().saturating_sub(2));
                self.0.push(OutLevel::Many);
                self.0.push(OutLevel::One(vec![Piece::Anything, piece]));
            }
        }
    }

    fn rest(&mut self, input: &Input<'a>, from: usize, slash: bool) {
        let known = input.levels.len().saturating_sub(from);
        if slash && known == 1 && !input.open {
            // An empty rest takes the slash before it along.
            match input.level(from) {
                Piece::Text("") => return,
                Piece::Anything => return self.0.push(OutLevel::Many),
                Piece::Text(_) => {}
            }
        }
        for n in 0..known {
            if n > 0 || slash {
                self.0.push(OutLevel::One(Vec::new()));
            }
            self.piece(input.level(from + n));
        }
        if input.open {
            if known == 0 && !slash {
                self.piece(Piece::Anything);
            }
            self.0.push(OutLevel::Many);
        }
    }

    fn meets(&self, filter: &str) -> bool {
        let filter = without_share(filter);
        if let Some(OutLevel::One(pieces)) = self.0.first()
            && let Some(Piece::Text(text)) = pieces.first()
            && text.starts_with('$')
            && filter.starts_with(['+', '#'])
        {
            return false;
        }
        let (levels, open) = levels_of(filter);
        levels_meet(&self.0, &levels, open)
    }
}

fn levels_meet(out: &[OutLevel<'_>], filter: &[&str], open: bool) -> bool {
    match (out.split_first(), filter.split_first()) {
        (None, None) => true,
        (Some(_), None) if open => true,
        (Some((OutLevel::Many, rest)), None) => levels_meet(rest, filter, open),
        (Some((OutLevel::Many, rest)), Some((_, filter_rest))) => {
            levels_meet(rest, filter, open) || levels_meet(out, filter_rest, open)
        }
        (Some((OutLevel::One(pieces), rest)), Some((level, filter_rest))) => {
            (*level == "+" || pieces_meet(pieces, level)) && levels_meet(rest, filter_rest, open)
        }
        (Some(_), None) | (None, Some(_)) => false,
    }
}

fn pieces_meet(pieces: &[Piece<'_>], level: &str) -> bool {
    match pieces.split_first() {
        None => level.is_empty(),
        Some((Piece::Text(text), rest)) => {
            level.strip_prefix(text).is_some_and(|after| pieces_meet(rest, after))
        }
        Some((Piece::Anything, rest)) => level
            .char_indices()
            .map(|(at, _)| at)
            .chain([level.len()])
            .any(|at| level.get(at..).is_some_and(|after| pieces_meet(rest, after))),
    }
}

/// Whether `outer` matches every topic that `inner` matches.
fn contains(outer: &str, inner: &str) -> bool {
    let ((outer_levels, outer_open), (inner_levels, inner_open)) =
        (levels_of(outer), levels_of(inner));
    if outer.starts_with(['+', '#']) && inner.starts_with('$') {
        return false;
    }
    let fits = outer_levels.iter().zip(&inner_levels).all(|(o, i)| *o == "+" || o == i);
    let deep = inner_levels.len() >= outer_levels.len();
    fits && deep && (outer_open || (!inner_open && inner_levels.len() == outer_levels.len()))
}

/// The levels before a final `#`, and whether there is one.
fn levels_of(filter: &str) -> (Vec<&str>, bool) {
    let mut levels: Vec<&str> = filter.split('/').collect();
    let open = levels.last() == Some(&"#");
    if open {
        levels.pop();
    }
    (levels, open)
}

#[cfg(test)]
#[path = "cycle_tests.rs"]
mod tests;

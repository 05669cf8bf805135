//! Rows by name, each with the version in which it changed, and who has seen which.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

/// Rows that are gone are remembered up to this number; who was away for longer begins anew.
const GONE: usize = 4096;
/// A piece ends with the row that reaches so many bytes.
const BYTES: usize = 64 << 10;

/// What is shown of one thing.
pub(super) trait Row {
    /// The thing.
    type Source;

    fn name(source: &Self::Source) -> &str;

    fn new(source: &Self::Source) -> Self;

    /// Looks again, so long after the last time.
    fn update(&mut self, source: &Self::Source, elapsed: Duration) -> Change;

    /// Appends the members of a JSON object, without its braces; with `words`, also those that change seldom.
    fn write(&self, words: bool, out: &mut String);
}

/// What is new in a row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Change {
    Nothing,
    /// Counts and rates.
    Numbers,
    /// States and texts, too.
    Words,
}

/// All rows of a kind.
pub(super) struct Table<R> {
    version: u64,
    rows: BTreeMap<u32, Entry<R>>,
    ids: HashMap<Box<str>, u32>,
    /// The next id; none is used twice.
    next: u32,
    /// Those that are no more, with the version that lost them.
    gone: VecDeque<(u64, u32)>,
    /// The last version of which some are not in `gone` any more.
    forgotten: u64,
}

struct Entry<R> {
    row: R,
    /// Looked at in this version.
    seen: u64,
    changed: u64,
    worded: u64,
}

/// How far somebody is with a table.
#[derive(Default)]
pub(super) struct Cursor {
    /// All changes up to this version were given out.
    since: u64,
    /// A walk through the rows that is not at its end.
    walk: Option<Walk>,
}

#[derive(Clone, Copy)]
struct Walk {
    /// The version at its beginning.
    version: u64,
    next: u32,
}

/// What is new for somebody, or a part of it.
#[derive(Default)]
pub(super) struct Piece {
    /// JSON objects with commas between them.
    pub(super) rows: String,
    pub(super) count: usize,
    /// Ids of rows that are no more.
    pub(super) gone: Vec<u32>,
    /// What was given out before is void.
    pub(super) reset: bool,
    /// There is no more for now.
    pub(super) complete: bool,
}

impl<R> Default for Table<R> {
    fn default() -> Self {
        Self {
            version: 0,
            rows: BTreeMap::new(),
            ids: HashMap::new(),
            next: 0,
            gone: VecDeque::new(),
            forgotten: 0,
        }
    }
}

impl<R: Row> Table<R> {
    /// Looks at all of them, `elapsed` after the last time. `version` is greater than the one before.
    pub(super) fn look(&mut self, version: u64, sources: &[R::Source], elapsed: Duration) {
        self.version = version;
        for source in sources {
            let id = self.ids.get(R::name(source)).copied();
            match id.and_then(|id| self.rows.get_mut(&id)) {
                Some(entry) => entry.look(version, source, elapsed),
                None => self.add(version, source),
            }
        }
        // Nearly always nobody left.
        if self.rows.len() != sources.len() {
            self.remove_unseen();
        }
    }

    fn add(&mut self, version: u64, source: &R::Source) {
        let (id, row) = (self.next, R::new(source));
        self.next += 1;
        self.ids.insert(R::name(source).into(), id);
        self.rows.insert(id, Entry { row, seen: version, changed: version, worded: version });
    }

    fn remove_unseen(&mut self) {
        let version = self.version;
        let left = self.rows.iter().filter(|(_, entry)| entry.seen != version);
        let left: Vec<u32> = left.map(|(id, _)| *id).collect();
        self.rows.retain(|_, entry| entry.seen == version);
        self.ids.retain(|_, id| self.rows.contains_key(id));
        self.gone.extend(left.into_iter().map(|id| (version, id)));
        while self.gone.len() > GONE {
            let first = self.gone.pop_front();
            self.forgotten = first.map_or(self.forgotten, |(version, _)| version);
        }
    }

    /// What is new for the owner of `cursor`: at most `limit` rows and some [`BYTES`] of it.
    pub(super) fn piece(&self, cursor: &mut Cursor, limit: usize) -> Piece {
        let mut piece = Piece::default();
        if cursor.since > 0 && cursor.since < self.forgotten {
            *cursor = Cursor::default();
            piece.reset = true;
        }
        let walk = match cursor.walk {
            Some(walk) => walk,
            None if cursor.since == self.version => {
                piece.complete = true;
                return piece;
            }
            None => Walk { version: self.version, next: 0 },
        };
        let since = cursor.since;
        for (id, entry) in self.rows.range(walk.next..).filter(|(_, e)| e.changed > since) {
            if piece.count == limit || piece.rows.len() >= BYTES {
                cursor.walk = Some(Walk { next: *id, ..walk });
                return piece;
            }
            piece.add(*id, entry, entry.worded > since);
        }
        if since > 0 {
            let gone = self.gone.iter().filter(|(version, _)| *version > since);
            piece.gone = gone.map(|(_, id)| *id).collect();
        }
        *cursor = Cursor { since: walk.version, walk: None };
        piece.complete = true;
        piece
    }
}

impl Cursor {
    /// Nothing was given out completely yet.
    pub(super) fn is_new(&self) -> bool {
        self.since == 0
    }
}

impl<R: Row> Entry<R> {
    fn look(&mut self, version: u64, source: &R::Source, elapsed: Duration) {
        self.seen = version;
        let change = self.row.update(source, elapsed);
        if change != Change::Nothing {
            self.changed = version;
        }
        if change == Change::Words {
            self.worded = version;
        }
    }
}

impl Piece {
    fn add<R: Row>(&mut self, id: u32, entry: &Entry<R>, words: bool) {
        let comma = if self.count == 0 { "" } else { "," };
        self.rows.push_str(comma);
        self.rows.push_str("{\"id\":");
        self.rows.push_str(&id.to_string());
        self.rows.push(',');
        entry.row.write(words, &mut self.rows);
        self.rows.push('}');
        self.count += 1;
    }
}

/// The members of a JSON object, without its braces.
pub(super) fn members(object: &serde_json::Value) -> String {
    let text = object.to_string();
    text.get(1..text.len().saturating_sub(1)).unwrap_or_default().to_owned()
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;

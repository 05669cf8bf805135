use super::*;

/// A name, a word and a number.
type Thing = (&'static str, &'static str, u64);

struct ThingRow(&'static str, u64);

impl Row for ThingRow {
    type Source = Thing;

    fn name(source: &Thing) -> &str {
        source.0
    }

    fn new(source: &Thing) -> Self {
        Self(source.1, source.2)
    }

    fn update(&mut self, source: &Thing, _: Duration) -> Change {
        let before = std::mem::replace(self, Self::new(source));
        match (before.0 == self.0, before.1 == self.1) {
            (false, _) => Change::Words,
            (true, false) => Change::Numbers,
            (true, true) => Change::Nothing,
        }
    }

    fn write(&self, words: bool, out: &mut String) {
        let word = if words { self.0 } else { "-" };
        out.push_str(&format!("\"is\":\"{word}{}\"", self.1));
    }
}

fn look(table: &mut Table<ThingRow>, version: u64, things: &[Thing]) {
    table.look(version, things, Duration::from_secs(1));
}

fn rows(piece: &Piece) -> Vec<String> {
    let all: serde_json::Value =
        serde_json::from_str(&format!("[{}]", piece.rows)).expect("objects with commas");
    let all = all.as_array().expect("a list").iter();
    all.map(|row| format!("{} {}", row["id"], row["is"].as_str().unwrap_or_default())).collect()
}

#[test]
fn the_first_piece_is_everything_and_the_next_ones_what_changed() {
    let (mut table, mut cursor) = (Table::default(), Cursor::default());
    look(&mut table, 1, &[("a", "up", 1), ("b", "up", 2)]);
    let piece = table.piece(&mut cursor, 10);
    assert_eq!(rows(&piece), ["0 up1", "1 up2"]);
    assert!(piece.complete && !cursor.is_new());
    assert_eq!(table.piece(&mut cursor, 10).count, 0);
    look(&mut table, 2, &[("a", "up", 1), ("b", "up", 3), ("c", "up", 4)]);
    assert_eq!(rows(&table.piece(&mut cursor, 10)), ["1 -3", "2 up4"]);
    look(&mut table, 3, &[("a", "down", 1), ("c", "up", 4)]);
    let piece = table.piece(&mut cursor, 10);
    assert_eq!((rows(&piece), piece.gone), (vec!["0 down1".to_owned()], vec![1]));
}

#[test]
fn a_name_that_comes_again_is_another_row() {
    let (mut table, mut cursor) = (Table::default(), Cursor::default());
    look(&mut table, 1, &[("a", "up", 1)]);
    table.piece(&mut cursor, 10);
    look(&mut table, 2, &[]);
    look(&mut table, 3, &[("a", "up", 2)]);
    let piece = table.piece(&mut cursor, 10);
    assert_eq!((rows(&piece), piece.gone), (vec!["1 up2".to_owned()], vec![0]));
}

#[test]
fn who_takes_little_at_a_time_gets_the_newest_of_each_row_and_misses_no_change() {
    let (mut table, mut cursor) = (Table::default(), Cursor::default());
    look(&mut table, 1, &[("a", "up", 1), ("b", "up", 1), ("c", "up", 1)]);
    let piece = table.piece(&mut cursor, 2);
    assert_eq!((rows(&piece), piece.complete), (vec!["0 up1".into(), "1 up1".into()], false));
    // Meanwhile the first one, which was given out, and the last one change; two more versions pass.
    look(&mut table, 2, &[("a", "up", 2), ("b", "up", 1), ("c", "up", 2)]);
    look(&mut table, 3, &[("a", "up", 3), ("b", "up", 1), ("c", "up", 3)]);
    let piece = table.piece(&mut cursor, 2);
    assert_eq!((rows(&piece), piece.complete), (vec!["2 up3".to_owned()], true));
    assert_eq!(rows(&table.piece(&mut cursor, 2)), ["0 -3", "2 -3"]);
    let piece = table.piece(&mut cursor, 2);
    assert_eq!((piece.count, piece.complete), (0, true));
}

#[test]
fn large_rows_come_in_smaller_pieces() {
    let large: &'static str = Box::leak("x".repeat(BYTES / 2).into_boxed_str());
    let (mut table, mut cursor) = (Table::default(), Cursor::default());
    look(&mut table, 1, &[("a", large, 1), ("b", large, 1), ("c", large, 1)]);
    assert_eq!(table.piece(&mut cursor, 10).count, 2);
    let piece = table.piece(&mut cursor, 10);
    assert_eq!((piece.count, piece.complete), (1, true));
}

#[test]
fn a_row_that_goes_within_a_walk_is_told_gone() {
    let (mut table, mut cursor) = (Table::default(), Cursor::default());
    look(&mut table, 1, &[("a", "up", 1), ("b", "up", 1)]);
    assert_eq!(rows(&table.piece(&mut cursor, 1)), ["0 up1"]);
    look(&mut table, 2, &[("b", "up", 1)]);
    assert_eq!(rows(&table.piece(&mut cursor, 1)), ["1 up1"]);
    assert_eq!(table.piece(&mut cursor, 1).gone, [0]);
}

#[test]
fn who_missed_too_many_that_went_begins_anew() {
    let names: Vec<&'static str> =
        (0..=GONE).map(|n| &*Box::leak(n.to_string().into_boxed_str())).collect();
    let all: Vec<Thing> = names.iter().map(|name| (*name, "up", 0)).collect();
    let (mut table, mut away) = (Table::default(), Cursor::default());
    look(&mut table, 1, &all);
    while !table.piece(&mut away, usize::MAX).complete {}
    let (mut here, mut new) = (Cursor { since: 1, walk: None }, Cursor::default());
    // One more than are remembered, in two steps: the first one is forgotten.
    look(&mut table, 2, &all[1..]);
    assert_eq!(table.piece(&mut here, 10).gone, [0]);
    look(&mut table, 3, &[("x", "up", 1)]);
    assert_eq!(table.gone.len(), GONE);
    let piece = table.piece(&mut away, 10);
    assert!(piece.reset && piece.gone.is_empty());
    assert_eq!(rows(&piece), [format!("{} up1", GONE + 1)]);
    let piece = table.piece(&mut here, 10);
    assert_eq!((piece.reset, piece.gone.len()), (false, GONE));
    assert!(!table.piece(&mut new, 10).reset, "who is new has nothing to forget");
}

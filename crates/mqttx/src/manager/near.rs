//! Names that a misspelt one may have meant.

/// At most this many are listed.
const LISTED: usize = 3;

/// The nearest of `known` to `name`, nearest first: those with a small edit distance, then those
/// that one of the two begins with.
pub(crate) fn near<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let wanted = name.to_lowercase();
    let allowed = (wanted.chars().count() / 3).clamp(1, 3);
    let mut ranked: Vec<(usize, &str)> = known
        .filter_map(|candidate| {
            let lower = candidate.to_lowercase();
            let steps = distance(&wanted, &lower);
            let begins = wanted.len() >= 3
                && lower.len() >= 3
                && (lower.starts_with(&wanted) || wanted.starts_with(&lower));
            (steps <= allowed || begins).then_some((steps, candidate))
        })
        .collect();
    ranked.sort_unstable();
    ranked.into_iter().take(LISTED).map(|(_, candidate)| candidate).collect()
}

/// Insertions, deletions, replacements and swaps of neighbours that turn `a` into `b`.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replace = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replace.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_the_steps_between_two_words() {
        for (a, b, steps) in [
            ("", "", 0),
            ("", "abc", 3),
            ("plant", "plnat", 1),
            ("plant", "plants", 1),
            ("ab", "cd", 2),
        ] {
            assert_eq!(distance(a, b), steps, "{a} {b}");
            assert_eq!(distance(b, a), steps, "{b} {a}");
        }
    }

    #[test]
    fn nearest_names_come_first_and_strangers_not_at_all() {
        let known = ["cloud", "plant", "plant-2", "Plan", "x"];
        assert_eq!(near("plnat", known.into_iter()), ["plant"]);
        assert_eq!(near("plant", known.into_iter()), ["plant", "Plan", "plant-2"]);
        assert_eq!(near("CLOUD", known.into_iter()), ["cloud"]);
        assert!(near("telemetry", known.into_iter()).is_empty());
    }

    #[test]
    fn a_long_list_is_cut() {
        let known: Vec<String> = (0..100).map(|i| format!("dev-{i:05}")).collect();
        assert_eq!(near("dev-0001", known.iter().map(String::as_str)).len(), LISTED);
    }
}

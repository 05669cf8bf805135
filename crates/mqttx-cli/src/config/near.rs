//! "did you mean …?"

/// What to say of a name that is not among the known ones.
pub(crate) fn unknown<'a>(
    what: &str,
    name: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> String {
    let mut known: Vec<&str> = known.into_iter().collect();
    known.sort_by_key(|candidate| distance(name, candidate));
    match (known.is_empty(), meant(name, &known)) {
        (true, _) => format!("unknown {what} '{name}': there is none"),
        (false, Some(best)) => format!("unknown {what} '{name}', did you mean '{best}'?"),
        (false, None) => {
            known.sort_unstable();
            let more = if known.len() > SHOWN { ", …" } else { "" };
            known.truncate(SHOWN);
            format!("unknown {what} '{name}': known are {}{more}", known.join(", "))
        }
    }
}

const SHOWN: usize = 40;

/// The one of `known`, the nearest first, for which `name` may stand: by a slip, with something behind it (`cafile`), or
/// shortened (`passwd`).
fn meant<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let nearest = known.first().filter(|best| distance(name, best) * 2 <= name.chars().count());
    let (letters, candidates) = (fold(name), known.iter().filter(|k| k.len() >= 2));
    let longer =
        || candidates.clone().filter(|k| letters.starts_with(&fold(k))).max_by_key(|k| k.len());
    let shorter =
        || candidates.clone().find(|k| letters.len() >= 3 && is_short_for(&letters, &fold(k)));
    nearest.or_else(longer).or_else(shorter).copied()
}

/// Whether letters of `word` were left out, but not the first one.
fn is_short_for(short: &[char], word: &[char]) -> bool {
    let mut rest = word.iter();
    short.first() == word.first() && short.iter().all(|letter| rest.any(|other| other == letter))
}

/// Without differences of case, or of `-` and `_`.
fn fold(text: &str) -> Vec<char> {
    text.to_lowercase().chars().map(|c| if c == '-' { '_' } else { c }).collect()
}

/// Insertions, deletions, replacements and swaps of neighbours that make one text the other, both [folded](fold).
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (fold(a), fold(b));
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let mut best = (above[j] + usize::from(x != y)).min(above[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_suggested_and_far_ones_listed() {
        let keys = ["brokers", "client_id", "keep_alive"];
        assert_eq!(unknown("key", "broker", keys), "unknown key 'broker', did you mean 'brokers'?");
        assert_eq!(
            unknown("key", "keep-alvie", keys),
            "unknown key 'keep-alvie', did you mean 'keep_alive'?"
        );
        assert_eq!(
            unknown("key", "tls", keys),
            "unknown key 'tls': known are brokers, client_id, keep_alive"
        );
        assert_eq!(unknown("session", "x", []), "unknown session 'x': there is none");
    }

    #[test]
    fn what_is_shortened_or_has_something_behind_it_is_recognised() {
        let keys = ["ca", "ca_dir", "key", "key_password_file", "password", "tls", "username"];
        for (given, meant) in [
            ("user", "username"),
            ("pass", "password"),
            ("paswd", "password"),
            ("PassWd", "password"),
            ("cafile", "ca"),
            ("ca_dirs", "ca_dir"),
            ("key-file", "key"),
        ] {
            let said = unknown("key", given, keys);
            assert_eq!(said, format!("unknown key '{given}', did you mean '{meant}'?"));
        }
        for stranger in ["qos", "word", "x", ""] {
            let said = unknown("key", stranger, keys);
            assert!(said.contains(": known are ca, ca_dir"), "{said}");
        }
        assert!(unknown("session", "plant", ["", "p"]).contains("known are"));
    }

    #[test]
    fn a_swap_is_one_step() {
        assert_eq!(distance("qso", "qos"), 1);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}

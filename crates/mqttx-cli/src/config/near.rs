//! "did you mean …?"

/// What to say of a name that is not among the known ones.
pub(crate) fn unknown<'a>(
    what: &str,
    name: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> String {
    let mut known: Vec<&str> = known.into_iter().collect();
    known.sort_by_key(|candidate| distance(name, candidate));
    match known.first() {
        None => format!("unknown {what} '{name}': there is none"),
        Some(best) if distance(name, best) * 2 <= name.chars().count().max(4) => {
            format!("unknown {what} '{name}', did you mean '{best}'?")
        }
        Some(_) => {
            known.sort_unstable();
            let more = if known.len() > SHOWN { ", …" } else { "" };
            known.truncate(SHOWN);
            format!("unknown {what} '{name}': known are {}{more}", known.join(", "))
        }
    }
}

const SHOWN: usize = 40;

/// Insertions, deletions, replacements and swaps of neighbours that make one text the other; a change of
/// case, or of `-` and `_`, counts nothing.
fn distance(a: &str, b: &str) -> usize {
    let fold = |text: &str| -> Vec<char> {
        text.to_lowercase().chars().map(|c| if c == '-' { '_' } else { c }).collect()
    };
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
    fn a_swap_is_one_step() {
        assert_eq!(distance("qso", "qos"), 1);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}

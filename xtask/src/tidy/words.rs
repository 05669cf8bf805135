//! Words that must not stand in any file: unfinished business and paths of one machine.

use super::Problem;
use super::lexer::find_word;
use super::tree::Tree;

/// Marks of unfinished work. Written in pieces, because this file is checked as well.
const UNFINISHED: [&str; 4] =
    [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X"), concat!("to", "do!")];

/// Where a person's or a build machine's files live.
const MACHINE_PATHS: [&str; 4] =
    [concat!("/ho", "me/"), concat!("/ro", "ot/"), concat!("/Us", "ers/"), concat!("/wo", "rk/")];

/// Every line that holds one of the words.
pub(super) fn check(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    for file in tree.all() {
        for (number, line) in (1..).zip(file.text.lines()) {
            for word in UNFINISHED {
                if find_word(line, word).next().is_some() {
                    let text = format!("`{word}`: finish it, or describe it where users read it");
                    problems.push(Problem::new(&file.path, number, text));
                }
            }
            for path in MACHINE_PATHS {
                if line.match_indices(path).any(|(at, _)| starts_path(line, at)) {
                    let text = format!("a path of one machine: `{path}…`");
                    problems.push(Problem::new(&file.path, number, text));
                }
            }
        }
    }
    problems
}

/// Whether an absolute path starts here, and not the middle of a longer path or address.
fn starts_path(line: &str, at: usize) -> bool {
    let before = line[..at].chars().next_back();
    !before.is_some_and(|c| c.is_alphanumeric() || "-_./}".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(line: &str) -> usize {
        check(&Tree::of(&[("a.md", line)])).len()
    }

    #[test]
    fn unfinished_work_is_found_in_any_file() {
        assert_eq!(count(concat!("# TO", "DO later")), 1);
        assert_eq!(count(concat!("// FIX", "ME: wrong")), 1);
        assert_eq!(count("mastodon"), 0);
    }

    #[test]
    fn paths_of_one_machine_are_found_and_addresses_are_not() {
        assert_eq!(count(concat!("see `/ho", "me/ann/x`")), 1);
        assert_eq!(count(concat!("https://example.org/ho", "me/x")), 0);
    }
}

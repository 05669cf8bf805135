//! File sizes: one concern a file, and a file that can be read in one sitting.

use super::Problem;
use super::tree::{SourceFile, Tree};

/// Lines of non-test source above which a file must be split.
const LIMIT: usize = 800;
/// Lines of non-test source above which a file is asked whether it holds one concern.
const QUESTION: usize = 500;

/// Every file above the limit.
pub(super) fn check(tree: &Tree) -> Vec<Problem> {
    above(tree, LIMIT)
        .map(|(file, lines)| {
            let text = format!("{lines} lines without tests, more than {LIMIT}: split it");
            Problem::new(&file.path, LIMIT, text)
        })
        .collect()
}

/// Files that are long, but within the limit.
pub(super) fn warnings(tree: &Tree) -> Vec<String> {
    above(tree, QUESTION)
        .filter(|&(_, lines)| lines <= LIMIT)
        .map(|(file, lines)| format!("{}: {lines} lines without tests; one concern?", file.path))
        .collect()
}

fn above(tree: &Tree, limit: usize) -> impl Iterator<Item = (&SourceFile, usize)> {
    let sized = tree.production().map(|file| (file, source_lines(file)));
    sized.filter(move |&(_, lines)| lines > limit)
}

/// The lines of a file up to its test module, which stands last: comments count, tests do not.
fn source_lines(file: &SourceFile) -> usize {
    let tests = file.test_code();
    let test_lines = tests.lines().filter(|line| !line.trim().is_empty()).count();
    file.text.lines().count().saturating_sub(test_lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(code: usize, tests: usize) -> Tree {
        let text = format!(
            "{}#[cfg(test)]\nmod tests {{\n{}}}\n",
            "fn a() {}\n".repeat(code),
            "fn t() {}\n".repeat(tests)
        );
        Tree::of(&[("crates/a/src/lib.rs", &text)])
    }

    #[test]
    fn long_file_is_a_problem_and_long_tests_are_not() {
        assert_eq!(check(&tree(LIMIT + 1, 0)).len(), 1);
        assert_eq!(check(&tree(LIMIT, 3000)).len(), 0);
    }

    #[test]
    fn file_between_the_limits_is_a_question() {
        assert_eq!(warnings(&tree(QUESTION + 1, 10)).len(), 1);
        assert_eq!(warnings(&tree(QUESTION, 10)).len(), 0);
        assert_eq!(warnings(&tree(LIMIT + 1, 10)).len(), 0);
    }
}

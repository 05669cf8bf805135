//! `cargo xtask tidy`: the rules of the house that neither rustc nor clippy knows.

mod layers;
mod lexer;
mod size;
mod spec;
mod tree;
mod words;

use std::fmt;
use std::path::Path;
use tree::Tree;

/// Runs every rule over the tree and prints what breaks one.
///
/// # Errors
/// The number of problems; each was printed as `path:line: what is wrong`.
pub(crate) fn run(root: &Path) -> Result<(), String> {
    let tree = Tree::read(root)?;
    let mut problems = Vec::new();
    problems.extend(layers::check(&tree));
    problems.extend(words::check(&tree));
    problems.extend(size::check(&tree));
    problems.extend(spec::check(&tree));
    for warning in size::warnings(&tree) {
        println!("warning: {warning}");
    }
    for problem in &problems {
        println!("{problem}");
    }
    println!("tidy: {} files, {}", tree.len(), spec::summary(&tree));
    match problems.len() {
        0 => Ok(()),
        count => Err(format!("tidy found {count} problem(s)")),
    }
}

/// Something that breaks a rule, at a place.
#[derive(Debug, PartialEq, Eq)]
struct Problem {
    path: String,
    line: usize,
    text: String,
}

impl Problem {
    fn new(path: &str, line: usize, text: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, text: text.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.text)
    }
}

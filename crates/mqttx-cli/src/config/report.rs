//! Problems and their places.

use std::fmt;
use std::ops::Range;

use serde::Serialize;

use super::hide;
use super::source::SourceFile;

/// One thing that is wrong with the configuration.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct Problem {
    /// From 1.
    pub(crate) line: usize,
    /// From 1, in characters.
    pub(crate) column: usize,
    /// The file.
    pub(crate) path: String,
    pub(crate) message: String,
}

impl Problem {
    /// Something that shows only when the configuration is put to work.
    pub(crate) fn of_whole(path: &std::path::Path, message: impl fmt::Display) -> Self {
        let message = one_line(&message.to_string());
        Self { line: 1, column: 1, path: path.display().to_string(), message }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.path, self.line, self.column, self.message)
    }
}

/// Collects problems by file and byte offset.
pub(super) struct Report<'a> {
    files: &'a [SourceFile],
    found: Vec<(usize, usize, String)>,
    syntax: bool,
}

impl<'a> Report<'a> {
    pub(super) fn new(files: &'a [SourceFile]) -> Self {
        Self { files, found: Vec::new(), syntax: false }
    }

    pub(super) fn add(&mut self, file: usize, span: &Range<usize>, message: impl Into<String>) {
        let message = hide::in_message(&message.into());
        let problem = (file, span.start, one_line(&message));
        if !self.found.contains(&problem) {
            self.found.push(problem);
        }
    }

    /// A place as `FILE:LINE`.
    pub(super) fn place(&self, file: usize, span: &Range<usize>) -> String {
        self.files.get(file).map_or_else(String::new, |file| {
            let place = file.problem(span.start, String::new());
            format!("{}:{}", place.path, place.line)
        })
    }

    /// A file that is not TOML: what seems to be missing elsewhere may stand in the broken part.
    pub(super) fn add_syntax(&mut self, file: usize, span: &Range<usize>, message: &str) {
        self.syntax = true;
        self.add(file, span, message);
    }

    /// Whether the tables are complete, so that what is not there is missing.
    pub(super) fn is_complete(&self) -> bool {
        !self.syntax
    }

    pub(super) fn finish(self) -> Result<(), Vec<Problem>> {
        let mut found = self.found;
        found.sort();
        let problems: Vec<Problem> = found
            .into_iter()
            .filter_map(|(file, offset, message)| {
                Some(self.files.get(file)?.problem(offset, message))
            })
            .collect();
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }
}

fn one_line(message: &str) -> String {
    message.trim_end().chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

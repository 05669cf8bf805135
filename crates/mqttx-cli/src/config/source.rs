//! The files.

use std::path::{Path, PathBuf};

use super::report::Problem;

/// A file and its text.
#[derive(Debug)]
pub(super) struct SourceFile {
    pub(super) path: PathBuf,
    pub(super) text: String,
}

impl SourceFile {
    /// The directory from which relative paths in the file count.
    pub(super) fn directory(&self) -> &Path {
        match self.path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        }
    }

    pub(super) fn problem(&self, offset: usize, message: String) -> Problem {
        let before = self.text.get(..offset.min(self.text.len())).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Problem {
            line: before.matches('\n').count() + 1,
            column: before.get(line_start..).unwrap_or_default().chars().count() + 1,
            path: self.path.display().to_string(),
            message,
        }
    }
}

/// Reads one file, or all `*.toml` of a directory in the order of their names.
pub(super) fn read(path: &Path) -> Result<Vec<SourceFile>, Vec<Problem>> {
    let paths = if path.is_dir() {
        toml_files(path).map_err(|error| vec![unreadable(path, &error)])?
    } else {
        vec![path.to_owned()]
    };
    let mut files = Vec::new();
    let mut problems = Vec::new();
    for path in paths {
        match read_file(path) {
            Ok(file) => files.push(file),
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() { Ok(files) } else { Err(problems) }
}

fn toml_files(directory: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "toml") && !path.is_dir() {
            paths.push(path);
        }
    }
    paths.sort();
    if paths.is_empty() {
        return Err(std::io::Error::other("the directory holds no *.toml file"));
    }
    Ok(paths)
}

fn read_file(path: PathBuf) -> Result<SourceFile, Problem> {
    let bytes = std::fs::read(&path).map_err(|error| unreadable(&path, &error))?;
    match String::from_utf8(bytes) {
        Ok(text) => Ok(SourceFile { path, text }),
        Err(error) => {
            let valid = error.utf8_error().valid_up_to();
            let mut bytes = error.into_bytes();
            bytes.truncate(valid);
            let text = String::from_utf8(bytes).unwrap_or_default();
            let file = SourceFile { path, text };
            Err(file.problem(valid, "the file is not UTF-8 from here on".to_owned()))
        }
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> Problem {
    Problem {
        line: 1,
        column: 1,
        path: path.display().to_string(),
        message: format!("cannot be read: {error}"),
    }
}

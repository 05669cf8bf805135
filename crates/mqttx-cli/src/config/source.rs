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
    let whole = path.is_dir();
    let paths = if whole {
        toml_files(path).map_err(|error| vec![unreadable(path, &error)])?
    } else {
        vec![path.to_owned()]
    };
    let mut files = Vec::new();
    let mut problems = Vec::new();
    for path in paths {
        // Of a pipe among them, reading would wait for a writer.
        let is_special = whole && path.metadata().is_ok_and(|metadata| !metadata.is_file());
        match if is_special { Err(no_file(&path)) } else { read_file(path) } {
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

fn no_file(path: &Path) -> Problem {
    unreadable(path, &std::io::Error::other("it is not a file"))
}

fn unreadable(path: &Path, error: &std::io::Error) -> Problem {
    Problem {
        line: 1,
        column: 1,
        path: path.display().to_string(),
        message: format!("cannot be read: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn what_is_no_file_among_the_files_of_a_directory_is_named_and_not_read() {
        let root = std::env::temp_dir().join(format!("mqttx-source-{}", std::process::id()));
        std::fs::create_dir_all(root.join("kept.toml")).unwrap();
        std::fs::write(root.join("a.toml"), "x = 1").unwrap();
        assert_eq!(read(&root).unwrap().len(), 1, "a directory is passed over");
        let _socket = UnixListener::bind(root.join("b.toml")).unwrap();
        let problems = read(&root).unwrap_err();
        assert_eq!(problems[0].message, "cannot be read: it is not a file");
        std::fs::remove_dir_all(&root).unwrap();
    }
}

//! The files that the rules look at.

use super::lexer;
use std::path::Path;

/// Every text file of the checkout that a person wrote.
pub(super) struct Tree {
    files: Vec<SourceFile>,
}

impl Tree {
    /// Reads the checkout under `root`, without build output and hidden directories.
    ///
    /// # Errors
    /// A file or directory that cannot be read.
    pub(super) fn read(root: &Path) -> Result<Self, String> {
        let mut files = Vec::new();
        read_directory(root, "", &mut files)?;
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(Self { files })
    }

    /// A tree made of (path, text) pairs.
    #[cfg(test)]
    pub(super) fn of(files: &[(&str, &str)]) -> Self {
        Self { files: files.iter().map(|(path, text)| SourceFile::new(path, text)).collect() }
    }

    pub(super) fn len(&self) -> usize {
        self.files.len()
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &SourceFile> {
        self.files.iter()
    }

    pub(super) fn rust(&self) -> impl Iterator<Item = &SourceFile> {
        self.files.iter().filter(|file| file.path.ends_with(".rs"))
    }

    /// The Rust files that belong to a crate itself, not to its tests.
    pub(super) fn production(&self) -> impl Iterator<Item = &SourceFile> {
        self.rust().filter(|file| !file.is_test)
    }

    pub(super) fn file(&self, path: &str) -> Option<&SourceFile> {
        self.files.iter().find(|file| file.path == path)
    }
}

/// One file, and for Rust the views on it that the rules need; all views keep the line numbers.
pub(super) struct SourceFile {
    /// The path below the root, with `/`.
    pub(super) path: String,
    /// The text as it is.
    pub(super) text: String,
    /// The code: comments and the insides of literals are blank.
    pub(super) code: String,
    /// The code without `#[cfg(test)]` items.
    pub(super) production: String,
    /// Whether the whole file is test code.
    pub(super) is_test: bool,
}

impl SourceFile {
    fn new(path: &str, text: &str) -> Self {
        let (code, production) = if path.ends_with(".rs") {
            let code = lexer::code_only(text);
            let production = lexer::without_test_items(&code);
            (code, production)
        } else {
            (String::new(), String::new())
        };
        Self {
            path: path.to_owned(),
            text: text.to_owned(),
            code,
            production,
            is_test: is_test_path(path),
        }
    }

    /// The parts of the code that are tests; the rest is blank.
    pub(super) fn test_code(&self) -> String {
        if self.is_test {
            return self.code.clone();
        }
        let pairs = self.code.chars().zip(self.production.chars());
        pairs.map(|(code, kept)| if code == kept && code != '\n' { ' ' } else { code }).collect()
    }
}

fn is_test_path(path: &str) -> bool {
    let mut parts: Vec<&str> = path.split('/').collect();
    let name = parts.pop().unwrap_or_default();
    name == "tests.rs"
        || name.ends_with("_tests.rs")
        || parts.iter().any(|part| ["tests", "benches", "fuzz"].contains(part))
}

const EXTENSIONS: [&str; 5] = ["rs", "toml", "md", "sh", "yml"];
const VISIBLE: [&str; 3] = [".cargo", ".ci", ".github"];

fn read_directory(root: &Path, below: &str, files: &mut Vec<SourceFile>) -> Result<(), String> {
    let directory = root.join(below);
    let failed = |error: std::io::Error| format!("cannot read {}: {error}", directory.display());
    for entry in std::fs::read_dir(&directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let path = if below.is_empty() { name.clone() } else { format!("{below}/{name}") };
        let kind = entry.file_type().map_err(failed)?;
        if kind.is_dir() {
            let hidden = name.starts_with('.') && !VISIBLE.contains(&name.as_str());
            if !hidden && name != "target" && name != "corpus" {
                read_directory(root, &path, files)?;
            }
        } else if kind.is_file() && is_text(&path) {
            let text = std::fs::read_to_string(root.join(&path))
                .map_err(|error| format!("cannot read {path}: {error}"))?;
            files.push(SourceFile::new(&path, &text));
        }
    }
    Ok(())
}

fn is_text(path: &str) -> bool {
    let extension = path.rsplit_once('.').map_or("", |(_, extension)| extension);
    EXTENSIONS.contains(&extension) || path.starts_with(".ci/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_under_tests_and_benches_are_test_code() {
        assert!(is_test_path("crates/a/tests/flow.rs"));
        assert!(is_test_path("crates/a/src/session/tests.rs"));
        assert!(is_test_path("crates/a/src/session/flow_tests.rs"));
        assert!(is_test_path("crates/a/src/session/tests/replay.rs"));
        assert!(!is_test_path("crates/a/src/session/mod.rs"));
        assert!(!is_test_path("crates/a/src/contest.rs"));
    }

    #[test]
    fn test_code_is_what_production_code_lacks() {
        let tree =
            Tree::of(&[("src/a.rs", "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\n")]);
        let code = tree.files[0].test_code();
        assert!(code.contains("fn b") && !code.contains("fn a"), "{code}");
        assert_eq!(code.lines().count(), 5);
    }
}

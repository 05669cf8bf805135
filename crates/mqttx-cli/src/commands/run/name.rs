//! The daemon's own name: as configured, else a random one that stays.

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::Path;

use super::data_dir;

/// Where the random name is kept, below `data_dir`.
const FILE: &str = "daemon-id";

/// The random name of the daemon with this `data_dir`, made at its first start.
///
/// A directory that cannot be written costs the name its permanence, and nothing else: the log says so.
pub(super) fn kept_in(directory: &Path) -> String {
    let path = directory.join(FILE);
    match read_or_make(&path, directory) {
        Ok(name) => name,
        Err(error) => {
            let path = path.display();
            tracing::warn!(target: "mqttx::daemon", "{path}: {error}: the daemon's name is not kept");
            random()
        }
    }
}

fn read_or_make(path: &Path, directory: &Path) -> io::Result<String> {
    match fs::read_to_string(path) {
        Ok(text) => {
            let name = text.trim_end();
            if is_name(name) { Ok(name.to_owned()) } else { make(path) }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            data_dir::create(directory)?;
            make(path)
        }
        Err(error) => Err(error),
    }
}

fn make(path: &Path) -> io::Result<String> {
    let name = random();
    // Whole or not at all, also when the process ends in between.
    let part = path.with_extension("new");
    fs::write(&part, format!("{name}\n"))?;
    fs::rename(&part, path)?;
    Ok(name)
}

fn is_name(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

fn random() -> String {
    // The keys of the standard library's maps are random.
    format!("mqttx-{:016x}", RandomState::new().hash_one(std::process::id()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_made_once_and_kept() {
        let root = std::env::temp_dir().join(format!("mqttx-daemon-name-{}", std::process::id()));
        let directory = root.join("state");
        let name = kept_in(&directory);
        assert_eq!(kept_in(&directory), name);
        fs::write(directory.join(FILE), "not a name\nat all").unwrap();
        let other = kept_in(&directory);
        assert_ne!(other, name, "a damaged file is replaced");
        assert_eq!(kept_in(&directory), other);
        fs::remove_dir_all(&root).unwrap();
        fs::write(&root, "in the way").unwrap();
        assert!(is_name(&kept_in(&directory)), "without a directory it is not kept");
        fs::remove_file(&root).unwrap();
    }
}

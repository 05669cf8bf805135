//! Which directories have to be watched for a file, and the watch over them.

use std::collections::{BTreeSet, VecDeque};
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};

/// Links that are followed at most, as by the kernel.
const MAX_LINKS: usize = 40;

/// Calls when something changes in one of the directories. Without directories it holds no thread.
pub(super) struct Watcher {
    call: Arc<dyn Fn() + Send + Sync>,
    inner: Option<RecommendedWatcher>,
    watched: BTreeSet<PathBuf>,
}

impl Watcher {
    pub(super) fn new(call: impl Fn() + Send + Sync + 'static) -> Self {
        Self { call: Arc::new(call), inner: None, watched: BTreeSet::new() }
    }

    /// Watches these directories and no others; whether all of them can be.
    pub(super) fn watch(&mut self, wanted: BTreeSet<PathBuf>) -> bool {
        if wanted.is_empty() {
            self.inner = None;
            self.watched.clear();
            return true;
        }
        if self.inner.is_none() {
            let call = Arc::clone(&self.call);
            self.inner = notify::recommended_watcher(move |event: notify::Result<_>| {
                if event.map_or(true, |event: notify::Event| is_change(event.kind)) {
                    call();
                }
            })
            .inspect_err(|error| tracing::warn!(%error, "certificates are looked at, not watched"))
            .ok();
        }
        let Some(inner) = &mut self.inner else { return false };
        for gone in self.watched.difference(&wanted) {
            // One that was removed is not watched any more.
            let _ = inner.unwatch(gone);
        }
        // Again also what is watched: a directory that was removed and made again is another one.
        let mut all = true;
        for path in &wanted {
            all &= inner.watch(path, RecursiveMode::NonRecursive).is_ok();
        }
        self.watched = wanted;
        all
    }
}

/// Whether it may have changed a file; our own reading is told as well.
fn is_change(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(access) => access == AccessKind::Close(AccessMode::Write),
        _ => true,
    }
}

/// Adds the directories in which a change could change what `path` leads to: those that hold the file, and each link on
/// the way. Kubernetes renews a mounted secret by changing a link in the middle.
pub(super) fn directories(path: &Path, found: &mut BTreeSet<PathBuf>) {
    let Ok(absolute) = std::path::absolute(path) else { return };
    let mut rest: VecDeque<OsString> = VecDeque::new();
    let mut current = PathBuf::new();
    prepend(&absolute, &mut rest);
    let mut links = 0;
    while let Some(name) = rest.pop_front() {
        if name == ".." {
            current.pop();
            continue;
        }
        let next = current.join(&name);
        let target = std::fs::read_link(&next).ok().filter(|_| links < MAX_LINKS);
        if rest.is_empty() || target.is_some() {
            found.insert(current.clone());
        }
        match target {
            Some(target) => {
                links += 1;
                if target.is_absolute() {
                    current = PathBuf::new();
                }
                prepend(&target, &mut rest);
            }
            None => current = next,
        }
    }
}

fn prepend(path: &Path, rest: &mut VecDeque<OsString>) {
    for component in path.components().rev().filter(|c| *c != Component::CurDir) {
        rest.push_front(component.as_os_str().to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mqttx_test::TempDir;
    use std::os::unix::fs::symlink;

    fn of(path: &Path) -> Vec<PathBuf> {
        let mut found = BTreeSet::new();
        directories(path, &mut found);
        found.into_iter().collect()
    }

    #[test]
    fn the_directory_of_each_link_is_watched() {
        let place = TempDir::new("watch");
        let root = place.path().canonicalize().expect("a directory");
        std::fs::create_dir_all(root.join("mount/..v1")).expect("a directory");
        std::fs::write(root.join("mount/..v1/tls.crt"), "x").expect("a file");
        symlink("..v1", root.join("mount/..data")).expect("a link");
        symlink("..data/tls.crt", root.join("mount/tls.crt")).expect("a link");
        symlink(root.join("mount/tls.crt"), root.join("here.pem")).expect("a link");
        let expected = [root.clone(), root.join("mount"), root.join("mount/..v1")];
        assert_eq!(of(&root.join("here.pem")), expected);
        assert_eq!(of(&root.join("mount/../mount/..v1/none.pem")), [root.join("mount/..v1")]);
    }

    #[test]
    fn links_in_a_circle_end() {
        let place = TempDir::new("watch");
        symlink("b", place.path().join("a")).expect("a link");
        symlink("a", place.path().join("b")).expect("a link");
        assert!(!of(&place.path().join("a")).is_empty());
    }
}

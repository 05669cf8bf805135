//! One task for all connectors of a manager: changed files, and certificates that end.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::pool::Shared;
use super::watch::{Watcher, directories};

/// Files of one change are written one after the other.
const SETTLE: Duration = Duration::from_millis(50);
/// How often files are looked at that cannot be watched.
const LOOK: Duration = Duration::from_millis(900);
/// The longest sleep: the clock of the day may be set meanwhile.
const SLEEP: Duration = Duration::from_secs(3600);

/// Until the pool is gone.
pub(super) async fn keep(shared: Arc<Shared>) {
    let waker = Arc::downgrade(&shared);
    let mut watcher = Watcher::new(move || {
        if let Some(shared) = waker.upgrade() {
            shared.wake.notify_one();
        }
    });
    while !shared.is_closed() {
        let pause = look(&shared, &mut watcher).await;
        tokio::select! {
            () = shared.wake.notified() => tokio::time::sleep(SETTLE).await,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Takes what has changed; returns how long until the next look.
async fn look(shared: &Arc<Shared>, watcher: &mut Watcher) -> Duration {
    let connectors = shared.connectors();
    let mut wanted = BTreeSet::new();
    for connector in connectors.iter().filter(|connector| connector.options().reload) {
        let options = connector.options();
        connector.files().iter().for_each(|file| directories(file, &mut wanted));
        if let Some(directory) = &options.ca_dir {
            directories(&directory.join("*"), &mut wanted);
        }
    }
    // First the watch, then the look: what changes in between is noticed.
    let all_watched = watcher.watch(wanted);
    let reloading = connectors.clone();
    // What went wrong was told.
    let reload = move || {
        let watched = reloading.iter().filter(|connector| connector.options().reload);
        watched.for_each(|connector| drop(connector.reload()));
    };
    // It fails only when the runtime ends.
    let _ = tokio::task::spawn_blocking(reload).await;
    let now = SystemTime::now();
    let next = connectors.iter().filter_map(|connector| connector.tell_of_ends(now)).min();
    let pause = next.unwrap_or(SLEEP).clamp(Duration::from_secs(1), SLEEP);
    if all_watched { pause } else { pause.min(LOOK) }
}

//! One task for all connectors of a manager: changed files, and certificates that end.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::pool::Shared;
use super::watch::{Watcher, directories};

/// Files of one change are written one after the other.
const SETTLE: Duration = Duration::from_millis(50);
/// The time between looks that find nothing new: somebody may write to another file of the directory all the time.
const APART: Duration = Duration::from_millis(400);
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
        let (changed, pause) = look(&shared, &mut watcher).await;
        let looked = Instant::now();
        tokio::select! {
            () = shared.wake.notified() => {
                tokio::time::sleep(settle(changed, looked.elapsed())).await;
            }
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// How long after a change the files are looked at; the last look was so long ago, and found something new or not.
fn settle(changed: bool, since: Duration) -> Duration {
    if changed { SETTLE } else { SETTLE.max(APART.saturating_sub(since)) }
}

/// Takes what has changed; returns whether anything has, and how long until the next look.
async fn look(shared: &Arc<Shared>, watcher: &mut Watcher) -> (bool, Duration) {
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
        // All of them, whatever the first one says.
        watched.filter(|connector| matches!(connector.reload(), Ok(true))).count() > 0
    };
    // It fails only when the runtime ends.
    let changed = tokio::task::spawn_blocking(reload).await.unwrap_or(false);
    let now = SystemTime::now();
    let next = connectors.iter().filter_map(|connector| connector.tell_of_ends(now)).min();
    let pause = next.unwrap_or(SLEEP).clamp(Duration::from_secs(1), SLEEP);
    (changed, if all_watched { pause } else { pause.min(LOOK) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_in_which_others_write_is_looked_at_now_and_then() {
        let (soon, long) = (Duration::from_millis(10), Duration::from_secs(10));
        assert_eq!(settle(false, soon), Duration::from_millis(390));
        assert_eq!(settle(false, long), SETTLE, "a change after a quiet time is taken at once");
        assert_eq!(settle(true, soon), SETTLE, "one that follows a change is, too");
    }
}

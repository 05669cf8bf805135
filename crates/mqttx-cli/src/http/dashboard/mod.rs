//! The page at `/`, and what it shows.
//!
//! [`observer`] looks at sessions and forwarders once a second while somebody watches, and else every few seconds for the
//! charts alone. What it finds lies in the [`Board`]: rows with the version in which they changed. A page has one stream
//! ([`stream`]): the server remembers for it no more than which version it has seen, and sends what changed since. So a
//! slow page misses states in between, costs no queue, and holds up nobody.

mod board;
mod forwarder;
mod history;
mod journal;
mod observer;
mod page;
mod rate;
mod session;
mod stream;
mod table;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};

use board::Board;

pub(super) use observer::observe;
pub(super) use page::{file, index};
pub(super) use stream::stream;

/// Pages at a time; one more gets 503.
pub(super) const WATCHERS: usize = 16;

/// What all pages share.
pub(super) struct Dashboard {
    board: Mutex<Board>,
    /// What was looked at last.
    seen: watch::Sender<Seen>,
    places: Arc<Semaphore>,
    /// The first page came: the observer is to look at once.
    arrived: Notify,
    /// So that a page sees that another process answers.
    started: SystemTime,
}

/// The state of the observer.
#[derive(Clone, Copy, Default)]
struct Seen {
    version: u64,
    /// It looks no more.
    over: bool,
}

impl Dashboard {
    pub(super) fn new() -> Self {
        Self {
            board: Mutex::default(),
            seen: watch::Sender::new(Seen::default()),
            places: Arc::new(Semaphore::new(WATCHERS)),
            arrived: Notify::new(),
            started: SystemTime::now(),
        }
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for one more page, if there is one.
    fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).try_acquire_owned().ok()
    }

    fn is_watched(&self) -> bool {
        self.places.available_permits() < WATCHERS
    }
}

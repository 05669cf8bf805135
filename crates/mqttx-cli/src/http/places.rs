//! Places for connections. When all are taken, one that asked nothing yet makes room for the next.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// All places.
pub(super) struct Places {
    free: Arc<Semaphore>,
    limit: usize,
    /// The oldest first; those among them that asked or are gone are passed over.
    silent: VecDeque<Silent>,
}

/// What can be known, and wanted, of a connection from outside.
struct Silent {
    asked: Arc<AtomicBool>,
    leave: oneshot::Sender<()>,
}

/// One place, until it is dropped.
pub(super) struct Place {
    /// To be set at the first request.
    pub(super) asked: Arc<AtomicBool>,
    /// Says once, if ever, that the place is for somebody else.
    pub(super) leave: oneshot::Receiver<()>,
    _permit: OwnedSemaphorePermit,
}

impl Places {
    pub(super) fn new(limit: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(limit)), limit, silent: VecDeque::new() }
    }

    /// A place; `None` when all are taken by connections that asked something.
    pub(super) async fn take(&mut self) -> Option<Place> {
        let permit = match Arc::clone(&self.free).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) if self.dismiss() => Arc::clone(&self.free).acquire_owned().await.ok()?,
            Err(_) => return None,
        };
        if self.silent.len() >= 2 * self.limit {
            self.silent.retain(Silent::is_silent);
        }
        let (asked, (leave, left)) = (Arc::<AtomicBool>::default(), oneshot::channel());
        self.silent.push_back(Silent { asked: Arc::clone(&asked), leave });
        Some(Place { asked, leave: left, _permit: permit })
    }

    /// Sends the one away that has been silent for the longest time; `false`: there is none.
    fn dismiss(&mut self) -> bool {
        while let Some(oldest) = self.silent.pop_front() {
            if oldest.is_silent() && oldest.leave.send(()).is_ok() {
                return true;
            }
        }
        false
    }
}

impl Silent {
    fn is_silent(&self) -> bool {
        !self.asked.load(Ordering::Relaxed) && !self.leave.is_closed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_oldest_that_asked_nothing_makes_room() {
        let mut places = Places::new(2);
        let (first, second) = (places.take().await.unwrap(), places.take().await.unwrap());
        first.asked.store(true, Ordering::Relaxed);
        let leaving = tokio::spawn(async move {
            let Place { leave, _permit, .. } = second;
            leave.await.expect("it is to leave");
        });
        let third = places.take().await.unwrap();
        leaving.await.unwrap();
        third.asked.store(true, Ordering::Relaxed);
        assert!(places.take().await.is_none(), "both asked something");
        drop(first);
        assert!(places.take().await.is_some());
    }

    #[tokio::test]
    async fn connections_that_are_over_are_forgotten() {
        let mut places = Places::new(2);
        for _ in 0..100 {
            let place = places.take().await.unwrap();
            place.asked.store(true, Ordering::Relaxed);
        }
        assert!(places.silent.len() <= 4);
    }
}

//! Lines on their way to stderr. Whoever writes one does not wait for whoever reads them.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Bytes of lines that wait.
const BYTES: usize = 1 << 20;
/// How long a line waits for room, once: after that lines are lost until some are taken again.
const PATIENCE: Duration = Duration::from_millis(100);

/// However slowly they are taken, the end is not held up for longer.
const LAST: Duration = Duration::from_secs(10);

/// The lines that wait, and a thread that writes them.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    /// Something is to be written.
    more: Condvar,
    /// Something was written.
    less: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    lines: VecDeque<String>,
    bytes: usize,
    /// One of them is being written.
    writing: bool,
    /// Nothing was written for a while.
    stuck: bool,
    /// Lines that found no room and were not told of.
    lost: u64,
}

impl Queue {
    /// `write` gets each line, on a thread of its own.
    pub(super) fn start(write: impl Fn(String) + Send + 'static) -> Arc<Self> {
        let queue = Arc::new(Self::default());
        let theirs = Arc::clone(&queue);
        std::thread::spawn(move || theirs.write_all(write));
        queue
    }

    /// Appends a line; `false`: there was no room for it, which is counted.
    pub(super) fn put(&self, line: String) -> bool {
        let mut waiting = self.lock();
        if waiting.is_full() && !waiting.stuck {
            waiting = self.until(waiting, PATIENCE, |waiting| !waiting.is_full());
            waiting.stuck = waiting.is_full();
        }
        if waiting.is_full() {
            waiting.lost += 1;
            return false;
        }
        waiting.bytes += line.len();
        waiting.lines.push_back(line);
        self.more.notify_one();
        true
    }

    /// How many were lost since the last time, if there is room to say so.
    pub(super) fn take_lost(&self) -> Option<u64> {
        let mut waiting = self.lock();
        let tells = waiting.lost > 0 && !waiting.is_full();
        tells.then(|| std::mem::take(&mut waiting.lost))
    }

    /// Waits until all is written: for as long as lines are taken, the next one within `patience`, but not beyond [`LAST`].
    pub(super) fn flush(&self, patience: Duration) {
        let end = Instant::now() + LAST;
        let mut waiting = self.lock();
        loop {
            let left = waiting.left();
            if left == 0 || Instant::now() >= end {
                return;
            }
            waiting = self.until(waiting, patience, |waiting| waiting.left() < left);
            if waiting.left() >= left {
                return;
            }
        }
    }

    fn write_all(&self, write: impl Fn(String)) {
        let mut waiting = self.lock();
        loop {
            let Some(line) = waiting.lines.pop_front() else {
                waiting = self.more.wait(waiting).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            waiting.bytes -= line.len();
            waiting.writing = true;
            drop(waiting);
            write(line);
            waiting = self.lock();
            (waiting.writing, waiting.stuck) = (false, false);
            self.less.notify_all();
        }
    }

    fn until<'a>(
        &self,
        waiting: MutexGuard<'a, Waiting>,
        patience: Duration,
        met: impl Fn(&Waiting) -> bool,
    ) -> MutexGuard<'a, Waiting> {
        let met = self.less.wait_timeout_while(waiting, patience, |waiting| !met(waiting));
        met.unwrap_or_else(PoisonError::into_inner).0
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// Lines that are not written yet.
    fn left(&self) -> usize {
        self.lines.len() + usize::from(self.writing)
    }

    /// The last line may be a long one.
    fn is_full(&self) -> bool {
        self.bytes >= BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    const SOON: Duration = Duration::from_secs(10);

    #[test]
    fn nobody_waits_for_a_reader_that_takes_nothing_and_what_is_lost_is_counted() {
        let (reader, read) = mpsc::sync_channel(0);
        let queue = Queue::start(move |line: String| reader.send(line.len()).expect("a reader"));
        let line = || "x".repeat(BYTES / 4);
        // One is being written, or soon will be.
        let kept = (0..100).filter(|_| queue.put(line())).count();
        assert!((4..=5).contains(&kept), "{kept}");
        assert_eq!(queue.take_lost(), None, "there is no room to say so");
        for _ in 0..kept {
            assert_eq!(read.recv_timeout(SOON), Ok(BYTES / 4));
        }
        queue.flush(SOON);
        assert_eq!(queue.take_lost(), Some(100 - kept as u64));
        assert_eq!(queue.take_lost(), None);
        assert!(queue.put("there is room again".to_owned()));
        assert_eq!(read.recv_timeout(SOON), Ok(19));
    }

    #[test]
    fn a_flush_waits_for_the_last_line_and_not_for_ever() {
        let (reader, read) = mpsc::sync_channel::<()>(0);
        let queue = Queue::start(move |_| reader.send(()).expect("a reader"));
        queue.put("one".to_owned());
        queue.flush(Duration::from_millis(1));
        assert!(read.try_recv().is_ok() || read.recv_timeout(SOON).is_ok());
        queue.flush(SOON);
        assert_eq!(queue.lock().left(), 0);
    }
}

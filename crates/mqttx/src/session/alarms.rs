//! The alarms of all sessions of a manager, on one timer of the runtime.
//!
//! A timer of the runtime takes 128 bytes, and a session that only waits needs one for each keep-alive. Here its alarm is
//! three words in a heap.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::timeout_at;

use super::shared::now;

/// Who has alarms: a session.
pub(crate) trait Sleeper: Send + Sync {
    /// The time of the alarm with that number has come.
    fn ring(&self, number: u32);
    /// Whether the alarm with that number still counts, since no other one was set for it.
    fn awaits(&self, number: u32) -> bool;
}

/// Rings at the times that sessions set. Its task ends with it.
pub(crate) struct Alarms<S: Sleeper> {
    clock: Arc<Clock<S>>,
    keeper: AbortHandle,
}

struct Clock<S> {
    /// Alarms are counted from here.
    start: Instant,
    queue: Mutex<Queue<S>>,
    /// The keeper is to look at the queue again.
    changed: Notify,
}

struct Queue<S> {
    alarms: BinaryHeap<Reverse<Alarm<S>>>,
    /// With so many, those that count no more are taken out.
    sweep_at: usize,
}

struct Alarm<S> {
    /// In nanoseconds since the start of the clock.
    at: u64,
    session: Weak<S>,
    number: u32,
}

/// With fewer alarms none is taken out before its time.
const SWEEP: usize = 1024;
/// After so many alarms at a time other tasks get their chance.
const BATCH: usize = 256;

impl<S: Sleeper + 'static> Alarms<S> {
    pub(crate) fn new(runtime: &Handle) -> Self {
        let queue = Queue { alarms: BinaryHeap::new(), sweep_at: SWEEP };
        let (queue, changed) = (Mutex::new(queue), Notify::new());
        let clock = Arc::new(Clock { start: now(), queue, changed });
        let keeper = runtime.spawn(keep(Arc::clone(&clock))).abort_handle();
        Self { clock, keeper }
    }

    /// Rings at that time, or a moment later. The session may hold its own lock: it is not called from here.
    pub(crate) fn set(&self, at: Instant, session: &Arc<S>, number: u32) {
        let at = self.clock.since_start(at);
        let mut queue = self.clock.lock();
        let first = queue.alarms.peek().is_none_or(|Reverse(first)| at < first.at);
        queue.alarms.push(Reverse(Alarm { at, session: Arc::downgrade(session), number }));
        let changed = first || queue.alarms.len() >= queue.sweep_at;
        drop(queue);
        if changed {
            self.clock.changed.notify_one();
        }
    }
}

impl<S: Sleeper> Drop for Alarms<S> {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

/// Rings, until it is aborted.
async fn keep<S: Sleeper>(clock: Arc<Clock<S>>) {
    let mut due = Vec::new();
    loop {
        let next = clock.take_due(now(), &mut due);
        let many = due.len() == BATCH;
        for Alarm { session, number, .. } in due.drain(..) {
            if let Some(session) = session.upgrade() {
                session.ring(number);
            }
        }
        let changed = clock.changed.notified();
        match next {
            _ if many => tokio::task::yield_now().await,
            // Over or not, it looks again.
            Some(at) => drop(timeout_at(at.into(), changed).await),
            None => changed.await,
        }
    }
}

impl<S: Sleeper> Clock<S> {
    /// Moves alarms that are over into `due`, and tells when the next one is.
    fn take_due(&self, now: Instant, due: &mut Vec<Alarm<S>>) -> Option<Instant> {
        // Dropped without the lock: one may turn out to be the last to hold its session.
        let mut held = Vec::new();
        let mut queue = self.lock();
        if queue.alarms.len() >= queue.sweep_at {
            queue.alarms.retain(|Reverse(alarm)| {
                let Some(session) = alarm.session.upgrade() else { return false };
                let counts = session.awaits(alarm.number);
                held.push(session);
                counts
            });
            let sweep_at = SWEEP.max(2 * queue.alarms.len());
            queue.alarms.shrink_to(sweep_at);
            queue.sweep_at = sweep_at;
        }
        let now = self.since_start(now);
        while let Some(Reverse(first)) = queue.alarms.peek() {
            if first.at > now || due.len() == BATCH {
                return Some(self.start + Duration::from_nanos(first.at));
            }
            due.extend(queue.alarms.pop().map(|Reverse(alarm)| alarm));
        }
        None
    }

    fn since_start(&self, at: Instant) -> u64 {
        // Some centuries at most.
        let since = at.saturating_duration_since(self.start).as_nanos();
        u64::try_from(since).unwrap_or(u64::MAX / 2)
    }

    fn lock(&self) -> MutexGuard<'_, Queue<S>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S> PartialEq for Alarm<S> {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl<S> Eq for Alarm<S> {}

impl<S> PartialOrd for Alarm<S> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<S> Ord for Alarm<S> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.at.cmp(&other.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};
    use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

    /// Tells of the numbers that rang, and awaits one of them.
    struct Bed(UnboundedSender<u32>, AtomicU32);

    impl Sleeper for Bed {
        fn ring(&self, number: u32) {
            self.0.send(number).expect("somebody listens");
        }

        fn awaits(&self, number: u32) -> bool {
            self.1.load(Ordering::Relaxed) == number
        }
    }

    fn bed() -> (Arc<Bed>, UnboundedReceiver<u32>) {
        let (sender, receiver) = unbounded_channel();
        (Arc::new(Bed(sender, AtomicU32::new(0))), receiver)
    }

    fn alarms() -> Alarms<Bed> {
        Alarms::new(&Handle::current())
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn alarms_ring_in_the_order_of_their_times_whenever_they_were_set() {
        let (alarms, start) = (alarms(), now());
        let (bed, mut rang) = bed();
        alarms.set(start + 60 * SECOND, &bed, 1);
        alarms.set(start + 5 * SECOND, &bed, 2);
        for (number, time) in [(2, 5), (1, 60), (3, 90)] {
            assert_eq!(rang.recv().await, Some(number));
            assert_eq!((now() - start).as_secs(), time);
            if number == 1 {
                alarms.set(start + 90 * SECOND, &bed, 3);
            }
        }
        alarms.set(start, &bed, 4);
        assert_eq!(rang.recv().await, Some(4), "what is over already rings at once");
    }

    #[tokio::test(start_paused = true)]
    async fn thousands_at_the_same_time_all_ring() {
        let alarms = alarms();
        let (bed, mut rang) = bed();
        let at = now() + SECOND;
        (0..5000).for_each(|_| alarms.set(at, &bed, 0));
        let mut numbers = Vec::new();
        while numbers.len() < 5000 {
            rang.recv_many(&mut numbers, 5000).await;
        }
        assert_eq!((now() >= at, rang.len()), (true, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn sessions_that_are_gone_and_alarms_that_do_not_count_leave_no_pile() {
        let alarms = alarms();
        let (bed, mut rang) = bed();
        bed.1.store(7, Ordering::Relaxed);
        let at = now() + 3600 * SECOND;
        alarms.set(at, &bed, 7);
        for number in 0..20 * SWEEP as u32 {
            let (gone, _) = self::bed();
            alarms.set(at, &gone, 7);
            alarms.set(at, &bed, number + 8);
            if number % 100 == 0 {
                // The keeper has its turn.
                tokio::task::yield_now().await;
            }
        }
        tokio::task::yield_now().await;
        let left = alarms.clock.lock().alarms.len();
        assert!(left <= 2 * SWEEP, "{left} alarms");
        while rang.recv().await != Some(7) {}
    }

    #[tokio::test]
    async fn its_task_ends_with_it() {
        let alarms = alarms();
        let clock = Arc::downgrade(&alarms.clock);
        drop(alarms);
        while clock.strong_count() > 0 {
            tokio::task::yield_now().await;
        }
    }
}

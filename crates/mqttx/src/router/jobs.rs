//! Routes whose handlers may block, and the threads that run those.
//!
//! A job is a route that has messages. It is put in a queue, and threads of the runtime's blocking pool take one after the other: to start
//! a job of the pool for each takes as long as some hundred short handlers, and with many routes each job is for few messages.
//!
//! No job waits behind a handler that blocks. While there is one in the queue a thread is *coming*: asked for, and not there yet, or
//! watching. Up to a number of threads stay and take the next job. One that comes besides them looks whether these begin jobs: if not, it takes one,
//! and before it does, the next one is asked for.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;

/// For so long no job was begun: those who stay block.
const WATCH: Duration = Duration::from_millis(1);

/// What there is to do, for as long as it takes.
pub(crate) trait Job: Send + 'static {
    fn run(self);
}

/// The queue of a manager.
pub(crate) struct Jobs<J> {
    runtime: Handle,
    /// How many threads stay.
    most: usize,
    state: Mutex<State<J>>,
    /// Tells the one that watches that it may stay.
    place: Condvar,
}

struct State<J> {
    ready: VecDeque<J>,
    /// How many threads stay.
    staying: usize,
    /// A thread was asked for that has not taken a job yet. While there is a job, there is one.
    coming: bool,
    /// It is there, and watches those who stay.
    watching: bool,
    /// How many jobs were begun. It wraps around.
    begun: u32,
}

impl<J: Job> Jobs<J> {
    pub(crate) fn new(runtime: Handle) -> Arc<Self> {
        let most = std::thread::available_parallelism().map_or(2, usize::from);
        Self::with_most(runtime, most)
    }

    fn with_most(runtime: Handle, most: usize) -> Arc<Self> {
        let ready = VecDeque::new();
        let state = State { ready, staying: 0, coming: false, watching: false, begun: 0 };
        Arc::new(Self { runtime, most, state: Mutex::new(state), place: Condvar::new() })
    }

    pub(crate) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Runs it on a thread that may block.
    pub(crate) fn add(self: &Arc<Self>, job: J) {
        let mut state = self.lock();
        state.ready.push_back(job);
        if !state.coming {
            self.call(state);
        } else if state.watching && state.staying < self.most {
            self.place.notify_one();
        }
    }

    /// Asks for a thread.
    fn call(self: &Arc<Self>, mut state: MutexGuard<'_, State<J>>) {
        state.coming = true;
        let begun = state.begun;
        drop(state);
        let coming = Coming(Some(Arc::clone(self)));
        self.runtime.spawn_blocking(move || coming.come(begun));
    }

    /// A thread that was asked for when so many jobs had begun.
    fn come(self: &Arc<Self>, begun: u32) {
        let mut state = self.watch(begun);
        state.coming = false;
        let Some(mut job) = state.ready.pop_front() else { return };
        let stay = (state.staying < self.most).then(|| Stay(self));
        state.staying += usize::from(stay.is_some());
        loop {
            state.begun = state.begun.wrapping_add(1);
            if !state.ready.is_empty() && !state.coming {
                self.call(state);
            } else {
                drop(state);
            }
            job.run();
            if stay.is_none() {
                return;
            }
            state = self.lock();
            match state.ready.pop_front() {
                Some(next) => job = next,
                None => break,
            }
        }
        // Under the same lock as the look: whoever adds a job from now on finds the place free.
        state.staying -= 1;
        drop(state);
        std::mem::forget(stay);
    }

    /// Waits until it is needed, or there is nothing to do.
    fn watch(&self, mut begun: u32) -> MutexGuard<'_, State<J>> {
        let mut state = self.lock();
        while !state.ready.is_empty() && state.staying >= self.most && state.begun != begun {
            begun = state.begun;
            state.watching = true;
            let waited = self.place.wait_timeout_while(state, WATCH, |state| {
                // Those who stay leave when they find nothing: then there is a place.
                state.staying >= self.most
            });
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            state.watching = false;
        }
        state
    }

    fn lock(&self) -> MutexGuard<'_, State<J>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A thread stays. Dropped when a job panics.
struct Stay<'a, J: Job>(&'a Jobs<J>);

impl<J: Job> Drop for Stay<'_, J> {
    fn drop(&mut self) {
        self.0.lock().staying -= 1;
    }
}

/// A thread was asked for.
struct Coming<J: Job>(Option<Arc<Jobs<J>>>);

impl<J: Job> Coming<J> {
    fn come(mut self, begun: u32) {
        if let Some(jobs) = self.0.take() {
            jobs.come(begun);
        }
    }
}

impl<J: Job> Drop for Coming<J> {
    /// The runtime has ended: nobody comes any more, and jobs must not keep each other.
    fn drop(&mut self) {
        let Some(jobs) = self.0.take() else { return };
        let mut state = jobs.lock();
        state.coming = false;
        let never = std::mem::take(&mut state.ready);
        drop(state);
        drop(never);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Barrier, mpsc};
    use tokio::runtime::{Builder, Runtime};

    type Work = Box<dyn FnOnce() + Send>;

    impl Job for Work {
        fn run(self) {
            self();
        }
    }

    fn runtime() -> Runtime {
        Builder::new_multi_thread().worker_threads(1).build().expect("a runtime")
    }

    #[test]
    fn short_jobs_share_few_threads() {
        let (runtime, (done, finished)) = (runtime(), mpsc::channel());
        let jobs = Jobs::with_most(runtime.handle().clone(), 2);
        for number in 0..20_000 {
            let done = done.clone();
            jobs.add(Box::new(move || {
                done.send((number, std::thread::current().id())).expect("somebody counts");
            }) as Work);
        }
        let (numbers, threads): (HashSet<_>, HashSet<_>) = finished.iter().take(20_000).unzip();
        assert_eq!(numbers.len(), 20_000);
        // Two, and those who came when these had no turn for a while.
        assert!(threads.len() < 200, "{} threads", threads.len());
    }

    #[test]
    fn no_job_waits_behind_one_that_blocks() {
        let runtime = runtime();
        let jobs = Jobs::with_most(runtime.handle().clone(), 2);
        // Each waits for all others, so that they run at the same time.
        let all = Arc::new(Barrier::new(101));
        for _ in 0..100 {
            let all = Arc::clone(&all);
            let wait = move || {
                all.wait();
            };
            jobs.add(Box::new(wait) as Work);
        }
        all.wait();
    }

    #[test]
    fn jobs_that_come_while_others_leave_or_block_are_all_run() {
        let (runtime, ran) = (runtime(), Arc::new(AtomicUsize::new(0)));
        let jobs = Jobs::with_most(runtime.handle().clone(), 2);
        std::thread::scope(|scope| {
            for adder in 0..3_u32 {
                let (jobs, ran) = (&jobs, &ran);
                scope.spawn(move || {
                    for number in 0..2000 {
                        let (ending, end) = mpsc::channel::<()>();
                        let ran = Arc::clone(ran);
                        jobs.add(Box::new(move || {
                            ran.fetch_add(1, Ordering::Relaxed);
                            drop(ending);
                        }) as Work);
                        if number % (adder + 2) == 0 {
                            // The queue is empty now and then. The end of the job closes the channel.
                            assert!(end.recv().is_err());
                        }
                    }
                });
            }
        });
        let (last, end) = mpsc::channel::<()>();
        jobs.add(Box::new(move || drop(last)) as Work);
        assert!(end.recv().is_err());
        drop(runtime);
        assert_eq!(ran.load(Ordering::Relaxed), 6000);
        assert_eq!(jobs.lock().staying, 0, "who finds nothing leaves its place");
    }

    #[test]
    fn a_pool_of_one_thread_runs_all_jobs() {
        let runtime = Builder::new_multi_thread().worker_threads(1).max_blocking_threads(1).build();
        let (runtime, (done, finished)) = (runtime.expect("a runtime"), mpsc::channel());
        let jobs = Jobs::with_most(runtime.handle().clone(), 2);
        for number in 0..1000 {
            let done = done.clone();
            jobs.add(Box::new(move || done.send(number).expect("somebody counts")) as Work);
        }
        let numbers: Vec<_> = finished.iter().take(1000).collect();
        assert_eq!(numbers, (0..1000).collect::<Vec<_>>(), "in their order");
    }

    #[test]
    fn a_job_that_panics_leaves_its_place() {
        let runtime = runtime();
        let jobs = Jobs::with_most(runtime.handle().clone(), 1);
        for number in 0..10 {
            let (left, end) = mpsc::channel::<()>();
            jobs.add(Box::new(move || {
                drop(left);
                assert!(number > 10, "on purpose");
            }) as Work);
            assert!(end.recv().is_err());
        }
        let (stays, end) = mpsc::channel();
        jobs.add(Box::new(move || stays.send(()).expect("somebody waits")) as Work);
        end.recv().expect("it ran");
        drop(runtime);
        assert_eq!(jobs.lock().staying, 0);
    }

    #[test]
    fn jobs_that_nobody_will_run_are_dropped() {
        let runtime = runtime();
        let jobs = Jobs::with_most(runtime.handle().clone(), 1);
        drop(runtime);
        let (held, gone) = mpsc::channel::<()>();
        jobs.add(Box::new(move || drop(held)) as Work);
        assert!(gone.recv().is_err());
        assert!(!jobs.lock().coming && jobs.lock().ready.is_empty());
    }
}

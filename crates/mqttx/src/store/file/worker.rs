//! A thread with a queue.

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

/// Works until it is dropped, and has ended then.
#[derive(Debug)]
pub(super) struct Worker<T> {
    queue: Option<Sender<T>>,
    thread: Option<JoinHandle<()>>,
}

impl<T: Send + 'static> Worker<T> {
    pub(super) fn start(
        name: &str,
        run: impl FnOnce(&Receiver<T>) + Send + 'static,
    ) -> io::Result<Self> {
        let (queue, receiver) = channel();
        let builder = std::thread::Builder::new().name(name.to_owned());
        let thread = builder.spawn(move || run(&receiver))?;
        Ok(Self { queue: Some(queue), thread: Some(thread) })
    }

    /// Returns whether the thread is there to do it.
    pub(super) fn send(&self, work: T) -> bool {
        self.queue.as_ref().is_some_and(|queue| queue.send(work).is_ok())
    }
}

impl<T> Drop for Worker<T> {
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

//! How a log tells how far it is.

use std::task::{Context, Waker};

use super::super::Store;
use super::probe::Probe;
use super::records::{assign, done, enqueue, forgotten, low, received};

/// Positions count the records of one opened log from 1, never fall, and reach the last one that was submitted.
///
/// # Panics
/// When they do not.
pub async fn positions_never_fall_and_reach_the_last(store: &dyn Store) {
    let mut probe = Probe::new(store, "positions").await;
    for number in 0..200 {
        probe.submit(&[enqueue(low(number), b"x"), assign(low(number), 1 + number as u16, number)]);
        if number % 3 == 0 {
            probe.progress().await;
        }
    }
    probe.synced().await;
    // In the next life they begin again.
    let mut probe = probe.reopen().await;
    assert_eq!(probe.progress.written, 0, "nothing was submitted");
    probe.submit(&[done(low(0))]);
    probe.written().await;
    assert_eq!(probe.progress.written, 1);
}

/// A record that nothing waits for is written all the same, and soon.
///
/// # Panics
/// When it is not.
pub async fn finished_becomes_written_with_nothing_behind_it(store: &dyn Store) {
    let mut probe = Probe::new(store, "finished alone").await;
    probe.keep(&[enqueue(low(0), b"x"), assign(low(0), 1, 1), received(4)]).await;
    probe.submit(&[done(low(0))]);
    probe.written().await;
    probe.submit(&[forgotten(4)]);
    probe.written().await;
    probe.reopen().await;
}

/// News wake whoever looked last.
///
/// # Panics
/// When nobody is woken.
pub async fn the_last_waker_is_woken(store: &dyn Store) {
    let mut probe = Probe::new(store, "wakers").await;
    for number in 0..20 {
        // One looks and goes away; `keep` looks with the waker of this task, and sleeps.
        let looked = probe.log.poll_update(&mut Context::from_waker(Waker::noop()));
        assert!(looked.is_pending(), "no news without records: {looked:?}");
        probe.keep(&[enqueue(low(number), b"x")]).await;
        while probe.log.poll_update(&mut Context::from_waker(Waker::noop())).is_ready() {}
    }
}

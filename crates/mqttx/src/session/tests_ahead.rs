//! Publishers that pause, whose runtime ends or who give up.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use super::Session;
use super::ahead::{AHEAD_IN_A_PAUSE, PAUSE, PAUSING};
use crate::options::SessionOptions;
use crate::transport::mem::{Listener, Peer};
use crate::{ManagerBuilder, PublishError, QoS, SessionManager};

/// One message at a time.
const NARROW: &str = "20 { 00 00 { 21 00 01 } }";

pub(super) async fn connected() -> (SessionManager, Session, Listener, Peer) {
    let mut listener = Listener::bind("mem");
    let manager = ManagerBuilder::default().connect_rate(0).build();
    let options = SessionOptions::quick_connect("s", "mem").build().expect("valid");
    let session = manager.add_session(options).expect("a session");
    let peer = listener.accept_and_answer(NARROW).await;
    session.wait_ready(Duration::from_secs(5)).await.expect("ready");
    (manager, session, listener, peer)
}

pub(super) type Submitting<'a> = Pin<Box<dyn Future<Output = Result<(), PublishError>> + 'a>>;

/// More than are accepted between two pauses, and before the first one.
const ENOUGH: usize = 512;

/// Publishes until it has to pause.
pub(super) fn until_pause<'a>(session: &'a Session, waker: &Waker) -> Option<Submitting<'a>> {
    (0..ENOUGH).find_map(|_| {
        let message = crate::Publish::new("t", "x").qos(QoS::AtLeastOnce);
        let mut submitting: Submitting<'a> = Box::pin(session.submit(message));
        match submitting.as_mut().poll(&mut Context::from_waker(waker)) {
            Poll::Pending => Some(submitting),
            Poll::Ready(outcome) => {
                outcome.expect("accepted");
                None
            }
        }
    })
}

/// A publisher with a task of its own, which somebody else runs.
struct Publisher<'a> {
    submitting: Submitting<'a>,
    task: Arc<Task>,
}

impl<'a> Publisher<'a> {
    /// One that pauses.
    fn pausing(session: &'a Session) -> Self {
        let task = Arc::new(Task::default());
        let waker = Arc::clone(&task).into();
        Self { submitting: until_pause(session, &waker).expect("it is far ahead"), task }
    }

    /// Whether its pause is over, if it is run now.
    fn is_over(&mut self) -> bool {
        let waker = Arc::clone(&self.task).into();
        let outcome = self.submitting.as_mut().poll(&mut Context::from_waker(&waker));
        matches!(outcome, Poll::Ready(Ok(())))
    }

    fn was_woken(&self) -> bool {
        self.task.0.load(Ordering::Relaxed)
    }
}

/// Whether it was woken.
#[derive(Default)]
struct Task(AtomicBool);

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_publisher_on_another_executor_outlives_the_runtime_of_its_session() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (_manager, session, _listener, _peer) = runtime.block_on(connected());
    let mut publisher = Publisher::pausing(&session);
    drop(runtime);
    assert!(publisher.was_woken() && publisher.is_over(), "it was accepted");
}

/// What runs the driver may stand still until the publisher is through.
#[test]
fn a_publisher_on_another_executor_waits_for_no_turn_of_the_driver() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (_manager, session, _listener, mut peer) = runtime.block_on(connected());
    for number in 0..4000 {
        let mut submitting =
            std::pin::pin!(session.submit(crate::Publish::new("t", vec![0; 1024])));
        let mut poll = || submitting.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!((0..3).any(|_| poll().is_ready()), "number {number}");
    }
    runtime.block_on(async {
        let reading = async {
            loop {
                peer.recv().await;
            }
        };
        tokio::select! {
            flushed = session.flush(Duration::from_secs(5)) => flushed.expect("all are sent"),
            () = reading => {}
        }
    });
}

#[tokio::test(start_paused = true)]
async fn a_driver_moves_although_turns_are_asked_for_again_and_again() {
    let (_manager, session, _listener, _peer) = connected().await;
    let mut asked = 0;
    let ask = || {
        let mut state = session.shared.lock();
        state.pulse = true;
        session.shared.unlock_and_wake(state);
    };
    let asking = async {
        for _ in 0..1000 {
            asked += 1;
            ask();
            tokio::task::yield_now().await;
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        biased;
        () = asking => {}
        moved = session.pulse(Duration::from_secs(5)) => assert!(moved),
    }
    assert!(asked < 1000);
}

#[tokio::test(start_paused = true)]
async fn publishers_that_gave_up_keep_nobody_from_pausing() {
    let (_manager, session, _listener, _peer) = connected().await;
    let pausing: Vec<_> = (0..PAUSING).map(|_| Publisher::pausing(&session)).collect();
    assert!(until_pause(&session, Waker::noop()).is_none(), "so many pause at a time");
    drop(pausing);
    assert!(until_pause(&session, Waker::noop()).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_pause_behind_many_others_may_take_longer() {
    let (_manager, session, _listener, _peer) = connected().await;
    let mut pausing: Vec<_> = (0..PAUSING).map(|_| Publisher::pausing(&session)).collect();
    let longest = (PAUSING - 1) / AHEAD_IN_A_PAUSE;
    for round in 0..=longest {
        // The clock of the runtime counts milliseconds, and rounds up.
        tokio::time::advance(PAUSE - Duration::from_millis(2)).await;
        assert!(pausing.iter_mut().all(|publisher| !publisher.is_over()), "round {round}");
        tokio::time::advance(Duration::from_millis(2)).await;
        let before = pausing.len();
        pausing.retain_mut(|publisher| !publisher.is_over());
        assert_eq!(before - pausing.len(), AHEAD_IN_A_PAUSE.min(before), "round {round}");
    }
    assert!(pausing.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_publisher_that_gives_up_its_turn_wakes_the_next_one() {
    let (_manager, session, _listener, peer) = connected().await;
    let mut pausing: Vec<_> = (0..200).map(|_| Publisher::pausing(&session)).collect();
    let begun = tokio::time::Instant::now();
    drop(peer);
    while !pausing[0].was_woken() {
        tokio::task::yield_now().await;
    }
    // The driver has few turns before it sleeps.
    assert!(!pausing[199].was_woken());
    for (number, publisher) in pausing.drain(..).enumerate() {
        while !publisher.was_woken() {
            tokio::task::yield_now().await;
        }
        assert!(begun.elapsed() < PAUSE, "number {number}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_turn_of_the_driver_wakes_one_and_does_not_wait_for_it() {
    let (_manager, session, _listener, _peer) = connected().await;
    let mut pausing: Vec<_> = (0..3).map(|_| Publisher::pausing(&session)).collect();
    let woken = |pausing: &[Publisher<'_>]| pausing.iter().filter(|p| p.was_woken()).count();
    let turn = || {
        let mut state = session.shared.lock();
        state.awake(super::shared::now());
        state.end_pause().into_iter().for_each(Waker::wake);
    };
    turn();
    assert_eq!(woken(&pausing), 0, "messages wait for the window");
    session.shared.lock().core.handle_disconnected();
    for number in 1..=2 {
        turn();
        assert_eq!(woken(&pausing), number);
    }
    assert!(!pausing[2].was_woken() && pausing[1].is_over());
    while !pausing[2].was_woken() {
        // The one before it had its place, and asked for a turn of the driver.
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_pauses_for_a_session_that_is_gone() {
    let (manager, session, _listener, mut peer) = connected().await;
    let mut pausing: Vec<_> = (0..5).map(|_| Publisher::pausing(&session)).collect();
    let begun = tokio::time::Instant::now();
    tokio::join!(
        async { manager.remove_session("s").await.expect("removed") },
        // It closes the connection once it has read all.
        async move { while peer.recv().await[0] != 0xe0 {} },
    );
    for publisher in &mut pausing {
        assert!(publisher.was_woken() && publisher.is_over());
    }
    assert_eq!(begun.elapsed(), Duration::ZERO, "their time was not over");
}

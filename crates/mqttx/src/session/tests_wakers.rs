//! Wakers of publishers and deliveries, which may run code of their executor when they are dropped.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use super::Session;
use super::tests_ahead::{Submitting, connected, until_pause};
use crate::options::SessionOptions;
use crate::{Outbox, Publish, QoS, SessionManager};

/// Looks at the session when it is dropped.
struct Curious {
    session: Session,
    looked: Arc<AtomicBool>,
}

impl Curious {
    fn waker(session: &Session) -> (Waker, Arc<AtomicBool>) {
        let looked = Arc::new(AtomicBool::new(false));
        let curious = Self { session: session.clone(), looked: Arc::clone(&looked) };
        (Waker::from(Arc::new(curious)), looked)
    }
}

impl Wake for Curious {
    fn wake(self: Arc<Self>) {}
}

impl Drop for Curious {
    fn drop(&mut self) {
        // On another thread, so that it fails where it would wait for ever.
        let (session, (seen, is_seen)) = (self.session.clone(), std::sync::mpsc::channel());
        std::thread::spawn(move || {
            let _ = session.metrics();
            seen.send(())
        });
        let looked = is_seen.recv_timeout(Duration::from_secs(5)).is_ok();
        self.looked.store(looked, Ordering::Relaxed);
    }
}

#[tokio::test(start_paused = true)]
async fn wakers_of_those_who_pause_are_dropped_without_the_lock() {
    let (_manager, session, _listener, _peer) = connected().await;
    let ((first, first_looked), (second, second_looked)) =
        (Curious::waker(&session), Curious::waker(&session));
    let mut submitting = until_pause(&session, &first).expect("it is far ahead");
    drop(first);
    assert!(submitting.as_mut().poll(&mut Context::from_waker(&second)).is_pending());
    assert!(first_looked.load(Ordering::Relaxed), "another task has it now");
    drop((second, submitting));
    assert!(second_looked.load(Ordering::Relaxed), "it was given up");
}

#[tokio::test(start_paused = true)]
async fn wakers_of_those_who_wait_for_room_are_dropped_without_the_lock() {
    let manager = SessionManager::new();
    let outbox = Outbox { messages: Some(1), ..Outbox::default() };
    let options = SessionOptions::quick_connect("s", "mem").manual_connect(true).outbox(outbox);
    let session = manager.add_session(options.build().expect("valid")).expect("a session");
    let message = || Publish::new("t", "x").qos(QoS::AtLeastOnce);
    drop(session.try_publish(message()).expect("there is room for one"));
    let ((first, first_looked), (second, second_looked)) =
        (Curious::waker(&session), Curious::waker(&session));
    let mut submitting: Submitting<'_> = Box::pin(session.submit(message()));
    assert!(submitting.as_mut().poll(&mut Context::from_waker(&first)).is_pending());
    drop(first);
    assert!(submitting.as_mut().poll(&mut Context::from_waker(&second)).is_pending());
    assert!(first_looked.load(Ordering::Relaxed), "another task has it now");
    drop((second, submitting));
    assert!(second_looked.load(Ordering::Relaxed), "it was given up");
}

#[tokio::test(start_paused = true)]
async fn wakers_of_deliveries_are_dropped_without_the_lock() {
    let (_manager, session, _listener, _peer) = connected().await;
    let message = Publish::new("t", "x").qos(QoS::AtLeastOnce);
    let mut delivery = Box::pin(session.try_publish(message).expect("there is room"));
    let ((first, first_looked), (second, second_looked)) =
        (Curious::waker(&session), Curious::waker(&session));
    assert!(delivery.as_mut().poll(&mut Context::from_waker(&first)).is_pending());
    drop(first);
    assert!(delivery.as_mut().poll(&mut Context::from_waker(&second)).is_pending());
    assert!(first_looked.load(Ordering::Relaxed), "another task has it now");
    drop((second, delivery));
    assert!(second_looked.load(Ordering::Relaxed), "it was given up");
}

//! Publishers that pause, whose runtime ends or who give up.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use super::Session;
use crate::options::SessionOptions;
use crate::transport::mem::{Listener, Peer};
use crate::{ManagerBuilder, PublishError, QoS, SessionManager};

/// One message at a time.
const NARROW: &str = "20 { 00 00 { 21 00 01 } }";

async fn connected() -> (SessionManager, Session, Listener, Peer) {
    let mut listener = Listener::bind("mem");
    let manager = ManagerBuilder::default().connect_rate(0).build();
    let options = SessionOptions::quick_connect("s", "mem").build().expect("valid");
    let session = manager.add_session(options).expect("a session");
    let peer = listener.accept_and_answer(NARROW).await;
    session.wait_ready(std::time::Duration::from_secs(5)).await.expect("ready");
    (manager, session, listener, peer)
}

type Submitting<'a> = Pin<Box<dyn Future<Output = Result<(), PublishError>> + 'a>>;

/// More than are accepted between two pauses, and before the first one.
const ENOUGH: usize = 512;

/// Publishes until it has to pause.
fn until_pause<'a>(session: &'a Session, waker: &Waker) -> Option<Submitting<'a>> {
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

#[test]
fn a_publisher_on_another_executor_outlives_the_runtime_of_its_session() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (_manager, session, _listener, _peer) = runtime.block_on(connected());
    let mut pausing = until_pause(&session, Waker::noop()).expect("it is far ahead");
    drop(runtime);
    let outcome = pausing.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(outcome, Poll::Ready(Ok(()))), "it was accepted");
}

#[tokio::test(start_paused = true)]
async fn publishers_that_gave_up_keep_nobody_from_pausing() {
    let (_manager, session, _listener, _peer) = connected().await;
    let wakers: Vec<Waker> = (0..super::ahead::PAUSING).map(|_| Arc::new(Task).into()).collect();
    let pausing: Vec<_> = wakers.iter().filter_map(|waker| until_pause(&session, waker)).collect();
    assert_eq!(pausing.len(), wakers.len());
    assert!(until_pause(&session, Waker::noop()).is_none(), "so many pause at a time");
    drop(pausing);
    assert!(until_pause(&session, Waker::noop()).is_some());
}

struct Task;

impl Wake for Task {
    fn wake(self: Arc<Self>) {}
}

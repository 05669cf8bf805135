//! Messages that wait for a route.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::Session;
use crate::options::SessionOptions;
use crate::router::{Lot, LotHandler, LotItem};
use crate::transport::mem::{Listener, Peer};
use crate::{MessageStream, SessionManager};

const HOUR: Duration = Duration::from_secs(3600);

/// Takes payloads by the lot.
struct Keeper(Arc<Mutex<Vec<u8>>>);

impl LotHandler for Keeper {
    fn take(&self, lot: &Lot<'_>, items: &mut Vec<LotItem>) {
        let payloads = items.iter().map(|item| lot.read.get(item.index).expect("read").payload[0]);
        self.0.lock().expect("no panic").extend(payloads);
        items.clear();
    }

    fn shrink(&self) {}
}

/// A stream of what waits, once the message `go` came.
type Late = Arc<Mutex<Option<MessageStream>>>;

/// The handler of `go` adds the route, and stops another one.
fn add_late_route(session: &Session) -> Late {
    let late = Late::default();
    let other = Mutex::new(session.listen("other").ok());
    let (added, of) = (Arc::clone(&late), session.clone());
    let add = move |_: &crate::MessageRef<'_>| {
        *added.lock().expect("no panic") = Some(of.listen("t/#").expect("a route"));
        drop(other.lock().expect("no panic").take());
    };
    session.route("go").inline(add).expect("a route").detach();
    late
}

async fn connected() -> (SessionManager, Session, Listener, Peer) {
    let mut listener = Listener::bind("mem");
    let manager = SessionManager::new();
    let options = SessionOptions::quick_connect("s", "mem").receive_maximum(None);
    let session = manager.add_session(options.build().expect("valid")).expect("a session");
    let peer = listener.accept_and_answer("20 { 00 00 {} }").await;
    session.wait_connected(HOUR).await.expect("connected");
    (manager, session, listener, peer)
}

/// What comes to the late route.
async fn take(late: &Late, count: usize) -> Vec<u8> {
    let mut stream = late.lock().expect("no panic").take().expect("it came");
    let mut payloads = Vec::new();
    while payloads.len() < count {
        payloads.extend_from_slice(stream.next().await.expect("a message").payload());
    }
    payloads
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_route_comes_before_what_follows() {
    let (_manager, session, _listener, mut peer) = connected().await;
    let late = add_late_route(&session);
    let lots = Arc::<Mutex<Vec<u8>>>::default();
    let _lots = session.route("lot").by_lot(Keeper(Arc::clone(&lots))).expect("a route");
    let mut queued = session.listen("queue").expect("a route");
    peer.send(
        "32 { <t/1> 0001 {} '1' } 30 { <lot> {} '1' } 30 { <queue> {} '1' } 32 { <t/2> 0002 {} '2' }
         30 { <lot> {} '2' } 30 { <go> {} '' } 30 { <t/3> {} '3' } 32 { <t/1> 0003 {} '4' }
         30 { <lot> {} '3' } 30 { <queue> {} '2' } 30 { <t/2> {} '5' }",
    )
    .await;
    for payload in [b"1", b"2"] {
        assert_eq!(queued.next().await.expect("a message").payload(), payload);
    }
    assert_eq!(take(&late, 5).await, b"12345");
    assert_eq!(*lots.lock().expect("no panic"), b"123");
}

#[tokio::test(start_paused = true)]
async fn messages_that_wait_for_a_route_come_in_their_order_whoever_adds_it() {
    let (_manager, session, _listener, mut peer) = connected().await;
    let mut last = session.listen("last").expect("a route");
    peer.send("32 { <t/1> 0001 {} '1' } 32 { <go> 0002 {} '' } 32 { <t/2> 0003 {} '2' } 32 { <other> 0004 {} '' }")
        .await;
    peer.send("32 { <last> 0005 {} '' }").await;
    assert!(last.next().await.is_some());
    let late = add_late_route(&session);
    peer.send("32 { <last> 0006 {} '' } 32 { <t/3> 0007 {} '3' }").await;
    assert!(last.next().await.is_some());
    assert_eq!(take(&late, 3).await, b"123");
}

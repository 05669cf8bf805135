//! Messages that wait for a route.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::Session;
use crate::options::SessionOptions;
use crate::router::{Lot, LotHandler, LotItem};
use crate::transport::mem::Listener;
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

/// A route for what waits comes with the message `go`, in the middle of a read.
async fn late_route(session: &Session) -> Arc<Mutex<Option<MessageStream>>> {
    let late = Arc::<Mutex<Option<MessageStream>>>::default();
    let (added, of) = (Arc::clone(&late), session.clone());
    let add = move |_: &crate::MessageRef<'_>| {
        *added.lock().expect("no panic") = Some(of.listen("t/#").expect("a route"));
    };
    session.route("go").inline(add).expect("a route").detach();
    late
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_route_comes_before_what_follows() {
    let mut listener = Listener::bind("mem");
    let manager = SessionManager::new();
    let options = SessionOptions::quick_connect("s", "mem").receive_maximum(None);
    let session = manager.add_session(options.build().expect("valid")).expect("a session");
    let late = late_route(&session).await;
    let lots = Arc::<Mutex<Vec<u8>>>::default();
    let _lots = session.route("lot").by_lot(Keeper(Arc::clone(&lots))).expect("a route");
    let mut queued = session.listen("queue").expect("a route");
    let mut peer = listener.accept_and_answer("20 { 00 00 {} }").await;
    session.wait_connected(HOUR).await.expect("connected");
    peer.send(
        "32 { <t/1> 0001 {} '1' } 30 { <lot> {} '1' } 30 { <queue> {} '1' } 32 { <t/2> 0002 {} '2' }
         30 { <lot> {} '2' } 30 { <go> {} '' } 30 { <t/3> {} '3' } 32 { <t/1> 0003 {} '4' }
         30 { <lot> {} '3' } 30 { <queue> {} '2' } 30 { <t/2> {} '5' }",
    )
    .await;
    for payload in [b"1", b"2"] {
        assert_eq!(queued.next().await.expect("a message").payload(), payload);
    }
    let mut stream = late.lock().expect("no panic").take().expect("it came");
    let mut payloads: Vec<u8> = Vec::new();
    while payloads.len() < 5 {
        payloads.extend(stream.next().await.expect("a message").payload());
    }
    assert_eq!(payloads, b"12345");
    assert_eq!(*lots.lock().expect("no panic"), b"123");
}

//! Filters and transforms of routes.

#[path = "support/bridge.rs"]
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use mqttx::{Compare, EventKind, Filter, Message, Session, SessionManager, Transform, Version};
use mqttx_test::{Peer, ScriptedBroker};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use support::{SOON, connack, grant, session, until};

struct Device {
    session: Session,
    peer: Peer,
    sessions: SessionManager,
    _broker: ScriptedBroker,
}

async fn device() -> Device {
    let broker = ScriptedBroker::start().await;
    let sessions = SessionManager::new();
    let session =
        sessions.add_session(session("s", &broker, Version::V5).build().unwrap()).unwrap();
    let (peer, _) = broker.accept_and_answer(connack(Version::V5)).await;
    session.wait_ready(SOON).await.unwrap();
    Device { session, peer, sessions, _broker: broker }
}

fn hot() -> Filter {
    Filter::json("/t", Compare::Greater, 30).unwrap()
}

fn renamed() -> Transform {
    Transform::rename("/t", "/temp").unwrap().then(Transform::set("/room", "{1}").unwrap())
}

fn text(message: &Message) -> (String, String) {
    (message.topic().to_owned(), message.payload_str().unwrap().to_owned())
}

async fn next(seen: &mut UnboundedReceiver<(String, String)>) -> (String, String) {
    tokio::time::timeout(SOON, seen.recv()).await.expect("a message").expect("a message")
}

const COLD: &str = "32 { <a/x> 00 05 {} '{\"t\":30}' }";
const HOT: &str = "32 { <a/x> 00 06 {} '{\"t\":31}' }";

#[tokio::test]
async fn a_handler_gets_what_its_rules_leave_it() {
    let mut device = device().await;
    let (tell, mut seen) = unbounded_channel();
    let route = device.session.handle("a/+", move |m| drop(tell.send(text(m)))).unwrap();
    route.add_filter(hot());
    route.add_transform(renamed()).unwrap();
    // The filter behind the transform sees what that made.
    route.add_filter(Filter::json_exists("/temp").unwrap());
    grant(&mut device.peer, Version::V5).await;
    device.peer.send(COLD).await;
    device.peer.send(HOT).await;
    let expected = ("a/x".to_owned(), "{\"temp\":31,\"room\":\"x\"}".to_owned());
    assert_eq!(next(&mut seen).await, expected);
    device.peer.expect("40 { 00 05 }").await;
    device.peer.expect("40 { 00 06 }").await;
    until("it is counted", || route.stats().handled == 1).await;
    let stats = route.stats();
    assert_eq!((stats.received, stats.filtered, stats.failed), (2, 1, 0));
}

#[tokio::test]
async fn streams_and_inline_routes_have_rules_too() {
    let mut device = device().await;
    let (tell, mut seen) = unbounded_channel();
    let tell_inline = move |m: &mqttx::MessageRef<'_>| drop(tell.send(text(&m.to_message())));
    let inline = device.session.route("a/+").inline(tell_inline).unwrap();
    inline.add_filter(hot());
    inline.add_transform(renamed()).unwrap();
    let mut stream = device.session.listen("a/#").unwrap();
    stream.route().add_filter(hot());
    stream.route().add_transform(Transform::from_fn(|m| Some(m.retain(true)))).unwrap();
    for _ in 0..2 {
        grant(&mut device.peer, Version::V5).await;
    }
    // One copy for both subscriptions.
    device.peer.send("32 { <a/x> 00 05 { 0b 01 0b 02 } '{\"t\":30}' }").await;
    device.peer.send("32 { <a/x> 00 06 { 0b 01 0b 02 } '{\"t\":31}' }").await;
    assert_eq!(next(&mut seen).await.1, "{\"temp\":31,\"room\":\"x\"}");
    let message = tokio::time::timeout(SOON, stream.next()).await.unwrap().unwrap();
    assert_eq!((message.payload(), message.retain()), (&b"{\"t\":31}"[..], true));
    device.peer.expect("40 { 00 05 }").await;
    stream.done();
    device.peer.expect("40 { 00 06 }").await;
    assert_eq!((inline.stats().filtered, stream.route().stats().filtered), (1, 1));
}

#[tokio::test]
async fn a_manual_route_owes_nothing_for_what_its_rules_leave_out() {
    let mut device = device().await;
    let (tell, mut seen) = unbounded_channel();
    let keep = move |m: &Message| drop(tell.send(m.clone()));
    let route = device.session.route("a/+").manual_ack(true).handle(keep).unwrap();
    route.add_filter(hot());
    route.add_transform(renamed()).unwrap();
    grant(&mut device.peer, Version::V5).await;
    device.peer.send(COLD).await;
    device.peer.send(HOT).await;
    device.peer.expect("40 { 00 05 }").await;
    let message = tokio::time::timeout(SOON, seen.recv()).await.unwrap().unwrap();
    assert_eq!(message.payload_str().unwrap(), "{\"temp\":31,\"room\":\"x\"}");
    assert_eq!(route.stats().unacked, 1);
    message.ack();
    device.peer.expect("40 { 00 06 }").await;
}

#[tokio::test]
async fn a_message_that_a_rule_fails_on_is_given_up_and_told() {
    let mut device = device().await;
    let mut events = device.sessions.events();
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let count = move |_: &Message| {
        counted.fetch_add(1, Ordering::SeqCst);
    };
    let route = device.session.handle("a/+", count).unwrap();
    route.add_filter(hot());
    grant(&mut device.peer, Version::V5).await;
    device.peer.send("32 { <a/x> 00 05 {} 'hi' }").await;
    device.peer.expect("40 { 00 05 }").await;
    let told = async {
        loop {
            let event = events.next().await.expect("the event");
            if let EventKind::HandlerFailed { panic, attempts, .. } = &event.kind {
                return (panic.clone(), *attempts);
            }
        }
    };
    let (text, attempts) = tokio::time::timeout(SOON, told).await.unwrap();
    assert!(text.starts_with("the payload is not JSON"), "{text}");
    assert_eq!((attempts, route.stats().failed, calls.load(Ordering::SeqCst)), (1, 1, 0));
}

#[tokio::test]
async fn captures_have_to_exist_in_the_filter_of_the_route() {
    let device = device().await;
    let route = device.session.handle("a/+", |_| {}).unwrap();
    let error = route.add_transform(Transform::set("/x", "{2}").unwrap()).unwrap_err();
    assert!(error.message().contains("only one '+'"), "{error}");
}

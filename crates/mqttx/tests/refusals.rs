//! What a session does after each kind of refusal, and where redirects lead.

use std::time::Duration;

use mqttx::{
    Backoff, EventKind, Jitter, OnRefusal, Reaction, Reactions, Session, SessionBuilder,
    SessionManager, SessionOptions, SessionStatus,
};
use mqttx_test::ScriptedBroker;

const ACCEPTED: &str = "20 { 00 00 {} }";
const SOON: Duration = Duration::from_secs(10);
fn options(broker: &ScriptedBroker, on: Reactions) -> SessionBuilder {
    let backoff = Backoff::new(Duration::from_millis(1), Duration::from_millis(20))
        .jitter(Jitter::None)
        .on(on);
    SessionOptions::quick_connect("s", broker.url())
        .client_id("c")
        .clean_start(true)
        .receive_maximum(None)
        .reconnect(backoff)
}

fn add(builder: SessionBuilder) -> (SessionManager, Session) {
    let manager = SessionManager::builder().connect_rate(0).build();
    let session = manager.add_session(builder.build().expect("valid options")).expect("a session");
    (manager, session)
}

async fn failed(session: &Session) {
    while session.status() != SessionStatus::Failed {
        tokio::task::yield_now().await;
    }
}

/// Which reaction is set.
type Choice = fn(Reaction) -> Reactions;

/// What CONNACK (`20 …`) or, once online, DISCONNECT (`e0 …`) carries, and which reaction decides.
const CAUSES: [(&str, Choice); 8] = [
    ("20 { 00 86 {} }", |r| Reactions { bad_credentials: Some(r), ..Reactions::default() }),
    ("20 { 00 8c {} }", |r| Reactions { bad_credentials: Some(r), ..Reactions::default() }),
    ("e0 { 87 }", |r| Reactions { bad_credentials: Some(r), ..Reactions::default() }),
    ("20 { 00 8a {} }", |r| Reactions { banned: Some(r), ..Reactions::default() }),
    ("e0 { 8e }", |r| Reactions { taken_over: Some(r), ..Reactions::default() }),
    ("20 { 00 97 {} }", |r| Reactions { quota: Some(r), ..Reactions::default() }),
    ("e0 { 97 }", |r| Reactions { quota: Some(r), ..Reactions::default() }),
    ("20 { 00 9d { 1c <nowhere> } }", |r| Reactions {
        server_moved: Some(r),
        ..Reactions::default()
    }),
];

/// The broker's answer; for a DISCONNECT after CONNACK.
async fn refuse(broker: &ScriptedBroker, refusal: &str) {
    if refusal.starts_with("20") {
        broker.accept_and_answer(refusal).await.0.expect_closed().await;
    } else {
        let (mut peer, _) = broker.accept_and_answer(ACCEPTED).await;
        peer.send(refusal).await;
        peer.expect_closed().await;
    }
}

#[tokio::test]
async fn stop_ends_the_session_whatever_the_cause() {
    for (refusal, on) in CAUSES {
        let broker = ScriptedBroker::start().await;
        let (_manager, session) =
            add(options(&broker, on(Reaction::Stop)).on_refusal(OnRefusal::Retry));
        refuse(&broker, refusal).await;
        failed(&session).await;
    }
}

#[tokio::test]
async fn retry_comes_back_soon_whatever_the_cause() {
    for (refusal, on) in CAUSES {
        let broker = ScriptedBroker::start().await;
        let (_manager, session) = add(options(&broker, on(Reaction::Retry)));
        refuse(&broker, refusal).await;
        let _peer = broker.accept_and_answer(ACCEPTED).await;
        session.wait_connected(SOON).await.expect("connected");
    }
}

#[tokio::test]
async fn for_now_means_that_the_next_connection_begins_at_the_first_broker_again() {
    let (old, new) = (ScriptedBroker::start().await, ScriptedBroker::start().await);
    let (_manager, session) = add(options(&old, Reactions::default()));
    let _old = old.accept_and_answer(&format!("20 {{ 00 9c {{ 1c <{}> }} }}", new.address())).await;
    let (peer, _) = new.accept_and_answer(ACCEPTED).await;
    session.wait_connected(SOON).await.expect("connected");
    peer.close().await;
    let _peer = old.accept_and_answer(ACCEPTED).await;
    session.wait_connected(SOON).await.expect("connected");
}

#[tokio::test]
async fn for_good_means_that_the_new_server_is_the_first_one_from_then_on() {
    for by_disconnect in [false, true] {
        let (old, new) = (ScriptedBroker::start().await, ScriptedBroker::start().await);
        let (manager, session) = add(options(&old, Reactions::default()));
        let mut events = manager.events();
        let moved = format!("{{ 1c <{}> }} }}", new.address());
        if by_disconnect {
            let (mut peer, _) = old.accept_and_answer(ACCEPTED).await;
            peer.send(&format!("e0 {{ 9d {moved}")).await;
            peer.expect_closed().await;
        } else {
            let _old = old.accept_and_answer(&format!("20 {{ 00 9d {moved}")).await;
        }
        for _ in 0..2 {
            let (peer, _) = new.accept_and_answer(ACCEPTED).await;
            peer.close().await;
        }
        let _peer = new.accept_and_answer(ACCEPTED).await;
        session.wait_connected(SOON).await.expect("connected");
        session.reconnect();
        let _peer = new.accept_and_answer(ACCEPTED).await;
        loop {
            let event = events.next().await.expect("an event");
            if let EventKind::SessionRedirected { server_reference, permanent } = &event.kind {
                assert_eq!(server_reference, &new.url());
                assert!(permanent);
                break;
            }
        }
        // When the new one is gone, the old one stands in.
        drop((new, _peer));
        let _peer = old.accept_and_answer(ACCEPTED).await;
    }
}

#[tokio::test]
async fn the_user_of_the_url_goes_along() {
    let (old, new) = (ScriptedBroker::start().await, ScriptedBroker::start().await);
    let url = format!("mqtt://us:pa@{}", old.address());
    let builder = SessionOptions::quick_connect("s", url).client_id("c").clean_start(true);
    let (_manager, _session) = add(builder.receive_maximum(None));
    let _old = old.accept_and_answer(&format!("20 {{ 00 9c {{ 1c <{}> }} }}", new.address())).await;
    let mut peer = new.accept().await;
    peer.expect("10 { <MQTT> 05 c2 003c {} <c> <us> <pa> }").await;
}

#[tokio::test]
async fn without_an_address_on_refusal_decides() {
    for refusal in ["20 { 00 9c {} }", "20 { 00 9d { 1c <a:b:c> } }", "e0 { 9c }", "e0 { 9d }"] {
        let broker = ScriptedBroker::start().await;
        let (_manager, session) = add(options(&broker, Reactions::default()));
        refuse(&broker, refusal).await;
        failed(&session).await;
        let (_manager, session) =
            add(options(&broker, Reactions::default()).on_refusal(OnRefusal::Retry));
        refuse(&broker, refusal).await;
        let _peer = broker.accept_and_answer(ACCEPTED).await;
        session.wait_connected(SOON).await.expect("connected");
    }
}

#[tokio::test]
async fn a_circle_of_servers_that_moved_for_good_ends() {
    let (one, two) = (ScriptedBroker::start().await, ScriptedBroker::start().await);
    let (_manager, session) = add(options(&one, Reactions::default()));
    for n in 0..4 {
        let (here, there) = if n % 2 == 0 { (&one, &two) } else { (&two, &one) };
        let moved = format!("20 {{ 00 9d {{ 1c <{}> }} }}", there.address());
        let _peer = here.accept_and_answer(&moved).await;
    }
    failed(&session).await;
}

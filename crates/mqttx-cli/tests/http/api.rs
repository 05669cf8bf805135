//! What is shown and what is ordered.

use std::time::Duration;

use serde_json::{Value, json};

use super::client::{Answer, Events, get, post};
use super::daemon::{ACCEPTED, Bridge, Daemon, sent};

/// Asks again until the answer is as it has to become.
async fn until(what: &str, daemon: &Daemon, path: &str, ok: impl Fn(&Answer) -> bool) -> Answer {
    let asked = async {
        loop {
            let answer = get(daemon.address, path).await;
            if ok(&answer) {
                return answer;
            }
        }
    };
    let asked = tokio::time::timeout(Duration::from_secs(20), asked).await;
    asked.unwrap_or_else(|_| panic!("{path} never: {what}"))
}

async fn ready(daemon: &Daemon) {
    until("ready", daemon, "/readyz", |answer| answer.status == 200).await;
}

#[tokio::test]
async fn it_is_alive_at_once_and_ready_when_all_is_connected_until_the_stop() {
    let mut bridge = Bridge::start("").await;
    let daemon = &bridge.daemon;
    assert_eq!(get(daemon.address, "/healthz").await.status, 200);
    ready(daemon).await;
    bridge.source.send("32 { <a/x> 00 07 {} 'hi' }").await;
    bridge.target.expect(&sent("32 { <b/x> 00 01 {} 'hi' }")).await;
    daemon.signal().await;
    // It waits for the target, and answers meanwhile.
    let answer = until("not ready", daemon, "/readyz", |answer| answer.status == 503).await;
    assert_eq!(answer.json()["reasons"][0], "the daemon stops");
    assert_eq!(get(daemon.address, "/healthz").await.status, 200);
    let sessions = get(daemon.address, "/api/v1/sessions").await.json();
    assert_eq!(sessions["sessions"].as_array().map(Vec::len), Some(2));
    bridge.target.send("40 { 00 01 }").await;
    let (code, log) = bridge.daemon.end().await;
    assert_eq!(code, Some(0), "{log}");
}

#[tokio::test]
async fn it_is_not_ready_while_a_session_is_away() {
    let bridge = Bridge::start("").await;
    ready(&bridge.daemon).await;
    bridge.target.close().await;
    let answer = until("not ready", &bridge.daemon, "/readyz", |a| a.status == 503).await;
    let text = answer.json()["reasons"][0].to_string();
    assert!(text.contains("session dst"), "{text}");
    let _again = bridge.brokers.1.accept_and_answer(ACCEPTED).await;
    ready(&bridge.daemon).await;
}

#[tokio::test]
async fn it_is_not_ready_with_a_filter_that_the_server_refused_until_it_is_granted() {
    let bridge = Bridge::start("").await;
    let address = bridge.daemon.address;
    ready(&bridge.daemon).await;
    let refused = |filter: &str| json!([format!("session src: the server refused '{filter}'")]);
    // As a server without the session, which has other rights now.
    bridge.source.close().await;
    let (mut source, _) = bridge.brokers.0.accept_and_answer(ACCEPTED).await;
    source.expect("82 { 00 02 { 0b 01 } <a/+> 0d }").await;
    source.send("90 { 00 02 {} 87 }").await;
    let says = |answer: &Answer| answer.json()["reasons"] == refused("a/+");
    let answer = until("refused", &bridge.daemon, "/readyz", says).await;
    assert_eq!(answer.status, 503);
    let shown = get(address, "/api/v1/sessions/src").await.json();
    assert_eq!((&shown["ready"], &shown["refused_filters"]), (&true.into(), &json!(["a/+"])));

    let drained = tokio::spawn(async move { post(address, "/api/v1/forwarders/fw/drain").await });
    source.expect("a2 { 00 03 {} <a/+> }").await;
    source.send("b0 { 00 03 {} 00 }").await;
    assert_eq!(drained.await.expect("no panic").status, 200);
    let resumed = post(address, "/api/v1/forwarders/fw/resume").await;
    assert_eq!(resumed.status, 200);
    source.expect("82 { 00 04 { 0b 02 } <a/+> 0d }").await;
    source.send("90 { 00 04 {} 01 }").await;
    ready(&bridge.daemon).await;
}

#[tokio::test]
async fn sessions_are_shown_with_their_state_and_broker() {
    let bridge = Bridge::start("").await;
    let address = bridge.daemon.address;
    ready(&bridge.daemon).await;
    let all = get(address, "/api/v1/sessions").await;
    assert_eq!(all.headers["content-type"], "application/json");
    let names: Vec<Value> =
        all.json()["sessions"].as_array().unwrap().iter().map(|s| s["name"].clone()).collect();
    assert_eq!(names, ["dst", "src"]);
    let source = get(address, "/api/v1/sessions/src").await.json();
    assert_eq!(source["client_id"], "gw-src");
    assert_eq!(source["state"], "connected");
    assert_eq!(source["broker"], bridge.brokers.0.url());
    assert_eq!(source["protocol"], "5");
    assert_eq!(source["subscriptions"], 1);
    assert_eq!(source["last_error"], Value::Null);
    let missing = get(address, "/api/v1/sessions/srcc").await;
    assert_eq!(missing.status, 404);
    assert!(missing.body.contains("did you mean 'src'"), "{}", missing.body);
}

#[tokio::test]
async fn a_session_is_disconnected_and_comes_back_on_order() {
    let mut bridge = Bridge::start("").await;
    let address = bridge.daemon.address;
    ready(&bridge.daemon).await;
    let order = tokio::spawn(async move { post(address, "/api/v1/sessions/dst/disconnect").await });
    bridge.target.expect("e0 {}").await;
    bridge.target.expect_closed().await;
    let answer = order.await.unwrap();
    assert_eq!((answer.status, &answer.json()["state"]), (200, &"stopped".into()));
    assert_eq!(get(address, "/readyz").await.status, 503);
    assert_eq!(post(address, "/api/v1/sessions/dst/reconnect").await.status, 200);
    let _again = bridge.brokers.1.accept_and_answer(ACCEPTED).await;
    ready(&bridge.daemon).await;
    assert_eq!(post(address, "/api/v1/sessions/none/reconnect").await.status, 404);
}

#[tokio::test]
async fn a_paused_forwarder_holds_what_comes_and_goes_on_with_it() {
    let mut bridge = Bridge::start("").await;
    let address = bridge.daemon.address;
    ready(&bridge.daemon).await;
    let paused = post(address, "/api/v1/forwarders/fw/pause").await;
    assert_eq!((paused.status, &paused.json()["state"]), (200, &"paused".into()));
    assert_eq!(get(address, "/readyz").await.status, 503);
    bridge.source.send("32 { <a/x> 00 07 {} 'one' } 32 { <a/y> 00 08 {} 'two' }").await;
    let waits = |answer: &Answer| answer.json()["queued"] == 2;
    let shown = until("two wait", &bridge.daemon, "/api/v1/forwarders/fw", waits).await.json();
    assert_eq!((&shown["received"], &shown["in_flight"]), (&2.into(), &2.into()));
    bridge.target.expect_silence(Duration::from_millis(100)).await;
    let resumed = post(address, "/api/v1/forwarders/fw/resume").await;
    assert_eq!((resumed.status, &resumed.json()["state"]), (200, &"running".into()));
    bridge.target.expect(&sent("32 { <b/x> 00 01 {} 'one' }")).await;
    bridge.target.expect(&sent("32 { <b/y> 00 02 {} 'two' }")).await;
    bridge.target.send("40 { 00 01 } 40 { 00 02 }").await;
    bridge.source.expect("40 { 00 07 }").await;
    bridge.source.expect("40 { 00 08 }").await;
    ready(&bridge.daemon).await;
}

#[tokio::test]
async fn a_stop_does_not_wait_for_what_a_pause_holds() {
    let mut bridge = Bridge::start("").await;
    ready(&bridge.daemon).await;
    assert_eq!(post(bridge.daemon.address, "/api/v1/forwarders/fw/pause").await.status, 200);
    bridge.source.send("32 { <a/x> 00 07 {} 'one' }").await;
    let waits = |answer: &Answer| answer.json()["queued"] == 1;
    until("it waits", &bridge.daemon, "/api/v1/forwarders/fw", waits).await;
    bridge.daemon.signal().await;
    // The message stays with its server.
    bridge.source.expect("e0 {}").await;
    bridge.target.expect("e0 {}").await;
    let (code, log) = bridge.daemon.end().await;
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("1 messages of forwarders were not acknowledged"), "{log}");
}

#[tokio::test]
async fn a_drained_forwarder_finishes_what_it_has_and_begins_again() {
    let mut bridge = Bridge::start("").await;
    let address = bridge.daemon.address;
    ready(&bridge.daemon).await;
    bridge.source.send("32 { <a/x> 00 07 {} 'one' }").await;
    bridge.target.expect(&sent("32 { <b/x> 00 01 {} 'one' }")).await;
    let order = tokio::spawn(async move { post(address, "/api/v1/forwarders/fw/drain").await });
    bridge.source.expect("a2 { 00 02 {} <a/+> }").await;
    bridge.source.send("b0 { 00 02 {} 00 }").await;
    assert!(!order.is_finished(), "it waits for the target");
    bridge.target.send("40 { 00 01 }").await;
    bridge.source.expect("40 { 00 07 }").await;
    let drained = order.await.unwrap().json();
    assert_eq!((&drained["state"], &drained["in_flight"]), (&"stopped".into(), &0.into()));
    let order = tokio::spawn(async move { post(address, "/api/v1/forwarders/fw/resume").await });
    bridge.source.expect_type(0x82).await;
    assert_eq!(order.await.unwrap().json()["state"], "running");
    assert_eq!(post(address, "/api/v1/forwarders/none/drain").await.status, 404);
}

#[tokio::test]
async fn forwarders_are_shown_with_their_counts_and_ends() {
    let mut bridge = Bridge::start("").await;
    ready(&bridge.daemon).await;
    bridge.source.send("32 { <a/x> 00 07 {} 'one' }").await;
    bridge.target.expect(&sent("32 { <b/x> 00 01 {} 'one' }")).await;
    bridge.target.send("40 { 00 01 }").await;
    bridge.source.expect("40 { 00 07 }").await;
    let done = |answer: &Answer| answer.json()["forwarders"][0]["forwarded"] == 1;
    let all = until("forwarded", &bridge.daemon, "/api/v1/forwarders", done).await.json();
    let forwarder = &all["forwarders"][0];
    assert_eq!(forwarder["name"], "fw");
    assert_eq!(forwarder["state"], "running");
    assert_eq!((&forwarder["from"], &forwarder["to"]), (&["src"][..].into(), &["dst"][..].into()));
    for (name, count) in
        [("received", 1), ("filtered", 0), ("dropped", 0), ("dead_lettered", 0), ("in_flight", 0)]
    {
        assert_eq!(forwarder[name], count, "{name}");
    }
}

#[tokio::test]
async fn the_event_stream_shows_a_session_coming_and_going_and_ends_with_the_daemon() {
    let bridge = Bridge::start("").await;
    ready(&bridge.daemon).await;
    let mut events = Events::start(bridge.daemon.address).await;
    bridge.target.close().await;
    let gone = events.until("session_disconnected").await;
    assert_eq!(gone["session"], "dst");
    assert!(gone["data"]["error"].is_string(), "{gone}");
    assert!(gone["timestamp"].as_str().is_some_and(|time| time.ends_with('Z')), "{gone}");
    let _again = bridge.brokers.1.accept_and_answer(ACCEPTED).await;
    let back = events.until("session_connected").await;
    assert_eq!(back["session"], "dst");
    assert_eq!(back["data"]["client_id"], "gw-dst");
    bridge.daemon.signal().await;
    events.until("session_removed").await;
    while events.next().await.is_some() {}
    assert_eq!(bridge.daemon.end().await.0, Some(0));
}

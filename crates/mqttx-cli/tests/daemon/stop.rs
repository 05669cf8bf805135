//! Forwarding, and the end of it.

use super::support::{ACCEPTED, Daemon, QUIET, command, end, sent, sent_by, signal};
use mqttx_test::{ScriptedBroker, TempDir};

#[tokio::test]
async fn a_stop_waits_for_the_target_and_disconnects_without_unsubscribing() {
    let mut daemon = Daemon::start("10s").await;
    daemon.source.send("32 { <a/x> 00 07 {} 'hi' }").await;
    daemon.target.expect(&sent("32 { <b/x> 00 01 {} 'hi' }")).await;
    daemon.signal().await;
    daemon.source.expect_silence(QUIET).await;
    // What arrives now stays unacknowledged.
    daemon.source.send("32 { <a/y> 00 08 {} }").await;
    daemon.target.send("40 { 00 01 }").await;
    daemon.source.expect("40 { 00 07 }").await;
    daemon.source.expect("e0 {}").await;
    daemon.target.expect("e0 {}").await;
    daemon.source.expect_closed().await;
    let (code, stderr) = daemon.end().await;
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stderr.contains("forwarder fw: received 1, forwarded 1, dropped 0"), "{stderr}");
}

#[tokio::test]
async fn a_stop_that_leaves_something_says_so() {
    let mut daemon = Daemon::start("200ms").await;
    daemon.source.send("32 { <a/x> 00 07 {} 'hi' }").await;
    daemon.target.expect(&sent("32 { <b/x> 00 01 {} 'hi' }")).await;
    daemon.signal().await;
    daemon.source.expect("e0 {}").await;
    daemon.source.expect_closed().await;
    let (code, stderr) = daemon.end().await;
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("error: 1 messages of forwarders were not acknowledged"), "{stderr}");
}

#[tokio::test]
async fn a_second_signal_ends_at_once() {
    let mut daemon = Daemon::start("60s").await;
    daemon.source.send("32 { <a/x> 00 07 {} 'hi' }").await;
    daemon.target.expect(&sent("32 { <b/x> 00 01 {} 'hi' }")).await;
    daemon.signal().await;
    daemon.source.expect_silence(QUIET).await;
    daemon.signal().await;
    let (code, stderr) = daemon.end().await;
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("stopped at once: 1 messages were not acknowledged"), "{stderr}");
}

#[tokio::test]
async fn forwarders_on_one_filter_are_subscribed_once() {
    let more = "[forwarders.other]\nto = [{ session = 'dst', topic = 'c/{1}' }]\n\
                from = [{ session = 'src', topics = ['a/+'], qos = 2 }]\n";
    let mut daemon = Daemon::start_with("10s", 2, more).await;
    daemon.source.expect_silence(QUIET).await;
    daemon.source.send("34 { <a/x> 00 07 {} 'hi' }").await;
    // Each with what it asked for.
    daemon.target.expect(&sent("32 { <b/x> 00 01 {} 'hi' }")).await;
    daemon.target.expect(&sent_by("other", "34 { <c/x> 00 02 {} 'hi' }")).await;
}

#[tokio::test]
async fn a_stop_lets_the_source_finish_its_qos2_message() {
    let more = "[forwarders.other]\nto = [{ session = 'dst', topic = 'c/{1}', qos = 1 }]\n\
                from = [{ session = 'src', topics = ['a/+'], qos = 2 }]\n";
    let mut daemon = Daemon::start_with("10s", 2, more).await;
    daemon.source.send("34 { <a/x> 00 07 {} 'hi' }").await;
    daemon.target.expect(&sent("32 { <b/x> 00 01 {} 'hi' }")).await;
    daemon.target.expect(&sent_by("other", "32 { <c/x> 00 02 {} 'hi' }")).await;
    daemon.signal().await;
    daemon.target.send("40 { 00 01 } 40 { 00 02 }").await;
    daemon.source.expect("50 { 00 07 }").await;
    daemon.source.expect_silence(QUIET).await;
    daemon.source.send("62 { 00 07 }").await;
    daemon.source.expect("70 { 00 07 }").await;
    daemon.source.expect("e0 {}").await;
    daemon.target.expect("e0 {}").await;
    let (code, stderr) = daemon.end().await;
    assert_eq!(code, Some(0), "{stderr}");
}

#[tokio::test]
async fn a_stop_does_not_wait_for_answers_to_subscriptions() {
    let broker = ScriptedBroker::start().await;
    let files = TempDir::new("daemon");
    let path = files.path().join("mqttx.toml");
    let config = format!(
        "[sessions.s]\nbrokers = ['{}']\n[forwarders.f]\nfrom = [{{ session = 's', topics = ['a'] }}]\n\
         to = [{{ session = 's', topic = 'b' }}]\n",
        broker.url()
    );
    std::fs::write(&path, config).expect("a file");
    let child = command(&["run", "-c", path.to_str().expect("UTF-8")]).spawn().expect("it runs");
    let (mut peer, _) = broker.accept_and_answer(ACCEPTED).await;
    peer.expect_type(0x82).await;
    signal(&child).await;
    peer.expect("e0 {}").await;
    let (code, stderr) = end(child).await;
    assert_eq!(code, Some(0), "{stderr}");
}

#[tokio::test]
async fn the_rules_of_the_file_are_kept() {
    let rules = "filter = \"payload.t > 30.0 && levels[1] != 'test'\"\n\
                 transform = [{ set = '/device', value = '{1}' }, { rename = '/t', to = '/temp' }]\n\
                 metadata = { source = '{topic}' }\n\
                 rate_limit = { messages = 500, bytes = '1MiB' }\n\
                 dead_letter = { session = 'dst', topic = 'dlq/{forwarder}' }\n";
    let mut daemon = Daemon::start_with("10s", 1, rules).await;
    daemon.source.send("32 { <a/test> 00 05 {} '{\"t\":31}' }").await;
    daemon.source.send("32 { <a/x> 00 06 {} '{\"t\":31}' }").await;
    daemon.source.send("32 { <a/x> 00 07 {} 'poison' }").await;
    let via = "26 <mqttx-via> <d/fw> 26 <mqttx-hops> <1>";
    let expected = format!(
        "32 {{ <b/x> 00 01 {{ 26 <source> <a/x> {via} }} '{{\"device\":\"x\",\"temp\":31}}' }}"
    );
    daemon.target.expect(&expected).await;
    let error = "the payload is not JSON: expected value at line 1 column 1";
    let expected = format!(
        "32 {{ <dlq/fw> 00 02 {{ 26 <mqttx-error> <{error}> 26 <mqttx-source-topic> <a/x> {via} }} 'poison' }}"
    );
    daemon.target.expect(&expected).await;
    daemon.target.send("40 { 00 01 } 40 { 00 02 }").await;
    for id in 5..=7 {
        daemon.source.expect(&format!("40 {{ 00 0{id} }}")).await;
    }
    daemon.signal().await;
    daemon.source.expect("e0 {}").await;
    daemon.target.expect("e0 {}").await;
    let (code, stderr) = daemon.end().await;
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stderr.contains("forwarded 1, dropped 0, filtered 1, dead letters 1"), "{stderr}");
}

//! Messages with QoS 0 that go to their target together, between brokers whose every byte the test decides.

use mqttx::{
    EventKind, ForwarderBuilder, ForwarderManager, ForwarderSource, Outbox, QoS, SessionManager,
    Version,
};
use mqttx_test::ScriptedBroker;

use crate::support::{VIA, assert_balanced, bridge, connack, grant, sent, session, until};

/// Somebody else has the filter with QoS 1, or the server sends more than it was asked for.
#[tokio::test]
async fn a_forwarder_with_qos_0_sends_qos_0_whatever_level_the_message_came_with() {
    let source = ForwarderSource::new("src").topic("a/+").qos(QoS::AtMostOnce);
    let rules = ForwarderBuilder::new("fw").from(source).target("dst").topic("b/{1}");
    let mut bridge = bridge(Version::V5, rules).await;
    // The first message of a session goes no short way.
    bridge.source.send("30 { <a/0> {} }").await;
    bridge.target.expect(&sent("30 { <b/0> {} }")).await;
    bridge.source.send("32 { <a/1> 00 07 {} 'hi' }").await;
    bridge.target.expect(&sent("30 { <b/1> {} 'hi' }")).await;
    bridge.source.send("34 { <a/2> 00 08 { 03 <t> } }").await;
    bridge.target.expect(&format!("30 {{ <b/2> {{ 03 <t> {VIA} }} }}")).await;
    bridge.source.expect("40 { 00 07 }").await;
    bridge.source.expect("50 { 00 08 }").await;
    until("all are written", || bridge.forwarder.metrics().forwarded == 3).await;
    assert_balanced(&bridge.forwarder);
}

/// Five came together, of which the target takes three, and one of these has a topic that it cannot have.
#[tokio::test]
async fn what_is_lost_together_is_named_by_its_own_last_topic() {
    let brokers = (ScriptedBroker::start().await, ScriptedBroker::start().await);
    let sessions = SessionManager::new();
    sessions.add_session(session("src", &brokers.0, Version::V5).build().unwrap()).unwrap();
    let outbox = Outbox { messages: Some(2), ..Outbox::default() };
    let target = session("dst", &brokers.1, Version::V5).manual_connect(true).outbox(outbox);
    sessions.add_session(target.build().unwrap()).unwrap();
    let mut events = sessions.events();
    let forwarders = ForwarderManager::named(&sessions, "d");
    let rules = ForwarderBuilder::new("fw").source("src", "a/#").target("dst").topic("{#}");
    let forwarder = forwarders.add_forwarder(rules.build().unwrap()).unwrap();
    let (mut source, _) = brokers.0.accept_and_answer(connack(Version::V5)).await;
    grant(&mut source, Version::V5).await;
    let all = ["a/1", "a/2", "a", "a/4", "a/5"].map(|topic| format!("30 {{ <{topic}> {{}} }} "));
    source.send(&all.concat()).await;
    until("all arrived", || forwarder.metrics().received == 5).await;
    assert_eq!(forwarder.metrics().queued, 2);
    sessions.remove_session("dst").await.unwrap();
    until("two are lost", || forwarder.metrics().dropped == 3).await;
    let mut told = Vec::new();
    while told.len() < 2 {
        let event = events.next().await.expect("events");
        if let EventKind::ForwarderMessageDropped { reason, topic, .. } = &event.kind {
            told.push((*reason, topic.clone()));
        }
    }
    assert_eq!(told, [("topic", "a".to_owned()), ("target_removed", "a/2".to_owned())]);
    assert_balanced(&forwarder);
}

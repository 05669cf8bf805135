//! Messages with QoS 0 that go to their target together, between brokers whose every byte the test decides.

use mqttx::{ForwarderBuilder, ForwarderSource, QoS, Version};

use crate::support::{VIA, assert_balanced, bridge, sent, until};

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

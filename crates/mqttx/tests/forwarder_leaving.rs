//! Forwarders that are stopped while their servers say nothing to that.

#[path = "support/bridge.rs"]
mod support;

use std::time::Duration;

use mqttx::{ForwarderBuilder, Version};
use mqttx_test::hex;
use tokio::runtime::Handle;

use support::{QUIET, bridge, sent};

#[tokio::test]
async fn a_server_that_never_answers_unsubscribe_costs_no_task_for_each_stop() {
    let rules = ForwarderBuilder::new("fw").source("src", "a/+").target("dst");
    let mut bridge = bridge(Version::V5, rules).await;
    let (mut tasks, mut unsubscribed) = (Vec::new(), 0);
    for _ in 0..20 {
        assert_eq!(bridge.forwarder.stop(Duration::from_millis(1)).await, 0);
        tasks.push(Handle::current().metrics().num_alive_tasks());
        bridge.forwarder.start().await.unwrap();
        let mut packet = bridge.source.recv_packet().await;
        if packet[0] == 0xa2 {
            unsubscribed += 1;
            packet = bridge.source.recv_packet().await;
        }
        assert_eq!(packet[0], 0x82);
        let mut answer = hex("90 04 00 00 00 01");
        answer[2..4].copy_from_slice(&packet[2..4]);
        bridge.source.send_bytes(&answer).await;
    }
    assert_eq!(unsubscribed, 8);
    assert!(tasks.last().unwrap() <= &(tasks[0] + 1), "{tasks:?}");
    bridge.source.send("30 { <a/x> {} }").await;
    bridge.target.expect(&sent("30 { <a/x> {} }")).await;
}

#[tokio::test]
async fn a_server_that_answers_nothing_has_no_more_to_answer_with_each_start_and_stop() {
    let rules = ForwarderBuilder::new("fw").source("src", "a/+").target("dst");
    let mut bridge = bridge(Version::V5, rules).await;
    for _ in 0..20 {
        assert_eq!(bridge.forwarder.stop(Duration::from_millis(1)).await, 0);
        bridge.forwarder.start().await.unwrap();
    }
    let mut subscribes = Vec::new();
    for _ in 0..8 {
        bridge.source.expect_type(0xa2).await;
        subscribes.push(bridge.source.expect_type(0x82).await);
    }
    bridge.source.expect_silence(QUIET).await;
    // One answer makes room for the last start.
    let mut answer = hex("90 04 00 00 00 01");
    answer[2..4].copy_from_slice(&subscribes[0][2..4]);
    bridge.source.send_bytes(&answer).await;
    bridge.source.expect_type(0x82).await;
    bridge.source.send("30 { <a/x> {} }").await;
    bridge.target.expect(&sent("30 { <a/x> {} }")).await;
}

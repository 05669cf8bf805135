//! What was taken by earlier rules goes first, and nothing of it is left behind.

use tokio::time::timeout;

use crate::support::{Bridge, QUIET, RESUMED, SOON, rules, sent};

/// Two messages, the second of which waits for the acknowledgement of the first.
const TWO: &str = "32 { <a/x> 00 07 {} '1' } 32 { <a/x> 00 08 {} '2' }";

#[tokio::test]
async fn what_a_pause_holds_by_old_rules_goes_first_however_long_it_takes() {
    let mut bridge = Bridge::start_with(rules().window(1)).await;
    bridge.forwarder.pause().await;
    bridge.source.send(TWO).await;
    bridge.until_received(2).await;
    bridge.change(rules().topic("c/{1}")).await;
    bridge.source.send("32 { <a/x> 00 09 {} '3' }").await;
    bridge.until_received(3).await;
    bridge.forwarder.start().await.unwrap();
    bridge.one.expect(&sent("32 { <b/x> 00 01 {} '1' }")).await;
    bridge.one.expect_silence(QUIET).await;
    bridge.one.send("40 { 00 01 }").await;
    bridge.one.expect(&sent("32 { <b/x> 00 02 {} '2' }")).await;
    bridge.one.expect(&sent("32 { <c/x> 00 03 {} '3' }")).await;
}

#[tokio::test]
async fn several_changes_in_a_pause_keep_the_order_of_arrival() {
    let mut bridge = Bridge::start_with(rules().window(1)).await;
    bridge.forwarder.pause().await;
    for n in 1..=4 {
        bridge.source.send(&format!("32 {{ <a/x> 00 0{n} {{}} '{n}' }}")).await;
        bridge.until_received(n).await;
        if n % 2 == 0 {
            bridge.change(rules().window(1).topic(format!("c{n}/{{1}}"))).await;
        }
    }
    bridge.forwarder.start().await.unwrap();
    for (n, topic) in [(1, "b"), (2, "b"), (3, "c2"), (4, "c2")] {
        bridge.one.expect(&sent(&format!("32 {{ <{topic}/x> 00 0{n} {{}} '{n}' }}"))).await;
        bridge.one.send(&format!("40 {{ 00 0{n} }}")).await;
        bridge.source.expect(&format!("40 {{ 00 0{n} }}")).await;
    }
}

#[tokio::test]
async fn what_waits_for_a_target_goes_first_however_long_it_takes() {
    let mut bridge = Bridge::start_with(rules().window(1)).await;
    bridge.source.send(TWO).await;
    bridge.one.expect(&sent("32 { <b/x> 00 01 {} '1' }")).await;
    tokio::time::pause();
    bridge.change(rules().topic("c/{1}")).await;
    tokio::time::resume();
    bridge.source.send("32 { <a/x> 00 09 {} '3' }").await;
    bridge.until_received(3).await;
    bridge.one.expect_silence(QUIET).await;
    bridge.one.send("40 { 00 01 }").await;
    bridge.one.expect(&sent("32 { <b/x> 00 02 {} '2' }")).await;
    bridge.one.expect(&sent("32 { <c/x> 00 03 {} '3' }")).await;
    bridge.one.send("40 { 00 02 } 40 { 00 03 }").await;
    for id in 7..=9 {
        bridge.source.expect(&format!("40 {{ 00 0{id} }}")).await;
    }
    assert_eq!(bridge.counted(), (3, 3, 0));
}

/// That an operator replaces a target helps at once.
#[tokio::test]
async fn another_target_does_not_wait_for_one_that_takes_nothing() {
    let mut bridge = Bridge::start_with(rules().window(1)).await;
    bridge.source.send(TWO).await;
    bridge.one.expect(&sent("32 { <b/x> 00 01 {} '1' }")).await;
    tokio::time::pause();
    bridge.change(mqttx::ForwarderBuilder::new("fw").source("src", "a/+").target("two")).await;
    tokio::time::resume();
    bridge.source.send("32 { <a/x> 00 09 {} '3' }").await;
    bridge.two.expect(&sent("32 { <a/x> 00 01 {} '3' }")).await;
}

#[tokio::test]
async fn what_is_given_back_holds_up_the_new_rules_no_longer() {
    let mut bridge = Bridge::start_with(rules().window(1)).await;
    bridge.source.send(TWO).await;
    bridge.one.expect(&sent("32 { <b/x> 00 01 {} '1' }")).await;
    tokio::time::pause();
    bridge.change(rules().topic("c/{1}")).await;
    tokio::time::resume();
    assert_eq!(bridge.forwarder.settle(QUIET).await, 2);
    bridge.sends_again("3a").await;
    bridge.one.expect(&sent("32 { <c/x> 00 02 {} '1' }")).await;
}

#[tokio::test]
async fn what_a_stop_left_goes_on_after_a_change_and_a_start() {
    let mut bridge = Bridge::start_with(rules().window(1)).await;
    bridge.source.send(TWO).await;
    bridge.one.expect(&sent("32 { <b/x> 00 01 {} '1' }")).await;
    bridge.stop(2).await;
    bridge.change(rules().topic("c/{1}")).await;
    bridge.one.send("40 { 00 01 }").await;
    bridge.source.expect("40 { 00 07 }").await;
    let given_up = timeout(SOON, bridge.forwarder.settle(10 * SOON)).await;
    assert_eq!(given_up.expect("at once"), 0, "a start goes on with what a stop left");
    bridge.source.expect_silence(QUIET).await;
    bridge.forwarder.start().await.unwrap();
    bridge.one.expect(&sent("32 { <b/x> 00 02 {} '2' }")).await;
    bridge.one.send("40 { 00 02 }").await;
    bridge.source.expect("82 { 00 03 { 0b 02 } <a/+> 0d }").await;
    bridge.source.expect("40 { 00 08 }").await;
    assert_eq!(bridge.counted(), (2, 2, 0));
}

#[tokio::test]
async fn the_end_does_not_wait_for_what_a_stop_left() {
    let mut bridge = Bridge::start_with(rules().window(1)).await;
    bridge.source.send(TWO).await;
    bridge.one.expect(&sent("32 { <b/x> 00 01 {} '1' }")).await;
    bridge.stop(2).await;
    bridge.one.send("40 { 00 01 }").await;
    bridge.source.expect("40 { 00 07 }").await;
    let left = timeout(SOON, bridge.forwarders.shutdown(10 * SOON)).await;
    assert_eq!(left.expect("nothing sends it"), 1);
    let report = timeout(SOON, bridge.sessions.shutdown(10 * SOON)).await;
    report.expect("nor do the sessions wait");
    bridge.source.expect("e0 {}").await;
}

#[tokio::test]
async fn what_came_on_an_earlier_connection_comes_again_without_another_one() {
    let mut bridge = Bridge::start().await;
    bridge.source.send("32 { <a/x> 00 07 {} '1' }").await;
    bridge.one.expect(&sent("32 { <b/x> 00 01 {} '1' }")).await;
    bridge.source.send("e0 { 8b {} }").await;
    bridge.source = bridge.broker.accept_and_answer(RESUMED).await.0;
    bridge.change(mqttx::ForwarderBuilder::new("fw").source("src", "a/+").target("two")).await;
    assert_eq!(bridge.forwarder.settle(QUIET).await, 1);
    bridge.source.expect_silence(QUIET).await;
    bridge.source.send("3a { <a/x> 00 07 {} '1' }").await;
    bridge.two.expect(&sent("32 { <a/x> 00 01 {} '1' }")).await;
    bridge.two.send("40 { 00 01 }").await;
    bridge.source.expect("40 { 00 07 }").await;
}

#[tokio::test]
async fn what_comes_before_the_answer_to_unsubscribe_waits_for_the_start() {
    let mut bridge = Bridge::start().await;
    assert_eq!(bridge.forwarder.stop(std::time::Duration::ZERO).await, 0);
    bridge.source.expect("a2 { 00 02 {} <a/+> }").await;
    bridge.source.send("32 { <a/x> 00 07 {} '1' }").await;
    bridge.until_received(1).await;
    bridge.source.expect_silence(QUIET).await;
    bridge.source.send("b0 { 00 02 {} 00 }").await;
    bridge.forwarder.start().await.unwrap();
    bridge.one.expect(&sent("32 { <b/x> 00 01 {} '1' }")).await;
    bridge.one.send("40 { 00 01 }").await;
    bridge.source.expect("82 { 00 03 { 0b 02 } <a/+> 0d }").await;
    bridge.source.expect("40 { 00 07 }").await;
    assert_eq!(bridge.counted(), (1, 1, 0));
}

#[tokio::test]
async fn a_start_before_the_answer_to_unsubscribe_takes_every_message_once() {
    let mut bridge = Bridge::start().await;
    assert_eq!(bridge.forwarder.stop(std::time::Duration::ZERO).await, 0);
    bridge.source.expect("a2 { 00 02 {} <a/+> }").await;
    bridge.source.send("32 { <a/x> 00 07 {} '1' }").await;
    bridge.until_received(1).await;
    bridge.forwarder.start().await.unwrap();
    bridge.source.send("32 { <a/x> 00 08 {} '2' } b0 { 00 02 {} 00 }").await;
    bridge.source.expect("82 { 00 03 { 0b 02 } <a/+> 0d }").await;
    bridge.source.send("90 { 00 03 {} 01 } 32 { <a/x> 00 09 {} '3' }").await;
    for n in 1..=3 {
        bridge.one.expect(&sent(&format!("32 {{ <b/x> 00 0{n} {{}} '{n}' }}"))).await;
    }
    bridge.one.expect_silence(QUIET).await;
    assert_eq!(bridge.counted(), (3, 0, 3));
}

#[tokio::test]
async fn the_end_does_not_wait_for_a_stop_that_has_longer() {
    let mut bridge = Bridge::start().await;
    bridge.source.send("32 { <a/x> 00 07 {} '1' }").await;
    bridge.one.expect(&sent("32 { <b/x> 00 01 {} '1' }")).await;
    let stopped = bridge.forwarder.clone();
    let stopping = tokio::spawn(async move { stopped.stop(10 * SOON).await });
    bridge.source.expect("a2 { 00 02 {} <a/+> }").await;
    bridge.source.send("b0 { 00 02 {} 00 }").await;
    let left = timeout(SOON, bridge.forwarders.shutdown(QUIET)).await;
    assert_eq!(left.expect("it has its own deadline"), 1);
    timeout(SOON, stopping).await.expect("nothing is left to wait for").unwrap();
    timeout(SOON, bridge.sessions.shutdown(QUIET)).await.expect("nor do the sessions wait");
    bridge.source.expect("e0 {}").await;
}

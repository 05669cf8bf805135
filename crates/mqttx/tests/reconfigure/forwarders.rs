//! Other rules for a forwarder that runs.

use std::sync::Arc;
use std::time::Duration;

use mqttx::{
    EventKind, EventName, Filter, ForwardDrop, ForwarderBuilder, ForwarderManager, ForwarderState,
    Outbox, QoS, SessionManager, SessionOptions, Version,
};
use mqttx_test::{Flood, LoadOptions, LoadPeer, ScriptedBroker};

use crate::support::{ACCEPTED, Bridge, QUIET, RESUMED, SOON, rules, sent};

#[tokio::test]
async fn other_topics_count_from_the_next_message_on_and_no_connection_notices() {
    let mut bridge = Bridge::start().await;
    bridge.source.send("32 { <a/x> 00 07 {} '1' }").await;
    bridge.one.expect(&sent("32 { <b/x> 00 01 {} '1' }")).await;
    bridge.change(rules().topic("c/{1}")).await;
    bridge.source.expect_silence(QUIET).await;
    bridge.source.send("32 { <a/x> 00 08 {} '2' }").await;
    bridge.one.expect(&sent("32 { <c/x> 00 02 {} '2' }")).await;
    assert_eq!(bridge.counted(), (2, 0, 2));
    bridge.one.send("40 { 00 01 } 40 { 00 02 }").await;
    bridge.source.expect("40 { 00 07 }").await;
    bridge.source.expect("40 { 00 08 }").await;
    assert_eq!(bridge.forwarder.settle(SOON).await, 0);
    assert_eq!(bridge.counted(), (2, 2, 0));
    assert!(bridge.forwarder.is_running());
}

#[tokio::test]
async fn filters_are_subscribed_and_unsubscribed_as_they_come_and_go() {
    let mut bridge = Bridge::start().await;
    let other = ForwarderBuilder::new("fw").source("src", "a/x").source("src", "b").target("one");
    bridge.change(other).await;
    bridge.source.expect("82 { 00 02 { 0b 02 } <a/x> 0d }").await;
    bridge.source.expect("82 { 00 03 { 0b 03 } <b> 0d }").await;
    bridge.source.expect("a2 { 00 04 {} <a/+> }").await;
    bridge.source.send("90 { 00 02 {} 01 } 90 { 00 03 {} 01 } b0 { 00 04 {} 00 }").await;
    bridge.source.send("32 { <b> 00 07 {} '1' }").await;
    bridge.one.expect(&sent("32 { <b> 00 01 {} '1' }")).await;
}

#[tokio::test]
async fn another_target_gets_what_comes_and_the_old_one_acknowledges_what_it_has() {
    let mut bridge = Bridge::start().await;
    bridge.source.send("32 { <a/x> 00 07 {} '1' }").await;
    bridge.one.expect(&sent("32 { <b/x> 00 01 {} '1' }")).await;
    bridge.change(ForwarderBuilder::new("fw").source("src", "a/+").target("two")).await;
    bridge.source.send("32 { <a/x> 00 08 {} '2' }").await;
    bridge.two.expect(&sent("32 { <a/x> 00 01 {} '2' }")).await;
    bridge.two.send("40 { 00 01 }").await;
    bridge.source.expect_silence(QUIET).await;
    bridge.one.send("40 { 00 01 }").await;
    bridge.source.expect("40 { 00 07 }").await;
    bridge.source.expect("40 { 00 08 }").await;
    assert_eq!(bridge.counted(), (2, 2, 0));
}

#[tokio::test]
async fn what_waits_goes_before_what_comes() {
    let mut bridge = Bridge::start_with(rules().window(1)).await;
    bridge.source.send("32 { <a/x> 00 07 {} '1' } 32 { <a/x> 00 08 {} '2' }").await;
    bridge.one.expect(&sent("32 { <b/x> 00 01 {} '1' }")).await;
    let (forwarders, next) = (bridge.forwarders.clone(), rules().topic("c/{1}"));
    let change = tokio::spawn(async move {
        forwarders.reconfigure(vec![next.build().unwrap()], &[], SOON).await.map(|_| ())
    });
    bridge.source.send("32 { <a/x> 00 09 {} '3' }").await;
    bridge.one.expect_silence(QUIET).await;
    bridge.one.send("40 { 00 01 }").await;
    bridge.one.expect(&sent("32 { <b/x> 00 02 {} '2' }")).await;
    change.await.unwrap().unwrap();
    bridge.source.send("32 { <a/x> 00 0a {} '4' }").await;
    let third = bridge.one.recv_packet().await;
    assert!(third.ends_with(b"3"), "{third:?}");
    bridge.one.send("40 { 00 02 } 40 { 00 03 }").await;
    bridge.source.expect("40 { 00 07 }").await;
    bridge.source.expect("40 { 00 08 }").await;
    bridge.source.expect("40 { 00 09 }").await;
    bridge.one.expect(&sent("32 { <c/x> 00 04 {} '4' }")).await;
}

#[tokio::test]
async fn what_an_old_target_never_acknowledges_is_sent_again_by_the_server() {
    let mut bridge = Bridge::start().await;
    bridge.source.send("32 { <a/x> 00 07 {} '1' }").await;
    bridge.one.expect(&sent("32 { <b/x> 00 01 {} '1' }")).await;
    bridge.change(ForwarderBuilder::new("fw").source("src", "a/+").target("two")).await;
    assert_eq!(bridge.forwarder.settle(QUIET).await, 1);
    let metrics = bridge.forwarder.metrics();
    assert_eq!(metrics.dropped_by_reason, [(ForwardDrop::TargetRemoved, 1)]);
    bridge.goes_to_two().await;
    // Too late: nobody knows it any more.
    bridge.one.send("40 { 00 01 }").await;
    bridge.source.expect_silence(QUIET).await;
    assert_eq!(bridge.counted(), (2, 1, 0));
}

#[tokio::test]
async fn a_qos2_message_that_an_old_target_never_acknowledges_is_taken_again() {
    let exactly = || mqttx::ForwarderSource::new("src").topic("a/+").qos(QoS::ExactlyOnce);
    let rules = ForwarderBuilder::new("fw").from(exactly()).target("one");
    let mut bridge = Bridge::start_asking(rules, "0e").await;
    bridge.source.send("34 { <a/x> 00 07 {} '1' }").await;
    bridge.one.expect(&sent("34 { <a/x> 00 01 {} '1' }")).await;
    bridge.change(ForwarderBuilder::new("fw").from(exactly()).target("two")).await;
    assert_eq!(bridge.forwarder.settle(QUIET).await, 1);
    bridge.sends_again("3c").await;
    bridge.two.expect(&sent("34 { <a/x> 00 01 {} '1' }")).await;
    bridge.two.send("50 { 00 01 }").await;
    bridge.two.expect("62 { 00 01 }").await;
    bridge.two.send("70 { 00 01 }").await;
    bridge.source.expect("50 { 00 07 }").await;
}

#[tokio::test]
async fn what_a_removed_forwarder_leaves_does_not_hold_up_the_others_of_its_source() {
    let mut bridge = Bridge::start().await;
    let other = ForwarderBuilder::new("other").source("src", "c/+").target("two").build().unwrap();
    bridge.forwarders.add_forwarder(other).unwrap();
    bridge.source.expect("82 { 00 02 { 0b 02 } <c/+> 0d }").await;
    bridge.source.send("90 { 00 02 {} 01 }").await;
    bridge.source.send("32 { <a/x> 00 07 {} '1' }").await;
    bridge.one.expect(&sent("32 { <b/x> 00 01 {} '1' }")).await;
    let removing = bridge.forwarders.clone();
    let removing = tokio::spawn(async move { removing.remove("fw", QUIET).await });
    bridge.source.expect("a2 { 00 03 {} <a/+> }").await;
    bridge.source.send("b0 { 00 03 {} 00 }").await;
    assert_eq!(removing.await.unwrap().unwrap(), 1);
    // Acknowledgements keep their order: on this connection none could leave behind the one that is missing.
    bridge.source.expect("e0 {}").await;
    let (mut source, _) = bridge.broker.accept_and_answer(RESUMED).await;
    source.send("32 { <c/x> 00 08 {} '2' }").await;
    let theirs = sent("32 { <c/x> 00 01 {} '2' }").replace("d/fw", "d/other");
    bridge.two.expect(&theirs).await;
    bridge.two.send("40 { 00 01 }").await;
    source.expect("40 { 00 08 }").await;
}

#[tokio::test]
async fn rules_that_cannot_be_change_nothing_and_none_of_those_beside_them() {
    let mut bridge = Bridge::start().await;
    let fine = rules().topic("c/{1}").build().unwrap();
    let unknown = ForwarderBuilder::new("new").source("srk", "x").target("one").build().unwrap();
    let error = bridge.forwarders.reconfigure(vec![fine, unknown], &[], SOON).await.unwrap_err();
    assert!(error.to_string().contains("did you mean 'src'"), "{error}");
    assert!(bridge.forwarders.get("new").is_err());
    bridge.source.send("32 { <a/x> 00 07 {} '1' }").await;
    bridge.one.expect(&sent("32 { <b/x> 00 01 {} '1' }")).await;
}

#[tokio::test]
async fn circles_are_looked_for_with_all_rules_in_place() {
    let sessions = SessionManager::new();
    for name in ["a", "b"] {
        let options = SessionOptions::quick_connect(name, "127.0.0.1:1").protocol(Version::V311);
        sessions.add_session(options.manual_connect(true).build().unwrap()).unwrap();
    }
    let rules = |name: &str, from: &str, to: &str| {
        ForwarderBuilder::new(name).source(from, "t/#").target(to).build().unwrap()
    };
    let forwarders = ForwarderManager::named(&sessions, "d");
    forwarders.add_forwarder(rules("f", "a", "b")).unwrap();
    forwarders.reconfigure(vec![rules("g", "b", "a")], &[], SOON).await.expect_err("a circle");
    // Turned round, it is none.
    let all = vec![rules("f", "b", "a"), rules("g", "b", "a")];
    forwarders.reconfigure(all, &[], SOON).await.expect("no circle");
    assert_eq!(forwarders.list().len(), 2);
    assert!(forwarders.get("g").unwrap().is_running());
    let round = vec![rules("h", "a", "b")];
    forwarders.reconfigure(round.clone(), &[], SOON).await.expect_err("a circle again");
    let gone = ["f".to_owned(), "g".to_owned()];
    let done = forwarders.reconfigure(round, &gone, SOON).await.expect("none without the others");
    assert_eq!((done.added.len(), done.removed.len(), forwarders.list().len()), (1, 2, 1));
}

#[tokio::test]
async fn under_another_name_it_takes_over_and_the_old_one_finishes_what_it_has() {
    let mut bridge = Bridge::start().await;
    bridge.source.send("32 { <a/x> 00 07 {} '1' }").await;
    bridge.one.expect(&sent("32 { <b/x> 00 01 {} '1' }")).await;
    let renamed = ForwarderBuilder::new("fw2").source("src", "a/+").source("src", "z");
    let renamed = vec![renamed.target("two").build().unwrap()];
    let gone = ["fw".to_owned()];
    let done = bridge.forwarders.reconfigure(renamed, &gone, SOON).await.unwrap();
    bridge.source.expect("82 { 00 02 { 0b 02 } <z> 0d }").await;
    bridge.source.send("90 { 00 02 {} 01 }").await;
    bridge.source.send("32 { <a/x> 00 08 {} '2' }").await;
    let sent2 = sent("32 { <a/x> 00 01 {} '2' }").replace("d/fw", "d/fw2");
    bridge.two.expect(&sent2).await;
    bridge.one.expect_silence(QUIET).await;
    assert_eq!(bridge.counted(), (1, 0, 1));
    let end = tokio::spawn(async move { done.removed[0].end(SOON).await });
    bridge.one.send("40 { 00 01 }").await;
    bridge.source.expect("40 { 00 07 }").await;
    assert_eq!(end.await.unwrap(), 0);
    bridge.two.send("40 { 00 01 }").await;
    bridge.source.expect("40 { 00 08 }").await;
    bridge.source.expect_silence(QUIET).await;
}

#[tokio::test]
async fn a_stopped_forwarder_stays_so_until_it_is_enabled() {
    let mut bridge = Bridge::start().await;
    let stopped = vec![rules().enabled(false).build().unwrap()];
    let answer = async {
        bridge.source.expect("a2 { 00 02 {} <a/+> }").await;
        bridge.source.send("b0 { 00 02 {} 00 }").await;
    };
    let (changed, ()) = tokio::join!(bridge.forwarders.reconfigure(stopped, &[], SOON), answer);
    changed.unwrap();
    assert!(!bridge.forwarder.is_running());
    bridge.change(rules().topic("c/{1}").enabled(false)).await;
    bridge.source.expect_silence(QUIET).await;
    bridge.change(rules().topic("c/{1}")).await;
    bridge.source.expect("82 { 00 03 { 0b 02 } <a/+> 0d }").await;
    assert!(bridge.forwarder.is_running());
}

#[tokio::test]
async fn a_paused_forwarder_stays_so_and_what_it_holds_goes_first_by_its_old_rules() {
    let mut bridge = Bridge::start().await;
    bridge.forwarder.pause().await;
    bridge.source.send("32 { <a/x> 00 07 {} '1' }").await;
    bridge.until_received(1).await;
    bridge.change(rules().topic("c/{1}")).await;
    assert_eq!(bridge.forwarder.state(), ForwarderState::Paused);
    assert_eq!(bridge.forwarder.settle(QUIET).await, 0, "what a pause holds is not given up");
    bridge.source.send("32 { <a/x> 00 08 {} '2' }").await;
    bridge.until_received(2).await;
    bridge.one.expect_silence(QUIET).await;
    bridge.source.expect_silence(QUIET).await;
    assert_eq!((bridge.counted(), bridge.forwarder.metrics().queued), ((2, 0, 2), 2));
    bridge.forwarder.start().await.unwrap();
    bridge.one.expect(&sent("32 { <b/x> 00 01 {} '1' }")).await;
    bridge.one.expect(&sent("32 { <c/x> 00 02 {} '2' }")).await;
    bridge.one.send("40 { 00 01 } 40 { 00 02 }").await;
    bridge.source.expect("40 { 00 07 }").await;
    bridge.source.expect("40 { 00 08 }").await;
    assert_eq!(bridge.forwarder.settle(SOON).await, 0);
    assert_eq!(bridge.counted(), (2, 2, 0));
}

#[tokio::test]
async fn the_end_does_not_wait_for_what_a_pause_holds_by_old_rules() {
    let mut bridge = Bridge::start().await;
    bridge.forwarder.pause().await;
    bridge.source.send("32 { <a/x> 00 07 {} '1' }").await;
    bridge.until_received(1).await;
    bridge.change(rules().topic("c/{1}")).await;
    let left = tokio::time::timeout(SOON, bridge.forwarders.shutdown(10 * SOON)).await;
    assert_eq!(left.expect("it does not wait"), 1);
    let report = tokio::time::timeout(SOON, bridge.sessions.shutdown(10 * SOON)).await;
    report.expect("nor do the sessions");
    bridge.source.expect("e0 {}").await;
}

#[tokio::test]
async fn a_forwarder_whose_target_is_removed_stands_still_until_that_is_there_again() {
    let mut bridge = Bridge::start().await;
    let mut events = bridge.sessions.events_matching(EventName::ForwarderBlocked);
    bridge.source.send("32 { <a/x> 00 07 {} '1' }").await;
    bridge.one.expect(&sent("32 { <b/x> 00 01 {} '1' }")).await;
    bridge.sessions.remove_session("one").await.unwrap();
    assert_eq!(bridge.forwarder.state(), ForwarderState::Blocked);
    // What it had comes again, and then nothing moves.
    bridge.source.expect("e0 {}").await;
    let (mut source, _) = bridge.broker.accept_and_answer(RESUMED).await;
    source.send("3a { <a/x> 00 07 {} '1' } 32 { <a/x> 00 08 {} '2' }").await;
    let event = events.next().await.expect("told");
    assert!(
        matches!(&event.kind, EventKind::ForwarderBlocked { target, .. } if &**target == "one")
    );
    source.expect_silence(QUIET).await;
    bridge.until_received(3).await;
    assert_eq!((bridge.counted(), bridge.forwarder.metrics().queued), ((3, 0, 2), 2));
    let broker = ScriptedBroker::start().await;
    let again = SessionOptions::quick_connect("one", broker.url());
    bridge.sessions.add_session(again.build().unwrap()).unwrap();
    let (mut one, _) = broker.accept_and_answer(ACCEPTED).await;
    source.expect("e0 {}").await;
    let (mut source, _) = bridge.broker.accept_and_answer(RESUMED).await;
    source.send("3a { <a/x> 00 07 {} '1' } 3a { <a/x> 00 08 {} '2' }").await;
    one.expect(&sent("32 { <b/x> 00 01 {} '1' }")).await;
    one.expect(&sent("32 { <b/x> 00 02 {} '2' }")).await;
    one.send("40 { 00 01 } 40 { 00 02 }").await;
    source.expect("40 { 00 07 }").await;
    source.expect("40 { 00 08 }").await;
    assert!(bridge.forwarder.is_running());
    assert!(events.try_next().is_none(), "told once");
}

#[tokio::test]
async fn a_forwarder_whose_target_is_removed_goes_on_with_another_one_at_once() {
    let mut bridge = Bridge::start().await;
    bridge.sessions.remove_session("one").await.unwrap();
    bridge.source.send("32 { <a/x> 00 07 {} '1' }").await;
    bridge.until_received(1).await;
    bridge.change(ForwarderBuilder::new("fw").source("src", "a/+").target("two")).await;
    // Nobody can finish it: there is nothing to wait for.
    let left = tokio::time::timeout(SOON, bridge.forwarder.settle(10 * SOON)).await;
    assert_eq!(left.expect("at once"), 1);
    bridge.goes_to_two().await;
    assert!(bridge.forwarder.is_running());
}

/// As by a client of the daemon that does not wait for its answer.
#[tokio::test]
async fn a_change_that_nobody_waits_for_any_more_comes_to_its_end() {
    let mut bridge = Bridge::start_with(rules().window(1)).await;
    bridge.source.send("32 { <a/x> 00 07 {} '1' } 32 { <a/x> 00 08 {} '2' }").await;
    bridge.one.expect(&sent("32 { <b/x> 00 01 {} '1' }")).await;
    let next = vec![rules().topic("c/{1}").build().unwrap()];
    let given_up = tokio::time::timeout(QUIET, bridge.forwarders.reconfigure(next, &[], SOON));
    // The change has a patience of its own, which is longer.
    tokio::time::pause();
    assert!(given_up.await.is_err(), "the second message waits for its target");
    tokio::time::resume();
    bridge.one.send("40 { 00 01 }").await;
    bridge.one.expect(&sent("32 { <b/x> 00 02 {} '2' }")).await;
    bridge.source.send("32 { <a/x> 00 09 {} '3' }").await;
    bridge.one.expect(&sent("32 { <c/x> 00 03 {} '3' }")).await;
}

#[tokio::test]
async fn many_forwarders_whose_target_takes_nothing_are_changed_as_fast_as_one() {
    let mut bridge = Bridge::start_with(rules().window(1)).await;
    bridge.source.send("32 { <a/x> 00 07 {} '1' } 32 { <a/x> 00 08 {} '2' }").await;
    bridge.until_received(2).await;
    let named = |n: u8| {
        ForwarderBuilder::new(format!("fw{n}")).source("src", format!("a{n}/+")).target("one")
    };
    for n in 0..5 {
        bridge.forwarders.add_forwarder(named(n).window(1).build().unwrap()).unwrap();
        let subscribe = bridge.source.expect_type(0x82).await;
        let id = subscribe[3];
        bridge.source.send(&format!("90 {{ 00 {id:02x} {{}} 01 }}")).await;
        for m in 0..2 {
            let id = 0x10 + 2 * n + m;
            bridge.source.send(&format!("32 {{ <a{n}/x> 00 {id:02x} {{}} '1' }}")).await;
        }
        let forwarder = bridge.forwarders.get(&format!("fw{n}")).unwrap();
        while forwarder.metrics().received < 2 {
            tokio::task::yield_now().await;
        }
    }
    let changed = (0..5).map(|n| named(n).topic("c").build().unwrap()).collect();
    tokio::time::pause();
    let before = tokio::time::Instant::now();
    bridge.forwarders.reconfigure(changed, &[], SOON).await.unwrap();
    let took = before.elapsed();
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[tokio::test]
async fn whoever_waits_for_a_targets_room_does_not_keep_a_forwarder_that_ended() {
    let sessions = SessionManager::new();
    let broker = ScriptedBroker::start().await;
    for (name, manual) in [("src", false), ("one", true)] {
        let options = SessionOptions::quick_connect(name, broker.url()).manual_connect(manual);
        let outbox = Outbox { messages: Some(1), ..Outbox::default() };
        sessions.add_session(options.outbox(outbox).build().unwrap()).unwrap();
    }
    let forwarders = ForwarderManager::named(&sessions, "d");
    let witness = Arc::new(());
    let held = Arc::downgrade(&witness);
    let filter = Filter::from_fn(move |_| Arc::strong_count(&witness) > 0);
    let rules = rules().filter(filter).build().unwrap();
    let forwarder = forwarders.add_forwarder(rules).unwrap();
    let (mut source, _) = broker.accept_and_answer(ACCEPTED).await;
    source.expect_type(0x82).await;
    source.send("90 { 00 01 {} 01 } 32 { <a/x> 00 07 {} '1' } 32 { <a/x> 00 08 {} '2' }").await;
    while forwarder.metrics().retried == 0 {
        tokio::task::yield_now().await;
    }
    drop(forwarder);
    let end = forwarders.take_out("fw").unwrap();
    let ending = tokio::spawn(async move { end.end(QUIET).await });
    source.expect_type(0xa2).await;
    source.send("b0 { 00 02 {} 00 }").await;
    assert_eq!(ending.await.unwrap(), 2);
    let gone = async {
        while held.upgrade().is_some() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, gone).await.expect("nobody has its rules any more");
}

/// Fifty changes while messages flow as fast as they can.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_under_load_lose_nothing_and_send_nothing_twice() {
    const MESSAGES: u64 = 20_000;
    let flood =
        Flood { topics: vec!["a/x".into()], payload: 16, qos: 1, messages: MESSAGES, window: 200 };
    let source = LoadPeer::start(LoadOptions { flood: Some(flood), ..LoadOptions::default() });
    let target = LoadPeer::start(LoadOptions::default());
    let sessions = SessionManager::new();
    for (name, peer) in [("src", &source), ("one", &target)] {
        let options = SessionOptions::quick_connect(name, peer.url()).client_id(name);
        sessions.add_session(options.build().unwrap()).unwrap();
    }
    let forwarders = ForwarderManager::named(&sessions, "d");
    let forwarder = forwarders.add_forwarder(rules().build().unwrap()).unwrap();
    for n in 0..50 {
        let rules = rules().topic(format!("b{n}/{{1}}")).window(100 + n).build().unwrap();
        forwarders.reconfigure(vec![rules], &[], SOON).await.unwrap();
        assert_eq!(forwarder.settle(SOON).await, 0);
    }
    let done = source.wait_for(|counters| counters.acknowledged >= MESSAGES);
    tokio::time::timeout(SOON, done).await.expect("all are acknowledged");
    let metrics = forwarder.metrics();
    assert_eq!((metrics.received, metrics.forwarded), (MESSAGES, MESSAGES), "{metrics:?}");
    assert_eq!((target.counters().publishes, source.counters().connects), (MESSAGES, 1));
    drop(sessions);
}

//! Forwarders between brokers whose every byte the test decides.

#[path = "support/bridge.rs"]
mod support;

use std::time::Duration;

use mqttx::{
    EventKind, Filter, ForwardDrop, Forwarder, ForwarderBuilder, ForwarderManager, Outbox, QoS,
    SessionManager, Version,
};
use mqttx_test::{Peer, ScriptedBroker, hex};
use tokio::task::JoinHandle;

use support::{
    Bridge, QUIET, SOON, VIA, assert_balanced, bridge, bridge_with, connack, grant, sent, session,
    until,
};

fn rules() -> ForwarderBuilder {
    ForwarderBuilder::new("fw").source("src", "a/+").target("dst").topic("b/{1}")
}

#[tokio::test]
async fn source_is_acknowledged_only_after_the_target_acknowledged() {
    for version in [Version::V5, Version::V311] {
        let mut bridge = bridge(version, rules()).await;
        match version {
            Version::V5 => {
                bridge.source.send("32 { <a/x> 00 07 {} 'hi' }").await;
                bridge.target.expect(&sent("32 { <b/x> 00 01 {} 'hi' }")).await;
            }
            Version::V311 => {
                bridge.source.send("32 { <a/x> 00 07 'hi' }").await;
                bridge.target.expect("32 { <b/x> 00 01 'hi' }").await;
            }
        }
        bridge.source.expect_silence(QUIET).await;
        assert_eq!(bridge.forwarder.metrics().in_flight, 1);
        bridge.target.send("40 { 00 01 }").await;
        bridge.source.expect("40 { 00 07 }").await;
        let metrics = bridge.forwarder.metrics();
        assert_eq!((metrics.received, metrics.forwarded, metrics.in_flight), (1, 1, 0));
    }
}

#[tokio::test]
async fn qos2_is_acknowledged_to_the_source_after_pubcomp_of_the_target() {
    let rules = ForwarderBuilder::new("fw")
        .from(mqttx::ForwarderSource::new("src").topic("a/+").qos(QoS::ExactlyOnce))
        .target("dst");
    let mut bridge = bridge(Version::V5, rules).await;
    bridge.source.send("34 { <a/x> 00 07 {} 'hi' }").await;
    bridge.target.expect(&sent("34 { <a/x> 00 01 {} 'hi' }")).await;
    bridge.target.send("50 { 00 01 }").await;
    bridge.target.expect("62 { 00 01 }").await;
    bridge.source.expect_silence(QUIET).await;
    bridge.target.send("70 { 00 01 }").await;
    bridge.source.expect("50 { 00 07 }").await;
    bridge.source.send("62 { 00 07 }").await;
    bridge.source.expect("70 { 00 07 }").await;
}

#[tokio::test]
async fn acknowledgements_leave_in_the_order_of_the_source() {
    let mut bridge = bridge(Version::V5, rules()).await;
    bridge.source.send("32 { <a/1> 00 05 {} } 32 { <a/2> 00 06 {} }").await;
    bridge.target.expect(&sent("32 { <b/1> 00 01 {} }")).await;
    bridge.target.expect(&sent("32 { <b/2> 00 02 {} }")).await;
    bridge.target.send("40 { 00 02 }").await;
    bridge.source.expect_silence(QUIET).await;
    bridge.target.send("40 { 00 01 }").await;
    bridge.source.expect("40 { 00 05 }").await;
    bridge.source.expect("40 { 00 06 }").await;
}

#[tokio::test]
async fn the_window_bounds_what_is_between_source_and_target_but_not_qos0() {
    let mut bridge = bridge(Version::V5, rules().window(2)).await;
    bridge.source.send("32 { <a/1> 00 05 {} } 32 { <a/2> 00 06 {} } 32 { <a/3> 00 07 {} }").await;
    bridge.target.expect(&sent("32 { <b/1> 00 01 {} }")).await;
    bridge.target.expect(&sent("32 { <b/2> 00 02 {} }")).await;
    bridge.target.expect_silence(QUIET).await;
    bridge.source.send("30 { <a/0> {} }").await;
    bridge.target.expect(&sent("30 { <b/0> {} }")).await;
    bridge.target.send("40 { 00 01 }").await;
    bridge.source.expect("40 { 00 05 }").await;
    bridge.target.expect(&sent("32 { <b/3> 00 03 {} }")).await;
    assert_balanced(&bridge.forwarder);
}

#[tokio::test]
async fn qos0_beyond_its_queue_is_counted_as_dropped() {
    let rules = rules().qos0_queue(3);
    let brokers = (ScriptedBroker::start().await, ScriptedBroker::start().await);
    let sessions = SessionManager::new();
    sessions.add_session(session("src", &brokers.0, Version::V5).build().unwrap()).unwrap();
    let target = session("dst", &brokers.1, Version::V5).manual_connect(true);
    let target = sessions.add_session(target.build().unwrap()).unwrap();
    let forwarders = ForwarderManager::named(&sessions, "d");
    let forwarder = forwarders.add_forwarder(rules.build().unwrap()).unwrap();
    let (mut source, _) = brokers.0.accept_and_answer(connack(Version::V5)).await;
    grant(&mut source, Version::V5).await;
    for n in 1..=5 {
        source.send(&format!("30 {{ <a/{n}> {{}} }}")).await;
    }
    until("all arrived", || forwarder.metrics().received == 5).await;
    let metrics = forwarder.metrics();
    assert_eq!((metrics.dropped, metrics.in_flight), (2, 3));
    assert_eq!(metrics.dropped_by_reason, [(ForwardDrop::QueueFull, 2)]);
    target.connect();
    let (mut peer, _) = brokers.1.accept_and_answer(connack(Version::V5)).await;
    for n in 1..=3 {
        peer.expect(&sent(&format!("30 {{ <b/{n}> {{}} }}"))).await;
    }
    until("all are written", || forwarder.metrics().forwarded == 3).await;
    assert_balanced(&forwarder);
}

/// They came in one read and go together, as far as there is room.
#[tokio::test]
async fn qos0_for_which_its_target_has_no_room_waits_and_keeps_its_order() {
    let brokers = (ScriptedBroker::start().await, ScriptedBroker::start().await);
    let sessions = SessionManager::new();
    sessions.add_session(session("src", &brokers.0, Version::V5).build().unwrap()).unwrap();
    let outbox = Outbox { messages: Some(2), ..Outbox::default() };
    let target = session("dst", &brokers.1, Version::V5).manual_connect(true).outbox(outbox);
    let target = sessions.add_session(target.build().unwrap()).unwrap();
    let forwarders = ForwarderManager::named(&sessions, "d");
    let forwarder = forwarders.add_forwarder(rules().build().unwrap()).unwrap();
    let (mut source, _) = brokers.0.accept_and_answer(connack(Version::V5)).await;
    grant(&mut source, Version::V5).await;
    let all: String = (1..=5).map(|n| format!("30 {{ <a/{n}> {{}} }} ")).collect();
    source.send(&all).await;
    until("all arrived", || forwarder.metrics().received == 5).await;
    let metrics = forwarder.metrics();
    assert_eq!((metrics.dropped, metrics.in_flight, metrics.queued), (0, 5, 3));
    target.connect();
    let (mut peer, _) = brokers.1.accept_and_answer(connack(Version::V5)).await;
    for n in 1..=5 {
        peer.expect(&sent(&format!("30 {{ <b/{n}> {{}} }}"))).await;
    }
    until("all are written", || forwarder.metrics().forwarded == 5).await;
    assert_balanced(&forwarder);
}

/// What is dropped does not hold the source back.
#[tokio::test]
async fn qos0_beyond_its_queue_leaves_the_source_readable() {
    let mut bridge = bridge(Version::V5, rules().qos0_queue(3)).await;
    bridge.source.send(&"30 { <a/1> {} } ".repeat(40)).await;
    until("all arrived", || bridge.forwarder.metrics().received == 40).await;
    until("all are written", || bridge.forwarder.metrics().in_flight == 0).await;
    assert!(bridge.forwarder.metrics().dropped > 2, "they came in one read");
    bridge.source.send("30 { <a/2> {} }").await;
    until("it arrived", || bridge.forwarder.metrics().received == 41).await;
}

/// Messages with QoS 0 go together if there is no rule that may hold one of them back; with a filter they go one by one.
fn one_by_one(rules: ForwarderBuilder) -> ForwarderBuilder {
    rules.filter(Filter::from_fn(|_| true))
}

/// Messages of 128 KiB.
const FLOOD: u64 = 200;

/// Sends more than sockets and queues hold.
fn flood(mut source: Peer) -> JoinHandle<Peer> {
    let mut publish = vec![0x30, 0x86, 0x80, 0x08, 0, 3, b'a', b'/', b'1', 0];
    publish.resize(publish.len() + (128 << 10), b'x');
    tokio::spawn(async move {
        for _ in 0..FLOOD {
            source.send_bytes(&publish).await;
        }
        source
    })
}

/// Waits until something is on its way and nothing more arrives: in so many turns, as one of them may last as long as the machine
/// stands still.
async fn stands_still(forwarder: &Forwarder) {
    const LOOKS: u32 = 50;
    let (mut before, mut looks) = (0, 0);
    while looks < LOOKS {
        tokio::time::sleep(QUIET / LOOKS).await;
        let metrics = forwarder.metrics();
        let still = metrics.received == before && metrics.in_flight > 0;
        looks = if still { looks + 1 } else { 0 };
        before = metrics.received;
    }
}

#[tokio::test]
async fn qos0_that_waits_for_a_slow_target_holds_the_source_back_no_more_once_that_is_gone() {
    for rules in [rules(), one_by_one(rules())] {
        // The inbound buffer of the source is full when half of the queue is.
        let Bridge { sessions: _sessions, forwarder, source, target, .. } =
            bridge(Version::V5, rules.qos0_queue(64)).await;
        let flood = flood(source);
        stands_still(&forwarder).await;
        assert!(forwarder.metrics().received < FLOOD);
        // Nobody accepts the next connection.
        target.reset();
        until("the rest is read", || forwarder.metrics().received == FLOOD).await;
        let _source = flood.await.unwrap();
        assert_balanced(&forwarder);
    }
}

#[tokio::test]
async fn qos0_that_waits_in_a_stopped_forwarder_does_not_hold_its_source_back() {
    for (rules, is_parked) in [(rules(), false), (one_by_one(rules()), true)] {
        let Bridge { sessions, forwarder, source, mut target, .. } =
            bridge(Version::V5, rules.qos0_queue(64)).await;
        let src = sessions.session("src").unwrap();
        // Nobody reads at the target; the inbound buffer of the source is full when half of the queue is.
        let flood = flood(source);
        stands_still(&forwarder).await;
        assert_eq!(src.metrics().parked_bytes > 0, is_parked);
        let stopping = forwarder.clone();
        let stopping = tokio::spawn(async move { stopping.stop(QUIET).await });
        let left = stopping.await.unwrap();
        assert!(left > 0, "the target took nothing");
        let received = forwarder.metrics().received;
        let mut source = flood.await.expect("the rest is read");
        assert_eq!(src.metrics().parked_bytes, 0);
        assert_eq!(
            forwarder.metrics().received,
            received,
            "what came later is not the forwarder's"
        );
        assert_balanced(&forwarder);
        // It goes on where it stopped.
        forwarder.start().await.unwrap();
        source.expect_type(0xa2).await;
        grant(&mut source, Version::V5).await;
        let reading = tokio::spawn(async move {
            loop {
                target.expect_type(0x30).await;
            }
        });
        until("all are written", || forwarder.metrics().in_flight == 0).await;
        reading.abort();
        assert_balanced(&forwarder);
    }
}

/// Neither server reads before it has sent everything: sources that only waited for targets would wait for ever.
#[tokio::test]
async fn two_forwarders_against_each_other_read_on_while_both_targets_are_full() {
    let Bridge { sessions: _sessions, forwarders, forwarder, source, mut target, .. } =
        bridge(Version::V5, rules()).await;
    let back = ForwarderBuilder::new("back").source("dst", "a/+").target("src").topic("c/{1}");
    let back = forwarders.add_forwarder(back.build().unwrap()).unwrap();
    grant(&mut target, Version::V5).await;
    let floods = async { tokio::try_join!(flood(source), flood(target)) };
    let _peers = tokio::time::timeout(SOON, floods).await.expect("all is read").unwrap();
    for forwarder in [forwarder, back] {
        assert_balanced(&forwarder);
    }
}

/// They went together: those that the socket took are forwarded, the others are lost.
#[tokio::test]
async fn qos0_that_went_together_is_counted_one_by_one_when_the_connection_ends() {
    let Bridge { sessions: _sessions, forwarder, mut source, target, .. } =
        bridge(Version::V5, rules()).await;
    let mut publish = vec![0x30, 0x86, 0x20, 0, 3, b'a', b'/', b'1', 0];
    publish.resize(publish.len() + 4096, b'x');
    let flood = tokio::spawn(async move {
        for _ in 0..4000 {
            source.send_bytes(&publish).await;
        }
        source
    });
    stands_still(&forwarder).await;
    let before = forwarder.metrics();
    assert!(before.in_flight > 1 && before.forwarded > 0, "{before:?}");
    // Nobody accepts the next connection.
    target.reset();
    let _source = flood.await.unwrap();
    until("all arrived", || forwarder.metrics().received == 4000).await;
    let metrics = forwarder.metrics();
    assert_eq!(metrics.forwarded, before.forwarded, "nothing more was written");
    assert_eq!(metrics.forwarded + metrics.dropped + metrics.in_flight, 4000);
    let lost =
        metrics.dropped_by_reason.iter().find(|(why, _)| *why == ForwardDrop::ConnectionLost);
    assert!(lost.is_some_and(|(_, count)| *count >= before.in_flight), "{metrics:?}");
}

#[tokio::test]
async fn a_stopped_forwarder_drains_unsubscribes_and_starts_again() {
    let mut bridge = bridge(Version::V5, rules()).await;
    for _ in 0..2 {
        bridge.source.send("32 { <a/x> 00 07 {} }").await;
        let publish = bridge.target.expect_type(0x32).await;
        let forwarder = bridge.forwarder.clone();
        let stopping = tokio::spawn(async move { forwarder.stop(SOON).await });
        let unsubscribe = bridge.source.expect_type(0xa2).await;
        // What comes before the answer is still forwarded.
        bridge.source.send("32 { <a/y> 00 08 {} }").await;
        let late = bridge.target.expect_type(0x32).await;
        let mut answer = hex("b0 04 00 00 00 00");
        answer[2..4].copy_from_slice(&unsubscribe[2..4]);
        bridge.source.send_bytes(&answer).await;
        for publish in [publish, late] {
            let mut ack = hex("40 02 00 00");
            // Topic "b/x": fixed header 2, length 2, topic 3.
            ack[2..4].copy_from_slice(&publish[7..9]);
            bridge.target.send_bytes(&ack).await;
        }
        bridge.source.expect("40 { 00 07 }").await;
        bridge.source.expect("40 { 00 08 }").await;
        assert_eq!(stopping.await.unwrap(), 0);
        assert!(!bridge.forwarder.is_running());
        bridge.forwarder.start().await.unwrap();
        grant(&mut bridge.source, Version::V5).await;
    }
    assert_eq!(bridge.forwarder.metrics().forwarded, 4);
}

#[tokio::test]
async fn what_a_removed_forwarder_leaves_is_acknowledged_where_the_server_would_forget_it() {
    let mut bridge = bridge(Version::V5, rules()).await;
    bridge.source.send("32 { <a/x> 00 07 {} }").await;
    bridge.target.expect(&sent("32 { <b/x> 00 01 {} }")).await;
    let forwarders = bridge.forwarders.clone();
    let removing = tokio::spawn(async move { forwarders.remove("fw", QUIET).await });
    let unsubscribe = bridge.source.expect_type(0xa2).await;
    let mut answer = hex("b0 04 00 00 00 00");
    answer[2..4].copy_from_slice(&unsubscribe[2..4]);
    bridge.source.send_bytes(&answer).await;
    bridge.source.expect("40 { 00 07 }").await;
    assert_eq!(removing.await.unwrap().unwrap(), 1);
    bridge.source.expect_silence(QUIET).await;
}

/// As by a client of the daemon that does not wait for its answer.
#[tokio::test]
async fn a_stop_that_nobody_waits_for_any_more_loses_nothing_and_comes_to_its_end() {
    let mut bridge = bridge(Version::V5, rules()).await;
    let given_up = tokio::time::timeout(QUIET, bridge.forwarder.stop(SOON)).await;
    assert!(given_up.is_err(), "the server has not answered");
    let unsubscribe = bridge.source.expect_type(0xa2).await;
    bridge.source.send("32 { <a/x> 00 07 {} }").await;
    bridge.target.expect(&sent("32 { <b/x> 00 01 {} }")).await;
    bridge.source.expect_silence(QUIET).await;
    bridge.target.send("40 { 00 01 }").await;
    bridge.source.expect("40 { 00 07 }").await;
    let mut answer = hex("b0 04 00 00 00 00");
    answer[2..4].copy_from_slice(&unsubscribe[2..4]);
    bridge.source.send_bytes(&answer).await;
    until("it has stopped", || !bridge.forwarder.is_running()).await;
    bridge.forwarder.start().await.unwrap();
    grant(&mut bridge.source, Version::V5).await;
    bridge.source.send("32 { <a/y> 00 08 {} }").await;
    bridge.target.expect(&sent("32 { <b/y> 00 02 {} }")).await;
}

/// A server that does not answer would keep the others from being unsubscribed.
#[tokio::test]
async fn a_stop_asks_for_all_filters_before_it_waits_for_an_answer() {
    let rules = ForwarderBuilder::new("fw").source("src", "a/+").source("src", "c/+").target("dst");
    let mut bridge = bridge_with(Version::V5, rules, 2, |options| options).await;
    let forwarder = bridge.forwarder.clone();
    let stopping = tokio::spawn(async move { forwarder.stop(SOON).await });
    let mut answers = Vec::new();
    for _ in 0..2 {
        let unsubscribe = bridge.source.expect_type(0xa2).await;
        let mut answer = hex("b0 04 00 00 00 00");
        answer[2..4].copy_from_slice(&unsubscribe[2..4]);
        answers.push(answer);
    }
    for answer in answers {
        bridge.source.send_bytes(&answer).await;
    }
    assert_eq!(stopping.await.unwrap(), 0);
}

/// However often it is started and stopped while a target does not acknowledge.
#[tokio::test]
async fn routes_of_earlier_starts_do_not_stay_for_a_message_that_is_held() {
    let mut bridge = bridge(Version::V5, rules()).await;
    let mut events = bridge.sessions.events();
    bridge.source.send("32 { <a/x> 00 07 {} }").await;
    bridge.target.expect(&sent("32 { <b/x> 00 01 {} }")).await;
    let mut ended = 0;
    for _ in 0..3 {
        let forwarder = bridge.forwarder.clone();
        let stopping = tokio::spawn(async move { forwarder.stop(QUIET).await });
        let unsubscribe = bridge.source.expect_type(0xa2).await;
        let mut answer = hex("b0 04 00 00 00 00");
        answer[2..4].copy_from_slice(&unsubscribe[2..4]);
        bridge.source.send_bytes(&answer).await;
        assert_eq!(stopping.await.unwrap(), 1);
        while let Some(event) = events.try_next() {
            ended += usize::from(matches!(event.kind, EventKind::RouteStopped { .. }));
        }
        bridge.forwarder.start().await.unwrap();
        grant(&mut bridge.source, Version::V5).await;
    }
    // The driver may know the first one from its message.
    assert!(ended >= 2, "{ended} routes have ended");
    bridge.target.send("40 { 00 01 }").await;
    bridge.source.expect("40 { 00 07 }").await;
    assert_balanced(&bridge.forwarder);
}

#[tokio::test]
async fn what_a_stop_leaves_is_acknowledged_later_and_nothing_is_lost() {
    let mut bridge = bridge(Version::V5, rules().window(1)).await;
    bridge.source.send("32 { <a/1> 00 07 {} } 32 { <a/2> 00 08 {} }").await;
    bridge.target.expect(&sent("32 { <b/1> 00 01 {} }")).await;
    until("both arrived", || bridge.forwarder.metrics().received == 2).await;
    assert_eq!(bridge.forwarder.stop(QUIET).await, 2);
    bridge.source.expect_type(0xa2).await;
    bridge.target.send("40 { 00 01 }").await;
    bridge.source.expect("40 { 00 07 }").await;
    bridge.target.expect_silence(QUIET).await;
    bridge.forwarder.start().await.unwrap();
    bridge.target.expect(&sent("32 { <b/2> 00 02 {} }")).await;
    bridge.target.send("40 { 00 02 }").await;
    grant(&mut bridge.source, Version::V5).await;
    bridge.source.expect("40 { 00 08 }").await;
    assert_balanced(&bridge.forwarder);
}

#[tokio::test]
async fn an_optional_target_that_is_down_holds_nobody() {
    let brokers = (ScriptedBroker::start().await, ScriptedBroker::start().await);
    let sessions = SessionManager::new();
    sessions.add_session(session("src", &brokers.0, Version::V5).build().unwrap()).unwrap();
    sessions.add_session(session("dst", &brokers.1, Version::V5).build().unwrap()).unwrap();
    let down = session("down", &brokers.1, Version::V5).manual_connect(true);
    sessions.add_session(down.build().unwrap()).unwrap();
    let forwarders = ForwarderManager::named(&sessions, "d");
    let rules = rules().target("down").required(false).qos0_queue(2);
    let forwarder = forwarders.add_forwarder(rules.build().unwrap()).unwrap();
    let (mut source, _) = brokers.0.accept_and_answer(connack(Version::V5)).await;
    grant(&mut source, Version::V5).await;
    let (mut target, _) = brokers.1.accept_and_answer(connack(Version::V5)).await;
    for n in 1..=4 {
        source.send(&format!("32 {{ <a/x> 00 0{n} {{}} }}")).await;
        target.expect(&sent(&format!("32 {{ <b/x> 00 0{n} {{}} }}"))).await;
        target.send(&format!("40 {{ 00 0{n} }}")).await;
        source.expect(&format!("40 {{ 00 0{n} }}")).await;
    }
    let metrics = forwarder.metrics();
    assert_eq!((metrics.forwarded, metrics.optional_lost, metrics.dropped), (4, 2, 0));
}

/// The messages come in one read, and the second target takes two of them at a time.
#[tokio::test]
async fn two_targets_get_every_message_once_and_in_order_although_one_has_little_room() {
    const MESSAGES: u8 = 40;
    let brokers = (ScriptedBroker::start().await, ScriptedBroker::start().await);
    let sessions = SessionManager::new();
    sessions.add_session(session("src", &brokers.0, Version::V5).build().unwrap()).unwrap();
    sessions.add_session(session("dst", &brokers.1, Version::V5).build().unwrap()).unwrap();
    let (mut wide, _) = brokers.1.accept_and_answer(connack(Version::V5)).await;
    let narrow = session("too", &brokers.1, Version::V5)
        .outbox(Outbox { messages: Some(2), ..Outbox::default() });
    sessions.add_session(narrow.build().unwrap()).unwrap();
    let (mut narrow, _) = brokers.1.accept_and_answer(connack(Version::V5)).await;
    let forwarders = ForwarderManager::new(&sessions);
    // The narrow one stands between two that have room.
    let rules = ForwarderBuilder::new("fw").source("src", "a/+");
    let rules = rules.target("dst").topic("first").target("too").target("dst").topic("last");
    let forwarder = forwarders.add_forwarder(rules.build().unwrap()).unwrap();
    let (mut source, _) = brokers.0.accept_and_answer(connack(Version::V5)).await;
    grant(&mut source, Version::V5).await;
    let mut read = Vec::new();
    for id in 1..=MESSAGES {
        read.extend(hex(&format!("32 {{ <a/x> 00 {id:02x} {{}} {id:02x} }}")));
    }
    source.send_bytes(&read).await;
    let acknowledge = |publish: &[u8], topic: usize| {
        let mut ack = hex("40 02 00 00");
        ack[2..4].copy_from_slice(&publish[4 + topic..6 + topic]);
        ack
    };
    let all = tokio::spawn(async move {
        let mut seen = (Vec::new(), Vec::new());
        for _ in 0..2 * MESSAGES {
            let publish = wide.expect_type(0x32).await;
            let is_first = publish[4..].starts_with(b"first");
            let list = if is_first { &mut seen.0 } else { &mut seen.1 };
            list.push(*publish.last().unwrap());
            wide.send_bytes(&acknowledge(&publish, if is_first { 5 } else { 4 })).await;
        }
        seen
    });
    for id in 1..=MESSAGES {
        let publish = narrow.expect_type(0x32).await;
        assert_eq!(publish.last(), Some(&id));
        narrow.send_bytes(&acknowledge(&publish, 3)).await;
    }
    for id in 1..=MESSAGES {
        source.expect(&format!("40 {{ 00 {id:02x} }}")).await;
    }
    let order: Vec<u8> = (1..=MESSAGES).collect();
    assert_eq!(all.await.unwrap(), (order.clone(), order));
    assert_eq!(forwarder.metrics().forwarded, u64::from(MESSAGES));
}

#[tokio::test]
async fn every_required_target_must_acknowledge() {
    let brokers = (ScriptedBroker::start().await, ScriptedBroker::start().await);
    let sessions = SessionManager::new();
    sessions.add_session(session("src", &brokers.0, Version::V5).build().unwrap()).unwrap();
    sessions.add_session(session("dst", &brokers.1, Version::V5).build().unwrap()).unwrap();
    let (mut target, _) = brokers.1.accept_and_answer(connack(Version::V5)).await;
    sessions.add_session(session("too", &brokers.1, Version::V5).build().unwrap()).unwrap();
    let (mut second, _) = brokers.1.accept_and_answer(connack(Version::V5)).await;
    let forwarders = ForwarderManager::named(&sessions, "d");
    forwarders.add_forwarder(rules().target("too").build().unwrap()).unwrap();
    let (mut source, _) = brokers.0.accept_and_answer(connack(Version::V5)).await;
    grant(&mut source, Version::V5).await;
    source.send("32 { <a/x> 00 07 {} }").await;
    target.expect(&sent("32 { <b/x> 00 01 {} }")).await;
    second.expect(&sent("32 { <a/x> 00 01 {} }")).await;
    target.send("40 { 00 01 }").await;
    source.expect_silence(QUIET).await;
    second.send("40 { 00 01 }").await;
    source.expect("40 { 00 07 }").await;
}

#[tokio::test]
async fn a_refused_message_is_counted_told_and_acknowledged() {
    let mut bridge = bridge(Version::V5, rules()).await;
    let mut events = bridge.sessions.events();
    bridge.source.send("32 { <a/x> 00 07 {} }").await;
    bridge.target.expect(&sent("32 { <b/x> 00 01 {} }")).await;
    bridge.target.send("40 { 00 01 87 }").await;
    bridge.source.expect("40 { 00 07 }").await;
    let metrics = bridge.forwarder.metrics();
    assert_eq!((metrics.forwarded, metrics.dropped), (0, 1));
    assert_eq!(metrics.dropped_by_reason, [(ForwardDrop::Refused, 1)]);
    loop {
        let event = events.next().await.expect("the event comes");
        if let EventKind::ForwarderMessageDropped { forwarder, reason, count, topic } = &event.kind
        {
            assert_eq!(
                (&**forwarder, *reason, *count, topic.as_str()),
                ("fw", "refused", 1, "a/x")
            );
            break;
        }
    }
}

#[tokio::test]
async fn a_topic_that_renders_empty_blocks_nothing() {
    let rules = ForwarderBuilder::new("fw").source("src", "a/#").target("dst").topic("{#}");
    let mut bridge = bridge(Version::V5, rules).await;
    bridge.source.send("32 { <a> 00 07 {} } 32 { <a/x> 00 08 {} }").await;
    bridge.source.expect("40 { 00 07 }").await;
    bridge.target.expect(&sent("32 { <x> 00 01 {} }")).await;
    assert_eq!(bridge.forwarder.metrics().dropped_by_reason, [(ForwardDrop::Topic, 1)]);
}

#[tokio::test]
async fn properties_pass_without_those_of_the_connection() {
    let mut bridge = bridge(Version::V5, rules()).await;
    // Content type, subscription identifier, user property.
    bridge.source.send("32 { <a/x> 00 07 { 03 <text> 0b 01 26 <k> <v> } 'hi' }").await;
    let expected = format!("32 {{ <b/x> 00 01 {{ 03 <text> 26 <k> <v> {VIA} }} 'hi' }}");
    bridge.target.expect(&expected).await;
}

#[tokio::test]
async fn a_v5_source_subscribes_with_no_local_and_retain_as_published() {
    let bridge = bridge(Version::V5, rules()).await;
    assert_eq!(bridge.subscribe, hex("82 { 00 01 { 0b 01 } <a/+> 0d }"));
    let own_retain = rules().retain(false);
    let bridge = self::bridge(Version::V5, own_retain).await;
    assert_eq!(bridge.subscribe, hex("82 { 00 01 { 0b 01 } <a/+> 05 }"));
    let bridge = self::bridge(Version::V311, rules()).await;
    assert_eq!(bridge.subscribe, hex("82 { 00 01 <a/+> 01 }"));
}

#[tokio::test]
async fn qos_and_retain_follow_their_rules() {
    let rules = rules().qos(QoS::AtLeastOnce).retain(true);
    let mut bridge = bridge(Version::V5, rules).await;
    bridge.source.send("30 { <a/x> {} }").await;
    bridge.target.expect(&sent("33 { <b/x> 00 01 {} }")).await;
}

#[tokio::test]
async fn a_message_is_forwarded_by_its_first_filter() {
    let rules = ForwarderBuilder::new("fw")
        .source("src", "a/x")
        .source("src", "a/+")
        .target("dst")
        .map_topic("a/#", "m/{#}");
    let mut bridge = bridge_with(Version::V5, rules, 2, |target| target).await;
    assert_eq!(bridge.subscribe, hex("82 { 00 02 { 0b 02 } <a/+> 0d }"));
    // The server's copies for both filters, the later filter's first.
    bridge.source.send("32 { <a/x> 00 05 { 0b 02 } } 32 { <a/x> 00 06 { 0b 01 } }").await;
    bridge.source.expect("40 { 00 05 }").await;
    bridge.target.expect(&sent("32 { <m/x> 00 01 {} }")).await;
    bridge.target.send("40 { 00 01 }").await;
    bridge.source.expect("40 { 00 06 }").await;
    bridge.target.expect_silence(QUIET).await;
}

#[tokio::test]
async fn a_filter_that_the_server_refused_takes_no_message_from_a_later_one() {
    let rules = ForwarderBuilder::new("fw").source("src", "a/#").source("src", "a/+").target("dst");
    let brokers = (ScriptedBroker::start().await, ScriptedBroker::start().await);
    let sessions = SessionManager::new();
    sessions.add_session(session("src", &brokers.0, Version::V5).build().unwrap()).unwrap();
    sessions.add_session(session("dst", &brokers.1, Version::V5).build().unwrap()).unwrap();
    let forwarders = ForwarderManager::named(&sessions, "d");
    forwarders.add_forwarder(rules.build().unwrap()).unwrap();
    let (mut source, _) = brokers.0.accept_and_answer(connack(Version::V5)).await;
    let (mut target, _) = brokers.1.accept_and_answer(connack(Version::V5)).await;
    source.expect("82 { 00 01 { 0b 01 } <a/#> 0d }").await;
    source.expect("82 { 00 02 { 0b 02 } <a/+> 0d }").await;
    // The later filter is there first, and the earlier one never.
    source.send("90 { 00 02 {} 01 } 32 { <a/x> 00 05 { 0b 02 } '1' }").await;
    target.expect(&sent("32 { <a/x> 00 01 {} '1' }")).await;
    source.send("90 { 00 01 {} 87 } 32 { <a/x> 00 06 { 0b 02 } '2' }").await;
    target.expect(&sent("32 { <a/x> 00 02 {} '2' }")).await;
    target.send("40 { 00 01 } 40 { 00 02 }").await;
    source.expect("40 { 00 05 }").await;
    source.expect("40 { 00 06 }").await;
}

#[tokio::test]
async fn a_full_outbox_delays_and_loses_nothing() {
    let outbox = Outbox { messages: Some(1), ..Outbox::default() };
    let mut bridge = bridge_with(Version::V5, rules(), 1, |target| target.outbox(outbox)).await;
    for n in 1..=4 {
        bridge.source.send(&format!("32 {{ <a/{n}> 00 0{n} {{}} }}")).await;
    }
    until("all arrived", || bridge.forwarder.metrics().received == 4).await;
    for n in 1..=4 {
        let publish = bridge.target.expect_type(0x32).await;
        assert_eq!(publish[6], b'0' + n, "in order");
        let mut ack = hex("40 02 00 00");
        ack[2..4].copy_from_slice(&publish[7..9]);
        bridge.target.send_bytes(&ack).await;
        bridge.source.expect(&format!("40 {{ 00 0{n} }}")).await;
    }
    assert_balanced(&bridge.forwarder);
}

#[tokio::test]
async fn at_the_end_nothing_more_is_acknowledged_and_nothing_unsubscribed() {
    let mut bridge = bridge(Version::V5, rules()).await;
    bridge.source.send("32 { <a/x> 00 07 {} }").await;
    bridge.target.expect(&sent("32 { <b/x> 00 01 {} }")).await;
    let forwarders = bridge.forwarders.clone();
    let ending = tokio::spawn(async move { forwarders.shutdown(QUIET).await });
    until("it takes no more", || !bridge.forwarder.is_running()).await;
    bridge.source.send("32 { <a/y> 00 08 {} }").await;
    assert_eq!(ending.await.unwrap(), 1);
    bridge.sessions.shutdown(Duration::from_millis(50)).await;
    bridge.source.expect("e0 {}").await;
    bridge.source.expect_closed().await;
}

#[tokio::test]
async fn acknowledgements_of_the_target_are_awaited_at_the_end() {
    let mut bridge = bridge(Version::V5, rules()).await;
    bridge.source.send("32 { <a/x> 00 07 {} }").await;
    bridge.target.expect(&sent("32 { <b/x> 00 01 {} }")).await;
    let forwarders = bridge.forwarders.clone();
    let ending = tokio::spawn(async move { forwarders.shutdown(SOON).await });
    bridge.target.send("40 { 00 01 }").await;
    bridge.source.expect("40 { 00 07 }").await;
    assert_eq!(ending.await.unwrap(), 0);
    assert!(bridge.sessions.shutdown(SOON).await.clean);
    bridge.source.expect("e0 {}").await;
    bridge.target.expect("e0 {}").await;
}

#[tokio::test]
async fn messages_survive_a_lost_target() {
    let mut bridge = bridge(Version::V5, rules()).await;
    bridge.source.send("32 { <a/1> 00 05 {} }").await;
    bridge.target.expect(&sent("32 { <b/1> 00 01 {} }")).await;
    bridge.target.reset();
    bridge.source.send("32 { <a/2> 00 06 {} }").await;
    let (mut target, _) = bridge.brokers.1.accept_and_answer(connack(Version::V5)).await;
    for n in 1..=2 {
        let publish = target.expect_type(0x32).await;
        assert_eq!(publish[6], b'0' + n, "in order");
        let mut ack = hex("40 02 00 00");
        ack[2..4].copy_from_slice(&publish[7..9]);
        target.send_bytes(&ack).await;
    }
    bridge.source.expect("40 { 00 05 }").await;
    bridge.source.expect("40 { 00 06 }").await;
}

#[tokio::test]
async fn unknown_sessions_taken_names_and_circles_are_refused() {
    let broker = ScriptedBroker::start().await;
    let sessions = SessionManager::new();
    for name in ["plant", "cloud"] {
        let options = session(name, &broker, Version::V311).manual_connect(true);
        sessions.add_session(options.build().unwrap()).unwrap();
    }
    let forwarders = ForwarderManager::named(&sessions, "d");
    let rule = |name: &str, from: &str, to: &str| {
        ForwarderBuilder::new(name).source(from, "a/#").target(to).build().unwrap()
    };
    let error = forwarders.add_forwarder(rule("f", "plnat", "cloud")).unwrap_err().to_string();
    assert!(error.contains("did you mean 'plant'?"), "{error}");
    forwarders.add_forwarder(rule("there", "plant", "cloud")).unwrap();
    let error = forwarders.add_forwarder(rule("there", "plant", "cloud")).unwrap_err().to_string();
    assert!(error.contains("exists already"), "{error}");
    let error = forwarders.add_forwarder(rule("back", "cloud", "plant")).unwrap_err().to_string();
    assert!(error.contains("in a circle"), "{error}");
    let error = forwarders.get("theer").unwrap_err().to_string();
    assert!(error.contains("did you mean 'there'?"), "{error}");
    assert_eq!(forwarders.remove("there", SOON).await.unwrap(), 0);
    assert!(forwarders.list().is_empty());
}

#[tokio::test]
async fn a_server_that_loses_count_of_the_default_receive_maximum_is_not_punished() {
    let mut bridge = bridge(Version::V5, rules().window(1)).await;
    let mut flood = Vec::new();
    for id in 1..=1100_u16 {
        flood.extend(hex("32 0a 00 03 'a/x'"));
        flood.extend(id.to_be_bytes());
        flood.extend(hex("{} 'hi'"));
    }
    bridge.source.send_bytes(&flood).await;
    until("all arrived", || bridge.forwarder.metrics().received == 1100).await;
    bridge.target.expect(&sent("32 { <b/x> 00 01 {} 'hi' }")).await;
    bridge.target.send("40 { 00 01 }").await;
    bridge.source.expect("40 { 00 01 }").await;
}

#[tokio::test]
async fn a_session_without_connection_and_messages_delays_no_end() {
    let broker = ScriptedBroker::start().await;
    let sessions = SessionManager::new();
    sessions.add_session(session("dst", &broker, Version::V5).build().unwrap()).unwrap();
    let down = session("src", &broker, Version::V5).manual_connect(true).build().unwrap();
    sessions.add_session(down).unwrap();
    let (_peer, _) = broker.accept_and_answer(connack(Version::V5)).await;
    let forwarders = ForwarderManager::named(&sessions, "d");
    forwarders.add_forwarder(rules().build().unwrap()).unwrap();
    assert_eq!(forwarders.shutdown(SOON).await, 0);
    let report = sessions.shutdown(SOON).await;
    assert!(report.clean && report.elapsed < Duration::from_secs(5), "{report:?}");
}

#[tokio::test]
async fn a_refusal_by_one_target_and_a_full_outbox_of_the_next_lose_no_acknowledgement() {
    let brokers = (ScriptedBroker::start().await, ScriptedBroker::start().await);
    let sessions = SessionManager::new();
    sessions.add_session(session("src", &brokers.0, Version::V5).build().unwrap()).unwrap();
    let full = session("dst", &brokers.1, Version::V5)
        .outbox(Outbox { messages: Some(1), ..Outbox::default() });
    sessions.add_session(full.build().unwrap()).unwrap();
    let forwarders = ForwarderManager::named(&sessions, "d");
    // "{2}" is an empty level for "a/x/": that target refuses every other message.
    let rules = ForwarderBuilder::new("fw")
        .source("src", "a/+/+")
        .target("dst")
        .topic("{2}")
        .target("dst")
        .topic("t/{1}");
    let forwarder = forwarders.add_forwarder(rules.build().unwrap()).unwrap();
    let (mut source, _) = brokers.0.accept_and_answer(connack(Version::V5)).await;
    let (mut target, _) = brokers.1.accept_and_answer(connack(Version::V5)).await;
    grant(&mut source, Version::V5).await;
    for id in 1..=3 {
        source.send(&format!("32 {{ <a/{id}/> 00 0{id} {{}} }}")).await;
    }
    until("all arrived", || forwarder.metrics().received == 3).await;
    for id in 1..=3 {
        target.expect(&sent(&format!("32 {{ <t/{id}> 00 0{id} {{}} }}"))).await;
        target.send(&format!("40 {{ 00 0{id} }}")).await;
        source.expect(&format!("40 {{ 00 0{id} }}")).await;
    }
    let metrics = forwarder.metrics();
    assert_eq!(metrics.dropped_by_reason, [(ForwardDrop::Topic, 3)]);
    assert_eq!(metrics.in_flight, 0);
}

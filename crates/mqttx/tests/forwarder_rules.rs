//! Filters, transforms, metadata, dead letters, hops and rates of forwarders, on the wire.

#[path = "support/bridge.rs"]
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mqttx::{
    Compare, EventKind, Filter, ForwardDrop, ForwarderBuilder, ForwarderManager, OnFilterError,
    QoS, RateLimit, RuleFailure, SessionManager, Transform, Version,
};
use mqttx_test::{ScriptedBroker, hex};

use support::{
    QUIET, SOON, VIA, assert_balanced, bridge, bridge_between, bridge_with, connack, grant, sent,
    session, until,
};

fn rules() -> ForwarderBuilder {
    ForwarderBuilder::new("fw").source("src", "a/+").target("dst").topic("b/{1}")
}

/// A dead letter as the rules above give it.
fn letter(topic: &str, id: &str, error: &str, source: &str, payload: &str) -> String {
    format!(
        "32 {{ <{topic}> {id} {{ 26 <mqttx-error> <{error}> 26 <mqttx-source-topic> <{source}> {VIA} }} \
         '{payload}' }}"
    )
}

#[tokio::test]
async fn what_the_filter_leaves_out_is_acknowledged_and_counted() {
    let hot = Filter::json("/t", Compare::Greater, 30).unwrap();
    let mut bridge = bridge(Version::V5, rules().filter(hot)).await;
    bridge.source.send("32 { <a/x> 00 07 {} '{\"t\":30}' } 30 { <a/y> {} '{}' }").await;
    bridge.source.expect("40 { 00 07 }").await;
    bridge.source.send("32 { <a/x> 00 08 {} '{\"t\":31}' }").await;
    bridge.target.expect(&sent("32 { <b/x> 00 01 {} '{\"t\":31}' }")).await;
    bridge.target.send("40 { 00 01 }").await;
    bridge.source.expect("40 { 00 08 }").await;
    let metrics = bridge.forwarder.metrics();
    assert_eq!((metrics.received, metrics.filtered, metrics.forwarded), (3, 2, 1));
    assert_balanced(&bridge.forwarder);
}

#[tokio::test]
async fn a_filter_may_ask_the_forwarder_and_sees_the_smaller_level() {
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let filter = Filter::from_fn(move |message| {
        let seen = (message.topic().to_owned(), message.qos(), message.session().to_owned());
        tell.send(seen).is_ok()
    });
    let rules = ForwarderBuilder::new("fw")
        .from(mqttx::ForwarderSource::new("src").topic("a/+").qos(QoS::AtMostOnce))
        .target("dst")
        .filter(filter);
    let mut bridge = bridge(Version::V5, rules).await;
    bridge.source.send("32 { <a/x> 00 07 {} }").await;
    bridge.source.expect("40 { 00 07 }").await;
    assert_eq!(told.recv().await, Some(("a/x".to_owned(), QoS::AtMostOnce, "src".to_owned())));
    bridge.target.expect(&sent("30 { <a/x> {} }")).await;
}

#[tokio::test]
async fn a_failing_filter_drops_passes_or_makes_a_dead_letter() {
    let fails = || Filter::json_exists("/t").unwrap();
    let mut dropped = bridge(Version::V5, rules().filter(fails())).await;
    let mut events = dropped.sessions.events();
    dropped.source.send("32 { <a/x> 00 07 {} 'hi' }").await;
    dropped.source.expect("40 { 00 07 }").await;
    assert_eq!(dropped.forwarder.metrics().dropped_by_reason, [(ForwardDrop::Filter, 1)]);
    let told = async {
        loop {
            let event = events.next().await.expect("the event");
            if let EventKind::ForwarderMessageDropped { reason, topic, .. } = &event.kind {
                return ((*reason).to_owned(), topic.clone());
            }
        }
    };
    let told = tokio::time::timeout(SOON, told).await.unwrap();
    assert_eq!(told, ("filter".to_owned(), "a/x".to_owned()));

    let pass = rules().filter(fails()).on_filter_error(OnFilterError::Pass);
    let mut passed = bridge(Version::V5, pass).await;
    passed.source.send("32 { <a/x> 00 07 {} 'hi' }").await;
    passed.target.expect(&sent("32 { <b/x> 00 01 {} 'hi' }")).await;

    let dead = rules().filter(fails()).dead_letter("dst", "dlq/{forwarder}/{1}");
    let mut dead = bridge(Version::V5, dead).await;
    dead.source.send("32 { <a/x> 00 07 {} 'hi' }").await;
    let error = "the payload is not JSON: expected value at line 1 column 1";
    dead.target.expect(&letter("dlq/fw/x", "00 01", error, "a/x", "hi")).await;
    dead.source.expect_silence(QUIET).await;
    assert_eq!(dead.forwarder.metrics().in_flight, 1);
    dead.target.send("40 { 00 01 }").await;
    dead.source.expect("40 { 00 07 }").await;
    assert_eq!(dead.forwarder.metrics().dead_lettered, 1);
    assert_balanced(&dead.forwarder);
}

fn example(builder: ForwarderBuilder) -> ForwarderBuilder {
    builder
        .transform(Transform::set("/device", "{1}").unwrap())
        .transform(Transform::rename("/temp", "/temperature_c").unwrap())
        .transform(Transform::remove("/debug").unwrap())
        .metadata("forwarded_by", "{forwarder}")
        .metadata("source_topic", "{topic}")
}

#[tokio::test]
async fn metadata_are_user_properties_on_mqtt_5() {
    let mut bridge = bridge(Version::V5, example(rules())).await;
    bridge.source.send("32 { <a/x> 00 07 { 26 <k> <v> } '{\"temp\":1.50,\"debug\":[]}' }").await;
    let expected = format!(
        "32 {{ <b/x> 00 01 {{ 26 <k> <v> 26 <forwarded_by> <fw> 26 <source_topic> <a/x> {VIA} }} \
         '{{\"device\":\"x\",\"temperature_c\":1.50}}' }}"
    );
    bridge.target.expect(&expected).await;
}

#[tokio::test]
async fn metadata_are_members_of_a_json_object_on_3_1_1() {
    let rules = rules().metadata("forwarded_by", "{forwarder}").metadata("n", 1);
    let versions = (Version::V5, Version::V311);
    let mut bridge = bridge_between(versions, rules, 1, |target| target).await;
    bridge.source.send("32 { <a/x> 00 07 {} '{\"t\": 1.50}' } 32 { <a/y> 00 08 {} '[1]' }").await;
    bridge.target.expect("32 { <b/x> 00 01 '{\"t\":1.50,\"forwarded_by\":\"fw\",\"n\":1}' }").await;
    bridge.target.expect("32 { <b/y> 00 02 '[1]' }").await;
    assert_eq!(bridge.forwarder.metrics().metadata_left_out, 1);
}

#[tokio::test]
async fn a_poison_message_goes_to_the_dead_letters_as_it_came_and_the_rest_flows() {
    let rules = example(rules()).dead_letter("dst", "dlq");
    let mut bridge = bridge(Version::V5, rules).await;
    bridge.source.send("32 { <a/x> 00 07 {} 'poison' } 32 { <a/y> 00 08 {} '{}' }").await;
    let error = "the payload is not JSON: expected value at line 1 column 1";
    bridge.target.expect(&sent_with_metadata("b/y", "00 01")).await;
    bridge.target.expect(&letter("dlq", "00 02", error, "a/x", "poison")).await;
    bridge.target.send("40 { 00 01 }").await;
    bridge.source.expect_silence(QUIET).await;
    bridge.target.send("40 { 00 02 }").await;
    bridge.source.expect("40 { 00 07 }").await;
    bridge.source.expect("40 { 00 08 }").await;
    let metrics = bridge.forwarder.metrics();
    assert_eq!((metrics.dead_lettered, metrics.forwarded, metrics.dropped), (1, 1, 0));
    assert_balanced(&bridge.forwarder);
}

fn sent_with_metadata(topic: &str, id: &str) -> String {
    format!(
        "32 {{ <{topic}> {id} {{ 26 <forwarded_by> <fw> 26 <source_topic> <a/y> {VIA} }} '{{\"device\":\"y\"}}' }}"
    )
}

#[tokio::test]
async fn a_refused_message_becomes_a_dead_letter_before_its_source_is_told() {
    let mut bridge = bridge(Version::V5, rules().dead_letter("dst", "dlq/{1}")).await;
    bridge.source.send("32 { <a/x> 00 07 { 26 <k> <v> } 'hi' }").await;
    bridge.target.expect_type(0x32).await;
    bridge.target.send("40 { 00 01 87 }").await;
    let publish = bridge.target.expect_type(0x32).await;
    let text = String::from_utf8_lossy(&publish);
    assert!(text.contains("dlq/x") && text.ends_with("hi"), "{text}");
    assert!(text.contains("mqttx-error") && text.contains("0x87"), "{text}");
    bridge.source.expect_silence(QUIET).await;
    bridge.target.send("40 { 00 02 }").await;
    bridge.source.expect("40 { 00 07 }").await;
    assert_eq!(bridge.forwarder.metrics().dead_lettered, 1);
    assert_balanced(&bridge.forwarder);
}

#[tokio::test]
async fn what_the_dead_letters_refuse_too_is_dropped_for_its_first_reason() {
    let mut bridge = bridge(Version::V5, rules().dead_letter("dst", "dlq")).await;
    bridge.source.send("32 { <a/x> 00 07 {} }").await;
    bridge.target.expect_type(0x32).await;
    bridge.target.send("40 { 00 01 87 }").await;
    bridge.target.expect_type(0x32).await;
    bridge.target.send("40 { 00 02 97 }").await;
    bridge.source.expect("40 { 00 07 }").await;
    let metrics = bridge.forwarder.metrics();
    assert_eq!((metrics.dead_lettered, metrics.in_flight), (0, 0));
    assert_eq!(metrics.dropped_by_reason, [(ForwardDrop::Refused, 1)]);
}

#[tokio::test]
async fn too_large_messages_and_topics_that_are_none_go_to_the_dead_letters() {
    let brokers = (
        ScriptedBroker::start().await,
        ScriptedBroker::start().await,
        ScriptedBroker::start().await,
    );
    let sessions = SessionManager::new();
    for (name, broker) in [("src", &brokers.0), ("dst", &brokers.1), ("dead", &brokers.2)] {
        sessions.add_session(session(name, broker, Version::V5).build().unwrap()).unwrap();
    }
    let forwarders = ForwarderManager::named(&sessions, "d");
    let rules = ForwarderBuilder::new("fw")
        .source("src", "a/#")
        .target("dst")
        .topic("{#}")
        .dead_letter("dead", "dlq/{topic}");
    let forwarder = forwarders.add_forwarder(rules.build().unwrap()).unwrap();
    let (mut source, _) = brokers.0.accept_and_answer(connack(Version::V5)).await;
    // Maximum packet size 90.
    let (mut target, _) = brokers.1.accept_and_answer("20 { 00 00 { 27 00 00 00 5a } }").await;
    let (mut dead, _) = brokers.2.accept_and_answer(connack(Version::V5)).await;
    grant(&mut source, Version::V5).await;
    sessions.wait_for_all_sessions(SOON).await.unwrap();
    let large = "x".repeat(60);
    source.send(&format!("32 {{ <a/1> 00 05 {{}} '{large}' }} 32 {{ <a> 00 06 {{}} 'n' }}")).await;
    source.send("32 { <a/2> 00 07 {} }").await;
    target.expect(&sent("32 { <2> 00 01 {} }")).await;
    let first = String::from_utf8_lossy(&dead.expect_type(0x32).await).into_owned();
    assert!(first.contains("dlq/a/1") && first.ends_with(&large), "{first}");
    assert!(first.contains("mqttx-error"), "{first}");
    let error = "the topic that it would get is empty, too long or has a wildcard";
    dead.expect(&letter("dlq/a", "00 02", error, "a", "n")).await;
    dead.send("40 { 00 01 } 40 { 00 02 }").await;
    target.send("40 { 00 01 }").await;
    for id in [5, 6, 7] {
        source.expect(&format!("40 {{ 00 0{id} }}")).await;
    }
    let metrics = forwarder.metrics();
    assert_eq!((metrics.dead_lettered, metrics.forwarded), (2, 1));
    assert_balanced(&forwarder);
}

#[tokio::test]
async fn a_dead_letter_with_qos_0_has_qos_0() {
    let filter = Filter::try_from_fn(|_| Err(RuleFailure::new("no")));
    let rules = rules().filter(filter).dead_letter("dst", "dlq");
    let mut bridge = bridge(Version::V5, rules).await;
    bridge.source.send("30 { <a/x> {} 'hi' }").await;
    let expected = letter("dlq", "", "no", "a/x", "hi").replacen("32", "30", 1);
    bridge.target.expect(&expected).await;
    until("it is finished", || bridge.forwarder.metrics().dead_lettered == 1).await;
    assert_balanced(&bridge.forwarder);
}

#[tokio::test]
async fn a_transform_changes_everything_or_discards() {
    let change = Transform::from_fn(|message| {
        let keep = &*message.payload != b"none";
        keep.then(|| message.qos(QoS::AtMostOnce).retain(true).user_property("new", "1").unwrap())
    });
    let mut bridge = bridge(Version::V5, rules().transform(change)).await;
    bridge.source.send("32 { <a/x> 00 07 {} 'none' }").await;
    bridge.source.expect("40 { 00 07 }").await;
    bridge.source.send("32 { <a/x> 00 08 {} 'hi' }").await;
    bridge.target.expect(&format!("31 {{ <b/x> {{ 26 <new> <1> {VIA} }} 'hi' }}")).await;
    bridge.source.expect("40 { 00 08 }").await;
    assert_eq!(bridge.forwarder.metrics().dropped_by_reason, [(ForwardDrop::Discarded, 1)]);
    assert_balanced(&bridge.forwarder);
}

#[tokio::test]
async fn a_transform_runs_once_though_its_target_has_no_room() {
    let count = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&count);
    let change = Transform::from_fn(move |message| {
        let n = seen.fetch_add(1, Ordering::SeqCst) + 1;
        let payload = n.to_string().into();
        Some(mqttx::Publish { payload, ..message })
    });
    let outbox = mqttx::Outbox { messages: Some(1), ..mqttx::Outbox::default() };
    let rules = rules().transform(change);
    let mut bridge = bridge_with(Version::V5, rules, 1, |target| target.outbox(outbox)).await;
    for n in 1..=3 {
        bridge.source.send(&format!("32 {{ <a/{n}> 00 0{n} {{}} }}")).await;
    }
    for n in 1..=3 {
        bridge.target.expect(&sent(&format!("32 {{ <b/{n}> 00 0{n} {{}} '{n}' }}"))).await;
        bridge.target.send(&format!("40 {{ 00 0{n} }}")).await;
        bridge.source.expect(&format!("40 {{ 00 0{n} }}")).await;
    }
    assert_eq!(count.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn what_passed_here_before_or_went_too_far_is_given_up() {
    let mut bridge = bridge(Version::V5, rules().max_hops(3)).await;
    bridge.source.send("32 { <a/x> 00 05 { 26 <mqttx-via> <d/fw> 26 <mqttx-hops> <1> } }").await;
    bridge.source.send("32 { <a/x> 00 06 { 26 <mqttx-via> <e/fw> 26 <mqttx-hops> <3> } }").await;
    bridge.source.send("32 { <a/x> 00 07 { 26 <mqttx-via> <e/fw> 26 <mqttx-hops> <2> } }").await;
    bridge
        .target
        .expect("32 { <b/x> 00 01 { 26 <mqttx-via> <e/fw> 26 <mqttx-via> <d/fw> 26 <mqttx-hops> <3> } }")
        .await;
    bridge.source.expect("40 { 00 05 }").await;
    bridge.source.expect("40 { 00 06 }").await;
    assert_eq!(bridge.forwarder.metrics().dropped_by_reason, [(ForwardDrop::Loop, 2)]);
    assert_balanced(&bridge.forwarder);
}

#[tokio::test]
async fn the_response_topic_goes_through_the_map() {
    let rules = ForwarderBuilder::new("fw")
        .source("src", "a/+")
        .target("dst")
        .map_topic("a/+", "b/{1}")
        .map_topic("reply/+", "r/{1}");
    let mut bridge = bridge(Version::V5, rules).await;
    bridge.source.send("32 { <a/x> 00 07 { 08 <reply/7> } }").await;
    bridge.target.expect(&format!("32 {{ <b/x> 00 01 {{ 08 <r/7> {VIA} }} }}")).await;
}

#[tokio::test]
async fn a_rate_limit_lets_one_period_go_and_keeps_the_rest() {
    let limit = RateLimit::messages(2, Duration::from_secs(3600));
    let mut bridge = bridge(Version::V5, rules().rate_limit(limit)).await;
    for n in 1..=4 {
        bridge.source.send(&format!("32 {{ <a/{n}> 00 0{n} {{}} }}")).await;
    }
    for n in 1..=2 {
        bridge.target.expect(&sent(&format!("32 {{ <b/{n}> 00 0{n} {{}} }}"))).await;
        bridge.target.send(&format!("40 {{ 00 0{n} }}")).await;
        bridge.source.expect(&format!("40 {{ 00 0{n} }}")).await;
    }
    until("all arrived", || bridge.forwarder.metrics().received == 4).await;
    bridge.target.expect_silence(QUIET).await;
    assert_eq!(bridge.forwarder.metrics().in_flight, 2);
    assert_balanced(&bridge.forwarder);
}

#[tokio::test]
async fn a_rate_limit_goes_on_by_itself() {
    let limit = RateLimit::messages(1, Duration::from_millis(20)).bytes(100);
    let mut bridge = bridge(Version::V5, rules().rate_limit(limit)).await;
    bridge.source.send("32 { <a/1> 00 01 {} } 30 { <a/0> {} } 32 { <a/2> 00 02 {} }").await;
    let mut types = Vec::new();
    for _ in 0..3 {
        types.push(bridge.target.recv_packet().await[0]);
    }
    types.sort_unstable();
    assert_eq!(types, [0x30, 0x32, 0x32]);
    bridge.target.send("40 { 00 01 } 40 { 00 02 }").await;
    bridge.source.expect("40 { 00 01 }").await;
    bridge.source.expect("40 { 00 02 }").await;
    until("all are finished", || bridge.forwarder.metrics().forwarded == 3).await;
}

#[tokio::test]
async fn what_waits_for_the_rate_is_left_when_the_forwarder_stops() {
    let limit = RateLimit::messages(1, Duration::from_secs(3600));
    let mut bridge = bridge(Version::V5, rules().rate_limit(limit)).await;
    bridge.source.send("32 { <a/1> 00 01 {} } 32 { <a/2> 00 02 {} }").await;
    bridge.target.expect(&sent("32 { <b/1> 00 01 {} }")).await;
    bridge.target.send("40 { 00 01 }").await;
    bridge.source.expect("40 { 00 01 }").await;
    assert_eq!(bridge.forwarders.shutdown(Duration::from_millis(20)).await, 1);
    bridge.source.expect_silence(QUIET).await;
}

/// What the first session did not finish is sent again to the second; what the first says later counts no more.
#[tokio::test]
async fn another_session_takes_the_place_of_one_that_is_down() {
    let brokers = (
        ScriptedBroker::start().await,
        ScriptedBroker::start().await,
        ScriptedBroker::start().await,
    );
    let sessions = SessionManager::new();
    for (name, broker) in [("src", &brokers.0), ("one", &brokers.1), ("two", &brokers.2)] {
        sessions.add_session(session(name, broker, Version::V5).build().unwrap()).unwrap();
    }
    let forwarders = ForwarderManager::named(&sessions, "d");
    let rules = ForwarderBuilder::new("fw").source("src", "a/+").target("one").failover("two");
    let forwarder = forwarders.add_forwarder(rules.build().unwrap()).unwrap();
    let (mut source, _) = brokers.0.accept_and_answer(connack(Version::V5)).await;
    let (mut one, _) = brokers.1.accept_and_answer(connack(Version::V5)).await;
    let (mut two, _) = brokers.2.accept_and_answer(connack(Version::V5)).await;
    grant(&mut source, Version::V5).await;
    sessions.wait_for_all_sessions(SOON).await.unwrap();
    source.send("32 { <a/1> 00 05 {} } 32 { <a/2> 00 06 {} }").await;
    for n in 1..=2 {
        one.expect(&sent(&format!("32 {{ <a/{n}> 00 0{n} {{}} }}"))).await;
    }
    let mut events = sessions.events();
    // Nobody accepts the next connection.
    one.reset();
    source.send("32 { <a/3> 00 07 {} }").await;
    for n in 1..=3 {
        two.expect(&sent(&format!("32 {{ <a/{n}> 00 0{n} {{}} }}"))).await;
    }
    let told = async {
        loop {
            let event = events.next().await.expect("the event");
            if let EventKind::ForwarderTargetChanged { from, to, again, .. } = &event.kind {
                return (from.to_string(), to.to_string(), *again);
            }
        }
    };
    let told = tokio::time::timeout(SOON, told).await.unwrap();
    assert_eq!(told, ("one".to_owned(), "two".to_owned(), 3));
    two.send("40 { 00 01 } 40 { 00 02 } 40 { 00 03 }").await;
    for id in 5..=7 {
        source.expect(&format!("40 {{ 00 0{id} }}")).await;
    }
    // The first one comes back with its messages, and nobody waits for them.
    let (mut one, _) = brokers.1.accept_and_answer(connack(Version::V5)).await;
    for _ in 0..3 {
        let publish = one.expect_type(0x32).await;
        let mut ack = hex("40 02 00 00");
        ack[2..4].copy_from_slice(&publish[7..9]);
        one.send_bytes(&ack).await;
    }
    source.send("32 { <a/4> 00 08 {} }").await;
    two.expect(&sent("32 { <a/4> 00 04 {} }")).await;
    two.send("40 { 00 04 }").await;
    source.expect("40 { 00 08 }").await;
    // Other rules go on with the session whose turn it is.
    let rules = ForwarderBuilder::new("fw").source("src", "a/+").target("one").failover("two");
    let rules = vec![rules.window(9).build().unwrap()];
    forwarders.reconfigure(rules, &[], SOON).await.unwrap();
    source.send("32 { <a/5> 00 09 {} }").await;
    two.expect(&sent("32 { <a/5> 00 05 {} }")).await;
    two.send("40 { 00 05 }").await;
    source.expect("40 { 00 09 }").await;
    let metrics = forwarder.metrics();
    assert_eq!((metrics.received, metrics.forwarded, metrics.failovers), (5, 5, 1));
    assert_balanced(&forwarder);
}

#[cfg(feature = "filters")]
#[tokio::test]
async fn expressions_and_topic_patterns_work_in_a_forwarder() {
    let rules = ForwarderBuilder::new("fw")
        .source("src", "line/+/#")
        .target("dst")
        .topic("site/{1}/{topic}")
        .filter(Filter::cel("payload.temp > 30.0 && levels[1] != 'test'").unwrap())
        .transform(Transform::topic("^line/[0-9]+/(.*)$", "l/$1").unwrap());
    let mut bridge = bridge(Version::V5, rules).await;
    bridge.source.send("32 { <line/test/a> 00 05 {} '{\"temp\":31}' }").await;
    bridge.source.send("32 { <line/4/a> 00 06 {} '{\"temp\":30}' }").await;
    bridge.source.send("32 { <line/4/a> 00 07 {} '{\"temp\":31}' }").await;
    bridge.target.expect(&sent("32 { <site/4/l/a> 00 01 {} '{\"temp\":31}' }")).await;
    bridge.source.expect("40 { 00 05 }").await;
    bridge.source.expect("40 { 00 06 }").await;
    assert_eq!(bridge.forwarder.metrics().filtered, 2);
}

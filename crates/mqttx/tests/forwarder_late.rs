//! Targets that stored a message and whose server does not take it later, and targets that do not acknowledge.

#[path = "support/bridge.rs"]
mod support;

use std::path::Path;
use std::time::Duration;

use mqttx::{
    EventKind, EventName, EventStream, ForwardDrop, Forwarder, ForwarderBuilder, ForwarderManager,
    Publish, QoS, SessionManager, Version,
};
use mqttx_test::{Peer, ScriptedBroker, TempDir};

use support::{QUIET, SOON, VIA, bridge, bridge_with, connack, grant, sent, session, until};

fn rules() -> ForwarderBuilder {
    ForwarderBuilder::new("fw").source("src", "a/+").target("dst").topic("b/{1}")
}

fn with_dead_letters() -> ForwarderBuilder {
    rules().dead_letter("letters", "dlq/{forwarder}")
}

/// The dead letter of a message that failed later: as it went to the target, with its topic there.
fn letter(id: &str, topic: &str) -> String {
    let error = format!("26 <mqttx-error> <{REFUSED}> 26 <mqttx-source-topic> <{topic}>");
    format!("32 {{ <dlq/fw> {id} {{ {VIA} {error} }} 'x' }}")
}

const REFUSED: &str = "PUBLISH refused: 0x87 (Not authorized), session dst, packet id 1";

/// Between a source, a target with a store, and a session for dead letters.
struct Durable {
    sessions: SessionManager,
    forwarder: Forwarder,
    events: EventStream,
    _forwarders: ForwarderManager,
}

async fn durable(
    brokers: &[ScriptedBroker; 3],
    store: &Path,
    rules: ForwarderBuilder,
) -> (Durable, Peer, Peer) {
    let [source, target, letters] = brokers;
    let sessions = SessionManager::new();
    let events = sessions.events();
    let plain = |name, broker| session(name, broker, Version::V5);
    sessions.add_session(plain("src", source).build().unwrap()).unwrap();
    let kept = plain("dst", target).client_id("dst").clean_start(false).file_storage(store);
    sessions.add_session(kept.build().unwrap()).unwrap();
    sessions.add_session(plain("letters", letters).build().unwrap()).unwrap();
    let forwarders = ForwarderManager::named(&sessions, "d");
    let forwarder = forwarders.add_forwarder(rules.build().unwrap()).unwrap();
    let (mut source, _) = source.accept_and_answer(connack(Version::V5)).await;
    let present = if forwarder_has_session(store) { PRESENT } else { connack(Version::V5) };
    let (target, _) = target.accept_and_answer(present).await;
    grant(&mut source, Version::V5).await;
    let durable = Durable { sessions, forwarder, events, _forwarders: forwarders };
    (durable, source, target)
}

const PRESENT: &str = "20 { 01 00 {} }";

/// A file says so that the test puts there: the server has the session from the second process on.
fn forwarder_has_session(store: &Path) -> bool {
    let mark = store.with_extension("known");
    let known = mark.exists();
    std::fs::write(mark, "").unwrap();
    known
}

async fn failed(events: &mut EventStream) -> (String, &'static str, &'static str) {
    let mut seen = Vec::new();
    let told = async {
        loop {
            let event = events.next().await.expect("the event");
            seen.push(event.name().to_string());
            if let EventKind::ForwarderDeliveryFailed { topic, reason, outcome, .. } = &event.kind {
                return (topic.clone(), *reason, *outcome);
            }
        }
    };
    let told = tokio::time::timeout(SOON, told).await;
    told.unwrap_or_else(|_| panic!("the event does not come: {seen:?}"))
}

/// The source's message is in the store of the target, and on its way from there.
async fn store_one(source: &mut Peer, target: &mut Peer) {
    source.send("32 { <a/1> 00 07 {} 'x' }").await;
    target.expect(&sent("32 { <b/1> 00 01 {} 'x' }")).await;
    source.expect("40 { 00 07 }").await;
}

/// [`durable`] with the rules' dead letters, whose server is there.
async fn with_letters(brokers: &[ScriptedBroker; 3], store: &Path) -> (Durable, Peer, Peer, Peer) {
    let (all, source, target) = durable(brokers, store, with_dead_letters()).await;
    let (letters, _) = brokers[2].accept_and_answer(connack(Version::V5)).await;
    (all, source, target, letters)
}

async fn three() -> [ScriptedBroker; 3] {
    [ScriptedBroker::start().await, ScriptedBroker::start().await, ScriptedBroker::start().await]
}

#[tokio::test]
async fn what_a_target_stored_and_its_server_refuses_becomes_a_dead_letter() {
    let (brokers, place) = (three().await, TempDir::new("late"));
    let (mut all, mut source, mut target, mut letters) = with_letters(&brokers, place.path()).await;
    store_one(&mut source, &mut target).await;
    target.send("40 { 00 01 87 }").await;
    letters.expect(&letter("00 01", "b/1")).await;
    assert_eq!(failed(&mut all.events).await, ("b/1".to_owned(), "refused", "dead-letter"));
    let metrics = all.forwarder.metrics();
    assert_eq!(metrics.failed_later_by_reason, [(ForwardDrop::Refused, 1)]);
    assert_eq!((metrics.forwarded, metrics.dead_lettered_later), (1, 0), "not acknowledged yet");
    // A dead letter that is refused is lost, and becomes no further one.
    letters.send("40 { 00 01 87 }").await;
    assert_eq!(failed(&mut all.events).await, ("dlq/fw".to_owned(), "refused", "lost"));
    letters.expect_silence(QUIET).await;
    source.send("32 { <a/2> 00 08 {} 'x' }").await;
    target.expect_type(0x32).await;
    target.send("40 { 00 02 87 }").await;
    letters.expect_type(0x32).await;
    letters.send("40 { 00 02 }").await;
    until("the dead letter counts", || all.forwarder.metrics().dead_lettered_later == 1).await;
}

#[tokio::test]
async fn a_process_that_ends_before_the_dead_letters_have_it_gets_the_message_back() {
    let (brokers, place) = (three().await, TempDir::new("late"));
    let (mut all, mut source, mut target) =
        durable(&brokers, place.path(), with_dead_letters()).await;
    store_one(&mut source, &mut target).await;
    // The dead letters' server answers nobody.
    target.send("40 { 00 01 87 }").await;
    assert_eq!(failed(&mut all.events).await.2, "dead-letter");
    all.sessions.shutdown(Duration::ZERO).await;
    drop(all);
    let brokers = [
        ScriptedBroker::start().await,
        brokers.into_iter().nth(1).unwrap(),
        ScriptedBroker::start().await,
    ];
    let (all, _source, mut target, mut letters) = with_letters(&brokers, place.path()).await;
    target.expect(&sent("32 { <b/1> 00 01 {} 'x' }")).await;
    target.send("40 { 00 01 87 }").await;
    letters.expect(&letter("00 01", "b/1")).await;
    letters.send("40 { 00 01 }").await;
    until("the dead letter counts", || all.forwarder.metrics().dead_lettered_later == 1).await;
    all.sessions.shutdown(Duration::from_secs(5)).await;
    drop(all);
    let brokers = [
        ScriptedBroker::start().await,
        brokers.into_iter().nth(1).unwrap(),
        ScriptedBroker::start().await,
    ];
    let (_all, _source, mut target) = durable(&brokers, place.path(), with_dead_letters()).await;
    target.expect_silence(QUIET).await;
}

/// As by a program that waits for its sessions before it adds forwarders.
#[tokio::test]
async fn a_forwarder_that_comes_after_its_messages_failed_gets_them_back() {
    let (brokers, place) = (three().await, TempDir::new("late"));
    let (all, mut source, mut target) = durable(&brokers, place.path(), with_dead_letters()).await;
    store_one(&mut source, &mut target).await;
    all.sessions.shutdown(Duration::ZERO).await;
    drop(all);
    let [_, dst, _] = brokers;
    let brokers = [ScriptedBroker::start().await, dst, ScriptedBroker::start().await];
    let sessions = SessionManager::new();
    let mut events = sessions.events_matching(EventName::MessageRefused);
    for (name, broker) in ["src", "dst", "letters"].into_iter().zip(&brokers) {
        let options = session(name, broker, Version::V5).client_id(name).clean_start(false);
        let kept = name == "dst";
        let options = if kept { options.file_storage(place.path()) } else { options };
        sessions.add_session(options.build().unwrap()).unwrap();
    }
    let (mut target, _) = brokers[1].accept_and_answer(PRESENT).await;
    let (mut letters, _) = brokers[2].accept_and_answer(connack(Version::V5)).await;
    target.expect_type(0x3a).await;
    target.send("40 { 00 01 87 }").await;
    events.next().await.expect("the session tells");
    let forwarders = ForwarderManager::named(&sessions, "d");
    let forwarder = forwarders.add_forwarder(with_dead_letters().build().unwrap()).unwrap();
    letters.expect(&letter("00 01", "b/1")).await;
    letters.send("40 { 00 01 }").await;
    until("the dead letter counts", || forwarder.metrics().dead_lettered_later == 1).await;
}

#[tokio::test]
async fn what_fails_and_no_forwarder_comes_for_is_forgotten() {
    let (brokers, place) = (three().await, TempDir::new("late"));
    let (all, mut source, mut target) = durable(&brokers, place.path(), with_dead_letters()).await;
    store_one(&mut source, &mut target).await;
    all.sessions.shutdown(Duration::ZERO).await;
    drop(all);
    for refused in [true, false] {
        let sessions = SessionManager::new();
        let mut events = sessions.events_matching(EventName::MessageRefused);
        let options = session("dst", &brokers[1], Version::V5).client_id("dst").clean_start(false);
        let options = options.file_storage(place.path()).unrouted_hold(Duration::ZERO);
        sessions.add_session(options.build().unwrap()).unwrap();
        let (mut target, _) = brokers[1].accept_and_answer(PRESENT).await;
        if refused {
            target.expect_type(0x3a).await;
            target.send("40 { 00 01 87 }").await;
            events.next().await.expect("the session tells");
        } else {
            target.expect_silence(QUIET).await;
        }
        sessions.shutdown(SOON).await;
    }
}

/// As many dead letters of stored messages are under way at once, by docs/forwarders.md.
const UNDER_WAY: u16 = 1000;

#[tokio::test]
async fn what_comes_while_a_thousand_dead_letters_are_under_way_stays_in_the_store() {
    let (brokers, place) = (three().await, TempDir::new("late"));
    let (mut all, mut source, mut target, mut letters) = with_letters(&brokers, place.path()).await;
    // The letters' server takes all of them and acknowledges none.
    for first in (1..=UNDER_WAY).step_by(100) {
        for (topic, fate) in refuse(&mut all, &mut source, &mut target, first..first + 100).await {
            assert_eq!(fate, "dead-letter", "{topic}");
        }
    }
    let beyond = UNDER_WAY + 1;
    let kept = vec![(format!("b/{beyond}"), "kept")];
    assert_eq!(refuse(&mut all, &mut source, &mut target, beyond..beyond + 1).await, kept);
    for _ in 1..=UNDER_WAY {
        letters.expect_type(0x32).await;
    }
    letters.expect_silence(QUIET).await;
    // One that arrived makes room for one.
    letters.send("40 { 00 01 }").await;
    until("it arrived", || all.forwarder.metrics().dead_lettered_later == 1).await;
    let fates = refuse(&mut all, &mut source, &mut target, beyond + 1..beyond + 2).await;
    assert_eq!(fates, [(format!("b/{}", beyond + 1), "dead-letter")]);
    letters.expect_type(0x32).await;
    for id in 2..=beyond {
        letters.send_bytes(&[0x40, 2, id.to_be_bytes()[0], id.to_be_bytes()[1]]).await;
    }
    let all_but_one = u64::from(beyond);
    until("they arrived", || all.forwarder.metrics().dead_lettered_later == all_but_one).await;
    all.sessions.shutdown(SOON).await;
    drop(all);
    // The next process sends the one that was kept, and no other.
    let fresh = [ScriptedBroker::start().await, ScriptedBroker::start().await];
    let ([source, letters], [_, target, _]) = (fresh, brokers);
    let (_all, _source, mut target) =
        durable(&[source, target, letters], place.path(), with_dead_letters()).await;
    target.expect(&sent(&format!("32 {{ <b/{beyond}> 00 01 {{}} 'x' }}"))).await;
    target.expect_silence(QUIET).await;
}

/// The target stores the messages with these numbers, and its server refuses them. What becomes of each.
async fn refuse(
    all: &mut Durable,
    source: &mut Peer,
    target: &mut Peer,
    numbers: std::ops::Range<u16>,
) -> Vec<(String, &'static str)> {
    for n in numbers.clone() {
        let id = n.to_be_bytes();
        source.send(&format!("32 {{ <a/{n}> {:02x} {:02x} {{}} 'x' }}", id[0], id[1])).await;
    }
    let mut refusals = Vec::new();
    for n in numbers.clone() {
        let sent = target.expect_type(0x32).await;
        // Behind the type, the length and the topic with its length.
        let at = 2 + 2 + format!("b/{n}").len();
        refusals.extend([0x40, 3, sent[at], sent[at + 1], 0x87]);
    }
    target.send_bytes(&refusals).await;
    let mut fates = Vec::new();
    for _ in numbers {
        let (topic, reason, fate) = failed(&mut all.events).await;
        assert_eq!(reason, "refused");
        fates.push((topic, fate));
    }
    fates
}

#[tokio::test]
async fn without_dead_letters_what_fails_later_is_counted_and_told() {
    let (brokers, place) = (three().await, TempDir::new("late"));
    let (mut all, mut source, mut target) = durable(&brokers, place.path(), rules()).await;
    store_one(&mut source, &mut target).await;
    target.send("40 { 00 01 87 }").await;
    assert_eq!(failed(&mut all.events).await, ("b/1".to_owned(), "refused", "lost"));
    assert_eq!(all.forwarder.metrics().failed_later_by_reason, [(ForwardDrop::Refused, 1)]);
}

#[tokio::test]
async fn what_is_too_large_for_a_later_connection_becomes_a_dead_letter() {
    let (brokers, place) = (three().await, TempDir::new("late"));
    let (mut all, mut source, mut target, mut letters) = with_letters(&brokers, place.path()).await;
    store_one(&mut source, &mut target).await;
    target.reset();
    let (mut target, _) = brokers[1].accept_and_answer("20 { 01 00 { 27 00 00 00 20 } }").await;
    letters.expect_type(0x32).await;
    assert_eq!(failed(&mut all.events).await, ("b/1".to_owned(), "too_large", "dead-letter"));
    target.expect_silence(QUIET).await;
}

#[tokio::test]
async fn what_expires_in_the_store_is_counted_and_told() {
    let (brokers, place) = (three().await, TempDir::new("late"));
    let (mut all, mut source, target) = durable(&brokers, place.path(), with_dead_letters()).await;
    let dst = all.sessions.session("dst").unwrap();
    until("it is connected", || dst.is_connected()).await;
    drop(target);
    until("it is seen", || !dst.is_connected()).await;
    source.send("32 { <a/1> 00 07 { 02 00 00 00 02 } 'x' }").await;
    source.expect("40 { 00 07 }").await;
    assert_eq!(failed(&mut all.events).await, ("b/1".to_owned(), "expired", "lost"));
    assert_eq!(all.forwarder.metrics().failed_later_by_reason, [(ForwardDrop::Expired, 1)]);
}

/// Longer than a loaded machine takes to answer.
const SHORT: Duration = Duration::from_secs(3);

#[tokio::test]
async fn a_target_that_does_not_acknowledge_gets_the_message_again_on_a_new_connection() {
    for version in [Version::V5, Version::V311] {
        let rules = rules().ack_timeout(SHORT);
        let kept = |options: mqttx::SessionBuilder| options.client_id("dst").clean_start(false);
        let mut bridge = bridge_with(version, rules, 1, kept).await;
        let mut events = bridge.sessions.events();
        let (none, present) = match version {
            Version::V5 => ("{}", PRESENT),
            Version::V311 => ("", "20 { 01 00 }"),
        };
        bridge.source.send(&format!("32 {{ <a/1> 00 07 {none} 'x' }}")).await;
        let first = bridge.target.expect_type(0x32).await;
        let told = async {
            loop {
                let event = events.next().await.expect("the event");
                if let EventKind::ForwarderAckTimeout { target, after, .. } = &event.kind {
                    return (target.to_string(), *after);
                }
            }
        };
        let told = tokio::time::timeout(SOON, told).await.unwrap();
        assert_eq!(told, ("dst".to_owned(), SHORT));
        let dst = bridge.sessions.session("dst").unwrap();
        assert!(dst.metrics().message_rate > 0.0, "nobody asked since the message was sent");
        let (mut again, _) = bridge.brokers.1.accept_and_answer(present).await;
        let second = again.expect_type(0x3a).await;
        assert_eq!(first[1..], second[1..], "the same, with DUP");
        bridge.source.expect_silence(Duration::from_millis(20)).await;
        again.send("40 { 00 01 }").await;
        bridge.source.expect("40 { 00 07 }").await;
        let metrics = bridge.forwarder.metrics();
        assert_eq!((metrics.forwarded, metrics.ack_timeouts, metrics.in_flight), (1, 1, 0));
    }
}

#[tokio::test]
async fn a_target_that_does_not_acknowledge_gives_way_to_its_failover() {
    let brokers = three().await;
    let sessions = SessionManager::new();
    for (name, broker) in ["src", "dst", "two"].into_iter().zip(&brokers) {
        sessions.add_session(session(name, broker, Version::V5).build().unwrap()).unwrap();
    }
    let forwarders = ForwarderManager::named(&sessions, "d");
    let rules = rules().failover("two").ack_timeout(SHORT);
    let forwarder = forwarders.add_forwarder(rules.build().unwrap()).unwrap();
    let (mut source, _) = brokers[0].accept_and_answer(connack(Version::V5)).await;
    let (mut first, _) = brokers[1].accept_and_answer(connack(Version::V5)).await;
    let (mut second, _) = brokers[2].accept_and_answer(connack(Version::V5)).await;
    grant(&mut source, Version::V5).await;
    sessions.wait_for_all_sessions(SOON).await.unwrap();
    source.send("32 { <a/1> 00 07 {} 'x' }").await;
    first.expect(&sent("32 { <b/1> 00 01 {} 'x' }")).await;
    second.expect(&sent("32 { <b/1> 00 01 {} 'x' }")).await;
    second.send("40 { 00 01 }").await;
    source.expect("40 { 00 07 }").await;
    let metrics = forwarder.metrics();
    assert_eq!((metrics.ack_timeouts, metrics.failovers, metrics.forwarded), (1, 1, 1));
}

#[tokio::test]
async fn a_target_that_is_slow_and_acknowledges_is_left_alone() {
    // Each in a fifth of the time, and all of them together in more than that.
    const SLOW: Duration = Duration::from_millis(700);
    const MESSAGES: u8 = 7;
    let mut bridge = bridge(Version::V5, rules().ack_timeout(5 * SLOW)).await;
    for id in 1..=MESSAGES {
        bridge.source.send(&format!("32 {{ <a/{id}> 00 0{id} {{}} }}")).await;
        bridge.target.expect(&sent(&format!("32 {{ <b/{id}> 00 0{id} {{}} }}"))).await;
    }
    for id in 1..=MESSAGES {
        bridge.target.expect_silence(SLOW).await;
        bridge.target.send(&format!("40 {{ 00 0{id} }}")).await;
        bridge.source.expect(&format!("40 {{ 00 0{id} }}")).await;
    }
    assert_eq!(bridge.forwarder.metrics().ack_timeouts, 0);
}

#[tokio::test]
async fn a_forwarder_that_is_stopped_leaves_its_target_to_others() {
    const TIMEOUT: Duration = Duration::from_millis(100);
    let rules = rules().enabled(false).ack_timeout(TIMEOUT);
    let mut bridge = bridge_with(Version::V5, rules, 0, |options| options).await;
    let dst = bridge.sessions.session("dst").unwrap();
    let _delivery = dst.try_publish(Publish::new("x", "").qos(QoS::AtLeastOnce)).unwrap();
    bridge.target.expect_type(0x32).await;
    bridge.target.expect_silence(4 * TIMEOUT).await;
    assert_eq!(bridge.forwarder.metrics().ack_timeouts, 0);
}

#[test]
fn an_ack_timeout_out_of_range_is_a_problem_of_the_rules() {
    for timeout in [Duration::from_millis(99), Duration::from_secs(24 * 60 * 60 + 1)] {
        let errors = rules().ack_timeout(timeout).build().unwrap_err();
        assert!(errors.to_string().contains("100 ms to 24 h"), "{errors}");
    }
}

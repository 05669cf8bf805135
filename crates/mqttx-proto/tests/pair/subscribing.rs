//! Requests for one filter that a server does not answer, byte for byte.

use std::time::Instant;

use mqttx_proto::{
    Outcome, Properties, PropertiesRef, Property, ReasonCode, RecordBatch, Session,
    SubscribeOptions, Subscription,
};

use super::wire::{V5, Wire, config, ok, resumed};

const NOBODY: u64 = 0;

fn unsubscribe(wire: &mut Wire, filter: &str, token: u64) {
    wire.session.unsubscribe(&[filter], PropertiesRef::EMPTY, token).unwrap();
}

/// Eight SUBSCRIBEs of "a" without an answer, with the ids 1 to 8 and the tokens 101 to 108.
fn unanswered() -> Wire {
    let mut wire = Wire::online(config(V5), ok(V5));
    for token in 101..=108 {
        wire.subscribe(&["a"], token);
    }
    assert_eq!(wire.sent().len(), 8 * 9);
    wire
}

/// As with a forwarder that is started and stopped again and again.
#[test]
fn a_server_that_answers_no_subscribe_has_few_of_them_to_answer() {
    let mut wire = Wire::online(config(V5), ok(V5));
    let (mut subscribed, mut last) = (0, Vec::new());
    for _ in 0..30 {
        wire.subscribe(&["a"], NOBODY);
        let subscribe = wire.sent();
        subscribed += usize::from(!subscribe.is_empty());
        last = if subscribe.is_empty() { last } else { subscribe };
        unsubscribe(&mut wire, "a", 5);
        let unsubscribe = wire.sent();
        wire.receive(&format!("b0 {{ {:02x}{:02x} 00 00 }}", unsubscribe[2], unsubscribe[3]));
        assert_eq!(wire.outcome(5), Some(Outcome::Unsubscribed(vec![ReasonCode::SUCCESS])));
    }
    assert_eq!((subscribed, wire.session.is_settled()), (8, false));
    wire.subscribe(&["a"], NOBODY);
    wire.expect("");
    wire.subscribe(&["b"], NOBODY);
    wire.expect("82 { 0027 00 <b> 01 }");
    wire.receive(&format!("90 {{ {:02x}{:02x} 00 01 }}", last[2], last[3]));
    wire.expect("82 { 0028 00 <a> 01 }");
    assert!(!wire.session.is_granted("a"), "what was answered was unsubscribed since");
    wire.receive("90 { 0028 00 01 }");
    assert!(wire.session.is_granted("a"));
}

#[test]
fn what_comes_behind_a_held_subscribe_that_somebody_waits_for_keeps_its_place() {
    let mut wire = unanswered();
    wire.subscribe(&["a"], 109);
    unsubscribe(&mut wire, "a", 6);
    wire.expect("");
    wire.receive("90 { 0001 00 01 }");
    wire.expect("82 { 0009 00 <a> 01 } a2 { 000a 00 <a> }");
    wire.receive("90 { 0009 00 01 }");
    let granted = Outcome::Subscribed(vec![ReasonCode::GRANTED_QOS_1]);
    assert_eq!(wire.outcome(101).as_ref(), Some(&granted));
    assert_eq!(wire.outcome(109), Some(granted));
}

#[test]
fn a_request_whose_filters_are_held_in_part_is_answered_in_full() {
    let mut wire = unanswered();
    wire.subscribe(&["b", "a", "c"], 9);
    wire.expect("82 { 0009 00 <b> 01 <c> 01 }");
    wire.receive("90 { 0009 00 00 87 } 90 { 0008 00 01 }");
    wire.expect("82 { 000a 00 <a> 01 }");
    assert!(wire.outcome(108).is_some());
    wire.receive("90 { 000a 00 02 }");
    let codes = [0x00, 0x02, 0x87].map(ReasonCode::from);
    assert_eq!(wire.outcome(9), Some(Outcome::Subscribed(codes.to_vec())));
}

#[test]
fn a_caller_that_gave_up_makes_room_for_newer_requests() {
    let mut wire = unanswered();
    wire.subscribe(&["a"], 109);
    unsubscribe(&mut wire, "a", 6);
    wire.expect("");
    assert!(wire.session.abandon(109));
    assert!(!wire.session.abandon(109), "nothing is left of it");
    wire.expect("a2 { 0009 00 <a> }");
    // One that was sent stays where it is, and one that nobody replaced waits on.
    assert!(wire.session.abandon(101));
    wire.subscribe(&["a"], 110);
    assert!(wire.session.abandon(110));
    wire.receive("90 { 0001 00 01 }");
    wire.expect("82 { 000a 00 <a> 01 }");
    assert_eq!(wire.outcome(101), None);
}

#[test]
fn the_next_connection_gets_what_counts_and_what_somebody_waits_for() {
    let mut wire = Wire::online(config(V5), ok(V5));
    for _ in 0..12 {
        unsubscribe(&mut wire, "a", NOBODY);
        wire.subscribe(&["a"], NOBODY);
    }
    wire.subscribe(&["a"], 7);
    unsubscribe(&mut wire, "b", 8);
    wire.sent();
    wire.reconnect(resumed(V5));
    wire.expect("82 { 0012 00 <a> 01 } a2 { 0013 00 <b> }");
    wire.receive("90 { 0012 00 01 } b0 { 0013 00 11 }");
    assert!(matches!(wire.outcome(7), Some(Outcome::Subscribed(_))));
    assert!(matches!(wire.outcome(8), Some(Outcome::Unsubscribed(_))));
    wire.reconnect(resumed(V5));
    wire.expect("");
}

/// Sent again, it would bring back what was unsubscribed.
#[test]
fn a_subscribe_that_was_never_answered_is_over_once_the_unsubscribe_behind_it_was() {
    let mut wire = Wire::online(config(V5), ok(V5));
    wire.subscribe(&["a"], 5);
    unsubscribe(&mut wire, "a", 6);
    wire.expect("82 { 0001 00 <a> 01 } a2 { 0002 00 <a> }");
    wire.receive("b0 { 0002 00 00 }");
    assert!(matches!(wire.outcome(6), Some(Outcome::Unsubscribed(_))));
    wire.reconnect(resumed(V5));
    wire.expect("");
    assert_eq!(wire.outcome(5), Some(Outcome::Subscribed(vec![ReasonCode::UNSPECIFIED_ERROR])));
}

/// It was never sent: nothing is over by it.
#[test]
fn an_unsubscribe_that_was_called_off_ends_no_subscribe() {
    let mut wire = unanswered();
    wire.subscribe(&["a"], 109);
    unsubscribe(&mut wire, "a", 6);
    wire.subscribe(&["a"], 110);
    wire.expect("");
    assert!(matches!(wire.outcome(6), Some(Outcome::Unsubscribed(_))));
    wire.reconnect(resumed(V5));
    assert_eq!(wire.sent().len(), 8 * 9);
    assert!((101..=110).all(|token| wire.outcome(token).is_none()));
}

#[test]
fn a_subscribe_that_is_refused_here_calls_no_unsubscribe_off() {
    let mut wire = Wire::online(config(V5), "20 { 00 00 { 29 00 } }");
    (0..8).for_each(|_| unsubscribe(&mut wire, "a", NOBODY));
    wire.subscribe(&["a"], NOBODY);
    wire.sent();
    unsubscribe(&mut wire, "a", 6);
    let mut properties = Properties::new();
    properties.push(Property::SubscriptionIdentifier(5)).unwrap();
    let options = SubscribeOptions::default();
    let wanted = Subscription { filter: "a", options, identifier: None };
    wire.session.subscribe(&[wanted], properties.as_ref(), 7).unwrap();
    assert!(matches!(wire.outcome(7), Some(Outcome::Subscribed(codes)) if codes[0].is_error()));
    wire.expect("");
    wire.receive("b0 { 0001 00 00 }");
    wire.expect("a2 { 000a 00 <a> }");
}

#[test]
fn an_older_subscribe_that_was_never_answered_gets_what_the_newest_was_granted() {
    let mut wire = Wire::online(config(V5), ok(V5));
    wire.subscribe(&["a"], 5);
    wire.subscribe(&["a"], 6);
    wire.sent();
    wire.receive("90 { 0002 00 01 }");
    assert!(wire.outcome(6).is_some());
    wire.reconnect(resumed(V5));
    wire.expect("");
    assert_eq!(wire.outcome(5), Some(Outcome::Subscribed(vec![ReasonCode::GRANTED_QOS_1])));
}

/// The server may never have got what came behind.
#[test]
fn an_answer_counts_only_for_the_newest_subscribe_also_after_a_crash() {
    let mut config = config(V5);
    config.journal = true;
    let mut wire = Wire::online(config.clone(), ok(V5));
    let mut records = RecordBatch::new();
    store(&mut wire.session, &mut records);
    for _ in 0..2 {
        wire.subscribe(&["a"], NOBODY);
        unsubscribe(&mut wire, "a", NOBODY);
    }
    wire.subscribe(&["a"], NOBODY);
    wire.sent();
    wire.receive("90 { 0001 00 01 }");
    assert!(!wire.session.is_granted("a"));
    store(&mut wire.session, &mut records);
    wire.session = Session::restore(config, wire.now, &records);
    wire.session.handle_connected(wire.now, 0);
    store(&mut wire.session, &mut records);
    wire.sent();
    wire.receive(resumed(V5));
    wire.expect("82 { 0001 00 <a> 01 }");
}

#[test]
fn an_acknowledgement_with_too_few_codes_settles_nothing() {
    let mut wire = Wire::online(config(V5), ok(V5));
    wire.subscribe(&["a", "b"], 5);
    wire.sent();
    wire.receive("90 { 0001 00 01 }");
    assert!(wire.close_cause().is_some() && !wire.session.is_granted("a"));
    wire.reconnect(resumed(V5));
    wire.expect("82 { 0002 00 <a> 01 <b> 01 }");
}

fn store(session: &mut Session, records: &mut RecordBatch) {
    let last = session.poll_store(records);
    session.handle_stored(Instant::now(), last, last);
}

//! Named flows, byte for byte, in both versions where they differ.

use std::time::Duration;

use mqttx_proto::{
    CloseCause, Config, DropReason, Event, Outcome, Phase, Properties, PropertiesRef, Property,
    PublishError, QoS, ReasonCode, Transmit,
};

use super::wire::{V5, V311, Wire, config, ok, props, resumed};

#[track_caller]
fn assert_fault(connack: &str, config: Config, bytes: &str, reason: u8) {
    let mut wire = Wire::online(config, connack);
    wire.receive(bytes);
    let Some(CloseCause::Protocol(error)) = wire.close_cause() else { panic!("no fault: {bytes}") };
    assert_eq!(error.reason.value(), reason, "{bytes}: {error}");
    assert_eq!(wire.session.phase(), Phase::Closing);
    if wire.session.config().version == V5 {
        wire.expect(&format!("e0 01 {reason:02x}"));
    } else {
        wire.expect("");
    }
    assert!(wire.delivered.is_empty(), "the offending message was delivered");
}

#[test]
fn connect_carries_nothing_that_was_not_asked_for() {
    let mut wire = Wire::offline(Config::new(V311));
    wire.session.handle_connected(wire.now, 0);
    wire.expect("10 { <MQTT> 04 02 003c <> }");
    let mut wire = Wire::offline(Config::new(V5));
    wire.session.handle_connected(wire.now, 0);
    wire.expect("10 { <MQTT> 05 02 003c 00 <> }");
}

#[test]
fn assigned_client_id_is_used_for_reconnects() {
    let mut wire = Wire::online(Config::new(V5), "20 { 00 00 { 12 <given> } }");
    assert_eq!(wire.session.client_id(), "given");
    wire.session.handle_disconnected();
    wire.session.handle_connected(wire.now, 0);
    wire.expect("10 { <MQTT> 05 02 003c 00 <given> }");
}

#[test]
fn session_present_after_a_clean_start_is_a_protocol_error() {
    for version in [V311, V5] {
        let mut wire = Wire::online(Config::new(version), resumed(version));
        assert!(matches!(wire.close_cause(), Some(CloseCause::Protocol(_))));
    }
}

#[test]
fn a_refusal_names_its_code_and_reason() {
    let mut wire = Wire::online(config(V311), "20 02 00 05");
    let Some(CloseCause::Refused(refusal)) = wire.close_cause() else { panic!() };
    assert_eq!(refusal.reason, ReasonCode::NOT_AUTHORIZED);
    let mut wire = Wire::online(config(V5), "20 { 00 9d { 1c <other:1883> 1f <moved> } }");
    let Some(CloseCause::Refused(refusal)) = wire.close_cause() else { panic!() };
    assert_eq!(refusal.server_reference.as_deref(), Some("other:1883"));
    assert_eq!(refusal.reason_string.as_deref(), Some("moved"));
}

#[test]
fn the_handshake_has_a_deadline() {
    let mut wire = Wire::offline(config(V5));
    wire.session.handle_connected(wire.now, 0);
    assert_eq!(wire.session.poll_timeout(), Some(wire.now + Duration::from_secs(10)));
    wire.wait(10);
    assert_eq!(wire.close_cause(), Some(CloseCause::HandshakeTimeout));
}

#[test]
fn qos1_publish_is_sent_again_with_dup_and_the_same_id() {
    for version in [V311, V5] {
        let p = props(version);
        let mut wire = Wire::online(config(version), ok(version));
        wire.publish(QoS::AtLeastOnce, "x", 7).unwrap();
        wire.expect(&format!("32 {{ <t> 0001 {p} 'x' }}"));
        wire.reconnect(resumed(version));
        wire.expect(&format!("3a {{ <t> 0001 {p} 'x' }}"));
        wire.receive("40 02 0001");
        assert!(matches!(wire.outcome(7), Some(Outcome::Acknowledged { .. })));
        assert!(wire.session.is_drained());
        wire.reconnect(resumed(version));
        wire.expect("");
    }
}

#[test]
fn lost_session_turns_in_flight_messages_into_new_ones() {
    for version in [V311, V5] {
        let p = props(version);
        let mut wire = Wire::online(config(version), ok(version));
        wire.publish(QoS::AtLeastOnce, "x", 1).unwrap();
        wire.publish(QoS::ExactlyOnce, "y", 2).unwrap();
        wire.sent();
        wire.receive("50 02 0002");
        wire.sent();
        wire.reconnect(ok(version));
        wire.expect(&format!("32 {{ <t> 0003 {p} 'x' }} 34 {{ <t> 0004 {p} 'y' }}"));
        let lost =
            wire.events().into_iter().any(|e| matches!(e, Event::SessionLost { requeued: 2 }));
        assert!(lost);
    }
}

#[test]
fn replay_keeps_the_original_order_and_releases_what_got_pubrec() {
    for version in [V311, V5] {
        let p = props(version);
        let mut wire = Wire::online(config(version), ok(version));
        for (qos, payload) in
            [(QoS::AtLeastOnce, "a"), (QoS::ExactlyOnce, "b"), (QoS::ExactlyOnce, "c")]
        {
            wire.publish(qos, payload, 0).unwrap();
        }
        wire.sent();
        wire.receive("50 02 0002");
        wire.expect("62 02 0002");
        wire.session.handle_disconnected();
        wire.publish(QoS::AtLeastOnce, "new", 0).unwrap();
        wire.reconnect(resumed(version));
        wire.expect(&format!(
            "3a {{ <t> 0001 {p} 'a' }} 62 02 0002 3c {{ <t> 0003 {p} 'c' }} 32 {{ <t> 0004 {p} 'new' }}"
        ));
    }
}

#[test]
fn replay_respects_the_quota_but_pubrel_does_not_wait() {
    let mut wire = Wire::online(config(V5), ok(V5));
    for payload in ["a", "b", "c"] {
        wire.publish(QoS::ExactlyOnce, payload, 0).unwrap();
    }
    wire.sent();
    wire.receive("50 02 0003");
    wire.expect("62 02 0003");
    wire.reconnect("20 { 01 00 { 21 0001 } }");
    wire.expect("3c { <t> 0001 00 'a' } 62 02 0003");
    wire.receive("70 02 0003");
    wire.expect("");
    wire.receive("50 02 0001");
    wire.expect("62 02 0001");
    wire.receive("70 02 0001");
    wire.expect("3c { <t> 0002 00 'b' }");
}

#[test]
fn a_pubrec_for_what_was_not_sent_again_yet_leaves_the_quota_right() {
    // The window is smaller on the second connection, and the server answers what came on the first one.
    let narrow = "20 { 01 00 { 21 0001 } }";
    for together in [false, true] {
        let mut wire = Wire::online(config(V5), ok(V5));
        wire.publish(QoS::AtLeastOnce, "one", 1).unwrap();
        wire.publish(QoS::ExactlyOnce, "two", 2).unwrap();
        wire.sent();
        let again = "3a { <t> 0001 00 'one' }";
        if together {
            wire.reconnect(&format!("{narrow} 50 02 0002"));
            wire.expect("62 02 0002");
            wire.receive("70 02 0002");
            wire.expect(again);
        } else {
            wire.reconnect(narrow);
            wire.expect(again);
            wire.receive("50 02 0002");
            wire.expect("62 02 0002");
            wire.receive("70 02 0002");
        }
        wire.publish(QoS::AtLeastOnce, "three", 3).unwrap();
        wire.expect("");
        wire.receive("40 02 0001");
        wire.expect("32 { <t> 0003 00 'three' }");
        wire.receive("40 02 0003");
        let outbox = wire.session.outbox();
        assert_eq!((outbox.messages, outbox.in_flight), (0, 0));
    }
}

#[test]
fn qos2_quota_comes_back_with_pubcomp_or_an_error_only() {
    let mut wire = Wire::online(config(V5), "20 { 00 00 { 21 0002 } }");
    for payload in ["a", "b", "c", "d"] {
        wire.publish(QoS::ExactlyOnce, payload, 0).unwrap();
    }
    wire.expect("34 { <t> 0001 00 'a' } 34 { <t> 0002 00 'b' }");
    wire.receive("50 02 0001");
    wire.expect("62 02 0001");
    wire.receive("50 03 0002 97");
    wire.expect("34 { <t> 0003 00 'c' }");
    wire.receive("70 02 0001");
    wire.expect("34 { <t> 0004 00 'd' }");
}

#[test]
fn a_limit_of_its_own_holds_qos2_messages_back_in_order() {
    for version in [V311, V5] {
        let props = props(version);
        let mut config = config(version);
        config.max_in_flight_qos2 = 2;
        let mut wire = Wire::online(config, ok(version));
        for (qos, payload) in [
            (QoS::AtLeastOnce, "a"),
            (QoS::ExactlyOnce, "b"),
            (QoS::AtLeastOnce, "c"),
            (QoS::ExactlyOnce, "d"),
            (QoS::AtLeastOnce, "e"),
        ] {
            wire.publish(qos, payload, 0).unwrap();
        }
        let one = |head: &str, id, payload| format!("{head} {{ <t> {id} {props} '{payload}' }}");
        wire.expect(
            &[one("32", "0001", 'a'), one("34", "0002", 'b'), one("32", "0003", 'c')].concat(),
        );
        wire.receive("40 02 0001");
        wire.expect("");
        wire.receive("40 02 0003");
        wire.expect(&[one("34", "0004", 'd'), one("32", "0005", 'e')].concat());
    }
}

#[test]
fn a_refused_message_ends_its_flow_and_frees_its_id() {
    let mut wire = Wire::online(config(V5), ok(V5));
    wire.publish(QoS::AtLeastOnce, "x", 9).unwrap();
    wire.sent();
    wire.receive("40 { 0001 87 { 1f <no> } }");
    let Some(Outcome::Refused { reason, reason_string, .. }) = wire.outcome(9) else { panic!() };
    assert_eq!((reason.value(), reason_string.as_deref()), (0x87, Some("no")));
    wire.reconnect(resumed(V5));
    wire.expect("");
}

#[test]
fn pubcomp_with_an_unknown_id_is_an_error_unless_after_a_reconnect() {
    let mut wire = Wire::online(config(V5), ok(V5));
    wire.publish(QoS::ExactlyOnce, "x", 1).unwrap();
    wire.publish(QoS::ExactlyOnce, "y", 2).unwrap();
    wire.sent();
    wire.receive("50 02 0001 50 02 0002 70 03 0001 92");
    assert!(matches!(wire.outcome(1), Some(Outcome::Refused { .. })));
    wire.reconnect(resumed(V5));
    wire.expect("62 02 0002");
    wire.receive("70 03 0002 92");
    assert!(matches!(wire.outcome(2), Some(Outcome::Acknowledged { .. })));
}

#[test]
fn repeated_pubrec_is_answered_again() {
    let mut wire = Wire::online(config(V311), ok(V311));
    wire.publish(QoS::ExactlyOnce, "x", 0).unwrap();
    wire.sent();
    wire.receive("50 02 0001 50 02 0001");
    wire.expect("62 02 0001 62 02 0001");
}

#[test]
fn unknown_pubrec_is_answered_so_that_the_server_can_finish() {
    let mut wire = Wire::online(config(V5), ok(V5));
    wire.receive("50 02 0009");
    wire.expect("62 03 0009 92");
    let mut wire = Wire::online(config(V311), ok(V311));
    wire.receive("50 02 0009");
    wire.expect("62 02 0009");
}

#[test]
fn unknown_pubrel_is_answered_not_punished() {
    let mut wire = Wire::online(config(V5), ok(V5));
    wire.receive("62 02 0009");
    wire.expect("70 03 0009 92");
    let mut wire = Wire::online(config(V311), ok(V311));
    wire.receive("62 02 0009");
    wire.expect("70 02 0009");
    assert_eq!(wire.session.phase(), Phase::Online);
}

#[test]
fn qos2_message_is_delivered_once_across_reconnect() {
    for version in [V311, V5] {
        let p = props(version);
        let publish = format!("34 {{ <t> 0005 {p} 'x' }}");
        let again = format!("3c {{ <t> 0005 {p} 'x' }}");
        let mut wire = Wire::online(config(version), ok(version));
        wire.receive(&publish);
        wire.reconnect(resumed(version));
        wire.receive(&again);
        wire.expect("");
        assert_eq!(wire.delivered, ["t=x"], "its handler still runs: not delivered again");
        wire.session.ack(wire.tickets[0]);
        wire.expect("50 02 0005");
        wire.reconnect(resumed(version));
        wire.receive(&again);
        wire.expect("50 02 0005");
        wire.receive("62 02 0005");
        wire.expect("70 02 0005");
        assert_eq!(wire.delivered, ["t=x"]);
        wire.receive(&publish);
        assert_eq!(wire.delivered.len(), 2, "the id is free for a new message");
    }
}

#[test]
fn duplicate_pubrel_is_answered_again() {
    let mut wire = Wire::online(config(V5), ok(V5));
    wire.receive("34 { <t> 0005 00 'x' }");
    wire.session.ack(wire.tickets[0]);
    wire.receive("62 02 0005 62 02 0005");
    wire.expect("50 02 0005 70 02 0005 70 03 0005 92");
}

#[test]
fn a_release_before_our_pubrec_is_answered_after_it() {
    let mut wire = Wire::online(config(V311), ok(V311));
    wire.receive("34 { <t> 0005 'a' } 62 02 0005 32 { <t> 0006 'b' }");
    wire.session.ack(wire.tickets[1]);
    wire.expect("");
    wire.session.ack(wire.tickets[0]);
    wire.expect("50 02 0005 70 02 0005 40 02 0006");
    wire.receive("34 { <t> 0005 'c' } 62 02 0005");
    wire.reconnect(resumed(V311));
    wire.session.ack(wire.tickets[2]);
    wire.receive("3c { <t> 0005 'c' }");
    wire.expect("50 02 0005");
    assert_eq!(wire.delivered, ["t=a", "t=b", "t=c"]);
}

#[test]
fn lost_session_voids_received_ids() {
    let mut wire = Wire::online(config(V311), ok(V311));
    wire.receive("34 { <t> 0005 'x' }");
    wire.session.ack(wire.tickets[0]);
    wire.sent();
    wire.reconnect(ok(V311));
    wire.receive("34 { <t> 0005 'y' }");
    assert_eq!(wire.delivered, ["t=x", "t=y"]);
}

#[test]
fn acknowledgements_leave_in_the_order_of_the_messages() {
    let mut wire = Wire::online(config(V311), ok(V311));
    wire.receive("32 { <t> 0001 'a' } 34 { <t> 0002 'b' } 32 { <t> 0003 'c' }");
    wire.session.ack(wire.tickets[2]);
    wire.session.ack(wire.tickets[1]);
    wire.expect("");
    assert_eq!((wire.session.delivering(), wire.session.undelivered()), (1, 3));
    wire.session.ack(wire.tickets[0]);
    wire.expect("40 02 0001 50 02 0002 40 02 0003");
    assert_eq!((wire.session.delivering(), wire.session.undelivered()), (0, 0));
}

#[test]
fn an_acknowledgement_does_not_cross_a_reconnect() {
    let mut wire = Wire::online(config(V5), ok(V5));
    wire.receive("32 { <t> 0001 00 'a' }");
    wire.reconnect(resumed(V5));
    wire.session.ack(wire.tickets[0]);
    wire.expect("");
    wire.receive("3a { <t> 0001 00 'a' }");
    wire.session.ack(wire.tickets[1]);
    wire.expect("40 02 0001");
}

#[test]
fn what_was_refused_is_left_with_the_server_and_delivered_when_it_comes_again() {
    let mut wire = Wire::online(config(V311), ok(V311));
    wire.receive("32 { <t> 0001 'a' } 34 { <t> 0002 'b' } 32 { <t> 0003 'c' }");
    for refused in [1, 2] {
        wire.session.refuse(wire.tickets[refused]);
    }
    wire.session.ack(wire.tickets[0]);
    wire.expect("40 02 0001");
    wire.session.ack(wire.tickets[2]);
    wire.expect("");
    wire.reconnect(resumed(V311));
    wire.receive("3c { <t> 0002 'b' } 3a { <t> 0003 'c' }");
    assert_eq!(wire.delivered, ["t=a", "t=b", "t=c", "t=b", "t=c"]);
    wire.session.ack(wire.tickets[3]);
    wire.session.ack(wire.tickets[4]);
    wire.expect("50 02 0002 40 02 0003");
}

#[test]
fn refusing_a_message_that_is_done_changes_nothing() {
    let mut wire = Wire::online(config(V311), ok(V311));
    wire.receive("34 { <t> 0002 'b' }");
    wire.session.ack(wire.tickets[0]);
    wire.session.refuse(wire.tickets[0]);
    wire.expect("50 02 0002");
    wire.reconnect(resumed(V311));
    wire.receive("3c { <t> 0002 'b' }");
    wire.expect("50 02 0002");
    assert_eq!(wire.delivered, ["t=b"]);
}

#[test]
fn more_than_our_receive_maximum_is_a_fault() {
    let mut config = config(V5);
    config.receive_maximum = Some(2);
    let mut wire = Wire::online(config, ok(V5));
    wire.receive("32 { <t> 0001 00 } 34 { <t> 0002 00 }");
    wire.session.ack(wire.tickets[0]);
    wire.session.ack(wire.tickets[1]);
    wire.receive("32 { <t> 0003 00 }");
    wire.expect("40 02 0001 50 02 0002");
    assert_eq!(wire.close_cause(), None, "QoS 2 counts until PUBCOMP, QoS 1 until PUBACK");
    wire.receive("32 { <t> 0004 00 }");
    wire.expect("e0 01 93");
}

#[test]
fn a_receive_maximum_that_is_not_enforced_is_announced_and_may_be_exceeded() {
    let mut config = config(V5);
    config.receive_maximum = Some(1);
    config.enforce_receive_maximum = false;
    let mut wire = Wire::offline(config);
    wire.session.handle_connected(wire.now, 0);
    wire.expect("10 { <MQTT> 05 00 003c { 21 0001 } <c> }");
    wire.receive(ok(V5));
    wire.receive("32 { <t> 0001 00 'a' } 34 { <t> 0002 00 'b' }");
    assert_eq!(wire.delivered, ["t=a", "t=b"]);
    wire.session.ack(wire.tickets[0]);
    wire.session.ack(wire.tickets[1]);
    wire.expect("40 02 0001 50 02 0002");
}

#[test]
fn topic_aliases_of_the_server_are_resolved() {
    let mut config = config(V5);
    config.topic_alias_maximum = Some(2);
    let mut wire = Wire::online(config.clone(), ok(V5));
    wire.receive("30 { <long/topic> { 23 0002 } 'a' } 30 { <> { 23 0002 } 'b' }");
    wire.receive("30 { <other> { 23 0002 } 'c' } 30 { <> { 23 0002 } 'd' }");
    assert_eq!(wire.delivered, ["long/topic=a", "long/topic=b", "other=c", "other=d"]);
    wire.reconnect(ok(V5));
    wire.receive("30 { <> { 23 0002 } 'e' }");
    assert!(
        matches!(wire.close_cause(), Some(CloseCause::Protocol(_))),
        "aliases end with the link"
    );
    assert_fault(ok(V5), config.clone(), "30 { <t> { 23 0003 } }", 0x94);
    assert_fault(ok(V5), config, "30 { <t> { 23 0000 } }", 0x94);
}

#[test]
fn properties_are_checked_unless_they_are_those_of_the_message_before() {
    let mut wire = Wire::online(config(V5), ok(V5));
    wire.receive("30 { <t> { 01 01 } 'a' } 30 { <t> { 01 01 } 'b' } 30 { <t> 00 'c' }");
    assert_eq!(wire.delivered, ["t=a", "t=b", "t=c"]);
    for other in ["{ 01 02 }", "{ 01 01 01 01 }", "{ 01 }", "{ 26 <k> }"] {
        let mut wire = Wire::online(config(V5), ok(V5));
        wire.receive(&format!("30 {{ <t> {{ 01 01 }} 'a' }} 30 {{ <t> {other} 'b' }}"));
        assert_eq!(wire.delivered, ["t=a"]);
        assert!(matches!(wire.close_cause(), Some(CloseCause::Protocol(_))), "{other}");
    }
}

#[test]
fn faults_of_the_server_are_named_in_v5_and_closed_in_both() {
    let v311 = || config(V311);
    let v5 = || config(V5);
    assert_fault(ok(V5), v5(), "36 { <t> 0001 00 }", 0x81);
    assert_fault(ok(V311), v311(), "36 { <t> 0001 }", 0x81);
    assert_fault(ok(V5), v5(), "32 { <t> 0000 00 }", 0x81);
    assert_fault(ok(V5), v5(), "00 00", 0x81);
    assert_fault(ok(V5), v5(), "82 { 0001 00 <t> 00 }", 0x82);
    assert_fault(ok(V311), v311(), "82 { 0001 <t> 00 }", 0x82);
    assert_fault(ok(V5), v5(), "c0 00", 0x82);
    assert_fault(ok(V5), v5(), "20 03 00 00 00", 0x82);
    assert_fault(ok(V5), v5(), "f0 { 18 00 }", 0x82);
    assert_fault(ok(V5), v5(), "e0 01 04", 0x82);
    assert_fault(ok(V311), v311(), "f0 00", 0x81);
    assert_fault(ok(V311), v311(), "e0 00", 0x82);
    let mut small = config(V5);
    small.maximum_packet_size = Some(20);
    assert_fault(ok(V5), small.clone(), "30 15", 0x95);
    small.version = V311;
    assert_fault(ok(V311), small, "30 15", 0x95);
}

#[test]
fn a_fault_whose_code_disconnect_cannot_carry_is_a_protocol_error() {
    let mut wire = Wire::online(config(V5), ok(V5));
    wire.receive("10 { <MQTT> 04 02 003c <x> }");
    wire.expect("e0 01 82");
}

#[test]
fn packets_before_the_fault_count_and_those_after_do_not() {
    let mut wire = Wire::online(config(V5), ok(V5));
    wire.receive("30 { <t> 00 'good' } 36 { <t> 0001 00 } 30 { <t> 00 'late' }");
    assert_eq!(wire.delivered, ["t=good"]);
}

#[test]
fn server_disconnect_is_told_with_its_reason() {
    let mut wire = Wire::online(config(V5), ok(V5));
    wire.receive("e0 { 8e { 1f <elsewhere> } }");
    let Some(CloseCause::ServerDisconnect(refusal)) = wire.close_cause() else { panic!() };
    assert_eq!(refusal.reason.value(), 0x8e);
    wire.expect("");
}

#[test]
fn subscriptions_are_asked_for_again_only_without_a_session() {
    for version in [V311, V5] {
        let p = props(version);
        let mut wire = Wire::offline(config(version));
        wire.subscribe(&["a", "b/+"], 5);
        wire.reconnect(ok(version));
        wire.expect(&format!("82 {{ 0001 {p} <a> 01 <b/+> 01 }}"));
        wire.receive(&format!("90 {{ 0001 {p} 01 01 }}"));
        assert!(matches!(wire.outcome(5), Some(Outcome::Subscribed(_))));
        wire.reconnect(resumed(version));
        wire.expect("");
        assert!(wire.events().iter().any(|e| matches!(e, Event::Ready)));
        wire.reconnect(ok(version));
        wire.expect(&format!("82 {{ 0002 {p} <a> 01 <b/+> 01 }}"));
    }
}

#[test]
fn an_unanswered_subscribe_is_asked_again_in_a_kept_session() {
    let mut wire = Wire::online(config(V5), ok(V5));
    wire.subscribe(&["a"], 5);
    wire.expect("82 { 0001 00 <a> 01 }");
    wire.reconnect(resumed(V5));
    wire.expect("82 { 0002 00 <a> 01 }");
    wire.receive("90 { 0002 00 01 }");
    assert_eq!(wire.outcome(5), Some(Outcome::Subscribed(vec![ReasonCode::GRANTED_QOS_1])));
}

#[test]
fn session_present_counts_only_from_the_broker_that_gave_it() {
    let mut wire = Wire::online(config(V5), ok(V5));
    wire.subscribe(&["a"], 0);
    wire.publish(QoS::AtLeastOnce, "x", 0).unwrap();
    wire.sent();
    wire.receive("90 { 0001 00 01 }");
    wire.session.handle_disconnected();
    wire.session.handle_connected(wire.now, 1);
    wire.sent();
    wire.receive(resumed(V5));
    wire.expect("82 { 0003 00 <a> 01 } 32 { <t> 0004 00 'x' }");
}

#[test]
fn an_unknown_session_is_kept_and_its_ids_are_cleared_before_qos2() {
    let mut wire = Wire::offline(config(V5));
    wire.subscribe(&["a"], 0);
    wire.publish(QoS::ExactlyOnce, "x", 3).unwrap();
    wire.reconnect(resumed(V5));
    wire.expect("82 { 0001 00 <a> 01 } 62 02 0002");
    wire.receive("70 03 0002 92");
    wire.expect("34 { <t> 0002 00 'x' }");
    wire.receive("50 02 0002 70 02 0002");
    assert!(matches!(wire.outcome(3), Some(Outcome::Acknowledged { .. })));
}

#[test]
fn filters_that_connack_rules_out_are_refused_here() {
    let mut wire = Wire::online(config(V5), "20 { 00 00 { 28 00 2a 00 } }");
    wire.subscribe(&["a/#", "$share/g/a", "plain"], 4);
    wire.expect("82 { 0001 00 <plain> 01 }");
    wire.receive("90 { 0001 00 01 }");
    let Some(Outcome::Subscribed(codes)) = wire.outcome(4) else { panic!() };
    let codes: Vec<u8> = codes.iter().map(|c| c.value()).collect();
    assert_eq!(codes, [0xa2, 0x9e, 0x01]);
}

#[test]
fn filters_too_long_for_the_server_are_refused_here() {
    let mut wire = Wire::online(config(V5), "20 { 00 00 { 27 00000010 } }");
    wire.subscribe(&["fits", "this/is/too/long"], 4);
    wire.expect("82 { 0001 00 <fits> 01 }");
    wire.receive("90 { 0001 00 01 }");
    let too_large = ReasonCode::PACKET_TOO_LARGE;
    assert_eq!(
        wire.outcome(4),
        Some(Outcome::Subscribed(vec![ReasonCode::GRANTED_QOS_1, too_large]))
    );
    let refused =
        wire.events().into_iter().find(|e| matches!(e, Event::SubscriptionRefused { .. }));
    assert!(refused.is_some(), "told as a refusal, and not asked again");
    wire.session.unsubscribe(&["this/is/too/long"], PropertiesRef::EMPTY, 5).unwrap();
    wire.expect("");
    assert_eq!(wire.outcome(5), Some(Outcome::Unsubscribed(vec![too_large])));
}

#[test]
fn unsubscribe_waits_for_the_connection_and_forgets_the_filter() {
    let mut wire = Wire::online(config(V311), ok(V311));
    wire.subscribe(&["a", "b"], 0);
    wire.receive("90 { 0001 01 01 }");
    wire.session.handle_disconnected();
    wire.session.unsubscribe(&["a"], PropertiesRef::EMPTY, 6).unwrap();
    wire.reconnect(resumed(V311));
    wire.expect("a2 { 0002 <a> }");
    wire.receive("b0 02 0002");
    assert_eq!(wire.outcome(6), Some(Outcome::Unsubscribed(vec![ReasonCode::SUCCESS])));
    wire.reconnect(ok(V311));
    wire.expect("82 { 0003 <b> 01 }");
}

/// Otherwise what waits for a connection would grow with each of them.
#[test]
fn a_filter_that_comes_and_goes_without_a_connection_is_asked_for_as_it_is_at_the_end() {
    for wanted_at_the_end in [false, true] {
        let mut wire = Wire::offline(config(V311));
        wire.subscribe(&["a", "b"], 0);
        for _ in 0..3 {
            wire.session.unsubscribe(&["a"], PropertiesRef::EMPTY, 0).unwrap();
            wire.subscribe(&["a"], 0);
        }
        if !wanted_at_the_end {
            wire.session.unsubscribe(&["a"], PropertiesRef::EMPTY, 0).unwrap();
        }
        wire.reconnect(ok(V311));
        // Unsubscribed first, so that the server takes what comes after it for a new subscription.
        wire.expect(match wanted_at_the_end {
            false => "82 { 0001 <b> 01 } a2 { 0002 <a> }",
            true => "82 { 0001 <b> 01 } a2 { 0002 <a> } 82 { 0003 <a> 01 }",
        });
    }
}

#[test]
fn an_unsubscribe_that_somebody_waits_for_is_sent_whatever_comes_after_it() {
    let mut wire = Wire::offline(config(V311));
    wire.session.unsubscribe(&["a"], PropertiesRef::EMPTY, 6).unwrap();
    wire.session.unsubscribe(&["a"], PropertiesRef::EMPTY, 0).unwrap();
    wire.reconnect(ok(V311));
    wire.expect("a2 { 0001 <a> } a2 { 0002 <a> }");
}

#[test]
fn an_unsubscribe_that_was_never_answered_takes_nothing_away_that_was_granted_since_then() {
    let mut wire = Wire::online(config(V5), ok(V5));
    wire.subscribe(&["a"], 0);
    wire.receive("90 { 0001 00 01 }");
    wire.sent();
    wire.session.unsubscribe(&["a"], PropertiesRef::EMPTY, 6).unwrap();
    wire.expect("a2 { 0002 00 <a> }");
    wire.subscribe(&["a"], 0);
    wire.expect("82 { 0003 00 <a> 01 }");
    wire.receive("90 { 0003 00 01 }");
    wire.reconnect(resumed(V5));
    wire.expect("");
    assert_eq!(wire.outcome(6), Some(Outcome::Unsubscribed(vec![ReasonCode::SUCCESS])));
    // While that is not answered either, the order says what the server has at the end.
    wire.session.unsubscribe(&["a"], PropertiesRef::EMPTY, 7).unwrap();
    wire.subscribe(&["a"], 0);
    wire.sent();
    wire.reconnect(resumed(V5));
    wire.expect("a2 { 0006 00 <a> } 82 { 0007 00 <a> 01 }");
}

/// As with a forwarder that is started and stopped again and again.
#[test]
fn a_server_that_answers_no_unsubscribe_has_few_of_them_to_answer() {
    let mut wire = Wire::online(config(V5), ok(V5));
    let (mut unsubscribed, mut first) = (0, Vec::new());
    for token in 1..=30 {
        wire.subscribe(&["a", "b"], 0);
        let subscribe = wire.sent();
        let id = subscribe.get(2..4).unwrap();
        wire.receive(&format!("90 {{ {:02x}{:02x} 00 01 01 }}", id[0], id[1]));
        wire.session.unsubscribe(&["a"], PropertiesRef::EMPTY, token).unwrap();
        let unsubscribe = wire.sent();
        unsubscribed += usize::from(!unsubscribe.is_empty());
        first = if token == 1 { unsubscribe } else { first };
    }
    assert_eq!(unsubscribed, 8);
    // Those that are held were called off by the next subscription; the last one is still held.
    for token in 9..=29 {
        assert_eq!(wire.outcome(token), Some(Outcome::Unsubscribed(vec![ReasonCode::SUCCESS])));
    }
    assert_eq!(wire.outcome(0), None);
    wire.session.unsubscribe(&["b"], PropertiesRef::EMPTY, 0).unwrap();
    assert!(!wire.sent().is_empty(), "another filter waits for nobody");
    wire.receive(&format!("b0 {{ {:02x}{:02x} 00 00 }}", first[2], first[3]));
    assert_eq!(wire.outcome(1), Some(Outcome::Unsubscribed(vec![ReasonCode::SUCCESS])));
    assert_eq!(wire.sent().first(), Some(&0xa2), "there is room for the last one");
}

#[test]
fn suback_with_the_wrong_number_of_codes_is_a_fault() {
    let mut wire = Wire::online(config(V5), ok(V5));
    wire.subscribe(&["a", "b"], 0);
    wire.receive("90 { 0001 00 01 }");
    assert!(matches!(wire.close_cause(), Some(CloseCause::Protocol(_))));
}

#[test]
fn what_the_server_cannot_take_is_not_sent() {
    let limits = "20 { 00 00 { 24 01 25 00 27 00000014 } }";
    let mut wire = Wire::online(config(V5), limits);
    let too_high = wire.publish(QoS::ExactlyOnce, "x", 1).unwrap_err();
    let refused = DropReason::QoSNotSupported { maximum: QoS::AtLeastOnce };
    assert_eq!(too_high, PublishError::NotAllowed(refused));
    let large = wire.publish(QoS::AtMostOnce, "0123456789abcdefg", 1).unwrap_err();
    assert!(matches!(large, PublishError::NotAllowed(DropReason::TooLarge { limit: 20, .. })));
    wire.expect("");
    // Accepted while offline, when the limits were not known.
    let mut wire = Wire::offline(config(V5));
    wire.publish(QoS::ExactlyOnce, "x", 1).unwrap();
    wire.publish(QoS::AtLeastOnce, "0123456789abcdefg", 2).unwrap();
    wire.publish(QoS::AtLeastOnce, "fits", 3).unwrap();
    wire.reconnect(limits);
    assert!(matches!(wire.outcome(1), Some(Outcome::Dropped(DropReason::QoSNotSupported { .. }))));
    assert!(matches!(wire.outcome(2), Some(Outcome::Dropped(DropReason::TooLarge { .. }))));
    wire.expect("32 { <t> 0001 00 'fits' }");
}

#[test]
fn subscription_identifiers_are_not_for_clients_to_publish() {
    let mut properties = Properties::new();
    properties.push(Property::SubscriptionIdentifier(1)).unwrap();
    let mut wire = Wire::online(config(V5), ok(V5));
    let refused = wire.publish_with(QoS::AtMostOnce, "x", 0, properties.as_ref());
    assert!(matches!(refused, Err(PublishError::Property(_))));
}

#[test]
fn message_expiry_counts_down_while_the_message_waits() {
    let mut properties = Properties::new();
    properties.push(Property::MessageExpiryInterval(100)).unwrap();
    let mut wire = Wire::offline(config(V5));
    wire.publish_with(QoS::AtLeastOnce, "x", 1, properties.as_ref()).unwrap();
    wire.publish_with(QoS::AtMostOnce, "z", 2, properties.as_ref()).unwrap();
    wire.now += Duration::from_secs(40);
    wire.reconnect(ok(V5));
    wire.expect("30 { <t> { 02 0000003c } 'z' } 32 { <t> 0001 { 02 0000003c } 'x' }");
    wire.session.handle_disconnected();
    wire.publish_with(QoS::AtLeastOnce, "late", 3, properties.as_ref()).unwrap();
    wire.wait(100);
    assert!(matches!(wire.outcome(2), Some(Outcome::Written)));
    assert_eq!(wire.outcome(3), Some(Outcome::Dropped(DropReason::Expired)));
}

#[test]
fn a_full_outbox_refuses_and_can_make_room() {
    let mut config = config(V311);
    config.outbox.messages = 2;
    let mut wire = Wire::offline(config);
    wire.publish(QoS::AtLeastOnce, "a", 1).unwrap();
    wire.publish(QoS::AtMostOnce, "b", 2).unwrap();
    assert_eq!(wire.publish(QoS::AtLeastOnce, "c", 3), Err(PublishError::OutboxFull));
    assert!(wire.session.drop_oldest());
    assert_eq!(wire.outcome(2), Some(Outcome::Dropped(DropReason::Evicted)));
    wire.publish(QoS::AtLeastOnce, "c", 3).unwrap();
    assert!(wire.session.drop_oldest());
    assert_eq!(wire.outcome(1), Some(Outcome::Dropped(DropReason::Evicted)));
    wire.reconnect(ok(V311));
    wire.expect("32 { <t> 0001 'c' }");
    assert!(!wire.session.drop_oldest(), "what was sent is never dropped");
}

#[test]
fn qos0_that_the_socket_did_not_take_is_told_lost() {
    let mut wire = Wire::online(config(V311), ok(V311));
    wire.publish(QoS::AtMostOnce, "a", 1).unwrap();
    wire.sent();
    assert_eq!(wire.outcome(1), Some(Outcome::Written));
    wire.publish(QoS::AtMostOnce, "b", 2).unwrap();
    wire.session.handle_disconnected();
    assert_eq!(wire.outcome(2), Some(Outcome::ConnectionLost));
    let told = |e: &Event| matches!(e, Event::MessageDropped { count: 1, .. });
    assert!(wire.events().iter().any(told));
}

#[test]
fn a_large_payload_goes_by_reference_and_again_after_a_reconnect() {
    let mut wire = Wire::online(config(V311), ok(V311));
    let payload = "p".repeat(10_000);
    wire.publish(QoS::AtLeastOnce, &payload, 0).unwrap();
    wire.publish(QoS::AtMostOnce, "after", 0).unwrap();
    let expected = |first: &str| format!("{first} {{ <t> 0001 '{payload}' }}");
    wire.expect(&format!("{} 30 {{ <t> 'after' }}", expected("32")));
    wire.reconnect(resumed(V311));
    wire.expect(&expected("3a"));
}

#[test]
fn ping_is_sent_after_silence_and_its_answer_is_awaited() {
    let mut wire = Wire::online(config(V311), ok(V311));
    wire.wait(59);
    wire.expect("");
    wire.wait(1);
    wire.expect("c0 00");
    wire.wait(59);
    wire.receive("30 { <t> 'traffic is no answer' }");
    wire.wait(1);
    assert_eq!(wire.close_cause(), Some(CloseCause::KeepAliveTimeout));
}

#[test]
fn the_servers_keep_alive_wins() {
    let mut wire = Wire::online(config(V5), "20 { 00 00 { 13 0005 } }");
    wire.wait(5);
    wire.expect("c0 00");
    wire.receive("d0 00");
    wire.wait(5);
    wire.expect("c0 00");
}

#[test]
fn disconnect_follows_what_is_written_already() {
    let mut wire = Wire::online(config(V5), ok(V5));
    wire.publish(QoS::AtMostOnce, "x", 0).unwrap();
    wire.session.disconnect(ReasonCode::NORMAL_DISCONNECTION, PropertiesRef::EMPTY);
    wire.publish(QoS::AtMostOnce, "too late", 0).unwrap();
    wire.expect("30 { <t> 00 'x' } e0 00");
    assert_eq!(wire.close_cause(), Some(CloseCause::Requested));
    assert_eq!(wire.session.outbox().messages, 1, "kept for the next connection");
}

#[test]
fn disconnect_leaves_out_properties_that_are_too_long_for_the_server() {
    let mut wire = Wire::online(config(V5), "20 { 00 00 { 27 00000010 } }");
    let mut properties = Properties::new();
    properties.push(Property::ReasonString("a long farewell")).unwrap();
    wire.session.disconnect(ReasonCode::NORMAL_DISCONNECTION, properties.as_ref());
    wire.expect("e0 00");
}

#[test]
fn a_stalled_socket_bounds_what_is_encoded() {
    let mut config = config(V311);
    config.write_buffer_limit = 100;
    let mut wire = Wire::online(config, ok(V311));
    for _ in 0..50 {
        wire.publish(QoS::AtMostOnce, "0123456789", 0).unwrap();
    }
    let mut transmit = Transmit::new();
    wire.session.poll_transmit(&mut transmit);
    assert!(transmit.remaining() <= 115, "{}", transmit.remaining());
    assert!(wire.session.outbox().messages >= 40);
    let written = transmit.remaining();
    wire.session.handle_written(wire.now, written);
    assert!(wire.session.has_transmit());
}

#[test]
fn closing_for_good_tells_everybody() {
    let mut wire = Wire::offline(config(V5));
    wire.publish(QoS::AtLeastOnce, "x", 1).unwrap();
    wire.publish(QoS::AtMostOnce, "y", 2).unwrap();
    wire.subscribe(&["a"], 3);
    wire.session.handle_closed();
    let mut tokens: Vec<u64> = std::iter::from_fn(|| wire.session.poll_completion())
        .map(|completion| {
            assert_eq!(completion.outcome, Outcome::Closed);
            completion.token
        })
        .collect();
    tokens.sort_unstable();
    assert_eq!(tokens, [1, 2, 3]);
}

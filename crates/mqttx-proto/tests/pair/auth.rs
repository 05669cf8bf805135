//! Enhanced authentication (section 4.12), byte for byte.

use std::time::Duration;

use mqttx_proto::{
    AuthenticateError, Authentication, CloseCause, Config, Event, Phase, PropertiesRef, Property,
    QoS, Version,
};
use mqttx_test::hex;

use super::wire::{V5, V311, Wire, config, ok};

const CONNECT: &str = "10 { <MQTT> 05 00 003c { 15 <M> 16 <first> } <c> }";
const DONE: &str = "20 { 00 00 { 15 <M> 16 <proof> } }";

fn asked(data: Option<&str>) -> Config {
    let mut config = config(V5);
    let data = data.map(Into::into);
    config.authentication = Some(Authentication { method: "M".into(), data });
    config
}

/// CONNECT is taken.
fn connecting() -> Wire {
    let mut wire = Wire::offline(asked(Some("first")));
    wire.session.handle_connected(wire.now, 0);
    wire.expect(CONNECT);
    wire
}

/// A connection that was authenticated.
fn online() -> Wire {
    let mut wire = connecting();
    wire.receive(DONE);
    wire.session.confirm_authentication(wire.now).unwrap();
    assert!(matches!(wire.session.poll_event(), Some(Event::Authenticated { .. })));
    let events = wire.events();
    assert!(matches!(events[..], [Event::Connected(_), Event::Ready]), "{events:?}");
    wire
}

#[track_caller]
fn challenge(wire: &mut Wire) -> Option<Vec<u8>> {
    match wire.session.poll_event() {
        Some(Event::Challenged { data }) => data.map(|data| data.to_vec()),
        other => panic!("no challenge: {other:?}"),
    }
}

#[test]
fn challenges_are_answered_with_the_same_method_until_connack() {
    let mut wire = connecting();
    for (said, answer) in [("one", "uno"), ("two", "due")] {
        wire.receive(&format!("f0 {{ 18 {{ 15 <M> 16 <{said}> }} }}"));
        assert_eq!(challenge(&mut wire).as_deref(), Some(said.as_bytes()));
        assert_eq!(wire.session.phase(), Phase::Handshake);
        wire.session.authenticate(Some(answer.as_bytes())).unwrap();
        wire.expect(&format!("f0 {{ 18 {{ 15 <M> 16 <{answer}> }} }}"));
    }
    wire.receive("f0 { 18 { 15 <M> } }");
    assert_eq!(challenge(&mut wire), None, "a challenge without data");
    wire.session.authenticate(None).unwrap();
    wire.expect("f0 { 18 { 15 <M> } }");
    wire.receive(DONE);
    let Some(Event::Authenticated { data }) = wire.session.poll_event() else { panic!() };
    assert_eq!(data.as_deref(), Some(&b"proof"[..]));
    wire.session.confirm_authentication(wire.now).unwrap();
    assert_eq!(wire.session.phase(), Phase::Online);
}

#[test]
fn nothing_but_auth_and_disconnect_leaves_before_connack() {
    let mut wire = connecting();
    wire.publish(QoS::AtLeastOnce, "m", 1).unwrap();
    wire.publish(QoS::AtMostOnce, "n", 2).unwrap();
    wire.subscribe(&["a"], 3);
    wire.receive("f0 { 18 { 15 <M> } }");
    wire.expect("");
    wire.session.authenticate(None).unwrap();
    wire.expect("f0 { 18 { 15 <M> } }");
    wire.receive(DONE);
    wire.expect("");
    wire.session.confirm_authentication(wire.now).unwrap();
    let all = wire.sent();
    assert_eq!([all[0], all[2 + usize::from(all[1])]], [0x82, 0x30], "{all:02x?}");
}

#[test]
fn what_follows_connack_waits_for_the_verdict() {
    let mut wire = connecting();
    let connack = hex(DONE);
    let input = hex(&format!("{DONE} 30 {{ <t> 00 'early' }}"));
    let mut inbound = Vec::new();
    assert_eq!(wire.session.handle_input(wire.now, &input, &mut inbound), connack.len());
    assert!(inbound.is_empty() && wire.session.is_verifying());
    let rest = &input[connack.len()..];
    assert_eq!(wire.session.handle_input(wire.now, rest, &mut inbound), 0);
    wire.session.confirm_authentication(wire.now).unwrap();
    assert_eq!(wire.session.handle_input(wire.now, rest, &mut inbound), rest.len());
    assert_eq!(inbound.len(), 1);
}

#[test]
fn a_server_without_proof_is_left_and_never_counted_as_connected() {
    let mut wire = connecting();
    wire.publish(QoS::AtLeastOnce, "m", 1).unwrap();
    wire.receive(DONE);
    wire.session.fail_authentication("a wrong signature".to_owned());
    wire.expect("e0 { 80 }");
    let events = wire.events();
    assert!(!events.iter().any(|event| matches!(event, Event::Connected(_))), "{events:?}");
    let cause = CloseCause::Authentication("a wrong signature".to_owned());
    assert!(events.iter().any(|e| matches!(e, Event::Closing(found) if *found == cause)));
    // The CONNACK may have begun a session all the same.
    wire.session.handle_disconnected();
    wire.session.handle_connected(wire.now, 0);
    assert_eq!(wire.session.phase(), Phase::Handshake);
}

#[test]
fn an_answer_that_is_not_due_is_an_error_and_sends_nothing() {
    let mut wire = connecting();
    assert_eq!(wire.session.authenticate(None), Err(AuthenticateError::NotNow));
    assert_eq!(wire.session.confirm_authentication(wire.now), Err(AuthenticateError::NotNow));
    let again = wire.session.reauthenticate(wire.now, None);
    assert_eq!(again, Err(AuthenticateError::NotPossible), "it is not online");
    let mut wire = online();
    assert_eq!(wire.session.authenticate(None), Err(AuthenticateError::NotNow));
    wire.session.fail_authentication("nothing is under way".to_owned());
    wire.expect("");
    let mut wire = Wire::online(config(V5), ok(V5));
    let again = wire.session.reauthenticate(wire.now, None);
    assert_eq!(again, Err(AuthenticateError::NotPossible), "CONNECT named no method");
    assert_eq!(wire.session.authenticate(None), Err(AuthenticateError::NotNow));
    wire.expect("");
}

#[test]
fn authentication_again_runs_beside_everything_else() {
    let mut wire = online();
    wire.session.reauthenticate(wire.now, Some(b"again")).unwrap();
    wire.expect("f0 { 19 { 15 <M> 16 <again> } }");
    assert!(wire.session.awaits_server());
    let twice = wire.session.reauthenticate(wire.now, None);
    assert_eq!(twice, Err(AuthenticateError::NotNow));
    wire.publish(QoS::AtLeastOnce, "m", 1).unwrap();
    wire.expect("32 { <t> 0001 00 'm' }");
    wire.receive("f0 { 18 { 15 <M> 16 <more> } } 40 02 0001 30 { <t> 00 'in' }");
    assert_eq!(challenge(&mut wire).as_deref(), Some(&b"more"[..]));
    assert!(wire.outcome(1).is_some());
    assert_eq!(wire.delivered, ["t=in"]);
    wire.session.authenticate(Some(b"less")).unwrap();
    wire.expect("f0 { 18 { 15 <M> 16 <less> } }");
    wire.receive("f0 { 00 { 15 <M> 16 <end> } } 30 { <t> 00 'in2' }");
    let Some(Event::Authenticated { data }) = wire.session.poll_event() else { panic!() };
    assert_eq!(data.as_deref(), Some(&b"end"[..]));
    assert_eq!(wire.delivered.len(), 2, "the connection goes on with what it had");
    wire.session.confirm_authentication(wire.now).unwrap();
    assert!(wire.session.poll_event().is_none());
    // And once more.
    wire.session.reauthenticate(wire.now, None).unwrap();
    wire.expect("f0 { 19 { 15 <M> } }");
    wire.receive("f0 00");
    assert!(matches!(wire.session.poll_event(), Some(Event::Authenticated { data: None })));
}

#[test]
fn failed_authentication_again_ends_the_connection() {
    let mut wire = online();
    wire.session.reauthenticate(wire.now, None).unwrap();
    wire.sent();
    wire.receive("f0 { 18 { 15 <M> } }");
    wire.session.fail_authentication("no token".to_owned());
    wire.expect("e0 { 80 }");
    assert_eq!(wire.close_cause(), Some(CloseCause::Authentication("no token".to_owned())));
    let mut wire = online();
    wire.session.reauthenticate(wire.now, None).unwrap();
    wire.receive("e0 { 87 }");
    assert!(matches!(wire.close_cause(), Some(CloseCause::ServerDisconnect(_))));
}

#[test]
fn steps_out_of_turn_are_protocol_errors() {
    for bytes in [
        "f0 { 00 { 15 <M> } }",
        "f0 00",
        "f0 { 19 { 15 <M> } }",
        "f0 { 18 { 15 <N> } }",
        "f0 { 18 { 15 <M> } } f0 { 18 { 15 <M> } }",
        "f0 { 18 { 15 <M> } } 20 { 00 00 { 15 <M> } }",
        "20 { 00 00 { 15 <N> } }",
        "20 { 00 00 { 16 <data> } }",
    ] {
        let mut wire = connecting();
        wire.receive(bytes);
        let Some(CloseCause::Protocol(error)) = wire.close_cause() else { panic!("{bytes}") };
        assert_eq!(error.reason.value(), 0x82, "{bytes}");
        wire.expect("e0 { 82 }");
    }
    for bytes in ["f0 { 18 { 15 <M> } }", "f0 { 19 { 15 <M> } }", "f0 { 00 { 15 <M> } }", "f0 00"] {
        let mut wire = online();
        wire.receive(bytes);
        assert!(matches!(wire.close_cause(), Some(CloseCause::Protocol(_))), "{bytes}");
        wire.expect("e0 { 82 }");
    }
}

#[test]
fn auth_without_a_method_in_connect_is_a_protocol_error_at_any_time() {
    for connack in ["", ok(V5)] {
        for bytes in ["f0 { 18 { 15 <M> } }", "f0 { 19 { 15 <M> } }", "f0 00"] {
            let mut wire = Wire::online(config(V5), connack);
            wire.receive(bytes);
            assert!(matches!(wire.close_cause(), Some(CloseCause::Protocol(_))), "{bytes}");
            wire.expect("e0 { 82 }");
        }
    }
    let mut wire = Wire::offline(config(V311));
    wire.session.handle_connected(wire.now, 0);
    wire.sent();
    wire.receive("f0 00");
    assert!(matches!(wire.close_cause(), Some(CloseCause::Protocol(_))));
    wire.expect("");
}

#[test]
fn a_method_that_only_the_properties_name_has_nobody_to_answer() {
    let mut plain = config(V5);
    plain.connect_properties.push(Property::AuthenticationMethod("M")).unwrap();
    let mut wire = Wire::online(plain.clone(), "20 { 00 00 { 15 <M> } }");
    assert_eq!(wire.session.phase(), Phase::Online, "a server that asks nothing is content");
    assert!(wire.session.reauthenticate(wire.now, None).is_err());
    let mut wire = Wire::online(plain, "f0 { 18 { 15 <M> } }");
    assert!(matches!(wire.close_cause(), Some(CloseCause::Authentication(_))));
    wire.expect("e0 { 80 }");
}

#[test]
fn endless_challenges_are_left_after_sixteen() {
    let mut wire = connecting();
    for _ in 0..16 {
        wire.receive("f0 { 18 { 15 <M> } }");
        challenge(&mut wire);
        wire.session.authenticate(None).unwrap();
        wire.expect("f0 { 18 { 15 <M> } }");
    }
    wire.receive("f0 { 18 { 15 <M> } }");
    assert!(matches!(wire.close_cause(), Some(CloseCause::Authentication(_))));
    wire.expect("e0 { 97 }");
}

#[test]
fn the_handshake_time_bounds_each_exchange() {
    let mut wire = connecting();
    wire.wait(9);
    wire.receive("f0 { 18 { 15 <M> } }");
    wire.session.authenticate(None).unwrap();
    wire.wait(1);
    assert_eq!(wire.close_cause(), Some(CloseCause::HandshakeTimeout));
    let mut wire = connecting();
    wire.receive(DONE);
    wire.wait(10);
    assert_eq!(wire.close_cause(), Some(CloseCause::HandshakeTimeout), "also while we judge");
    let mut wire = online();
    wire.session.reauthenticate(wire.now, None).unwrap();
    wire.sent();
    assert_eq!(wire.session.poll_timeout(), Some(wire.now + Duration::from_secs(10)));
    wire.wait(10);
    assert_eq!(wire.close_cause(), Some(CloseCause::AuthenticationTimeout));
    wire.expect("e0 { 80 }");
}

#[test]
fn data_that_does_not_fit_is_an_error_and_sends_nothing() {
    let mut wire = connecting();
    wire.receive("20 { 00 00 { 15 <M> 27 0000001e } }");
    wire.session.confirm_authentication(wire.now).unwrap();
    let long = [b'x'; 30];
    let error = wire.session.reauthenticate(wire.now, Some(&long));
    assert_eq!(error, Err(AuthenticateError::TooLarge { size: 41, limit: 30 }));
    let long = vec![b'x'; 65_536];
    let error = wire.session.reauthenticate(wire.now, Some(&long));
    assert!(matches!(error, Err(AuthenticateError::Data(_))));
    wire.expect("");
    wire.session.reauthenticate(wire.now, Some(b"short")).unwrap();
    wire.expect("f0 { 19 { 15 <M> 16 <short> } }");
}

#[test]
fn a_refusal_ends_the_exchange() {
    let mut wire = connecting();
    wire.receive("f0 { 18 { 15 <M> } }");
    wire.session.authenticate(None).unwrap();
    wire.receive("20 { 00 87 00 }");
    let Some(CloseCause::Refused(refusal)) = wire.close_cause() else { panic!() };
    assert_eq!(refusal.reason.value(), 0x87);
}

#[test]
fn the_next_connection_begins_anew() {
    let mut wire = connecting();
    wire.receive("f0 { 18 { 15 <M> } }");
    wire.session.handle_disconnected();
    assert_eq!(wire.session.authenticate(None), Err(AuthenticateError::NotNow));
    wire.session.handle_connected(wire.now, 0);
    wire.expect(CONNECT);
    wire.receive(DONE);
    wire.session.confirm_authentication(wire.now).unwrap();
    assert_eq!(wire.session.phase(), Phase::Online);
}

#[test]
fn secrets_are_not_shown() {
    let mut config = asked(Some("geheim"));
    config.password = Some("geheim".into());
    config.username = Some("u".to_owned());
    let mut wire = Wire::offline(config);
    wire.session.handle_connected(wire.now, 0);
    wire.receive("f0 { 18 { 15 <M> 16 <geheim> } }");
    let event = wire.session.poll_event();
    let shown = format!("{:?} {event:?}", wire.session);
    assert!(!shown.contains("geheim") && !shown.contains("103, 101"), "{shown}");
    let bytes = wire.sent();
    let packet = mqttx_proto::decode(Version::V5, bytes[0], &bytes[2..]).unwrap();
    let shown = format!("{packet:?}");
    assert!(!shown.contains("geheim") && !shown.contains("103, 101"), "{shown}");
}

#[test]
fn a_connect_that_timed_out_leaves_the_session_in_doubt() {
    let mut wire = Wire::offline(config(V5));
    wire.subscribe(&["a"], 1);
    wire.reconnect(ok(V5));
    wire.expect("82 { 0001 00 <a> 01 }");
    wire.receive("90 { 0001 00 01 }");
    wire.session.handle_disconnected();
    wire.session.handle_connected(wire.now, 0);
    wire.sent();
    wire.wait(10);
    assert_eq!(wire.close_cause(), Some(CloseCause::HandshakeTimeout));
    wire.reconnect("20 03 01 00 00");
    let sent = wire.sent();
    assert_eq!(sent.first(), Some(&0x82), "the filters are asked for again: {sent:02x?}");
}

#[test]
fn a_disconnect_by_the_application_may_end_the_exchange() {
    let mut wire = connecting();
    wire.receive("f0 { 18 { 15 <M> } }");
    wire.session.disconnect(mqttx_proto::ReasonCode::SUCCESS, PropertiesRef::EMPTY);
    wire.expect("e0 00");
    assert_eq!(wire.session.authenticate(None), Err(AuthenticateError::NotNow));
}

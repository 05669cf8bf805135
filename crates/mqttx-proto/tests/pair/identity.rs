//! A session that gets another client id.

use mqttx_proto::{Config, QoS, Version};

use super::wire::Wire;

const V5: Version = Version::V5;

/// One message in flight and one filter granted; then the id changes.
fn renamed() -> Wire {
    let mut config = Config::new(V5);
    config.clean_start = false;
    let mut wire = Wire::offline(config);
    wire.session.set_client_id("one");
    wire.reconnect("20 { 00 00 {} }");
    wire.subscribe(&["a"], 0);
    wire.publish(QoS::AtLeastOnce, "x", 0).unwrap();
    wire.sent();
    wire.receive("90 { 0001 00 01 }");
    wire.session.handle_disconnected();
    wire.session.set_client_id("two");
    wire.session.handle_connected(wire.now, 0);
    wire.expect("10 { <MQTT> 05 00 003c 00 <two> }");
    wire
}

#[test]
fn another_client_id_is_another_session_of_the_server() {
    let mut wire = renamed();
    wire.receive("20 { 00 00 {} }");
    wire.expect("82 { 0003 00 <a> 01 } 32 { <t> 0004 00 'x' }");
}

#[test]
fn a_session_that_the_server_has_for_the_other_id_is_not_ours() {
    let mut wire = renamed();
    wire.receive("20 { 01 00 {} }");
    wire.expect("82 { 0003 00 <a> 01 } 32 { <t> 0004 00 'x' }");
}

#[test]
fn an_assigned_id_is_not_kept_beside_one_of_our_own() {
    let mut wire = Wire::online(Config::new(V5), "20 { 00 00 { 12 <given> } }");
    wire.session.set_client_id("");
    assert_eq!(wire.session.client_id(), "");
}

//! Messages that find nothing before them are encoded straight into the write queue: nobody may see a difference.

use mqttx_proto::{Event, Properties, Property, PublishError, QoS, Transmit};

use super::wire::{V5, V311, Wire, config, ok, props, resumed};

#[test]
fn the_short_way_and_the_long_way_leave_the_same() {
    let mut content_type = Properties::new();
    content_type.push(Property::ContentType("text/plain")).unwrap();
    let payloads = ["", "a", &"b".repeat(200), &"c".repeat(20_000)];
    for version in [V311, V5] {
        for (qos, ack) in [(QoS::AtLeastOnce, "40"), (QoS::ExactlyOnce, "50")] {
            let mut short = Wire::online(config(version), ok(version));
            let mut long = Wire::offline(config(version));
            for wire in [&mut short, &mut long] {
                for (properties, payload) in
                    [Properties::new(), content_type.clone()].iter().zip(payloads.chunks(2))
                {
                    for payload in payload {
                        wire.publish_with(qos, payload, 0, properties.as_ref()).unwrap();
                    }
                }
            }
            long.reconnect(ok(version));
            assert_same(&mut short, &mut long);
            for wire in [&mut short, &mut long] {
                wire.receive(&format!("{ack} 02 0002"));
            }
            assert_same(&mut short, &mut long);
            for wire in [&mut short, &mut long] {
                wire.reconnect(resumed(version));
            }
            assert_same(&mut short, &mut long);
        }
    }
}

#[track_caller]
fn assert_same(short: &mut Wire, long: &mut Wire) {
    let (sent, wanted) = (short.sent(), long.sent());
    assert!(!sent.is_empty() || short.session.unacknowledged() < 4);
    assert_eq!(sent, wanted);
    assert_eq!(short.session.outbox(), long.session.outbox());
    assert_eq!(short.session.send_totals(), long.session.send_totals());
    assert_eq!(short.session.unacknowledged(), long.session.unacknowledged());
}

#[test]
fn the_short_way_keeps_to_the_bounds_of_the_outbox() {
    for (qos, first) in [(QoS::AtLeastOnce, "32"), (QoS::ExactlyOnce, "34")] {
        let mut config = config(V5);
        config.outbox.bytes = 20;
        let mut wire = Wire::online(config, ok(V5));
        wire.publish(qos, "one", 0).unwrap();
        let message = |id: u8| format!("{first} {{ <t> 00{id:02} {} 'one' }}", props(V5));
        wire.expect(&message(1));
        assert_eq!(wire.publish(qos, "two", 0), Err(PublishError::OutboxFull), "11 more of 20");
        wire.expect("");
        assert_eq!(wire.session.outbox().messages, 1);
        wire.publish(qos, "2", 0).unwrap();
        assert_eq!(wire.session.outbox().bytes, 20);
    }
}

#[test]
fn a_flood_that_the_socket_took_in_part_is_lost_in_part() {
    let mut wire = Wire::online(config(V311), ok(V311));
    for _ in 0..10 {
        wire.publish(QoS::AtMostOnce, "x", 0).unwrap();
    }
    let mut transmit = Transmit::new();
    assert!(wire.session.poll_transmit(&mut transmit));
    // Six messages of six bytes, and the beginning of the next.
    wire.session.handle_written(wire.now, 40);
    assert!(!wire.session.is_flushed());
    wire.session.handle_disconnected();
    let lost = wire.events().into_iter().find_map(|event| match event {
        Event::MessageDropped { count, .. } => Some(count),
        _ => None,
    });
    assert_eq!(lost, Some(4));
    assert_eq!(wire.session.send_totals().dropped, 4);
}

use std::sync::Arc;
use std::time::Instant;

use mqttx_proto::packet::Publish;
use mqttx_proto::{PacketId, PropertiesRef};

use super::*;
use crate::router::{InboundMeta, Origin};

fn held(qos: QoS, topic: &str) -> Held {
    let publish = Publish {
        dup: false,
        qos,
        retain: false,
        topic,
        packet_id: PacketId::new(1).filter(|_| qos != QoS::AtMostOnce),
        properties: PropertiesRef::EMPTY,
        payload: b"",
    };
    let now = Instant::now();
    let inbound =
        InboundMeta { ticket: None, received_at: now, flow_controlled: true, shed: false };
    let origin = Arc::new(Origin::new("src".into(), now));
    let message = Message::new(&publish, &inbound, &origin);
    Held { message, source: 0, filter: 0, qos, parked: false, next_target: 0, flow: None }
}

fn running(window: usize, qos0_queue: usize, required: usize) -> Flows {
    let mut flows = Flows::new(window, qos0_queue, required);
    flows.set_phase(Phase::Running);
    flows
}

/// Admits a message and says what came of it.
fn admit(flows: &mut Flows, qos: QoS, topic: &str) -> Admitted {
    flows.admit(held(qos, topic)).ok().expect("it runs")
}

#[test]
fn a_flow_is_done_when_all_its_parts_are() {
    let mut flows = running(8, 8, 2);
    assert_eq!(admit(&mut flows, QoS::AtLeastOnce, "a"), Admitted::YourTurn);
    let (_, key) = flows.next().expect("the message");
    assert!(flows.settle(key, 1, None).is_none(), "a target is faster than the sending");
    assert!(flows.settle(key, 1, None).is_none());
    let done = flows.settle(key, 1, None).expect("the last part");
    assert!(done.was_last && done.failure.is_none());
    assert!(flows.settle(key, 1, None).is_none(), "a finished flow is gone");
    assert_eq!((flows.held(), flows.counts.snapshot().forwarded), (0, 1));
}

#[test]
fn one_caller_at_a_time_has_the_turn() {
    let mut flows = running(8, 8, 1);
    assert_eq!(admit(&mut flows, QoS::AtLeastOnce, "1"), Admitted::YourTurn);
    assert_eq!(admit(&mut flows, QoS::AtLeastOnce, "2"), Admitted::Waits);
    assert!(!flows.take_turn());
    let order: Vec<String> =
        std::iter::from_fn(|| flows.next()).map(|(h, _)| h.message.topic().to_owned()).collect();
    assert_eq!(order, ["1", "2"]);
    assert_eq!(admit(&mut flows, QoS::AtLeastOnce, "3"), Admitted::YourTurn);
}

#[test]
fn the_window_holds_qos1_and_lets_qos0_pass() {
    let mut flows = running(1, 8, 1);
    admit(&mut flows, QoS::AtLeastOnce, "1");
    let (_, first) = flows.next().expect("in the window");
    assert!(flows.next().is_none());
    assert_eq!(admit(&mut flows, QoS::AtLeastOnce, "2"), Admitted::Waits);
    assert_eq!(admit(&mut flows, QoS::AtMostOnce, "0"), Admitted::YourTurn);
    let (zero, _) = flows.next().expect("QoS 0 passes");
    assert_eq!(zero.message.topic(), "0");
    assert!(flows.next().is_none());
    flows.settle(first, 2, None).expect("done");
    assert!(flows.take_turn(), "the place in the window is free");
    assert_eq!(flows.next().expect("the second").0.message.topic(), "2");
}

#[test]
fn a_message_put_back_keeps_its_flow_and_its_place() {
    let mut flows = running(8, 8, 1);
    admit(&mut flows, QoS::AtLeastOnce, "1");
    admit(&mut flows, QoS::AtLeastOnce, "2");
    let (held, key) = flows.next().expect("the first");
    assert!(!flows.put_back(held));
    assert!(!flows.take_turn(), "nothing is sent while a target has no room");
    flows.unblock();
    assert!(flows.take_turn());
    let (again, same) = flows.next().expect("the first again");
    assert_eq!((again.message.topic(), same), ("1", key));
    assert!(flows.put_back(again), "it is stuck");
    flows.unblock();
    assert!(flows.take_turn());
    flows.next().expect("the first once more");
    flows.sent();
    let (held, _) = flows.next().expect("the second");
    assert!(!flows.put_back(held), "progress was made in between");
    assert_eq!(flows.held(), 2);
}

#[test]
fn qos0_beyond_its_queue_is_dropped_and_counted() {
    let mut flows = running(8, 2, 1);
    admit(&mut flows, QoS::AtMostOnce, "1");
    let (_, key) = flows.next().expect("the first");
    admit(&mut flows, QoS::AtMostOnce, "2");
    let dropped = Admitted::Dropped(ForwardDrop::QueueFull);
    assert_eq!(admit(&mut flows, QoS::AtMostOnce, "3"), dropped);
    flows.settle(key, 2, None).expect("done");
    assert_ne!(admit(&mut flows, QoS::AtMostOnce, "4"), dropped);
    let metrics = flows.counts.snapshot();
    assert_eq!((metrics.received, metrics.dropped, metrics.in_flight), (4, 1, 2));
}

#[test]
fn a_stopped_forwarder_gives_messages_back_and_settles_flows() {
    let mut flows = running(8, 8, 1);
    admit(&mut flows, QoS::AtLeastOnce, "1");
    let (_, key) = flows.next().expect("the first");
    admit(&mut flows, QoS::AtLeastOnce, "2");
    flows.set_phase(Phase::Stopped);
    assert!(flows.next().is_none());
    assert!(flows.admit(held(QoS::AtLeastOnce, "3")).is_err());
    let done = flows.settle(key, 2, Some(ForwardDrop::Refused)).expect("done");
    assert_eq!((done.failure, done.was_last), (Some(ForwardDrop::Refused), false));
    flows.set_phase(Phase::Running);
    assert!(flows.take_turn(), "what waited goes on");
}

#[test]
fn what_was_parked_comes_back_once_whatever_its_level() {
    let mut flows = running(1, 8, 1);
    for qos in [QoS::AtMostOnce, QoS::AtMostOnce, QoS::AtLeastOnce] {
        let parked = Held { parked: true, ..held(qos, "a") };
        assert!(flows.admit(parked).is_ok());
    }
    let released = flows.waiting_qos0().map(|held| std::mem::take(&mut held.parked));
    assert_eq!(released.collect::<Vec<_>>(), [true, true]);
    assert!(flows.admit(Held { parked: true, ..held(QoS::AtMostOnce, "b") }).is_ok());
    assert_eq!(flows.clear().len(), 2, "one of each level");
}

#[test]
fn a_message_that_comes_back_after_the_end_is_not_sent() {
    let mut flows = running(1, 8, 1);
    admit(&mut flows, QoS::AtMostOnce, "a");
    let (sending, _) = flows.next().expect("the message");
    assert!(flows.clear().is_empty());
    flows.put_back(sending);
    flows.unblock();
    assert!(!flows.take_turn());
}

use std::sync::Arc;
use std::time::Instant;

use mqttx_proto::packet::Publish;
use mqttx_proto::{PacketId, PropertiesRef};

use super::super::rate::RateLimit;
use super::super::scratch::Body;
use super::*;
use crate::message::Message;
use crate::router::{InboundMeta, Origin};

fn message(qos: QoS, topic: &str) -> Message {
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
    Message::new(&publish, &inbound, &origin)
}

fn running(window: usize, qos0_queue: usize, required: usize) -> Flows {
    let mut flows = Flows::new(window, qos0_queue, required);
    flows.set_phase(Phase::Running);
    flows
}

/// A message arrives; `turn`: the caller has it. One that waits counts `parked` bytes on its source.
fn arrive(flows: &mut Flows, qos: QoS, topic: &str, turn: bool, parked: usize) -> Admitted {
    let admitted = flows.admit(Arrived { source: 3, qos, due: Due::Nothing, topic }, turn);
    if let Admitted::Wait(key) = admitted {
        let new = Sending::new(key, Body::Own(message(qos, topic)), 3, 0, qos);
        flows.wait(Sending { started: false, parked, ..new });
    }
    admitted
}

/// A message arrives while somebody else has the turn: it waits, if it is taken.
fn admit(flows: &mut Flows, qos: QoS, topic: &str) -> Admitted {
    arrive(flows, qos, topic, false, 0)
}

/// A message arrives at the holder of the turn, and is to be sent.
#[track_caller]
fn go(flows: &mut Flows, qos: QoS, topic: &str) -> FlowKey {
    match arrive(flows, qos, topic, true, 0) {
        Admitted::Go(key) => key,
        other => panic!("{other:?}"),
    }
}

fn waits(admitted: Admitted) -> bool {
    matches!(admitted, Admitted::Wait(_))
}

/// What is to be sent next, for the holder of the turn.
fn lot(flows: &mut Flows, most: usize) -> Vec<Sending> {
    let mut lot = Vec::new();
    flows.next_lot(most, &mut lot);
    lot
}

fn topics(lot: &[Sending]) -> Vec<String> {
    let topics = lot.iter().map(|s| s.body.publish(None).expect("its own").topic.to_owned());
    topics.collect()
}

#[test]
fn a_flow_is_done_when_all_its_parts_are() {
    let mut flows = running(8, 8, 2);
    assert!(flows.begin());
    let key = go(&mut flows, QoS::AtLeastOnce, "a/b");
    assert!(flows.settle(key, 1, None).is_none(), "a target is faster than the sending");
    assert!(flows.settle(key, 1, None).is_none());
    let done = flows.settle(key, 1, None).expect("the last part");
    assert_eq!((done.source, done.failure, flows.topic(key)), (3, None, "a/b"));
    assert!(flows.settle(key, 1, None).is_none(), "a finished flow is gone");
    assert_eq!((flows.held(), flows.counts.snapshot().forwarded), (0, 1));
}

#[test]
fn one_caller_at_a_time_has_the_turn() {
    let mut flows = running(8, 8, 1);
    assert!(flows.begin());
    assert!(!flows.begin());
    for topic in ["1", "2", "3"] {
        assert!(waits(admit(&mut flows, QoS::AtLeastOnce, topic)));
    }
    assert!(!flows.take_turn());
    let (first, second) = (lot(&mut flows, 2), lot(&mut flows, 2));
    assert_eq!((topics(&first), topics(&second)), (vec!["1".into(), "2".into()], vec!["3".into()]));
    assert!(!flows.begin(), "the turn ends when nothing is left");
    assert!(lot(&mut flows, 2).is_empty());
    assert!(flows.begin());
    go(&mut flows, QoS::AtLeastOnce, "4");
}

#[test]
fn nothing_overtakes_what_waits() {
    let mut flows = running(8, 64, 1);
    for qos in [QoS::AtLeastOnce, QoS::AtMostOnce] {
        assert!(waits(admit(&mut flows, qos, "1")));
        assert!(flows.begin());
        assert!(waits(arrive(&mut flows, qos, "2", true, 0)));
        assert_eq!(topics(&lot(&mut flows, 8)), ["1", "2"]);
        assert!(lot(&mut flows, 8).is_empty());
    }
}

#[test]
fn the_window_holds_qos1_and_lets_qos0_pass() {
    let mut flows = running(1, 8, 1);
    assert!(flows.begin());
    let first = go(&mut flows, QoS::AtLeastOnce, "1");
    assert!(waits(arrive(&mut flows, QoS::AtLeastOnce, "2", true, 0)));
    go(&mut flows, QoS::AtMostOnce, "0");
    assert!(lot(&mut flows, 8).is_empty());
    flows.settle(first, 2, None).expect("done");
    assert!(flows.take_turn(), "the place in the window is free");
    assert_eq!(topics(&lot(&mut flows, 8)), ["2"]);
}

#[test]
fn messages_put_back_keep_their_flows_and_their_places() {
    let mut flows = running(8, 8, 1);
    for topic in ["1", "2", "3"] {
        admit(&mut flows, QoS::AtLeastOnce, topic);
    }
    assert!(flows.take_turn());
    let mut sending = lot(&mut flows, 2);
    let keys: Vec<_> = sending.iter().map(|s| s.key).collect();
    while let Some(last) = sending.pop() {
        flows.put_back(last);
    }
    assert!(!flows.block());
    assert!(!flows.take_turn() && !flows.begin(), "nothing is sent while a target has no room");
    flows.unblock();
    assert!(flows.take_turn());
    let mut again = lot(&mut flows, 8);
    assert_eq!(topics(&again), ["1", "2", "3"]);
    assert_eq!(again.iter().map(|s| s.key).take(2).collect::<Vec<_>>(), keys);
    flows.put_back(again.pop().expect("the third"));
    assert!(flows.block(), "it is stuck");
    flows.unblock();
    assert!(flows.take_turn());
    let third = lot(&mut flows, 8).pop().expect("the third once more");
    flows.sent();
    flows.put_back(third);
    assert!(!flows.block(), "progress was made in between");
    assert_eq!(flows.held(), 3);
}

#[test]
fn qos0_beyond_its_queue_is_dropped_and_counted() {
    let mut flows = running(8, 2, 1);
    admit(&mut flows, QoS::AtMostOnce, "1");
    assert!(flows.take_turn());
    let key = lot(&mut flows, 8)[0].key;
    admit(&mut flows, QoS::AtMostOnce, "2");
    let dropped = Admitted::Dropped(ForwardDrop::QueueFull);
    assert_eq!(admit(&mut flows, QoS::AtMostOnce, "3"), dropped);
    flows.settle(key, 2, None).expect("done");
    assert_ne!(admit(&mut flows, QoS::AtMostOnce, "4"), dropped);
    let metrics = flows.counts.snapshot();
    assert_eq!((metrics.received, metrics.dropped, metrics.in_flight), (4, 1, 2));
}

#[test]
fn a_stopped_forwarder_keeps_what_it_owes_and_settles_flows() {
    let mut flows = running(8, 8, 1);
    admit(&mut flows, QoS::AtLeastOnce, "1");
    assert!(flows.take_turn());
    let first = lot(&mut flows, 1)[0].key;
    admit(&mut flows, QoS::AtLeastOnce, "2");
    flows.set_phase(Phase::Stopped);
    assert!(lot(&mut flows, 8).is_empty());
    assert!(!flows.begin());
    assert!(waits(admit(&mut flows, QoS::AtLeastOnce, "3")));
    assert_eq!(admit(&mut flows, QoS::AtMostOnce, "0"), Admitted::Refused);
    let done = flows.settle(first, 2, Some(ForwardDrop::Refused)).expect("done");
    assert_eq!((done.failure, flows.held()), (Some(ForwardDrop::Refused), 2));
    flows.set_phase(Phase::Running);
    assert!(flows.take_turn(), "what waited goes on");
    assert_eq!(topics(&lot(&mut flows, 8)), ["2", "3"]);
}

#[test]
fn what_was_parked_comes_back_once_whatever_its_level() {
    let mut flows = running(1, 8, 1);
    for qos in [QoS::AtMostOnce, QoS::AtMostOnce, QoS::AtLeastOnce] {
        assert!(waits(arrive(&mut flows, qos, "a", false, 5)));
    }
    let released = flows.waiting_qos0().map(|held| std::mem::take(&mut held.parked));
    assert_eq!(released.collect::<Vec<_>>(), [5, 5]);
    assert!(waits(arrive(&mut flows, QoS::AtMostOnce, "b", false, 5)));
    assert_eq!(flows.clear().len(), 2, "one of each level");
}

#[test]
fn a_forwarder_that_is_gone_takes_and_sends_nothing_more() {
    let mut flows = running(1, 8, 1);
    admit(&mut flows, QoS::AtMostOnce, "a");
    assert!(flows.take_turn());
    let sending = lot(&mut flows, 8).pop().expect("the message");
    assert!(flows.clear().is_empty());
    flows.put_back(sending);
    flows.block();
    flows.unblock();
    flows.set_phase(Phase::Running);
    assert!(!flows.take_turn() && !flows.begin());
    assert_eq!(admit(&mut flows, QoS::AtLeastOnce, "b"), Admitted::Refused);
}

#[test]
fn memory_is_given_back_only_when_nothing_is_under_way() {
    let mut flows = running(8, 8, 1);
    assert!(flows.begin());
    let key = go(&mut flows, QoS::AtLeastOnce, "a");
    flows.shrink();
    assert!(flows.settle(key, 2, None).is_some());
    flows.shrink();
    assert_eq!(flows.flows.capacity() + flows.free.capacity(), 0);
}

/// With two required targets, and the dead letters behind them.
fn with_letters() -> Flows {
    let mut flows = Flows::new(8, 8, 2).keeping(false, Some(2));
    flows.set_phase(Phase::Running);
    flows
}

/// A message is sent, and kept.
fn go_kept(flows: &mut Flows, topic: &str) -> FlowKey {
    assert!(flows.begin());
    let key = go(flows, QoS::AtLeastOnce, topic);
    flows.keep(key, &message(QoS::AtLeastOnce, topic), 0, QoS::AtLeastOnce);
    assert!(lot(flows, 8).is_empty());
    key
}

#[test]
fn a_refused_message_becomes_a_dead_letter_when_all_targets_are_through() {
    let mut flows = with_letters();
    let key = go_kept(&mut flows, "a");
    flows.explain(key, || "no".into());
    assert!(flows.settle(key, 1, Some(ForwardDrop::Refused)).is_none());
    assert!(!flows.take_turn(), "the other target is not through");
    assert!(flows.settle(key, 2, None).is_none());
    assert!(flows.take_turn());
    let letter = lot(&mut flows, 8).pop().expect("the letter");
    assert_eq!((letter.key, letter.next_target), (key, 2));
    let text = letter.extra.and_then(|extra| extra.letter).expect("a letter").text;
    assert_eq!(&*text, "no");
    assert!(flows.settle(key, 1, None).is_none());
    let done = flows.settle(key, 1, None).expect("the letter is acknowledged");
    let counts = flows.counts.snapshot();
    assert_eq!((done.failure, counts.dead_lettered, counts.in_flight), (None, 1, 0));
}

#[test]
fn what_the_dead_letters_refuse_is_dropped_for_its_first_reason() {
    let mut flows = with_letters();
    let key = go_kept(&mut flows, "a");
    assert!(flows.settle(key, 3, Some(ForwardDrop::TooLarge)).is_none());
    let done = flows.settle(key, 2, Some(ForwardDrop::Refused)).expect("done");
    assert_eq!(done.failure, Some(ForwardDrop::TooLarge));
    let counts = flows.counts.snapshot();
    assert_eq!(counts.dropped_by_reason, [(ForwardDrop::TooLarge, 1)]);
    assert_eq!((counts.dead_lettered, counts.in_flight), (0, 0));
}

#[test]
fn only_what_is_bad_for_ever_is_a_dead_letter() {
    let mut flows = with_letters();
    for reason in [ForwardDrop::Expired, ForwardDrop::ConnectionLost, ForwardDrop::TargetRemoved] {
        let key = go_kept(&mut flows, "a");
        let done = flows.settle(key, 3, Some(reason)).expect("done");
        assert_eq!(done.failure, Some(reason));
    }
    assert_eq!(flows.counts.snapshot().dropped, 3);
}

#[test]
fn a_message_that_one_target_never_had_stays_with_its_server_whatever_the_others_said() {
    let mut flows = with_letters();
    let key = go_kept(&mut flows, "a");
    assert!(flows.settle(key, 1, Some(ForwardDrop::Refused)).is_none());
    let done = flows.settle(key, 2, Some(ForwardDrop::TargetRemoved)).expect("no dead letter");
    assert_eq!(done.failure, Some(ForwardDrop::TargetRemoved));
    let key = go_kept(&mut flows, "b");
    assert!(flows.settle(key, 1, Some(ForwardDrop::TargetRemoved)).is_none());
    let done = flows.settle(key, 2, Some(ForwardDrop::Refused)).expect("no dead letter");
    assert_eq!(done.failure, Some(ForwardDrop::TargetRemoved));
}

#[test]
fn what_a_target_has_is_sent_to_it_again_in_order_and_nothing_else() {
    let mut flows = Flows::new(8, 8, 2).keeping(true, None);
    flows.set_phase(Phase::Running);
    let keys: Vec<_> = ["1", "2", "3"].map(|topic| go_kept(&mut flows, topic)).to_vec();
    for key in &keys {
        flows.handed(*key, 0b11);
        assert!(flows.settle(*key, 1, None).is_none(), "the sending");
    }
    // The first target is through with the second message.
    flows.finished_by(keys[1], 0);
    assert!(flows.settle(keys[1], 1, None).is_none());
    assert!(flows.seize_turn() && !flows.seize_turn());
    flows.send_again(0);
    let again = lot(&mut flows, 8);
    assert_eq!(topics(&again), ["1", "3"]);
    assert!(again.iter().all(|s| s.is_for(0, false) && !s.is_for(1, false) && !s.is_for(2, true)));
    for (key, expected) in [(keys[0], 1), (keys[2], 2)] {
        flows.handed(key, 0b01);
        assert!(flows.settle(key, 1, None).is_none(), "the sending, again");
        assert!(flows.settle(key, 1, None).is_none(), "one target");
        assert!(flows.settle(key, 1, None).is_some(), "the other");
        assert_eq!(flows.counts.snapshot().forwarded, expected);
    }
}

#[test]
fn a_target_that_is_late_with_a_finished_message_finishes_no_other() {
    // The second target is not required.
    let mut flows = Flows::new(8, 8, 1).keeping(true, None);
    flows.set_phase(Phase::Running);
    let finish = |flows: &mut Flows, topic| {
        let key = go_kept(flows, topic);
        flows.handed(key, 0b11);
        assert!(flows.settle(key, 1, None).is_none(), "the sending");
        flows.finished_by(key, 0);
        assert!(flows.settle(key, 1, None).is_some(), "the required target");
        key
    };
    let late = finish(&mut flows, "1");
    let next = go_kept(&mut flows, "2");
    assert_ne!(next, late);
    flows.handed(next, 0b11);
    flows.shrink();
    flows.finished_by(late, 1);
    flows.finished_by(late, 1);
    assert!(flows.seize_turn());
    flows.send_again(1);
    assert_eq!(topics(&lot(&mut flows, 8)), ["2"], "it is not finished");
    assert!(lot(&mut flows, 8).is_empty());
    assert_eq!(go_kept(&mut flows, "3"), late, "nobody is late any more");
    // What a session has that had to give way is waited for no longer.
    let late = finish(&mut flows, "4");
    flows.send_again(1);
    assert_eq!(go_kept(&mut flows, "5"), late);
    assert_eq!(flows.lingering, 0);
}

#[test]
fn other_rules_with_the_same_limit_do_not_begin_with_a_full_bucket() {
    let limit = RateLimit::messages(1, std::time::Duration::from_secs(3600));
    let paced = |limit| {
        let mut flows = Flows::new(8, 8, 1).paced(Some(limit));
        flows.set_phase(Phase::Running);
        flows
    };
    let mut before = paced(limit);
    assert!(before.begin() && waits(arrive(&mut before, QoS::AtLeastOnce, "1", true, 0)));
    assert_eq!(lot(&mut before, 8).len(), 1);
    for (new, goes) in [(limit, 0), (limit.bytes(9), 1)] {
        let mut flows = paced(new);
        flows.go_on_with(before.pace());
        assert!(flows.begin() && waits(arrive(&mut flows, QoS::AtLeastOnce, "2", true, 0)));
        assert_eq!(lot(&mut flows, 8).len(), goes);
    }
}

#[test]
fn what_is_paced_waits_and_one_caller_minds_the_time() {
    let limit = RateLimit::messages(1, std::time::Duration::from_secs(3600));
    let mut flows = Flows::new(8, 8, 1).paced(Some(limit));
    flows.set_phase(Phase::Running);
    assert!(flows.begin());
    for topic in ["1", "2"] {
        assert!(waits(arrive(&mut flows, QoS::AtLeastOnce, topic, true, 0)));
    }
    assert_eq!(topics(&lot(&mut flows, 8)), ["1"]);
    assert!(lot(&mut flows, 8).is_empty());
    assert!(flows.pace_timer().is_some());
    assert!(flows.pace_timer().is_none(), "somebody waits for it");
    assert!(!flows.take_turn());
    flows.resume_pace();
    assert!(flows.take_turn(), "it is asked again");
    assert!(lot(&mut flows, 8).is_empty());
    assert!(flows.pace_timer().is_some());
    assert_eq!(flows.held(), 2);
}

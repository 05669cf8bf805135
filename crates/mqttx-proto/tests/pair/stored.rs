//! What a store changes: durable before wire, a new life with what was kept, and an outbox larger than memory.

use std::time::Duration;

use mqttx_proto::{
    Clock, Config, DropReason, Event, FetchRequest, OutboxLimits, Outcome, PacketId, Phase,
    Priority, Properties, PropertiesRef, Property, PublishError, QoS, Record, RecordBatch,
    Sequence, Session, StoredLane, Version,
};

use super::wire::{V5, V311, Wire, config, ok, props, resumed};

const NOON: u64 = 1_800_000_000_000;

fn journaled(version: Version) -> Config {
    let mut config = config(version);
    config.journal = true;
    config
}

impl Wire {
    /// What the store is given now.
    fn take(&mut self) -> RecordBatch {
        let mut batch = RecordBatch::new();
        self.session.poll_store(&mut batch);
        batch
    }

    /// Everything so far is written and synced.
    fn store_all(&mut self) -> RecordBatch {
        let mut batch = RecordBatch::new();
        let last = self.session.poll_store(&mut batch);
        self.session.handle_stored(self.now, last, last);
        batch
    }

    /// The process is killed and begins again with these records.
    fn restart(&mut self, records: &RecordBatch) {
        self.restart_with(records, &Default::default());
    }

    fn restart_with(&mut self, records: &RecordBatch, lanes: &[StoredLane; Priority::COUNT]) {
        let config = self.session.config().clone();
        self.session = Session::new(config);
        self.session.restore_state(self.now, records, lanes);
    }

    /// A connection of a session that the store knows: CONNECT waits for its record.
    fn reconnect_stored(&mut self, connack: &str) {
        self.session.handle_disconnected();
        self.session.handle_connected(self.now, 0);
        self.store_all();
        self.sent();
        self.receive(connack);
    }
}

fn names(batch: &RecordBatch) -> Vec<&'static str> {
    batch.iter().map(|record| record.unwrap().name()).collect()
}

#[test]
fn qos1_waits_for_written_and_qos2_for_synced() {
    let mut wire = Wire::online(journaled(V5), ok(V5));
    wire.store_all();
    wire.publish(QoS::AtLeastOnce, "a", 1).unwrap();
    wire.publish(QoS::ExactlyOnce, "b", 2).unwrap();
    wire.expect("");
    // Epoch, then Enqueue and Assign of both.
    assert_eq!(names(&wire.take()), ["enqueue", "assign", "enqueue", "assign"]);
    wire.session.handle_stored(wire.now, 5, 1);
    wire.expect("32 { <t> 0001 00 'a' }");
    wire.session.handle_stored(wire.now, 5, 4);
    wire.expect("");
    wire.session.handle_stored(wire.now, 5, 5);
    wire.expect("34 { <t> 0002 00 'b' }");
    wire.receive("50 02 00 02");
    wire.expect("");
    wire.store_all();
    wire.expect("62 02 00 02");
}

#[test]
fn qos0_and_pings_do_not_wait_for_the_store() {
    let mut config = journaled(V311);
    config.journal_limit = 1;
    let mut wire = Wire::online(config, ok(V311));
    wire.publish(QoS::AtMostOnce, "now", 1).unwrap();
    wire.expect("30 { <t> 'now' }");
    wire.wait(60);
    wire.expect("c0 00");
    let refused = wire.publish(QoS::AtLeastOnce, "later", 2);
    assert_eq!(refused, Err(PublishError::OutboxFull), "the store is behind");
    wire.store_all();
    wire.publish(QoS::AtLeastOnce, "later", 2).unwrap();
}

#[test]
fn a_new_life_sends_again_with_the_same_ids_in_the_order_of_sending() {
    for version in [V311, V5] {
        let mut wire = Wire::online(journaled(version), ok(version));
        let mut log = wire.store_all();
        for payload in ["a", "b", "c"] {
            wire.publish(QoS::ExactlyOnce, payload, 1).unwrap();
        }
        log.append(&mut wire.store_all());
        wire.receive("50 02 00 02");
        log.append(&mut wire.store_all());
        wire.restart(&log);
        wire.reconnect_stored(resumed(version));
        let empty = props(version);
        wire.expect(&format!(
            "3c {{ <t> 0001 {empty} 'a' }} 62 02 00 02 3c {{ <t> 0003 {empty} 'c' }}"
        ));
    }
}

/// As a store gives them back that leaves none out.
#[test]
fn what_was_requeued_hides_no_other_message_from_the_records_behind_it() {
    for version in [V311, V5] {
        let mut wire = Wire::online(journaled(version), ok(version));
        let mut log = wire.store_all();
        for payload in ["z", "y"] {
            wire.publish(QoS::ExactlyOnce, payload, 1).unwrap();
        }
        log.append(&mut wire.store_all());
        let [z, y] = [0, 1].map(|number| Sequence::new(Priority::LOWEST, number));
        let id = PacketId::new(2).unwrap();
        for record in [
            Record::Requeue { sequence: y },
            Record::Assign { sequence: y, id, order: 2 },
            Record::Requeue { sequence: y },
            Record::Release { sequence: z },
        ] {
            log.push(&record);
        }
        wire.restart(&log);
        wire.reconnect_stored(resumed(version));
        wire.store_all();
        wire.expect(&format!("62 02 00 01 34 {{ <t> 0003 {} 'y' }}", props(version)));
    }
}

#[test]
fn a_new_life_without_a_session_at_the_server_sends_everything_as_new_and_in_order() {
    let mut wire = Wire::online(journaled(V311), ok(V311));
    let mut log = wire.store_all();
    for payload in ["a", "b"] {
        wire.publish(QoS::ExactlyOnce, payload, 1).unwrap();
    }
    log.append(&mut wire.store_all());
    wire.receive("50 02 00 01");
    log.append(&mut wire.store_all());
    wire.restart(&log);
    wire.publish(QoS::ExactlyOnce, "c", 1).unwrap();
    wire.reconnect_stored(ok(V311));
    wire.store_all();
    wire.expect("34 { <t> 0003 'a' } 34 { <t> 0004 'b' } 34 { <t> 0005 'c' }");
}

#[test]
fn a_higher_priority_goes_first_among_those_that_wait() {
    let mut config = config(V311);
    config.max_in_flight = 2;
    let mut wire = Wire::online(config, ok(V311));
    let priority = |n| Priority::new(n).unwrap();
    for (n, payload) in [(0, "a"), (0, "b"), (0, "c"), (2, "d"), (3, "e"), (2, "f")] {
        let none = PropertiesRef::EMPTY;
        wire.publish_at(priority(n), QoS::AtLeastOnce, payload, 1, none).unwrap();
    }
    wire.expect("32 { <t> 0001 'a' } 32 { <t> 0002 'b' }");
    wire.receive("40 02 00 01");
    wire.expect("32 { <t> 0003 'e' }");
    wire.receive("40 02 00 02 40 02 00 03");
    wire.expect("32 { <t> 0004 'd' } 32 { <t> 0005 'f' }");
    // What was sent keeps its order when it is sent again, whatever its priority.
    wire.reconnect(resumed(V311));
    wire.expect("3a { <t> 0004 'd' } 3a { <t> 0005 'f' }");
    wire.receive("40 02 00 04");
    wire.expect("32 { <t> 0006 'c' }");
}

#[test]
fn the_order_of_sending_survives_whatever_the_priorities() {
    let mut wire = Wire::online(journaled(V311), ok(V311));
    let mut log = wire.store_all();
    for (n, payload) in [(0, "a"), (3, "b"), (1, "c")] {
        let priority = Priority::new(n).unwrap();
        let none = PropertiesRef::EMPTY;
        wire.publish_at(priority, QoS::AtLeastOnce, payload, 1, none).unwrap();
    }
    log.append(&mut wire.store_all());
    wire.restart(&log);
    wire.reconnect_stored(resumed(V311));
    wire.expect("3a { <t> 0001 'a' } 3a { <t> 0002 'b' } 3a { <t> 0003 'c' }");
}

#[test]
fn message_expiry_counts_down_while_the_process_is_away() {
    let mut config = journaled(V5);
    let mut wire = Wire::offline(config.clone());
    config.clock = Some(Clock::new(wire.now, NOON));
    wire = Wire { session: Session::new(config.clone()), ..wire };
    let mut properties = Properties::new();
    properties.push(Property::MessageExpiryInterval(100)).unwrap();
    wire.publish_with(QoS::AtLeastOnce, "long", 1, properties.as_ref()).unwrap();
    let mut short = Properties::new();
    short.push(Property::MessageExpiryInterval(10)).unwrap();
    wire.publish_with(QoS::AtLeastOnce, "short", 1, short.as_ref()).unwrap();
    let log = wire.store_all();
    // Another process, whose clock begins anew, 40 seconds later.
    config.clock = Some(Clock::new(wire.now, NOON + 40_000));
    wire.session = Session::new(config);
    wire.session.restore_state(wire.now, &log, &Default::default());
    wire.reconnect_stored(ok(V5));
    wire.store_all();
    wire.expect("32 { <t> 0001 05 02 0000003c 'long' }");
    let dropped =
        |e: &Event| matches!(e, Event::MessageDropped { reason: DropReason::Expired, count: 1 });
    assert!(wire.events().iter().any(dropped));
}

#[test]
fn filters_that_the_store_knows_as_granted_are_not_asked_for_in_a_kept_session() {
    for version in [V311, V5] {
        let mut wire = Wire::online(journaled(version), ok(version));
        let mut log = wire.store_all();
        wire.subscribe(&["a", "b"], 1);
        wire.sent();
        let codes = if version == V5 { "90 05 00 01 00 01 01" } else { "90 04 00 01 01 01" };
        wire.receive(codes);
        log.append(&mut wire.store_all());
        assert!(matches!(wire.outcome(1), Some(Outcome::Subscribed(_))));
        wire.restart(&log);
        // As a program does that knows nothing of its earlier life.
        wire.subscribe(&["a", "b"], 2);
        wire.reconnect_stored(resumed(version));
        wire.expect("");
        wire.store_all();
        assert!(matches!(wire.outcome(2), Some(Outcome::Subscribed(codes)) if codes.len() == 2));
        // Asked for a second time, or in another way, the server is asked.
        wire.subscribe(&["a"], 3);
        assert!(!wire.sent().is_empty());
    }
}

#[test]
fn a_connect_without_an_answer_on_record_makes_the_filters_doubtful() {
    let mut wire = Wire::online(journaled(V311), ok(V311));
    let mut log = wire.store_all();
    wire.subscribe(&["a"], 1);
    wire.sent();
    wire.receive("90 03 00 01 01");
    log.append(&mut wire.store_all());
    wire.restart(&log);
    wire.session.handle_connected(wire.now, 0);
    let mut connecting = wire.take();
    assert_eq!(names(&connecting), ["connecting"]);
    wire.expect("");
    assert!(!wire.session.has_transmit(), "CONNECT waits for its record");
    wire.session.handle_stored(wire.now, 1, 1);
    assert_eq!(wire.sent()[0], 0x10);
    log.append(&mut connecting);
    // Killed before CONNACK: the server may have begun a session without filters.
    wire.restart(&log);
    wire.reconnect_stored(resumed(V311));
    wire.expect("82 { 0001 <a> 01 }");
    let before = wire.store_all();
    assert!(!names(&before).contains(&"resumed"), "not before the filters are granted");
    wire.receive("90 03 00 01 01");
    assert_eq!(names(&wire.store_all()), ["granted", "resumed"]);
}

#[test]
fn in_a_doubtful_session_a_new_message_with_a_known_id_is_delivered() {
    let mut wire = Wire::online(journaled(V311), ok(V311));
    let mut log = wire.store_all();
    wire.receive("34 { <t> 0007 'old' }");
    wire.session.ack(wire.tickets.remove(0));
    log.append(&mut wire.store_all());
    log.push(&Record::Connecting);
    for (first, delivered) in [("3c { <t> 0007 'old' }", 1), ("34 { <t> 0007 'new' }", 2)] {
        wire.restart(&log);
        wire.reconnect_stored(resumed(V311));
        wire.receive(first);
        assert_eq!(wire.delivered.len(), delivered, "{first}");
    }
}

#[test]
fn a_refusal_that_nobody_waits_for_is_an_event() {
    let mut wire = Wire::online(config(V5), ok(V5));
    wire.publish(QoS::AtLeastOnce, "x", 0).unwrap();
    wire.sent();
    wire.events();
    wire.receive("40 03 00 01 97");
    let events = wire.events();
    let [Event::MessageRefused { topic, reason, .. }] = events.as_slice() else {
        panic!("{events:?}")
    };
    assert_eq!((topic.as_str(), reason.value()), ("t", 0x97));
}

fn spilling(messages: usize) -> Config {
    let mut config = journaled(V311);
    config.spill = Some(OutboxLimits { messages, bytes: 1 << 20 });
    config.max_in_flight = 1;
    config
}

fn enqueues(batch: &RecordBatch) -> Vec<Vec<u8>> {
    let is_enqueue = |raw: &&[u8]| matches!(Record::decode(raw), Ok(Record::Enqueue { .. }));
    batch.iter().raw().filter(is_enqueue).map(<[u8]>::to_vec).collect()
}

#[test]
fn beyond_the_window_messages_are_in_the_store_only_and_come_back_in_order() {
    let mut wire = Wire::offline(spilling(2));
    for n in 0..5_u64 {
        wire.publish(QoS::AtLeastOnce, &n.to_string(), n + 1).unwrap();
    }
    let status = wire.session.outbox();
    assert_eq!((status.messages, status.spilled), (5, 3));
    assert_eq!(wire.session.poll_fetch(), None, "not while there is no connection");
    let records = enqueues(&wire.store_all());
    wire.reconnect_stored(ok(V311));
    wire.store_all();
    wire.expect("32 { <t> 0001 '0' }");
    let wanted = wire.session.poll_fetch().unwrap();
    assert_eq!((wanted.priority, wanted.from), (Priority::LOWEST, 2));
    assert_eq!(wire.session.poll_fetch(), None, "one at a time");
    let mut batch = RecordBatch::new();
    records[2..].iter().for_each(|record| batch.push_raw(record));
    wire.session.handle_fetched(wire.now, wanted.priority, 5, &batch);
    assert_eq!(wire.session.outbox().spilled, 0);
    for n in 0..5_u64 {
        let id = n + 1;
        wire.receive(&format!("40 02 {id:04x}"));
        assert!(matches!(wire.outcome(id), Some(Outcome::Acknowledged { .. })), "token kept");
        wire.store_all();
        if n < 4 {
            wire.expect(&format!("32 {{ <t> {:04x} '{}' }}", id + 1, id));
        }
    }
    let status = wire.session.outbox();
    assert_eq!((status.messages, status.bytes), (0, 0));
}

#[test]
fn what_the_store_lost_is_told_to_who_waits() {
    let mut wire = Wire::offline(spilling(1));
    for n in 0..4_u64 {
        wire.publish(QoS::AtLeastOnce, "x", n + 1).unwrap();
    }
    let records = enqueues(&wire.store_all());
    wire.reconnect_stored(ok(V311));
    wire.events();
    let FetchRequest { priority, .. } = wire.session.poll_fetch().unwrap();
    let mut batch = RecordBatch::new();
    batch.push_raw(&records[2]);
    wire.session.handle_fetched(wire.now, priority, 4, &batch);
    let told = [wire.outcome(2), wire.outcome(4)];
    assert!(told.iter().all(|o| *o == Some(Outcome::Dropped(DropReason::Damaged))), "{told:?}");
    let dropped =
        |e: &Event| matches!(e, Event::MessageDropped { reason: DropReason::Damaged, count: 2 });
    assert!(wire.events().iter().any(dropped));
    assert_eq!(wire.session.unacknowledged(), 2, "the first and the third");
}

#[test]
fn a_new_life_fetches_the_backlog_behind_what_was_in_flight() {
    let mut wire = Wire::offline(spilling(2));
    let sequence = |n| Sequence::new(Priority::LOWEST, n);
    for n in 0..3 {
        wire.publish(QoS::AtLeastOnce, &n.to_string(), 0).unwrap();
    }
    let all = enqueues(&wire.store_all());
    let mut records = RecordBatch::new();
    records.push(&Record::Epoch { epoch: 1, broker: 0, client_id: "c" });
    records.push_raw(&all[0]);
    let id = mqttx_proto::PacketId::new(9).unwrap();
    records.push(&Record::Assign { sequence: sequence(0), id, order: 4 });
    let mut lanes = [StoredLane::default(); Priority::COUNT];
    lanes[0] = StoredLane { next: 1, end: 3, messages: 2, bytes: 10 };
    wire.restart_with(&records, &lanes);
    assert_eq!(wire.session.unacknowledged(), 3);
    wire.publish(QoS::AtLeastOnce, "3", 0).unwrap();
    let newest = wire.store_all();
    assert!(matches!(
        newest.iter().next(),
        Some(Ok(Record::Enqueue { sequence: s, .. })) if s == sequence(3)
    ));
    wire.reconnect_stored(resumed(V311));
    wire.expect("3a { <t> 0009 '0' }");
    let wanted = wire.session.poll_fetch().unwrap();
    assert_eq!(wanted.from, 1);
    let mut batch = RecordBatch::new();
    all[1..].iter().chain(&enqueues(&newest)).for_each(|record| batch.push_raw(record));
    wire.session.handle_fetched(wire.now, wanted.priority, 4, &batch);
    for (ack, next) in [(9, "000a '1'"), (10, "000b '2'"), (11, "000c '3'")] {
        wire.receive(&format!("40 02 {ack:04x}"));
        wire.store_all();
        wire.expect(&format!("32 {{ <t> {next} }}"));
    }
    wire.receive("40 02 000c");
    let status = wire.session.outbox();
    assert_eq!((status.messages, status.bytes, status.spilled), (0, 0, 0));
}

#[test]
fn a_failed_store_tells_everybody_and_the_next_one_begins_with_what_it_has() {
    let mut wire = Wire::online(journaled(V311), ok(V311));
    let mut log = wire.store_all();
    wire.publish(QoS::AtLeastOnce, "kept", 1).unwrap();
    log.append(&mut wire.store_all());
    wire.publish(QoS::AtLeastOnce, "unknown", 2).unwrap();
    wire.subscribe(&["a"], 3);
    wire.session.handle_store_failed();
    for token in [1, 2, 3] {
        assert_eq!(wire.outcome(token), Some(Outcome::StoreFailed));
    }
    assert_eq!(wire.session.phase(), Phase::Offline);
    wire.session.restore_state(wire.now, &log, &Default::default());
    assert_eq!(wire.session.unacknowledged(), 1);
    wire.now += Duration::from_secs(1);
    wire.reconnect_stored(resumed(V311));
    wire.expect("82 { 0002 <a> 01 } 3a { <t> 0001 'kept' }");
}

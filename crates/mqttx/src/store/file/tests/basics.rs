//! What any store owes.

use std::time::{Duration, Instant};

use mqttx_proto::{PropertiesRef, QoS, ReasonCode, Record, SubscribeOptions};

use super::super::Fsync;
use super::super::engine::Options;
use super::disk::FaultDisk;
use super::harness::*;
use crate::store::{Fetch, FoldedState};
use mqttx_proto::Priority;

fn subscribe(filter: &str) -> Record<'_> {
    let options = SubscribeOptions { qos: QoS::AtLeastOnce, ..SubscribeOptions::default() };
    Record::Subscribe { filter, options, identifier: Some(3), properties: PropertiesRef::EMPTY }
}

#[test]
fn the_state_comes_back_after_a_close_and_after_a_kill() {
    let disk = FaultDisk::default();
    let engine = start(&disk, options(256 << 10));
    let mut client = open(&engine, "plant");
    assert!(client.records.is_empty() && client.notices.is_empty());
    let records = [
        subscribe("a/#"),
        Record::Granted { filter: "a/#", code: ReasonCode::GRANTED_QOS_1 },
        Record::Epoch { epoch: 1, broker: 7, client_id: "gw" },
        message(seq(0), b"gone"),
        message(seq(1), b"in flight"),
        message(seq(2), b"queued"),
        Record::Assign { sequence: seq(0), id: id(1), order: 1 },
        Record::Assign { sequence: seq(1), id: id(2), order: 2 },
        Record::Release { sequence: seq(1) },
        Record::Done { sequence: seq(0) },
        Record::Received { id: id(9) },
    ];
    client.store(&records);
    let mut expected = FoldedState::default();
    records.iter().for_each(|record| expected.apply(record));

    let killed = start(&disk.kill(), options(256 << 10));
    let mut again = open(&killed, "plant");
    assert_eq!(again.notices, []);
    assert_eq!(shown(&again.state()), shown(&expected));
    assert_eq!(again.lanes[0].end, 3);
    assert_eq!((again.lanes[0].next, again.lanes[0].messages), (2, 1));

    drop(client);
    close(engine);
    let closed = start(&disk, options(256 << 10));
    let mut again = open(&closed, "plant");
    assert_eq!(again.notices, []);
    assert_eq!(shown(&again.state()), shown(&expected));
}

#[test]
fn messages_that_nobody_waits_for_become_durable_with_those_that_somebody_waits_for() {
    let options = Options { pace: Duration::from_secs(3600), ..options(256 << 10) };
    let engine = start(&FaultDisk::default(), options);
    let (mut a, mut b) = (open(&engine, "a"), open(&engine, "b"));
    a.store(&[message(seq(0), b"the first")]);
    a.submit(&[message(seq(1), b"no haste")]);
    a.until_written();
    assert_eq!(a.progress.synced, 1, "it waits for others");
    // A position that is only about to be submitted.
    b.hurry(2);
    b.submit(&[message(seq(0), b"no haste either"), message(seq(1), b"awaited")]);
    b.until(|b| b.progress.synced == 2);
    a.until(|a| a.progress.synced == 2);
    // What is written already.
    a.submit(&[message(seq(2), b"awaited later")]);
    a.until_written();
    assert_eq!(a.progress.synced, 2);
    a.until_synced();
    // With QoS 2 the message itself waits.
    a.submit(&[message_with(seq(3), b"twice is once too often", QoS::ExactlyOnce)]);
    a.until(|a| a.progress.synced == 4);
}

#[test]
fn messages_that_nobody_waits_for_become_durable_by_themselves() {
    let options = Options { pace: Duration::from_millis(1), ..options(256 << 10) };
    let engine = start(&FaultDisk::default(), options);
    let mut client = open(&engine, "plant");
    for number in 0..20 {
        client.submit(&[message(seq(number), b"no haste")]);
        client.until(|client| client.progress.synced == number + 1);
    }
}

#[test]
fn many_bytes_wait_for_nobody() {
    let options = Options { pace: Duration::from_secs(3600), ..options(16 << 20) };
    let engine = start(&FaultDisk::default(), options);
    let mut client = open(&engine, "plant");
    client.store(&[message(seq(0), b"the first")]);
    for number in 1..=3 {
        client.submit(&[message(seq(number), &vec![7; 1 << 20])]);
        client.until_written();
    }
    client.until(|client| client.progress.synced > 1);
}

#[test]
fn sessions_do_not_see_each_other() {
    let disk = FaultDisk::default();
    let engine = start(&disk, options(256 << 10));
    let (mut a, mut b) = (open(&engine, "a"), open(&engine, "b"));
    a.submit(&[message(seq(0), b"of a")]);
    b.store(&[message(seq(0), b"of b"), message(seq(1), b"more of b")]);
    a.until(|a| a.progress.synced == 1);
    drop((a, b));
    close(engine);
    let engine = start(&disk, options(256 << 10));
    assert_eq!(open(&engine, "a").state().messages(), 1);
    assert_eq!(open(&engine, "b").state().messages(), 2);
    assert_eq!(open(&engine, "c").state().messages(), 0);
}

#[test]
fn a_second_opening_takes_the_session_over() {
    let engine = start(&FaultDisk::default(), options(256 << 10));
    let mut first = open(&engine, "plant");
    first.store(&[message(seq(0), b"kept")]);
    let mut second = open(&engine, "plant");
    first.submit(&[message(seq(1), b"too late")]);
    let error = first.update().unwrap_err();
    assert_eq!(error.code(), "store.fenced");
    assert_eq!(second.state().messages(), 1);
    second.store(&[message(seq(1), b"of the second")]);
    assert_eq!(open(&engine, "plant").state().messages(), 2);
}

#[test]
fn a_lone_done_is_written_soon_and_forces_no_sync() {
    let disk = FaultDisk::default();
    let engine = start(&disk, options(256 << 10));
    let mut client = open(&engine, "plant");
    client.store(&[0, 1, 2].map(|number| message(seq(number), b"x")));
    let syncs = disk.syncs();
    let mut soonest = Duration::MAX;
    for number in 0..3 {
        let start = Instant::now();
        client.submit(&[Record::Done { sequence: seq(number) }]);
        client.until_written();
        soonest = soonest.min(start.elapsed());
    }
    assert!(soonest < Duration::from_millis(500), "{soonest:?}");
    assert_eq!(disk.syncs(), syncs);
    let killed = super::harness::start(&disk.kill(), options(256 << 10));
    assert_eq!(open(&killed, "plant").state().messages(), 0);
}

#[test]
fn an_id_of_qos_1_is_written_without_a_sync_and_synced_in_time() {
    let disk = FaultDisk::default();
    let engine = start(&disk, options(256 << 10));
    let mut client = open(&engine, "plant");
    client.store(&[message(seq(0), b"x")]);
    let syncs = disk.syncs();
    client.submit(&[Record::Assign { sequence: seq(0), id: id(1), order: 1 }]);
    client.until_written();
    assert_eq!(disk.syncs(), syncs);
    client.until(|client| client.progress.synced == client.submitted);
}

#[test]
fn a_fetch_sees_what_was_submitted_before_it_and_no_messages_with_ids() {
    let engine = start(&FaultDisk::default(), options(256 << 10));
    let mut client = open(&engine, "plant");
    let payloads: Vec<Vec<u8>> = (0..100u8).map(|i| vec![i; 100]).collect();
    for (i, payload) in payloads.iter().enumerate() {
        client.submit(&[message(seq(i as u64), payload)]);
    }
    client.submit(&[
        Record::Assign { sequence: seq(1), id: id(1), order: 1 },
        Record::Done { sequence: seq(2) },
    ]);
    let wanted = Fetch { priority: Priority::LOWEST, from: 0, messages: 4, bytes: 1 << 20 };
    let (records, next) = client.fetch(wanted);
    let found: Vec<u64> = records
        .iter()
        .map(|record| match record.unwrap() {
            Record::Enqueue { sequence, message } => {
                assert_eq!(message.payload, payloads[sequence.number() as usize]);
                sequence.number()
            }
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!((found, next), (vec![0, 3, 4, 5], 6));
    // At most so many bytes, but for the last message.
    let wanted = Fetch { priority: Priority::LOWEST, from: 6, messages: 50, bytes: 250 };
    let (records, next) = client.fetch(wanted);
    assert_eq!((records.len(), next), (3, 9));
    let wanted = Fetch { priority: Priority::LOWEST, from: 99, messages: 50, bytes: 1 << 20 };
    let (records, next) = client.fetch(wanted);
    assert_eq!((records.len(), next), (1, 100));
    let (records, next) = client.fetch(Fetch { from: 100, ..wanted });
    assert_eq!((records.len(), next), (0, 100));
}

#[test]
fn numbers_are_not_used_again_when_all_messages_are_gone() {
    let disk = FaultDisk::default();
    let engine = start(&disk, options(256 << 10));
    let mut client = open(&engine, "plant");
    client.store(&[message(seq(41), b"x"), Record::Done { sequence: seq(41) }]);
    drop(client);
    close(engine);
    let engine = start(&disk, options(256 << 10));
    let client = open(&engine, "plant");
    assert_eq!((client.lanes[0].next, client.lanes[0].end, client.lanes[0].messages), (42, 42, 0));
}

#[test]
fn a_record_may_be_larger_than_a_segment() {
    let disk = FaultDisk::default();
    let engine = start(&disk, options(64 << 10));
    let mut client = open(&engine, "plant");
    let large = vec![7; 3 << 20];
    client.store(&[message(seq(0), b"small"), message(seq(1), &large), message(seq(2), b"small")]);
    drop(client);
    close(engine);
    let engine = start(&disk, options(64 << 10));
    let mut client = open(&engine, "plant");
    assert_eq!(client.notices, []);
    let all = client.fetch_all();
    assert_eq!(all.len(), 3);
    let Some(Ok(Record::Enqueue { message, .. })) = all.iter().nth(1) else { panic!() };
    assert_eq!(message.payload, large);
}

#[test]
fn without_group_commit_written_is_all_that_is_promised() {
    for fsync in [Fsync::Os, Fsync::Interval(Duration::from_secs(3600))] {
        let disk = FaultDisk::default();
        let engine = start(&disk, super::super::engine::Options { fsync, ..options(256 << 10) });
        let mut client = open(&engine, "plant");
        client.store(&[message(seq(0), b"before the first segment is there")]);
        let syncs = disk.syncs();
        client.store(&[message(seq(1), b"x")]);
        assert_eq!(disk.syncs(), syncs);
        let killed = start(&disk.kill(), options(256 << 10));
        assert_eq!(open(&killed, "plant").state().messages(), 2);
    }
}

#[test]
fn the_interval_syncs_by_itself() {
    let disk = FaultDisk::default();
    let fsync = Fsync::Interval(Duration::from_millis(1));
    let engine = start(&disk, super::super::engine::Options { fsync, ..options(256 << 10) });
    let mut client = open(&engine, "plant");
    client.store(&[message(seq(0), b"x")]);
    let start = Instant::now();
    let survives = || {
        let crashed = super::harness::start(&disk.crash(|| false), options(256 << 10));
        open(&crashed, "plant").state().messages() == 1
    };
    while !survives() {
        assert!(start.elapsed() < Duration::from_secs(10), "never synced");
        std::thread::yield_now();
    }
}

//! The disk shrinks, and nothing comes back.

use std::time::{Duration, Instant};

use mqttx_proto::{PropertiesRef, QoS, Record, SubscribeOptions};

use super::super::engine::{Engine, Options};
use super::disk::{FaultDisk, Faults};
use super::harness::*;
use std::sync::Arc;

const SEGMENT: u64 = 32 << 10;

fn until(what: &str, done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(20), "{what}");
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

fn recycling() -> Options {
    Options { ahead: 0, ..options(SEGMENT) }
}

fn bytes(disk: &FaultDisk) -> u64 {
    disk.files().iter().map(|(_, bytes)| bytes.len() as u64).sum()
}

/// Messages come and go; every `keep`th stays.
fn churn(engine: &Arc<Engine>, client: &mut Client, numbers: std::ops::Range<u64>, keep: u64) {
    let payload = vec![3; 256];
    for number in numbers {
        client.submit(&[message(seq(number), &payload)]);
        if number % 8 == 7 {
            client.until_written();
        }
        if number % keep != 0 {
            client.submit(&[Record::Done { sequence: seq(number) }]);
        }
    }
    client.until_written();
    let _ = engine;
}

#[test]
fn finished_messages_take_no_room() {
    let disk = FaultDisk::default();
    let engine = start(&disk, options(SEGMENT));
    let mut client = open(&engine, "plant");
    let options = SubscribeOptions { qos: QoS::AtLeastOnce, ..SubscribeOptions::default() };
    let properties = PropertiesRef::EMPTY;
    client.store(&[Record::Subscribe { filter: "a", options, identifier: None, properties }]);
    churn(&engine, &mut client, 1..2000, u64::MAX);
    until("old segments stay", || bytes(&disk) <= 2 * SEGMENT);
    let killed = start(&disk.kill(), super::harness::options(SEGMENT));
    let mut again = open(&killed, "plant");
    assert_eq!(again.notices, []);
    let state = again.state();
    assert_eq!((state.messages(), state.filters(), again.lanes[0].end), (0, 1, 2000));
}

#[test]
fn stragglers_do_not_keep_segments_and_are_copied_once() {
    let disk = FaultDisk::default();
    let engine = start(&disk, options(SEGMENT));
    let mut client = open(&engine, "plant");
    let before = disk.written();
    churn(&engine, &mut client, 0..20_000, 100);
    let least = 20_000 * 320;
    until("stragglers keep their segments", || bytes(&disk) < 12 * SEGMENT);
    let written = disk.written() - before;
    assert!(written * 100 < least * 115, "{written} bytes for {least}");
    drop(client);
    close(engine);
    let engine = start(&disk, options(SEGMENT));
    let mut client = open(&engine, "plant");
    assert_eq!(client.notices, []);
    let numbers: Vec<u64> = client
        .fetch_all()
        .iter()
        .map(|record| match record.unwrap() {
            Record::Enqueue { sequence, .. } => sequence.number(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(numbers, (0..20_000).step_by(100).collect::<Vec<_>>());
}

#[test]
fn copies_of_finished_messages_do_not_come_back_after_a_kill_at_any_time() {
    let disk = FaultDisk::default();
    let engine = start(&disk, recycling());
    let mut client = open(&engine, "plant");
    let mut left: Vec<u64> = Vec::new();
    for round in 0..40u64 {
        churn(&engine, &mut client, round * 200..(round + 1) * 200, 50);
        left.extend((round * 200..(round + 1) * 200).step_by(50));
        // Stragglers finish late, when some of them were moved.
        for _ in 0..2 {
            let number = left.remove(left.len() / 3);
            client.submit(&[Record::Done { sequence: seq(number) }]);
        }
        client.until_written();
        let killed = start(&disk.kill(), recycling());
        let mut again = open(&killed, "plant");
        assert_eq!(again.notices, []);
        assert_eq!(again.state().messages(), left.len(), "round {round}");
    }
}

#[test]
fn what_was_finished_stays_finished_when_the_power_goes() {
    let mut seed = 99u64;
    let mut keeps = || {
        seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        seed >> 63 == 0
    };
    for options in [recycling(), options(SEGMENT)] {
        let disk = FaultDisk::default();
        let engine = start(&disk, options.clone());
        let mut client = open(&engine, "plant");
        let mut left: Vec<u64> = Vec::new();
        for round in 0..40u64 {
            churn(&engine, &mut client, round * 200..(round + 1) * 200, 50);
            left.extend((round * 200..(round + 1) * 200).step_by(50));
            for _ in 0..2 {
                let number = left.remove(left.len() / 3);
                client.submit(&[Record::Done { sequence: seq(number) }]);
            }
            // Something waits for this, and so all before it is durable.
            client.store(&[Record::Received { id: id(1) }]);
            for _ in 0..3 {
                let crashed = start(&disk.crash(&mut keeps), options.clone());
                let mut again = open(&crashed, "plant");
                let state = again.state();
                assert_eq!(state.messages(), left.len(), "round {round}: {:?}", again.notices);
            }
        }
    }
}

#[test]
fn stale_bytes_of_recycled_segments_are_no_records() {
    let disk = FaultDisk::default();
    let engine = start(&disk, recycling());
    let mut client = open(&engine, "plant");
    churn(&engine, &mut client, 0..3000, u64::MAX);
    until("nothing was recycled", || {
        let is_recycled = |bytes: &Vec<u8>| {
            super::super::format::SegmentHeader::decode(bytes).is_some_and(|header| header.recycled)
        };
        disk.files().iter().any(|(_, bytes)| is_recycled(bytes))
    });
    client.store(&[message(seq(3000), b"last")]);
    for _ in 0..20 {
        let killed = start(&disk.kill(), recycling());
        let mut again = open(&killed, "plant");
        assert_eq!(again.notices, []);
        assert_eq!(again.state().messages(), 1 + 1);
    }
}

#[test]
fn a_clean_close_leaves_what_is_needed() {
    let disk = FaultDisk::default();
    let engine = start(&disk, recycling());
    let mut client = open(&engine, "plant");
    churn(&engine, &mut client, 1..3000, u64::MAX);
    drop(client);
    close(engine);
    let files = disk.files();
    assert!(
        bytes(&disk) < SEGMENT,
        "{:?}",
        files.iter().map(|f| (&f.0, f.1.len())).collect::<Vec<_>>()
    );
    assert_eq!(files.len(), 1);
}

#[test]
fn a_compaction_without_room_loses_nothing() {
    let disk = FaultDisk::default();
    let engine = start(&disk, options(SEGMENT));
    let mut client = open(&engine, "plant");
    disk.set(Faults { capacity: Some(SEGMENT * 6), ..Faults::default() });
    churn(&engine, &mut client, 0..5000, 500);
    let killed = start(&disk.kill(), options(SEGMENT));
    assert_eq!(open(&killed, "plant").state().messages(), 10);
}

#[test]
fn many_sessions_with_much_state_do_not_copy_it_for_ever() {
    let disk = FaultDisk::default();
    let engine = start(&disk, Options { largest: SEGMENT * 64, ..options(SEGMENT) });
    let options = SubscribeOptions { qos: QoS::AtLeastOnce, ..SubscribeOptions::default() };
    let mut clients: Vec<_> = (0..200).map(|i| open(&engine, &format!("session-{i}"))).collect();
    let filters: Vec<String> = (0..10).map(|i| format!("some/rather/long/filter/{i}/#")).collect();
    for client in &mut clients {
        let properties = PropertiesRef::EMPTY;
        let subscribe =
            |filter| Record::Subscribe { filter, options, identifier: None, properties };
        client.submit(&filters.iter().map(|filter| subscribe(filter)).collect::<Vec<_>>());
    }
    clients.iter_mut().for_each(Client::until_written);
    let before = disk.written();
    churn(&engine, &mut clients[0], 0..5_000, u64::MAX);
    let written = disk.written() - before;
    assert!(written < 5_000 * 320 * 2, "{written}");
    drop(clients);
    close(engine);
    let engine = start(&disk, super::harness::options(SEGMENT));
    for i in 0..200 {
        assert_eq!(open(&engine, &format!("session-{i}")).state().filters(), 10, "{i}");
    }
}

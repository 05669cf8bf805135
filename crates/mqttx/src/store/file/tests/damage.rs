//! Damage costs what it hit, and is told.

use std::collections::BTreeMap;

use mqttx_proto::Record;

use super::super::disk::Access;
use super::super::recover::recover;
use super::disk::{FaultDisk, Faults};
use super::harness::*;

/// The payloads of the messages of all sessions.
type Found = BTreeMap<(String, u64), Vec<u8>>;

const SESSIONS: [&str; 2] = ["plant", "ship"];

/// A store with a few groups, and what is in it.
fn small_store(clean: bool) -> (Vec<(String, Vec<u8>)>, Found) {
    let disk = FaultDisk::default();
    let engine = start(&disk, options(64 << 10));
    let mut clients = SESSIONS.map(|name| open(&engine, name));
    for number in 0..6u64 {
        for (at, client) in clients.iter_mut().enumerate() {
            let payload = payload(at, number);
            let sequence = seq(number);
            client.store(&[message(sequence, &payload)]);
            if number == 2 {
                client.store(&[Record::Assign { sequence, id: id(5), order: 1 }]);
            }
        }
    }
    clients[0].submit(&[Record::Done { sequence: seq(0) }]);
    clients[0].until_written();
    let files = if clean {
        drop(clients);
        close(engine);
        disk.files()
    } else {
        disk.kill().files()
    };
    let mut files: Vec<_> =
        files.into_iter().filter(|(name, _)| name.ends_with(".segment")).collect();
    files.retain(|(_, bytes)| bytes.len() > 64 && bytes[64..].iter().any(|&byte| byte != 0));
    assert_eq!(files.len(), 1, "all of it is in one segment");
    let found = found(&files).0;
    assert_eq!(found.len(), 11);
    (files, found)
}

fn payload(session: usize, number: u64) -> Vec<u8> {
    let mut payload = vec![session as u8 + 1; 20 + number as usize];
    // None is the beginning of another, whatever follows it.
    payload[0] = 0xc0 + number as u8;
    payload
}

/// What a session gets to see, and what is said about damage.
fn found(files: &[(String, Vec<u8>)]) -> (Found, Vec<String>) {
    let disk = FaultDisk::with_files(files);
    let engine = start(&disk, options(64 << 10));
    let mut found = Found::new();
    let mut notices = Vec::new();
    for name in SESSIONS.iter().copied().chain(["unnamed-1", "unnamed-2"]) {
        let mut client = open(&engine, name);
        let queued = client.fetch_all();
        for record in client.records.iter().chain(queued.iter()) {
            if let Record::Enqueue { sequence, message } = record.unwrap() {
                found.insert((name.to_owned(), sequence.number()), message.payload.to_vec());
            }
        }
        notices.extend(client.notices.into_iter().map(|notice| notice.text));
    }
    (found, notices)
}

/// The offsets of the messages in the file.
fn frames(bytes: &[u8], of: &Found) -> BTreeMap<(String, u64), std::ops::Range<usize>> {
    let place = |payload: &[u8]| {
        let start = bytes.windows(payload.len()).position(|window| window == payload).unwrap();
        start - 24 - 12..start + payload.len()
    };
    of.iter().map(|(key, payload)| (key.clone(), place(payload))).collect()
}

#[test]
fn a_flipped_bit_costs_the_message_that_it_hits() {
    let (files, all) = small_store(true);
    let places = frames(&files[0].1, &all);
    for at in 0..files[0].1.len() {
        let mut files = files.clone();
        files[0].1[at] ^= 1 << (at % 8);
        let (found, notices) = found(&files);
        assert!(!notices.is_empty(), "nobody was told of the damage at {at}");
        for (key, payload) in &found {
            // A `Done` may be what was hit.
            let expected = all.get(key).cloned().unwrap_or_else(|| payload_of(key));
            assert_eq!(*payload, expected, "damaged data came back, at {at}");
        }
        for (key, place) in &places {
            if !place.contains(&at) {
                assert!(
                    found.contains_key(key),
                    "{key:?} was lost with the byte at {at}: {notices:?}, {places:?}"
                );
            }
        }
    }
}

fn payload_of((session, number): &(String, u64)) -> Vec<u8> {
    payload(SESSIONS.iter().position(|name| name == session).unwrap(), *number)
}

#[test]
fn a_shorter_file_has_the_messages_before_its_end() {
    for clean in [true, false] {
        let (files, all) = small_store(clean);
        let places = frames(&files[0].1, &all);
        let end = files[0].1.iter().rposition(|&byte| byte != 0).unwrap() + 1;
        for len in 0..end {
            let mut files = files.clone();
            files[0].1.truncate(len);
            let (found, notices) = found(&files);
            assert!(!notices.is_empty(), "nobody was told that it ends at {len}");
            for (key, payload) in &found {
                assert_eq!(*payload, payload_of(key), "damaged data came back, at {len}");
            }
            for (key, place) in &places {
                assert!(place.end > len || found.contains_key(key), "{key:?} was lost at {len}");
            }
        }
    }
}

#[test]
fn a_kill_is_no_damage() {
    let (files, all) = small_store(false);
    let (found, notices) = found(&files);
    assert_eq!((found, notices), (all, vec![]));
}

#[test]
fn garbage_is_told_and_never_panics() {
    let mut seed = 7u64;
    let mut random = || {
        seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (seed >> 33) as u8
    };
    let (files, _) = small_store(true);
    for _ in 0..300 {
        let mut bytes = files[0].1.clone();
        let (start, len) = (usize::from(random()) * 4 % bytes.len(), usize::from(random()));
        bytes.iter_mut().skip(start).take(len + 1).for_each(|byte| *byte = random());
        let disk = FaultDisk::with_files(&[(files[0].0.clone(), bytes)]);
        let recovered = recover(&disk, Access::Read, true).unwrap();
        assert!(!recovered.notices.is_empty());
    }
    let noise: Vec<u8> = (0..100_000).map(|_| random()).collect();
    let disk = FaultDisk::with_files(&[(files[0].0.clone(), noise), ("other".into(), vec![1])]);
    let recovered = recover(&disk, Access::Read, false).unwrap();
    assert!(!recovered.notices.is_empty());
}

#[test]
fn a_later_format_is_an_error_and_not_damage() {
    let (mut files, _) = small_store(true);
    let header = super::super::format::SegmentHeader {
        version: 2,
        id: super::super::segment::parse_file_name(&files[0].0).unwrap(),
        size: 0,
        cold: false,
        recycled: false,
    };
    files[0].1[..64].copy_from_slice(&header.encode());
    let error = recover(&FaultDisk::with_files(&files), Access::Read, false).unwrap_err();
    assert_eq!(error.code(), "store.version");
}

#[test]
fn damage_that_a_fetch_finds_is_told_and_costs_one_message() {
    let disk = FaultDisk::default();
    let engine = start(&disk, options(64 << 10));
    let mut client = open(&engine, "plant");
    let payloads: Vec<Vec<u8>> = (0..5).map(|i| payload(0, i)).collect();
    for (number, payload) in payloads.iter().enumerate() {
        client.store(&[message(seq(number as u64), payload)]);
    }
    disk.damage(|bytes| {
        let at = bytes.windows(22).position(|window| window == payloads[2]);
        at.into_iter().for_each(|at| bytes[at] ^= 1);
    });
    client.lanes[0].end = 5;
    assert_eq!(client.fetch_all().len(), 4);
    client.until(|client| !client.notices.is_empty());
    assert_eq!(client.notices[0].lost_records, 1);
    assert!(client.notices[0].text.contains("0.2 of session plant"), "{:?}", client.notices);
}

#[test]
fn a_bad_sector_costs_what_is_on_it() {
    let disk = FaultDisk::default();
    let engine = start(&disk, options(64 << 10));
    let mut client = open(&engine, "plant");
    let payload = vec![9; 400];
    for number in 0..60 {
        client.store(&[message(seq(number), &payload)]);
    }
    drop(client);
    close(engine);
    disk.set(Faults { unreadable: Some((8192, 12_288)), ..Faults::default() });
    let engine = start(&disk, options(64 << 10));
    let mut client = open(&engine, "plant");
    assert!(!client.notices.is_empty());
    let left = client.fetch_all().len();
    assert!((48..60).contains(&left), "{left}");
}

//! No room: nothing is lost, everybody is told, and it heals.

use mqttx_proto::Record;

use super::super::engine::Options;
use super::disk::{FaultDisk, Faults};
use super::harness::*;

const SEGMENT: u64 = 32 << 10;

/// Fills the store until it says that it is full, and some more.
fn fill(client: &mut Client) -> u64 {
    let payload = vec![1; 1000];
    let mut number = 0;
    while client.full != [true] {
        client.submit(&[message(seq(number), &payload)]);
        number += 1;
        client.take_updates();
        assert!(number < 100_000, "never full");
        std::thread::yield_now();
    }
    for _ in 0..50 {
        client.submit(&[message(seq(number), &payload)]);
        number += 1;
    }
    number
}

fn heals(disk: &FaultDisk, options: &Options) {
    let engine = start(disk, options.clone());
    let mut client = open(&engine, "plant");
    let count = fill(&mut client);
    assert!(client.progress.synced < client.submitted, "there is no room for all of it");
    // Those that were durable are sent and acknowledged: that makes room for the rest.
    let durable = client.progress.synced;
    let done: Vec<_> = (0..durable).map(|number| Record::Done { sequence: seq(number) }).collect();
    client.submit(&done);
    client.until(|client| client.progress.synced + done.len() as u64 >= client.submitted);
    client.until(|client| client.full.last() == Some(&false));
    let last = count;
    client.store(&[message(seq(last), b"after")]);
    drop(client);
    close(engine);
    let engine = start(disk, options.clone());
    let mut client = open(&engine, "plant");
    assert_eq!(client.notices, []);
    assert_eq!(client.fetch_all().len() as u64, count - durable + 1);
}

#[test]
fn a_full_disk_heals_when_messages_are_finished() {
    let disk = FaultDisk::default();
    disk.set(Faults { capacity: Some(SEGMENT * 8), ..Faults::default() });
    heals(&disk, &options(SEGMENT));
}

#[test]
fn the_limit_of_bytes_holds_and_heals() {
    let disk = FaultDisk::default();
    let limit = SEGMENT * 8;
    let options = Options { max_bytes: Some(limit), ..options(SEGMENT) };
    heals(&disk, &options);
    let bytes: u64 = disk.files().iter().map(|(_, bytes)| bytes.len() as u64).sum();
    assert!(bytes <= limit, "{bytes}");
}

#[test]
fn the_limit_of_bytes_is_never_exceeded_while_full() {
    let disk = FaultDisk::default();
    let limit = SEGMENT * 8;
    let engine = start(&disk, Options { max_bytes: Some(limit), ..options(SEGMENT) });
    let mut client = open(&engine, "plant");
    fill(&mut client);
    let bytes: u64 = disk.files().iter().map(|(_, bytes)| bytes.len() as u64).sum();
    assert!(bytes <= limit, "{bytes}");
    assert!(engine.stats().full);
}

#[test]
fn room_that_somebody_else_makes_is_found() {
    let disk = FaultDisk::default();
    disk.set(Faults { capacity: Some(SEGMENT * 4), ..Faults::default() });
    let engine = start(&disk, options(SEGMENT));
    let mut client = open(&engine, "plant");
    let count = fill(&mut client);
    disk.set(Faults::default());
    client.until(|client| client.progress.synced == client.submitted);
    client.until(|client| client.full == [true, false]);
    assert_eq!(open(&engine, "plant").state().messages() as u64, count);
}

#[test]
fn writes_without_room_are_tried_again_at_the_same_place() {
    let disk = FaultDisk::default();
    let engine = start(&disk, options(SEGMENT));
    let mut client = open(&engine, "plant");
    client.store(&[message(seq(0), b"x")]);
    disk.set(Faults { short: Some(100), no_room_every: Some(7), ..Faults::default() });
    let payload = vec![5; 300];
    for number in 1..20 {
        client.store(&[message(seq(number), &payload)]);
    }
    disk.set(Faults::default());
    assert_eq!(client.full.first(), Some(&true), "there was no room now and then");
    client.until(|client| client.full.last() == Some(&false));
    let killed = start(&disk.kill(), options(SEGMENT));
    let mut again = open(&killed, "plant");
    assert_eq!(again.notices, []);
    assert_eq!(again.state().messages(), 20);
}

#[test]
fn a_full_disk_can_be_opened_and_read() {
    let disk = FaultDisk::default();
    let engine = start(&disk, options(SEGMENT));
    let mut client = open(&engine, "plant");
    client.store(&[message(seq(0), b"x"), message(seq(1), b"y")]);
    let disk = disk.kill();
    disk.set(Faults { capacity: Some(0), ..Faults::default() });
    let engine = start(&disk, options(SEGMENT));
    let mut client = open(&engine, "plant");
    assert_eq!(client.state().messages(), 2);
}

#[test]
fn a_full_store_can_be_closed_and_keeps_what_was_durable() {
    let disk = FaultDisk::default();
    disk.set(Faults { capacity: Some(SEGMENT * 4), ..Faults::default() });
    let engine = start(&disk, options(SEGMENT));
    let mut client = open(&engine, "plant");
    fill(&mut client);
    client.take_updates();
    let durable = client.progress.synced;
    drop(client);
    close(engine);
    let engine = start(&disk, options(SEGMENT));
    let found = open(&engine, "plant").state().messages() as u64;
    assert!(found >= durable, "{found} of {durable}");
}

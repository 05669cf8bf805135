//! On a real directory.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use mqttx_proto::Record;

use super::super::lock::Lock;
use super::harness::*;
use crate::store::{FileStore, Store};

fn open(store: &FileStore, name: &str) -> Client {
    Client::new(block_on(store.open(name)).unwrap())
}

#[test]
fn four_hundred_acknowledged_messages_leave_less_than_300_kb() {
    let dir = TempDir::new();
    let store = FileStore::new(&dir.0);
    let mut client = open(&store, "plant");
    let payload = vec![7; 1024];
    for number in 0..400 {
        client.store(&[message(seq(number), &payload)]);
        client.submit(&[
            Record::Assign { sequence: seq(number), id: id(1), order: number + 1 },
            Record::Done { sequence: seq(number) },
        ]);
    }
    client.until_written();
    let start = std::time::Instant::now();
    while dir.bytes() >= 300_000 {
        assert!(start.elapsed().as_secs() < 10, "{} bytes", dir.bytes());
        std::thread::yield_now();
    }
    drop(client);
    block_on(store.close());
    assert!(dir.bytes() < 300_000);
}

#[test]
fn stores_of_one_directory_are_one_store() {
    let dir = TempDir::new();
    let (one, two) =
        (FileStore::new(&dir.0), FileStore::new(dir.0.join("..").join(dir.0.file_name().unwrap())));
    let mut client = open(&one, "plant");
    client.store(&[message(seq(0), b"x")]);
    let mut other = open(&two, "plant");
    assert_eq!(client.update().unwrap_err().code(), "store.fenced");
    assert_eq!(other.state().messages(), 1);
    assert_eq!(two.stats().records, 1);
}

#[test]
fn a_store_at_rest_is_opened_anew() {
    let dir = TempDir::new();
    let store = FileStore::new(&dir.0);
    for round in 0..5 {
        let mut client = open(&store, "plant");
        assert_eq!(client.notices, []);
        assert_eq!(client.state().messages(), round);
        client.store(&[message(seq(round as u64), b"x")]);
        drop(client);
        block_on(store.close());
        drop(Lock::take(&dir.0).unwrap());
    }
    // Without a close, too: the last handle ends it.
    drop(open(&store, "plant"));
    drop(store);
    let store = FileStore::new(&dir.0);
    assert_eq!(open(&store, "plant").state().messages(), 5);
}

#[test]
fn only_its_owner_can_read_it() {
    let dir = TempDir::new();
    let store = FileStore::new(&dir.0);
    open(&store, "../../etc/passwd").store(&[message(seq(0), b"x")]);
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir.0), 0o700);
    for entry in std::fs::read_dir(&dir.0).unwrap() {
        assert_eq!(mode(&entry.unwrap().path()), 0o600);
    }
}

#[test]
fn another_process_is_named() {
    let dir = TempDir::new();
    std::fs::create_dir_all(&dir.0).unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "store::file::tests::real::holds_a_lock_for_another_test", "--nocapture"])
        .env("MQTTX_TEST_LOCK", &dir.0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    while !lines.next().unwrap().unwrap().contains("it has the lock") {}
    let store = FileStore::new(&dir.0);
    let error = block_on(store.open("plant")).map(drop).unwrap_err();
    assert_eq!(error.code(), "store.locked");
    let text = error.to_string();
    assert!(text.contains(&child.id().to_string()), "{text}");
    assert!(text.contains(&dir.0.display().to_string()), "{text}");
    assert_eq!(block_on(store.prepare()).unwrap_err().code(), "store.locked");
    assert_eq!(store.inspect(false).unwrap_err().code(), "store.locked");
    store.inspect(true).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    block_on(store.prepare()).unwrap();
}

/// Does nothing, unless another test runs it in a process of its own.
#[test]
fn holds_a_lock_for_another_test() {
    let Some(directory) = std::env::var_os("MQTTX_TEST_LOCK") else { return };
    let _lock = Lock::take(directory.as_ref()).unwrap();
    println!("it has the lock");
    // Until the other test kills this process.
    drop(std::io::stdin().lines().next());
}

#[test]
fn a_look_changes_nothing_and_shows_everything() {
    let dir = TempDir::new();
    let store = FileStore::new(&dir.0);
    let mut client = open(&store, "plant");
    client.store(&[
        message(seq(0), b"in flight"),
        message(seq(1), b"queued"),
        message(seq(2), b"gone"),
    ]);
    client.store(&[
        Record::Assign { sequence: seq(0), id: id(4), order: 1 },
        Record::Done { sequence: seq(2) },
        Record::Received { id: id(9) },
    ]);
    assert_eq!(store.inspect(false).unwrap_err().code(), "store.locked");
    assert_eq!(store.inspect(true).unwrap().sessions.len(), 1);
    drop(client);
    block_on(store.close());
    let before = dir.bytes();
    let found = store.inspect(false).unwrap();
    assert_eq!(found.notices, []);
    let session = &found.sessions[0];
    assert_eq!(
        (&*session.name, session.queued, session.in_flight, session.received),
        ("plant", 1, 1, 1)
    );
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let age = now.as_millis() as u64 - session.oldest_unix_ms.unwrap();
    assert!(age < 60_000, "{age}");
    let mut records = Vec::new();
    let visit = &mut |record: &Record<'_>, at: Option<u64>| {
        records.push((record.name(), at.is_some()));
    };
    assert!(store.read("plant", false, visit).unwrap());
    let expected = [("received", false), ("enqueue", true), ("enqueue", true), ("assign", false)];
    assert_eq!(records, expected);
    assert!(!store.read("nobody", false, &mut |_, _| ()).unwrap());
    assert_eq!(dir.bytes(), before);
    assert!(FileStore::new(dir.0.join("nothing")).inspect(false).is_err());
}

#[tokio::test]
async fn it_keeps_the_contract() {
    let mut directories = Vec::new();
    crate::store::contract::verify(async || {
        let dir = TempDir::new();
        let store = FileStore::new(&dir.0);
        directories.push(dir);
        store
    })
    .await;
}

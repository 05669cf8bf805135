//! A backlog: filled, opened again, and drained.

use std::path::Path;
use std::time::{Duration, Instant};

use mqttx::{FileStore, Store};

use super::clock::resident;
use super::session::{Ready, Session};
use super::table::{Row, Table};

pub(crate) fn measure(table: &mut Table, directory: &Path, messages: u64) {
    let name = format!("{} M backlog", messages / 1_000_000);
    let scale = messages as f64 / 1e7;
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let path = directory.join("backlog");
    drop(std::fs::remove_dir_all(&path));
    let before = resident();
    let start = Instant::now();
    let store = FileStore::new(&path);
    fill(&runtime, &store, messages);
    table.push(Row::new(&name, "fill, s", start.elapsed().as_secs_f64()).at_most(15.0 * scale));
    runtime.block_on(store.close());
    drop(store);
    let start = Instant::now();
    let store = FileStore::new(&path);
    let mut session = runtime.block_on(Session::open(&store, "plant"));
    table.push(Row::new(&name, "reopen, s", start.elapsed().as_secs_f64()).at_most(3.0 * scale));
    assert_eq!(session.opened_lane.messages, messages);
    let memory = (resident() - before) / 1e6;
    table.push(Row::new(&name, "resident, MB", memory).at_most(120.0));
    let start = Instant::now();
    drain(&mut session, messages);
    table.push(Row::new(&name, "drain, s", start.elapsed().as_secs_f64()).at_most(5.0 * scale));
    let start = Instant::now();
    // Files that may get another life count, until they are given back.
    while files(&path).0 > 2 && start.elapsed() < Duration::from_secs(10) {
        std::thread::sleep(Duration::from_millis(50));
    }
    let (segments, bytes) = files(&path);
    table.push(Row::new(&name, "segments left", segments as f64).at_most(2.0));
    table.push(Row::new(&name, "bytes left, MB", bytes as f64 / 1e6));
    table.push(Row::new(&name, "given back after, s", start.elapsed().as_secs_f64()));
    drop(session);
    runtime.block_on(store.close());
}

const BATCH: usize = 1000;

fn fill(runtime: &tokio::runtime::Runtime, store: &FileStore, messages: u64) {
    let mut session = runtime.block_on(Session::open(store, "plant"));
    let ready = Ready::new();
    let waker = ready.waker(0);
    let (mut sent, mut woken) = (0, Vec::new());
    while session.durable < messages {
        // Some megabytes on their way, as an outbox would have.
        while sent < messages && sent - session.durable < 20_000 {
            session.enqueue(BATCH);
            session.submit();
            sent += BATCH as u64;
        }
        session.poll(&waker);
        if session.durable < messages && sent - session.durable >= 20_000 {
            ready.wait(&mut woken);
        }
    }
}

fn drain(session: &mut Session, messages: u64) {
    let ready = Ready::new();
    let waker = ready.waker(0);
    let (mut from, mut drained, mut woken) = (0, 0, Vec::new());
    session.poll(&waker);
    while drained < messages {
        session.fetch(from, 2048);
        let fetched = loop {
            session.poll(&waker);
            if let Some(fetched) = session.take_fetched() {
                break fetched;
            }
            ready.wait(&mut woken);
        };
        for record in fetched.records.iter() {
            let mqttx::proto::Record::Enqueue { sequence, .. } = record.expect("a record") else {
                panic!("not a message");
            };
            session.done(sequence.number());
            drained += 1;
        }
        session.submit();
        from = fetched.next;
    }
    while !session.is_written() {
        session.poll(&waker);
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

/// Files with records, and the bytes of all.
fn files(path: &Path) -> (u64, u64) {
    let entries = std::fs::read_dir(path).expect("the directory").flatten();
    let sizes: Vec<u64> = entries.filter_map(|entry| Some(entry.metadata().ok()?.len())).collect();
    (sizes.iter().filter(|&&len| len > 100).count() as u64, sizes.iter().sum())
}

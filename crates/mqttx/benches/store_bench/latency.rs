//! From a message's submission until it is durable, at 5 000 messages a second.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use mqttx::{FileStore, Store};

use super::session::{Ready, Session};
use super::table::{Row, Table};

const EVERY: Duration = Duration::from_micros(200);

pub(crate) fn measure(table: &mut Table, directory: &Path, rounds: usize, seconds: f64) {
    let (mut sync_50, mut sync_99) = (Vec::new(), Vec::new());
    let (mut p50, mut p99, mut worst) = (Vec::new(), Vec::new(), Vec::new());
    let (mut of_50, mut of_99) = (Vec::new(), Vec::new());
    let (mut handed_50, mut of_handed) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let mut sync = syncs(directory, seconds / 2.0);
        let mut handed = handed(directory, seconds);
        let mut stored = store(directory, seconds);
        sync.extend(syncs(directory, seconds / 2.0));
        sync_50.push(at(&mut sync, 0.5));
        sync_99.push(at(&mut sync, 0.99));
        p50.push(at(&mut stored, 0.5));
        p99.push(at(&mut stored, 0.99));
        worst.push(at(&mut stored, 1.0));
        handed_50.push(at(&mut handed, 0.5));
        of_handed.push(at(&mut stored, 0.5) / at(&mut handed, 0.5));
        of_50.push(at(&mut stored, 0.5) / at(&mut sync, 0.5));
        of_99.push(at(&mut stored, 0.99) / at(&mut sync, 0.99));
    }
    let name = "5000/s";
    let mut row = |what, mut values: Vec<f64>, target: Option<f64>| {
        let row = Row::new(name, what, at(&mut values, 0.5));
        table.push(if let Some(target) = target { row.at_most(target) } else { row });
    };
    row("one fdatasync, us, p50", sync_50, None);
    row("one fdatasync, us, p99", sync_99, None);
    row("handed to a thread that appends and syncs, us, p50", handed_50, None);
    row("accepted to durable, us, p50", p50, None);
    row("accepted to durable, us, p99", p99, None);
    row("accepted to durable, us, worst", worst, None);
    row("p50, of fdatasync's", of_50, Some(1.5));
    row("p99, of fdatasync's", of_99, Some(3.0));
    row("p50, of what is handed to a thread", of_handed, None);
}

/// The same rate, and nothing but a thread that appends what is queued and syncs: two wake-ups are part of it.
fn handed(directory: &Path, seconds: f64) -> Vec<f64> {
    let path = directory.join("handed");
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).open(&path).expect("a file");
    rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, 64 << 20).expect("room");
    file.sync_all().expect("a sync");
    let (sender, queue) = std::sync::mpsc::channel::<Instant>();
    let (reply, replies) = std::sync::mpsc::channel::<Instant>();
    let mut times = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut offset = 0;
            while let Ok(first) = queue.recv() {
                let sent: Vec<Instant> = std::iter::once(first).chain(queue.try_iter()).collect();
                let bytes = vec![7; 300 * sent.len()];
                file.write_all_at(&bytes, offset).expect("a write");
                file.sync_data().expect("a sync");
                offset = (offset + bytes.len() as u64) % (63 << 20);
                sent.into_iter().for_each(|at| reply.send(at).unwrap_or_default());
            }
        });
        let (start, mut next) = (Instant::now(), Instant::now());
        while start.elapsed().as_secs_f64() < seconds {
            if Instant::now() >= next {
                sender.send(Instant::now()).expect("the thread");
                next += EVERY;
            }
            let wait = next.saturating_duration_since(Instant::now());
            if let Ok(at) = replies.recv_timeout(wait) {
                times.push(at.elapsed().as_secs_f64() * 1e6);
            }
        }
        drop(sender);
    });
    drop(std::fs::remove_file(&path));
    times
}

/// Syncs of one message each, one behind the other.
fn syncs(directory: &Path, seconds: f64) -> Vec<f64> {
    std::fs::create_dir_all(directory).expect("a directory");
    let path = directory.join("sync");
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).open(&path).expect("a file");
    rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, 64 << 20).expect("room");
    file.sync_all().expect("a sync");
    let (start, mut offset, mut times) = (Instant::now(), 0, Vec::new());
    while start.elapsed().as_secs_f64() < seconds {
        file.write_all_at(&[7; 300], offset).expect("a write");
        let begin = Instant::now();
        file.sync_data().expect("a sync");
        times.push(begin.elapsed().as_secs_f64() * 1e6);
        offset = (offset + 300) % (63 << 20);
    }
    drop(std::fs::remove_file(&path));
    times
}

fn store(directory: &Path, seconds: f64) -> Vec<f64> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let path = directory.join("store");
    drop(std::fs::remove_dir_all(&path));
    let store = FileStore::new(&path);
    let mut session = runtime.block_on(Session::open(&store, "plant"));
    let ready = Ready::new();
    let waker = ready.waker(0);
    let (start, mut next, mut times) = (Instant::now(), Instant::now(), Vec::new());
    let mut sent = std::collections::VecDeque::new();
    let mut number = 0;
    while start.elapsed().as_secs_f64() < seconds {
        if Instant::now() >= next {
            session.enqueue(1);
            // A message of before is acknowledged.
            if number >= 50 {
                session.done(number - 50);
            }
            number += 1;
            session.submit();
            sent.push_back(Instant::now());
            next += EVERY;
        }
        let before = session.durable;
        session.poll(&waker);
        for _ in before..session.durable {
            times.extend(sent.pop_front().map(|at| at.elapsed().as_secs_f64() * 1e6));
        }
        ready.wait_until(next);
    }
    drop(session);
    runtime.block_on(store.close());
    times
}

fn at(times: &mut [f64], part: f64) -> f64 {
    times.sort_unstable_by(f64::total_cmp);
    let last = times.len().saturating_sub(1);
    times.get((last as f64 * part) as usize).copied().unwrap_or(f64::NAN)
}

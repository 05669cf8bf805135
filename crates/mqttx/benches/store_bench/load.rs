//! Many sessions, or one, with a number of messages in flight.

use std::path::Path;
use std::time::Instant;

use mqttx::{FileStore, Store};

use super::clock::{cpu_us, device_bytes, threads_cpu_us};
use super::session::{Ready, Session};

pub(crate) struct Run {
    pub(crate) rate: f64,
    pub(crate) cpu_us: f64,
    pub(crate) store_cpu_us: f64,
    pub(crate) device_bytes: f64,
    pub(crate) synced_bytes: f64,
    pub(crate) per_group: f64,
}

pub(crate) fn run(directory: &Path, sessions: usize, in_flight: usize, seconds: f64) -> Run {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let path = directory.join("store");
    drop(std::fs::remove_dir_all(&path));
    let store = FileStore::new(&path);
    let ready = Ready::new();
    let mut all = Vec::new();
    for at in 0..sessions {
        let session = runtime.block_on(Session::open(&store, &format!("session-{at}")));
        all.push((session, ready.waker(at)));
    }
    for (session, waker) in &mut all {
        session.enqueue(in_flight);
        session.submit();
        session.turn(waker);
    }
    let mut woken = Vec::new();
    // Until the segments have grown.
    let warm = Instant::now();
    let mut measured = None;
    let end = loop {
        ready.wait(&mut woken);
        for &at in &woken {
            let (session, waker) = &mut all[at];
            session.turn(waker);
        }
        let elapsed = warm.elapsed().as_secs_f64();
        let begun = measured.is_some();
        if !begun && elapsed > WARM_UP {
            measured = Some(State::now(&store, &all));
        }
        if elapsed > WARM_UP + seconds {
            break State::now(&store, &all);
        }
    };
    let begin = measured.expect("a longer run");
    let messages = (end.finished - begin.finished) as f64;
    drop(all);
    runtime.block_on(store.close());
    Run {
        rate: messages / (end.at - begin.at).as_secs_f64(),
        cpu_us: (end.cpu - begin.cpu) / messages,
        store_cpu_us: (end.store_cpu - begin.store_cpu) / messages,
        device_bytes: (end.device - begin.device) / messages,
        synced_bytes: (end.stats.synced_bytes - begin.stats.synced_bytes) as f64 / messages,
        per_group: messages / (end.stats.groups - begin.stats.groups) as f64,
    }
}

const WARM_UP: f64 = 1.0;

struct State {
    at: Instant,
    cpu: f64,
    store_cpu: f64,
    device: f64,
    finished: u64,
    stats: mqttx::FileStoreStats,
}

impl State {
    fn now(store: &FileStore, all: &[(Session, std::task::Waker)]) -> Self {
        Self {
            at: Instant::now(),
            cpu: cpu_us(),
            store_cpu: threads_cpu_us("mqttx-store"),
            device: device_bytes(),
            finished: all.iter().map(|(session, _)| session.finished).sum(),
            stats: store.stats(),
        }
    }
}

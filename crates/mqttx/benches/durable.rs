//! What durability costs from end to end: QoS 1 publishing to a counting peer, with the state in memory only and in a file
//! store with group commit, beside the raw limit of the disk: append and fdatasync, in the same run.
//!
//! `cargo bench -p mqttx --bench durable [-- [--json] [--rounds N] [--only memory|file]]`; medians of interleaved rounds. With
//! `--only` just that is run, for a profiler; with `--one`, too, only the single session.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement may fail, and prints")]

use std::fs::File;
use std::io::Write;
use std::time::{Duration, Instant};

use bytes::Bytes;
use mqttx::{FileStore, Outbox, Publish, QoS, Session, SessionManager, SessionOptions, Store};
use mqttx_test::{LoadOptions, LoadPeer, TempDir};

const PAYLOAD: usize = 256;
/// What a record takes besides its payload, about.
const OVERHEAD: usize = 48;
const LONG: Duration = Duration::from_secs(120);

/// So many sessions with so many messages in flight each.
#[derive(Clone, Copy)]
struct Workload {
    name: &'static str,
    sessions: usize,
    in_flight: usize,
    messages: usize,
}

const WORKLOADS: [Workload; 2] = [
    Workload { name: "1 session x 1000", sessions: 1, in_flight: 1000, messages: 800_000 },
    Workload { name: "1000 sessions x 16", sessions: 1000, in_flight: 16, messages: 600_000 },
];

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let json = arguments.iter().any(|argument| argument == "--json");
    let rounds = arguments.iter().position(|argument| argument == "--rounds");
    let rounds = rounds.and_then(|at| arguments.get(at + 1)?.parse().ok()).unwrap_or(5);
    let only = arguments.iter().position(|argument| argument == "--only");
    let only = only.and_then(|at| arguments.get(at + 1)).cloned();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    if let Some(only) = only {
        let one = arguments.iter().any(|argument| argument == "--one");
        for workload in WORKLOADS.into_iter().take(if one { 1 } else { WORKLOADS.len() }) {
            let directory = (only == "file").then(|| TempDir::new("durable"));
            let path = directory.as_ref().map(TempDir::path);
            let (rate, _) = runtime.block_on(publish(workload, path));
            println!("{:20} {only} {rate:.0}/s", workload.name);
        }
        return;
    }
    let mut rows = Vec::new();
    for workload in WORKLOADS {
        let (mut raw, mut memory, mut file) = (Vec::new(), Vec::new(), Vec::new());
        let mut groups = Vec::new();
        for _ in 0..rounds {
            raw.push(append_and_sync(workload));
            memory.push(runtime.block_on(publish(workload, None)).0);
            let directory = TempDir::new("durable");
            let (rate, synced) = runtime.block_on(publish(workload, Some(directory.path())));
            file.push(rate);
            groups.push(synced);
        }
        rows.push((workload, median(raw), median(memory), median(file), median(groups)));
    }
    for (workload, raw, memory, file, groups) in rows {
        if json {
            println!(
                "{{\"workload\":\"{}\",\"payload\":{PAYLOAD},\"raw\":{raw:.0},\"memory\":{memory:.0},\"file\":{file:.0},\
                 \"of_memory\":{:.3},\"of_raw\":{:.3},\"syncs_per_s\":{groups:.0}}}",
                workload.name,
                file / memory,
                file / raw
            );
        } else {
            println!(
                "{:20} raw {raw:>10.0}/s   memory {memory:>10.0}/s   file {file:>10.0}/s = {:.2} of memory, {:.2} of raw \
                 (at least half of memory, or 0.7 of raw); {groups:.0} syncs/s",
                workload.name,
                file / memory,
                file / raw
            );
        }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Messages per second: all that may be in flight appended at once, then forced to the disk, again and again.
fn append_and_sync(workload: Workload) -> f64 {
    let directory = TempDir::new("raw");
    let mut file = File::create_new(directory.path().join("raw")).unwrap();
    let group = (workload.sessions * workload.in_flight).min(workload.messages);
    let bytes = vec![7; group * (PAYLOAD + OVERHEAD)];
    file.set_len((workload.messages * (PAYLOAD + OVERHEAD)) as u64).unwrap();
    file.sync_all().unwrap();
    let start = Instant::now();
    let mut written = 0;
    while written < workload.messages {
        file.write_all(&bytes).unwrap();
        file.sync_data().unwrap();
        written += group;
    }
    written as f64 / start.elapsed().as_secs_f64()
}

/// Messages and syncs per second, until everything is acknowledged.
async fn publish(workload: Workload, directory: Option<&std::path::Path>) -> (f64, f64) {
    let peer = LoadPeer::start(LoadOptions::default());
    let manager = SessionManager::builder().connect_rate(0).build();
    let store = directory.map(FileStore::new);
    let sessions: Vec<Session> = (0..workload.sessions)
        .map(|n| {
            let mut builder = SessionOptions::quick_connect(format!("s{n}"), peer.url())
                .client_id(format!("s{n}"))
                .outbox(Outbox { messages: Some(workload.in_flight), ..Outbox::default() });
            if let Some(store) = &store {
                builder = builder.storage(store.clone());
            }
            manager.add_session(builder.build().unwrap()).unwrap()
        })
        .collect();
    manager.wait_for_all_sessions(LONG).await.unwrap();
    let before = store.as_ref().map_or(0, |store| store.stats().groups);
    let start = Instant::now();
    let each = workload.messages / workload.sessions;
    let publishers: Vec<_> = sessions
        .into_iter()
        .map(|session| {
            tokio::spawn(async move {
                let payload = Bytes::from(vec![7; PAYLOAD]);
                for _ in 0..each {
                    let message = Publish::new("bench", payload.clone()).qos(QoS::AtLeastOnce);
                    drop(session.begin_submit(message).await.unwrap());
                }
                session.flush(LONG).await.unwrap();
            })
        })
        .collect();
    for publisher in publishers {
        publisher.await.unwrap();
    }
    let elapsed = start.elapsed().as_secs_f64();
    let syncs = store.as_ref().map_or(0, |store| store.stats().groups) - before;
    manager.shutdown(Duration::from_secs(5)).await;
    if let Some(store) = store {
        store.close().await;
    }
    ((each * workload.sessions) as f64 / elapsed, syncs as f64 / elapsed)
}

//! The file store against the disk: `cargo bench -p mqttx --bench store [-- --json] [--quick] [--dir DIRECTORY]`.
//!
//! *raw* appends everything that is queued to an allocated file and syncs it, over and over: what no log can beat. Rounds of raw and store take
//! turns, and medians count. The store runs the life of a message: `Enqueue`, durable; `Assign`, written; `Done`.

mod store_bench {
    pub(crate) mod backlog;
    pub(crate) mod clock;
    pub(crate) mod latency;
    pub(crate) mod load;
    pub(crate) mod raw;
    pub(crate) mod session;
    pub(crate) mod table;
}

use std::path::PathBuf;

use store_bench::table::{Row, Table};
use store_bench::{backlog, latency, load, raw};

/// Bytes of a payload.
const PAYLOAD: usize = 256;

fn main() {
    let options = Options::from_args();
    let mut table = Table::default();
    if options.wants("load") {
        for (sessions, in_flight, ratio) in [(1000, 16, 0.6), (1, 1000, 0.8)] {
            rounds(&mut table, &options, sessions, in_flight, ratio);
        }
    }
    if options.wants("latency") {
        latency::measure(&mut table, &options.directory, options.rounds, options.seconds);
    }
    if options.wants("backlog") {
        backlog::measure(
            &mut table,
            &options.directory,
            if options.quick { 1_000_000 } else { 10_000_000 },
        );
    }
    if options.json {
        table.print_json()
    } else {
        table.print()
    }
    drop(std::fs::remove_dir_all(&options.directory));
}

fn rounds(table: &mut Table, options: &Options, sessions: usize, in_flight: usize, ratio: f64) {
    let (mut raws, mut stores) = (Vec::new(), Vec::new());
    for _ in 0..options.rounds {
        raws.push(raw::run(&options.directory, sessions * in_flight, options.seconds));
        stores.push(load::run(&options.directory, sessions, in_flight, options.seconds));
    }
    let name = format!("{sessions} x {in_flight}");
    let raw = median(raws.iter().map(|raw| raw.rate));
    let rate = median(stores.iter().map(|store| store.rate));
    table.push(Row::new(&name, "raw append + fdatasync, messages/s", raw));
    table.push(Row::new(&name, "store, messages/s", rate));
    table.push(Row::new(&name, "of raw", rate / raw).at_least(ratio));
    let of = |value: fn(&load::Run) -> f64| median(stores.iter().map(value));
    table.push(Row::new(&name, "raw, CPU us/message", median(raws.iter().map(|raw| raw.cpu_us))));
    table.push(Row::new(&name, "store and its driver, CPU us/message", of(|run| run.cpu_us)));
    table.push(
        Row::new(&name, "store's threads, CPU us/message", of(|run| run.store_cpu_us)).at_most(0.6),
    );
    // Other processes write to the disk, too: the raw figure shows how much that may be.
    let raw_bytes = median(raws.iter().map(|raw| raw.device_bytes));
    table.push(Row::new(&name, "raw (282 bytes), device bytes/message", raw_bytes));
    let device = of(|run| run.device_bytes);
    table.push(Row::new(&name, "store, device bytes/message", device).at_most(320.0));
    let pages = of(|run| run.synced_bytes + 4096.0 / run.per_group);
    table.push(Row::new(&name, "whole pages, bytes/message", pages).at_most(320.0));
    table.push(Row::new(&name, "messages/sync", of(|run| run.per_group)));
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

struct Options {
    json: bool,
    quick: bool,
    only: Option<String>,
    directory: PathBuf,
    rounds: usize,
    seconds: f64,
}

impl Options {
    fn from_args() -> Self {
        let args: Vec<String> = std::env::args().skip(1).collect();
        let value = |name: &str| {
            args.iter().position(|arg| arg == name).and_then(|at| args.get(at + 1)).cloned()
        };
        let quick = args.iter().any(|arg| arg == "--quick");
        let directory = value("--dir").unwrap_or_else(|| env!("CARGO_TARGET_TMPDIR").to_owned());
        let directory = PathBuf::from(directory);
        Self {
            json: args.iter().any(|arg| arg == "--json"),
            quick,
            only: value("--only"),
            directory: directory.join(format!("store-bench-{}", std::process::id())),
            rounds: if quick { 1 } else { 5 },
            seconds: if quick { 1.0 } else { 3.0 },
        }
    }

    fn wants(&self, what: &str) -> bool {
        self.only.as_deref().is_none_or(|only| only == what)
    }
}

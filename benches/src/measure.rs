//! Rounds of runs: the contestants take turns within a round, and their order rotates between rounds.

use std::time::{Duration, Instant};

use mqttx_test::{Counters, LoadPeer};

use crate::args::Args;
use crate::contestant::{self, Contestant};
use crate::process::{Runner, Usage};
use crate::report::{self, Row, Sample, Table};
use crate::workload::{self, Case, Work};

/// Runs what was asked for and reports it.
///
/// # Errors
/// Nothing is chosen, or a report cannot be written. A contestant that fails has a row that says so.
pub(crate) fn main(args: &Args) -> Result<(), String> {
    let plan = plan(args)?;
    if args.list {
        for (case, contestants) in plan {
            let names: Vec<_> = contestants.iter().map(|one| one.name).collect();
            println!("{:18} {}: {}", case.name, case.title, names.join(" "));
        }
        return Ok(());
    }
    let mut tables = Vec::new();
    for (case, contestants) in plan {
        tables.push(rounds(&case, &contestants, args));
        report::print_table(tables.last().expect("just pushed"));
    }
    report::print_summary(&tables);
    match &args.json {
        Some(path) => report::write_json(path, args, &tables),
        None => Ok(()),
    }
}

type Plan = Vec<(Case, Vec<&'static Contestant>)>;

/// What `--only` leaves: its names are beginnings of those of workloads, and names of contestants.
fn plan(args: &Args) -> Result<Plan, String> {
    let (mut cases, mut contestants) = (Vec::new(), Vec::new());
    for name in &args.only {
        let begins: Vec<_> =
            workload::all().into_iter().filter(|case| case.name.starts_with(name)).collect();
        match Contestant::by_name(name) {
            Some(contestant) => contestants.push(contestant),
            None if begins.is_empty() => {
                return Err(format!("nothing is called {name}: see --list"));
            }
            None => cases.extend(begins),
        }
    }
    if cases.is_empty() {
        cases = workload::all();
    }
    if contestants.is_empty() {
        contestants = contestant::ALL.iter().collect();
    }
    let plan = cases.into_iter().map(|case| {
        let own = contestants.iter().copied().filter(|one| one.takes_part(&case)).collect();
        (case, own)
    });
    Ok(plan.filter(|(_, own): &(Case, Vec<_>)| !own.is_empty()).collect())
}

/// All rounds of one workload.
fn rounds(case: &Case, contestants: &[&'static Contestant], args: &Args) -> Table {
    let mut table = Table::new(case.clone(), contestants);
    for row in &mut table.rows {
        estimate(case, row, args.quick);
    }
    for round in 0..args.rounds {
        for turn in 0..contestants.len() {
            let row = &mut table.rows[(round + turn) % contestants.len()];
            if row.failure.is_none() {
                eprint!(
                    "{} round {}/{}: {} ",
                    case.name,
                    round + 1,
                    args.rounds,
                    row.contestant.name
                );
                let outcome = run(case, row.contestant, row.messages, args.quick);
                record(row, outcome);
            }
        }
    }
    table
}

/// Finds out with how many messages a contestant is busy for the time of a run.
fn estimate(case: &Case, row: &mut Row, quick: bool) {
    let seconds = if quick { 0.4 } else { 1.5 };
    let mut messages = case.estimate();
    // What a short run tells of a fast contestant is not enough.
    for _ in 0..2 {
        eprint!("{} estimate: {} ", case.name, row.contestant.name);
        match run(case, row.contestant, messages, quick) {
            Ok(sample) => {
                eprintln!("{}/s", report::short(sample.rate()));
                let more = sample.rate() * seconds;
                messages = (more as u64).clamp(messages, messages.saturating_mul(100));
            }
            Err(error) => {
                eprintln!("failed: {error}");
                row.failure = Some(error);
                return;
            }
        }
    }
    row.messages = messages;
}

fn record(row: &mut Row, outcome: Result<Sample, String>) {
    match outcome {
        Ok(sample) => {
            eprintln!("{}/s", report::short(sample.rate()));
            row.samples.push(sample);
        }
        Err(error) => {
            eprintln!("failed: {error}");
            row.failure = Some(error);
        }
    }
}

/// One run of one contestant.
fn run(case: &Case, contestant: &Contestant, messages: u64, quick: bool) -> Result<Sample, String> {
    let messages = messages / case.sessions as u64 * case.sessions as u64;
    let peer = LoadPeer::start(case.peer(messages));
    let mut runner = Runner::start(case, contestant, peer.address(), messages, quick)?;
    let (before, peer_before) = (runner.usage()?, own_cpu());
    let start = Instant::now();
    runner.go()?;
    runner.wait("done", Duration::from_secs(120))?;
    let (counted, end) = counted(case, messages, &peer);
    let busy = own_cpu().saturating_sub(peer_before).as_secs_f64() / start.elapsed().as_secs_f64();
    let elapsed = end.duration_since(start).as_secs_f64();
    let after = runner.usage()?;
    let mut sample = Sample::default();
    sample.push("msg/s", counted as f64 / elapsed);
    sample.push("CPU us/msg", cpu_us(before, after) / counted as f64);
    // Near 1 the test peer, not the contestant, may be what limits.
    sample.push("peer busy", busy);
    if counted < messages {
        sample.push("lost", (messages - counted) as f64 / messages as f64);
    }
    for (name, value) in runner.values.drain(..) {
        sample.push(&name, value);
    }
    Ok(sample)
}

/// Waits until the peer has everything; what it had when nothing more came, and when.
fn counted(case: &Case, messages: u64, peer: &LoadPeer) -> (u64, Instant) {
    let mut best = (0, Instant::now());
    loop {
        let reached = reached(case, &peer.counters());
        if reached > best.0 {
            best = (reached, Instant::now());
        }
        if reached >= messages || best.1.elapsed() > Duration::from_secs(3) {
            return best;
        }
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// How many messages are finished, as the peer sees it.
fn reached(case: &Case, counters: &Counters) -> u64 {
    match (case.work, case.qos) {
        (Work::Publish, 2) => counters.released,
        (Work::Publish, _) | (Work::Forward, 0) => counters.publishes,
        (Work::Forward, _) => counters.publishes.min(counters.acknowledged),
        // Only the client knows what came of QoS 0: it said so.
        (Work::Receive, 0) => counters.flooded,
        (Work::Receive, _) => counters.acknowledged,
    }
}

fn cpu_us(before: Usage, after: Usage) -> f64 {
    after.cpu.saturating_sub(before.cpu).as_secs_f64() * 1e6
}

/// What this process used, which is the peer.
fn own_cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

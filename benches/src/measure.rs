//! Rounds of runs: the contestants take turns within a round, and their order rotates between rounds.

use crate::args::Args;
use crate::contestant::{self, Contestant};
use crate::report::{self, Row, Sample, Table};
use crate::runs;
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
        // After each, so that an interrupted run leaves what it has.
        if let Some(path) = &args.json {
            report::write_json(path, args, &tables)?;
        }
    }
    report::print_summary(&tables);
    Ok(())
}

type Plan = Vec<(Case, Vec<&'static Contestant>)>;

/// What `--only` leaves: its names are beginnings of those of workloads, and names of contestants.
fn plan(args: &Args) -> Result<Plan, String> {
    let (mut cases, mut contestants) = (Vec::new(), Vec::new());
    for name in &args.only {
        let begins: Vec<_> =
            workload::all().into_iter().filter(|case| case.is_meant_by(name)).collect();
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
        cases.retain(|case| args.list || !case.on_demand);
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
    // Idleness is not noisy, and takes its time.
    let rounds = if case.work == Work::Idle { 1 } else { args.rounds };
    for round in 0..rounds {
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
                let outcome = runs::run(case, row.contestant, row.messages, args.quick);
                record(row, outcome);
            }
        }
    }
    table
}

/// Finds out with how many messages a contestant is busy for the time of a run.
fn estimate(case: &Case, row: &mut Row, quick: bool) {
    if let Some(messages) = case.fixed(quick) {
        row.messages = messages;
        return;
    }
    let seconds = if quick { 0.4 } else { 1.5 };
    let mut messages = case.estimate();
    // What a short run tells of a fast contestant is not enough.
    for _ in 0..2 {
        eprint!("{} estimate: {} ", case.name, row.contestant.name);
        match runs::run(case, row.contestant, messages, quick) {
            Ok(sample) => {
                eprintln!("{}/s", report::short(sample.subject()));
                let more = sample.subject() * seconds;
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
            eprintln!("{}", report::short(sample.subject()));
            row.samples.push(sample);
        }
        Err(error) => {
            eprintln!("failed: {error}");
            row.failure = Some(error);
        }
    }
}

//! `cargo xtask instructions`: what the message path costs in instructions, compared with what it did cost.
//!
//! Instructions do not depend on how busy the machine is, so that a few per cent are found at every run. Each scenario of the
//! bench `instructions` of `mqttx-proto` runs twice under callgrind, with N and with 2 N operations: the difference, divided by N,
//! is one operation without what comes before.

mod record;

use crate::process::Task;
use crate::system;
use record::{Count, Machine, Record, Verdict};
use std::path::{Path, PathBuf};

/// Operations of the shorter run. The longer one must not reach the end of the packet ids.
const OPERATIONS: u64 = 4096;

/// The recorded counts.
const RECORD: &str = "crates/mqttx-proto/benches/instructions.txt";

/// Counts, prints a table, and compares, or with `--bless` writes the counts down.
///
/// # Errors
/// A usage error, a tool or build that is missing or fails, or the scenarios that cost more than recorded.
pub(crate) fn run(root: &Path, arguments: &[&str]) -> Result<(), String> {
    let bless = match arguments {
        [] => false,
        ["--bless"] => true,
        other => return Err(format!("unexpected arguments {other:?}: see `cargo xtask help`")),
    };
    let valgrind = system::installed(root, system::VALGRIND)?;
    let program = build(root)?;
    let machine = Machine::here(root)?;
    let profiles = root.join("target/instructions");
    std::fs::create_dir_all(&profiles)
        .map_err(|error| format!("cannot create {}: {error}", profiles.display()))?;
    let counter = Counter { root, valgrind, program, profiles };
    let counts = counter.count_all()?;
    let path = root.join(RECORD);
    if bless {
        let record = Record { machine, counts };
        return std::fs::write(&path, record.to_text())
            .map(|()| println!("{}wrote {RECORD}", record.table()))
            .map_err(|error| format!("cannot write {RECORD}: {error}"));
    }
    let text = std::fs::read_to_string(&path)
        .map_err(|error| format!("{RECORD}: {error}; `cargo xtask instructions --bless`"))?;
    judge(&Record::parse(&text)?, &machine, &counts)
}

/// Prints how the counts compare with the record.
fn judge(record: &Record, machine: &Machine, counts: &[Count]) -> Result<(), String> {
    let tolerance = record.tolerance(machine);
    if record.machine != *machine {
        println!("recorded with {}", record.machine);
        println!("this is       {machine}: {}", tolerance.as_notice());
    }
    println!("{:<28} {:>9} {:>9} {:>8}", "instructions per operation", "recorded", "now", "");
    let (mut worse, mut better) = (Vec::new(), Vec::new());
    for count in counts {
        let recorded = record.count_of(&count.name);
        let verdict = tolerance.judge(recorded, count.instructions);
        let shown = recorded.map_or_else(|| "-".to_owned(), |recorded| recorded.to_string());
        let Count { name, instructions } = count;
        println!("{name:<28} {shown:>9} {instructions:>9} {verdict:>8}");
        match verdict {
            Verdict::Worse(_) | Verdict::New => worse.push(name.as_str()),
            Verdict::Better(_) => better.push(name.as_str()),
            Verdict::Within(_) => {}
        }
    }
    let gone = record.counts.iter().filter(|old| counts.iter().all(|new| new.name != old.name));
    worse.extend(gone.map(|old| old.name.as_str()));
    if !better.is_empty() {
        println!("cheaper than recorded: {}; keep it: `{BLESS}`", better.join(", "));
    }
    if worse.is_empty() {
        return Ok(());
    }
    Err(format!(
        "more instructions than recorded ({}), or no record to compare with: {}\nwhere they are: \
         `callgrind_annotate target/instructions/NAME.out`; if the cost is meant: `{BLESS}`",
        tolerance.as_notice(),
        worse.join(", ")
    ))
}

const BLESS: &str = "cargo xtask instructions --bless";

/// Builds the bench, and says where it is.
fn build(root: &Path) -> Result<PathBuf, String> {
    let task = Task::cargo(&[
        "build",
        "--quiet",
        "--release",
        "--package=mqttx-proto",
        "--bench=instructions",
        "--message-format=json",
    ]);
    let messages = task.output(root)?;
    let program = messages.lines().rev().find_map(executable_of);
    program.map(PathBuf::from).ok_or_else(|| format!("`{}` named no program", task.shown()))
}

/// The program that a message of cargo is about.
fn executable_of(message: &str) -> Option<&str> {
    let (_, after) = message.split_once("\"executable\":\"")?;
    after.split_once('"').map(|(path, _)| path)
}

/// Runs scenarios under callgrind.
struct Counter<'a> {
    root: &'a Path,
    valgrind: PathBuf,
    program: PathBuf,
    /// Where the profiles of the longer runs are left, for whoever wants to know more.
    profiles: PathBuf,
}

impl Counter<'_> {
    fn count_all(&self) -> Result<Vec<Count>, String> {
        let names = Task::new(&self.program.to_string_lossy(), &[]).output(self.root)?;
        names
            .lines()
            .map(|name| {
                let (one, two) = (self.total(name, OPERATIONS)?, self.total(name, 2 * OPERATIONS)?);
                let each = two.saturating_sub(one) as f64 / OPERATIONS as f64;
                Ok(Count { name: name.to_owned(), instructions: each.round() as u64 })
            })
            .collect()
    }

    /// All instructions of one run.
    fn total(&self, name: &str, operations: u64) -> Result<u64, String> {
        let profile = self.profiles.join(format!("{name}.out"));
        let task = Task::new(
            &self.valgrind.to_string_lossy(),
            &[
                "--quiet",
                "--tool=callgrind",
                &format!("--callgrind-out-file={}", profile.display()),
                &self.program.to_string_lossy(),
                name,
                &operations.to_string(),
            ],
        );
        task.output(self.root)?;
        let text = std::fs::read_to_string(&profile)
            .map_err(|error| format!("{}: {error}", profile.display()))?;
        total_of(&text).ok_or_else(|| format!("{} has no total", profile.display()))
    }
}

/// The number behind `totals:` in a profile of callgrind.
fn total_of(profile: &str) -> Option<u64> {
    let line = profile.lines().rev().find_map(|line| line.strip_prefix("totals:"))?;
    line.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(all: &[(&str, u64)]) -> Vec<Count> {
        let count = |&(name, instructions): &(&str, u64)| Count { name: name.into(), instructions };
        all.iter().map(count).collect()
    }

    fn judged(now: &[(&str, u64)]) -> Result<(), String> {
        let machine = Machine::of("rustc 1.2.3", "x86_64-unknown-linux-gnu");
        let counts_then = counts(&[("encode", 1000), ("decode", 500)]);
        let record = Record { machine: machine.clone(), counts: counts_then };
        judge(&record, &machine, &counts(now))
    }

    #[test]
    fn what_costs_more_than_recorded_fails_and_is_named() {
        assert_eq!(judged(&[("encode", 1000), ("decode", 500)]), Ok(()));
        assert_eq!(judged(&[("encode", 700), ("decode", 500)]), Ok(()), "cheaper is no failure");
        let error = judged(&[("encode", 1100), ("decode", 500)]).unwrap_err();
        assert!(error.contains(": encode\n") && error.contains(BLESS), "{error}");
    }

    #[test]
    fn scenario_without_a_record_and_record_without_a_scenario_fail() {
        assert!(judged(&[("encode", 1000), ("decode", 500), ("new", 1)]).is_err());
        assert!(judged(&[("encode", 1000)]).unwrap_err().contains("decode"));
    }

    #[test]
    fn totals_and_programs_are_found() {
        assert_eq!(total_of("events: Ir\nfn=(1)\n5 7\n\ntotals: 1234\n"), Some(1234));
        assert_eq!(total_of("events: Ir\n"), None);
        let message = "{\"name\":\"instructions\",\"executable\":\"/a/b-1\",\"fresh\":true}";
        assert_eq!(executable_of(message), Some("/a/b-1"));
        assert_eq!(executable_of("{\"executable\":null}"), None);
    }
}

//! The counts that were written down, for which machine they hold, and how much may differ.

use crate::process::Task;
use std::fmt;
use std::path::Path;

/// What one operation of a scenario costs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Count {
    pub(super) name: String,
    pub(super) instructions: u64,
}

/// What decides which instructions the compiler writes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Machine {
    rustc: String,
    target: String,
}

/// The file: a few comments, the machine, and a line for each scenario.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Record {
    pub(super) machine: Machine,
    pub(super) counts: Vec<Count>,
}

impl Machine {
    #[cfg(test)]
    pub(super) fn of(rustc: &str, target: &str) -> Self {
        Self { rustc: rustc.to_owned(), target: target.to_owned() }
    }

    /// The toolchain that builds here.
    ///
    /// # Errors
    /// rustc does not say.
    pub(super) fn here(root: &Path) -> Result<Self, String> {
        let told = Task::new("rustc", &["--version", "--verbose"]).output(root)?;
        let mut lines = told.lines();
        let rustc = lines.next().unwrap_or_default().to_owned();
        let target = lines.find_map(|line| line.strip_prefix("host: "));
        let target = target.ok_or("`rustc --version --verbose` names no host")?.to_owned();
        Ok(Self { rustc, target })
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.rustc, self.target)
    }
}

impl Record {
    /// # Errors
    /// The first line that cannot be read.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut record = Self {
            machine: Machine { rustc: String::new(), target: String::new() },
            counts: vec![],
        };
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        for line in lines {
            if let Some(rustc) = line.strip_prefix("rustc: ") {
                rustc.clone_into(&mut record.machine.rustc);
            } else if let Some(target) = line.strip_prefix("target: ") {
                target.clone_into(&mut record.machine.target);
            } else {
                let count = line.split_once(' ').and_then(|(name, count)| {
                    let instructions = count.trim().parse().ok()?;
                    Some(Count { name: name.to_owned(), instructions })
                });
                record.counts.push(count.ok_or_else(|| format!("cannot read `{line}`"))?);
            }
        }
        Ok(record)
    }

    pub(super) fn to_text(&self) -> String {
        let Machine { rustc, target } = &self.machine;
        format!("{HEAD}\nrustc: {rustc}\ntarget: {target}\n\n{}", self.table())
    }

    /// A line for each scenario.
    pub(super) fn table(&self) -> String {
        let line = |count: &Count| format!("{:<28} {:>6}\n", count.name, count.instructions);
        self.counts.iter().map(line).collect()
    }

    pub(super) fn count_of(&self, name: &str) -> Option<u64> {
        self.counts.iter().find(|count| count.name == name).map(|count| count.instructions)
    }

    /// How much may differ on that machine.
    pub(super) fn tolerance(&self, machine: &Machine) -> Tolerance {
        if self.machine.target != machine.target {
            Tolerance::Anything
        } else if self.machine.rustc != machine.rustc {
            Tolerance::PerCent(20)
        } else {
            Tolerance::PerCent(3)
        }
    }
}

const HEAD: &str = "\
# Instructions per operation, counted by callgrind.
# `cargo xtask test` fails when one rises by more than 3 % (and one instruction); with another compiler 20 %,
# on another target the counts are only shown. `cargo xtask instructions --bless` writes this file.
";

/// How far a count may be from the recorded one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Tolerance {
    PerCent(u64),
    /// Another instruction set: the counts say nothing of each other.
    Anything,
}

impl Tolerance {
    pub(super) fn as_notice(self) -> String {
        match self {
            Self::PerCent(limit) => format!("{limit} % are tolerated"),
            Self::Anything => "the counts are shown, and not judged".to_owned(),
        }
    }

    pub(super) fn judge(self, recorded: Option<u64>, now: u64) -> Verdict {
        let Self::PerCent(limit) = self else { return Verdict::Within(change(recorded, now)) };
        let Some(recorded) = recorded else { return Verdict::New };
        let change = change(Some(recorded), now);
        // Of very short operations one instruction is more than that.
        if now.abs_diff(recorded) * 100 <= limit * recorded + 100 {
            Verdict::Within(change)
        } else if now > recorded {
            Verdict::Worse(change)
        } else {
            Verdict::Better(change)
        }
    }
}

/// In per cent.
fn change(recorded: Option<u64>, now: u64) -> f64 {
    recorded.map_or(0.0, |recorded| (now as f64 / recorded as f64 - 1.0) * 100.0)
}

/// How a count compares, with the change in per cent.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Verdict {
    Within(f64),
    Better(f64),
    Worse(f64),
    /// Nothing to compare with.
    New,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Within(change) => f.pad(&format!("{change:+.1} %")),
            Self::Better(change) => f.pad(&format!("{change:+.1} % <")),
            Self::Worse(change) => f.pad(&format!("{change:+.1} % >")),
            Self::New => f.pad("new >"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> Machine {
        Machine::of("rustc 1.2.3", "x86_64-unknown-linux-gnu")
    }

    #[test]
    fn record_is_read_as_it_was_written() {
        let count = |name: &str, instructions| Count { name: name.to_owned(), instructions };
        let counts =
            vec![count("encode-publish", 278), count("a-name-longer-than-its-column-is", 1)];
        let record = Record { machine: machine(), counts };
        assert_eq!(Record::parse(&record.to_text()), Ok(record));
        assert!(Record::parse("encode-publish many").is_err());
    }

    #[test]
    fn three_per_cent_and_one_instruction_are_tolerated() {
        let tolerance = Tolerance::PerCent(3);
        let verdict = |recorded, now| tolerance.judge(Some(recorded), now);
        assert!(matches!(verdict(1000, 1031), Verdict::Within(_)));
        assert!(matches!(verdict(1000, 1032), Verdict::Worse(_)));
        assert!(matches!(verdict(1000, 969), Verdict::Within(_)));
        assert!(matches!(verdict(1000, 968), Verdict::Better(_)));
        assert!(matches!(verdict(17, 18), Verdict::Within(_)));
        assert!(matches!(verdict(17, 19), Verdict::Worse(_)));
        assert_eq!(tolerance.judge(None, 5), Verdict::New);
    }

    #[test]
    fn another_compiler_has_more_room_and_another_target_is_not_judged() {
        let record = Record { machine: machine(), counts: vec![] };
        assert_eq!(record.tolerance(&machine()), Tolerance::PerCent(3));
        let newer = Machine::of("rustc 1.2.4", "x86_64-unknown-linux-gnu");
        assert_eq!(record.tolerance(&newer), Tolerance::PerCent(20));
        let other = Machine::of("rustc 1.2.3", "aarch64-unknown-linux-gnu");
        assert_eq!(record.tolerance(&other), Tolerance::Anything);
        assert!(matches!(Tolerance::Anything.judge(Some(1), 100), Verdict::Within(_)));
        assert!(matches!(Tolerance::Anything.judge(None, 100), Verdict::Within(_)));
    }
}

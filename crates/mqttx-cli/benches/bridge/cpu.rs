//! Where the processor's time goes, from /proc.

use std::time::Duration;

/// Processor time so far, user and system.
pub(crate) fn of_process(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    // Behind the name, which may hold anything.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    ticks(fields.skip(11).take(2))
}

/// What all processors together were idle, so far.
pub(crate) fn idle() -> Duration {
    let stat = std::fs::read_to_string("/proc/stat").expect("Linux");
    // `cpu user nice system idle iowait …`
    ticks(stat.split_whitespace().skip(4).take(2))
}

pub(crate) fn processors() -> u32 {
    let count = std::thread::available_parallelism().expect("a number of processors");
    count.get().try_into().expect("few")
}

/// The hundredths of a second of Linux.
fn ticks<'a>(fields: impl Iterator<Item = &'a str>) -> Duration {
    let ticks: u64 = fields.filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

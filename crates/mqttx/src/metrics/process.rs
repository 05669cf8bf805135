//! What the system says of this process.

use std::fs;

/// What this process uses, as of a moment.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
#[non_exhaustive]
pub struct ProcessMetrics {
    /// Processor time, user and system.
    pub cpu_seconds: f64,
    /// Memory in RAM.
    pub resident_bytes: u64,
    /// Address space.
    pub virtual_bytes: u64,
    /// Open file descriptors.
    pub open_fds: u64,
    /// The most that the system allows.
    pub max_fds: u64,
    /// Threads.
    pub threads: u64,
    /// When it started, in Unix time.
    pub start_seconds: f64,
}

impl ProcessMetrics {
    /// As of now; `None` where there is no `/proc`.
    #[must_use]
    pub fn now() -> Option<Self> {
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
        let boot = fs::read_to_string("/proc/stat").unwrap_or_default();
        let mut process = Self::parse(&stat, &limits, &boot, &Units::of_the_system())?;
        process.open_fds = open_fds();
        Some(process)
    }

    /// From the texts of `proc(5)`: `/proc/self/stat`, `/proc/self/limits`, `/proc/stat`.
    fn parse(stat: &str, limits: &str, boot: &str, units: &Units) -> Option<Self> {
        // The name of the process stands in brackets and may hold anything.
        let (_, fields) = stat.rsplit_once(") ")?;
        let fields: Vec<&str> = fields.split(' ').collect();
        // Numbered from the third on, as in the manual.
        let field = |number: usize| fields.get(number - 3)?.trim().parse::<u64>().ok();
        let ticks = |count: u64| count as f64 / units.ticks as f64;
        let booted = boot.lines().find_map(|line| line.strip_prefix("btime "));
        let booted = booted.and_then(|seconds| seconds.trim().parse::<u64>().ok());
        let fds = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
        let soft = fds.and_then(|rest| rest.split_whitespace().next());
        Some(Self {
            cpu_seconds: ticks(field(14)? + field(15)?),
            resident_bytes: field(24)? * units.page,
            virtual_bytes: field(23)?,
            open_fds: 0,
            max_fds: match soft {
                Some("unlimited") => u64::MAX,
                soft => soft.and_then(|n| n.parse().ok()).unwrap_or_default(),
            },
            threads: field(20)?,
            start_seconds: booted.unwrap_or_default() as f64 + ticks(field(22)?),
        })
    }
}

/// Since Linux 6.2 the directory tells their number as its size: with thousands of sockets a scrape need not count them.
fn open_fds() -> u64 {
    const DIRECTORY: &str = "/proc/self/fd";
    match fs::metadata(DIRECTORY).map_or(0, |directory| directory.len()) {
        // The one that reads the directory does not count.
        0 => fs::read_dir(DIRECTORY).map_or(0, |all| all.count() as u64).saturating_sub(1),
        open => open,
    }
}

/// In what the system counts.
struct Units {
    /// A second has so many.
    ticks: u64,
    /// Bytes of a page.
    page: u64,
}

impl Units {
    fn of_the_system() -> Self {
        Self {
            ticks: rustix::param::clock_ticks_per_second(),
            page: rustix::param::page_size() as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    #[test]
    fn the_texts_of_the_system_are_read_by_their_fields() {
        let stat = "4242 (a) b (c) S 1 4242 4242 0 -1 4194560 900 0 1 0 250 50 0 0 20 0 7 0 5000 \
                    10485760 256 18446744073709551615 1 1 0 0 0 0 0 4096 0 0 0 0 17 0 0 0 0 0 0 0\n";
        let limits = "Limit                     Soft Limit           Hard Limit           Units\n\
                      Max open files            1024                 524288               files\n";
        let boot = "cpu  1 2 3\nbtime 1700000000\nprocesses 5\n";
        let units = Units { ticks: 100, page: 4096 };
        let found = ProcessMetrics::parse(stat, limits, boot, &units).unwrap();
        let expected = ProcessMetrics {
            cpu_seconds: 3.0,
            resident_bytes: 1 << 20,
            virtual_bytes: 10 << 20,
            open_fds: 0,
            max_fds: 1024,
            threads: 7,
            start_seconds: 1_700_000_050.0,
        };
        assert_eq!(found, expected);
        assert_eq!(ProcessMetrics::parse("nonsense", "", "", &units), None);
        assert_eq!(ProcessMetrics::parse("1 (x) S 1", "", "", &units), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_is_alive() {
        let found = ProcessMetrics::now().unwrap();
        assert!(found.resident_bytes > 1 << 20 && found.virtual_bytes >= found.resident_bytes);
        assert!(found.open_fds >= 3 && found.open_fds <= found.max_fds);
        let started = SystemTime::UNIX_EPOCH + Duration::from_secs_f64(found.start_seconds);
        let age = SystemTime::now().duration_since(started).unwrap();
        assert!(age < Duration::from_secs(24 * 3600), "{age:?}");
    }
}

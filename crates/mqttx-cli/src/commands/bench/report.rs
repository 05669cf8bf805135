//! The results: a table or one JSON object.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::exit::Failure;
use crate::output;

/// Latencies above a minute count as a minute.
const SLOWEST_US: u64 = 60_000_000;

/// An empty account of microseconds.
pub(super) fn latencies() -> Histogram<u64> {
    Histogram::new_with_bounds(1, SLOWEST_US, 3).expect("valid bounds")
}

/// What the process used so far.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Usage {
    user: Duration,
    system: Duration,
    pub(super) resident_kib: u64,
}

impl Usage {
    /// As of now; zeros where the system does not tell.
    pub(super) fn now() -> Self {
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let (user, system) = cpu_times(&stat).unwrap_or_default();
        Self { user, system, resident_kib: resident_kib(&status).unwrap_or_default() }
    }

    fn cpu_since(&self, before: &Self) -> (f64, f64) {
        (
            self.user.saturating_sub(before.user).as_secs_f64(),
            self.system.saturating_sub(before.system).as_secs_f64(),
        )
    }
}

/// User and system time: fields 14 and 15, in hundredths of a second. The command in field 2 may
/// contain spaces.
fn cpu_times(stat: &str) -> Option<(Duration, Duration)> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let mut time = || Some(Duration::from_millis(fields.next()?.parse::<u64>().ok()? * 10));
    Some((time()?, time()?))
}

fn resident_kib(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The result of `bench pub` and `bench sub`.
#[derive(Debug)]
pub(super) struct Transfer {
    pub(super) clients: u64,
    /// Over all clients.
    pub(super) messages: u64,
    /// Of payload.
    pub(super) bytes: u64,
    pub(super) time: Duration,
    pub(super) latency: Histogram<u64>,
    pub(super) errors: u64,
    pub(super) before: Usage,
    pub(super) after: Usage,
}

impl Transfer {
    fn rows(&self) -> Vec<(&'static str, Value)> {
        let seconds = self.time.as_secs_f64();
        let (user, system) = self.after.cpu_since(&self.before);
        let quantile =
            |q| if self.latency.is_empty() { 0 } else { self.latency.value_at_quantile(q) };
        vec![
            ("clients", Value::Count(self.clients)),
            ("messages", Value::Count(self.messages)),
            ("bytes", Value::Count(self.bytes)),
            ("seconds", Value::Real(seconds)),
            ("rate", Value::Real(per_second(self.messages, seconds))),
            ("p50_us", Value::Count(quantile(0.5))),
            ("p99_us", Value::Count(quantile(0.99))),
            ("max_us", Value::Count(quantile(1.0))),
            ("errors", Value::Count(self.errors)),
            ("cpu_user", Value::Real(user)),
            ("cpu_sys", Value::Real(system)),
            ("rss_kib", Value::Count(self.after.resident_kib)),
        ]
    }

    /// Writes the result.
    ///
    /// # Errors
    /// stdout is closed or full.
    pub(super) fn print(&self, json: bool) -> Result<(), Failure> {
        print(&self.rows(), json)
    }
}

/// The result of `bench conn`.
#[derive(Debug)]
pub(super) struct Connects {
    pub(super) clients: u64,
    pub(super) connected: u64,
    pub(super) errors: u64,
    pub(super) time: Duration,
    pub(super) before: Usage,
    pub(super) after: Usage,
}

impl Connects {
    /// Writes the result.
    ///
    /// # Errors
    /// stdout is closed or full.
    pub(super) fn print(&self, json: bool) -> Result<(), Failure> {
        let seconds = self.time.as_secs_f64();
        let grown = self.after.resident_kib.saturating_sub(self.before.resident_kib);
        let rows = [
            ("clients", Value::Count(self.clients)),
            ("connected", Value::Count(self.connected)),
            ("errors", Value::Count(self.errors)),
            ("seconds", Value::Real(seconds)),
            ("rate", Value::Real(per_second(self.connected, seconds))),
            ("rss_kib", Value::Count(self.after.resident_kib)),
            ("rss_kib_per_client", Value::Real(grown as f64 / self.clients as f64)),
        ];
        print(&rows, json)
    }
}

#[derive(Clone, Copy, Debug)]
enum Value {
    Count(u64),
    Real(f64),
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Count(n) => n.fmt(f),
            Self::Real(x) => write!(f, "{x:.3}"),
        }
    }
}

fn per_second(count: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
}

fn print(rows: &[(&str, Value)], json: bool) -> Result<(), Failure> {
    let text = if json {
        let members: Vec<_> =
            rows.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        format!("{{{}}}\n", members.join(","))
    } else {
        rows.iter().map(|(name, value)| format!("{name:<20} {value:>16}\n")).collect()
    };
    output::print(text.as_bytes())
        .map_err(|error| Failure::runtime(format_args!("standard output: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_found_behind_any_command_name() {
        let stat = "7 (a ) b) S 1 2 3 4 5 6 7 8 9 10 250 75 0 0 20 0";
        let expected = (Duration::from_millis(2500), Duration::from_millis(750));
        assert_eq!(cpu_times(stat), Some(expected));
        assert_eq!(cpu_times("nonsense"), None);
    }

    #[test]
    fn resident_memory_is_found() {
        assert_eq!(resident_kib("Name:\tx\nVmRSS:\t   1234 kB\n"), Some(1234));
        assert_eq!(resident_kib(""), None);
    }

    #[test]
    fn this_process_uses_something() {
        assert!(Usage::now().resident_kib > 0);
    }
}

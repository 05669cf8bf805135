//! The contestant's side of the line between parent and child.
//!
//! The child says `ready`, is released by `go`, and says `done` when everything it was asked for is finished as far as its
//! client can tell. It stays until it is told to end, since the test peer may not have counted everything yet.

use std::io::{BufRead, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::contestant::Contestant;
use crate::workload::{self, Case};

/// One contestant's share of a run.
pub(crate) struct Task {
    pub(crate) case: Case,
    pub(crate) contestant: &'static Contestant,
    pub(crate) peer: SocketAddr,
    pub(crate) messages: u64,
    start: Mutex<Option<oneshot::Receiver<()>>>,
}

/// Runs a contestant: `child CASE CONTESTANT PEER MESSAGES`.
///
/// # Errors
/// Arguments that the parent would not give, or a client that failed.
pub(crate) fn main(arguments: &[String]) -> Result<(), String> {
    let [case, contestant, peer, messages] = arguments else {
        return Err("`child` is for the parent only".to_owned());
    };
    let (go, start) = oneshot::channel();
    let task = Task {
        case: workload::by_name(case).ok_or_else(|| format!("no workload {case}"))?,
        contestant: Contestant::by_name(contestant)
            .ok_or_else(|| format!("no contestant {contestant}"))?,
        peer: peer.parse().map_err(|_| format!("no address: {peer}"))?,
        messages: messages.parse().map_err(|_| format!("no number: {messages}"))?,
        start: Mutex::new(Some(start)),
    };
    std::thread::Builder::new()
        .name("control".to_owned())
        .stack_size(64 << 10)
        .spawn(move || obey(go))
        .map_err(|error| error.to_string())?;
    crate::clients::run(task)
}

impl Task {
    /// Everything is prepared: waits for the release.
    pub(crate) async fn released(&self) {
        if let Some(start) = self.announced() {
            let _ = start.await;
        }
    }

    /// [`released`](Self::released) for code without a runtime.
    #[cfg(feature = "peers")]
    pub(crate) fn released_blocking(&self) {
        if let Some(start) = self.announced() {
            let _ = start.blocking_recv();
        }
    }

    fn announced(&self) -> Option<oneshot::Receiver<()>> {
        say("ready");
        self.start.lock().expect("no panic").take()
    }

    /// A figure that only the contestant can know.
    pub(crate) fn value(&self, name: &str, value: f64) {
        say(&format!("value {value} {name}"));
    }

    /// Remembers the memory that the process has before its sessions.
    pub(crate) fn baseline(&self) {
        self.value("base KiB", Usage::now().resident_kib as f64);
    }

    /// The times that were measured, one for each message.
    pub(crate) fn latencies(&self, mut times: Vec<Duration>) {
        times.sort_unstable();
        for (name, part) in [("p50 us", 0.5), ("p99 us", 0.99), ("p99.9 us", 0.999)] {
            let at = ((times.len() as f64 * part) as usize).min(times.len() - 1);
            self.value(name, times[at].as_secs_f64() * 1e6);
        }
    }

    /// A directory of this run, which the parent removes.
    pub(crate) fn directory(&self) -> PathBuf {
        std::env::var_os(DIRECTORY).map_or_else(std::env::temp_dir, PathBuf::from)
    }

    /// Who issued the certificate of the peer, PEM; `None`: it has no TLS.
    pub(crate) fn authority(&self) -> Option<Vec<u8>> {
        let pem = if self.case.tls { std::env::var(AUTHORITY).ok() } else { None };
        pem.map(String::into_bytes)
    }

    /// Everything is finished, as far as the client can tell; stays until the parent ends the process.
    pub(crate) fn done(&self) {
        say("done");
    }

    pub(crate) fn payload(&self) -> bytes::Bytes {
        vec![b'x'; self.case.payload].into()
    }

    /// How many of the messages the part number `part` of `parts` sends.
    pub(crate) fn share(&self, part: usize, parts: usize) -> u64 {
        let (parts, part) = (parts as u64, part as u64);
        self.messages / parts + u64::from(part < self.messages % parts)
    }
}

/// The variable with the authority of a peer with TLS.
pub(crate) const AUTHORITY: &str = "MQTTX_BENCH_AUTHORITY";

/// The variable that names the directory of a run.
pub(crate) const DIRECTORY: &str = "MQTTX_BENCH_DIRECTORY";

/// How long anything may take that is expected to happen.
pub(crate) const LONG: Duration = Duration::from_secs(120);

/// A line to the parent. Whole lines: several threads may speak.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    // A parent that is gone ends this process by closing its input.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// Follows the parent's words until its side is closed.
fn obey(go: oneshot::Sender<()>) {
    let mut go = Some(go);
    for line in std::io::stdin().lock().lines() {
        match line.as_deref() {
            Ok("go") => {
                if let Some(go) = go.take() {
                    let _ = go.send(());
                }
            }
            Ok("usage") => {
                let Usage { cpu, resident_kib, threads } = Usage::now();
                say(&format!("usage {} {resident_kib} {threads}", cpu.as_nanos()));
            }
            _ => break,
        }
    }
    std::process::exit(0);
}

/// What this process used so far.
struct Usage {
    cpu: Duration,
    /// Of its own: without the pages of the program and its libraries, of which more are there the more code has run.
    resident_kib: u64,
    threads: u64,
}

impl Usage {
    fn now() -> Self {
        let cpu = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
        };
        Self {
            cpu: Duration::new(cpu.tv_sec as u64, cpu.tv_nsec as u32),
            resident_kib: field("RssAnon:"),
            threads: field("Threads:"),
        }
    }
}

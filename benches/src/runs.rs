//! One run of one contestant: against a test peer of its own, under the parent's clock.

use std::time::{Duration, Instant};

use mqttx_test::{Counters, LoadPeer, Pki, TlsFront};

use crate::contestant::Contestant;
use crate::process::{Runner, Usage};
use crate::report::Sample;
use crate::workload::{Case, Work};

/// How long nothing may arrive before the rest counts as lost.
const SILENCE: Duration = Duration::from_secs(3);

/// Runs a contestant once.
///
/// # Errors
/// It failed, ended, or did not come to an end.
pub(crate) fn run(
    case: &Case,
    contestant: &Contestant,
    messages: u64,
    quick: bool,
) -> Result<Sample, String> {
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    if files.is_some_and(|files| files < case.files()) {
        return Err(format!("it needs `ulimit -n {}`", case.files()));
    }
    let messages = messages / case.sessions as u64 * case.sessions as u64;
    let peer = LoadPeer::start(case.peer(messages));
    let tls = case.tls.then(|| Tls::before(&peer));
    let (address, authority) = tls.as_ref().map_or_else(
        || (peer.address(), None),
        |tls| (tls.front.address(), Some(tls.authority.as_str())),
    );
    let mut runner = Runner::start(case, contestant, address, authority, messages)?;
    match case.work {
        Work::Idle => idle(case, &mut runner, quick),
        _ => busy(case, &mut runner, &peer, messages),
    }
}

/// What decrypts for the test peer, on a thread of its own.
struct Tls {
    front: TlsFront,
    authority: String,
}

impl Tls {
    fn before(peer: &LoadPeer) -> Self {
        let pki = Pki::new("bench");
        let server = pki.server(&[&peer.address().ip().to_string()]);
        let front = TlsFront::builder(&server).start_apart(peer.address());
        Self { front, authority: pki.ca() }
    }
}

/// From the release until the contestant and the peer have everything.
fn busy(
    case: &Case,
    runner: &mut Runner,
    peer: &LoadPeer,
    messages: u64,
) -> Result<Sample, String> {
    let (before, peer_before) = (runner.usage()?, own_cpu());
    let start = Instant::now();
    runner.go()?;
    runner.wait("done", Duration::from_secs(120))?;
    let (counted, end) = counted(case, messages, peer);
    let busy = own_cpu().saturating_sub(peer_before).as_secs_f64() / start.elapsed().as_secs_f64();
    let elapsed = end.duration_since(start).as_secs_f64();
    let after = runner.usage()?;
    let mut sample = Sample::default();
    match case.work {
        Work::Latency(_) => {}
        Work::Connect => sample.push("sessions/s", counted as f64 / elapsed),
        Work::Metrics | Work::Lifecycles => sample.push("operations/s", counted as f64 / elapsed),
        _ => sample.push("msg/s", counted as f64 / elapsed),
    }
    for (name, value) in runner.values.drain(..) {
        sample.push(&name, value);
    }
    sample.push("CPU us/each", cpu(before, after).as_secs_f64() * 1e6 / counted as f64);
    // Near 1 the test peer, not the contestant, may be what limits.
    sample.push("peer busy", busy);
    if counted < messages {
        sample.push("lost", (messages - counted) as f64 / messages as f64);
    }
    Ok(sample)
}

/// What sessions cost that have nothing to do but to answer pings.
fn idle(case: &Case, runner: &mut Runner, quick: bool) -> Result<Sample, String> {
    let hold = Duration::from_secs(if quick { 10 } else { 70 });
    let before = runner.usage()?;
    std::thread::sleep(hold);
    let after = runner.usage()?;
    let value = |name: &str| {
        let found = runner.values.iter().find(|(own, _)| own == name);
        found.map_or(f64::NAN, |(_, value)| *value)
    };
    let grown = after.resident_kib as f64 - value("base KiB");
    let mut sample = Sample::default();
    sample.push("KiB/session", grown / case.sessions as f64);
    sample.push("CPU ms/s", cpu(before, after).as_secs_f64() * 1e3 / hold.as_secs_f64());
    sample.push("threads", after.threads as f64);
    sample.push("connect s", value("connect s"));
    Ok(sample)
}

/// Waits until the peer has everything; what it had when nothing more came, and when.
fn counted(case: &Case, messages: u64, peer: &LoadPeer) -> (u64, Instant) {
    let Some(reached) = by_peer(case) else { return (messages, Instant::now()) };
    let mut best = (0, Instant::now());
    loop {
        let reached = reached(&peer.counters());
        if reached > best.0 {
            best = (reached, Instant::now());
        }
        if reached >= messages || best.1.elapsed() > SILENCE {
            return best;
        }
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// How the peer knows how many messages are finished; `None`: only the contestant can know.
fn by_peer(case: &Case) -> Option<fn(&Counters) -> u64> {
    match (case.work, case.qos) {
        (Work::Publish | Work::Durable, 2) => Some(|counters| counters.released),
        (Work::Publish | Work::Latency(_), _) | (Work::Forward, 0) => {
            Some(|counters| counters.publishes)
        }
        (Work::Forward, _) => Some(|counters| counters.publishes.min(counters.acknowledged)),
        (Work::Receive, 0) => Some(|counters| counters.flooded),
        (Work::Receive, _) => Some(|counters| counters.acknowledged),
        (Work::Connect, _) => Some(|counters| counters.connects),
        // The raw limit of the disk sends nothing.
        (Work::Durable | Work::Idle | Work::Metrics | Work::Lifecycles, _) => None,
    }
}

fn cpu(before: Usage, after: Usage) -> Duration {
    after.cpu.saturating_sub(before.cpu)
}

/// What this process used, which is the peer.
fn own_cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

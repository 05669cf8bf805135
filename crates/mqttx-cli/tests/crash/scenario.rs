//! What a run does, and how one of its failures is repeated.

use std::fmt;
use std::time::Duration;

use super::broker::{Broker, Conduct};
use super::packet::Version;
use super::random::Random;
use super::victim::{End, Killer};

/// How long things may take that nothing holds up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// One test.
#[derive(Clone)]
pub(crate) struct Scenario {
    name: &'static str,
    pub(crate) version: Version,
    pub(crate) qos: u8,
    /// The value of `--store`.
    pub(crate) store: String,
    flags: Vec<&'static str>,
    pub(crate) seed: u64,
}

/// Whether there is time.
pub(crate) fn long() -> bool {
    std::env::var_os("MQTTX_TEST_LONG").is_some()
}

/// How many times a test kills its process.
pub(crate) fn kills() -> usize {
    if long() { 200 } else { 60 }
}

impl Scenario {
    pub(crate) fn new(
        name: &'static str,
        version: &str,
        qos: u8,
        store: &str,
        flags: &[&'static str],
    ) -> Self {
        let version = if version == "5" { Version::V5 } else { Version::V311 };
        let seed = match std::env::var("MQTTX_TEST_SEED") {
            Ok(seed) => seed.parse().expect("MQTTX_TEST_SEED is a number"),
            Err(_) => std::time::UNIX_EPOCH.elapsed().expect("a time after 1970").as_nanos() as u64,
        };
        Self { name, version, qos, store: store.to_owned(), flags: flags.to_vec(), seed }
    }

    /// The same in another store.
    pub(crate) fn with_store(&self, store: String) -> Self {
        Self { store, ..self.clone() }
    }

    /// The command line of `pub` or `sub`, without what is special to either.
    pub(crate) fn args(&self, command: &str, port: &str) -> Vec<String> {
        let (version, qos) =
            (if self.version == Version::V5 { "5" } else { "311" }, self.qos.to_string());
        let words = [command, "-V", version, "-h", "127.0.0.1", "-p", port, "-i", "crash", "-c"];
        let more = ["-t", "t", "-q", &qos, "--store", &self.store];
        let delays = ["--reconnect-initial-ms", "1", "--reconnect-max-ms", "20"];
        let all = words.iter().chain(&more).chain(&delays).chain(&self.flags);
        all.map(|&word| word.to_owned()).collect()
    }

    /// Fails the test.
    pub(crate) fn fail(&self, life: usize, fault: impl fmt::Display) -> ! {
        let Self { name, seed, .. } = self;
        panic!("{name}, life {life}: {fault}\nrepeat it with MQTTX_TEST_SEED={seed}")
    }

    /// Fails if the client broke a rule, or ended in a way that nobody asked for.
    pub(crate) fn check(&self, life: usize, broker: &Broker, end: &End) {
        let faults = std::mem::take(&mut broker.state().faults);
        if !faults.is_empty() {
            self.fail(life, format_args!("{}\nstderr: {}", faults.join("\n"), end.stderr));
        }
        if !end.was_killed() && end.status.code() != Some(0) {
            self.fail(life, format_args!("it ended with {}: {}", end.status, end.stderr));
        }
    }
}

/// When a life ends, unless it ends by itself before.
pub(crate) struct Doom {
    /// With so many packets on the wire.
    pub(crate) packets: Option<u64>,
    /// With so many lines on stdout.
    pub(crate) lines: Option<u64>,
    /// At the latest after this time, which begins with the connection: a busy machine may need as long for the start.
    pub(crate) time: Duration,
    /// It begins with the process.
    pub(crate) from_start: bool,
    /// Long enough after its last deed for everything to be on record.
    pub(crate) lingers: bool,
}

impl Doom {
    pub(crate) fn draw(random: &mut Random) -> Self {
        let time = Duration::from_millis(150);
        let mut doom = Self { packets: None, lines: None, time, from_start: false, lingers: false };
        match random.below(10) {
            0..5 => doom.packets = Some(1 + random.below(60)),
            5..7 => doom.lines = Some(1 + random.below(40)),
            7..9 => {
                doom.time = random.up_to(Duration::from_millis(50));
                doom.from_start = true;
            }
            _ => {
                doom.time = Duration::from_millis(300) + random.up_to(Duration::from_millis(100));
                doom.lingers = true;
            }
        }
        doom
    }

    /// How long a process lives that reaches nobody.
    pub(crate) fn patience(&self) -> Duration {
        if self.from_start { self.time } else { PATIENCE }
    }

    /// What the broker needs of it.
    pub(crate) fn fuse(&self, killer: &Killer) -> Option<(u64, Killer)> {
        self.packets.map(|packets| (packets, killer.clone()))
    }
}

impl Conduct {
    pub(crate) fn draw(random: &mut Random) -> Self {
        let receive_maximum = random.chance(40).then(|| 1 + random.below(10) as u16);
        let mut conduct = Self { receive_maximum, ..Self::KIND };
        match random.below(10) {
            0..4 => {}
            4..6 => {
                conduct.hold = 1 + random.below(60);
                conduct.patience = Duration::from_millis(10);
            }
            // Never, as far as a short life is concerned.
            6 => (conduct.hold, conduct.patience) = (30, Duration::from_secs(600)),
            7 => conduct.cut = 20,
            8 => conduct.cut = 5,
            _ => {
                (conduct.hold, conduct.patience) = (20, Duration::from_millis(5));
                conduct.cut = 3;
            }
        }
        conduct
    }
}

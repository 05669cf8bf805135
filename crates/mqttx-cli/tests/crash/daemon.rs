//! The daemon with a forwarder, killed again and again between two brokers: what the source's server saw acknowledged arrives at the
//! target, with QoS 2 once, unless the kill came before the source's acknowledgement.

use std::collections::BTreeMap;
use std::path::PathBuf;

use mqttx_test::TempDir;
use tokio::time::{Instant, sleep_until, timeout};

use super::broker::{Broker, Conduct};
use super::packet::Version;
use super::random::Random;
use super::scenario::{Doom, PATIENCE, Scenario};
use super::victim::{End, Victim};

/// Kills it so many times.
pub(crate) async fn run(scenario: &Scenario, kills: usize) {
    let mut random = Random::new(scenario.seed);
    let Scenario { version, qos, .. } = *scenario;
    let source = Broker::start(version, qos, random.next()).await;
    let target = Broker::start(version, qos, random.next()).await;
    target.state().inbound.is_forwarded();
    let place = TempDir::new("crash-daemon");
    let config = config(&place, scenario, &source, &target);
    let mut run =
        Run { scenario, source, target, random, config, life: 0, excused: BTreeMap::new() };
    for _ in 0..kills {
        run.live().await;
    }
    run.finish().await;
}

struct Run<'a> {
    scenario: &'a Scenario,
    source: Broker,
    target: Broker,
    random: Random,
    config: PathBuf,
    life: usize,
    /// How often the daemon was killed while the source's server had no acknowledgement of the message.
    excused: BTreeMap<u64, usize>,
}

fn config(place: &TempDir, scenario: &Scenario, source: &Broker, target: &Broker) -> PathBuf {
    let path = place.path().join("mqttx.toml");
    let protocol = if scenario.version == Version::V5 { "5" } else { "3.1.1" };
    let store = match scenario.store.strip_prefix("file:") {
        Some(_) => "kind = 'file'".to_owned(),
        None => format!("kind = 'redis'\nurl = '{}'", scenario.store),
    };
    let text = format!(
        "[stores.kept]\n{store}\n\
         [defaults.session]\nstore = 'kept'\nprotocol = '{protocol}'\n\
         reconnect = {{ initial = '1ms', max = '20ms' }}\n\
         [sessions.src]\nbrokers = ['mqtt://127.0.0.1:{}']\nclient_id = 'src'\n\
         [sessions.dst]\nbrokers = ['mqtt://127.0.0.1:{}']\nclient_id = 'dst'\n\
         [forwarders.fw]\nfrom = [{{ session = 'src', topics = ['t'], qos = {} }}]\n\
         to = [{{ session = 'dst', topic = 't' }}]\n",
        source.port(),
        target.port(),
        scenario.qos
    );
    std::fs::write(&path, text).expect("a file");
    path
}

impl Run<'_> {
    fn start(&mut self) -> Victim {
        self.life += 1;
        let config = self.config.to_str().expect("text").to_owned();
        Victim::start(&["run".to_owned(), "-c".to_owned(), config])
    }

    async fn live(&mut self) {
        let mut victim = self.start();
        let killer = victim.killer();
        let doom = Doom::draw(&mut self.random);
        let conducts = (Conduct::draw(&mut self.random), Conduct::draw(&mut self.random));
        let (at_source, more) = (self.random.chance(50), self.random.below(40));
        {
            let (mut source, mut target) = (self.source.state(), self.target.state());
            source.outbound.more(more);
            source.begin(conducts.0, doom.fuse(&killer).filter(|_| at_source));
            target.begin(conducts.1, doom.fuse(&killer).filter(|_| !at_source));
        }
        let mut deadline = Instant::now() + doom.patience();
        let mut begun = doom.from_start;
        let mut doomed = false;
        loop {
            tokio::select! {
                line = victim.line() => if line.is_none() { break },
                () = self.source.reached(), if !begun => {
                    begun = true;
                    deadline = Instant::now() + doom.time;
                }
                () = sleep_until(deadline), if !doomed => {
                    doomed = true;
                    self.source.state().fall_silent();
                    self.target.state().fall_silent();
                    killer.kill();
                }
            }
        }
        let end = victim.end().await;
        if !end.was_killed() {
            self.scenario.fail(self.life, format_args!("it ended by itself: {}", end.stderr));
        }
        let drained = async { tokio::join!(self.source.drained(), self.target.drained()) };
        if timeout(PATIENCE, drained).await.is_err() {
            self.scenario.fail(self.life, "a connection stays after the end of the process");
        }
        self.check(&end);
        let mut source = self.source.state();
        source.outbound.killed();
        for number in source.outbound.unacknowledged() {
            *self.excused.entry(number).or_default() += 1;
        }
    }

    fn check(&self, end: &End) {
        self.scenario.check(self.life, &self.source, end);
        self.scenario.check(self.life, &self.target, end);
    }

    /// A last life without a kill, then the sums.
    async fn finish(&mut self) {
        let victim = self.start();
        {
            let (mut source, mut target) = (self.source.state(), self.target.state());
            source.outbound.more(5);
            source.begin(Conduct::KIND, None);
            target.begin(Conduct::KIND, None);
        }
        let source = self.source.until(|state| state.outbound.is_finished());
        let mut done = timeout(PATIENCE, source).await.is_ok();
        let last = self.source.state().outbound.last();
        let target = self.target.until(|state| {
            state.inbound.is_finished() && (1..=last).all(|n| state.inbound.delivered(n) > 0)
        });
        done &= timeout(PATIENCE, target).await.is_ok();
        victim.terminate().await;
        let end = victim.end().await;
        self.check(&end);
        let state = self.target.state();
        let lost: Vec<_> = (1..=last).filter(|&n| state.inbound.delivered(n) == 0).collect();
        if !done {
            self.scenario.fail(self.life, format_args!("lost: {lost:?}; {}", end.stderr));
        }
        let allowed = |number| 1 + self.excused.get(&number).copied().unwrap_or_default();
        let twice = |&number: &u64| state.inbound.delivered(number) > allowed(number);
        let repeated: Vec<_> = (1..=last).filter(twice).collect();
        if self.scenario.qos == 2 && !repeated.is_empty() {
            self.scenario.fail(self.life, format_args!("forwarded again: {repeated:?}"));
        }
        assert!(last > self.life as u64, "too little was sent to prove anything");
    }
}

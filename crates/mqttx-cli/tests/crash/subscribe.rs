//! `sub`, killed again and again: every message is printed, with QoS 2 once.

use std::collections::BTreeMap;

use tokio::time::{sleep_until, timeout};

use super::broker::{Broker, Conduct};
use super::random::{Random, number};
use super::scenario::{Doom, PATIENCE, Scenario};
use super::victim::Victim;

/// Kills it so many times.
pub(crate) async fn run(scenario: &Scenario, kills: usize) {
    let mut random = Random::new(scenario.seed);
    let broker = Broker::start(scenario.version, scenario.qos, random.next()).await;
    let mut run = Run { scenario, broker, random, life: 0, kills: 0, printed: BTreeMap::new() };
    while run.kills < kills {
        let doom = Doom::draw(&mut run.random);
        let conduct = Conduct::draw(&mut run.random);
        run.live(&doom, conduct).await;
    }
    run.finish().await;
}

struct Run<'a> {
    scenario: &'a Scenario,
    broker: Broker,
    random: Random,
    life: usize,
    kills: usize,
    printed: BTreeMap<u64, Count>,
}

#[derive(Default)]
struct Count {
    printed: usize,
    /// So often the process was killed after it printed it, and before the broker had its PUBREC.
    excused: usize,
}

impl Run<'_> {
    fn start(&mut self) -> Victim {
        self.life += 1;
        Victim::start(&self.scenario.args("sub", &self.broker.port()))
    }

    async fn live(&mut self, doom: &Doom, conduct: Conduct) {
        let mut victim = self.start();
        let killer = victim.killer();
        let more = self.random.below(40);
        {
            let mut state = self.broker.state();
            state.outbound.more(more);
            state.begin(conduct, doom.fuse(&killer));
        }
        let mut deadline = tokio::time::Instant::now() + doom.patience();
        let mut begun = doom.from_start;
        let mut lines = doom.lines;
        let mut now = Vec::new();
        let mut doomed = false;
        loop {
            tokio::select! {
                line = victim.line() => match line {
                    None => break,
                    Some(line) => {
                        now.extend(self.printed(&line));
                        lines = lines.map(|left| left.saturating_sub(1));
                    }
                },
                () = self.broker.reached(), if !begun => {
                    begun = true;
                    deadline = tokio::time::Instant::now() + doom.time;
                }
                () = sleep_until(deadline), if !doomed => {
                    doomed = true;
                    lines = Some(0);
                }
            }
            if lines == Some(0) {
                self.broker.state().fall_silent();
                killer.kill();
            }
        }
        let end = victim.end().await;
        if timeout(PATIENCE, self.broker.drained()).await.is_err() {
            self.scenario.fail(self.life, "the connection stays after the end of the process");
        }
        self.scenario.check(self.life, &self.broker, &end);
        if !end.was_killed() {
            self.scenario.fail(self.life, format_args!("it ended by itself: {}", end.stderr));
        }
        self.kills += 1;
        let mut state = self.broker.state();
        state.outbound.killed();
        for number in now.into_iter().filter(|&number| !state.outbound.was_received(number)) {
            self.printed.entry(number).or_default().excused += 1;
        }
    }

    /// Counts a line; the last one of a killed process may be cut short.
    fn printed(&mut self, line: &str) -> Option<u64> {
        let number = number(line.as_bytes()).ok()?;
        self.printed.entry(number).or_default().printed += 1;
        Some(number)
    }

    /// A last life without a kill, then the sums.
    async fn finish(&mut self) {
        let mut victim = self.start();
        {
            let mut state = self.broker.state();
            state.outbound.more(5);
            state.begin(Conduct::KIND, None);
        }
        let all = async {
            loop {
                tokio::select! {
                    line = victim.line() => { self.printed(&line.expect("it does not end")); }
                    () = self.broker.until(|state| state.outbound.is_finished()) => break,
                }
            }
        };
        let done = timeout(PATIENCE, all).await.is_ok();
        victim.terminate().await;
        while let Some(line) = victim.line().await {
            self.printed(&line);
        }
        let end = victim.end().await;
        self.scenario.check(self.life, &self.broker, &end);
        if !done {
            self.scenario.fail(self.life, "messages stay unacknowledged");
        }
        self.judge();
    }

    fn judge(&self) {
        let last = self.broker.state().outbound.last();
        assert!(last > self.kills as u64, "too little was sent to prove anything");
        let count = |number| self.printed.get(&number).map_or((0, 0), |c| (c.printed, c.excused));
        let lost: Vec<_> = (1..=last).filter(|&number| count(number).0 == 0).collect();
        if !lost.is_empty() {
            self.scenario.fail(self.life, format_args!("never printed: {lost:?}"));
        }
        let twice = |&number: &u64| count(number).0 > 1 + count(number).1;
        let repeated: Vec<_> = (1..=last).filter(twice).collect();
        if self.scenario.qos == 2 && !repeated.is_empty() {
            self.scenario.fail(self.life, format_args!("printed again: {repeated:?}"));
        }
        println!("{} kills, {last} messages", self.kills);
    }
}

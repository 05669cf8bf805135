//! `pub -l --report`, killed again and again: what was accepted arrives.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use tokio::io::AsyncWriteExt;
use tokio::task::JoinHandle;
use tokio::time::{sleep_until, timeout};

use super::broker::{Broker, Conduct};
use super::outbound::CERTAINLY_WRITTEN;
use super::random::{Random, payload};
use super::scenario::{Doom, PATIENCE, Scenario};
use super::victim::{Killer, Victim};

/// Kills it so many times.
pub(crate) async fn run(scenario: &Scenario, kills: usize) {
    Run::new(scenario, 0).await.all(kills).await;
}

/// The same, where the process remembers no message that the store has: it reports none.
pub(crate) async fn run_silent(scenario: &Scenario, kills: usize) {
    let mut run = Run::new(scenario, 0).await;
    run.report = false;
    run.all(kills).await;
}

/// The same, with a server that loses the session in some of its connections.
pub(crate) async fn run_forgetful(scenario: &Scenario, kills: usize) {
    Run::new(scenario, 15).await.all(kills).await;
}

struct Run<'a> {
    scenario: &'a Scenario,
    broker: Broker,
    random: Random,
    forget: u64,
    /// Whether the process reports each message. If it does not, what it was given counts as accepted when it ends by itself.
    report: bool,
    life: usize,
    kills: usize,
    /// The number of the last message that was given to a process.
    last: u64,
    accepted: BTreeSet<u64>,
    /// When the acknowledgement was reported.
    acknowledged: BTreeMap<u64, Instant>,
    refused: Vec<String>,
}

impl<'a> Run<'a> {
    async fn new(scenario: &'a Scenario, forget: u64) -> Self {
        let mut random = Random::new(scenario.seed);
        Self {
            broker: Broker::start(scenario.version, scenario.qos, random.next()).await,
            scenario,
            random,
            forget,
            report: true,
            life: 0,
            kills: 0,
            last: 0,
            accepted: BTreeSet::new(),
            acknowledged: BTreeMap::new(),
            refused: Vec::new(),
        }
    }

    async fn all(mut self, kills: usize) {
        while self.kills < kills {
            let doom = Doom::draw(&mut self.random);
            let mut conduct = Conduct::draw(&mut self.random);
            conduct.forget = self.forget;
            self.live(Some(doom), conduct).await;
        }
        self.live(None, Conduct::KIND).await;
        self.judge();
    }

    /// One life of the process; without a doom, the one that finishes everything.
    async fn live(&mut self, doom: Option<Doom>, conduct: Conduct) {
        self.life += 1;
        let mut args = self.scenario.args("pub", &self.broker.port());
        args.push("-l".to_owned());
        args.extend(self.report.then(|| "--report".to_owned()));
        let mut victim = Victim::start(&args);
        let killer = victim.killer();
        let fuse = doom.as_ref().and_then(|doom| doom.fuse(&killer));
        self.broker.state().begin(conduct, fuse);
        let first = self.last + 1;
        let input = self.give(&mut victim, doom.as_ref());
        let started = tokio::time::Instant::now();
        let mut deadline = started + doom.as_ref().map_or(PATIENCE, Doom::patience);
        let mut begun = doom.as_ref().is_none_or(|doom| doom.from_start);
        let mut lines = doom.as_ref().and_then(|doom| doom.lines);
        let mut doomed = false;
        loop {
            tokio::select! {
                line = victim.line() => match line {
                    None => break,
                    Some(line) => {
                        self.reported(first, &line);
                        lines = lines.map(|left| left.saturating_sub(1));
                        if lines == Some(0) {
                            self.kill(&killer);
                        }
                    }
                },
                () = self.broker.reached(), if !begun => {
                    begun = true;
                    deadline = tokio::time::Instant::now() + doom.as_ref().map_or(PATIENCE, |doom| doom.time);
                }
                () = sleep_until(deadline), if !doomed => {
                    doomed = true;
                    self.kill(&killer);
                }
            }
        }
        input.abort();
        let killed = killer.killed();
        let end = victim.end().await;
        if timeout(PATIENCE, self.broker.drained()).await.is_err() {
            self.scenario.fail(self.life, "the connection stays after the end of the process");
        }
        self.scenario.check(self.life, &self.broker, &end);
        if !self.refused.is_empty() {
            self.scenario.fail(self.life, format_args!("{:?}: {}", self.refused, end.stderr));
        }
        if end.was_killed() {
            self.kills += 1;
            if doom.is_none() {
                self.scenario.fail(self.life, format_args!("it does not end: {}", end.stderr));
            }
        } else {
            if !self.report {
                self.accepted.extend(first..=self.last);
            }
            self.all_delivered();
        }
        self.note_finished(killed.filter(|_| end.was_killed()));
    }

    /// Writes lines to the process, and perhaps the end of the input.
    fn give(&mut self, victim: &mut Victim, doom: Option<&Doom>) -> JoinHandle<()> {
        let mut lines = Vec::new();
        if doom.is_some() {
            for _ in 0..self.random.below(40) {
                self.last += 1;
                lines.extend(format!("{}\n", payload(self.last)).into_bytes());
            }
        }
        let stays = doom.is_some_and(|doom| doom.lingers || self.random.chance(60));
        let pause = self.random.up_to(std::time::Duration::from_millis(4));
        let mut stdin = victim.stdin.take().expect("an open stdin");
        tokio::spawn(async move {
            // A process that is killed does not take all of it.
            for part in lines.chunks(2000) {
                let _ = stdin.write_all(part).await;
                tokio::time::sleep(pause).await;
            }
            if stays {
                std::future::pending::<()>().await;
            }
        })
    }

    fn kill(&self, killer: &Killer) {
        self.broker.state().fall_silent();
        killer.kill();
    }

    /// A line of `--report`; the last one of a killed process may be cut short.
    fn reported(&mut self, first: u64, line: &str) {
        let Ok(line) = serde_json::from_str::<serde_json::Value>(line) else { return };
        let number = first - 1 + line["n"].as_u64().expect("a number");
        match line["event"].as_str() {
            Some("accepted") => assert!(self.accepted.insert(number), "accepted twice: {number}"),
            Some("acknowledged") => {
                assert!(self.accepted.contains(&number), "not accepted before: {number}");
                self.acknowledged.insert(number, Instant::now());
            }
            _ => self.refused.push(format!("message {number}: {line}")),
        }
    }

    /// What was acknowledged so long ago that it is on record must not be sent again.
    fn note_finished(&mut self, killed: Option<Instant>) {
        let mut state = self.broker.state();
        self.acknowledged.retain(|&number, reported| {
            let finished = killed.is_none_or(|at| *reported + CERTAINLY_WRITTEN < at);
            if finished {
                state.inbound.finished_for_good(number);
            }
            !finished && killed.is_none()
        });
    }

    fn all_delivered(&self) {
        let state = self.broker.state();
        let delivered = |number: &&u64| state.inbound.delivered(**number) == 0;
        let lost: Vec<_> = self.accepted.iter().filter(delivered).collect();
        if !lost.is_empty() {
            self.scenario.fail(self.life, format_args!("accepted, but never sent: {lost:?}"));
        }
    }

    fn judge(&self) {
        let repeated = self.broker.state().inbound.repeated();
        if self.scenario.qos == 2 && !repeated.is_empty() {
            self.scenario.fail(self.life, format_args!("delivered twice: {repeated:?}"));
        }
        let accepted = self.accepted.len() > self.kills || !self.report;
        assert!(accepted, "too little was published to prove anything");
        println!(
            "{} kills in {} lives, {} messages given, {} accepted",
            self.kills,
            self.life,
            self.last,
            self.accepted.len()
        );
    }
}

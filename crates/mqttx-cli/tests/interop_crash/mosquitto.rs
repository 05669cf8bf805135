//! `pub` and `sub` with file stores on both sides of Mosquitto, both killed, and Mosquitto restarted between them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mqttx_test::{Mosquitto, TempDir};
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, sleep_until, timeout};

use super::random::{Random, number, payload};
use super::scenario::{PATIENCE, Scenario, kills};
use super::victim::Victim;

/// Messages of one life.
const BATCH: u64 = 20;

/// Messages that Mosquitto may have under way to the subscriber: more than these the subscriber never has printed
/// without having said so.
const WINDOW: usize = 20;

#[tokio::test]
async fn killed_pub_and_sub_lose_no_qos_1_message_through_mosquitto() {
    run("killed_pub_and_sub_lose_no_qos_1_message_through_mosquitto", "311", 1).await;
}

#[tokio::test]
async fn killed_pub_and_sub_pass_qos_2_through_mosquitto_once() {
    run("killed_pub_and_sub_pass_qos_2_through_mosquitto_once", "5", 2).await;
}

async fn run(name: &'static str, version: &str, qos: u8) {
    // Its log tells of each packet: see `sent_after_pubrec`.
    let mosquitto = Mosquitto::builder().persistence(true).line("log_type all");
    let Some(mut broker) = mosquitto.start().await else { return };
    let place = TempDir::new(name);
    let store = |end: &str| format!("file:{}", place.path().join(end).display());
    let scenario = Scenario::new(name, version, qos, "", &[]);
    let port = broker.address().port().to_string();
    let args = |command: &str, id: &str| {
        let mut args = scenario.with_store(store(command)).args(command, &port);
        args.iter_mut().filter(|word| *word == "crash").for_each(|word| *word = id.to_owned());
        args
    };
    let mut random = Random::new(scenario.seed);
    let mut run = Run::default();
    // From now on the server keeps what is published.
    let first = [args("sub", "reader"), vec!["-E".to_owned()]].concat();
    assert!(Victim::start(&first).end().await.status.success());
    let (publisher, mut subscriber) = (args("pub", "writer"), args("sub", "reader"));
    // In 5.0 Mosquitto takes its window from CONNECT, and `sub` refuses what is beyond a window that was asked for.
    subscriber.extend(["--receive-maximum".to_owned(), WINDOW.to_string()]);
    while run.lives < kills() / 2 {
        run.lives += 1;
        let (first, second) = (random.up_to(LIFE), random.up_to(LIFE));
        let (given, printed) =
            tokio::join!(publish(&publisher, run.last, Some(first)), print(&subscriber, second));
        run.note(given, printed);
        if random.chance(20) {
            broker.stop().await;
            broker.restart().await;
        }
    }
    let given = publish(&publisher, run.last, None).await;
    run.note(given, Vec::new());
    let mut victim = Victim::start(&subscriber);
    let all = async {
        while !run.is_complete() {
            run.printed(&victim.line().await.expect("it does not end"));
        }
    };
    if timeout(PATIENCE, all).await.is_err() {
        scenario.fail(run.lives, format_args!("never printed: {:?}", run.missing()));
    }
    // Perhaps there was nothing left to print, and it has only begun.
    victim.killer().kill();
    let end = victim.end().await;
    assert!(end.was_killed(), "{}: {}", end.status, end.stderr);
    let repeated = run.repeated(&sent_after_pubrec(&broker.log()));
    if qos == 2 && !repeated.is_empty() {
        scenario.fail(run.lives, format_args!("printed again: {repeated:?}"));
    }
}

/// The longest life of a process.
const LIFE: Duration = Duration::from_millis(80);

/// How often Mosquitto sent a message once more whose PUBREC it had, by packet id. It does so when a connection ends while it sends
/// PUBREL again, and then a subscriber that had the PUBREL cannot know the message.
fn sent_after_pubrec(log: &str) -> BTreeMap<usize, usize> {
    let (mut received, mut sent) = (BTreeSet::new(), BTreeMap::new());
    for line in log.lines() {
        if let Some((_, id)) = line.split_once("Received PUBREC from reader (Mid: ") {
            received.extend(id.trim_end_matches(')').parse::<usize>());
        } else if let Some((_, publish)) = line.split_once("Sending PUBLISH to reader (") {
            // As in "d1, q2, r0, m61, 't', ... (34 bytes))".
            let id = publish.split(", ").nth(3).and_then(|id| id.strip_prefix('m')?.parse().ok());
            let id = id.expect("a packet id");
            if received.contains(&id) {
                *sent.entry(id).or_default() += 1;
            }
        }
    }
    sent
}

#[derive(Default)]
struct Run {
    last: u64,
    accepted: BTreeSet<u64>,
    prints: BTreeMap<u64, Count>,
    /// As they were printed first: Mosquitto gave them the packet ids 1, 2, 3, and so on.
    order: Vec<u64>,
    lives: usize,
}

#[derive(Default)]
struct Count {
    printed: usize,
    /// So often it was among the last that a killed process printed: their acknowledgements may be missing.
    excused: usize,
}

impl Run {
    fn note(&mut self, given: Given, lines: Vec<String>) {
        self.last = given.last;
        self.accepted.extend(given.accepted);
        let numbers: Vec<_> = lines.iter().filter_map(|line| self.printed(line)).collect();
        for number in numbers.iter().rev().take(WINDOW) {
            self.prints.entry(*number).or_default().excused += 1;
        }
    }

    /// Counts a line; the last one of a killed process may be cut short.
    fn printed(&mut self, line: &str) -> Option<u64> {
        let number = number(line.as_bytes()).ok()?;
        let count = self.prints.entry(number).or_default();
        count.printed += 1;
        if count.printed == 1 {
            self.order.push(number);
        }
        Some(number)
    }

    fn missing(&self) -> Vec<u64> {
        let printed = |number: &u64| self.prints.get(number).is_some_and(|count| count.printed > 0);
        self.accepted.iter().copied().filter(|number| !printed(number)).collect()
    }

    fn is_complete(&self) -> bool {
        self.missing().is_empty()
    }

    /// Printed more often than they may be, the server's fault taken into account.
    fn repeated(&self, sent_again: &BTreeMap<usize, usize>) -> Vec<u64> {
        let all = self.order.iter().zip(1..).filter(|(number, id)| {
            let count = &self.prints[number];
            count.printed > 1 + count.excused + sent_again.get(id).copied().unwrap_or_default()
        });
        all.map(|(&number, _)| number).collect()
    }
}

struct Given {
    last: u64,
    accepted: Vec<u64>,
}

/// Publishes some more, and is killed after `life`; without one it publishes what is left.
async fn publish(args: &[String], last: u64, life: Option<Duration>) -> Given {
    let mut victim = Victim::start(&[args, &["-l".to_owned(), "--report".to_owned()]].concat());
    let mut given = Given { last, accepted: Vec::new() };
    let mut stdin = victim.stdin.take().expect("an open stdin");
    let mut input = None;
    if life.is_some() {
        given.last += BATCH;
        let lines: String = (last + 1..=given.last).map(|number| payload(number) + "\n").collect();
        let _ = stdin.write_all(lines.as_bytes()).await;
        input = Some(stdin);
    } else {
        drop(stdin);
    }
    let deadline = Instant::now() + life.unwrap_or(PATIENCE);
    let killer = victim.killer();
    let mut alive = true;
    loop {
        tokio::select! {
            line = victim.line() => {
                let Some(line) = line else { break };
                if let Ok(line) = serde_json::from_str::<serde_json::Value>(&line)
                    && line["event"] == "accepted"
                {
                    given.accepted.push(last + line["n"].as_u64().expect("a number"));
                }
            }
            () = sleep_until(deadline), if alive => {
                alive = false;
                killer.kill();
            }
        }
    }
    drop(input);
    let end = victim.end().await;
    assert_eq!(end.was_killed(), life.is_some(), "{}: {}", end.status, end.stderr);
    given
}

/// Prints what comes until it is killed.
async fn print(args: &[String], life: Duration) -> Vec<String> {
    let mut victim = Victim::start(args);
    let deadline = Instant::now() + life;
    let killer = victim.killer();
    let (mut lines, mut alive) = (Vec::new(), true);
    loop {
        tokio::select! {
            line = victim.line() => match line {
                Some(line) => lines.push(line),
                None => break,
            },
            () = sleep_until(deadline), if alive => {
                alive = false;
                killer.kill();
            }
        }
    }
    let end = victim.end().await;
    assert!(end.was_killed(), "{}: {}", end.status, end.stderr);
    lines
}

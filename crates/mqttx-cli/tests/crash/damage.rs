//! A damaged store gives back what is whole, never what is not, and says so whenever something is missing.

use std::fs;
use std::path::{Path, PathBuf};

use mqttx_test::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use super::broker::{Broker, Conduct};
use super::packet::Version;
use super::random::{Random, payload};
use super::scenario::{PATIENCE, Scenario, long};
use super::victim::Victim;

/// Messages in the store.
const MESSAGES: u64 = 40;

/// Damages copies of one store in many ways.
pub(crate) async fn run(name: &'static str, qos: u8) {
    let place = TempDir::new(name);
    let whole = place.path().join("whole");
    let scenario = Scenario::new(name, "5", qos, &url(&whole), &[]);
    fill(&scenario).await;
    let mut random = Random::new(scenario.seed);
    for trial in 1..=if long() { 500 } else { 40 } {
        let copy = place.path().join("copy");
        let _ = fs::remove_dir_all(&copy);
        copy_directory(&whole, &copy);
        let damage = damage(&copy, &mut random);
        let scenario = scenario.with_store(url(&copy));
        if let Err(fault) = reopen(&scenario).await {
            scenario.fail(trial, format_args!("{damage}: {fault}"));
        }
    }
}

fn url(directory: &Path) -> String {
    format!("file:{}", directory.display())
}

/// Leaves messages in the store, some of them in flight, by a kill.
async fn fill(scenario: &Scenario) {
    let broker = Broker::start(Version::V5, scenario.qos, scenario.seed).await;
    let never = Conduct { hold: 100, patience: PATIENCE * 100, ..Conduct::KIND };
    broker.state().begin(Conduct { receive_maximum: Some(10), ..never }, None);
    let mut args = scenario.args("pub", &broker.port());
    args.extend(["-l".to_owned(), "--report".to_owned()]);
    let mut victim = Victim::start(&args);
    let lines: String = (1..=MESSAGES).map(|number| payload(number) + "\n").collect();
    let mut stdin = victim.stdin.take().expect("an open stdin");
    stdin.write_all(lines.as_bytes()).await.expect("a process that reads");
    for _ in 0..MESSAGES {
        let line = timeout(PATIENCE, victim.line()).await.expect("accepted").expect("a line");
        assert!(line.contains("accepted"), "{line}");
    }
    victim.killer().kill();
    assert!(victim.end().await.was_killed());
}

/// Publishes what the damaged store gives back, to a server that has lost the session.
async fn reopen(scenario: &Scenario) -> Result<(), String> {
    let broker = Broker::start(Version::V5, scenario.qos, scenario.seed).await;
    broker.state().begin(Conduct::KIND, None);
    let mut args = scenario.args("pub", &broker.port());
    args.extend(["-l".to_owned(), "--timeout".to_owned(), "20".to_owned()]);
    let mut victim = Victim::start(&args);
    drop(victim.stdin.take());
    while victim.line().await.is_some() {}
    let end = victim.end().await;
    broker.drained().await;
    let mut state = broker.state();
    // A message whose packet id is lost goes out behind those that have one.
    state.faults.retain(|fault| !fault.contains("out of order"));
    if !state.faults.is_empty() {
        return Err(state.faults.join("\n"));
    }
    let lost: Vec<_> = (1..=MESSAGES).filter(|&n| state.inbound.delivered(n) == 0).collect();
    match end.status.code() {
        Some(0 | 1) if lost.is_empty() || !end.stderr.is_empty() => Ok(()),
        Some(0 | 1) => Err(format!("lost without a word: {lost:?}")),
        _ => Err(format!("it ended with {}: {}", end.status, end.stderr)),
    }
}

fn copy_directory(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    for entry in fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("an entry");
        if entry.path().is_dir() {
            copy_directory(&entry.path(), &to.join(entry.file_name()));
        } else {
            fs::copy(entry.path(), to.join(entry.file_name())).expect("a copy");
        }
    }
}

/// Damages one file where something was written, and says how.
fn damage(directory: &Path, random: &mut Random) -> String {
    let mut files = Vec::new();
    written_files(directory, &mut files);
    let path = &files[random.below(files.len() as u64) as usize];
    let mut bytes = fs::read(path).expect("a file");
    let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1) as u64;
    let at = random.below(used) as usize;
    let how = match random.below(4) {
        0 | 1 => {
            bytes[at] ^= 1 << random.below(8);
            format!("a bit of byte {at} is flipped")
        }
        2 => {
            bytes.truncate(at);
            format!("it is cut to {at} bytes")
        }
        _ => {
            // Not at the end: what was never written is zero as well.
            let end = (at + 1 + random.below(600) as usize).min(used as usize - 1);
            bytes[at.min(end)..end].fill(0);
            format!("bytes {at} to {end} are zero")
        }
    };
    fs::write(path, bytes).expect("a file");
    format!("{}, {used} bytes used: {how}", path.display())
}

/// The files that hold something.
fn written_files(directory: &Path, files: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> =
        fs::read_dir(directory).expect("a directory").map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            written_files(&path, files);
        } else if fs::read(&path).expect("a file").iter().any(|byte| *byte != 0) {
            files.push(path);
        }
    }
}

//! What a file store costs and saves: memory while the server is away, the disk afterwards, and the daemon's state over a kill.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use mqttx_test::{ClosedPort, LoadOptions, LoadPeer, ScriptedBroker, TempDir};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

const PATIENCE: Duration = Duration::from_secs(120);

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mqttx"));
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.kill_on_drop(true);
    command
}

/// Waits for its end with 0, and gives stdout.
async fn good(child: Child) -> String {
    let output = tokio::time::timeout(PATIENCE, child.wait_with_output()).await;
    let output = output.expect("it ends in time").expect("its output");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {stderr}", output.status);
    String::from_utf8(output.stdout).expect("text")
}

/// The files of a store, and their sizes.
fn files_in(directory: &Path) -> Vec<(String, u64)> {
    let entries = std::fs::read_dir(directory).expect("a directory").map(Result::unwrap);
    entries
        .map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            (name, entry.metadata().expect("a file").len())
        })
        .collect()
}

/// A figure of `/proc/ID/status`, in KiB; `None` for a process that has ended.
fn status_kib(child: &Child, name: &str) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{}/status", child.id()?)).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// What a process with any backlog may take.
const MEMORY_KIB: u64 = 160 << 10;

fn pub_args(port: &str, store: &str) -> Vec<String> {
    let words =
        ["pub", "-h", "127.0.0.1", "-p", port, "-t", "t", "-l", "-q", "1", "-c", "-i", "me"];
    let more = ["--store", store, "--reconnect-initial-ms", "20"];
    words.iter().chain(&more).map(|&word| word.to_owned()).collect()
}

#[tokio::test]
async fn store_shrinks_when_everything_is_acknowledged() {
    let place = TempDir::new("shrinks");
    let directory = place.path().join("store");
    let peer = LoadPeer::start(LoadOptions::default());
    let args =
        pub_args(&peer.address().port().to_string(), &format!("file:{}", directory.display()));
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    let mut child = command(&args).stdin(Stdio::piped()).spawn().expect("the command starts");
    let lines = format!("{}\n", "x".repeat(1024)).repeat(400);
    child.stdin.take().expect("stdin").write_all(lines.as_bytes()).await.expect("it reads");
    good(child).await;
    assert_eq!(peer.counters().publishes, 400);
    let files = files_in(&directory);
    let bytes: u64 = files.iter().map(|(_, bytes)| bytes).sum();
    assert!(bytes < 300_000, "{bytes} bytes are left: {files:?}");
}

/// Far more than may be in memory is taken in while the server is away, and all of it arrives after a kill.
#[tokio::test]
async fn backlog_is_on_the_disk_and_not_in_memory() {
    let lines: u64 =
        if std::env::var_os("MQTTX_TEST_LONG").is_some() { 10_000_000 } else { 600_000 };
    let place = TempDir::new("backlog");
    let store = format!("file:{}", place.path().join("store").display());
    let away = ClosedPort::take();
    let port = away.address().port().to_string();
    let args = [pub_args(&port, &store), vec!["--fsync".to_owned(), "os".to_owned()]].concat();
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    let mut child =
        command(&args).stdin(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it starts");
    let mut stdin = child.stdin.take().expect("stdin");
    let block = format!("{}\n", "x".repeat(255)).repeat(1000);
    for _ in 0..lines / 1000 {
        stdin.write_all(block.as_bytes()).await.expect("it reads on");
    }
    // What it has read and not stored is a few thousand lines; the rest must be there afterwards.
    let peak = status_kib(&child, "VmHWM").expect("a running command");
    assert!(peak < MEMORY_KIB, "{peak} KiB were resident with {lines} lines in the store");
    child.kill().await.expect("a running command");

    let peer = LoadPeer::start(LoadOptions::default());
    let args = pub_args(&peer.address().port().to_string(), &store);
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    let child = command(&args).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let mut child = child.expect("the command starts");
    let mut looks = tokio::time::interval(Duration::from_millis(20));
    let mut peak = 0;
    let status = loop {
        tokio::select! {
            status = child.wait() => break status.expect("a status"),
            _ = looks.tick() => peak = peak.max(status_kib(&child, "VmHWM").unwrap_or(0)),
        }
    };
    assert!(status.success(), "{status}");
    assert!(peak < MEMORY_KIB, "{peak} KiB were resident while {lines} lines were sent");
    let arrived = peer.counters().publishes;
    assert!(arrived <= lines && arrived + 20_000 > lines, "{arrived} of {lines} arrived");
    assert_eq!(peer.counters().duplicates, 0);
}

#[tokio::test]
async fn bench_keeps_the_state_of_each_client() {
    let place = TempDir::new("bench");
    let directory = place.path().join("store").display().to_string();
    let peer = LoadPeer::start(LoadOptions::default());
    let port = peer.address().port().to_string();
    let store = format!("file:{directory}");
    let args = ["bench", "pub", "-h", "127.0.0.1", "-p", &port, "-c", "3", "-i", "b", "-q", "1"];
    let more = ["-t", "t/%i", "--messages", "100", "--json", "--store", &store];
    let child = command(&[&args[..], &more].concat()).spawn().expect("the command starts");
    let result: serde_json::Value = serde_json::from_str(&good(child).await).expect("an object");
    assert_eq!((&result["messages"], &result["errors"]), (&300.into(), &0.into()));
    let child =
        command(&["store", "ls", "--json", &directory]).spawn().expect("the command starts");
    let list: serde_json::Value = serde_json::from_str(&good(child).await).expect("an object");
    let sessions = list["sessions"].as_array().expect("a list");
    let names: Vec<_> = sessions.iter().map(|session| session["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["b-0", "b-1", "b-2"]);
    assert!(sessions.iter().all(|s| s["queued"] == 0 && s["in_flight"] == 0), "{list}");
}

const ACCEPTED: &str = "20 { 00 00 {} }";
const RESUMED: &str = "20 { 01 00 {} }";

/// The file of a daemon that forwards "src" `a/+` to "dst" `b/{1}`, with the state of both on disk.
fn config(place: &Path, src: &ScriptedBroker, dst: &ScriptedBroker) -> String {
    let path = place.join("mqttx.toml");
    let text = format!(
        "[stores.disk]\nkind = 'file'\npath = 'store'\n\
         [defaults.session]\nstore = 'disk'\nreconnect = {{ initial = '10ms' }}\n\
         [sessions.src]\nbrokers = ['{}']\nclient_id = 'gw-src'\n\
         [sessions.dst]\nbrokers = ['{}']\nclient_id = 'gw-dst'\n\
         [forwarders.fw]\nfrom = [{{ session = 'src', topics = ['a/+'], qos = 2 }}]\n\
         to = [{{ session = 'dst', topic = 'b/{{1}}' }}]\n",
        src.url(),
        dst.url()
    );
    std::fs::write(&path, text).expect("a file");
    path.to_str().expect("text").to_owned()
}

#[tokio::test]
async fn killed_daemon_goes_on_where_it_was() {
    let place = TempDir::new("daemon-kill");
    let (src, dst) = (ScriptedBroker::start().await, ScriptedBroker::start().await);
    let config = config(place.path(), &src, &dst);
    let check = command(&["check-config", "-c", &config]).spawn().expect("it starts");
    good(check).await;
    assert!(!place.path().join("state").exists(), "a check creates nothing");

    let mut daemon = command(&["run", "-c", &config]).spawn().expect("it starts");
    let (mut source, _) = src.accept_and_answer(ACCEPTED).await;
    let (mut target, _) = dst.accept_and_answer(ACCEPTED).await;
    source.expect_type(0x82).await;
    source.send("90 { 0001 {} 02 }").await;
    source.send("34 { <a/x> 0007 { 0b 01 } 'm' }").await;
    let first = target.recv_packet().await;
    // The target's store has it: the source is acknowledged before the target's server answers.
    source.expect("50 { 0007 }").await;
    daemon.kill().await.expect("a running daemon");

    let mut daemon = command(&["run", "-c", &config]).spawn().expect("it starts");
    let (mut source, _) = src.accept_and_answer(RESUMED).await;
    let (mut target, _) = dst.accept_and_answer(RESUMED).await;
    let again = target.recv_packet().await;
    assert_eq!(again[0], 0x3c, "sent again, with DUP");
    assert_eq!(again[1..], first[1..]);
    target.send("50 { 0001 }").await;
    target.expect("62 { 0001 }").await;
    target.send("70 { 0001 }").await;
    // A copy of what was acknowledged is not forwarded again, and the subscription is still known.
    source.send("3c { <a/x> 0007 { 0b 01 } 'm' }").await;
    source.expect("50 { 0007 }").await;
    source.send("62 { 0007 }").await;
    source.expect("70 { 0007 }").await;
    target.expect_silence(Duration::from_millis(100)).await;

    let mode = std::fs::metadata(place.path().join("state")).expect("data_dir").permissions();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode) & 0o777, 0o700);
    let second = command(&["run", "-c", &config]).spawn().expect("it starts");
    let output = second.wait_with_output().await.expect("its output");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("store disk") && stderr.lines().count() == 1, "{stderr}");

    let id = daemon.id().expect("a running daemon").to_string();
    let sent = Command::new("kill").args(["-TERM", &id]).status().await.expect("kill");
    assert!(sent.success());
    source.expect("e0 {}").await;
    target.expect("e0 {}").await;
    let mut stderr = String::new();
    daemon.stderr.take().expect("stderr").read_to_string(&mut stderr).await.expect("text");
    assert!(daemon.wait().await.expect("a status").success(), "{stderr}");
}

//! `mqttx store`: what a killed process left, without changing it.

use std::path::Path;
use std::process::{Output, Stdio};

use mqttx_test::{ScriptedBroker, TempDir};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mqttx"));
    command.args(args).stdin(Stdio::null()).kill_on_drop(true);
    command
}

async fn mqttx(args: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = command(args).output().await.expect("the command runs");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (status.code(), text(stdout), text(stderr))
}

async fn good(args: &[&str]) -> String {
    let (code, stdout, stderr) = mqttx(args).await;
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{args:?}: {stdout}");
    stdout
}

/// A `pub` of four messages with QoS 2: the first is released, the second in flight, and there was no quota for the others.
struct Publisher {
    child: Child,
    _stdout: Lines<BufReader<ChildStdout>>,
}

async fn publisher(store: &str) -> Publisher {
    let broker = ScriptedBroker::start().await;
    let port = broker.address().port().to_string();
    let args =
        ["pub", "-h", "127.0.0.1", "-p", &port, "-t", "t", "-l", "-q", "2", "-c", "-i", "me"];
    let more = ["--report", "--max-inflight", "2", "--store", store];
    let property = ["-D", "publish", "message-expiry-interval", "1000"];
    let mut child = command(&[&args[..], &more, &property].concat())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the command starts");
    let mut stdin = child.stdin.take().expect("stdin");
    stdin.write_all(b"a\nb\nc\nd\n").await.expect("a process that reads");
    child.stdin = Some(stdin);
    let mut stdout = BufReader::new(child.stdout.take().expect("stdout")).lines();
    let (mut peer, _) = broker.accept_and_answer("20 { 00 00 {} }").await;
    peer.expect_type(0x34).await;
    peer.expect_type(0x34).await;
    peer.send("50 { 0001 }").await;
    peer.expect("62 { 0001 }").await;
    let mut accepted = 0;
    while accepted < 4 {
        let line = stdout.next_line().await.expect("text").expect("a line");
        accepted += usize::from(line.contains("accepted"));
    }
    Publisher { child, _stdout: stdout }
}

impl Publisher {
    async fn kill(mut self) {
        self.child.kill().await.expect("a running command");
    }
}

fn files(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(directory).expect("a directory");
    let mut files: Vec<_> = entries
        .map(|entry| entry.expect("an entry"))
        .map(|entry| {
            let bytes = std::fs::read(entry.path()).expect("a file");
            (entry.file_name().into_string().expect("text"), bytes)
        })
        .collect();
    files.sort();
    files
}

#[tokio::test]
async fn state_of_a_killed_process_is_shown_and_not_changed() {
    let place = TempDir::new("store-tool");
    let directory = place.path().join("store");
    let path = directory.to_str().expect("text");
    publisher(&format!("file:{path}")).await.kill().await;
    let before = files(&directory);

    let table = good(&["store", "ls", path]).await;
    let cells: Vec<_> = table.lines().nth(1).expect("a session").split_whitespace().collect();
    assert_eq!(cells[..5], ["me", "2", "2", "0", "0"], "{table}");
    assert!(table.ends_with("on the disk\n"), "{table}");

    let list: Value = serde_json::from_str(&good(&["store", "ls", "--json", path]).await).unwrap();
    let session = &list["sessions"][0];
    assert_eq!((&session["name"], &session["queued"]), (&json!("me"), &json!(2)));
    assert_eq!(list["notices"], json!([]));
    assert!(session["oldest_unix_ms"].as_u64().expect("a time") > 1_700_000_000_000, "{list}");

    let shown = good(&["store", "show", "me", path]).await;
    assert_eq!(shown, good(&["store", "export", "me", path]).await);
    assert_eq!(shown, good(&["store", "export", &format!("file:{path}")]).await);
    let lines: Vec<Value> =
        shown.lines().map(|line| serde_json::from_str(line).expect("an object")).collect();
    let messages: Vec<_> = lines.iter().filter(|line| line["type"] == "message").collect();
    let states: Vec<_> = messages
        .iter()
        .map(|m| (m["payload"].as_str().unwrap(), m["state"].as_str().unwrap(), &m["packet_id"]))
        .collect();
    let expected = [
        ("a", "released", &json!(1)),
        ("b", "in-flight", &json!(2)),
        ("c", "queued", &json!(null)),
        ("d", "queued", &json!(null)),
    ];
    assert_eq!(states, expected, "{shown}");
    for message in messages {
        let (written, expires) = (&message["written_at"], &message["expires_at"]);
        let left = expires.as_u64().expect("a time") - written.as_u64().expect("a time");
        assert!((998_000..=1_001_000).contains(&left), "{message}");
    }
    assert!(lines.iter().any(|line| line["type"] == "epoch" && line["client_id"] == "me"));

    let verdict = good(&["store", "verify", path]).await;
    assert!(verdict.contains("messages 4") && verdict.contains("no damage"), "{verdict}");
    let verdict = good(&["store", "verify", "--json", path]).await;
    assert_eq!(serde_json::from_str::<Value>(&verdict).unwrap()["ok"], true);
    assert!(files(&directory) == before, "the store was changed");
}

#[tokio::test]
async fn directory_in_use_is_refused_unless_it_is_read_anyway() {
    let place = TempDir::new("store-in-use");
    let path = place.path().join("store").to_str().expect("text").to_owned();
    let publisher = publisher(&format!("file:{path}")).await;
    for words in [&["ls"][..], &["show", "me"], &["export"], &["verify"]] {
        let args = [&["store"][..], words, &[&path]].concat();
        let (code, stdout, stderr) = mqttx(&args).await;
        assert_eq!((code, stdout.as_str()), (Some(1), ""), "{args:?}: {stderr}");
        assert!(stderr.contains("--read-anyway"), "{args:?}: {stderr}");
        let shown = good(&[&args[..], &["--read-anyway"]].concat()).await;
        assert!(shown.contains("me") || shown.contains("messages 4"), "{args:?}: {shown}");
    }
    publisher.kill().await;
}

#[tokio::test]
async fn damage_is_found_and_ends_with_1() {
    let place = TempDir::new("store-damage");
    let directory = place.path().join("store");
    let path = directory.to_str().expect("text");
    publisher(&format!("file:{path}")).await.kill().await;
    let (name, mut bytes) = files(&directory)
        .into_iter()
        .max_by_key(|(_, bytes)| bytes.iter().filter(|byte| **byte != 0).count())
        .expect("a file");

    let at = bytes.iter().rposition(|byte| *byte != 0).expect("content") / 2;
    bytes[at] ^= 0x10;
    std::fs::write(directory.join(name), bytes).expect("a file");
    let (code, stdout, stderr) = mqttx(&["store", "verify", path]).await;
    assert_eq!(code, Some(1), "{stdout}{stderr}");
    assert!(
        stdout.contains("damaged") && stderr.contains("the store is damaged"),
        "{stdout}{stderr}"
    );
    let (code, stdout, _) = mqttx(&["store", "verify", "--json", path]).await;
    let verdict: Value = serde_json::from_str(&stdout).expect("an object");
    assert_eq!((code, &verdict["ok"]), (Some(1), &json!(false)), "{stdout}");
}

#[tokio::test]
async fn what_is_not_there_is_an_error() {
    let place = TempDir::new("store-none");
    let none = place.path().join("none").to_str().expect("text").to_owned();
    for words in [&["ls"][..], &["show", "me"], &["export"], &["verify"]] {
        let args = [&["store"][..], words, &[&none]].concat();
        let (code, stdout, stderr) = mqttx(&args).await;
        assert_eq!((code, stdout.as_str()), (Some(1), ""), "{args:?}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "{args:?}: {stderr}");
    }
    assert!(!Path::new(&none).exists(), "nothing is created");
    let path = place.path().join("store").to_str().expect("text").to_owned();
    publisher(&format!("file:{path}")).await.kill().await;
    let (code, _, stderr) = mqttx(&["store", "show", "mee", &path]).await;
    assert_eq!(code, Some(1));
    assert!(stderr.contains("unknown session 'mee', did you mean 'me'?"), "{stderr}");
}

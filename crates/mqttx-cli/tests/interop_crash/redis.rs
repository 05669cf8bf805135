//! Redis that is taken over, away, or locked.

use std::process::Stdio;
use std::time::{Duration, Instant};

use mqttx_test::{Redis, ScriptedBroker};
use tokio::process::{Child, Command};

const PATIENCE: Duration = Duration::from_secs(30);

fn publish(broker: &ScriptedBroker, store: &str, more: &[&str]) -> Child {
    let port = broker.address().port().to_string();
    let args = ["pub", "-h", "127.0.0.1", "-p", &port, "-t", "t", "-q", "1", "-c", "-i", "me"];
    Command::new(env!("CARGO_BIN_EXE_mqttx"))
        .args(args)
        .args(["--store", store])
        .args(more)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the command starts")
}

async fn end(child: Child) -> (Option<i32>, String) {
    let output = tokio::time::timeout(PATIENCE, child.wait_with_output()).await;
    let output = output.expect("it ends in time").expect("its output");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[tokio::test]
async fn second_process_takes_the_state_over_and_the_first_is_fenced() {
    let Some(redis) = Redis::builder().start().await else { return };
    let (old, new) = (ScriptedBroker::start().await, ScriptedBroker::start().await);
    let mut first = publish(&old, &redis.url(), &["-l"]);
    let mut stdin = first.stdin.take().expect("stdin");
    tokio::io::AsyncWriteExt::write_all(&mut stdin, b"m\n").await.expect("it reads");
    let (mut peer, _) = old.accept_and_answer("20 { 00 00 {} }").await;
    peer.expect("32 { <t> 0001 {} 'm' }").await;
    let second = publish(&new, &redis.url(), &["-m", "n"]);
    let (mut other, _) = new.accept_and_answer("20 { 00 00 {} }").await;
    // What the first had accepted comes first, as new: this server knows nothing of it.
    for payload in ["m", "n"] {
        let packet = other.expect_type(0x32).await;
        assert!(packet.ends_with(payload.as_bytes()), "{}", mqttx_test::shown(&packet));
        let id = &packet[5..7];
        other.send_bytes(&[0x40, 2, id[0], id[1]]).await;
    }
    assert_eq!(end(second).await.0, Some(0));
    tokio::io::AsyncWriteExt::write_all(&mut stdin, b"late\n").await.expect("it reads");
    let (code, stderr) = end(first).await;
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("fenced"), "{stderr}");
}

#[tokio::test]
async fn wrong_credentials_end_the_command_at_once() {
    let Some(redis) = Redis::builder().password("right").start().await else { return };
    let broker = ScriptedBroker::start().await;
    let url = format!("redis://:wrong@{}", redis.address());
    let (code, stderr) = end(publish(&broker, &url, &["-m", "m"])).await;
    assert_eq!(code, Some(1), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(!stderr.contains("wrong@"), "{stderr}");
}

#[tokio::test]
async fn redis_that_is_away_is_waited_for() {
    let Some(mut redis) = Redis::builder().append_only(true).start().await else { return };
    redis.kill();
    let broker = ScriptedBroker::start().await;
    let started = Instant::now();
    let (code, stderr) = end(publish(&broker, &redis.url(), &["-m", "m", "--timeout", "1"])).await;
    assert_eq!(code, Some(1), "{stderr}");
    assert!(started.elapsed() >= Duration::from_secs(1), "{stderr}");
    assert!(stderr.contains("not in the store"), "{stderr}");

    let waiting = publish(&broker, &redis.url(), &["-m", "m"]);
    broker.expect_no_connection(Duration::from_millis(2300)).await;
    redis.restart().await;
    let (mut peer, _) = broker.accept_and_answer("20 { 00 00 {} }").await;
    peer.expect("32 { <t> 0001 {} 'm' }").await;
    peer.send("40 { 0001 }").await;
    let (code, stderr) = end(waiting).await;
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stderr.contains("waiting for it"), "{stderr}");
}

#[tokio::test]
async fn full_redis_ends_the_command_and_keeps_what_was_accepted() {
    let full = Redis::builder().line("maxmemory 4mb").line("maxmemory-policy noeviction");
    let Some(redis) = full.start().await else { return };
    let broker = ScriptedBroker::start().await;
    let mut child = publish(&broker, &redis.url(), &["-l", "--report"]);
    let mut stdin = child.stdin.take().expect("stdin");
    let lines = format!("{}\n", "x".repeat(1000)).repeat(20_000);
    // The command ends before it has read all of it.
    let writing = tokio::spawn(async move {
        let _ = tokio::io::AsyncWriteExt::write_all(&mut stdin, lines.as_bytes()).await;
    });
    let output = tokio::time::timeout(PATIENCE, child.wait_with_output()).await;
    let output = output.expect("it ends in time").expect("its output");
    writing.await.expect("a writer");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("kept in the store"), "{stderr}");
    let stdout = String::from_utf8_lossy(&output.stdout);
    let accepted = stdout.lines().filter(|line| line.contains("accepted")).count();
    let args = ["store", "ls", "--json", &redis.url()];
    let list = Command::new(env!("CARGO_BIN_EXE_mqttx")).args(args).output().await;
    let list = list.expect("the command runs").stdout;
    let list: serde_json::Value = serde_json::from_slice(&list).expect("an object");
    let session = &list["sessions"][0];
    let kept = session["queued"].as_u64().expect("a number")
        + session["in_flight"].as_u64().expect("a number");
    assert!(accepted > 100 && kept >= accepted as u64, "{accepted} accepted, {kept} kept");
}

#[tokio::test]
async fn state_in_redis_is_shown() {
    let Some(redis) = Redis::builder().start().await else { return };
    let broker = ScriptedBroker::start().await;
    let mut child = publish(&broker, &redis.url(), &["-m", "m"]);
    let (mut peer, _) = broker.accept_and_answer("20 { 00 00 {} }").await;
    peer.expect_type(0x32).await;
    child.kill().await.expect("a running command");
    let url = redis.url();
    for (words, part) in [
        (&["ls"][..], "me"),
        (&["show", "me"], r#""payload":"m","state":"in-flight""#),
        (&["export"], r#""type":"epoch""#),
        (&["verify"], "no damage"),
    ] {
        let args = [&["store"][..], words, &[&url]].concat();
        let output = Command::new(env!("CARGO_BIN_EXE_mqttx")).args(&args).output().await;
        let output = output.expect("the command runs");
        let stdout = String::from_utf8_lossy(&output.stdout);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && stdout.contains(part), "{args:?}: {stdout}{stderr}");
    }
}

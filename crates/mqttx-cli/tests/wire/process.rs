//! What a table of bytes cannot say: stalled sockets, a stdout that is closed, full or never read.

use std::process::Stdio;
use std::time::Duration;

use mqttx_test::{Peer, ScriptedBroker};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

const PATIENCE: Duration = Duration::from_secs(15);

fn start(broker: &ScriptedBroker, args: &[&str], stdout: Stdio) -> Child {
    Command::new(env!("CARGO_BIN_EXE_mqttx"))
        .args(args)
        .args(["-h", "127.0.0.1", "-p", &broker.address().port().to_string()])
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the command starts")
}

/// Exit code and stderr.
async fn end(child: Child) -> (Option<i32>, String) {
    let output = tokio::time::timeout(PATIENCE, child.wait_with_output()).await;
    let output = output.expect("the command ends").expect("a status");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

async fn subscribed(broker: &ScriptedBroker) -> Peer {
    let (mut peer, _) = broker.accept_and_answer("20 { 00 00 {} }").await;
    peer.expect_type(0x82).await;
    peer.send("90 { 0001 {} 01 }").await;
    peer
}

#[tokio::test]
async fn full_stdout_is_an_error_and_leaves_the_message_to_the_server() {
    let broker = ScriptedBroker::start().await;
    let full = std::fs::File::options().write(true).open("/dev/full").expect("a full device");
    let child = start(&broker, &["sub", "-t", "t", "-q", "1"], full.into());
    let mut peer = subscribed(&broker).await;
    peer.send("32 { <t> 0001 {} 'm' } 32 { <t> 0002 {} 'n' }").await;
    peer.expect("e0 {}").await;
    peer.expect_closed().await;
    let (code, stderr) = end(child).await;
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("standard output"), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
}

#[tokio::test]
async fn closed_stdout_is_an_error_and_leaves_the_message_to_the_server() {
    let broker = ScriptedBroker::start().await;
    let mut child = start(&broker, &["sub", "-t", "t", "-q", "2"], Stdio::piped());
    let mut peer = subscribed(&broker).await;
    drop(child.stdout.take());
    peer.send("34 { <t> 0001 {} 'm' }").await;
    peer.expect("e0 {}").await;
    peer.expect_closed().await;
    let (code, stderr) = end(child).await;
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("standard output"), "{stderr}");
}

#[tokio::test]
async fn stdout_that_nobody_reads_stops_neither_pings_nor_the_end() {
    let broker = ScriptedBroker::start().await;
    let child = start(&broker, &["sub", "-t", "t", "-q", "1", "-k", "1"], Stdio::piped());
    let mut peer = subscribed(&broker).await;
    let large = "x".repeat(200_000);
    peer.send(&format!("32 {{ <t> 0001 {{}} '{large}' }} 32 {{ <t> 0002 {{}} 'n' }}")).await;
    for _ in 0..3 {
        peer.expect("c0 {}").await;
        peer.send("d0 {}").await;
    }
    let id = child.id().expect("a running command").to_string();
    let kill = Command::new("kill").args(["-s", "TERM", &id]).status().await;
    assert!(kill.expect("kill starts").success());
    // Nothing was printed whole, so nothing is acknowledged.
    peer.expect("e0 {}").await;
    peer.expect_closed().await;
    // Waiting for the status alone: reading its output would end the stall.
    let mut child = child;
    let status = tokio::time::timeout(PATIENCE, child.wait()).await;
    assert_eq!(status.expect("the command ends").expect("a status").code(), Some(0));
}

#[tokio::test]
async fn arriving_messages_do_not_replace_a_ping() {
    for (version, connack, suback, publish) in [
        ("-V5", "20 { 00 00 {} }", "90 { 0001 {} 00 }", "30 { <t> {} 'm' }"),
        ("-V311", "20 { 00 00 }", "90 { 0001 00 }", "30 { <t> 'm' }"),
    ] {
        let broker = ScriptedBroker::start().await;
        let _child = start(&broker, &["sub", version, "-t", "t", "-k", "1"], Stdio::null());
        let (mut peer, _) = broker.accept_and_answer(connack).await;
        peer.expect_type(0x82).await;
        peer.send(suback).await;
        let mut beat = tokio::time::interval(Duration::from_millis(50));
        let next = loop {
            tokio::select! {
                packet = peer.recv_packet() => break packet,
                _ = beat.tick() => peer.send(publish).await,
            }
        };
        assert_eq!(next, [0xc0, 0]);
    }
}

#[tokio::test]
async fn messages_that_keep_coming_do_not_hide_a_missing_pingresp() {
    let broker = ScriptedBroker::start().await;
    let args = ["sub", "-t", "t", "-k", "1", "--no-reconnect"];
    let child = start(&broker, &args, Stdio::null());
    let mut peer = subscribed(&broker).await;
    let mut ended = std::pin::pin!(end(child));
    let mut beat = tokio::time::interval(Duration::from_millis(50));
    let (code, stderr) = loop {
        tokio::select! {
            ended = &mut ended => break ended,
            _ = beat.tick() => peer.try_send("30 { <t> {} 'm' }").await,
        }
    };
    assert_eq!(code, Some(1), "{stderr}");
    assert_eq!(peer.try_recv_packet().await.as_deref(), Some(&[0xc0, 0][..]));
}

#[tokio::test]
async fn write_that_is_stalled_does_not_hide_a_dead_connection() {
    let broker = ScriptedBroker::start_with_small_buffers();
    let file = mqttx_test::TempDir::new("stalled");
    let path = file.path().join("payload");
    std::fs::write(&path, vec![b'x'; 64 << 20]).expect("room for a file");
    let path = path.to_str().expect("text");
    let args = ["pub", "-t", "t", "-f", path, "-q", "1", "-k", "1", "--no-reconnect"];
    let child = start(&broker, &args, Stdio::null());
    let (_stalled, _) = broker.accept_and_answer("20 { 00 00 {} }").await;
    let (code, stderr) = end(child).await;
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("unacknowledged"), "{stderr}");
}

#[tokio::test]
async fn delays_grow_with_each_attempt_up_to_the_longest() {
    let broker = ScriptedBroker::start().await;
    let args = ["sub", "-t", "t", "--reconnect-initial-ms", "200", "--reconnect-max-ms", "800"];
    let mut child = start(&broker, &args, Stdio::null());
    let mut stderr = BufReader::new(child.stderr.take().expect("stderr")).lines();
    let (mut peer, _) = broker.accept_and_answer("20 { 00 00 {} }").await;
    for longest in [200, 400, 800, 800] {
        let lost = std::time::Instant::now();
        peer.close().await;
        let told = stderr.next_line().await.expect("text").expect("a line");
        let delay = told.split_once("again in ").and_then(|(_, rest)| rest.split_once(" ms"));
        let delay: u64 = delay.and_then(|(delay, _)| delay.parse().ok()).expect("a delay");
        // Half of it is random.
        assert!((longest / 2..=longest).contains(&delay), "{delay} ms, not {longest}");
        (peer, _) = broker.accept_and_answer("20 { 00 00 {} }").await;
        // A busy machine may be late, never early.
        let waited = lost.elapsed();
        assert!(waited >= Duration::from_millis(delay), "{waited:?}, not {delay} ms");
    }
}

#[tokio::test]
async fn message_that_a_stalled_stdout_did_not_take_is_printed_by_the_next_process() {
    let broker = ScriptedBroker::start().await;
    let place = mqttx_test::TempDir::new("stalled-store");
    let store = format!("file:{}", place.path().join("store").display());
    let args = ["sub", "-t", "t", "-q", "2", "-c", "-i", "me", "--store", &store];
    let mut child = start(&broker, &args, Stdio::piped());
    let mut peer = subscribed(&broker).await;
    let large = "x".repeat(200_000);
    let messages = format!(
        "{{ <t> 0001 {{}} '{large}' }} 34 {{ <t> 0002 {{}} 'n' }} 34 {{ <t> 0003 {{}} 'o' }}"
    );
    peer.send(&format!("34 {messages}")).await;
    // It is in the middle of the first one.
    let mut begin = [0; 1000];
    let stdout = child.stdout.as_mut().expect("stdout");
    tokio::io::AsyncReadExt::read_exact(stdout, &mut begin).await.expect("the first bytes");
    let id = child.id().expect("a running command").to_string();
    let kill = Command::new("kill").args(["-s", "TERM", &id]).status().await;
    assert!(kill.expect("kill starts").success());
    peer.expect("e0 {}").await;
    peer.expect_closed().await;
    let status = tokio::time::timeout(PATIENCE, child.wait()).await;
    assert_eq!(status.expect("the command ends").expect("a status").code(), Some(0));

    let child = start(&broker, &[&args[..], &["-C", "3"]].concat(), Stdio::piped());
    let output = tokio::spawn(tokio::time::timeout(PATIENCE, child.wait_with_output()));
    let (mut peer, _) = broker.accept_and_answer("20 { 01 00 {} }").await;
    peer.send(&format!("3c {}", messages.replace("34 {", "3c {"))).await;
    for id in ["0001", "0002", "0003"] {
        peer.expect(&format!("50 {{ {id} }}")).await;
    }
    for id in ["0001", "0002", "0003"] {
        peer.send(&format!("62 {{ {id} }}")).await;
        peer.expect(&format!("70 {{ {id} }}")).await;
    }
    peer.expect("e0 {}").await;
    let output = output.await.expect("a task").expect("the command ends").expect("its output");
    assert!(output.status.success());
    assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{large}\nn\no\n"));
}

//! `demo` and `bench` against brokers in a process: the figures are complete and nothing is missing.

use std::process::Output;

use mqttx_test::InProcessBroker;
use serde_json::Value;
use tokio::process::Command;

async fn mqttx(args: &[&str]) -> Output {
    let command = Command::new(env!("CARGO_BIN_EXE_mqttx")).args(args).kill_on_drop(true).output();
    command.await.expect("the command runs")
}

/// The object in the last line of stdout, after a good end.
async fn result(args: &[&str]) -> Value {
    let output = mqttx(args).await;
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{args:?}: {stderr}");
    let stdout = String::from_utf8(output.stdout).expect("text");
    serde_json::from_str(stdout.lines().last().expect("a line")).expect("an object")
}

#[tokio::test]
async fn demo_loses_nothing() {
    let result = result(&["demo", "--seconds", "1", "--json"]).await;
    let published = result["published"].as_u64().expect("a number");
    assert!(published > 100, "{result}");
    assert_eq!(result["forwarded"], published);
    assert_eq!(result["received"], published);
    assert_eq!((&result["lost"], &result["duplicates"]), (&0.into(), &0.into()));
    for key in ["rate", "p50_us", "p99_us"] {
        assert!(result[key].as_f64().expect("a number") > 0.0, "{key}: {result}");
    }
}

#[tokio::test]
async fn demo_keeps_a_rate() {
    let result = result(&["demo", "--seconds", "3", "--rate", "200", "--json"]).await;
    let published = result["published"].as_u64().expect("a number");
    // What is missing is what a busy machine was late with at the end.
    assert!((400..=600).contains(&published), "{result}");
    assert_eq!(result["lost"], 0);
}

#[tokio::test]
async fn bench_counts_what_it_publishes_and_receives() {
    let broker = InProcessBroker::start().await;
    let port = broker.address().port().to_string();
    for qos in ["0", "1", "2"] {
        let common = ["-h", "127.0.0.1", "-p", &port, "-c", "3", "-q", qos, "-t", "b/%i", "--json"];
        let sub = [&["bench", "sub", "--messages", "200"], &common[..]].concat();
        let mut receiver = Command::new(env!("CARGO_BIN_EXE_mqttx"))
            .args(sub)
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the command starts");
        let mut line = String::new();
        let stderr = receiver.stderr.take().expect("stderr");
        let mut stderr = tokio::io::BufReader::new(stderr);
        tokio::io::AsyncBufReadExt::read_line(&mut stderr, &mut line).await.expect("a line");
        assert_eq!(line, "3 clients subscribed\n");

        let publish = [&["bench", "pub", "--messages", "200", "-s", "50"], &common[..]].concat();
        let published = result(&publish).await;
        let received = receiver.wait_with_output().await.expect("it ends");
        assert!(received.status.success());
        let received: Value = serde_json::from_slice(&received.stdout).expect("an object");
        for result in [&published, &received] {
            assert_eq!(result["clients"], 3, "{result}");
            assert_eq!(result["messages"], 600, "{result}");
            assert_eq!(result["bytes"], 30_000, "{result}");
            assert_eq!(result["errors"], 0, "{result}");
            for key in
                ["seconds", "rate", "p50_us", "p99_us", "max_us", "cpu_user", "cpu_sys", "rss_kib"]
            {
                assert!(result[key].is_number(), "{key}: {result}");
            }
        }
        assert_eq!(published["p50_us"].as_u64() > Some(0), qos != "0", "{published}");
    }
}

#[tokio::test]
async fn bench_connects_clients_from_several_addresses() {
    let broker = InProcessBroker::start().await;
    let port = broker.address().port().to_string();
    let result = result(&[
        "bench",
        "conn",
        "-h",
        "127.0.0.1",
        "-p",
        &port,
        "-c",
        "20",
        "--hold",
        "0.1",
        "--bind",
        "127.0.0.2,127.0.0.3",
        "-R",
        "1000",
        "--json",
    ])
    .await;
    assert_eq!((&result["clients"], &result["connected"]), (&20.into(), &20.into()));
    assert_eq!(result["errors"], 0);
    for key in ["seconds", "rate", "rss_kib", "rss_kib_per_client"] {
        assert!(result[key].is_number(), "{key}: {result}");
    }
}

#[tokio::test]
async fn bench_ends_with_an_error_when_its_connections_do() {
    for command in [&["bench", "pub"][..], &["bench", "sub"]] {
        let broker = mqttx_test::ScriptedBroker::start().await;
        let port = broker.address().port().to_string();
        let flags = [
            "-h",
            "127.0.0.1",
            "-p",
            &port,
            "-t",
            "t",
            "-q",
            "1",
            "--messages",
            "5",
            "--json",
            "--no-reconnect",
        ];
        let args = [command, &flags].concat();
        let (output, ()) = tokio::join!(mqttx(&args), async {
            let (mut peer, _) = broker.accept_and_answer("20 { 00 00 {} }").await;
            let packet = peer.recv_packet().await;
            if packet[0] == 0x82 {
                peer.send("90 { 0001 {} 01 }").await;
            }
            peer.close().await;
        });
        assert_eq!(output.status.code(), Some(1), "{command:?}");
        let result: Value = serde_json::from_slice(&output.stdout).expect("an object");
        assert!(result["errors"].as_u64() > Some(0), "{result}");
    }
}

#[tokio::test]
async fn bench_without_a_broker_is_an_error_with_a_result() {
    let output = mqttx(&["bench", "conn", "-p", "1", "-c", "2", "--no-reconnect", "--json"]).await;
    assert_eq!(output.status.code(), Some(1));
    let result: Value = serde_json::from_slice(&output.stdout).expect("an object");
    assert_eq!((&result["connected"], &result["errors"]), (&0.into(), &2.into()));
    for kind in ["pub", "sub"] {
        let arguments = ["bench", kind, "-t", "t", "--messages", "1", "-p", "1", "--json"];
        let output = mqttx(&[&arguments[..], &["--no-reconnect"]].concat()).await;
        assert_eq!(output.status.code(), Some(1));
        let result: Value = serde_json::from_slice(&output.stdout).expect("an object");
        assert_eq!((&result["messages"], &result["errors"]), (&0.into(), &1.into()));
    }
}

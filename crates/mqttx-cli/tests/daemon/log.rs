//! The daemon's log.

use mqttx_test::ScriptedBroker;

use super::process::Process;
use super::support::ACCEPTED;

#[tokio::test]
async fn json_lines_have_time_level_session_and_what_happened() {
    let broker = ScriptedBroker::start().await;
    let config = format!(
        "[log]\nformat = 'json'\n[sessions.s]\nbrokers = ['{}']\nclient_id = 'c'\n",
        broker.url()
    );
    let mut process = Process::start(&config);
    let (peer, _) = broker.accept_and_answer(ACCEPTED).await;
    let connected = process.line("session_connected").await;
    peer.close().await;
    process.line("session_disconnected").await;
    let again = process.line("session_reconnecting").await;
    let (_peer, _) = broker.accept_and_answer(ACCEPTED).await;
    let (code, log) = process.stop().await;
    assert_eq!(code, Some(0), "{log:#?}");
    let lines: Vec<serde_json::Value> =
        log.iter().map(|line| serde_json::from_str(line).expect(line)).collect();
    assert!(lines.iter().all(|line| line["timestamp"].is_string() && line["level"].is_string()));
    let connected: serde_json::Value = serde_json::from_str(&connected).expect("JSON");
    assert_eq!(connected["session"], "s");
    assert_eq!(connected["level"], "info");
    assert_eq!(connected["broker"], broker.url());
    assert!(connected["message"].as_str().is_some_and(|text| text.contains("as 'c'")));
    let lost = lines.iter().find(|line| line["type"] == "session_disconnected").expect("a line");
    assert_eq!((&lost["level"], &lost["broker"]), (&"warn".into(), &broker.url().into()));
    assert!(lost["error"].as_str().is_some_and(|error| error.contains("closed")), "{lost}");
    let again: serde_json::Value = serde_json::from_str(&again).expect("JSON");
    assert_eq!(again["attempt"], 2);
}

#[tokio::test]
async fn levels_decide_what_is_written_and_change_with_a_reload() {
    let broker = ScriptedBroker::start().await;
    let config = |level: &str| {
        format!(
            "[log]\nlevel = '{level}'\n[sessions.s]\nbrokers = ['{}']\nclient_id = 'c'\n",
            broker.url()
        )
    };
    let mut process = Process::start(&config("error"));
    let (mut peer, _) = broker.accept_and_answer(ACCEPTED).await;
    process.reload(&config("info,mqttx::wire=debug")).await;
    process.line("reloaded: changed: log.level").await;
    assert_eq!(process.log.len(), 1, "{:#?}", process.log);
    peer.send("30 { <t> {} 'x' }").await;
    let line = process.line("PUBLISH").await;
    assert!(line.contains("debug session s: received PUBLISH 't', QoS 0"), "{line}");
    process.reload(&config("info")).await;
    process.line("reloaded").await;
    peer.send("30 { <t> {} 'x' }").await;
    let (_, log) = process.stop().await;
    let packets = log.iter().filter(|line| line.contains("PUBLISH")).count();
    assert_eq!(packets, 1, "{log:#?}");
}

#[tokio::test]
async fn a_session_in_trouble_writes_so_many_lines_and_then_their_number() {
    let broker = ScriptedBroker::start().await;
    let config = format!(
        "[sessions.storm]\nbrokers = ['{}']\nreconnect = {{ initial = '1ms', max = '1ms', stable_after = '1h' }}\n\
         [sessions.calm]\nbrokers = ['127.0.0.1:1']\nenabled = false\n",
        broker.url()
    );
    let process = Process::start(&config);
    for _ in 0..40 {
        broker.accept().await.close().await;
    }
    let (code, log) = process.stop().await;
    assert_eq!(code, Some(0), "{log:#?}");
    let lines: Vec<_> = log.iter().filter(|line| line.contains("session storm: ")).collect();
    let (last, written) = lines.split_last().expect("lines");
    assert_eq!(written.len(), 30, "{log:#?}");
    let (_, count) = last.split_once("session storm: ").expect("a count");
    let (count, rest) = count.split_once(' ').expect("words");
    assert_eq!(rest, "lines were left out within a minute");
    assert!(count.parse::<u32>().is_ok_and(|count| count >= 40), "{last}");
}

#[tokio::test]
async fn whoever_stops_reading_the_log_does_not_keep_the_daemon_from_stopping() {
    let name = "x".repeat(300);
    let forwarders: String = (0..400)
        .map(|n| {
            format!(
                "[forwarders.{name}-{n}]\nfrom = [{{ session = 'a', topics = ['t/{n}'] }}]\n\
                 to = [{{ session = 'b' }}]\n"
            )
        })
        .collect();
    let config = format!(
        "[sessions.a]\nbrokers = ['127.0.0.1:1']\nenabled = false\n\
         [sessions.b]\nbrokers = ['127.0.0.1:1']\nenabled = false\n{forwarders}"
    );
    let mut process = Process::start(&config);
    process.line("runs as").await;
    // What it says at its end of each forwarder is more than a pipe holds.
    assert_eq!(process.stop_unread().await, Some(0));
}

//! `mqttx run` and `mqttx check-config` between brokers whose every byte the test decides.

use std::process::Stdio;
use std::time::Duration;

use mqttx_test::{Peer, ScriptedBroker, TempDir, hex};
use tokio::process::{Child, Command};

const ACCEPTED: &str = "20 { 00 00 {} }";
/// Long enough for a wrong packet to arrive.
const QUIET: Duration = Duration::from_millis(100);
/// How long the daemon may take to end.
const PATIENCE: Duration = Duration::from_secs(15);

/// A PUBLISH without properties of its own, as the daemon "d" forwards it.
fn sent(script: &str) -> String {
    sent_by("fw", script)
}

fn sent_by(forwarder: &str, script: &str) -> String {
    script.replace("{}", &format!("{{ 26 <mqttx-via> <d/{forwarder}> 26 <mqttx-hops> <1> }}"))
}

/// A running daemon with one forwarder, and the brokers' ends of its connections.
struct Daemon {
    child: Child,
    source: Peer,
    target: Peer,
    _files: TempDir,
}

impl Daemon {
    /// From "src" `a/+` to "dst" `b/{1}`.
    async fn start(grace: &str) -> Self {
        Self::start_with(grace, 1, "").await
    }

    /// With a QoS to subscribe with, and more forwarders that share the subscription.
    async fn start_with(grace: &str, qos: u8, more: &str) -> Self {
        let brokers = (ScriptedBroker::start().await, ScriptedBroker::start().await);
        let files = TempDir::new("daemon");
        let config = format!(
            "[daemon]\nname = 'd'\nshutdown_grace = '{grace}'\n\
             [sessions.src]\nbrokers = ['{}']\nclient_id = 'gw-src'\n\
             [sessions.dst]\nbrokers = ['{}']\nclient_id = 'gw-dst'\n\
             [forwarders.fw]\nfrom = [{{ session = 'src', topics = ['a/+'] }}]\n\
             to = [{{ session = 'dst', topic = 'b/{{1}}' }}]\n{more}",
            brokers.0.url(),
            brokers.1.url()
        );
        let path = files.path().join("mqttx.toml");
        std::fs::write(&path, config).expect("a file");
        let child =
            command(&["run", "-c", path.to_str().expect("UTF-8")]).spawn().expect("it runs");
        let (mut source, connect) = brokers.0.accept_and_answer(ACCEPTED).await;
        // Clean start off, session expiry never, Receive Maximum 1024.
        assert_eq!(connect, hex("10 { <MQTT> 05 00 00 3c { 11 ff ff ff ff 21 04 00 } <gw-src> }"));
        let (target, _) = brokers.1.accept_and_answer(ACCEPTED).await;
        source.expect(&format!("82 {{ 00 01 {{ 0b 01 }} <a/+> 0{:x} }}", 0x0c | qos)).await;
        source.send(&format!("90 {{ 00 01 {{}} 0{qos} }}")).await;
        Self { child, source, target, _files: files }
    }

    async fn signal(&self) {
        signal(&self.child).await;
    }

    async fn end(self) -> (Option<i32>, String) {
        end(self.child).await
    }
}

async fn signal(child: &Child) {
    let pid = child.id().expect("it runs").to_string();
    let status = Command::new("kill").args(["-TERM", &pid]).status().await.expect("kill");
    assert!(status.success());
}

/// The exit code and stderr.
async fn end(child: Child) -> (Option<i32>, String) {
    let output = tokio::time::timeout(PATIENCE, child.wait_with_output()).await;
    let output = output.expect("it ends in time").expect("its output");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mqttx"));
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// Runs `command WORDS -c FILE` and gives exit code, stdout and stderr.
async fn check(words: &[&str], config: &str) -> (Option<i32>, String, String) {
    let files = TempDir::new("config");
    let path = files.path().join("mqttx.toml");
    std::fs::write(&path, config).expect("a file");
    let mut all = words.to_vec();
    all.extend(["-c", path.to_str().expect("UTF-8")]);
    let output = command(&all).output().await.expect("it runs");
    let directory = files.path().display().to_string();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(&format!("{directory}/"), "");
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[tokio::test]
async fn a_stop_waits_for_the_target_and_disconnects_without_unsubscribing() {
    let mut daemon = Daemon::start("10s").await;
    daemon.source.send("32 { <a/x> 00 07 {} 'hi' }").await;
    daemon.target.expect(&sent("32 { <b/x> 00 01 {} 'hi' }")).await;
    daemon.signal().await;
    daemon.source.expect_silence(QUIET).await;
    // What arrives now stays unacknowledged.
    daemon.source.send("32 { <a/y> 00 08 {} }").await;
    daemon.target.send("40 { 00 01 }").await;
    daemon.source.expect("40 { 00 07 }").await;
    daemon.source.expect("e0 {}").await;
    daemon.target.expect("e0 {}").await;
    daemon.source.expect_closed().await;
    let (code, stderr) = daemon.end().await;
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stderr.contains("forwarder fw: received 1, forwarded 1, dropped 0"), "{stderr}");
}

#[tokio::test]
async fn a_stop_that_leaves_something_says_so() {
    let mut daemon = Daemon::start("200ms").await;
    daemon.source.send("32 { <a/x> 00 07 {} 'hi' }").await;
    daemon.target.expect(&sent("32 { <b/x> 00 01 {} 'hi' }")).await;
    daemon.signal().await;
    daemon.source.expect("e0 {}").await;
    daemon.source.expect_closed().await;
    let (code, stderr) = daemon.end().await;
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("error: 1 messages of forwarders were not acknowledged"), "{stderr}");
}

#[tokio::test]
async fn a_second_signal_ends_at_once() {
    let mut daemon = Daemon::start("60s").await;
    daemon.source.send("32 { <a/x> 00 07 {} 'hi' }").await;
    daemon.target.expect(&sent("32 { <b/x> 00 01 {} 'hi' }")).await;
    daemon.signal().await;
    daemon.source.expect_silence(QUIET).await;
    daemon.signal().await;
    let (code, stderr) = daemon.end().await;
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("stopped at once: 1 messages were not acknowledged"), "{stderr}");
}

#[tokio::test]
async fn forwarders_on_one_filter_are_subscribed_once() {
    let more = "[forwarders.other]\nto = [{ session = 'dst', topic = 'c/{1}' }]\n\
                from = [{ session = 'src', topics = ['a/+'], qos = 2 }]\n";
    let mut daemon = Daemon::start_with("10s", 2, more).await;
    daemon.source.expect_silence(QUIET).await;
    daemon.source.send("34 { <a/x> 00 07 {} 'hi' }").await;
    // Each with what it asked for.
    daemon.target.expect(&sent("32 { <b/x> 00 01 {} 'hi' }")).await;
    daemon.target.expect(&sent_by("other", "34 { <c/x> 00 02 {} 'hi' }")).await;
}

#[tokio::test]
async fn a_stop_lets_the_source_finish_its_qos2_message() {
    let more = "[forwarders.other]\nto = [{ session = 'dst', topic = 'c/{1}', qos = 1 }]\n\
                from = [{ session = 'src', topics = ['a/+'], qos = 2 }]\n";
    let mut daemon = Daemon::start_with("10s", 2, more).await;
    daemon.source.send("34 { <a/x> 00 07 {} 'hi' }").await;
    daemon.target.expect(&sent("32 { <b/x> 00 01 {} 'hi' }")).await;
    daemon.target.expect(&sent_by("other", "32 { <c/x> 00 02 {} 'hi' }")).await;
    daemon.signal().await;
    daemon.target.send("40 { 00 01 } 40 { 00 02 }").await;
    daemon.source.expect("50 { 00 07 }").await;
    daemon.source.expect_silence(QUIET).await;
    daemon.source.send("62 { 00 07 }").await;
    daemon.source.expect("70 { 00 07 }").await;
    daemon.source.expect("e0 {}").await;
    daemon.target.expect("e0 {}").await;
    let (code, stderr) = daemon.end().await;
    assert_eq!(code, Some(0), "{stderr}");
}

#[tokio::test]
async fn a_stop_does_not_wait_for_answers_to_subscriptions() {
    let broker = ScriptedBroker::start().await;
    let files = TempDir::new("daemon");
    let path = files.path().join("mqttx.toml");
    let config = format!(
        "[sessions.s]\nbrokers = ['{}']\n[forwarders.f]\nfrom = [{{ session = 's', topics = ['a'] }}]\n\
         to = [{{ session = 's', topic = 'b' }}]\n",
        broker.url()
    );
    std::fs::write(&path, config).expect("a file");
    let child = command(&["run", "-c", path.to_str().expect("UTF-8")]).spawn().expect("it runs");
    let (mut peer, _) = broker.accept_and_answer(ACCEPTED).await;
    peer.expect_type(0x82).await;
    signal(&child).await;
    peer.expect("e0 {}").await;
    let (code, stderr) = end(child).await;
    assert_eq!(code, Some(0), "{stderr}");
}

#[tokio::test]
async fn a_bad_file_ends_with_78_and_a_line_for_each_problem() {
    let bad = "[sessions.a]\nbroker = 'h'\n[forwarders.f]\nfrom = 5\n";
    for words in [&["run"][..], &["run", "--check"], &["check-config"]] {
        let (code, stdout, stderr) = check(words, bad).await;
        assert_eq!((code, stdout.as_str()), (Some(78), ""), "{stderr}");
        let lines: Vec<&str> = stderr.lines().collect();
        assert_eq!(lines.len(), 4, "{stderr}");
        assert!(lines[0].starts_with("mqttx.toml:1:11: sessions.a.brokers"), "{stderr}");
        assert_eq!(lines[1], "mqttx.toml:2:1: unknown key 'broker', did you mean 'brokers'?");
        assert!(lines[2].starts_with("mqttx.toml:3:13: forwarders.f.to"), "{stderr}");
        assert!(lines[3].starts_with("mqttx.toml:4:8: invalid type"), "{stderr}");
    }
}

#[tokio::test]
async fn a_good_file_is_silent_and_json_says_ok() {
    let good = "[sessions.a]\nbrokers = ['127.0.0.1:1']\n";
    for words in [&["run", "--check"][..], &["check-config"]] {
        let (code, stdout, stderr) = check(words, good).await;
        assert_eq!((code, stdout.as_str(), stderr.as_str()), (Some(0), "", ""));
    }
    let (code, stdout, _) = check(&["check-config", "--json"], good).await;
    assert_eq!((code, stdout.as_str()), (Some(0), "{\"ok\":true,\"errors\":[]}\n"));
    let (code, stdout, stderr) = check(&["check-config", "--json"], "[x]\n").await;
    assert_eq!((code, stderr.as_str()), (Some(78), ""));
    let report: serde_json::Value = serde_json::from_str(&stdout).expect("JSON");
    assert_eq!(report["errors"][0]["line"], 1);
    assert_eq!(report["errors"][0]["column"], 2);
}

#[tokio::test]
async fn the_rules_of_the_file_are_kept() {
    let rules = "filter = \"payload.t > 30.0 && levels[1] != 'test'\"\n\
                 transform = [{ set = '/device', value = '{1}' }, { rename = '/t', to = '/temp' }]\n\
                 metadata = { source = '{topic}' }\n\
                 rate_limit = { messages = 500, bytes = '1MiB' }\n\
                 dead_letter = { session = 'dst', topic = 'dlq/{forwarder}' }\n";
    let mut daemon = Daemon::start_with("10s", 1, rules).await;
    daemon.source.send("32 { <a/test> 00 05 {} '{\"t\":31}' }").await;
    daemon.source.send("32 { <a/x> 00 06 {} '{\"t\":31}' }").await;
    daemon.source.send("32 { <a/x> 00 07 {} 'poison' }").await;
    let via = "26 <mqttx-via> <d/fw> 26 <mqttx-hops> <1>";
    let expected = format!(
        "32 {{ <b/x> 00 01 {{ 26 <source> <a/x> {via} }} '{{\"device\":\"x\",\"temp\":31}}' }}"
    );
    daemon.target.expect(&expected).await;
    let error = "the payload is not JSON: expected value at line 1 column 1";
    let expected = format!(
        "32 {{ <dlq/fw> 00 02 {{ 26 <mqttx-error> <{error}> 26 <mqttx-source-topic> <a/x> {via} }} 'poison' }}"
    );
    daemon.target.expect(&expected).await;
    daemon.target.send("40 { 00 01 } 40 { 00 02 }").await;
    for id in 5..=7 {
        daemon.source.expect(&format!("40 {{ 00 0{id} }}")).await;
    }
    daemon.signal().await;
    daemon.source.expect("e0 {}").await;
    daemon.target.expect("e0 {}").await;
    let (code, stderr) = daemon.end().await;
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stderr.contains("forwarded 1, dropped 0, filtered 1, dead letters 1"), "{stderr}");
}

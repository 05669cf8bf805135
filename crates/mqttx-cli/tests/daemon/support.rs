//! A daemon and the brokers that it talks to.

use std::process::Stdio;
use std::time::Duration;

use mqttx_test::{Peer, ScriptedBroker, TempDir, hex};
use tokio::process::{Child, Command};

pub(crate) const ACCEPTED: &str = "20 { 00 00 {} }";
/// Long enough for a wrong packet to arrive.
pub(crate) const QUIET: Duration = Duration::from_millis(100);
/// How long the daemon may take to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// A PUBLISH without properties of its own, as the forwarder "fw" of the daemon "d" sends it.
pub(crate) fn sent(script: &str) -> String {
    sent_by("fw", script)
}

pub(crate) fn sent_by(forwarder: &str, script: &str) -> String {
    script.replace("{}", &format!("{{ 26 <mqttx-via> <d/{forwarder}> 26 <mqttx-hops> <1> }}"))
}

/// A running daemon with one forwarder, and the brokers' ends of its connections.
pub(crate) struct Daemon {
    pub(crate) child: Child,
    pub(crate) source: Peer,
    pub(crate) target: Peer,
    _files: TempDir,
}

impl Daemon {
    /// From "src" `a/+` to "dst" `b/{1}`.
    pub(crate) async fn start(grace: &str) -> Self {
        Self::start_with(grace, 1, "").await
    }

    /// With a QoS to subscribe with, and more forwarders that share the subscription.
    pub(crate) async fn start_with(grace: &str, qos: u8, more: &str) -> Self {
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

    pub(crate) async fn signal(&self) {
        signal(&self.child).await;
    }

    pub(crate) async fn end(self) -> (Option<i32>, String) {
        end(self.child).await
    }
}

pub(crate) async fn signal(child: &Child) {
    let pid = child.id().expect("it runs").to_string();
    let status = Command::new("kill").args(["-TERM", &pid]).status().await.expect("kill");
    assert!(status.success());
}

/// The exit code and stderr.
pub(crate) async fn end(child: Child) -> (Option<i32>, String) {
    let output = tokio::time::timeout(PATIENCE, child.wait_with_output()).await;
    let output = output.expect("it ends in time").expect("its output");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

pub(crate) fn command(arguments: &[&str]) -> Command {
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
pub(crate) async fn check(words: &[&str], config: &str) -> (Option<i32>, String, String) {
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

//! A running daemon.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use mqttx_test::{Peer, ScriptedBroker, TempDir};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

pub(crate) const ACCEPTED: &str = "20 { 00 00 {} }";
/// How long the daemon may take to start or end.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Daemon {
    pub(crate) address: SocketAddr,
    child: Child,
    log: JoinHandle<String>,
    pub(crate) files: TempDir,
}

/// A PUBLISH without properties of its own, as the forwarder "fw" of the daemon "d" sends it.
pub(crate) fn sent(script: &str) -> String {
    script.replace("{}", "{ 26 <mqttx-via> <d/fw> 26 <mqttx-hops> <1> }")
}

/// The brokers' ends of the connections of a daemon with one forwarder.
pub(crate) struct Bridge {
    pub(crate) daemon: Daemon,
    pub(crate) brokers: (ScriptedBroker, ScriptedBroker),
    pub(crate) source: Peer,
    pub(crate) target: Peer,
}

pub(crate) fn command(files: &TempDir, config: &str) -> Command {
    let path = files.path().join("mqttx.toml");
    std::fs::write(&path, config).expect("a file");
    let mut command = Command::new(env!("CARGO_BIN_EXE_mqttx"));
    command
        .args(["run", "-c", path.to_str().expect("UTF-8")])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

impl Daemon {
    /// With that file; its `http.listen` has port 0.
    pub(crate) async fn start(config: &str) -> Self {
        let files = TempDir::new("http");
        let mut child = command(&files, config).spawn().expect("it runs");
        let mut lines = BufReader::new(child.stderr.take().expect("stderr")).lines();
        let address = async {
            loop {
                let line = lines.next_line().await.expect("a log").expect("it serves");
                let found = line.split_once("http://").and_then(|(_, rest)| rest.split_once(' '));
                if let Some((address, "is served")) = found {
                    break address.parse().expect("an address");
                }
            }
        };
        let address = tokio::time::timeout(PATIENCE, address).await.expect("it serves in time");
        let log = tokio::spawn(async move {
            let mut text = String::new();
            while let Ok(Some(line)) = lines.next_line().await {
                text.push_str(&line);
                text.push('\n');
            }
            text
        });
        Self { address, child, log, files }
    }

    pub(crate) async fn signal(&self) {
        let pid = self.child.id().expect("it runs").to_string();
        let status = Command::new("kill").args(["-TERM", &pid]).status().await.expect("kill");
        assert!(status.success());
    }

    /// The exit code and what it logged.
    pub(crate) async fn end(mut self) -> (Option<i32>, String) {
        let status = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        let status = status.expect("it ends in time").expect("a status");
        (status.code(), self.log.await.expect("its log"))
    }
}

impl Bridge {
    /// From "src" `a/+` to "dst" `b/{1}`; `http` is the rest of that section.
    pub(crate) async fn start(http: &str) -> Self {
        Self::start_at("127.0.0.1:0", http).await
    }

    /// Served at that address.
    pub(crate) async fn start_at(listen: &str, http: &str) -> Self {
        let brokers = (ScriptedBroker::start().await, ScriptedBroker::start().await);
        let config = format!(
            "[daemon]\nname = 'd'\n[http]\nlisten = '{listen}'\n{http}\n\
             [defaults.session]\nreconnect = {{ initial = '1ms', jitter = 'none' }}\n\
             [sessions.src]\nbrokers = ['{}']\nclient_id = 'gw-src'\n\
             [sessions.dst]\nbrokers = ['{}']\nclient_id = 'gw-dst'\n\
             [forwarders.fw]\nfrom = [{{ session = 'src', topics = ['a/+'], qos = 1 }}]\n\
             to = [{{ session = 'dst', topic = 'b/{{1}}' }}]\n",
            brokers.0.url(),
            brokers.1.url()
        );
        let daemon = Daemon::start(&config).await;
        let (mut source, _) = brokers.0.accept_and_answer(ACCEPTED).await;
        let (target, _) = brokers.1.accept_and_answer(ACCEPTED).await;
        source.expect("82 { 00 01 { 0b 01 } <a/+> 0d }").await;
        source.send("90 { 00 01 {} 01 }").await;
        Self { daemon, brokers, source, target }
    }
}

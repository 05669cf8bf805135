//! A running `mqttx run`, its file, and what it says over HTTP.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use mqttx_test::{TempDir, free_address};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

/// How long anything may take that is expected.
pub(crate) const SOON: Duration = Duration::from_secs(30);

pub(crate) struct Daemon {
    child: Option<Child>,
    files: TempDir,
    http: SocketAddr,
}

impl Daemon {
    /// With this configuration; `[daemon]` and `[http]` are added.
    pub(crate) async fn start(name: &str, config: &str) -> Self {
        let files = TempDir::new(name);
        let http = free_address();
        let mut daemon = Self { child: None, files, http };
        daemon.write(&daemon.whole(name, config));
        daemon.launch().await;
        daemon
    }

    /// The file with the parts that every daemon has.
    pub(crate) fn whole(&self, name: &str, config: &str) -> String {
        format!(
            "[daemon]\nname = '{name}'\ndata_dir = 'state'\n[http]\nlisten = '{}'\n{config}",
            self.http
        )
    }

    pub(crate) fn write(&self, text: &str) {
        std::fs::write(self.path(), text).expect("a file");
    }

    fn path(&self) -> PathBuf {
        self.files.path().join("mqttx.toml")
    }

    /// What it wrote to stderr so far, over all its lives.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.files.path().join("log")).unwrap_or_default()
    }

    /// Starts it and waits until it is ready.
    pub(crate) async fn launch(&mut self) {
        let log = self.files.path().join("log");
        let log = std::fs::File::options().create(true).append(true).open(log).expect("a log");
        let child = Command::new(env!("CARGO_BIN_EXE_mqttx"))
            .args(["run", "-c"])
            .arg(self.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn();
        self.child = Some(child.expect("it starts"));
        // Its targets may be down: it need not be ready.
        self.until("it serves", "/healthz", |answer| answer.starts_with("HTTP/1.1 200")).await;
    }

    /// As `kill -9` does.
    pub(crate) async fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().await.expect("killed");
        }
    }

    pub(crate) async fn signal(&self, name: &str) {
        let pid = self.child.as_ref().and_then(Child::id).expect("it runs").to_string();
        let status = Command::new("kill").args([name, &pid]).status().await.expect("kill");
        assert!(status.success());
    }

    /// Ends it; the exit code.
    pub(crate) async fn stop(&mut self) -> Option<i32> {
        self.signal("-TERM").await;
        let mut child = self.child.take().expect("it runs");
        let status = tokio::time::timeout(SOON, child.wait()).await.expect("it ends in time");
        status.expect("a status").code()
    }

    /// The answer to a GET, or nothing.
    pub(crate) async fn get(&self, path: &str) -> String {
        self.request("GET", path).await.unwrap_or_default()
    }

    pub(crate) async fn request(&self, method: &str, path: &str) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(self.http).await?;
        let request = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    }

    /// Asks again and again.
    pub(crate) async fn until(&self, what: &str, path: &str, reached: impl Fn(&str) -> bool) {
        let patience = Instant::now() + SOON;
        loop {
            let answer = self.get(path).await;
            if reached(&answer) {
                return;
            }
            assert!(Instant::now() < patience, "waited until {what}: {answer}\n{}", self.log());
            sleep(Duration::from_millis(10)).await;
        }
    }

    pub(crate) async fn ready(&self) {
        self.until("it is ready", "/readyz", |answer| answer.starts_with("HTTP/1.1 200")).await;
    }

    /// The sum of a metric over its labels.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let text = self.get("/metrics").await;
        let lines = text.lines().filter(|line| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']))
        });
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }
}

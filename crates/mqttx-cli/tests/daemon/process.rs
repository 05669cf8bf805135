//! A daemon whose configuration changes, and whose stderr is read as it comes.

use std::path::PathBuf;
use std::time::Duration;

use mqttx_test::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};

use super::support::command;

/// How long anything may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Process {
    child: Child,
    stderr: Lines<BufReader<ChildStderr>>,
    /// Lines that were read so far.
    pub(crate) log: Vec<String>,
    pub(crate) files: TempDir,
}

impl Process {
    pub(crate) fn start(config: &str) -> Self {
        Self::start_with(config, |_| {})
    }

    pub(crate) fn start_with(config: &str, prepare: impl FnOnce(&mut Command)) -> Self {
        let files = TempDir::new("daemon");
        let path = files.path().join("mqttx.toml");
        std::fs::write(&path, config).expect("a file");
        let mut command = command(&["run", "-c", path.to_str().expect("UTF-8")]);
        prepare(&mut command);
        let mut child = command.spawn().expect("it runs");
        let stderr = BufReader::new(child.stderr.take().expect("piped")).lines();
        Self { child, stderr, log: Vec::new(), files }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    /// Another configuration, which the daemon is told of.
    pub(crate) async fn reload(&self, config: &str) {
        std::fs::write(self.path("mqttx.toml"), config).expect("a file");
        self.signal("-HUP").await;
    }

    pub(crate) async fn signal(&self, signal: &str) {
        let pid = self.child.id().expect("it runs").to_string();
        let status = Command::new("kill").args([signal, &pid]).status().await.expect("kill");
        assert!(status.success());
    }

    /// Waits for a line that contains `part`.
    pub(crate) async fn line(&mut self, part: &str) -> String {
        let found = tokio::time::timeout(PATIENCE, async {
            while let Some(line) = self.stderr.next_line().await.expect("UTF-8") {
                self.log.push(line.clone());
                if line.contains(part) {
                    return line;
                }
            }
            panic!("the daemon ended without '{part}': {:#?}", self.log);
        });
        let found = found.await;
        found.unwrap_or_else(|_| panic!("no line with '{part}': {:#?}", self.log))
    }

    /// The end while nobody reads what it has to say: SIGTERM, and the exit code.
    pub(crate) async fn stop_unread(mut self) -> Option<i32> {
        self.signal("-TERM").await;
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        ended.expect("it ends in time").expect("its end").code()
    }

    /// The end: SIGTERM, the exit code, and all lines.
    pub(crate) async fn stop(mut self) -> (Option<i32>, Vec<String>) {
        self.signal("-TERM").await;
        let ended = tokio::time::timeout(PATIENCE, async {
            while let Some(line) = self.stderr.next_line().await.expect("UTF-8") {
                self.log.push(line);
            }
            self.child.wait().await.expect("its end").code()
        });
        (ended.await.expect("it ends in time"), self.log)
    }
}

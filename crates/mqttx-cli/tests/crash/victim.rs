//! The process that is killed.

use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::task::JoinHandle;

/// A running `mqttx`.
pub(crate) struct Victim {
    killer: Killer,
    pub(crate) stdin: Option<ChildStdin>,
    stdout: Lines<BufReader<ChildStdout>>,
    stderr: JoinHandle<String>,
}

/// Kills it, from wherever.
#[derive(Clone)]
pub(crate) struct Killer(Arc<Mutex<Target>>);

struct Target {
    child: Option<Child>,
    killed: Option<Instant>,
}

/// How it ended.
pub(crate) struct End {
    pub(crate) status: ExitStatus,
    pub(crate) stderr: String,
}

impl Victim {
    pub(crate) fn start(args: &[String]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_mqttx"))
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the command starts");
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().expect("stdout")).lines();
        let mut pipe = child.stderr.take().expect("stderr");
        let stderr = tokio::spawn(async move {
            let mut text = String::new();
            let _ = pipe.read_to_string(&mut text).await;
            text
        });
        let killer = Killer(Arc::new(Mutex::new(Target { child: Some(child), killed: None })));
        Self { killer, stdin, stdout, stderr }
    }

    pub(crate) fn killer(&self) -> Killer {
        self.killer.clone()
    }

    /// The next line of stdout; `None` once the process has ended and everything was read. Cancel safe.
    pub(crate) async fn line(&mut self) -> Option<String> {
        self.stdout.next_line().await.expect("text on stdout")
    }

    /// Asks it to stop.
    pub(crate) async fn terminate(&self) {
        let id = self.killer.lock().child.as_ref().and_then(Child::id).expect("a running command");
        let sent = Command::new("kill").args(["-s", "TERM", &id.to_string()]).status().await;
        assert!(sent.expect("kill starts").success());
    }

    /// Its end, after the last line of stdout.
    pub(crate) async fn end(self) -> End {
        let child = self.killer.lock().child.take();
        let mut child = child.expect("the end is waited for once");
        let status = child.wait().await.expect("a status");
        End { status, stderr: self.stderr.await.expect("stderr") }
    }
}

impl Killer {
    /// `kill -9`. Nothing happens to a process that has ended.
    pub(crate) fn kill(&self) {
        let target = &mut *self.lock();
        if let Some(child) = &mut target.child {
            target.killed.get_or_insert_with(Instant::now);
            let _ = child.start_kill();
        }
    }

    /// When it was killed first.
    pub(crate) fn killed(&self) -> Option<Instant> {
        self.lock().killed
    }

    fn lock(&self) -> MutexGuard<'_, Target> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl End {
    /// By us, and not by itself.
    pub(crate) fn was_killed(&self) -> bool {
        std::os::unix::process::ExitStatusExt::signal(&self.status) == Some(9)
    }
}

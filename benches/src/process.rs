//! The parent's side of the line between parent and child.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use mqttx_test::TempDir;

use crate::child::{AUTHORITY, DIRECTORY};
use crate::contestant::Contestant;
use crate::workload::Case;

/// A contestant in its own process; ended on drop.
pub(crate) struct Runner {
    child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
    /// What the contestant told about itself.
    pub(crate) values: Vec<(String, f64)>,
    /// For what the contestant keeps on disk.
    _directory: TempDir,
}

/// What a process used since its start.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    pub(crate) cpu: Duration,
    pub(crate) resident_kib: u64,
    pub(crate) threads: u64,
}

impl Runner {
    /// Starts the child and waits until it is connected. `authority`: who issued the certificate of a peer with TLS, PEM.
    ///
    /// # Errors
    /// It does not start, ends, or is not ready in time.
    pub(crate) fn start(
        case: &Case,
        contestant: &Contestant,
        peer: SocketAddr,
        authority: Option<&str>,
        messages: u64,
    ) -> Result<Self, String> {
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        let directory = TempDir::new("bench");
        let mut child = Command::new(program)
            .args(["child", &case.name, contestant.name, &peer.to_string()])
            .arg(messages.to_string())
            .env(DIRECTORY, directory.path())
            .envs(authority.map(|pem| (AUTHORITY, pem)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("cannot start a child: {error}"))?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("a child without pipes".to_owned());
        };
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let mut runner = Self { child, input, lines, values: Vec::new(), _directory: directory };
        runner.wait("ready", Duration::from_secs(180))?;
        Ok(runner)
    }

    /// Releases the contestant.
    ///
    /// # Errors
    /// The child is gone.
    pub(crate) fn go(&mut self) -> Result<(), String> {
        self.say("go")
    }

    /// What the child used so far.
    ///
    /// # Errors
    /// The child is gone.
    pub(crate) fn usage(&mut self) -> Result<Usage, String> {
        self.say("usage")?;
        let line = self.wait("usage", Duration::from_secs(30))?;
        let mut fields = line.split_whitespace().map(|field| field.parse().unwrap_or(0));
        let mut next = || fields.next().unwrap_or(0);
        Ok(Usage { cpu: Duration::from_nanos(next()), resident_kib: next(), threads: next() })
    }

    /// Waits for a line that starts with `word`, and gives the rest of it.
    ///
    /// # Errors
    /// The child ends, or time is up.
    pub(crate) fn wait(&mut self, word: &str, timeout: Duration) -> Result<String, String> {
        let deadline = Instant::now() + timeout;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    if let Some(rest) = self.heard(&line, word) {
                        return Ok(rest);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    return Err(format!("not `{word}` within {timeout:?}"));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(format!("the child ended before `{word}`"));
                }
            }
        }
    }

    fn heard(&mut self, line: &str, word: &str) -> Option<String> {
        let (first, rest) = line.split_once(' ').unwrap_or((line, ""));
        if first == "value"
            && let Some((value, name)) = rest.split_once(' ')
        {
            self.values.push((name.to_owned(), value.parse().unwrap_or(f64::NAN)));
        }
        (first == word).then(|| rest.to_owned())
    }

    fn say(&mut self, word: &str) -> Result<(), String> {
        writeln!(self.input, "{word}").map_err(|error| format!("the child is gone: {error}"))
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

//! Runs the command against a broker whose every byte a script decides.
//!
//! A script is read line by line, top to bottom:
//!
//! | line | meaning |
//! |---|---|
//! | `accept` | the next connection |
//! | `accept2` | the next connection to a second broker, at the port `$PORT2` |
//! | `connect [FLAGS]` | the next connection, any CONNECT, answered with success; FLAGS `01` is session present |
//! | `< BYTES` | exactly this packet comes |
//! | `? BYTE` | a packet with this first byte comes |
//! | `> BYTES` | send, in one write |
//! | `>> BYTES` | send, a byte at a time |
//! | `silence MS` | nothing comes, and the connection stays |
//! | `absence MS` | nobody connects |
//! | `since MS` | so much time is over since the command was started, or since the broker ended the last connection |
//! | `kept TEXT`, `gone TEXT` | what `store export` says of `$STORE` comes to have this text, or to have it no more |
//! | `close`, `reset` | the broker ends the connection |
//! | `end` | the client ends the connection without another byte |
//! | `bye` | DISCONNECT with code 0 in its shortest form, then the end |
//! | `out TEXT` | this line comes on stdout |
//! | `in TEXT`, `eof` | a line for stdin, the end of stdin |
//! | `term`, `int` | SIGTERM, SIGINT |
//! | `kill` | SIGKILL, and what is left on stdout goes with it |
//! | `again [COMMAND]` | after its end: the same command with a new stdin, or another one |
//! | `also CODE COMMAND` | another command, with nothing on stdin, ends with CODE while the first one runs |
//! | `exit CODE [TEXT]` | it ends; stderr contains TEXT; nothing is left on stdout |
//!
//! In commands `$STORE` is a file store of the run's own, `$DIR` its directory, and `$PORT` the broker's port.
//!
//! BYTES are in the notation of [`mqttx_test::hex`]; what stands in `«…»` is for MQTT 5 only, what
//! stands in `‹…›` for 3.1.1 only.

use std::process::Stdio;
use std::time::{Duration, Instant};

use mqttx_test::{Peer, ScriptedBroker, TempDir};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// How long a command may take to end, to print a line, or to write a record.
const PATIENCE: Duration = Duration::from_secs(15);

/// The protocol version of a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Version {
    V311,
    V5,
}

/// Runs `command` in this version against the script.
pub(crate) async fn run(version: Version, command: &str, script: &str) {
    let (broker, second) = (ScriptedBroker::start().await, ScriptedBroker::start().await);
    let script = script.replace("$PORT2", &second.address().port().to_string());
    let mut run = Run::start(version, command, broker, second);
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if let Some(line) = version.select(line) {
            println!("{version:?} {line}");
            run.step(line.trim()).await;
        }
    }
    assert!(run.child.is_none(), "the script ends without `exit`");
}

struct Run {
    version: Version,
    command: String,
    directory: TempDir,
    broker: ScriptedBroker,
    second: ScriptedBroker,
    peer: Option<Peer>,
    child: Option<Child>,
    stdin: Option<ChildStdin>,
    stdout: Option<BufReader<ChildStdout>>,
    /// Taken before what it is the time of.
    since: Instant,
}

impl Run {
    fn start(
        version: Version,
        command: &str,
        broker: ScriptedBroker,
        second: ScriptedBroker,
    ) -> Self {
        let mut run = Self {
            version,
            command: command.to_owned(),
            directory: TempDir::new("wire"),
            broker,
            second,
            peer: None,
            child: None,
            stdin: None,
            stdout: None,
            since: Instant::now(),
        };
        run.spawn();
        run
    }

    fn spawn(&mut self) {
        let mut child = self.process(&self.command).spawn().expect("the command starts");
        self.stdin = child.stdin.take();
        self.stdout = child.stdout.take().map(BufReader::new);
        self.child = Some(child);
    }

    /// The process of this command line; commands without a broker say so by `$DIR`.
    fn process(&self, command: &str) -> Command {
        let port = self.broker.address().port().to_string();
        let port2 = self.second.address().port().to_string();
        let directory = self.directory.path().join("store").display().to_string();
        let selected = self.version.select(command).unwrap_or_default();
        let selected = selected.replace("$PORT2", &port2).replace("$PORT", &port);
        let selected = selected.replace("$STORE", &format!("file:{directory}"));
        let mut words = words(&selected.replace("$DIR", &directory));
        if !command.contains("$DIR") {
            if !words.iter().any(|word| word.starts_with("-V")) {
                words.insert(1, self.version.flag().to_owned());
            }
            if !command.contains("$PORT") {
                words.extend(["-h".to_owned(), "127.0.0.1".to_owned(), "-p".to_owned(), port]);
            }
        }
        let mut process = Command::new(env!("CARGO_BIN_EXE_mqttx"));
        process.args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        process.kill_on_drop(true);
        process
    }

    async fn step(&mut self, line: &str) {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        let milliseconds = || Duration::from_millis(rest.parse().expect("milliseconds"));
        match verb {
            "accept" => self.peer = Some(self.broker.accept().await),
            "accept2" => self.peer = Some(self.second.accept().await),
            "connect" => {
                let flags = if rest.is_empty() { "00" } else { rest };
                let properties = if self.version == Version::V5 { "{}" } else { "" };
                let connack = format!("20 {{ {flags} 00 {properties} }}");
                self.peer = Some(self.broker.accept_and_answer(&connack).await.0);
            }
            "<" => self.peer().expect(rest).await,
            "?" => drop(self.peer().expect_type(mqttx_test::hex(rest)[0]).await),
            ">" => self.peer().send(rest).await,
            ">>" => self.peer().send_split(rest).await,
            "silence" => self.peer().expect_silence(milliseconds()).await,
            "absence" => self.broker.expect_no_connection(milliseconds()).await,
            "since" => {
                let time = self.since.elapsed();
                assert!(time >= milliseconds(), "{time:?}, not {rest} ms");
            }
            "kept" => self.expect_store(rest, true).await,
            "gone" => self.expect_store(rest, false).await,
            "close" => {
                self.since = Instant::now();
                self.peer.take().expect("a connection").close().await;
            }
            "reset" => {
                self.since = Instant::now();
                self.peer.take().expect("a connection").reset();
            }
            "end" => self.expect_end().await,
            "bye" => {
                self.peer().expect("e0 {}").await;
                self.expect_end().await;
            }
            "out" => self.expect_line(rest).await,
            "in" => {
                let stdin = self.stdin.as_mut().expect("an open stdin");
                stdin.write_all(format!("{rest}\n").as_bytes()).await.expect("room in stdin");
            }
            "eof" => self.stdin = None,
            "term" => self.signal("TERM").await,
            "int" => self.signal("INT").await,
            "kill" => self.kill().await,
            "again" => {
                assert!(self.child.is_none(), "`again` comes after `kill` or `exit`");
                if !rest.is_empty() {
                    self.command = rest.to_owned();
                }
                self.spawn();
            }
            "also" => self.also(rest).await,
            "exit" => self.expect_exit(rest).await,
            _ => panic!("unknown line in the script: {line}"),
        }
    }

    /// The client ends the connection, and the broker does the same, as brokers do.
    async fn expect_end(&mut self) {
        self.peer().expect_closed().await;
        self.peer = None;
    }

    fn peer(&mut self) -> &mut Peer {
        self.peer.as_mut().expect("a connection")
    }

    async fn signal(&self, name: &str) {
        let id = self.child.as_ref().and_then(Child::id).expect("a running command");
        let sent = Command::new("kill").args(["-s", name, &id.to_string()]).status().await;
        assert!(sent.expect("kill starts").success());
    }

    async fn kill(&mut self) {
        let mut child = self.child.take().expect("a running command");
        child.kill().await.expect("a running command");
        (self.stdin, self.stdout, self.peer) = (None, None, None);
    }

    async fn also(&self, rest: &str) {
        let (code, command) = rest.split_once(' ').expect("`also CODE COMMAND`");
        let child = self.process(command).stdin(Stdio::null()).spawn().expect("the command starts");
        let output = tokio::time::timeout(PATIENCE, child.wait_with_output()).await;
        let output = output.expect("the other command ends").expect("a status");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code().map(|c| c.to_string()).as_deref(), Some(code), "{stderr}");
    }

    /// A record that nothing waits for is there soon, and not at once.
    async fn expect_store(&self, text: &str, wanted: bool) {
        let directory = self.directory.path().join("store");
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut export = Command::new(env!("CARGO_BIN_EXE_mqttx"));
            export.args(["store", "export", "--read-anyway"]).arg(&directory);
            let output = export.output().await.expect("the command runs");
            let shown = String::from_utf8_lossy(&output.stdout);
            if output.status.success() && shown.contains(text) == wanted {
                return;
            }
            assert!(Instant::now() < deadline, "{text}, {wanted}: {shown}");
        }
    }

    async fn expect_line(&mut self, expected: &str) {
        let mut line = Vec::new();
        let stdout = self.stdout.as_mut().expect("a running command");
        let read = tokio::time::timeout(PATIENCE, stdout.read_until(b'\n', &mut line)).await;
        read.unwrap_or_else(|_| panic!("waited for the line: {expected}")).expect("stdout");
        assert_eq!(String::from_utf8_lossy(&line), format!("{expected}\n"));
    }

    async fn expect_exit(&mut self, expected: &str) {
        let (code, text) = expected.split_once(' ').unwrap_or((expected, ""));
        let mut child = self.child.take().expect("a running command");
        let mut stderr_pipe = child.stderr.take().expect("stderr");
        let mut stdout_pipe = self.stdout.take().expect("stdout");
        self.stdin = None;
        let (mut stdout, mut stderr) = (String::new(), String::new());
        let ended = tokio::time::timeout(PATIENCE, async {
            tokio::join!(
                child.wait(),
                stdout_pipe.read_to_string(&mut stdout),
                stderr_pipe.read_to_string(&mut stderr)
            )
        });
        let status = match ended.await {
            Ok((status, ..)) => status.expect("a status"),
            Err(_) => panic!("the command does not end; stdout: {stdout}, stderr: {stderr}"),
        };
        assert_eq!(status.code().map(|c| c.to_string()).as_deref(), Some(code), "stderr: {stderr}");
        assert!(stderr.contains(text), "'{text}' is not in: {stderr}");
        assert_eq!(stdout, "", "left on stdout");
    }
}

impl Version {
    const fn flag(self) -> &'static str {
        match self {
            Self::V5 => "-V5",
            Self::V311 => "-V311",
        }
    }

    /// The line without what is for the other version; `None` when nothing is left of it.
    fn select(self, line: &str) -> Option<String> {
        let (mine, other) = match self {
            Self::V5 => (['«', '»'], ['‹', '›']),
            Self::V311 => (['‹', '›'], ['«', '»']),
        };
        let mut selected = String::new();
        let mut skipping = false;
        for c in line.chars() {
            if c == other[0] || c == other[1] {
                skipping = c == other[0];
            } else if !skipping && !mine.contains(&c) {
                selected.push(c);
            }
        }
        Some(selected).filter(|line| !line.trim().is_empty())
    }
}

/// Splits a command line at spaces; `'…'` keeps them.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut quoted = false;
    for part in line.split('\'') {
        if quoted {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
        quoted = !quoted;
    }
    words
}

/// Tests from scripts: `both`, `v5` or `v311`, a name that is a claim, the command, the script.
macro_rules! scripts {
    ($($versions:ident $name:ident: $command:expr => $script:expr;)*) => {
        $(
            #[tokio::test(flavor = "current_thread")]
            async fn $name() {
                $crate::script::$versions($command, $script).await;
            }
        )*
    };
}

pub(crate) use scripts;

pub(crate) async fn both(command: &str, script: &str) {
    tokio::join!(v5(command, script), v311(command, script));
}

pub(crate) async fn v5(command: &str, script: &str) {
    run(Version::V5, command, script).await;
}

pub(crate) async fn v311(command: &str, script: &str) {
    run(Version::V311, command, script).await;
}

//! Redis as processes of the test's own: one server, a master with a replica and a sentinel, a cluster.

use crate::TempDir;
use crate::port::free_address;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Where the tests look for the program; without it those that need Redis are skipped.
const VARIABLE: &str = "MQTTX_TEST_REDIS";
/// How long a server may take to listen, or to get into a state.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running Redis on a free loopback port, ended on drop.
///
/// ```no_run
/// # async fn test() {
/// use mqttx_test::Redis;
///
/// let Some(mut redis) = Redis::builder().append_only(true).start().await else { return };
/// println!("{}", redis.url());
/// redis.command(&["SET", "a", "1"]);
/// redis.kill();
/// redis.restart().await;
/// # }
/// ```
#[derive(Debug)]
pub struct Redis {
    program: PathBuf,
    directory: TempDir,
    address: SocketAddr,
    mode: Mode,
    password: Option<String>,
    child: Option<Child>,
}

/// What a [`Redis`] is started with.
#[derive(Debug, Clone)]
pub struct RedisBuilder {
    mode: Mode,
    append_only: bool,
    password: Option<String>,
    lines: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Server,
    Sentinel,
}

impl Redis {
    /// No persistence, no password, no limit of memory.
    #[must_use]
    pub fn builder() -> RedisBuilder {
        RedisBuilder { mode: Mode::Server, append_only: false, password: None, lines: Vec::new() }
    }

    /// Where it listens, also while it does not run.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address as a client takes it, without a password.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// What it wrote, since its first start.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// Sends a command over a connection of its own, and returns the answer as Redis wrote it: `+OK`, `:3`, `-ERR …`.
    ///
    /// # Panics
    /// When Redis cannot be reached.
    pub fn command(&self, words: &[&str]) -> String {
        self.try_command(words).unwrap_or_else(|error| panic!("{words:?}: {error}\n{}", self.log()))
    }

    fn try_command(&self, words: &[&str]) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut text = String::new();
        if let Some(password) = &self.password {
            text += &encoded(&["AUTH", password]);
        }
        text += &encoded(words);
        stream.write_all(text.as_bytes())?;
        // Redis ends the connection behind its answers. Sentinels know no QUIT.
        stream.shutdown(Shutdown::Write)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let login = if self.password.is_some() { "+OK\r\n" } else { "" };
        Ok(answer.strip_prefix(login).unwrap_or(&answer).trim_end().to_owned())
    }

    /// Asks until the answer contains `wanted`.
    ///
    /// # Panics
    /// When it does not in time.
    pub async fn wait_for(&self, words: &[&str], wanted: &str) {
        let started = Instant::now();
        loop {
            let answer = self.try_command(words).unwrap_or_default();
            if answer.contains(wanted) {
                return;
            }
            assert!(
                started.elapsed() < PATIENCE,
                "{words:?}: {answer}, not {wanted}\n{}",
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Ends it at once, as `kill -9` does.
    ///
    /// # Panics
    /// When the process cannot be ended.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("kill redis");
            child.wait().expect("wait for redis");
        }
    }

    /// Stops the process without ending it: connections stay, and nothing answers.
    ///
    /// # Panics
    /// When the signal cannot be sent.
    pub fn freeze(&self) {
        self.signal("-STOP");
    }

    /// Lets it go on after [`freeze`](Self::freeze).
    ///
    /// # Panics
    /// When the signal cannot be sent.
    pub fn thaw(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let Some(child) = &self.child else { return };
        let status = Command::new("kill").args([signal, &child.id().to_string()]).status();
        assert!(status.expect("run kill").success(), "kill {signal}");
    }

    /// Starts it again at the same address, ending it first when it runs. What it has is what it wrote to its files.
    ///
    /// # Panics
    /// When it does not listen in time.
    pub async fn restart(&mut self) {
        self.kill();
        if let Err(error) = self.launch().await {
            panic!("{error}");
        }
    }

    async fn launch(&mut self) -> Result<(), String> {
        let log = self.directory.path().join("log");
        let log = File::options().create(true).append(true).open(log).expect("a log file");
        let mut command = Command::new(&self.program);
        command.arg(self.directory.path().join("redis.conf"));
        if self.mode == Mode::Sentinel {
            command.arg("--sentinel");
        }
        let errors = log.try_clone().expect("a log file");
        let child = command
            .current_dir(self.directory.path())
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {}: {error}", self.program.display()));
        self.child = Some(child);
        let started = Instant::now();
        loop {
            let child = self.child.as_mut().expect("it was started");
            if let Some(status) = child.try_wait().expect("a child") {
                self.child = None;
                return Err(format!("redis ended ({status})\n{}", self.log()));
            }
            if self.try_command(&["PING"]).is_ok_and(|answer| answer.contains("PONG")) {
                return Ok(());
            }
            if started.elapsed() > PATIENCE {
                return Err(format!("redis does not answer\n{}", self.log()));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let tail = log.char_indices().rev().nth(4000).map_or(0, |(at, _)| at);
            eprintln!("redis at {}:\n{}", self.address, &log[tail..]);
        }
        self.kill();
    }
}

impl RedisBuilder {
    /// Whether every write is in a file before it is answered: `appendfsync always`.
    #[must_use]
    pub fn append_only(mut self, on: bool) -> Self {
        self.append_only = on;
        self
    }

    /// The password of the default user.
    #[must_use]
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self.line(&format!("requirepass {password}"))
    }

    /// A further line for the configuration file.
    #[must_use]
    pub fn line(mut self, line: &str) -> Self {
        self.lines.push(line.to_owned());
        self
    }

    /// Starts it and waits until it answers. `None`, with a printed line, when the environment does not say where the
    /// program is.
    ///
    /// # Panics
    /// When it does not answer in time; the message holds what it wrote.
    pub async fn start(self) -> Option<Redis> {
        let Some(program) = std::env::var_os(VARIABLE) else {
            // Written past the capture of the test harness: a skipped test must not look like a run.
            let _ = writeln!(std::io::stderr(), "skipped: {VARIABLE} does not name a redis-server");
            return None;
        };
        let mut failures = String::new();
        // Between finding a free port and listening on it, another process may take it.
        for _ in 0..5 {
            let mut redis = self.prepare(Path::new(&program));
            match redis.launch().await {
                Ok(()) => return Some(redis),
                Err(error) => failures.push_str(&error),
            }
        }
        panic!("{failures}");
    }

    fn prepare(&self, program: &Path) -> Redis {
        let directory = TempDir::new("redis");
        let address = free_address();
        let mut lines = vec![format!("port {}", address.port()), format!("bind {}", address.ip())];
        if self.mode == Mode::Server {
            lines.push("save \"\"".to_owned());
            lines.push("appendfsync always".to_owned());
            lines.push(format!("appendonly {}", if self.append_only { "yes" } else { "no" }));
            lines.push("repl-diskless-sync-delay 0".to_owned());
        }
        lines.extend(self.lines.iter().cloned());
        let configuration = lines.join("\n") + "\n";
        std::fs::write(directory.path().join("redis.conf"), configuration)
            .expect("a configuration file");
        let (program, password) = (program.to_owned(), self.password.clone());
        Redis { program, directory, address, mode: self.mode, password, child: None }
    }
}

/// A master, a replica of it, and a sentinel that watches both as `main`.
#[derive(Debug)]
pub struct RedisSentinel {
    /// The first master.
    pub master: Redis,
    /// Its replica.
    pub replica: Redis,
    /// Who decides which of them is the master.
    pub sentinel: Redis,
}

impl RedisSentinel {
    /// Starts them, and waits until the replica is in step. `None` as [`RedisBuilder::start`].
    ///
    /// # Panics
    /// When they do not get there in time.
    pub async fn start() -> Option<Self> {
        let master = Redis::builder().append_only(true).start().await?;
        let follow = format!("replicaof {} {}", master.address.ip(), master.address.port());
        let replica = Redis::builder().append_only(true).line(&follow).start().await?;
        replica.wait_for(&["INFO", "replication"], "master_link_status:up").await;
        let mut builder = Redis::builder();
        builder.mode = Mode::Sentinel;
        let watch =
            format!("sentinel monitor main {} {} 1", master.address.ip(), master.address.port());
        let sentinel = builder
            .line(&watch)
            .line("sentinel down-after-milliseconds main 500")
            .line("sentinel failover-timeout main 5000")
            .start()
            .await?;
        sentinel.wait_for(&["INFO", "sentinel"], "slaves=1").await;
        Some(Self { master, replica, sentinel })
    }

    /// The address as a client takes it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis+sentinel://{}/main", self.sentinel.address)
    }
}

/// A cluster of three masters.
#[derive(Debug)]
pub struct RedisCluster {
    /// Its nodes; each has a third of the slots.
    pub nodes: Vec<Redis>,
}

impl RedisCluster {
    /// Starts it, and waits until all nodes agree that it is complete. `None` as [`RedisBuilder::start`].
    ///
    /// # Panics
    /// When they do not in time.
    pub async fn start() -> Option<Self> {
        let mut nodes = Vec::new();
        for first in [0, 5461, 10_923] {
            let last = if first == 10_923 { 16_383 } else { first + 5460 + first / 5461 };
            let node = Self::node().await?;
            node.command(&["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &last.to_string()]);
            nodes.push(node);
        }
        for (n, node) in nodes.iter().enumerate() {
            let epoch = (n + 1).to_string();
            node.command(&["CLUSTER", "SET-CONFIG-EPOCH", &epoch]);
        }
        nodes[1..].iter().for_each(|node| nodes[0].meet(node));
        for node in &nodes {
            node.wait_for(&["CLUSTER", "INFO"], "cluster_slots_ok:16384").await;
            node.wait_for(&["CLUSTER", "INFO"], "cluster_state:ok").await;
        }
        Some(Self { nodes })
    }

    /// Adds a replica of the node, behind the other nodes, and waits until it is in step.
    ///
    /// # Panics
    /// When it is not in time.
    pub async fn add_replica(&mut self, of: usize) {
        let replica = Self::node().await.expect("the other nodes were started");
        self.nodes[0].meet(&replica);
        let id = self.nodes[of].command(&["CLUSTER", "MYID"]);
        let id = id.lines().nth(1).expect("an id").to_owned();
        // It must have heard of the master.
        replica.wait_for(&["CLUSTER", "REPLICATE", &id], "+OK").await;
        replica.wait_for(&["INFO", "replication"], "master_link_status:up").await;
        for node in &self.nodes {
            node.wait_for(&["CLUSTER", "NODES"], &format!("slave {id}")).await;
        }
        self.nodes.push(replica);
    }

    async fn node() -> Option<Redis> {
        Redis::builder()
            .append_only(true)
            .line("cluster-enabled yes")
            .line("cluster-node-timeout 2000")
            // The default, 10 000 above the port, may be no port at all.
            .line(&format!("cluster-port {}", free_address().port()))
            .start()
            .await
    }

    /// The address as a client takes it: one of the nodes.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis+cluster://{}", self.nodes[0].address)
    }
}

impl Redis {
    fn meet(&self, other: &Self) {
        let (host, port) = (other.address.ip().to_string(), other.address.port().to_string());
        self.command(&["CLUSTER", "MEET", &host, &port, &other.bus_port()]);
    }

    fn bus_port(&self) -> String {
        let configuration =
            std::fs::read_to_string(self.directory.path().join("redis.conf")).unwrap_or_default();
        let line = configuration.lines().find_map(|line| line.strip_prefix("cluster-port "));
        line.expect("a node of a cluster").to_owned()
    }
}

fn encoded(words: &[&str]) -> String {
    let mut text = format!("*{}\r\n", words.len());
    for word in words {
        text += &format!("${}\r\n{word}\r\n", word.len());
    }
    text
}

//! Mosquitto as a process of the test's own.

use crate::port::free_address;
use crate::{Identity, Pki, TempDir};
use std::fs::File;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Where the tests look for the program; without it those that need Mosquitto are skipped.
const VARIABLE: &str = "MQTTX_TEST_MOSQUITTO";
/// How long a broker may take to listen, or to end after being asked to.
const PATIENCE: Duration = Duration::from_secs(10);

/// A running Mosquitto on a free loopback port, ended on drop.
///
/// ```no_run
/// # async fn test() {
/// use mqttx_test::Mosquitto;
///
/// let Some(mut broker) = Mosquitto::builder().persistence(true).start().await else { return };
/// println!("{}", broker.url());
/// broker.kill();
/// broker.restart().await;
/// # }
/// ```
#[derive(Debug)]
pub struct Mosquitto {
    program: PathBuf,
    directory: TempDir,
    address: SocketAddr,
    tls_address: Option<SocketAddr>,
    child: Option<Child>,
}

/// What a [`Mosquitto`] is started with.
#[derive(Debug, Clone)]
pub struct MosquittoBuilder {
    persistence: bool,
    max_inflight: u16,
    lines: Vec<String>,
    tls: Option<Tls>,
}

/// A second listener, with TLS.
#[derive(Debug, Clone)]
struct Tls {
    ca: String,
    server: Identity,
    asks: bool,
}

impl Mosquitto {
    /// No persistence, 20 messages in flight to a client, queues without limit, anonymous clients.
    #[must_use]
    pub fn builder() -> MosquittoBuilder {
        MosquittoBuilder { persistence: false, max_inflight: 20, lines: Vec::new(), tls: None }
    }

    /// Where it listens, also while it does not run.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address as a client takes it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("mqtt://{}", self.address)
    }

    /// The address of the listener with TLS, as a client takes it.
    ///
    /// # Panics
    /// When there is none: see [`MosquittoBuilder::tls`].
    #[must_use]
    pub fn tls_url(&self) -> String {
        format!("mqtts://{}", self.tls_address.expect("a listener with TLS"))
    }

    /// What it wrote to standard error, since its first start.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// The number of its process, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Ends it at once, as `kill -9` does: what it did not write to disk is lost.
    ///
    /// # Panics
    /// When the process cannot be ended.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("kill mosquitto");
            child.wait().expect("wait for mosquitto");
        }
    }

    /// Asks it to end, as a service manager does: with persistence, it writes its sessions to disk.
    ///
    /// # Panics
    /// When it does not end in time.
    pub async fn stop(&mut self) {
        self.signal("-TERM");
        let Some(child) = &mut self.child else { return };
        let started = Instant::now();
        while child.try_wait().expect("a child").is_none() {
            assert!(started.elapsed() < PATIENCE, "mosquitto does not stop\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.child = None;
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

    /// Starts it again at the same address, ending it first when it runs.
    ///
    /// # Panics
    /// When it does not listen in time.
    pub async fn restart(&mut self) {
        self.kill();
        if let Err(error) = self.launch().await {
            panic!("{error}");
        }
    }

    /// How often it said that it runs.
    fn lives(&self) -> usize {
        self.log().lines().filter(|line| line.ends_with(" running")).count()
    }

    /// Starts the process and waits until it accepts connections.
    async fn launch(&mut self) -> Result<(), String> {
        let lives = self.lives();
        let log = self.directory.path().join("log");
        let log = File::options().create(true).append(true).open(log).expect("a log file");
        let child = Command::new(&self.program)
            .arg("-c")
            .arg(self.directory.path().join("mosquitto.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {}: {error}", self.program.display()));
        self.child = Some(child);
        let started = Instant::now();
        loop {
            let ended = self.child.as_mut().and_then(|child| child.try_wait().expect("a child"));
            if let Some(status) = ended {
                self.child = None;
                return Err(format!("mosquitto ended ({status})\n{}", self.log()));
            }
            let all = std::iter::once(self.address).chain(self.tls_address);
            // Somebody else may have taken the port meanwhile: who answers there is this one only if it says so, too.
            if self.lives() > lives
                && all.into_iter().all(|address| TcpStream::connect(address).is_ok())
            {
                return Ok(());
            }
            if started.elapsed() > PATIENCE {
                return Err(format!("mosquitto does not listen\n{}", self.log()));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("mosquitto at {}:\n{}", self.address, self.log());
        }
        self.kill();
    }
}

impl MosquittoBuilder {
    /// Whether sessions and messages survive a stop: they are kept in a directory of its own.
    #[must_use]
    pub fn persistence(mut self, on: bool) -> Self {
        self.persistence = on;
        self
    }

    /// Messages above QoS 0 in flight to one client; 0 is no limit.
    #[must_use]
    pub fn max_inflight(mut self, messages: u16) -> Self {
        self.max_inflight = messages;
        self
    }

    /// A second listener with TLS, on a port of its own. With `asks`, clients must show a certificate of the authority,
    /// whose common name is their user name.
    #[must_use]
    pub fn tls(mut self, pki: &Pki, server: &Identity, asks: bool) -> Self {
        self.tls = Some(Tls { ca: pki.ca(), server: server.clone(), asks });
        self
    }

    /// A further line for the configuration file.
    #[must_use]
    pub fn line(mut self, line: &str) -> Self {
        self.lines.push(line.to_owned());
        self
    }

    /// Starts it and waits until it accepts connections. `None`, with a printed line, when the
    /// environment does not say where the program is.
    ///
    /// # Panics
    /// When it does not listen in time; the message holds what it wrote.
    pub async fn start(self) -> Option<Mosquitto> {
        let Some(program) = std::env::var_os(VARIABLE) else {
            // Written past the capture of the test harness: a skipped test must not look like a run.
            let _ = writeln!(std::io::stderr(), "skipped: {VARIABLE} does not name a mosquitto");
            return None;
        };
        let mut failures = String::new();
        // Between finding a free port and listening on it, another process may take it.
        for _ in 0..5 {
            let mut broker = self.prepare(PathBuf::from(&program));
            match broker.launch().await {
                Ok(()) => return Some(broker),
                Err(error) => failures.push_str(&error),
            }
        }
        panic!("{failures}");
    }

    fn prepare(&self, program: PathBuf) -> Mosquitto {
        let directory = TempDir::new("mosquitto");
        let address = free_address();
        let tls_address = self.tls.as_ref().map(|_| free_address());
        let mut configuration = self.configuration(&directory, address);
        if let (Some(tls), Some(address)) = (&self.tls, tls_address) {
            configuration += &tls.listener(&directory, address);
        }
        std::fs::write(directory.path().join("mosquitto.conf"), configuration)
            .expect("a configuration file");
        Mosquitto { program, directory, address, tls_address, child: None }
    }

    fn configuration(&self, directory: &TempDir, address: SocketAddr) -> String {
        let mut lines = vec![
            format!("listener {} {}", address.port(), address.ip()),
            "allow_anonymous true".to_owned(),
            "max_queued_messages 1000000".to_owned(),
            format!("max_inflight_messages {}", self.max_inflight),
            "log_dest stderr".to_owned(),
            // Otherwise one small packet after another waits 40 ms for the client's TCP.
            "set_tcp_nodelay true".to_owned(),
            // Started by root it would become another user, who cannot write to this directory.
            "user root".to_owned(),
            format!("persistence {}", self.persistence),
        ];
        if self.persistence {
            lines.push(format!("persistence_location {}/", directory.path().display()));
        }
        lines.extend(self.lines.iter().cloned());
        lines.join("\n") + "\n"
    }
}

impl Tls {
    /// Writes the files, and the lines that name them.
    fn listener(&self, directory: &TempDir, address: SocketAddr) -> String {
        let ca = directory.path().join("ca.pem");
        std::fs::write(&ca, &self.ca).expect("a file");
        let (cert, key) = self.server.write(directory.path(), "server");
        let lines = [
            format!("listener {} {}", address.port(), address.ip()),
            format!("cafile {}", ca.display()),
            format!("certfile {}", cert.display()),
            format!("keyfile {}", key.display()),
            format!("require_certificate {}", self.asks),
            format!("use_identity_as_username {}", self.asks),
        ];
        lines.join("\n") + "\n"
    }
}

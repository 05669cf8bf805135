//! The command over TLS, with Mosquitto and its own clients.

use std::path::PathBuf;
use std::process::{Output, Stdio};

use mqttx_test::{Mosquitto, Pki, TempDir};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

const MQTTX: &str = env!("CARGO_BIN_EXE_mqttx");

struct Site {
    broker: Mosquitto,
    directory: TempDir,
    port: String,
}

impl Site {
    /// A Mosquitto that wants certificates; the files lie in a directory.
    async fn start() -> Option<Self> {
        let pki = Pki::new("plant authority");
        let server = pki.server(&["127.0.0.1", "localhost"]);
        let broker = Mosquitto::builder().tls(&pki, &server, true).start().await?;
        let directory = TempDir::new("tls-command");
        std::fs::write(directory.path().join("ca.pem"), pki.ca()).expect("a file");
        std::fs::write(directory.path().join("other.pem"), Pki::new("other").ca()).expect("a file");
        let _ = pki.client("gw").write(directory.path(), "gw");
        let port = broker.tls_url().rsplit(':').next().expect("a port").to_owned();
        Some(Self { broker, directory, port })
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    fn command(&self, program: &str, start: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(start).args(["-h", "localhost", "-p", &self.port]);
        command.args(["--cafile", &self.path("ca.pem")]);
        command.args(["--cert", &self.path("gw.pem"), "--key", &self.path("gw.key")]);
        command.stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    async fn run(&self, program: &str, start: &[&str]) -> Output {
        self.command(program, start).output().await.expect("it runs")
    }

    /// A subscriber that says when it is ready: its own message has come back.
    async fn listening(&self, start: &[&str]) -> Child {
        let mut child = self.command(MQTTX, start);
        child.stdout(Stdio::piped()).spawn().expect("it runs")
    }
}

fn found(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|place| place.join(program)).find(|file| file.is_file())
}

#[tokio::test]
async fn messages_pass_between_the_command_and_the_clients_of_mosquitto() {
    let Some(site) = Site::start().await else { return };
    for version in ["5", "311"] {
        for qos in ["0", "1", "2"] {
            let publish = ["pub", "-V", version, "-t", "kept", "-m", "there", "-r", "-q", qos];
            let output = site.run(MQTTX, &publish).await;
            assert!(output.status.success(), "{output:?}");
            let subscribe = ["sub", "-V", version, "-t", "kept", "-q", qos, "-C", "1"];
            let output = site.run(MQTTX, &subscribe).await;
            assert_eq!(String::from_utf8_lossy(&output.stdout), "there\n", "{output:?}");
        }
    }
    let (Some(publisher), Some(subscriber)) = (found("mosquitto_pub"), found("mosquitto_sub"))
    else {
        return eprintln!("skipped: there is no mosquitto_pub");
    };
    let args = ["-t", "theirs", "-m", "kept", "-r", "-q", "1"];
    let output = site.run(&publisher.display().to_string(), &args).await;
    assert!(output.status.success(), "{output:?}");
    let output = site.run(MQTTX, &["sub", "-t", "theirs", "-C", "1", "-q", "1"]).await;
    assert_eq!(String::from_utf8_lossy(&output.stdout), "kept\n", "{output:?}");
    let output = site.run(MQTTX, &["pub", "-t", "ours", "-m", "sent", "-r", "-q", "1"]).await;
    assert!(output.status.success(), "{output:?}");
    let args = ["-t", "ours", "-C", "1", "-q", "1"];
    let output = site.run(&subscriber.display().to_string(), &args).await;
    assert_eq!(String::from_utf8_lossy(&output.stdout), "sent\n", "{output:?}");
}

#[tokio::test]
async fn subscriber_stays_over_a_restart_of_the_broker() {
    let Some(mut site) = Site::start().await else { return };
    let start = ["sub", "-t", "t/#", "-q", "1", "-C", "2", "--reconnect-initial-ms", "20"];
    let mut child = site.listening(&start).await;
    let mut lines = BufReader::new(child.stdout.take().expect("stdout")).lines();
    for text in ["one", "two"] {
        // Retained: it comes whether the subscription is earlier or later.
        let topic = format!("t/{text}");
        let output = site.run(MQTTX, &["pub", "-t", &topic, "-m", text, "-r", "-q", "1"]).await;
        assert!(output.status.success(), "{output:?}");
        let line = lines.next_line().await.expect("stdout");
        assert_eq!(line.as_deref(), Some(text));
        site.broker.restart().await;
    }
    assert!(child.wait().await.expect("it ends").success());
}

#[tokio::test]
async fn certificate_that_cannot_be_verified_ends_the_command_at_once() {
    let Some(site) = Site::start().await else { return };
    for (flags, part) in [
        (vec!["--cafile".to_owned(), site.path("other.pem")], "was not issued by an authority in"),
        (vec!["--cafile".to_owned(), site.path("ca.pem")], "wants a client certificate"),
        (vec!["--tls-version".to_owned(), "1.3".to_owned()], "an authority that the system trusts"),
    ] {
        let mut command = Command::new(MQTTX);
        command.args(["pub", "-t", "t", "-m", "x", "-h", "127.0.0.1", "-p", &site.port]);
        let output = command.args(&flags).stdin(Stdio::null()).output().await.expect("it runs");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.lines().count() == 1 && stderr.contains(part), "{flags:?}: {stderr}");
    }
    let mut command = site.command(MQTTX, &["pub", "-t", "t", "-m", "x", "--insecure"]);
    let output = command.output().await.expect("it runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && stderr.contains("is not checked"), "{stderr}");
}

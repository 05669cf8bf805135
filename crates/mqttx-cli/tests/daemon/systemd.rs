//! What a service manager is told.

use std::time::Duration;

use mqttx_test::ScriptedBroker;
use tokio::net::UnixDatagram;

use super::process::{PATIENCE, Process};
use super::support::{ACCEPTED, QUIET};

/// The service manager's end.
struct Manager {
    socket: UnixDatagram,
    /// The last status that was told.
    status: String,
}

impl Manager {
    /// The daemon, told where to notify.
    fn start(config: &str, watchdog: Option<Duration>) -> (Self, Process) {
        let name = format!("mqttx-notify-{}-{:p}", std::process::id(), config);
        let path = std::env::temp_dir().join(name);
        let _ = std::fs::remove_file(&path);
        let socket = UnixDatagram::bind(&path).expect("a socket");
        let process = Process::start_with(config, |command| {
            command.env("NOTIFY_SOCKET", &path);
            if let Some(limit) = watchdog {
                command.env("WATCHDOG_USEC", limit.as_micros().to_string());
            }
        });
        (Self { socket, status: String::new() }, process)
    }

    /// The next message that is not only a status.
    async fn next(&mut self) -> String {
        let told = tokio::time::timeout(PATIENCE, async {
            loop {
                let mut buffer = [0; 1024];
                let length = self.socket.recv(&mut buffer).await.expect("a message");
                let text = String::from_utf8_lossy(&buffer[..length]).trim_end().to_owned();
                match text.strip_prefix("STATUS=") {
                    Some(status) => self.status = status.to_owned(),
                    None => return text,
                }
            }
        });
        told.await.expect("it is told in time")
    }

    async fn expect_silence(&mut self) {
        let told = tokio::time::timeout(QUIET, self.next()).await;
        assert!(told.is_err(), "{told:?}");
    }
}

#[tokio::test]
async fn ready_comes_with_the_first_answer_of_every_session_and_stopping_at_the_end() {
    let brokers = (ScriptedBroker::start().await, ScriptedBroker::start().await);
    let config = format!(
        "[sessions.a]\nbrokers = ['{}']\n[sessions.b]\nbrokers = ['{}']\n\
         [sessions.off]\nbrokers = ['127.0.0.1:1']\nenabled = false\n",
        brokers.0.url(),
        brokers.1.url()
    );
    let (mut manager, process) = Manager::start(&config, None);
    let (_peer, _) = brokers.0.accept_and_answer(ACCEPTED).await;
    let waiting = brokers.1.accept().await;
    manager.expect_silence().await;
    // That one failed, and had its chance.
    drop(waiting);
    assert_eq!(manager.next().await, "READY=1");
    process.signal("-HUP").await;
    let reloading = manager.next().await;
    let (first, second) = reloading.split_once('\n').expect("two lines");
    assert_eq!(first, "RELOADING=1");
    let since = second.strip_prefix("MONOTONIC_USEC=").and_then(|usec| usec.parse::<u64>().ok());
    assert!(since.is_some_and(|usec| usec > 0), "{second}");
    assert_eq!(manager.next().await, "READY=1");
    process.signal("-TERM").await;
    assert_eq!(manager.next().await, "STOPPING=1\nSTATUS=stopping");
}

#[tokio::test]
async fn the_status_says_how_many_sessions_are_connected() {
    let broker = ScriptedBroker::start().await;
    let config = format!(
        "[sessions.a]\nbrokers = ['{}']\n[sessions.off]\nbrokers = ['127.0.0.1:1']\nenabled = false\n\
         [forwarders.f]\nfrom = [{{ session = 'off', topics = ['t'] }}]\nto = [{{ session = 'a' }}]\n",
        broker.url()
    );
    let (mut manager, _process) = Manager::start(&config, Some(Duration::from_secs(2)));
    let (_peer, _) = broker.accept_and_answer(ACCEPTED).await;
    while manager.status != "1 of 2 sessions connected, 1 of 1 forwarders run" {
        manager.next().await;
    }
}

#[tokio::test]
async fn the_watchdog_is_fed_while_the_drivers_move_and_no_longer() {
    let broker = ScriptedBroker::start().await;
    let config = format!("[sessions.a]\nbrokers = ['{}']\n", broker.url());
    let (mut manager, process) = Manager::start(&config, Some(Duration::from_millis(200)));
    let (_peer, _) = broker.accept_and_answer(ACCEPTED).await;
    for _ in 0..5 {
        while manager.next().await != "WATCHDOG=1" {}
    }
    process.signal("-STOP").await;
    // What was sent before is still to be read.
    while tokio::time::timeout(QUIET, manager.next()).await.is_ok() {}
    process.signal("-CONT").await;
    assert_eq!(manager.next().await, "WATCHDOG=1");
}

#[tokio::test]
async fn without_a_service_manager_nobody_is_told() {
    let mut process = Process::start("[sessions.a]\nbrokers = ['127.0.0.1:1']\nenabled = false\n");
    process.line("runs as").await;
    let (code, log) = process.stop().await;
    assert_eq!(code, Some(0), "{log:#?}");
    assert!(!log.iter().any(|line| line.contains("service manager")), "{log:#?}");
}

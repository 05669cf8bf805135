//! Another configuration for a daemon that runs.

use mqttx_test::{Peer, Pki, ScriptedBroker, TempDir, TlsFront, hex};

use super::process::Process;
use super::support::{ACCEPTED, QUIET, sent, sent_by};

const RESUMED: &str = "20 { 01 00 {} }";

/// A forwarder between two sessions.
struct Bridge {
    process: Process,
    brokers: (ScriptedBroker, ScriptedBroker),
    source: Peer,
    target: Peer,
}

/// The configuration of [`Bridge`]; `src` and `dst` are further keys of the sessions, `rest` comes after it all.
fn config(
    brokers: &(ScriptedBroker, ScriptedBroker),
    src: &str,
    dst: &str,
    topic: &str,
    rest: &str,
) -> String {
    let daemon = if rest.contains("[daemon]") { "" } else { "[daemon]\nname = 'd'\n" };
    format!(
        "[sessions.src]\nbrokers = ['{}']\nclient_id = 'src'\n{src}\n\
         [sessions.dst]\nbrokers = ['{}']\nclient_id = 'dst'\n{dst}\n\
         [forwarders.fw]\nfrom = [{{ session = 'src', topics = ['a/+'] }}]\n\
         to = [{{ session = 'dst', topic = '{topic}' }}]\n{rest}\n{daemon}",
        brokers.0.url(),
        brokers.1.url()
    )
}

impl Bridge {
    async fn start() -> Self {
        let brokers = (ScriptedBroker::start().await, ScriptedBroker::start().await);
        let process = Process::start(&config(&brokers, "", "", "b/{1}", ""));
        let (mut source, _) = brokers.0.accept_and_answer(ACCEPTED).await;
        let (target, _) = brokers.1.accept_and_answer(ACCEPTED).await;
        source.expect("82 { 00 01 { 0b 01 } <a/+> 0d }").await;
        source.send("90 { 00 01 {} 01 }").await;
        Self { process, brokers, source, target }
    }

    async fn reload(&mut self, src: &str, dst: &str, topic: &str, rest: &str) -> String {
        self.process.reload(&config(&self.brokers, src, dst, topic, rest)).await;
        self.process.line("reloaded").await
    }

    /// A message goes through, as packet `id` of the source and `target_id` of the target.
    async fn forwards(&mut self, topic: &str, id: u8, target_id: u8) {
        self.source.send(&format!("32 {{ <a/x> 00 {id:02x} {{}} 'hi' }}")).await;
        let expected = format!("32 {{ <{topic}> 00 {target_id:02x} {{}} 'hi' }}");
        self.target.expect(&sent(&expected)).await;
        self.target.send(&format!("40 {{ 00 {target_id:02x} }}")).await;
        self.source.expect(&format!("40 {{ 00 {id:02x} }}")).await;
    }
}

#[tokio::test]
async fn the_same_configuration_changes_nothing() {
    let mut bridge = Bridge::start().await;
    let line = bridge.reload("", "", "b/{1}", "# a comment").await;
    assert!(line.ends_with("reloaded: nothing changed"), "{line}");
    bridge.source.expect_silence(QUIET).await;
    bridge.forwards("b/x", 7, 1).await;
    let (code, log) = bridge.process.stop().await;
    assert_eq!(code, Some(0), "{log:#?}");
}

#[tokio::test]
async fn a_changed_forwarder_drops_no_connection_and_keeps_what_it_holds() {
    let mut bridge = Bridge::start().await;
    bridge.source.send("32 { <a/x> 00 07 {} 'old' }").await;
    bridge.target.expect(&sent("32 { <b/x> 00 01 {} 'old' }")).await;
    bridge.process.reload(&config(&bridge.brokers, "", "", "c/{1}", "")).await;
    // By the new rules, while what the old ones took is still with its target.
    loop {
        bridge.source.send("30 { <a/y> {} '' }").await;
        let topic = bridge.target.recv_packet().await[4..7].to_vec();
        if topic == b"c/y" {
            break;
        }
        assert_eq!(topic, b"b/y");
    }
    bridge.target.send("40 { 00 01 }").await;
    bridge.source.expect("40 { 00 07 }").await;
    let line = bridge.process.line("reloaded").await;
    assert!(line.ends_with("reloaded: forwarders changed: fw"), "{line}");
    bridge.forwards("c/x", 8, 2).await;
}

#[tokio::test]
async fn a_changed_session_reconnects_alone() {
    let mut bridge = Bridge::start().await;
    bridge.source.send("32 { <a/x> 00 07 {} 'hi' }").await;
    bridge.target.expect(&sent("32 { <b/x> 00 01 {} 'hi' }")).await;
    let line = bridge.reload("", "keep_alive = '7s'", "b/{1}", "").await;
    assert!(line.ends_with("reloaded: sessions changed: dst"), "{line}");
    bridge.target.expect("e0 {}").await;
    let (mut target, connect) = bridge.brokers.1.accept_and_answer(RESUMED).await;
    assert_eq!(connect, hex("10 { <MQTT> 05 00 00 07 { 11 ff ff ff ff 21 04 00 } <dst> }"));
    target.expect(&sent("3a { <b/x> 00 01 {} 'hi' }")).await;
    bridge.source.expect_silence(QUIET).await;
    target.send("40 { 00 01 }").await;
    bridge.source.expect("40 { 00 07 }").await;
}

#[tokio::test]
async fn sessions_and_forwarders_come_and_go() {
    let mut bridge = Bridge::start().await;
    let third = ScriptedBroker::start().await;
    let more = format!(
        "[sessions.third]\nbrokers = ['{}']\n[forwarders.more]\nto = [{{ session = 'third' }}]\n\
         from = [{{ session = 'src', topics = ['a/+', 'z'] }}]\n",
        third.url()
    );
    let line = bridge.reload("", "", "b/{1}", &more).await;
    assert!(line.ends_with("reloaded: sessions added: third; forwarders added: more"), "{line}");
    let (mut peer, _) = third.accept_and_answer(ACCEPTED).await;
    bridge.source.expect("82 { 00 02 { 0b 02 } <z> 0d }").await;
    bridge.source.send("90 { 00 02 {} 01 }").await;
    bridge.source.send("32 { <z> 00 07 {} 'hi' }").await;
    peer.expect(&sent_by("more", "32 { <z> 00 01 {} 'hi' }")).await;
    // It drains: what the third one has is acknowledged before it goes.
    bridge.process.reload(&config(&bridge.brokers, "", "", "b/{1}", "")).await;
    bridge.source.expect("a2 { 00 03 {} <z> }").await;
    bridge.source.send("b0 { 00 03 {} 00 }").await;
    peer.expect_silence(QUIET).await;
    peer.send("40 { 00 01 }").await;
    bridge.source.expect("40 { 00 07 }").await;
    peer.expect("e0 {}").await;
    let line = bridge.process.line("reloaded").await;
    assert!(
        line.ends_with("reloaded: sessions removed: third; forwarders removed: more"),
        "{line}"
    );
    bridge.forwards("b/x", 8, 1).await;
}

#[tokio::test]
async fn a_wrong_file_changes_nothing_and_says_all_that_is_wrong() {
    let mut bridge = Bridge::start().await;
    let wrong = config(&bridge.brokers, "keepalive = '7s'", "", "c/{2}", "[sesions.x]\n");
    bridge.process.reload(&wrong).await;
    let line = bridge.process.line("nothing was reloaded").await;
    assert!(line.contains("3 problems"), "{line}");
    let log = bridge.process.log.join("\n");
    for part in [
        "mqttx.toml:4:1: unknown key 'keepalive', did you mean 'keep_alive'?",
        "mqttx.toml:11:34: forwarders.fw.to[0].topic",
        "mqttx.toml:12:2: unknown key 'sesions', did you mean 'sessions'?",
    ] {
        assert!(log.contains(part), "{part}\n{log}");
    }
    bridge.source.expect_silence(QUIET).await;
    bridge.forwards("b/x", 7, 1).await;
    // And then a right one.
    let line = bridge.reload("", "", "c/{1}", "").await;
    assert!(line.ends_with("reloaded: forwarders changed: fw"), "{line}");
    bridge.forwards("c/x", 8, 2).await;
}

#[tokio::test]
async fn secrets_of_files_are_read_again() {
    let broker = ScriptedBroker::start().await;
    let secret = |process: &Process, text: &str| {
        std::fs::write(process.path("secret"), text).expect("a file");
    };
    let config = format!("[sessions.s]\nbrokers = ['{}']\nclient_id = 'c'\n", broker.url());
    let with_user = format!("{config}username = 'u'\npassword = '${{file:secret}}'\n");
    let mut process = Process::start(&config);
    let (mut peer, _) = broker.accept_and_answer(ACCEPTED).await;
    secret(&process, "one\n");
    process.reload(&with_user).await;
    peer.expect("e0 {}").await;
    let (mut peer, connect) = broker.accept_and_answer(RESUMED).await;
    assert!(connect.ends_with(&hex("<u> <one>")), "{connect:?}");
    secret(&process, "other\n");
    process.signal("-HUP").await;
    peer.expect("e0 {}").await;
    let (_peer, connect) = broker.accept_and_answer(RESUMED).await;
    assert!(connect.ends_with(&hex("<u> <other>")), "{connect:?}");
    process.line("reloaded").await;
    process.line("reloaded").await;
    let (_, log) = process.stop().await;
    assert!(!log.iter().any(|line| line.contains("other")), "{log:#?}");
}

#[tokio::test]
async fn a_session_that_stopped_gets_another_chance() {
    let broker = ScriptedBroker::start().await;
    let config = format!("[sessions.s]\nbrokers = ['{}']\nclient_id = 'c'\n", broker.url());
    let mut process = Process::start(&config);
    let (mut peer, _) = broker.accept_and_answer(ACCEPTED).await;
    // Taken over.
    peer.send("e0 { 8e 00 }").await;
    process.line("stopped: it is not retried").await;
    process.signal("-HUP").await;
    let (_peer, _) = broker.accept_and_answer(ACCEPTED).await;
    process.line("reloaded: nothing changed").await;
}

#[tokio::test]
async fn sessions_are_turned_off_and_on() {
    let mut bridge = Bridge::start().await;
    bridge.reload("", "enabled = false", "b/{1}", "").await;
    bridge.target.expect("e0 {}").await;
    bridge.target.expect_closed().await;
    bridge.brokers.1.expect_no_connection(QUIET).await;
    bridge.reload("", "", "b/{1}", "").await;
    let (_target, _) = bridge.brokers.1.accept_and_answer(RESUMED).await;
}

#[tokio::test]
async fn what_cannot_change_while_it_runs_is_said_to_need_a_restart() {
    let mut bridge = Bridge::start().await;
    let rest = "[daemon]\nname = 'n'\ndata_dir = 'd'\nshutdown_grace = '3s'\nconnect_rate = 7\n";
    let line = bridge.reload("", "protocol = '3.1.1'", "b/{1}", rest).await;
    let said = "reloaded: changed: daemon.shutdown_grace, daemon.connect_rate";
    assert!(line.ends_with(said), "{line}");
    for key in ["daemon.name", "daemon.data_dir", "sessions.dst.protocol"] {
        let line = bridge.process.line(&format!("{key} differs")).await;
        assert!(line.contains("it counts after a restart"), "{line}");
    }
    bridge.forwards("b/x", 7, 1).await;
}

#[tokio::test]
async fn a_store_that_cannot_be_had_leaves_everything_as_it_was() {
    let mut bridge = Bridge::start().await;
    let third = ScriptedBroker::start().await;
    std::fs::create_dir(bridge.process.path("state")).ok();
    std::fs::write(bridge.process.path("state/disk"), "in the way").expect("a file");
    let rest = |store: &str| {
        format!(
            "[stores.{store}]\nkind = 'file'\n[sessions.third]\nbrokers = ['{}']\nstore = '{store}'\n\
             client_id = 'third'\n",
            third.url()
        )
    };
    bridge.process.reload(&config(&bridge.brokers, "", "", "c/{1}", &rest("disk"))).await;
    bridge.process.line("nothing was reloaded: 1 problem").await;
    let said = bridge.process.log.iter().any(|line| line.contains("store disk:"));
    assert!(said, "{:#?}", bridge.process.log);
    third.expect_no_connection(QUIET).await;
    bridge.forwards("b/x", 7, 1).await;
    let line = bridge.reload("", "", "c/{1}", &rest("other")).await;
    let said = "reloaded: sessions added: third; forwarders changed: fw; stores added: other";
    assert!(line.ends_with(said), "{line}");
    let (_peer, _) = third.accept_and_answer(ACCEPTED).await;
    let line = bridge.reload("", "", "c/{1}", "").await;
    assert!(line.ends_with("sessions removed: third; stores removed: other"), "{line}");
}

#[tokio::test]
async fn a_stop_waits_for_a_reload_and_a_second_signal_does_not() {
    let mut bridge = Bridge::start().await;
    bridge.source.send("32 { <a/x> 00 07 {} 'hi' }").await;
    bridge.target.expect(&sent("32 { <b/x> 00 01 {} 'hi' }")).await;
    bridge.process.reload(&config(&bridge.brokers, "", "", "c/{1}", "[log]\nlevel = 'info'")).await;
    // The old rules wait for their target.
    bridge.source.expect_silence(QUIET).await;
    bridge.process.signal("-TERM").await;
    bridge.source.expect_silence(QUIET).await;
    let (code, log) = bridge.process.stop().await;
    assert_eq!(code, Some(1), "{log:#?}");
    let said = "error: stopped at once: 1 messages were not acknowledged";
    assert!(log.iter().any(|line| line == said), "{log:#?}");
}

#[tokio::test]
async fn a_file_that_cannot_be_read_to_its_end_does_not_keep_the_daemon_from_stopping() {
    let mut process = Process::start("[sessions.s]\nbrokers = ['127.0.0.1:1']\nenabled = false\n");
    process.line("runs as").await;
    let pipe = process.path("mqttx.toml");
    std::fs::remove_file(&pipe).expect("it is there");
    let made = tokio::process::Command::new("mkfifo").arg(&pipe).status().await.expect("mkfifo");
    assert!(made.success());
    process.signal("-HUP").await;
    // It opens once the daemon reads, and has nothing to say.
    let opened = tokio::task::spawn_blocking(move || std::fs::File::create(pipe));
    let _writer = opened.await.expect("no panic").expect("the daemon reads");
    let (code, log) = process.stop().await;
    assert_eq!(code, Some(0), "{log:#?}");
}

#[tokio::test]
async fn certificates_are_read_again_also_where_nobody_watches_them() {
    let (pki, files) = (Pki::new("ca"), TempDir::new("tls"));
    let broker = ScriptedBroker::start().await;
    let server = TlsFront::builder(&pki.server(&["127.0.0.1"])).clients_of(&pki);
    let front = server.start(broker.address()).await;
    let ca = files.path().join("ca.pem");
    std::fs::write(&ca, pki.ca()).expect("a file");
    let (cert, key) = pki.client("gw").write(files.path(), "gw");
    let config = format!(
        "[sessions.s]\nbrokers = ['{}']\nclient_id = 's'\nreconnect = {{ initial = '10ms' }}\n\
         tls = {{ ca = '{}', cert = '{}', key = '{}' }}\n",
        front.url(),
        ca.display(),
        cert.display(),
        key.display()
    );
    let mut process = Process::start(&config);
    let (peer, _) = broker.accept_and_answer(ACCEPTED).await;
    let _ = pki.client("gw").write(files.path(), "gw");
    process.reload(&config).await;
    process.line("reloaded: nothing changed").await;
    peer.close().await;
    let _peer = broker.accept_and_answer(ACCEPTED).await;
    let shown: Vec<_> = front.handshakes().into_iter().map(|handshake| handshake.client).collect();
    assert!(shown.len() == 2 && shown[0] != shown[1], "the next connection shows the new one");
}

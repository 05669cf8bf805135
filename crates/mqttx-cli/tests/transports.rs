//! The command over WebSocket, Unix sockets and proxies.

use std::process::{Output, Stdio};

use mqttx_test::{
    HttpProxy, InProcessBroker, Pki, ScriptedBroker, SocksProxy, TempDir, TlsFront, UnixFront,
    WebSocketFront,
};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

/// The command, in an environment without proxies.
fn mqttx(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mqttx"));
    for name in ["http_proxy", "https_proxy", "all_proxy", "no_proxy"] {
        command.env_remove(name).env_remove(name.to_uppercase());
    }
    command.args(args).stdin(Stdio::null()).kill_on_drop(true);
    command
}

async fn output(args: &[&str]) -> Output {
    mqttx(args).output().await.expect("the command runs")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test]
async fn messages_go_from_pub_to_sub_in_both_versions_over_every_scheme() {
    let broker = InProcessBroker::start().await;
    let ws = WebSocketFront::start(broker.address()).await;
    let unix = UnixFront::start(broker.address());
    for url in [ws.url(), unix.url()] {
        for version in ["311", "5"] {
            let subscriber =
                ["sub", "-L", &url, "-V", version, "-t", "a/#", "-q", "2", "-C", "3", "-v"];
            let mut subscriber = mqttx(&subscriber)
                .arg("-d")
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .expect("it runs");
            let mut lines = BufReader::new(subscriber.stderr.take().expect("stderr")).lines();
            while let Some(line) = lines.next_line().await.expect("text") {
                if line.contains("SUBACK") {
                    break;
                }
            }
            let reading =
                tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            for qos in ["0", "1", "2"] {
                let topic = format!("a/{qos}");
                let published =
                    output(&["pub", "-L", &url, "-V", version, "-t", &topic, "-m", "x", "-q", qos])
                        .await;
                assert!(published.status.success(), "{url}: {}", stderr(&published));
            }
            let received = subscriber.wait_with_output().await.expect("it ends");
            reading.await.expect("a reader");
            assert!(received.status.success());
            let mut printed: Vec<_> = received.stdout.split(|&byte| byte == b'\n').collect();
            printed.sort_unstable();
            assert_eq!(printed, [&b""[..], b"a/0 x", b"a/1 x", b"a/2 x"], "{url}");
        }
    }
}

#[tokio::test]
async fn websocket_over_tls_trusts_what_the_flags_say() {
    let broker = InProcessBroker::start().await;
    let ws = WebSocketFront::start(broker.address()).await;
    let pki = Pki::new("ca");
    let tls = TlsFront::builder(&pki.server(&["127.0.0.1"])).start(ws.address()).await;
    let files = TempDir::new("cli-wss");
    let ca = files.path().join("ca.pem");
    std::fs::write(&ca, pki.ca()).expect("a file");
    let url = format!("wss://{}/mqtt", tls.address());
    let args = ["pub", "-L", &url, "-t", "t", "-m", "x", "-q", "2"];
    let trusted = [&args[..], &["--cafile", ca.to_str().expect("UTF-8")]].concat();
    let trusted = output(&trusted).await;
    assert!(trusted.status.success(), "{}", stderr(&trusted));
    let unknown = output(&args).await;
    assert_eq!(unknown.status.code(), Some(1), "{}", stderr(&unknown));
    assert_eq!(ws.requests("host").len(), 1, "no request before the certificate is verified");
}

#[tokio::test]
async fn bench_works_over_every_scheme() {
    let broker = InProcessBroker::start().await;
    let ws = WebSocketFront::start(broker.address()).await;
    let unix = UnixFront::start(broker.address());
    for url in [ws.url(), unix.url()] {
        let common = ["-L", &url, "-c", "3", "--json"];
        let publish =
            [&["bench", "pub", "-t", "b/%i", "-q", "1", "--messages", "100"], &common[..]].concat();
        let connect = [&["bench", "conn"], &common[..]].concat();
        for args in [publish, connect] {
            let output = output(&args).await;
            assert!(output.status.success(), "{args:?}: {}", stderr(&output));
            let result: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
            assert_eq!((&result["clients"], &result["errors"]), (&3.into(), &0.into()), "{result}");
        }
    }
}

#[tokio::test]
async fn proxies_come_from_the_flag_or_the_environment() {
    let broker = InProcessBroker::start().await;
    let http = HttpProxy::start(Some(("user", "secret"))).await;
    let socks = SocksProxy::start(None).await;
    let port = broker.address().port().to_string();
    let url = format!("mqtt://broker.invalid:{port}");
    let local = ["pub", "-t", "t", "-m", "x", "-q", "1", "-h", "127.0.0.1", "-p", &port];
    let remote = ["pub", "-t", "t", "-m", "x", "-q", "1", "--no-reconnect", "-L", &url];
    let with_user = format!("http://user:secret@{}", http.address());
    let socks_url = format!("socks5h://{}", socks.address());
    let nowhere = "http://127.0.0.1:1";

    // The flag.
    for proxy in [&with_user, &socks_url] {
        let output = output(&[&remote[..], &["--proxy", proxy]].concat()).await;
        assert!(output.status.success(), "{proxy}: {}", stderr(&output));
    }
    assert_eq!((http.asked().len(), socks.asked().len()), (1, 1));
    // The environment.
    for (name, value) in
        [("http_proxy", &with_user), ("all_proxy", &socks_url), ("ALL_PROXY", &socks_url)]
    {
        let output = mqttx(&remote).env(name, value).output().await.expect("it runs");
        assert!(output.status.success(), "{name}: {}", stderr(&output));
    }
    assert_eq!((http.asked().len(), socks.asked().len()), (2, 3));
    // What does not count, and what turns it off.
    for (name, value, more) in [
        ("HTTP_PROXY", nowhere, &[][..]),
        ("https_proxy", nowhere, &[]),
        ("http_proxy", nowhere, &["--proxy", "none"]),
    ] {
        let command = [&local[..], more].concat();
        let output = mqttx(&command).env(name, value).output().await.expect("it runs");
        assert!(output.status.success(), "{name}: {}", stderr(&output));
    }
    let mut command = mqttx(&local);
    command.env("all_proxy", nowhere).env("no_proxy", "example.com,127.0.0.0/8");
    assert!(command.output().await.expect("it runs").status.success());
}

#[tokio::test]
async fn a_proxy_that_refuses_for_good_ends_the_command_at_once() {
    let broker = ScriptedBroker::start().await;
    let proxy = HttpProxy::start(Some(("user", "secret"))).await;
    let address = format!("http://user:wrong@{}", proxy.address());
    let output =
        output(&["pub", "-t", "t", "-m", "x", "-L", &broker.url(), "--proxy", &address]).await;
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    let expected = format!("the proxy http://{} refused: HTTP 407", proxy.address());
    assert!(text.contains(&expected) && !text.contains("wrong"), "{text}");
    assert_eq!((text.lines().count(), proxy.asked().len()), (1, 1), "{text}");
}

#[tokio::test]
async fn what_is_wrong_with_a_socket_is_one_line() {
    let directory = TempDir::new("cli-unix");
    let path = directory.path().join("s");
    let url = format!("unix://{}", path.display());
    let args = ["pub", "-t", "t", "-m", "x", "--no-reconnect", "-L", &url];
    let missing = output(&args).await;
    assert!(stderr(&missing).contains("there is no such socket"), "{}", stderr(&missing));
    std::fs::write(&path, "").expect("a file");
    // Nothing to wait for: without --no-reconnect it ends, too.
    let wrong = output(&["sub", "-t", "t", "-L", &url]).await;
    assert!(stderr(&wrong).contains("the file is not a socket"), "{}", stderr(&wrong));
    assert_eq!((missing.status.code(), wrong.status.code()), (Some(1), Some(1)));
}

#[tokio::test]
async fn a_daemon_bridges_from_one_transport_to_another() {
    let broker = InProcessBroker::start().await;
    let other = InProcessBroker::start().await;
    let ws = WebSocketFront::start(broker.address()).await;
    let unix = UnixFront::start(other.address());
    let files = TempDir::new("cli-ways");
    let config = format!(
        "[sessions.src]\nbrokers = ['{}?token=abc']\nclient_id = 'src'\nproxy = 'none'\n\
         ws = {{ headers = {{ X-Token = 'abc' }} }}\ntcp = {{ keep_alive = '1m' }}\n\
         [sessions.dst]\nbrokers = ['{}']\nclient_id = 'dst'\n\
         [forwarders.fw]\nfrom = [{{ session = 'src', topics = ['a/+'] }}]\n\
         to = [{{ session = 'dst', topic = 'b/{{1}}', retain = true }}]\n",
        ws.url(),
        unix.url()
    );
    let path = files.path().join("c.toml");
    std::fs::write(&path, config).expect("a file");
    let path = path.to_str().expect("UTF-8");
    assert!(output(&["check-config", "-c", path]).await.status.success());
    let _daemon = mqttx(&["run", "-c", path]).stderr(Stdio::null()).spawn().expect("it runs");
    let port = other.address().port().to_string();
    let subscriber = ["sub", "-h", "127.0.0.1", "-p", &port, "-t", "b/#", "-C", "1", "-v"];
    let subscriber = mqttx(&subscriber).stdout(Stdio::piped()).spawn().expect("it runs");
    // Retained, so that the forwarder gets it whenever it subscribes.
    let published =
        output(&["pub", "-L", &ws.url(), "-t", "a/1", "-m", "x", "-q", "1", "-r"]).await;
    assert!(published.status.success(), "{}", stderr(&published));
    let received = subscriber.wait_with_output().await.expect("it ends");
    assert_eq!(String::from_utf8_lossy(&received.stdout), "b/1 x\n");
    let header = ws.requests("x-token");
    assert!(header.contains(&("/mqtt?token=abc".to_owned(), Some("abc".to_owned()))), "{header:?}");
}

#[tokio::test]
async fn a_server_that_says_nothing_is_told_when_the_time_is_over() {
    let broker = ScriptedBroker::start().await;
    let url = broker.url();
    let args = ["pub", "-L", &url, "-t", "t", "-m", "m", "-q", "1", "--timeout", "2"];
    let (ended, _silent) = tokio::join!(output(&args), broker.accept());
    let told = stderr(&ended);
    assert_eq!(ended.status.code(), Some(1), "{told}");
    // The command's time and that of its attempt are over at the same moment.
    let reason = ["did not accept a connection", "sent no CONNACK in time"];
    assert!(told.contains("2 s are over") && reason.iter().any(|r| told.contains(r)), "{told}");
}

#[tokio::test]
async fn an_expired_certificate_is_told_where_nothing_is_checked() {
    let broker = InProcessBroker::start().await;
    let day = std::time::Duration::from_secs(86_400);
    let now = std::time::SystemTime::now();
    let old = Pki::new("ca").issue("old", &["127.0.0.1"], now - 9 * day, now - day);
    let front = TlsFront::builder(&old).start(broker.address()).await;
    let url = front.url();
    let ended = output(&["pub", "-L", &url, "-t", "t", "-m", "m", "-q", "1", "--insecure"]).await;
    let told = stderr(&ended);
    assert!(ended.status.success(), "{told}");
    assert!(told.contains("has expired") && told.contains("is not checked"), "{told}");
}

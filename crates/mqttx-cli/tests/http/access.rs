//! Paths, methods, tokens and secrets.

use std::net::SocketAddr;

use mqttx_test::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::client::{get, post, send};
use super::daemon::{Bridge, Daemon, command};

#[tokio::test]
async fn unknown_paths_are_404_and_wrong_methods_405() {
    let bridge = Bridge::start("").await;
    let address = bridge.daemon.address;
    for path in ["/nothing", "/api", "/api/v1/nothing", "/api/v2/sessions", "/-/nothing"] {
        let answer = get(address, path).await;
        assert_eq!(answer.status, 404, "{path}");
        let error = answer.json()["error"].to_string();
        assert!(error.contains("GET /api/v1 lists"), "{path}: {error}");
    }
    for (method, path, allowed, said) in [
        ("POST", "/metrics", "GET,HEAD", "this path takes GET and HEAD"),
        ("DELETE", "/healthz", "GET,HEAD", "this path takes GET and HEAD"),
        ("PUT", "/api/v1/sessions", "GET,HEAD", "this path takes GET and HEAD"),
        ("GET", "/api/v1/sessions/src/reconnect", "POST", "this path takes POST only"),
        ("GET", "/api/v1/forwarders/fw/pause", "POST", "this path takes POST only"),
        ("GET", "/-/reload", "POST", "this path takes POST only"),
    ] {
        let answer = send(address, method, path, &[]).await;
        assert_eq!(answer.status, 405, "{method} {path}");
        assert_eq!(answer.headers["allow"], allowed, "{method} {path}");
        assert_eq!(answer.json()["error"], said, "{method} {path}");
    }
    let head = send(address, "HEAD", "/healthz", &[]).await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
}

#[tokio::test]
async fn the_index_names_paths_that_answer() {
    let bridge = Bridge::start("").await;
    let address = bridge.daemon.address;
    for path in ["/api/v1", "/api/v1/"] {
        let index = get(address, path).await.json();
        let paths = index["paths"].as_array().expect("a list").clone();
        assert!(paths.len() > 10, "{index}");
        for path in paths {
            let [method, path] =
                [&path["method"], &path["path"]].map(|text| text.as_str().unwrap());
            if path.contains("NAME") || path.ends_with("events") {
                continue;
            }
            // The other method tells that the path is there, and orders nothing.
            let other = if method == "GET" { "POST" } else { "GET" };
            assert_eq!(send(address, other, path, &[]).await.status, 405, "{path}");
        }
    }
}

#[tokio::test]
async fn errors_of_a_request_are_json_and_one_line() {
    let bridge = Bridge::start("").await;
    let address = bridge.daemon.address;
    for (path, status, said) in [
        ("/api/v1/sessions/%ff", 400, "UTF-8"),
        ("/metrics?session=(", 400, "session is not a regular expression: unclosed group"),
        ("/api/v1/stores/x", 404, "unknown store 'x'"),
        ("/api/v1/sessions/srx", 404, "did you mean 'src'?"),
    ] {
        let answer = get(address, path).await;
        assert_eq!(answer.status, status, "{path}");
        assert_eq!(answer.headers["content-type"], "application/json", "{path}");
        let error = answer.json()["error"].as_str().expect("a text").to_owned();
        assert!(error.contains(said) && !error.contains('\n'), "{path}: {error}");
    }
}

#[tokio::test]
async fn the_token_opens_the_api_and_nothing_else_needs_it() {
    let bridge = Bridge::start("token = 'open sesame'").await;
    let address = bridge.daemon.address;
    for path in ["/metrics", "/healthz"] {
        assert_eq!(get(address, path).await.status, 200, "{path}");
    }
    for path in ["/api/v1/sessions", "/api/v1/nothing", "/api/v1/events", "/-/reload"] {
        let answer = get(address, path).await;
        assert_eq!(answer.status, 401, "{path}");
        assert!(answer.headers["www-authenticate"].starts_with("Bearer"), "{path}");
    }
    assert_eq!(post(address, "/api/v1/forwarders/fw/pause").await.status, 401);
    let wrong = [("Authorization", "Bearer open")];
    let refused = send(address, "GET", "/api/v1/sessions", &wrong).await;
    assert_eq!(refused.status, 401);
    assert!(refused.headers["www-authenticate"].contains("invalid_token"));
    let right = [("Authorization", "Bearer open sesame")];
    assert_eq!(send(address, "GET", "/api/v1/sessions", &right).await.status, 200);
    assert_eq!(send(address, "POST", "/api/v1/forwarders/fw/pause", &right).await.status, 200);
}

#[tokio::test]
async fn a_web_page_of_others_gives_no_orders() {
    let bridge = Bridge::start("").await;
    let page = [("Origin", "http://evil.example")];
    let path = "/api/v1/forwarders/fw/pause";
    assert_eq!(send(bridge.daemon.address, "POST", path, &page).await.status, 403);
    let own = format!("http://{}", bridge.daemon.address);
    let own = [("Origin", own.as_str())];
    assert_eq!(send(bridge.daemon.address, "POST", "/-/reload", &own).await.status, 200);
    let shown = get(bridge.daemon.address, "/api/v1/forwarders/fw").await.json();
    assert_eq!(shown["state"], "running");
}

#[tokio::test]
async fn a_web_page_of_others_gives_no_orders_with_a_token_either() {
    let bridge = Bridge::start("token = 'open sesame'").await;
    let (address, path) = (bridge.daemon.address, "/api/v1/forwarders/fw/pause");
    let token = ("Authorization", "Bearer open sesame");
    let page = [token, ("Origin", "http://evil.example")];
    assert_eq!(send(address, "POST", path, &page).await.status, 403);
    let own = format!("http://{address}");
    assert_eq!(send(address, "POST", path, &[token, ("Origin", own.as_str())]).await.status, 200);
}

#[tokio::test]
async fn a_name_that_was_bent_to_this_machine_is_not_answered() {
    let bridge = Bridge::start("").await;
    for (host, status) in [("evil.example:80", 403), ("localhost:80", 200)] {
        let answer = ask(bridge.daemon.address, "/api/v1/sessions", host).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{host}: {answer}");
    }
    // What needs no token says nothing that a token would guard.
    assert!(ask(bridge.daemon.address, "/healthz", "evil.example").await.contains("200 OK"));
}

async fn ask(address: SocketAddr, path: &str, host: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    answer
}

#[tokio::test]
async fn an_address_that_others_reach_needs_a_token() {
    let session = "[sessions.s]\nbrokers = ['127.0.0.1:1']\n";
    for (http, expected) in [
        ("listen = '0.0.0.0:0'", "mqttx.toml:2:10: http.listen = 0.0.0.0:0: others can reach"),
        ("listen = '[::]:0'", "mqttx.toml:2:10: http.listen = [::]:0: others can reach"),
        ("listen = '0.0.0.0:0'\ntoken = ''", "mqttx.toml:3:9: http.token is empty"),
        (
            "listen = '127.0.0.1:0'\ntoken = \"s3cret\\n\\n\"",
            "mqttx.toml:3:9: http.token has a line break",
        ),
        (
            "listen = '127.0.0.1:0'\ntoken = 's3cret '",
            "mqttx.toml:3:9: http.token begins or ends with a space",
        ),
        ("listen = '9464'", "mqttx.toml:2:10: '9464' is not an address with a port"),
        ("token = 'x'", "mqttx.toml:1:2: http.listen is missing"),
        (
            "listen = '127.0.0.1:0'\ntokn = 's3cret'",
            "mqttx.toml:3:1: unknown key 'tokn', did you mean 'token'?",
        ),
    ] {
        let files = TempDir::new("http");
        let config = format!("[http]\n{http}\n{session}");
        let output = command(&files, &config).output().await.expect("it runs");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(78), "{http}: {stderr}");
        assert!(stderr.contains(expected), "{http}: {stderr}");
        assert!(!stderr.contains("s3cret"), "{stderr}");
    }
}

#[tokio::test]
async fn an_address_in_use_is_an_error_at_the_start() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("an address");
    let files = TempDir::new("http");
    let config = format!("[http]\nlisten = '{address}'\n[sessions.s]\nbrokers = ['127.0.0.1:1']\n");
    let output = command(&files, &config).output().await.expect("it runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains(&format!("error: http.listen {address}")), "{stderr}");
}

#[tokio::test]
async fn the_configuration_is_shown_without_secrets() {
    let config = "[http]\nlisten = '127.0.0.1:0'\n\
        [defaults.session]\nkeep_alive = '30s'\npassword = 'hidden-1'\n\
        [stores.disk]\nkind = 'file'\n\
        [sessions.plant]\nbrokers = ['mqtt://user:hidden-2@127.0.0.1:1', 'ws://127.0.0.1:1/mqtt?key=hidden-4']\nprotocol = '3.1.1'\n\
        ws = { headers = { Cookie = 'hidden-5' } }\n\
        client_id = 'gw-${env:MQTTX_TEST_UNSET:-lab}-plant'\nusername = 'gw'\n\
        [sessions.cloud]\nbrokers = ['127.0.0.1:1']\nclient_id = 'c'\npassword = '${env:HOME}'\n\
        user_properties = [['key', 'hidden-3']]\nstore = 'disk'\n\
        [fleets.dev]\ncount = 3\nbrokers = ['127.0.0.1:1']\nclient_id = 'dev-{i:05}'\n\
        [forwarders.fw]\nfrom = [{ session = 'plant', topics = ['a/+'] }]\n\
        to = [{ session = 'cloud', topic = 'b/{1}' }]\nwindow = 16\n";
    let daemon = Daemon::start(config).await;
    let answer = get(daemon.address, "/api/v1/config").await;
    assert_eq!(answer.status, 200);
    let home = std::env::var("HOME").unwrap_or_default();
    assert!(!answer.body.contains("hidden"), "{}", answer.body);
    let shown = answer.json();
    let plant = &shown["sessions"]["plant"];
    assert_eq!(plant["client_id"], "gw-lab-plant");
    assert_eq!(plant["password"], "***");
    assert_eq!(plant["keep_alive"], "30s");
    assert_eq!(plant["brokers"][0], "mqtt://***@127.0.0.1:1");
    assert_eq!(plant["clean_start"], false);
    assert_eq!(plant["protocol"], "3.1.1");
    let cloud = &shown["sessions"]["cloud"];
    assert_eq!((&cloud["password"], &cloud["protocol"]), (&"***".into(), &"5".into()));
    assert!(home.is_empty() || !cloud.to_string().contains(&home), "{cloud}");
    assert_eq!(shown["fleets"]["dev"]["count"], 3);
    assert_eq!(shown["forwarders"]["fw"]["window"], 16);
    assert_eq!(shown["forwarders"]["fw"]["to"][0]["topic"], "b/{1}");
    assert_eq!(shown["http"]["listen"], "127.0.0.1:0");
    let stores = get(daemon.address, "/api/v1/stores").await.json();
    assert_eq!(stores["stores"][0]["name"], "disk");
    assert_eq!(stores["stores"][0]["kind"], "file");
    assert_eq!(stores["stores"][0]["available"], true);
    assert!(daemon.files.path().exists());
}

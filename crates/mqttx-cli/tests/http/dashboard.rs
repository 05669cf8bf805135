//! The dashboard's page, and the stream behind it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use super::client::{Events, get, post, send};
use super::daemon::{ACCEPTED, Bridge, Daemon, sent};

/// How long something may take to be shown.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a page knows, as it puts the messages together.
#[derive(Default)]
struct Page {
    sessions: BTreeMap<u64, Value>,
    forwarders: BTreeMap<u64, Value>,
    points: Vec<Value>,
    events: Vec<Value>,
    complete: bool,
    /// Rows of sessions that came.
    rows: usize,
    largest: usize,
}

impl Page {
    fn take(&mut self, message: &Value) {
        self.largest = self.largest.max(message.to_string().len());
        self.complete |= message["complete"] == true;
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        self.points.extend(list(&message["points"]));
        self.events.extend(list(&message["events"]));
        self.rows += list(&message["sessions"]["rows"]).len();
        for (kind, rows) in [("sessions", &mut self.sessions), ("forwarders", &mut self.forwarders)]
        {
            if message[kind]["reset"] == true {
                rows.clear();
            }
            for row in list(&message[kind]["rows"]) {
                let known = rows.entry(row["id"].as_u64().expect("an id")).or_default();
                for (key, value) in row.as_object().expect("a row") {
                    known[key] = value.clone();
                }
            }
            for id in list(&message[kind]["gone"]) {
                rows.remove(&id.as_u64().expect("an id"));
            }
        }
    }

    /// Reads on until it holds.
    async fn until(&mut self, stream: &mut Events, holds: impl Fn(&Self) -> bool) {
        let reading = async {
            while !holds(self) {
                let message = stream.next().await.expect("the stream goes on");
                self.take(&message);
            }
        };
        if tokio::time::timeout(PATIENCE, reading).await.is_err() {
            panic!("never: {:?}\n{:?}\n{:?}", self.forwarders, self.points, self.events);
        }
    }

    fn session(&self, name: &str) -> Value {
        self.sessions.values().find(|row| row["name"] == name).cloned().unwrap_or_default()
    }
}

fn fleet(count: usize, broker: &str) -> String {
    format!(
        "[daemon]\nname = 'd'\n[http]\nlisten = '127.0.0.1:0'\n\
         [fleets.dev]\ncount = {count}\nclient_id = 'dev-{{i:05}}'\nenabled = false\n\
         brokers = ['{broker}']\n"
    )
}

#[tokio::test]
async fn the_page_and_its_files_allow_nothing_from_elsewhere() {
    let bridge = Bridge::start("token = 'open sesame'").await;
    let address = bridge.daemon.address;
    for (path, kind) in [
        ("/", "text/html; charset=utf-8"),
        ("/dashboard/main.js", "text/javascript; charset=utf-8"),
        ("/dashboard/theme.css", "text/css; charset=utf-8"),
        ("/dashboard/icon.svg", "image/svg+xml"),
    ] {
        let answer = get(address, path).await;
        assert_eq!((answer.status, answer.headers["content-type"].as_str()), (200, kind), "{path}");
        let policy = &answer.headers["content-security-policy"];
        assert!(policy.starts_with("default-src 'none'; script-src 'self'; "), "{policy}");
        assert!(
            policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"),
            "{policy}"
        );
        assert_eq!(answer.headers["x-content-type-options"], "nosniff", "{path}");
        assert_eq!(answer.headers["referrer-policy"], "no-referrer", "{path}");
        assert!(!answer.body.contains("sesame"), "{path}");
    }
    // Somebody with a command line sees what there is.
    let text = get(address, "/").await.body;
    assert!(text.contains("/readyz") && text.contains("/api/v1/sessions"));
    assert_eq!(send(address, "HEAD", "/", &[]).await.status, 200);
    assert_eq!(post(address, "/").await.status, 405);
    for path in ["/dashboard/none.js", "/dashboard/", "/dashboard/../main.js", "/dashboard"] {
        assert_eq!(get(address, path).await.status, 404, "{path}");
    }
    assert_eq!(get(address, "/api/v1/dashboard").await.status, 401);
}

#[tokio::test]
async fn a_stream_begins_with_everything_and_goes_on_with_what_changes() {
    let mut bridge = Bridge::start("").await;
    let mut stream = Events::watch(bridge.daemon.address).await;
    let hello = stream.next().await.expect("a greeting");
    assert_eq!(
        (&hello["hello"]["name"], &hello["hello"]["stopping"]),
        (&"d".into(), &false.into())
    );
    let mut page = Page::default();
    page.until(&mut stream, |page| page.complete).await;
    assert_eq!(page.sessions.len(), 2);
    let source = page.session("src");
    assert_eq!(source["broker"], bridge.brokers.0.url());
    assert_eq!((&source["state"], &source["error"]), (&"connected".into(), &Value::Null));
    assert_eq!(source["n"].as_array().map(Vec::len), Some(8));
    let forwarder = page.forwarders.values().next().cloned().expect("a forwarder");
    assert_eq!((&forwarder["name"], &forwarder["state"]), (&"fw".into(), &"running".into()));
    assert_eq!((&forwarder["from"][0], &forwarder["to"][0]), (&"src".into(), &"dst".into()));

    page.until(&mut stream, |page| !page.points.is_empty()).await;
    bridge.source.send("32 { <a/x> 00 07 {} 'one' }").await;
    bridge.target.expect(&sent("32 { <b/x> 00 01 {} 'one' }")).await;
    let in_flight = |count: u64| {
        move |page: &Page| page.forwarders.values().all(|row| row["in_flight"] == count)
    };
    page.until(&mut stream, in_flight(1)).await;
    bridge.target.send("40 { 00 01 }").await;
    page.until(&mut stream, in_flight(0)).await;
    let forwarder = page.forwarders.values().next().cloned().expect("a forwarder");
    assert_eq!((&forwarder["received"], &forwarder["forwarded"]), (&1.into(), &1.into()));
    // It is seen as a rate, and in the charts.
    page.until(&mut stream, |page| page.points.iter().any(|point| point[5].as_f64() > Some(0.0)))
        .await;
    assert!(page.points.iter().all(|point| point[1] == 2), "{:?}", page.points);

    bridge.target.close().await;
    page.until(&mut stream, |page| page.session("dst")["state"] == "reconnecting").await;
    assert!(page.session("dst")["error"].is_string());
    page.until(&mut stream, |page| {
        page.events.iter().any(|e| e["type"] == "session_disconnected" && e["session"] == "dst")
    })
    .await;
    let _again = bridge.brokers.1.accept_and_answer(ACCEPTED).await;
    page.until(&mut stream, |page| page.session("dst")["state"] == "connected").await;
    // A page that comes later has the history at once, events as well.
    let mut stream = Events::watch(bridge.daemon.address).await;
    let mut late = Page::default();
    late.until(&mut stream, |page| page.complete).await;
    assert!(late.points.len() >= 2, "{:?}", late.points);
    assert!(late.events.iter().any(|event| event["type"] == "session_disconnected"));
}

#[tokio::test]
async fn what_does_not_change_is_not_sent_again() {
    let daemon = Daemon::start(&fleet(1200, "mqtt://127.0.0.1:1")).await;
    let mut stream = Events::watch(daemon.address).await;
    let mut page = Page::default();
    page.until(&mut stream, |page| page.complete).await;
    assert_eq!((page.rows, page.sessions.len()), (1200, 1200));
    assert!(page.largest < 128 << 10, "a message has {} bytes", page.largest);
    let seen = page.points.len();
    page.until(&mut stream, |page| page.points.len() > seen + 1).await;
    assert_eq!(page.rows, 1200, "two seconds later");
}

#[tokio::test]
async fn a_page_that_takes_nothing_costs_nobody_anything_and_gets_the_newest() {
    // More than the system keeps for a connection.
    let broker = format!("ws://127.0.0.1:1/{}", "x".repeat(3000));
    let daemon = Daemon::start(&fleet(2000, &broker)).await;
    let address = daemon.address;
    let mut stalled = Events::watch(address).await;
    let mut quick = Events::watch(address).await;
    let mut page = Page::default();
    page.until(&mut quick, |page| page.complete).await;
    assert_eq!(page.sessions.len(), 2000);
    assert!(page.largest < 128 << 10, "a message has {} bytes", page.largest);
    // Most sessions go while the other page takes nothing.
    std::fs::write(daemon.files.path().join("mqttx.toml"), fleet(10, &broker)).expect("a file");
    assert_eq!(post(address, "/-/reload").await.status, 200);
    page.until(&mut quick, |page| page.sessions.len() == 10).await;
    let mut slow = Page::default();
    slow.until(&mut stalled, |page| page.complete && page.sessions.len() == 10).await;
    assert_eq!(slow.sessions, page.sessions);
    assert!(slow.rows < 2000, "{} rows: what was gone is not sent", slow.rows);
}

#[tokio::test]
async fn pages_have_places_of_their_own() {
    let bridge = Bridge::start("").await;
    let address = bridge.daemon.address;
    let mut pages = Vec::new();
    for _ in 0..16 {
        pages.push(Events::watch(address).await);
    }
    let refused = get(address, "/api/v1/dashboard").await;
    assert_eq!((refused.status, &refused.json()["error"]), (503, &"too many watch".into()));
    assert_eq!(get(address, "/api/v1/sessions").await.status, 200);
    let _events = Events::start(address).await;
    let last = pages.pop().expect("a page");
    drop(last);
    // The place is free once the server has seen that its page left: at the next message.
    let mut other = pages.pop().expect("a page");
    while get_status(address).await == 503 {
        other.next().await.expect("a message each second");
    }
}

/// The status of a new stream, which is left at once.
async fn get_status(address: std::net::SocketAddr) -> u16 {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(address).await.expect("it listens");
    let request = b"GET /api/v1/dashboard HTTP/1.1\r\nHost: x\r\n\r\n";
    stream.write_all(request).await.expect("it reads");
    let mut first = [0; 12];
    stream.read_exact(&mut first).await.expect("an answer");
    String::from_utf8_lossy(&first[9..]).parse().expect("a status")
}

#[tokio::test]
async fn a_stream_ends_with_the_daemon() {
    let bridge = Bridge::start("").await;
    let mut stream = Events::watch(bridge.daemon.address).await;
    let mut page = Page::default();
    page.until(&mut stream, |page| page.complete).await;
    bridge.daemon.signal().await;
    while stream.next().await.is_some() {}
    let (code, log) = bridge.daemon.end().await;
    assert_eq!(code, Some(0), "{log}");
}

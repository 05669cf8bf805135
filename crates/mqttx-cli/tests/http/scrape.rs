//! `/metrics`.

use std::time::{Duration, Instant};

use mqttx_test::{Exposition, hex};

use super::client::{get, send};
use super::daemon::{Bridge, Daemon, sent};

async fn scrape(daemon: &Daemon) -> Exposition {
    let answer = get(daemon.address, "/metrics").await;
    assert_eq!(answer.status, 200);
    Exposition::parse_prometheus(&answer.body).unwrap_or_else(|error| panic!("{error}"))
}

#[tokio::test]
async fn traffic_adds_up() {
    let mut bridge = Bridge::start("").await;
    let received = "32 { <a/x> 00 07 {} 'hi' }";
    let sent = sent("32 { <b/x> 00 01 {} 'hi' }");
    bridge.source.send(received).await;
    bridge.target.expect(&sent).await;
    let now = scrape(&bridge.daemon).await;
    let forwarder = |now: &Exposition, name: &str| {
        now.sum(&format!("mqtt_forwarder_{name}"), &[("forwarder", "fw")])
    };
    assert_eq!((forwarder(&now, "received_total"), forwarder(&now, "in_flight")), (1.0, 1.0));
    bridge.target.send("40 { 00 01 }").await;
    bridge.source.expect("40 { 00 07 }").await;
    let finished = async {
        loop {
            let now = scrape(&bridge.daemon).await;
            let sent = now.value("mqtt_session_messages_sent_total", &[("session", "dst")]);
            if forwarder(&now, "forwarded_total") == 1.0 && sent == Some(1.0) {
                return now;
            }
        }
    };
    let now = tokio::time::timeout(Duration::from_secs(20), finished).await.expect("forwarded");
    let parts = ["forwarded", "filtered", "dropped", "dead_lettered"];
    let parts: f64 = parts.iter().map(|part| forwarder(&now, &format!("{part}_total"))).sum();
    assert_eq!(forwarder(&now, "received_total"), parts + forwarder(&now, "in_flight"));
    let session = |name: &str, session: &str| now.value(name, &[("session", session)]);
    assert_eq!(session("mqtt_session_messages_received_total", "src"), Some(1.0));
    let bytes = |script: &str| Some(hex(script).len() as f64);
    assert_eq!(session("mqtt_session_bytes_received_total", "src"), bytes(received));
    assert_eq!(session("mqtt_session_bytes_sent_total", "dst"), bytes(&sent));
    assert_eq!(session("mqtt_session_errors_total", "src"), Some(0.0));
    assert_eq!(session("mqtt_session_reconnects_total", "src"), Some(0.0));
    assert_eq!(now.value("mqtt_connects_total", &[("code", "0x00")]), Some(2.0));
    assert_eq!(now.value("mqttx_config_last_reload_successful", &[]), Some(1.0));
    assert!(now.value("process_resident_memory_bytes", &[]).is_some_and(|bytes| bytes > 1e6));
}

#[tokio::test]
async fn the_client_chooses_the_format() {
    let bridge = Bridge::start("").await;
    let accept = |kind: &'static str| {
        let address = bridge.daemon.address;
        async move { send(address, "GET", "/metrics", &[("Accept", kind)]).await }
    };
    let open = accept("application/openmetrics-text;version=1.0.0,text/plain;q=0.5").await;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(open.headers["content-type"], kind);
    Exposition::parse_open_metrics(&open.body).expect("OpenMetrics");
    let plain = accept("text/plain").await;
    assert_eq!(plain.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    Exposition::parse_prometheus(&plain.body).expect("version 0.0.4");
    let json = accept("application/json").await;
    assert_eq!(json.headers["content-type"], "application/json");
    assert!(json.json()["metrics"].as_array().is_some_and(|all| all.len() > 40));
}

#[tokio::test]
async fn ten_thousand_sessions_are_one_sum_or_shown_by_choice() {
    const SESSIONS: f64 = 10_000.0;
    let daemon = Daemon::start(
        "[http]\nlisten = '127.0.0.1:0'\n[daemon]\nconnect_rate = 1\n[log]\nlevel = 'info'\n\
         [fleets.dev]\ncount = 10000\nbrokers = ['127.0.0.1:1']\nclient_id = 'dev-{i:05}'\n",
    )
    .await;
    let sum = scrape(&daemon).await;
    let status: Vec<_> = sum.samples("mqtt_session_status").collect();
    assert_eq!(status.len(), 1);
    assert!(status[0].labels.is_empty());
    assert_eq!(sum.value("mqtt_session_persistent", &[]), Some(SESSIONS));
    assert_eq!(sum.sum("mqtt_sessions", &[]), SESSIONS);

    let begun = Instant::now();
    let all = get(daemon.address, "/metrics?session=.").await;
    println!("{} bytes of 10 000 sessions in {:?}", all.body.len(), begun.elapsed());
    let all = Exposition::parse_prometheus(&all.body).expect("version 0.0.4");
    assert_eq!(all.samples("mqtt_session_status").count() as f64, SESSIONS);

    let some = get(daemon.address, "/metrics?session=%5Edev-0000%5B0-4%5D%24").await;
    let some = Exposition::parse_prometheus(&some.body).expect("version 0.0.4");
    let names: Vec<_> =
        some.samples("mqtt_session_connected").map(|s| &s.labels["session"]).collect();
    assert_eq!(names, ["dev-00000", "dev-00001", "dev-00002", "dev-00003", "dev-00004"]);
    assert_eq!(some.sum("mqtt_sessions", &[]), SESSIONS);
    let wrong = get(daemon.address, "/metrics?session=%28").await;
    assert_eq!(wrong.status, 400);
    assert!(wrong.json()["error"].as_str().is_some_and(|error| error.contains("unclosed")));
}

#[tokio::test]
async fn a_limit_of_the_file_counts() {
    let bridge = Bridge::start("per_session_limit = 1").await;
    let sum = scrape(&bridge.daemon).await;
    assert!(sum.samples("mqtt_session_connected").all(|sample| sample.labels.is_empty()));
    assert_eq!(sum.samples("mqtt_session_connected").count(), 1);
}

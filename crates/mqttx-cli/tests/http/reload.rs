//! Another configuration, by order.

use mqttx_test::Exposition;
use serde_json::{Value, json};

use super::client::{Events, get, post, send};
use super::daemon::{Bridge, sent};

/// What `check-config --json` says of the daemon's file.
async fn checked(bridge: &Bridge) -> Value {
    let path = bridge.daemon.files.path().join("mqttx.toml");
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_mqttx"));
    let output = command.args(["check-config", "--json", "-c"]).arg(path).output().await;
    serde_json::from_slice(&output.expect("it runs").stdout).expect("JSON")
}

async fn reload_succeeded(bridge: &Bridge) -> f64 {
    let text = get(bridge.daemon.address, "/metrics").await.body;
    let shown = Exposition::parse_prometheus(&text).expect("version 0.0.4");
    shown.value("mqttx_config_last_reload_successful", &[]).expect("a gauge")
}

#[tokio::test]
async fn a_reload_answers_with_what_changed_or_with_what_is_wrong() {
    let mut bridge = Bridge::start("").await;
    let address = bridge.daemon.address;
    let path = bridge.daemon.files.path().join("mqttx.toml");
    let first = std::fs::read_to_string(&path).expect("a file");
    assert_eq!(get(address, "/-/reload").await.status, 405);
    let answer = post(address, "/-/reload").await;
    assert_eq!((answer.status, &answer.json()["ok"]), (200, &json!(true)));

    let second = first.replace("b/{1}", "c/{1}");
    std::fs::write(&path, &second).expect("a file");
    let answer = post(address, "/-/reload").await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.json()["changes"]["forwarders"]["changed"], json!(["fw"]));
    bridge.source.send("32 { <a/x> 00 07 {} 'hi' }").await;
    bridge.target.expect(&sent("32 { <c/x> 00 01 {} 'hi' }")).await;
    let shown = get(address, "/api/v1/config").await.json();
    assert_eq!(shown["forwarders"]["fw"]["to"][0]["topic"], "c/{1}");
    assert_eq!(reload_succeeded(&bridge).await, 1.0);

    std::fs::write(&path, second.replace("session = 'dst'", "session = 'dts'")).expect("a file");
    let answer = post(address, "/-/reload").await;
    assert_eq!(answer.status, 422);
    assert_eq!(answer.json(), checked(&bridge).await);
    let message = answer.json()["errors"][0]["message"].to_string();
    assert!(message.contains("dts"), "{message}");
    assert_eq!(reload_succeeded(&bridge).await, 0.0);
    let shown = get(address, "/api/v1/config").await.json();
    assert_eq!(shown["forwarders"]["fw"]["to"][0]["session"], "dst");

    std::fs::write(&path, &first).expect("a file");
    assert_eq!(post(address, "/-/reload").await.status, 200);
    assert_eq!(reload_succeeded(&bridge).await, 1.0);
}

#[tokio::test]
async fn a_token_counts_from_its_reload_on_and_another_address_after_a_restart() {
    let bridge = Bridge::start("per_session_limit = 5").await;
    let address = bridge.daemon.address;
    let path = bridge.daemon.files.path().join("mqttx.toml");
    let first = std::fs::read_to_string(&path).expect("a file");
    let second = first.replace("per_session_limit = 5", "token = 'secret'");
    std::fs::write(&path, second.replace("127.0.0.1:0", "127.0.0.2:0")).expect("a file");
    let answer = post(address, "/-/reload").await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let changes = &answer.json()["changes"];
    assert_eq!(changes["settings"], json!(["http.token", "http.per_session_limit"]));
    assert_eq!(changes["restart"], json!(["http.listen"]));
    assert_eq!(get(address, "/api/v1/config").await.status, 401);
    assert_eq!(post(address, "/-/reload").await.status, 401);
    assert_eq!(get(address, "/metrics").await.status, 200);
}

#[tokio::test]
async fn streams_go_on_over_a_reload_and_end_when_another_token_counts() {
    let bridge = Bridge::start("").await;
    let address = bridge.daemon.address;
    let path = bridge.daemon.files.path().join("mqttx.toml");
    let first = std::fs::read_to_string(&path).expect("a file");
    let (mut events, mut page) = (Events::start(address).await, Events::watch(address).await);
    std::fs::write(&path, first.replace("b/{1}", "c/{1}")).expect("a file");
    assert_eq!(post(address, "/-/reload").await.status, 200);
    assert_eq!(post(address, "/api/v1/sessions/dst/disconnect").await.status, 200);
    events.until("session_disconnected").await;
    let with_token = first.replace("[http]", "[http]\ntoken = 'secret'");
    std::fs::write(&path, with_token).expect("a file");
    assert_eq!(post(address, "/-/reload").await.status, 200);
    while events.next().await.is_some() {}
    while page.next().await.is_some() {}
}

#[tokio::test]
async fn an_address_keeps_its_token_until_the_restart_that_gives_it_up() {
    let bridge = Bridge::start("token = 'secret'").await;
    let address = bridge.daemon.address;
    let path = bridge.daemon.files.path().join("mqttx.toml");
    let first = std::fs::read_to_string(&path).expect("a file");
    let second = first.replace("token = 'secret'", "").replace("127.0.0.1:0", "127.0.0.2:0");
    std::fs::write(&path, second).expect("a file");
    let answer = send(address, "POST", "/-/reload", &[("Authorization", "Bearer secret")]).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let changes = &answer.json()["changes"];
    assert_eq!((&changes["settings"], &changes["restart"]), (&json!([]), &json!(["http.listen"])));
    assert_eq!(get(address, "/api/v1/config").await.status, 401);
    std::fs::write(&path, first.replace("token = 'secret'", "")).expect("a file");
    let answer = send(address, "POST", "/-/reload", &[("Authorization", "Bearer secret")]).await;
    assert_eq!(answer.json()["changes"]["settings"], json!(["http.token"]));
    assert_eq!(get(address, "/api/v1/config").await.status, 200);
}

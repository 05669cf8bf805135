//! The rules of a forwarder, as other clients see what comes of them, in both versions of MQTT.

use std::collections::BTreeMap;

use mqttx::{Publish, QoS, SessionManager, Version};

use super::daemon::{Daemon, SOON};
use super::plant::{broker, client};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn map_filter_transform_metadata_dead_letter_and_retain_work_through_mosquitto() {
    for version in [Version::V5, Version::V311] {
        rules(version).await;
    }
}

async fn rules(version: Version) {
    let Some(source) = broker(false, &[]).await else { return };
    let Some(target) = broker(false, &[]).await else { return };
    let protocol = if version == Version::V5 { "5" } else { "3.1.1" };
    let config = format!(
        "[defaults.session]\nprotocol = '{protocol}'\n\
         [sessions.src]\nbrokers = ['{}']\n[sessions.dst]\nbrokers = ['{}']\n\
         [forwarders.fw]\nfrom = [{{ session = 'src', topics = ['line/+/#'] }}]\n\
         to = [{{ session = 'dst', map = {{ 'line/1/exact' = 'exact', 'line/+/temp' = 't/{{1}}' }}, topic = 'else/{{1}}/{{#}}', retain = true }}]\n\
         filter = 'payload.v > 1'\n\
         transform = [{{ set = '/line', value = '{{1}}' }}, {{ rename = '/v', to = '/value' }}, {{ remove = '/x' }}]\n\
         metadata = {{ by = '{{forwarder}}' }}\n\
         dead_letter = {{ session = 'dst', topic = 'dlq/{{1}}' }}\n",
        source.url(),
        target.url()
    );
    let mut daemon = Daemon::start("rules", &config).await;
    daemon.ready().await;
    let manager = SessionManager::new();
    let writer = client(&manager, "writer", &source, version);
    manager.wait_for_all_sessions(SOON).await.expect("ready");
    for (topic, payload) in [
        ("line/1/exact", r#"{"v":2,"x":0}"#),
        ("line/2/temp", r#"{"v":3}"#),
        ("line/3/a/b", r#"{"v":4}"#),
        ("line/4/cold", r#"{"v":1}"#),
        ("line/5/odd", "no JSON"),
    ] {
        let message = Publish::new(topic, payload).qos(QoS::AtLeastOnce);
        writer.publish_message(message).await.expect("published");
    }
    let forwarders = "/api/v1/forwarders";
    let done =
        |answer: &str| answer.contains("\"forwarded\":3") && answer.contains("\"dead_lettered\":1");
    daemon.until("all are through", forwarders, done).await;
    assert!(daemon.get(forwarders).await.contains("\"filtered\":1"));
    // Those who come later get what is retained.
    let reader = client(&manager, "reader", &target, version);
    let mut messages = reader.listen("#").expect("a stream");
    let mut got = BTreeMap::<String, serde_json::Value>::new();
    while got.len() < 3 {
        let message = tokio::time::timeout(SOON, messages.next()).await.expect("in time");
        let message = message.expect("a message");
        assert!(message.retain());
        let by = message.properties().user_properties().find(|(name, _)| *name == "by");
        assert_eq!(by.map(|(_, value)| value), (version == Version::V5).then_some("fw"));
        let payload = serde_json::from_slice(message.payload()).expect("JSON");
        got.insert(message.topic().to_owned(), payload);
    }
    let expected = |line: &str, value: u32| {
        let mut object = serde_json::json!({ "line": line, "value": value });
        if version == Version::V311 {
            object["by"] = "fw".into();
        }
        object
    };
    let all = [("exact", "1", 2), ("t/2", "2", 3), ("else/3/a/b", "3", 4)];
    let all = all.map(|(topic, line, value)| (topic.to_owned(), expected(line, value)));
    assert_eq!(got, all.into());
    assert_eq!(daemon.stop().await, Some(0), "{}", daemon.log());
}

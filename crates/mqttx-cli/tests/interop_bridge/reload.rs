//! Another configuration for a bridge that runs.

use mqttx::{QoS, SessionManager, Version};
use mqttx_test::Mosquitto;

use super::daemon::{Daemon, SOON};
use super::plant::{Seen, broker, client, publish_numbers};

fn config(source: &Mosquitto, target: &Mosquitto, filter: &str) -> String {
    format!(
        "[sessions.src]\nbrokers = ['{}']\n[sessions.dst]\nbrokers = ['{}']\n\
         [forwarders.fw]\nfrom = [{{ session = 'src', topics = ['{filter}'] }}]\n\
         to = [{{ session = 'dst', topic = 'out/{{topic}}' }}]\n",
        source.url(),
        target.url()
    )
}

fn connections(broker: &Mosquitto) -> usize {
    broker.log().matches("New client connected").count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_file_changes_nothing_and_another_filter_drops_no_connection() {
    let Some(source) = broker(false, &[]).await else { return };
    let Some(target) = broker(false, &[]).await else { return };
    let mut daemon = Daemon::start("reload", &config(&source, &target, "a/#")).await;
    daemon.ready().await;
    let manager = SessionManager::new();
    let seen = Seen::default();
    let reader = client(&manager, "reader", &target, Version::V5);
    let _route = seen.watch(&reader, "out/#", QoS::AtLeastOnce);
    let writer = client(&manager, "writer", &source, Version::V5);
    manager.wait_for_all_sessions(SOON).await.expect("ready");
    let before = (connections(&source), connections(&target));
    daemon.write(&daemon.whole("reload", &config(&source, &target, "a/#/b")));
    daemon.signal("-HUP").await;
    let patience = std::time::Instant::now() + SOON;
    while !daemon.log().contains("a/#/b") {
        assert!(std::time::Instant::now() < patience, "{}", daemon.log());
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let refused = daemon.request("POST", "/-/reload").await.expect("an answer");
    assert!(refused.starts_with("HTTP/1.1 422") && refused.contains("a/#/b"), "{refused}");
    publish_numbers(writer.clone(), "a/x", QoS::AtLeastOnce, 10).await;
    until(|| seen.different() == 10).await;
    daemon.write(&daemon.whole("reload", &config(&source, &target, "b/#")));
    let taken = daemon.request("POST", "/-/reload").await.expect("an answer");
    assert!(taken.starts_with("HTTP/1.1 200"), "{taken}");
    daemon.ready().await;
    publish_numbers(writer, "b/x", QoS::AtLeastOnce, 20).await;
    until(|| seen.different() == 20).await;
    assert_eq!(before, (connections(&source), connections(&target)));
    assert_eq!(daemon.metric("mqtt_session_reconnects_total").await, 0.0);
    assert_eq!(daemon.stop().await, Some(0), "{}", daemon.log());
}

async fn until(reached: impl Fn() -> bool) {
    let patience = std::time::Instant::now() + SOON;
    while !reached() {
        assert!(std::time::Instant::now() < patience, "waited too long");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

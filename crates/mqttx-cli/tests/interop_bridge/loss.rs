//! Messages between two brokers, of which the second is down half of the time, by a daemon that is killed twice.
//!
//! The reader is a session of ours, not `mosquitto_sub`: that one (2.0.11) keeps a QoS 2 message twice whose PUBREL a lost connection
//! held back. It prints it again when the packet id is used next, 65 535 messages later, in place of the new message, and the last
//! ones never. Mosquitto's own `mosquitto_pub` and broker show the same, with nothing of ours between.

use std::time::{Duration, Instant};

use mqttx::{QoS, SessionManager, Version};
use mqttx_test::Mosquitto;
use tokio::time::sleep;

use super::daemon::Daemon;
use super::plant::{Seen, broker, client, publish_ahead};

/// So many in a short run; `cargo xtask soak` asks for more.
const MESSAGES: u32 = 6000;
const VARIABLE: &str = "MQTTX_TEST_BRIDGE_MESSAGES";

/// What the daemon may take without having acknowledged it, by its Receive Maximum: after a kill the source sends it again.
const UNACKNOWLEDGED: usize = 1024;

fn messages() -> u32 {
    std::env::var(VARIABLE).map_or(MESSAGES, |text| text.parse().expect("a number of messages"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_bridge_with_a_store_loses_no_qos_1_message_to_a_target_that_comes_and_goes() {
    run(QoS::AtLeastOnce, Version::V5).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_bridge_with_a_store_passes_qos_2_on_and_repeats_only_what_was_not_acknowledged() {
    run(QoS::ExactlyOnce, Version::V5).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_bridge_with_a_store_loses_nothing_in_3_1_1() {
    run(QoS::AtLeastOnce, Version::V311).await;
}

async fn run(qos: QoS, version: Version) {
    let Some(source) = broker(false, &[]).await else { return };
    let Some(mut target) = broker(true, &[]).await else { return };
    let count = messages();
    let mut daemon = Daemon::start("loss", &config(&source, &target, qos, version)).await;
    daemon.ready().await;
    let manager = SessionManager::new();
    let seen = Seen::default();
    let reader = client(&manager, "reader", &target, version);
    let _route = seen.watch(&reader, "out/#", qos);
    let writer = client(&manager, "writer", &source, version);
    manager.wait_for_all_sessions(super::daemon::SOON).await.expect("ready");
    let writing = tokio::spawn(publish_ahead(writer, "in/x", qos, count, Some(seen.clone())));
    let mut kills = 0;
    let (mut progress, mut moved) = (0, Instant::now());
    while seen.different() < count as usize {
        // As long up as down, so long that something happens in between.
        sleep(SPELL).await;
        target.stop().await;
        if kills < 2 && seen.different() > count as usize / 4 * (kills + 1) {
            daemon.kill().await;
            daemon.launch().await;
            kills += 1;
        }
        sleep(SPELL).await;
        target.restart().await;
        if seen.different() > progress {
            (progress, moved) = (seen.different(), Instant::now());
        }
        assert!(moved.elapsed() < STUCK, "{progress} of {count} arrived\n{}", daemon.log());
    }
    writing.await.expect("everything was published");
    assert_eq!(daemon.stop().await, Some(0), "{}", daemon.log());
    println!("{count} messages, {kills} kills, {} came again", seen.again());
    if qos == QoS::ExactlyOnce {
        assert!(seen.again() <= kills * UNACKNOWLEDGED, "{} came again", seen.again());
    }
    manager.shutdown(Duration::ZERO).await;
}

const SPELL: Duration = Duration::from_millis(400);
const STUCK: Duration = Duration::from_secs(120);

fn config(source: &Mosquitto, target: &Mosquitto, qos: QoS, version: Version) -> String {
    let protocol = if version == Version::V5 { "5" } else { "3.1.1" };
    format!(
        "[stores.disk]\nkind = 'file'\npath = 'store'\n\
         [defaults.session]\nstore = 'disk'\nprotocol = '{protocol}'\n\
         reconnect = {{ initial = '20ms', max = '200ms' }}\n\
         [sessions.src]\nbrokers = ['{}']\nclient_id = 'gw-src'\n\
         [sessions.dst]\nbrokers = ['{}']\nclient_id = 'gw-dst'\n\
         [forwarders.fw]\nfrom = [{{ session = 'src', topics = ['in/#'], qos = {} }}]\n\
         to = [{{ session = 'dst', topic = 'out/{{#}}' }}]\n",
        source.url(),
        target.url(),
        qos as u8
    )
}

//! Messages that the target's server does not take, among many that it does.

use mqttx::{Publish, QoS, SessionManager, Version};
use mqttx_test::{Mosquitto, TempDir};

use super::daemon::{Daemon, SOON};
use super::plant::{Seen, broker, client};

const GOOD: u32 = 200;

fn config(source: &Mosquitto, target: &Mosquitto, store: &str) -> String {
    format!(
        "[stores.kept]\nkind = '{store}'\n\
         [sessions.src]\nbrokers = ['{}']\n\
         [sessions.dst]\nbrokers = ['{}']\nclient_id = 'gw-dst'\nstore = 'kept'\n\
         [forwarders.fw]\nfrom = [{{ session = 'src', topics = ['in/#'] }}]\n\
         to = [{{ session = 'dst', topic = 'out/{{#}}' }}]\n\
         dead_letter = {{ session = 'src', topic = 'dlq/{{forwarder}}' }}\n",
        source.url(),
        target.url()
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_the_target_refuses_or_cannot_take_is_a_dead_letter_and_the_rest_flows() {
    // With a store the target has accepted the message when its server refuses it.
    for (store, counter) in [
        ("memory", "mqtt_forwarder_dead_lettered_total"),
        ("file", "mqtt_forwarder_dead_lettered_later_total"),
    ] {
        let rights = TempDir::new("acl");
        let file = rights.path().join("acl");
        std::fs::write(&file, "topic readwrite out/good\ntopic readwrite out/large\n")
            .expect("a file");
        let acl = format!("acl_file {}", file.display());
        let Some(source) = broker(false, &[]).await else { return };
        let Some(target) = broker(false, &[&acl, "max_packet_size 2000"]).await else { return };
        let mut daemon = Daemon::start("poison", &config(&source, &target, store)).await;
        daemon.ready().await;
        let manager = SessionManager::new();
        let (good, letters) = (Seen::default(), Seen::default());
        let reader = client(&manager, "reader", &target, Version::V5);
        let _good = good.watch(&reader, "out/#", QoS::AtLeastOnce);
        let writer = client(&manager, "writer", &source, Version::V5);
        let _letters = letters.watch(&writer, "dlq/fw", QoS::AtLeastOnce);
        manager.wait_for_all_sessions(SOON).await.expect("ready");
        for n in 0..GOOD {
            let message = match n {
                50 => Publish::new("in/forbidden", "50"),
                // Zeros before a number do not change it.
                100 => Publish::new("in/large", format!("{n:03000}")),
                _ => Publish::new("in/good", n.to_string()),
            };
            writer.publish_message(message.qos(QoS::AtLeastOnce)).await.expect("published");
        }
        let arrived = || good.different() == GOOD as usize - 2 && letters.different() == 2;
        let patience = std::time::Instant::now() + SOON;
        while !arrived() {
            let (good, letters) = (good.different(), letters.different());
            assert!(std::time::Instant::now() < patience, "{good}, {letters}: {}", daemon.log());
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        // What is too large is known before, with a store, too.
        let later = daemon.metric("mqtt_forwarder_dead_lettered_later_total").await;
        let at_once = daemon.metric("mqtt_forwarder_dead_lettered_total").await;
        assert_eq!(later + at_once, 2.0, "{}", daemon.log());
        assert!(daemon.metric(counter).await >= 1.0, "{later} {at_once}");
        assert_eq!(daemon.stop().await, Some(0), "{}", daemon.log());
    }
}

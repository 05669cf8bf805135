//! Wills.

use mqttx::{Properties, Property, QoS, ReasonCode, Version, Will};

use crate::support::*;

both_versions! {
    async fn a_will_is_published_when_the_process_ends_without_a_word(version: Version) {
        let broker = broker!();
        let (_manager, observer) = ready(options("observer", &broker.url(), version)).await;
        let mut wills = observer.listen("state/+").unwrap();
        observer.wait_ready(PATIENCE).await.unwrap();
        let will = Will::new("state/plant", "gone").qos(QoS::AtLeastOnce).retain(true);
        let options = options("plant", &broker.url(), version).will(will);
        // The runtime takes the session's task down with it, as the end of a process does.
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let plant = runtime.spawn(ready(options)).await.unwrap();
        runtime.shutdown_background();
        let message = next(&mut wills).await;
        assert_eq!((message.topic(), message.payload()), ("state/plant", &b"gone"[..]));
        assert_eq!(message.qos(), QoS::AtLeastOnce);
        drop(plant);
        // It was to be kept.
        let mut late = observer.listen("state/plant").unwrap();
        assert!(next(&mut late).await.retain());
    }

    async fn a_disconnect_takes_the_will_back(version: Version) {
        let broker = broker!();
        let (_manager, observer) = ready(options("observer", &broker.url(), version)).await;
        let mut messages = observer.listen("state").unwrap();
        observer.wait_ready(PATIENCE).await.unwrap();
        let will = Will::new("state", "gone");
        let (_other, plant) =
            ready(options("plant", &broker.url(), version).will(will)).await;
        plant.disconnect().await;
        publish(&broker.url(), "state", "marker", false).await;
        assert_eq!(text(&mut messages).await, "marker");
    }
}

#[tokio::test]
async fn a_disconnect_may_ask_for_the_will() {
    in_time(async {
        let broker = broker!();
        let (_manager, observer) = ready(options("observer", &broker.url(), Version::V5)).await;
        let mut messages = observer.listen("state").unwrap();
        observer.wait_ready(PATIENCE).await.unwrap();
        let mut properties = Properties::new();
        properties.push(Property::ContentType("text/plain")).unwrap();
        let will = Will::new("state", "gone").properties(properties);
        let (_other, plant) = ready(options("plant", &broker.url(), Version::V5).will(will)).await;
        plant.disconnect_with(ReasonCode::DISCONNECT_WITH_WILL, Properties::new()).await;
        let message = next(&mut messages).await;
        assert_eq!(message.payload(), b"gone");
        assert_eq!(message.properties().content_type(), Some("text/plain"));
    })
    .await;
}

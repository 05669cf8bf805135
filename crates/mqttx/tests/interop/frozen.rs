//! Brokers that do nothing for a while, and keep their connections open.

use std::sync::Arc;
use std::time::Duration;

use mqttx::{EventFilter, EventKind, EventName, QoS, Version};

use crate::released::Released;
use crate::support::*;

const KEEP_ALIVE: Duration = Duration::from_secs(1);

both_versions! {
    async fn a_frozen_broker_is_noticed_by_the_keep_alive_and_loses_nothing(version: Version) {
        let broker = broker!();
        let released = Arc::new(Released::default());
        let options = |name: &str| {
            let options = persistent(name, &broker.url(), version).keep_alive(KEEP_ALIVE);
            options.connect_timeout(Duration::from_millis(300))
        };
        let (manager, publisher) = ready(options("publisher")).await;
        let subscriber = options("subscriber").wire_log(Arc::clone(&released) as _);
        let subscriber = add(&manager, subscriber);
        let mut messages = subscriber.route("t/+").qos(QoS::ExactlyOnce).listen().unwrap();
        manager.wait_for_all_sessions(PATIENCE).await.unwrap();

        let losses = EventFilter::from(EventName::SessionDisconnected).session("publisher");
        let mut losses = manager.events_matching(losses);
        broker.freeze();
        let mut deliveries = Vec::new();
        for i in 0..100 {
            for (topic, qos) in [("t/1", QoS::AtLeastOnce), ("t/2", QoS::ExactlyOnce)] {
                deliveries.push(publisher.try_publish(numbered(topic, i, qos)).unwrap());
            }
        }
        let noticed = || !publisher.is_connected() && !subscriber.is_connected();
        until(&manager, "noticed", noticed).await;
        match &event(&mut losses, EventName::SessionDisconnected).await.kind {
            EventKind::SessionDisconnected { error: Some(error), .. } => {
                assert_eq!(error.code(), "connection.keep_alive.timeout");
            }
            other => panic!("{other:?}"),
        }
        // The operating system still accepts connections for the broker; attempts on them fail.
        let attempted = || publisher.metrics().errors > 2;
        until(&manager, "attempted", attempted).await;
        broker.thaw();

        for delivery in deliveries {
            in_time(delivery).await.unwrap();
        }
        let mut arrived = [Vec::new(), Vec::new()];
        let complete = |numbers: &[usize]| (0..100).all(|i| numbers.contains(&i));
        while !arrived.iter().all(|numbers| complete(numbers)) {
            let message = next(&mut messages).await;
            let topic = usize::from(message.topic() == "t/2");
            arrived[topic].push(number(message.payload()));
        }
        publisher.publish("t/2", "100", QoS::ExactlyOnce, false).await.unwrap();
        while !arrived[1].contains(&100) {
            let message = next(&mut messages).await;
            let topic = usize::from(message.topic() == "t/2");
            arrived[topic].push(number(message.payload()));
        }
        assert_eq!(arrived[1].len(), 101 + released.sent_again(), "a QoS 2 message came twice");
    }
}

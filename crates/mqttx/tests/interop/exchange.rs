//! Messages there and back.

use mqttx::{Properties, Property, Publish, QoS, Version};

use crate::support::*;

both_versions! {
    async fn payloads_of_every_size_arrive_unchanged_at_every_qos(version: Version) {
        let broker = broker!();
        let (_one, publisher) = ready(options("publisher", &broker.url(), version)).await;
        let (_two, subscriber) = ready(options("subscriber", &broker.url(), version)).await;
        let mut messages = subscriber.route("t/+").qos(QoS::ExactlyOnce).listen().unwrap();
        subscriber.wait_ready(PATIENCE).await.unwrap();
        for qos in ALL_QOS {
            // Around the steps of the length field, and of what is shared instead of copied.
            for size in [0, 1, 120, 128, 4095, 4096, 16_383, 65_536, 200_000, 1 << 20] {
                let payload: Vec<u8> = (0..size).map(|i: u32| (i * 7 % 251) as u8).collect();
                let topic = format!("t/{size}");
                let published = publisher.publish(&topic, payload.clone(), qos, false).await.unwrap();
                assert_eq!(published.packet_id.is_some(), qos > QoS::AtMostOnce);
                let message = next(&mut messages).await;
                assert_eq!((message.topic(), message.qos()), (&*topic, qos));
                assert!(message.payload() == payload, "{size} bytes at {qos:?}");
                assert!(!message.retain() && !message.dup());
            }
        }
        assert_eq!(subscriber.metrics().messages_received, 30);
        assert_eq!((publisher.metrics().messages_sent, publisher.metrics().resends), (30, 0));
    }

    async fn each_side_may_use_another_qos(version: Version) {
        let broker = broker!();
        let (_manager, session) = ready(options("both", &broker.url(), version)).await;
        for wanted in ALL_QOS {
            let mut messages = session.route("t").qos(wanted).listen().unwrap();
            session.wait_ready(PATIENCE).await.unwrap();
            for sent in ALL_QOS {
                session.publish("t", "x", sent, false).await.unwrap();
                assert_eq!(next(&mut messages).await.qos(), sent.min(wanted));
            }
            drop(messages);
        }
    }

    async fn messages_of_one_publisher_arrive_in_order(version: Version) {
        let broker = broker!();
        let (_one, publisher) = ready(options("publisher", &broker.url(), version)).await;
        let (_two, subscriber) = ready(options("subscriber", &broker.url(), version)).await;
        let mut messages = subscriber.route("t").qos(QoS::ExactlyOnce).listen().unwrap();
        subscriber.wait_ready(PATIENCE).await.unwrap();
        for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let mut deliveries = Vec::new();
            for i in 0..2000 {
                deliveries.push(publisher.enqueue(numbered("t", i, qos)).await.unwrap());
            }
            drop(publisher.enqueue(Publish::new("t", "end").qos(qos)).await.unwrap());
            let arrived = numbers_until(&mut messages, "end").await;
            assert!(arrived.iter().copied().eq(0..2000), "{qos:?}: {arrived:?}");
            for delivery in deliveries {
                delivery.await.unwrap();
            }
        }
        publisher.flush(PATIENCE).await.unwrap();
        assert_eq!(publisher.metrics().outbox_messages, 0);
    }

    async fn a_filter_given_up_brings_nothing_more(version: Version) {
        let broker = broker!();
        let (_manager, session) = ready(options("s", &broker.url(), version)).await;
        session.subscribe("a", QoS::AtLeastOnce).await.unwrap();
        let mut everything = session.route("#").subscribe(false).listen().unwrap();
        session.publish("a", "1", QoS::AtLeastOnce, false).await.unwrap();
        assert_eq!(text(&mut everything).await, "1");
        session.unsubscribe("a").await.unwrap();
        session.publish("a", "2", QoS::AtLeastOnce, false).await.unwrap();
        session.subscribe("b", QoS::AtLeastOnce).await.unwrap();
        session.publish("b", "3", QoS::AtLeastOnce, false).await.unwrap();
        assert_eq!(text(&mut everything).await, "3");
    }
}

#[tokio::test]
async fn properties_travel_with_the_message() {
    in_time(async {
        let broker = broker!();
        let (_manager, session) = ready(options("s", &broker.url(), Version::V5)).await;
        let mut messages = session.listen("t").unwrap();
        session.wait_ready(PATIENCE).await.unwrap();
        let mut properties = Properties::new();
        for property in [
            Property::PayloadFormatIndicator(1),
            Property::ContentType("text/plain"),
            Property::ResponseTopic("answers"),
            Property::CorrelationData(&[0, 1, 255]),
            Property::UserProperty("key", "one"),
            Property::UserProperty("key", "two"),
        ] {
            properties.push(property).unwrap();
        }
        let message = Publish::new("t", "ä").qos(QoS::AtLeastOnce).properties(properties.clone());
        session.publish_message(message).await.unwrap();
        let message = next(&mut messages).await;
        let arrived = message.properties();
        assert_eq!(arrived.content_type(), Some("text/plain"));
        assert_eq!(arrived.response_topic(), Some("answers"));
        assert_eq!(arrived.correlation_data(), Some(&[0, 1, 255][..]));
        assert!(arrived.user_properties().eq([("key", "one"), ("key", "two")]));
    })
    .await;
}

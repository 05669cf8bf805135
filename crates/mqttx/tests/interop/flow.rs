//! Limits on what is in flight, both ways.

use mqttx::{Publish, QoS, Version};
use mqttx_test::Mosquitto;

use crate::support::*;

both_versions! {
    async fn our_own_limit_is_kept_and_the_queue_behind_it_drains(version: Version) {
        let broker = broker!();
        let (_one, publisher) = ready(options("p", &broker.url(), version).max_in_flight(2)).await;
        let (_two, subscriber) = ready(options("s", &broker.url(), version)).await;
        let mut messages = subscriber.route("t").qos(QoS::ExactlyOnce).listen().unwrap();
        subscriber.wait_ready(PATIENCE).await.unwrap();
        for i in 0..500 {
            drop(publisher.try_publish(numbered("t", i, QoS::ExactlyOnce)).unwrap());
            assert!(publisher.metrics().in_flight <= 2);
        }
        publisher.publish("t", "end", QoS::ExactlyOnce, false).await.unwrap();
        assert!(numbers_until(&mut messages, "end").await.into_iter().eq(0..500));
    }

    async fn a_backlog_longer_than_our_receive_maximum_comes_over_one_connection(version: Version) {
        let broker = broker!();
        let (_one, away) = ready(persistent("away", &broker.url(), version)).await;
        let (_two, publisher) = ready(options("p", &broker.url(), version)).await;
        let mut messages = away.route("t").listen().unwrap();
        away.wait_ready(PATIENCE).await.unwrap();
        away.disconnect().await;
        for i in 0..5000 {
            drop(publisher.enqueue(numbered("t", i, QoS::AtLeastOnce)).await.unwrap());
        }
        publisher.publish("t", "end", QoS::AtLeastOnce, false).await.unwrap();
        // Mosquitto sends everything at once after the first acknowledgement.
        away.connect();
        assert!(numbers_until(&mut messages, "end").await.into_iter().eq(0..5000));
        assert_eq!((away.metrics().errors, away.metrics().reconnects), (0, 1));
    }

    async fn a_slow_route_does_not_delay_another_one(version: Version) {
        let broker = broker!();
        let (_manager, session) = ready(options("s", &broker.url(), version)).await;
        let mut slow = session.route("slow").capacity(1).listen().unwrap();
        let mut fast = session.listen("fast").unwrap();
        session.wait_ready(PATIENCE).await.unwrap();
        // Fewer than the broker has in flight to one client: it would stop by itself.
        for i in 0..15 {
            session.publish_message(numbered("slow", i, QoS::AtLeastOnce)).await.unwrap();
        }
        for i in 0..100 {
            session.publish_message(numbered("fast", i, QoS::AtMostOnce)).await.unwrap();
            assert_eq!(text(&mut fast).await, i.to_string());
        }
        session.publish("slow", "end", QoS::AtLeastOnce, false).await.unwrap();
        assert!(numbers_until(&mut slow, "end").await.into_iter().eq(0..15));
    }
}

#[tokio::test]
async fn a_small_receive_maximum_of_the_server_is_never_exceeded() {
    in_time(async {
        // Mosquitto ends the connection of a client that exceeds it.
        let broker = broker!(Mosquitto::builder().max_inflight(3));
        let (_manager, session) = ready(options("s", &broker.url(), Version::V5)).await;
        assert_eq!(session.limits().unwrap().receive_maximum, 3);
        let mut messages = session.route("t").qos(QoS::ExactlyOnce).listen().unwrap();
        session.wait_ready(PATIENCE).await.unwrap();
        for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
            for i in 0..1000 {
                drop(session.try_publish(numbered("t", i, qos)).unwrap());
                assert!(session.metrics().in_flight <= 3);
            }
            session.publish("t", "end", qos, false).await.unwrap();
            assert!(numbers_until(&mut messages, "end").await.into_iter().eq(0..1000));
        }
        assert_eq!((session.metrics().errors, session.metrics().reconnects), (0, 0));
    })
    .await;
}

#[tokio::test]
async fn our_small_receive_maximum_holds_the_server_back() {
    in_time(async {
        let broker = broker!();
        let options = options("s", &broker.url(), Version::V5).receive_maximum(3);
        let (_manager, session) = ready(options).await;
        let held = session.route("held").manual_ack(true).listen().unwrap();
        let mut other = session.route("other").qos(QoS::AtMostOnce).listen().unwrap();
        session.wait_ready(PATIENCE).await.unwrap();
        for i in 0..10 {
            session.publish_message(numbered("held", i, QoS::AtLeastOnce)).await.unwrap();
        }
        session.publish("other", "overtakes", QoS::AtMostOnce, false).await.unwrap();
        assert_eq!(text(&mut other).await, "overtakes");
        assert_eq!(held.route().stats().received, 3);
    })
    .await;
}

#[tokio::test]
async fn a_message_larger_than_the_server_accepts_is_refused_here() {
    in_time(async {
        let broker = broker!(Mosquitto::builder().line("max_packet_size 1000"));
        let (_manager, session) = ready(options("s", &broker.url(), Version::V5)).await;
        assert_eq!(session.limits().unwrap().maximum_packet_size, 1000);
        let message = Publish::new("t", vec![b'x'; 1000]).qos(QoS::AtLeastOnce);
        let refused = session.publish_message(message.clone()).await.unwrap_err();
        assert_eq!(refused.message(), &message);
        session.publish("t", vec![b'x'; 900], QoS::AtLeastOnce, false).await.unwrap();
        assert_eq!(session.metrics().reconnects, 0);
    })
    .await;
}

//! Sessions that the server keeps.

use mqttx::{QoS, SessionManager, Version};

use crate::support::*;

both_versions! {
    async fn messages_queued_while_away_arrive_once_and_in_order(version: Version) {
        let broker = broker!();
        let (manager, away) = ready(persistent("away", &broker.url(), version)).await;
        let (_one, publisher) = ready(options("publisher", &broker.url(), version)).await;
        let mut messages = away.route("t/+").qos(QoS::ExactlyOnce).listen().unwrap();
        away.wait_ready(PATIENCE).await.unwrap();
        for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
            away.disconnect().await;
            for i in 0..300 {
                drop(publisher.enqueue(numbered("t/x", i, qos)).await.unwrap());
            }
            publisher.publish("t/x", "end", qos, false).await.unwrap();
            let mut events = manager.events();
            away.connect();
            assert!(session_present(&mut events).await);
            let arrived = numbers_until(&mut messages, "end").await;
            assert!(arrived.iter().copied().eq(0..300), "{arrived:?}");
        }
        assert_eq!(away.metrics().duplicates_received, 0);
    }

    async fn a_new_process_gets_what_was_queued_for_the_old_one(version: Version) {
        let broker = broker!();
        {
            let (manager, first) = ready(persistent("plant", &broker.url(), version)).await;
            first.subscribe("t", QoS::ExactlyOnce).await.unwrap();
            manager.shutdown(PATIENCE).await;
        }
        for i in 0..50 {
            publish(&broker.url(), "t", &i.to_string(), false).await;
        }
        publish(&broker.url(), "t", "end", false).await;
        let manager = SessionManager::new();
        let mut events = manager.events();
        let second = add(&manager, persistent("plant", &broker.url(), version));
        assert!(session_present(&mut events).await);
        second.wait_ready(PATIENCE).await.unwrap();
        // Its route comes late: until then the messages wait unacknowledged.
        let mut messages = second.route("t").qos(QoS::ExactlyOnce).listen().unwrap();
        let arrived = numbers_until(&mut messages, "end").await;
        assert!(arrived.iter().copied().eq(0..50), "{arrived:?}");
    }

    async fn a_clean_start_forgets_what_was_queued(version: Version) {
        let broker = broker!();
        let (manager, old) = ready(persistent("plant", &broker.url(), version)).await;
        let messages = old.listen("t").unwrap();
        old.wait_ready(PATIENCE).await.unwrap();
        manager.shutdown(PATIENCE).await;
        drop(messages);
        publish(&broker.url(), "t", "forgotten", false).await;

        let manager = SessionManager::new();
        let mut events = manager.events();
        let clean = options("plant", &broker.url(), version).client_id("plant").clean_start(true);
        let new = add(&manager, clean);
        assert!(!session_present(&mut events).await);
        let mut messages = new.listen("t").unwrap();
        new.wait_ready(PATIENCE).await.unwrap();
        publish(&broker.url(), "t", "now", false).await;
        assert_eq!(text(&mut messages).await, "now");
    }

    async fn what_was_accepted_while_away_goes_out_in_order(version: Version) {
        let broker = broker!();
        let (_one, subscriber) = ready(options("subscriber", &broker.url(), version)).await;
        let mut messages = subscriber.route("t").qos(QoS::ExactlyOnce).listen().unwrap();
        subscriber.wait_ready(PATIENCE).await.unwrap();
        let (_two, publisher) = start(options("p", &broker.url(), version).manual_connect(true));
        let mut deliveries = Vec::new();
        for i in 0..300 {
            let qos = ALL_QOS[i % 3].max(QoS::AtLeastOnce);
            deliveries.push(publisher.try_publish(numbered("t", i, qos)).unwrap());
        }
        publisher.connect();
        for delivery in deliveries {
            delivery.await.unwrap();
        }
        publisher.publish("t", "end", QoS::ExactlyOnce, false).await.unwrap();
        let arrived = numbers_until(&mut messages, "end").await;
        // Mosquitto hands a QoS 2 message on at its PUBREL: only messages of one QoS keep their order.
        for odd in [false, true] {
            let of_one = arrived.iter().filter(|&&i| (i % 3 == 2) == odd);
            assert!(of_one.copied().eq((0..300).filter(|i| (i % 3 == 2) == odd)), "{arrived:?}");
        }
    }
}

#[tokio::test]
async fn the_assigned_client_id_is_kept_for_reconnects() {
    in_time(async {
        let broker = broker!();
        let options = options("s", &broker.url(), Version::V5).persistent(true);
        let (manager, session) = ready(options).await;
        let id = session.client_id();
        assert!(!id.is_empty());
        let mut messages = session.listen("t").unwrap();
        session.wait_ready(PATIENCE).await.unwrap();
        session.disconnect().await;
        publish(&broker.url(), "t", "meanwhile", false).await;
        let mut events = manager.events();
        session.connect();
        assert!(session_present(&mut events).await);
        assert_eq!(session.client_id(), id);
        assert_eq!(text(&mut messages).await, "meanwhile");
    })
    .await;
}

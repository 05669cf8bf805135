//! Several brokers, and brokers that are not there yet.

use std::time::Duration;

use mqttx::{EventName, QoS, SessionStatus, Version};

use crate::support::*;

both_versions! {
    async fn the_next_broker_takes_over_with_what_was_unfinished(version: Version) {
        let (mut first, second) = (broker!(), broker!());
        let (_one, observer) = ready(options("observer", &second.url(), version)).await;
        let mut messages = observer.route("t").qos(QoS::ExactlyOnce).listen().unwrap();
        observer.wait_ready(PATIENCE).await.unwrap();
        let (manager, session) =
            ready(persistent("s", &first.url(), version).broker(second.url())).await;
        let mut own = session.listen("own").unwrap();
        session.wait_ready(PATIENCE).await.unwrap();

        first.kill();
        until(&manager, "disconnected", || !session.is_connected()).await;
        let mut deliveries = Vec::new();
        for i in 0..100 {
            let qos = if i % 2 == 0 { QoS::AtLeastOnce } else { QoS::ExactlyOnce };
            deliveries.push(session.try_publish(numbered("t", i, qos)).unwrap());
        }
        for delivery in deliveries {
            delivery.await.unwrap();
        }
        session.publish("t", "end", QoS::ExactlyOnce, false).await.unwrap();
        let mut arrived = numbers_until(&mut messages, "end").await;
        arrived.sort_unstable();
        assert!(arrived.iter().copied().eq(0..100), "{arrived:?}");
        // Its subscriptions moved with it.
        session.wait_ready(PATIENCE).await.unwrap();
        publish(&second.url(), "own", "here", false).await;
        assert_eq!(text(&mut own).await, "here");
    }

    async fn a_broker_that_comes_late_is_found(version: Version) {
        let mut broker = broker!();
        broker.kill();
        let (manager, session) = start(options("s", &broker.url(), version));
        let mut messages = session.listen("t").unwrap();
        let delivery = session.try_publish(numbered("t", 7, QoS::AtLeastOnce)).unwrap();
        let patient = || matches!(session.status(), SessionStatus::Reconnecting { attempt } if attempt > 2);
        until(&manager, "trying again", patient).await;
        assert!(session.last_error().unwrap().is_temporary());
        assert!(session.wait_ready(Duration::ZERO).await.unwrap_err().is_timeout());
        broker.restart().await;
        delivery.await.unwrap();
        // Either the subscription or the message came first.
        session.wait_ready(PATIENCE).await.unwrap();
        session.publish("t", "8", QoS::AtLeastOnce, false).await.unwrap();
        while text(&mut messages).await != "8" {}
    }

    async fn a_wrong_port_in_the_list_costs_one_attempt(version: Version) {
        let (mut wrong, right) = (broker!(), broker!());
        wrong.kill();
        let (manager, session) =
            start(options("s", &wrong.url(), version).broker(right.url()));
        let mut events = manager.events();
        session.wait_ready(PATIENCE).await.unwrap();
        event(&mut events, EventName::SessionReady).await;
        let metrics = session.metrics();
        assert_eq!((metrics.errors, metrics.reconnects), (1, 0));
        assert!(session.last_error().is_none(), "it is over");
    }
}

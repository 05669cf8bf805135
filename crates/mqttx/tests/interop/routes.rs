//! Which route gets what.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use mqttx::{QoS, Version};
use mqttx_test::Mosquitto;

use crate::support::*;

#[tokio::test]
async fn overlapping_filters_with_identifiers_bring_each_route_each_message_once() {
    in_time(async {
        let broker = broker!();
        let (_manager, session) = ready(options("s", &broker.url(), Version::V5)).await;
        assert!(session.limits().unwrap().subscription_identifiers);
        let filters = ["a/#", "a/+", "a/b", "#", "+/b"];
        let mut streams: Vec<_> = filters
            .iter()
            .map(|filter| session.route(filter).qos(QoS::ExactlyOnce).listen().unwrap())
            .collect();
        let mut twin = session.route("a/b").qos(QoS::ExactlyOnce).listen().unwrap();
        session.wait_ready(PATIENCE).await.unwrap();
        for qos in ALL_QOS {
            for i in 0..50 {
                session.publish_message(numbered("a/b", i, qos)).await.unwrap();
            }
            session.publish("a/b", "end", qos, false).await.unwrap();
            for stream in streams.iter_mut().chain([&mut twin]) {
                let arrived = numbers_until(stream, "end").await;
                let filter = stream.route().filter();
                assert!(arrived.iter().copied().eq(0..50), "{filter} {qos:?}: {arrived:?}");
            }
        }
        assert_eq!(session.metrics().dropped.total(), 0);
    })
    .await;
}

#[tokio::test]
async fn overlapping_filters_without_copies_bring_each_route_each_message_once() {
    in_time(async {
        // One copy for all filters of a client, as servers of MQTT 3.1.1 may.
        let broker = broker!(Mosquitto::builder().line("allow_duplicate_messages false"));
        let (_manager, session) = ready(options("s", &broker.url(), Version::V311)).await;
        let mut streams: Vec<_> =
            ["a/#", "a/+", "a/b"].iter().map(|filter| session.listen(filter).unwrap()).collect();
        session.wait_ready(PATIENCE).await.unwrap();
        // It is acknowledged when the last of them is done.
        for i in 0..50 {
            session.publish_message(numbered("a/b", i, QoS::AtLeastOnce)).await.unwrap();
            for stream in &mut streams {
                assert_eq!(text(stream).await, i.to_string());
            }
        }
    })
    .await;
}

both_versions! {
    async fn a_shared_subscription_gives_each_message_to_one_session(version: Version) {
        let broker = broker!();
        let (manager, one) = ready(options("one", &broker.url(), version)).await;
        let two = add(&manager, options("two", &broker.url(), version));
        let (seen, mut arrived) = tokio::sync::mpsc::unbounded_channel();
        let counts = [(); 2].map(|()| Arc::new(AtomicUsize::new(0)));
        let mut routes = Vec::new();
        for (session, count) in [&one, &two].into_iter().zip(&counts) {
            let (seen, count) = (seen.clone(), Arc::clone(count));
            let route = session.route("$share/group/t/+").handle_async(move |message| {
                count.fetch_add(1, Ordering::Relaxed);
                seen.send(number(message.payload())).unwrap();
                std::future::ready(())
            });
            routes.push(route.unwrap());
        }
        // With 3.1.1 the copies for two filters of one session cannot be told apart.
        let three = add(&manager, options("three", &broker.url(), version));
        let observer = if version == Version::V5 { &two } else { &three };
        let (tell, mut everything) = tokio::sync::mpsc::unbounded_channel();
        let plain = observer.handle_async("t/+", move |message| {
            tell.send(number(message.payload())).unwrap();
            std::future::ready(())
        });
        routes.push(plain.unwrap());
        manager.wait_for_all_sessions(PATIENCE).await.unwrap();
        for i in 0..200 {
            drop(one.enqueue(numbered("t/x", i, QoS::AtLeastOnce)).await.unwrap());
        }
        let mut numbers = Vec::new();
        while numbers.len() < 200 {
            numbers.push(arrived.recv().await.unwrap());
        }
        numbers.sort_unstable();
        assert!(numbers.iter().copied().eq(0..200), "{numbers:?}");
        assert!(counts.iter().all(|count| count.load(Ordering::Relaxed) > 0), "{counts:?}");
        one.publish("t/x", "200", QoS::AtLeastOnce, false).await.unwrap();
        assert_eq!(arrived.recv().await, Some(200));
        // Who subscribes without a group as well gets everything.
        for i in 0..=200 {
            assert_eq!(everything.recv().await, Some(i));
        }
    }

    async fn a_route_over_all_sessions_hears_each_of_them(version: Version) {
        let broker = broker!();
        let manager = mqttx::SessionManager::new();
        let mut everything = manager.listen("t/#").unwrap();
        for name in ["a", "b", "c"] {
            add(&manager, options(name, &broker.url(), version));
        }
        manager.wait_for_all_sessions(PATIENCE).await.unwrap();
        publish(&broker.url(), "t/x", "hello", false).await;
        let mut names = Vec::new();
        for _ in 0..3 {
            names.push(next(&mut everything).await.session().to_owned());
        }
        names.sort_unstable();
        assert_eq!(names, ["a", "b", "c"]);
    }
}

#[tokio::test]
async fn no_local_keeps_our_own_messages_away() {
    in_time(async {
        let broker = broker!();
        let (_manager, session) = ready(options("s", &broker.url(), Version::V5)).await;
        let mut others = session.route("t").no_local(true).listen().unwrap();
        session.wait_ready(PATIENCE).await.unwrap();
        session.publish("t", "ours", QoS::AtLeastOnce, false).await.unwrap();
        publish(&broker.url(), "t", "theirs", false).await;
        assert_eq!(text(&mut others).await, "theirs");
    })
    .await;
}

//! WebSocket and Unix sockets of a real broker.

use mqttx::{QoS, SessionManager, Version, Will};
use mqttx_test::{Mosquitto, MosquittoBuilder, TempDir, free_address};

use crate::support::*;

/// A broker that listens in three ways.
struct Reachable {
    broker: Mosquitto,
    urls: [String; 2],
    _directory: TempDir,
}

async fn reachable(builder: MosquittoBuilder) -> Option<Reachable> {
    let directory = TempDir::new("mosquitto-socket");
    let socket = directory.path().join("s");
    let port = free_address().port();
    let broker = builder
        .line(&format!("listener 0 {}", socket.display()))
        .line(&format!("listener {port} 127.0.0.1"))
        .line("protocol websockets")
        .start()
        .await?;
    let urls = [format!("ws://127.0.0.1:{port}/mqtt"), format!("unix://{}", socket.display())];
    Some(Reachable { broker, urls, _directory: directory })
}

both_versions! {
    async fn payloads_arrive_unchanged_at_every_qos_over_websocket_and_unix_sockets(version: Version) {
        let Some(way) = reachable(Mosquitto::builder()).await else { return };
        for url in &way.urls {
            let (_one, publisher) = ready(options("publisher", url, version)).await;
            let (_two, subscriber) = ready(options("subscriber", url, version)).await;
            let mut messages = subscriber.route("t/+").qos(QoS::ExactlyOnce).listen().unwrap();
            subscriber.wait_ready(PATIENCE).await.unwrap();
            // Over WebSocket Mosquitto 2.0.11 sends the rest of what its socket did not take at once at 40 kB a second.
            let largest = if url.starts_with("ws") { 10_000 } else { 1 << 20 };
            for qos in ALL_QOS {
                for size in [0, 1, 118, 126, 127, 1024, largest] {
                    let payload: Vec<u8> = (0..size).map(|i: u32| (i * 7 % 251) as u8).collect();
                    publisher.publish("t/x", payload.clone(), qos, false).await.unwrap();
                    let message = next(&mut messages).await;
                    assert!(message.payload() == payload, "{size} bytes at {qos:?} over {url}");
                    assert_eq!(message.qos(), qos);
                }
            }
            let mut deliveries = Vec::new();
            for i in 0..1000 {
                let message = numbered("t/x", i, QoS::ExactlyOnce);
                deliveries.push(publisher.enqueue(message).await.unwrap());
            }
            publisher.publish("t/x", "end", QoS::ExactlyOnce, false).await.unwrap();
            let arrived = numbers_until(&mut messages, "end").await;
            assert!(arrived.iter().copied().eq(0..1000), "{url}: {arrived:?}");
            for delivery in deliveries {
                delivery.await.unwrap();
            }
        }
    }

    async fn a_session_goes_on_after_a_restart_of_its_broker(version: Version) {
        let builder = Mosquitto::builder().persistence(true);
        let Some(mut way) = reachable(builder).await else { return };
        let manager = SessionManager::new();
        let mut sessions = Vec::new();
        for (n, url) in way.urls.iter().enumerate() {
            let session = add(&manager, persistent(&format!("session-{n}"), url, version));
            let topic = format!("t/{n}");
            let messages = session.route(&topic).qos(QoS::ExactlyOnce).listen().unwrap();
            session.wait_ready(PATIENCE).await.unwrap();
            sessions.push((session, topic, messages));
        }
        let mut deliveries = Vec::new();
        for (session, topic, _) in &sessions {
            for i in 0..300 {
                deliveries.push(session.try_publish(numbered(topic, i, QoS::ExactlyOnce)).unwrap());
            }
        }
        way.broker.stop().await;
        way.broker.restart().await;
        for delivery in deliveries {
            delivery.await.unwrap();
        }
        for (session, topic, messages) in &mut sessions {
            session.publish(&*topic, "end", QoS::ExactlyOnce, false).await.unwrap();
            let arrived = numbers_until(messages, "end").await;
            assert!(arrived.iter().copied().eq(0..300), "{topic}: {arrived:?}");
        }
    }

    async fn a_will_is_published_when_the_connection_ends_without_a_word(version: Version) {
        let Some(way) = reachable(Mosquitto::builder()).await else { return };
        let (_manager, observer) = ready(options("observer", &way.broker.url(), version)).await;
        let mut wills = observer.listen("state/+").unwrap();
        observer.wait_ready(PATIENCE).await.unwrap();
        for url in &way.urls {
            let will = Will::new("state/plant", url.clone());
            let options = options("plant", url, version).will(will);
            // The runtime takes the session's task down with it, as the end of a process does.
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()
                .unwrap();
            let plant = runtime.spawn(ready(options)).await.unwrap();
            runtime.shutdown_background();
            assert_eq!(text(&mut wills).await, *url);
            drop(plant);
        }
        for url in &way.urls {
            let (manager, plant) = ready(options("plant", url, version).will(Will::new("state/x", "gone"))).await;
            plant.disconnect().await;
            publish(&way.broker.url(), "state/x", "marker", false).await;
            assert_eq!(text(&mut wills).await, "marker", "DISCONNECT takes the will back over {url}");
            drop(manager);
        }
    }
}

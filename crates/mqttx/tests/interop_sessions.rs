//! Sessions against Mosquitto: feedback, handlers that do everything, brokers that come and go.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mqttx::{
    Backoff, Delivery, Outbox, Publish, QoS, Route, Session, SessionBuilder, SessionManager,
    SessionOptions, Version,
};
use mqttx_test::Mosquitto;
use tokio::runtime::Handle;
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(30);

fn options(name: &str, broker: &Mosquitto, version: Version) -> SessionBuilder {
    SessionOptions::quick_connect(name, broker.url())
        .protocol(version)
        .client_id(name)
        .reconnect(Backoff::new(Duration::from_millis(20), Duration::from_millis(200)))
}

/// As little room as there can be.
fn narrow(builder: SessionBuilder) -> SessionBuilder {
    let outbox = Outbox { messages: Some(1), ..Outbox::default() };
    builder.outbox(outbox).message_channel_size(1).max_in_flight(1)
}

fn add(manager: &SessionManager, builder: SessionBuilder) -> Session {
    manager.add_session(builder.build().expect("valid")).expect("a session")
}

/// `from` passes everything on topic `from_topic` on to `to`, from inside its handler.
fn feed(
    from: &Session,
    from_topic: &str,
    to: &Session,
    to_topic: &'static str,
    hops: &Arc<AtomicUsize>,
) -> Route {
    let (to, hops, runtime) = (to.clone(), Arc::clone(hops), Handle::current());
    let handler = move |message: &mqttx::Message| {
        hops.fetch_add(1, Ordering::Relaxed);
        let next = to.publish(to_topic, message.payload_bytes(), QoS::AtLeastOnce, false);
        // Fails when the test is over.
        let _ = runtime.block_on(next);
    };
    from.route(from_topic).capacity(1).handle(handler).expect("a route")
}

async fn sessions_feed_each_other(version: Version) {
    // Otherwise Nagle's algorithm and delayed acknowledgements make each hop take 40 ms.
    let builder = Mosquitto::builder().line("set_tcp_nodelay true");
    let Some(broker) = builder.start().await else { return };
    let manager = SessionManager::new();
    let one = add(&manager, narrow(options("one", &broker, version)));
    let two = add(&manager, narrow(options("two", &broker, version)));
    let hops = Arc::new(AtomicUsize::new(0));
    let _routes = [feed(&one, "a", &two, "b", &hops), feed(&two, "b", &one, "a", &hops)];
    manager.wait_for_all_sessions(SOON).await.expect("ready");
    let seeds = add(&manager, options("seeds", &broker, version));
    for n in 0..100 {
        let seed = seeds.publish("a", format!("{n}"), QoS::AtLeastOnce, false);
        timeout(SOON, seed).await.expect("no deadlock").expect("acknowledged");
    }
    let all = async {
        while hops.load(Ordering::Relaxed) < 3000 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(SOON, all).await.unwrap_or_else(|_| {
        panic!(
            "stuck after {} hops: {:?} {:?}",
            hops.load(Ordering::Relaxed),
            one.metrics(),
            two.metrics()
        )
    });
    assert_eq!(one.metrics().reconnects + two.metrics().reconnects, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_narrow_sessions_feed_each_other_without_end() {
    sessions_feed_each_other(Version::V5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_narrow_sessions_of_3_1_1_feed_each_other_without_end() {
    sessions_feed_each_other(Version::V311).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_may_do_everything_with_its_own_session() {
    let Some(broker) = Mosquitto::builder().start().await else { return };
    let manager = SessionManager::new();
    let session = add(&manager, narrow(options("s", &broker, Version::V5)));
    let route = Arc::new(Mutex::new(None::<Route>));
    let (sender, mut done) = tokio::sync::mpsc::channel(1);
    let (inner, own, all, runtime) =
        (session.clone(), Arc::clone(&route), manager.clone(), Handle::current());
    let handler = move |_: &mqttx::Message| {
        runtime.block_on(async {
            inner.publish("elsewhere", "1", QoS::ExactlyOnce, false).await.expect("published");
            inner.subscribe("more/#", QoS::AtLeastOnce).await.expect("subscribed");
            inner.unsubscribe("more/#").await.expect("unsubscribed");
            drop(own.lock().expect("no panic").take());
            all.remove_session("s").await.expect("removed");
        });
        sender.try_send(()).expect("a listener");
    };
    *route.lock().expect("no panic") =
        Some(session.route("go").capacity(1).handle(handler).expect("a route"));
    session.wait_ready(SOON).await.expect("ready");
    let trigger = session.publish("go", "", QoS::AtLeastOnce, false);
    timeout(SOON, trigger).await.expect("no deadlock").expect("acknowledged");
    timeout(SOON, done.recv()).await.expect("no deadlock").expect("done");
    assert!(manager.sessions().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_delivery_resolves_while_brokers_come_and_go() {
    let Some(mut broker) = Mosquitto::builder().start().await else { return };
    let manager = SessionManager::new();
    let sessions: Vec<_> = (0..100)
        .map(|n| {
            let version = if n % 2 == 0 { Version::V5 } else { Version::V311 };
            add(&manager, options(&format!("s{n}"), &broker, version).persistent(true))
        })
        .collect();
    let mut deliveries: Vec<Delivery> = Vec::new();
    for round in 0..4 {
        for session in &sessions {
            for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
                let message = Publish::new("t", format!("{round}")).qos(qos);
                deliveries.push(session.enqueue(message).await.expect("room"));
            }
        }
        broker.kill();
        tokio::time::sleep(Duration::from_millis(50)).await;
        broker.restart().await;
    }
    manager.wait_for_all_sessions(SOON).await.expect("all are back");
    for delivery in deliveries {
        let outcome = timeout(SOON, delivery).await.expect("none hangs");
        if let Err(error) = outcome {
            assert_eq!(error.code(), "publish.connection_lost", "only QoS 0 may be lost: {error}");
        }
    }
}

//! Sessions that come and go: from event handlers, at shutdown, with the manager.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use mqttx::{
    Delivery, ErrorKind, EventName, Publish, QoS, Session, SessionManager, SessionStatus, Version,
};
use tokio::runtime::Handle;
use tokio::sync::mpsc::unbounded_channel;

use crate::broker::{Broker, Conduct};
use crate::{LONG, VERSIONS, on_both_runtimes, options, tight};

/// Every state in which a message may be: in flight, queued, and waiting for room.
async fn unfinished(session: &Session) -> Vec<Delivery> {
    let message = |qos| Publish::new("t", "x").qos(qos);
    let mut deliveries = Vec::new();
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce, QoS::AtLeastOnce] {
        deliveries.push(session.enqueue(message(qos)).await.unwrap());
    }
    deliveries
}

async fn all_closed(deliveries: Vec<Delivery>) {
    for delivery in deliveries {
        assert_eq!(delivery.await.unwrap_err().kind(), ErrorKind::Closed);
    }
}

#[test]
fn a_removed_session_leaves_nobody_waiting() {
    on_both_runtimes("removal", async || {
        for version in VERSIONS {
            for up in [true, false] {
                removal(version, up).await;
            }
        }
    });
}

async fn removal(version: Version, up: bool) {
    let broker = Broker::start(Conduct::default());
    broker.withhold_acks(true);
    let manager = SessionManager::new();
    let options = options("s", &broker, version).max_pending(3).max_in_flight(1);
    let session = manager.add_session(options.build().unwrap()).unwrap();
    session.wait_ready(LONG).await.unwrap();
    if !up {
        broker.accept(false);
        broker.cut_all();
        broker.until("nobody is connected", |b| b.clients() == 0).await;
    }
    let deliveries = unfinished(&session).await;
    let blocked = {
        let session = session.clone();
        tokio::spawn(async move { session.publish("t", "x", QoS::AtMostOnce, false).await })
    };
    let flushing = {
        let session = session.clone();
        tokio::spawn(async move { session.flush(LONG).await })
    };
    let mut stream = session.listen("t").unwrap();
    let subscribing = {
        let session = session.clone();
        tokio::spawn(async move { session.subscribe("more", QoS::AtMostOnce).await })
    };
    tokio::task::yield_now().await;
    manager.remove_session("s").await.unwrap();
    all_closed(deliveries).await;
    assert_eq!(blocked.await.unwrap().unwrap_err().error().kind(), ErrorKind::Closed);
    assert_eq!(flushing.await.unwrap().unwrap_err().kind(), ErrorKind::Closed);
    // The server may have answered before.
    if let Err(error) = subscribing.await.unwrap() {
        assert_eq!(error.kind(), ErrorKind::Closed);
    }
    assert!(stream.next().await.is_none());
    assert_eq!(session.status(), SessionStatus::Stopped);
    assert!(manager.shutdown(LONG).await.clean);
}

#[test]
fn shutdown_keeps_its_deadline_whatever_is_left() {
    on_both_runtimes("a shutdown", async || {
        for version in VERSIONS {
            let broker = Broker::start(Conduct::default());
            let manager = SessionManager::new();
            let [held, free, down] = ["held", "free", "down"].map(|name| {
                let options = options(name, &broker, version).max_pending(3).max_in_flight(1);
                manager.add_session(options.build().unwrap()).unwrap()
            });
            manager.wait_for_all_sessions(LONG).await.unwrap();
            free.publish("t", "x", QoS::AtLeastOnce, false).await.unwrap();
            down.disconnect().await;
            broker.withhold_acks(true);
            let mut deliveries = unfinished(&held).await;
            deliveries.extend(unfinished(&down).await);
            let start = tokio::time::Instant::now();
            let report = manager.shutdown(Duration::from_millis(200)).await;
            assert!(start.elapsed() >= Duration::from_millis(200));
            assert!(start.elapsed() < LONG / 3, "{:?}", start.elapsed());
            assert_eq!((report.clean, report.unacknowledged), (false, 6));
            assert_eq!(report.unfinished, ["down", "held"]);
            all_closed(deliveries).await;
            broker.until("nobody is connected", |b| b.clients() == 0).await;
        }
    });
}

#[test]
fn dropping_the_manager_leaves_nobody_waiting() {
    on_both_runtimes("a dropped manager", async || {
        let broker = Broker::start(Conduct::default());
        broker.withhold_acks(true);
        let manager = SessionManager::new();
        let sessions = VERSIONS.map(|version| {
            let name = format!("{version:?}");
            manager.add_session(options(&name, &broker, version).build().unwrap()).unwrap()
        });
        let mut events = manager.events_matching(EventName::SessionDisconnected);
        let mut deliveries = Vec::new();
        for session in &sessions {
            session.wait_ready(LONG).await.unwrap();
            deliveries.extend(unfinished(session).await);
        }
        drop(manager);
        all_closed(deliveries).await;
        while events.next().await.is_some() {}
        broker.until("nobody is connected", |b| b.clients() == 0).await;
    });
}

/// Each session that is ready is replaced by another one, by the handler that heard of it.
#[test]
fn event_handlers_may_add_remove_and_wait_for_sessions() {
    on_both_runtimes("an event handler", async || {
        for blocking in [true, false] {
            chain(blocking).await;
        }
    });
}

async fn chain(blocking: bool) {
    const LINKS: usize = 10;
    let broker = Arc::new(Broker::start(Conduct::default()));
    let manager = SessionManager::builder().event_capacity(1).build();
    let (done, mut finished) = unbounded_channel();
    let count = Arc::new(AtomicUsize::new(0));
    let (inner, place) = (manager.clone(), Arc::clone(&broker));
    let replace = move |name: String| {
        let (manager, broker) = (inner.clone(), Arc::clone(&place));
        let (done, count) = (done.clone(), Arc::clone(&count));
        async move {
            if name == "last" {
                return;
            }
            manager.wait_for_session(&name, LONG).await.unwrap();
            let n = count.fetch_add(1, SeqCst) + 1;
            let next = if n == LINKS { "last".to_owned() } else { format!("link-{n}") };
            let next = tight(&next, &broker, Version::V5).build().unwrap();
            let next = manager.add_session(next).unwrap();
            next.wait_ready(LONG).await.unwrap();
            next.publish("t", "x", QoS::AtLeastOnce, false).await.unwrap();
            let route = manager.handle("#", |_| {}).unwrap();
            manager.remove_session(&name).await.unwrap();
            drop(route);
            if n == LINKS {
                done.send(()).unwrap();
            }
        }
    };
    let handler = if blocking {
        let runtime = Handle::current();
        manager.on_event(EventName::SessionReady, move |event| {
            runtime.block_on(replace(event.session.as_deref().unwrap().to_owned()));
        })
    } else {
        manager.on_event_async(EventName::SessionReady, move |event| {
            replace(event.session.as_deref().unwrap().to_owned())
        })
    };
    let handler = handler.unwrap();
    manager.add_session(tight("link-0", &broker, Version::V5).build().unwrap()).unwrap();
    finished.recv().await.unwrap();
    assert_eq!(manager.sessions(), ["last"], "blocking: {blocking}");
    drop(handler);
    assert!(manager.shutdown(LONG).await.clean);
}

/// A shutdown from inside a handler waits for the handler until its deadline, and no longer.
#[test]
fn a_handler_may_shut_its_manager_down() {
    on_both_runtimes("a shutdown by a handler", async || {
        let broker = Broker::start(Conduct::default());
        let manager = SessionManager::new();
        let session = options("s", &broker, Version::V5).build().unwrap();
        let session = manager.add_session(session).unwrap();
        let (done, mut reports) = unbounded_channel();
        let inner = manager.clone();
        let route = session.handle_async("in", move |_| {
            let (manager, done) = (inner.clone(), done.clone());
            async move {
                let _ = done.send(manager.shutdown(Duration::from_millis(100)).await);
            }
        });
        let _route = route.unwrap();
        session.wait_ready(LONG).await.unwrap();
        session.publish("in", "x", QoS::AtLeastOnce, false).await.unwrap();
        let report = reports.recv().await.unwrap();
        assert_eq!(report.unfinished, ["s"], "its own message is not done");
        assert!(session.try_publish(Publish::new("t", "x")).is_err());
    });
}

/// A message that no route wants stays with the server; what was handled behind it does not make the
/// session wait.
#[test]
fn shutdown_does_not_wait_for_a_message_that_nobody_handles() {
    on_both_runtimes("a shutdown with an unrouted message", async || {
        for version in VERSIONS {
            let broker = Broker::start(Conduct::default());
            let manager = SessionManager::new();
            let session = options("s", &broker, version).subscribe("unrouted", QoS::AtLeastOnce);
            let session = manager.add_session(session.build().unwrap()).unwrap();
            let mut stream = session.listen("in").unwrap();
            session.wait_ready(LONG).await.unwrap();
            for topic in ["unrouted", "in"] {
                session.publish(topic, "x", QoS::AtLeastOnce, false).await.unwrap();
            }
            stream.next().await.unwrap();
            drop(stream);
            let report = manager.shutdown(LONG).await;
            assert!(report.clean, "{report:?}");
            assert!(report.elapsed < Duration::from_secs(5), "{report:?}");
            assert_eq!(broker.unacknowledged_by("s"), 2);
        }
    });
}

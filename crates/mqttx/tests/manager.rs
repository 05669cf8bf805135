//! The manager from outside: names, routes over all sessions, events that call back, the end.

#[expect(dead_code, reason = "each of the tests uses a part of the broker")]
mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mqttx::{
    ErrorKind, EventFilter, EventKind, EventName, Publish, QoS, SessionBuilder, SessionManager,
    SessionOptions, SessionStatus,
};
use support::Broker;
use tokio::sync::mpsc::unbounded_channel;

const LONG: Duration = Duration::from_secs(20);

fn options(name: &str, broker: &Broker) -> SessionBuilder {
    SessionOptions::quick_connect(name, broker.url()).client_id(name)
}

fn add(manager: &SessionManager, name: &str, broker: &Broker) -> mqttx::Session {
    manager.add_session(options(name, broker).build().unwrap()).unwrap()
}

/// A session that never tries to connect.
fn idle(name: &str) -> SessionOptions {
    SessionOptions::quick_connect(name, "127.0.0.1:1").manual_connect(true).build().unwrap()
}

#[tokio::test]
async fn unknown_names_are_errors_that_list_near_ones() {
    let manager = SessionManager::new();
    assert!(manager.session("plant").unwrap_err().to_string().contains("there is none"));
    for name in ["plant", "plant-2", "cloud"] {
        manager.add_session(idle(name)).unwrap();
    }
    assert_eq!(manager.sessions(), ["cloud", "plant", "plant-2"]);
    assert!(manager.statuses().values().all(|s| *s == SessionStatus::Stopped));
    let error = manager.session("plnat").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Session);
    assert_eq!(error.session(), Some("plnat"));
    assert!(error.to_string().contains("did you mean 'plant'?"), "{error}");
    for text in [
        manager.remove_session("cluod").await.unwrap_err().to_string(),
        manager.wait_for_session("cluod", LONG).await.unwrap_err().to_string(),
        manager.listen_to("cluod", "t").unwrap_err().to_string(),
        manager.handle_to("cluod", "t", |_| {}).unwrap_err().to_string(),
        manager.subscribe_to("cluod", "t", QoS::AtMostOnce).await.unwrap_err().to_string(),
        manager.unsubscribe_to("cluod", "t").await.unwrap_err().to_string(),
    ] {
        assert!(text.contains("'cloud'"), "{text}");
    }
    let refused = manager.publish_to("cluod", "t", "kept", QoS::AtMostOnce, true).await;
    let refused = refused.unwrap_err();
    assert!(refused.error().to_string().contains("'cloud'"));
    assert_eq!(refused.into_message(), Publish::new("t", "kept").retain(true));
}

#[tokio::test]
async fn a_name_can_be_taken_once_and_again_after_removal() {
    let manager = SessionManager::new();
    manager.add_session(idle("a")).unwrap();
    let error = manager.add_session(idle("a")).unwrap_err();
    assert_eq!(error.session(), Some("a"));
    manager.remove_session("a").await.unwrap();
    manager.add_session(idle("a")).unwrap();
}

#[test]
fn adding_outside_a_runtime_is_an_error_that_says_so() {
    let error = SessionManager::new().add_session(idle("a")).unwrap_err();
    assert!(error.to_string().contains("Tokio runtime"), "{error}");
}

#[tokio::test]
async fn a_route_over_all_sessions_serves_those_added_later_and_leaves_none_behind() {
    let broker = Broker::start().await;
    let manager = SessionManager::new();
    add(&manager, "early", &broker);
    let mut messages = manager.listen("t/+").unwrap();
    add(&manager, "late", &broker);
    manager.wait_for_all_sessions(LONG).await.unwrap();
    let both = |b: &Broker| ["early", "late"].iter().all(|name| b.filters(name) == ["t/+"]);
    broker.until(both).await;

    manager.publish_to("late", "t/1", "hello", QoS::AtLeastOnce, false).await.unwrap();
    let mut sessions = Vec::new();
    for _ in 0..2 {
        let message = messages.next().await.unwrap();
        assert_eq!((message.topic(), message.payload()), ("t/1", &b"hello"[..]));
        sessions.push(message.session().to_owned());
    }
    sessions.sort();
    assert_eq!(sessions, ["early", "late"]);
    assert_eq!(messages.route().session(), None);

    manager.remove_session("early").await.unwrap();
    manager.publish_to("late", "t/2", "again", QoS::AtLeastOnce, false).await.unwrap();
    assert_eq!(messages.next().await.unwrap().payload(), b"again");
    drop(messages);
    broker.until(|b| b.filters("late").is_empty()).await;
}

#[tokio::test]
async fn two_routes_on_one_filter_share_a_subscription_and_the_last_to_leave_ends_it() {
    let broker = Broker::start().await;
    let manager = SessionManager::new();
    let session = add(&manager, "s", &broker);
    let mut one = session.listen("t").unwrap();
    let mut two = session.listen("t").unwrap();
    session.wait_ready(LONG).await.unwrap();
    session.publish("t", "1", QoS::AtLeastOnce, false).await.unwrap();
    assert_eq!(one.next().await.unwrap().payload(), b"1");
    assert_eq!(two.next().await.unwrap().payload(), b"1");
    drop(one);
    session.publish("t", "2", QoS::AtLeastOnce, false).await.unwrap();
    assert_eq!(two.next().await.unwrap().payload(), b"2");
    assert_eq!(broker.filters("s"), ["t"]);
    drop(two);
    broker.until(|b| b.filters("s").is_empty()).await;
}

#[tokio::test]
async fn publishing_and_subscribing_everywhere_gives_a_result_for_each_session() {
    let broker = Broker::start().await;
    let manager = SessionManager::new();
    for name in ["a", "b", "c"] {
        add(&manager, name, &broker);
    }
    manager.wait_for_all_sessions(LONG).await.unwrap();
    let names = |results: &[String]| assert_eq!(results, ["a", "b", "c"]);
    let subscribed = manager.subscribe_all("t", QoS::AtLeastOnce).await;
    assert!(subscribed.iter().all(|(_, r)| r.is_ok()));
    names(&subscribed.into_iter().map(|(name, _)| name).collect::<Vec<_>>());
    assert_eq!(broker.filters("b"), ["t"]);
    let published = manager.publish_to_all(Publish::new("x", "1").qos(QoS::AtLeastOnce)).await;
    assert!(published.iter().all(|(_, r)| r.is_ok()));
    names(&published.into_iter().map(|(name, _)| name).collect::<Vec<_>>());
    let metrics = manager.metrics();
    assert_eq!((metrics.sessions, metrics.connected, metrics.messages_sent), (3, 3, 3));
    manager.unsubscribe_all("t").await;
    assert!(broker.filters("b").is_empty());
    manager.disconnect_all().await;
    assert!(manager.statuses().values().all(|s| *s == SessionStatus::Disconnected));
    manager.connect_all();
    manager.wait_for_all_sessions(LONG).await.unwrap();
}

#[tokio::test]
async fn waiting_for_all_names_those_that_are_not_ready() {
    let broker = Broker::start().await;
    let manager = SessionManager::new();
    add(&manager, "good", &broker);
    manager.wait_for_session("good", LONG).await.unwrap();
    manager.add_session(idle("idle")).unwrap();
    let error = manager.wait_for_all_sessions(Duration::from_millis(300)).await.unwrap_err();
    assert!(error.is_timeout());
    let text = error.to_string();
    assert!(text.contains("idle") && !text.contains("good"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn event_handlers_may_add_remove_and_wait_for_sessions() {
    let broker = Arc::new(Broker::start().await);
    let manager = SessionManager::new();
    let (done, mut steps) = unbounded_channel();

    let (inner, place, report) = (manager.clone(), Arc::clone(&broker), done.clone());
    let blocking = manager
        .on_event(EventFilter::from(EventName::SessionReady).session("first"), move |event| {
            let runtime = tokio::runtime::Handle::current();
            add(&inner, "second", &place);
            runtime.block_on(inner.wait_for_session("second", LONG)).unwrap();
            runtime.block_on(inner.remove_session(event.session.as_deref().unwrap())).unwrap();
            report.send("blocking").unwrap();
        })
        .unwrap();
    let inner = manager.clone();
    let awaiting = manager
        .on_event_async(EventName::SessionRemoved, move |event| {
            let (inner, report) = (inner.clone(), done.clone());
            async move {
                if event.session.as_deref() == Some("first") {
                    inner.remove_session("second").await.unwrap();
                    inner.add_session(idle("third")).unwrap();
                    report.send("async").unwrap();
                }
            }
        })
        .unwrap();

    add(&manager, "first", &broker);
    let mut seen = [steps.recv().await.unwrap(), steps.recv().await.unwrap()];
    seen.sort_unstable();
    assert_eq!(seen, ["async", "blocking"]);
    assert_eq!(manager.sessions(), ["third"]);
    drop((blocking, awaiting));
}

#[tokio::test]
async fn a_session_tells_its_life_in_events() {
    let broker = Broker::start().await;
    let manager = SessionManager::new();
    let mut events = manager.events();
    add(&manager, "s", &broker);
    manager.wait_for_session("s", LONG).await.unwrap();
    manager.remove_session("s").await.unwrap();
    let mut names = Vec::new();
    while let Some(event) = events.next().await {
        assert_eq!(event.session.as_deref(), Some("s"));
        names.push(event.name().as_str());
        if event.name() == EventName::SessionRemoved {
            break;
        }
    }
    let order = [
        "session_added",
        "session_connecting",
        "session_connected",
        "session_ready",
        "session_disconnected",
        "session_removed",
    ];
    let mut seen = names.iter().filter(|name| order.contains(name));
    assert!(order.iter().all(|name| seen.next() == Some(name)), "{names:?}");
    assert!(names.contains(&"session_state_changed"), "{names:?}");
}

#[tokio::test]
async fn shutdown_finishes_what_was_accepted() {
    let broker = Broker::start().await;
    let manager = SessionManager::new();
    let session = add(&manager, "s", &broker);
    let mut events = manager.events();
    let mut deliveries = Vec::new();
    for i in 0..100 {
        let message = Publish::new("t", i.to_string()).qos(QoS::AtLeastOnce);
        deliveries.push(session.try_publish(message).unwrap());
    }
    let report = manager.shutdown(LONG).await;
    assert!(report.clean, "{report:?}");
    assert_eq!((report.sessions, report.unacknowledged), (1, 0));
    for delivery in deliveries {
        delivery.await.unwrap();
    }
    let mut last = None;
    while let Some(event) = events.next().await {
        last = Some(event.name());
    }
    assert_eq!(last, Some(EventName::SessionRemoved), "then the streams end");
    assert_eq!(manager.add_session(idle("x")).unwrap_err().kind(), ErrorKind::Closed);
    assert!(manager.listen("t").is_err());
    assert!(manager.shutdown(LONG).await.clean, "a second one finds nothing to do");
}

/// Whoever waits for what a handler has captured waits for the end of its route.
#[tokio::test]
async fn routes_over_all_sessions_end_with_the_manager() {
    for graceful in [true, false] {
        let broker = Broker::start().await;
        let manager = SessionManager::new();
        let session = add(&manager, "s", &broker);
        let (captured, mut gone) = unbounded_channel::<()>();
        let [inline, blocking, waiting] = [(); 3].map(|()| captured.clone());
        manager.route("t").inline(move |_| inline.send(()).unwrap()).unwrap().detach();
        manager.handle("t", move |_| blocking.send(()).unwrap()).unwrap().detach();
        let handler = move |_| {
            waiting.send(()).unwrap();
            std::future::ready(())
        };
        manager.handle_async("t", handler).unwrap().detach();
        drop(captured);
        let stream = graceful.then(|| manager.listen("t").unwrap());
        session.wait_ready(LONG).await.unwrap();
        session.publish("t", "x", QoS::AtMostOnce, false).await.unwrap();
        for _ in 0..3 {
            gone.recv().await.unwrap();
        }
        drop(session);
        if let Some(mut stream) = stream {
            assert!(manager.shutdown(LONG).await.clean);
            assert_eq!(stream.next().await.unwrap().payload(), b"x", "what waited");
            let end = tokio::time::timeout(LONG, stream.next()).await;
            assert!(end.expect("then the stream ends").is_none());
        } else {
            drop(manager);
        }
        let end = tokio::time::timeout(LONG, gone.recv()).await;
        assert_eq!(end.expect("no handler is left"), None);
    }
}

#[tokio::test]
async fn a_handler_may_have_captured_a_route_when_its_manager_shuts_down() {
    let manager = SessionManager::new();
    manager.add_session(idle("s")).unwrap();
    let inner = Mutex::new(Some(manager.handle("inner", |_| {}).unwrap()));
    let outer = move |_: &mqttx::Message| drop(inner.lock().unwrap().take());
    manager.handle("outer", outer).unwrap().detach();
    let (done, ended) = std::sync::mpsc::channel();
    // A thread of its own: what is to be seen is that it does not block for ever.
    let runtime = tokio::runtime::Handle::current();
    std::thread::spawn(move || done.send(runtime.block_on(manager.shutdown(LONG)).clean));
    let clean = tokio::task::spawn_blocking(move || ended.recv_timeout(LONG));
    assert_eq!(clean.await.unwrap(), Ok(true));
}

#[tokio::test]
async fn shutdown_reports_what_it_could_not_finish_and_no_delivery_hangs() {
    let broker = Broker::start().await;
    broker.withhold_acks();
    let manager = SessionManager::new();
    let session = add(&manager, "s", &broker);
    session.wait_ready(LONG).await.unwrap();
    let message = || Publish::new("t", "x").qos(QoS::AtLeastOnce);
    let deliveries = [(); 3].map(|()| session.try_publish(message()).unwrap());
    let report = manager.shutdown(Duration::from_millis(200)).await;
    assert!(!report.clean);
    assert_eq!((report.unacknowledged, report.unfinished), (3, vec!["s".to_owned()]));
    assert!(report.elapsed >= Duration::from_millis(200));
    for delivery in deliveries {
        assert_eq!(delivery.await.unwrap_err().kind(), ErrorKind::Closed);
    }
    assert_eq!(session.try_publish(message()).unwrap_err().error().kind(), ErrorKind::Closed);
}

/// A manager with a message that the broker never acknowledges.
async fn with_unfinished(broker: &Broker) -> SessionManager {
    broker.withhold_acks();
    let manager = SessionManager::new();
    let session = add(&manager, "s", broker);
    session.wait_ready(LONG).await.unwrap();
    drop(session.try_publish(Publish::new("t", "x").qos(QoS::AtLeastOnce)).unwrap());
    manager
}

#[tokio::test]
async fn a_shutdown_beside_another_one_takes_no_event_from_it() {
    let broker = Broker::start().await;
    let manager = with_unfinished(&broker).await;
    let mut events = manager.events_matching(EventName::SessionRemoved);
    let first = manager.shutdown(Duration::from_millis(200));
    let (first, second) = tokio::join!(first, manager.shutdown(LONG));
    assert_eq!((first.sessions, first.clean, second.sessions), (1, false, 0));
    assert!(events.next().await.is_some(), "the session left after the second call");
    assert!(events.next().await.is_none());
}

#[tokio::test]
async fn a_shutdown_after_one_that_was_given_up_ends_the_streams() {
    let broker = Broker::start().await;
    let manager = with_unfinished(&broker).await;
    let (mut events, mut messages) = (manager.events(), manager.listen("t").unwrap());
    let given_up = tokio::time::timeout(Duration::from_millis(10), manager.shutdown(LONG)).await;
    assert!(given_up.is_err());
    let report = manager.shutdown(Duration::from_millis(200)).await;
    assert_eq!((report.sessions, report.unacknowledged, report.clean), (1, 1, false));
    assert_eq!(manager.metrics().messages_sent, 1, "counted once");
    while events.next().await.is_some() {}
    assert!(messages.next().await.is_none());
}

#[tokio::test]
async fn a_shutdown_that_is_given_up_after_another_one_ends_the_streams() {
    let broker = Broker::start().await;
    let manager = with_unfinished(&broker).await;
    let (mut events, mut messages) = (manager.events(), manager.listen("t").unwrap());
    let mut first = Box::pin(manager.shutdown(Duration::MAX));
    let second = async { assert_eq!(manager.shutdown(LONG).await.sessions, 0) };
    tokio::select! {
        biased;
        _ = &mut first => panic!("the message is not acknowledged"),
        () = second => {}
    }
    drop(first);
    while events.next().await.is_some() {}
    assert!(messages.next().await.is_none());
}

#[tokio::test]
async fn shutdown_waits_for_handlers_and_for_what_they_publish_elsewhere() {
    let broker = Broker::start().await;
    let manager = SessionManager::new();
    // The target comes first in every order, so that closing one by one would be too early.
    let (source, target) = (add(&manager, "z", &broker), add(&manager, "a", &broker));
    let (seen, mut started) = unbounded_channel();
    let (release, released) = tokio::sync::watch::channel(false);
    let _route = source
        .handle_async("t", move |message| {
            let (target, mut released) = (target.clone(), released.clone());
            seen.send(()).unwrap();
            async move {
                released.wait_for(|released| *released).await.unwrap();
                let copy = Publish::new("copy", message.payload_bytes()).qos(QoS::AtLeastOnce);
                target.publish_message(copy).await.unwrap();
            }
        })
        .unwrap();
    manager.wait_for_all_sessions(LONG).await.unwrap();
    source.publish("t", "x", QoS::AtLeastOnce, false).await.unwrap();
    started.recv().await.unwrap();
    let ending = tokio::spawn({
        let manager = manager.clone();
        async move { manager.shutdown(LONG).await }
    });
    while manager.add_session(idle("late")).is_ok() {
        manager.remove_session("late").await.unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(broker.clients(), 2, "nothing is closed while a handler works");
    release.send(true).unwrap();
    assert!(ending.await.unwrap().clean);
    assert_eq!(broker.published("copy"), 1);
}

#[tokio::test]
async fn shutdown_tells_of_a_message_that_its_handler_never_finished() {
    let broker = Broker::start().await;
    let manager = SessionManager::new();
    let session = add(&manager, "s", &broker);
    let mut held = session.route("t").manual_ack(true).listen().unwrap();
    session.wait_ready(LONG).await.unwrap();
    session.publish("t", "x", QoS::AtLeastOnce, false).await.unwrap();
    let message = held.next().await.unwrap();
    let report = manager.shutdown(Duration::from_millis(200)).await;
    assert_eq!((report.clean, report.unacknowledged), (false, 0));
    assert_eq!(report.unfinished, ["s"]);
    message.ack();
}

#[tokio::test]
async fn dropping_the_last_handle_ends_the_sessions() {
    let broker = Broker::start().await;
    let manager = SessionManager::new();
    let session = add(&manager, "s", &broker);
    session.wait_ready(LONG).await.unwrap();
    let mut events = manager.events();
    drop(manager);
    broker.until(|b| b.clients() == 0).await;
    while events.next().await.is_some() {}
    assert!(!session.is_connected());
}

#[tokio::test]
async fn everything_may_be_done_from_inside_handlers_with_queues_of_one() {
    for kind in ["blocking", "async"] {
        let broker = Broker::start().await;
        let manager = SessionManager::new();
        let options = options("s", &broker).max_pending(1).message_channel_size(1);
        let session = manager.add_session(options.build().unwrap()).unwrap();
        let other = add(&manager, "other", &broker);
        manager.wait_for_all_sessions(LONG).await.unwrap();
        let (done, mut steps) = unbounded_channel();
        let calls = Arc::new(AtomicUsize::new(0));
        let slot: Arc<Mutex<Option<mqttx::Route>>> = Arc::default();

        let work = {
            let (manager, session, slot) = (manager.clone(), session.clone(), Arc::clone(&slot));
            move || {
                let (manager, session) = (manager.clone(), session.clone());
                let (slot, done, calls) = (Arc::clone(&slot), done.clone(), Arc::clone(&calls));
                async move {
                    if calls.fetch_add(1, Ordering::SeqCst) > 0 {
                        return;
                    }
                    for i in 0..3 {
                        session
                            .publish("out", i.to_string(), QoS::AtLeastOnce, false)
                            .await
                            .unwrap();
                    }
                    session.subscribe("more", QoS::AtLeastOnce).await.unwrap();
                    session.unsubscribe("more").await.unwrap();
                    let inner = session.listen("inner").unwrap();
                    drop(inner);
                    let route = slot.lock().unwrap().take().unwrap();
                    route.stop();
                    manager.remove_session("s").await.unwrap();
                    done.send(()).unwrap();
                }
            }
        };
        let builder = session.route("in").capacity(1);
        let route = if kind == "async" {
            builder.handle_async(move |_| work())
        } else {
            builder.handle(move |_| tokio::runtime::Handle::current().block_on(work()))
        };
        // Nothing was published yet, so the handler finds its route.
        *slot.lock().unwrap() = Some(route.unwrap());
        broker.until(|b| b.filters("s") == ["in"]).await;
        for i in 0..5 {
            other.publish("in", i.to_string(), QoS::AtLeastOnce, false).await.unwrap();
        }
        steps.recv().await.unwrap();
        assert_eq!(manager.sessions(), ["other"], "{kind}");
    }
}

#[tokio::test]
async fn a_lost_event_is_told_to_the_one_who_lost_it() {
    let manager = SessionManager::builder().event_capacity(1).build();
    let mut events = manager.events();
    for name in ["a", "b", "c"] {
        manager.add_session(idle(name)).unwrap();
    }
    let first = events.next().await.unwrap();
    assert!(matches!(first.kind, EventKind::EventsLagged { missed: 2.. }), "{first:?}");
}

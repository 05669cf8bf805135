//! What the claims share.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use mqttx::{
    Backoff, EventKind, EventName, EventStream, Message, MessageStream, Publish, QoS, Session,
    SessionBuilder, SessionManager, SessionOptions, Version,
};

/// How long one step may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// How long one claim may take.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// Whether there is time for loads and outages as in the field: `MQTTX_TEST_LONG` is set.
pub(crate) fn is_long() -> bool {
    std::env::var_os("MQTTX_TEST_LONG").is_some()
}

/// A claim that holds in both versions: two tests, `NAME::v311` and `NAME::v5`.
macro_rules! both_versions {
    ($(async fn $name:ident($version:ident: Version) $body:block)*) => {$(
        mod $name {
            use super::*;

            async fn claim($version: Version) $body

            #[tokio::test]
            async fn v311() {
                $crate::support::in_time(claim(Version::V311)).await;
            }

            #[tokio::test]
            async fn v5() {
                $crate::support::in_time(claim(Version::V5)).await;
            }
        }
    )*};
}

/// A broker, or the end of a test that has none.
macro_rules! broker {
    () => {
        broker!(mqttx_test::Mosquitto::builder())
    };
    ($builder:expr) => {
        match $builder.start().await {
            Some(broker) => broker,
            None => return,
        }
    };
}

/// A future that hangs is a failure.
pub(crate) async fn in_time<T>(future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(LIMIT, future).await {
        Ok(value) => value,
        Err(_) => panic!("not finished after {} s", LIMIT.as_secs()),
    }
}

/// A session that comes back fast.
pub(crate) fn options(name: &str, url: &str, version: Version) -> SessionBuilder {
    let backoff = Backoff::new(Duration::from_millis(20), Duration::from_millis(200));
    SessionOptions::quick_connect(name, url).protocol(version).reconnect(backoff)
}

/// A session whose state the server keeps.
pub(crate) fn persistent(name: &str, url: &str, version: Version) -> SessionBuilder {
    options(name, url, version).client_id(name).persistent(true)
}

/// Adds a session to a manager of its own, which ends it when it is dropped.
pub(crate) fn start(options: SessionBuilder) -> (SessionManager, Session) {
    let manager = SessionManager::new();
    let session = add(&manager, options);
    (manager, session)
}

pub(crate) fn add(manager: &SessionManager, options: SessionBuilder) -> Session {
    manager.add_session(options.build().expect("valid options")).expect("a new session")
}

/// A session that is ready.
pub(crate) async fn ready(options: SessionBuilder) -> (SessionManager, Session) {
    let (manager, session) = start(options);
    session.wait_ready(PATIENCE).await.expect("ready");
    (manager, session)
}

/// Publishes from a connection of its own with QoS 1, and waits until the broker has it.
pub(crate) async fn publish(url: &str, topic: &str, payload: &str, retain: bool) {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!("publisher-{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let (manager, session) = start(options(&name, url, Version::V5));
    session.publish(topic, payload.to_owned(), QoS::AtLeastOnce, retain).await.expect("published");
    manager.shutdown(PATIENCE).await;
}

/// A numbered message.
pub(crate) fn numbered(topic: &str, number: usize, qos: QoS) -> Publish {
    Publish::new(topic, number.to_string()).qos(qos)
}

/// The number that a payload holds.
pub(crate) fn number(payload: &[u8]) -> usize {
    std::str::from_utf8(payload).expect("text").parse().expect("a number")
}

/// The next message; the one before counts as done.
pub(crate) async fn next(stream: &mut MessageStream) -> Message {
    let message = tokio::time::timeout(PATIENCE, stream.next()).await;
    let Ok(message) = message else {
        let route = stream.route();
        panic!("nothing on '{}': {:?}", route.filter(), route.stats());
    };
    message.expect("the route runs")
}

/// The next payload, as text; the message is done.
pub(crate) async fn text(stream: &mut MessageStream) -> String {
    let text = next(stream).await.payload_str().expect("text").to_owned();
    stream.done();
    text
}

/// The numbers of the messages that arrive until one holds `last`, which is not among them.
pub(crate) async fn numbers_until(stream: &mut MessageStream, last: &str) -> Vec<usize> {
    let mut numbers = Vec::new();
    loop {
        let message = tokio::time::timeout(PATIENCE, stream.next()).await;
        let Ok(message) = message else {
            let end = numbers.iter().rev().take(5).collect::<Vec<_>>();
            panic!("'{last}' did not arrive; {} messages did, at the end {end:?}", numbers.len());
        };
        let message = message.expect("the route runs");
        if message.payload() == last.as_bytes() {
            stream.done();
            return numbers;
        }
        numbers.push(number(message.payload()));
    }
}

/// The next event of that name.
pub(crate) async fn event(
    events: &mut EventStream,
    name: EventName,
) -> std::sync::Arc<mqttx::Event> {
    let found = async {
        loop {
            let event = events.next().await.expect("the manager lives");
            if event.name() == name {
                return event;
            }
        }
    };
    let found = tokio::time::timeout(PATIENCE, found).await;
    found.unwrap_or_else(|_| panic!("no event {name}"))
}

/// Whether the next connection found a session at the server.
pub(crate) async fn session_present(events: &mut EventStream) -> bool {
    match event(events, EventName::SessionConnected).await.kind {
        EventKind::SessionConnected { session_present, .. } => session_present,
        _ => unreachable!("asked for by name"),
    }
}

/// Waits until `ok`; changes of sessions are events, which wake it.
pub(crate) async fn until(manager: &SessionManager, what: &str, ok: impl Fn() -> bool) {
    let mut events = manager.events();
    let wait = async {
        while !ok() {
            events.next().await.expect("the manager lives");
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("never {what}"));
}

pub(crate) const ALL_QOS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

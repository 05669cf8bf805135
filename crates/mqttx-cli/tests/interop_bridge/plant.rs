//! Those who publish and those who look what arrives.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mqttx::{
    Backoff, Message, Publish, QoS, Route, Session, SessionManager, SessionOptions, Version,
};
use mqttx_test::Mosquitto;
use tokio::time::sleep;

use super::daemon::SOON;

const LEAD: usize = 20_000;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A broker as these tests need it: Mosquitto's own limits must lose nothing.
pub(crate) async fn broker(persistence: bool, lines: &[&str]) -> Option<Mosquitto> {
    // Without a limit its window is what a client announces, and after a restart it sends as much again.
    let builder = Mosquitto::builder().persistence(persistence).max_inflight(100);
    let builder = builder.line("max_queued_messages 0").line("autosave_interval 0");
    lines.iter().fold(builder, |builder, line| builder.line(line)).start().await
}

/// A session that stays at the server.
pub(crate) fn client(
    manager: &SessionManager,
    name: &str,
    broker: &Mosquitto,
    version: Version,
) -> Session {
    let options = SessionOptions::quick_connect(name, broker.url())
        .protocol(version)
        .client_id(name)
        .clean_start(false)
        .reconnect(Backoff::new(Duration::from_millis(10), Duration::from_millis(100)));
    let options = match version {
        // Mosquitto 2.0.11 exceeds it when acknowledgements are slow; a cut would make copies.
        Version::V5 => {
            options.session_expiry(DAY).receive_maximum(100).enforce_receive_maximum(false)
        }
        Version::V311 => options,
    };
    manager.add_session(options.build().expect("valid")).expect("a session")
}

/// Publishes the numbers from 0 on, in order, many at a time; ends once all are acknowledged.
pub(crate) async fn publish_numbers(session: Session, topic: &str, qos: QoS, count: u32) {
    publish_ahead(session, topic, qos, count, None).await;
}

/// The same, never far ahead of what was seen: a Mosquitto with more than 65 535 messages for one client uses packet ids
/// twice, and after its restart clients take QoS 2 messages for others with the same id.
pub(crate) async fn publish_ahead(
    session: Session,
    topic: &str,
    qos: QoS,
    count: u32,
    seen: Option<Seen>,
) {
    let message = |n: u32| Publish::new(topic, n.to_string()).qos(qos);
    for n in 0..count {
        while n % 100 == 0 && seen.as_ref().is_some_and(|seen| n as usize > seen.different() + LEAD)
        {
            sleep(Duration::from_millis(5)).await;
        }
        session.submit(message(n)).await.expect("accepted");
    }
    session.flush(SOON * 20).await.expect("acknowledged");
}

/// What arrived: how often each number did.
#[derive(Clone, Default)]
pub(crate) struct Seen(Arc<Mutex<HashMap<u32, u32>>>);

impl Seen {
    pub(crate) fn watch(&self, session: &Session, filter: &str, qos: QoS) -> Route {
        let seen = Arc::clone(&self.0);
        let note = move |message: &Message| {
            let number = message.payload_str().ok().and_then(|text| text.parse().ok());
            let number = number.expect("a number");
            *seen.lock().expect("no panic").entry(number).or_default() += 1;
        };
        session.route(filter).qos(qos).handle(note).expect("a route")
    }

    /// How many different ones.
    pub(crate) fn different(&self) -> usize {
        self.0.lock().expect("no panic").len()
    }

    /// How many came again.
    pub(crate) fn again(&self) -> usize {
        self.0.lock().expect("no panic").values().map(|count| *count as usize - 1).sum()
    }

    pub(crate) fn all(&self) -> usize {
        self.different() + self.again()
    }
}

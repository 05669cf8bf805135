//! Brokers that stop, are killed, and come back, under load.

use std::sync::Arc;

use mqttx::{
    Delivery, EventFilter, EventKind, EventName, EventStream, MessageStream, Publish, QoS, Session,
    SessionManager, Version,
};
use mqttx_test::Mosquitto;

use crate::released::Released;
use crate::support::*;

/// Messages of one load.
const MESSAGES: usize = 3000;

/// A publisher and a subscriber whose sessions the broker keeps as long as it can.
struct Pair {
    manager: SessionManager,
    publisher: Session,
    subscriber: Session,
    messages: MessageStream,
    events: EventStream,
    released: Arc<Released>,
}

impl Pair {
    async fn new(broker: &Mosquitto, version: Version) -> Self {
        Self::with(broker, version, true).await
    }

    /// A publisher that does not `return_alone` waits for `connect`.
    async fn with(broker: &Mosquitto, version: Version, return_alone: bool) -> Self {
        let manager = SessionManager::new();
        // With few in flight the load lasts until the broker goes.
        let publisher = persistent("publisher", &broker.url(), version)
            .max_in_flight(20)
            .auto_reconnect(return_alone);
        let publisher = add(&manager, publisher);
        let released = Arc::new(Released::default());
        let subscriber = persistent("subscriber", &broker.url(), version);
        let subscriber = add(&manager, subscriber.wire_log(Arc::clone(&released) as _));
        let messages = subscriber.route("t").qos(QoS::ExactlyOnce).listen().unwrap();
        manager.wait_for_all_sessions(PATIENCE).await.unwrap();
        let events = manager.events();
        Self { manager, publisher, subscriber, messages, events, released }
    }

    fn publish(&self, qos: QoS) -> Vec<Delivery> {
        let publish = |i| self.publisher.try_publish(numbered("t", i, qos)).unwrap();
        (0..MESSAGES).map(publish).collect()
    }

    /// Takes so many messages.
    async fn take(&mut self, count: usize) -> Vec<usize> {
        let mut taken = Vec::new();
        for _ in 0..count {
            taken.push(number(text(&mut self.messages).await.as_bytes()));
        }
        taken
    }

    /// Waits until both sessions know of the end, and says how many messages were not acknowledged.
    async fn down(&self) -> usize {
        let down = || !self.publisher.is_connected() && !self.subscriber.is_connected();
        until(&self.manager, "disconnected", down).await;
        self.publisher.unacknowledged()
    }

    /// Every delivery resolves; then the rest up to a last message arrives.
    async fn finish(&mut self, deliveries: Vec<Delivery>) -> Vec<usize> {
        for delivery in deliveries {
            in_time(delivery).await.unwrap();
        }
        self.manager.wait_for_all_sessions(PATIENCE).await.unwrap();
        let end = Publish::new("t", "end").qos(QoS::ExactlyOnce);
        self.publisher.publish_message(end).await.unwrap();
        let rest = numbers_until(&mut self.messages, "end").await;
        self.publisher.flush(PATIENCE).await.unwrap();
        assert_eq!(self.publisher.metrics().outbox_messages, 0);
        rest
    }
}

/// Waits until some of the messages are acknowledged; the others.
async fn acknowledged(mut deliveries: Vec<Delivery>) -> Vec<Delivery> {
    for delivery in deliveries.drain(..MESSAGES / 5) {
        in_time(delivery).await.unwrap();
    }
    deliveries
}

/// Messages after their first arrival are dropped.
fn without_repetitions(arrived: &[usize]) -> Vec<usize> {
    let mut seen = vec![false; MESSAGES];
    let mut is_new = |i: usize| !std::mem::replace(&mut seen[i], true);
    arrived.iter().copied().filter(|&i| is_new(i)).collect()
}

both_versions! {
    async fn a_broker_that_stops_and_returns_loses_no_qos1_message(version: Version) {
        let mut broker = broker!(Mosquitto::builder().persistence(true));
        let mut pair = Pair::new(&broker, version).await;
        let deliveries = pair.publish(QoS::AtLeastOnce);
        let mut arrived = Vec::new();
        for _ in 0..2 {
            arrived.extend(pair.take(MESSAGES / 5).await);
            broker.stop().await;
            broker.restart().await;
            assert!(session_present(&mut pair.events).await);
        }
        arrived.extend(pair.finish(deliveries).await);
        let once = without_repetitions(&arrived);
        assert!(once.iter().copied().eq(0..MESSAGES), "lost or out of order: {once:?}");
    }

    async fn a_broker_that_stops_and_returns_delivers_qos2_exactly_once(version: Version) {
        let mut broker = broker!(Mosquitto::builder().persistence(true));
        let mut pair = Pair::new(&broker, version).await;
        let deliveries = pair.publish(QoS::ExactlyOnce);
        let mut arrived = Vec::new();
        for _ in 0..2 {
            arrived.extend(pair.take(MESSAGES / 5).await);
            broker.stop().await;
            broker.restart().await;
            assert!(session_present(&mut pair.events).await);
        }
        arrived.extend(pair.finish(deliveries).await);
        assert_eq!(without_repetitions(&arrived).len(), MESSAGES, "a message is lost");
        let theirs = pair.released.sent_again();
        assert_eq!(arrived.len(), MESSAGES + theirs, "a message came twice");
    }

    async fn what_a_killed_broker_had_not_acknowledged_goes_out_again(version: Version) {
        for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let mut broker = broker!();
            // Until the subscriber is back, the broker throws away what it gets.
            let mut pair = Pair::with(&broker, version, false).await;
            let deliveries = acknowledged(pair.publish(qos)).await;
            broker.kill();
            let left = pair.down().await;
            assert!(left > 0, "the load was over too soon");
            let filter = EventFilter::from(EventName::SessionLost).session("publisher");
            let mut losses = pair.manager.events_matching(filter);
            broker.restart().await;
            pair.subscriber.wait_ready(PATIENCE).await.unwrap();
            pair.publisher.connect();
            match event(&mut losses, EventName::SessionLost).await.kind {
                EventKind::SessionLost { requeued } => assert!((1..=left).contains(&requeued)),
                _ => unreachable!("asked for by name"),
            }
            let arrived = without_repetitions(&pair.finish(deliveries).await);
            // What it had acknowledged died with it.
            let again: Vec<_> =
                arrived.iter().copied().filter(|&i| i >= MESSAGES - left).collect();
            assert!(again.iter().copied().eq(MESSAGES - left..MESSAGES), "{qos:?}: {again:?}");
        }
    }

    async fn a_broker_killed_with_sessions_on_disk_loses_nothing_it_had_not_acknowledged(version: Version) {
        let mut broker = broker!(Mosquitto::builder().persistence(true));
        let mut pair = Pair::new(&broker, version).await;
        // From here on the file holds the sessions, but nothing of what follows.
        broker.stop().await;
        broker.restart().await;
        pair.manager.wait_for_all_sessions(PATIENCE).await.unwrap();
        let deliveries = acknowledged(pair.publish(QoS::AtLeastOnce)).await;
        broker.kill();
        let left = pair.down().await;
        assert!(left > 0, "the load was over too soon");
        let mut events = pair.manager.events();
        broker.restart().await;
        assert!(session_present(&mut events).await);
        let arrived = without_repetitions(&pair.finish(deliveries).await);
        let again: Vec<_> = arrived.iter().copied().filter(|&i| i >= MESSAGES - left).collect();
        assert!(again.iter().copied().eq(MESSAGES - left..MESSAGES), "{again:?}");
    }

    async fn subscriptions_are_back_by_themselves_after_a_lost_session(version: Version) {
        let mut broker = broker!();
        let (manager, session) = ready(options("s", &broker.url(), version)).await;
        let mut streams: Vec<_> =
            (0..300).map(|i| session.listen(&format!("t/{i}")).unwrap()).collect();
        session.subscribe("plain", QoS::AtMostOnce).await.unwrap();
        let mut plain = session.route("plain").subscribe(false).listen().unwrap();
        for round in 0..3 {
            let mut events = manager.events();
            broker.restart().await;
            event(&mut events, EventName::SessionReady).await;
            for (i, stream) in streams.iter_mut().enumerate() {
                publish_from(&session, &format!("t/{i}"), round).await;
                assert_eq!(text(stream).await, round.to_string());
            }
            publish_from(&session, "plain", round).await;
            assert_eq!(text(&mut plain).await, round.to_string());
        }
        assert_eq!(session.metrics().reconnects, 3);
    }
}

async fn publish_from(session: &Session, topic: &str, round: usize) {
    session.publish_message(numbered(topic, round, QoS::AtLeastOnce)).await.unwrap();
}

//! What comes back is what the records come to.

use mqttx_proto::{
    Priority, Properties, PropertiesRef, Property, QoS, ReasonCode, Record, RetainHandling,
    Sequence, StoredMessage, SubscribeOptions,
};

use super::super::Store;
use super::probe::Probe;
use super::records::{assign, done, enqueue, epoch, forgotten, granted, low, received, subscribe};

/// Messages come back in their order, also when they came in several batches.
///
/// # Panics
/// When they do not.
pub async fn records_come_back_in_order(store: &dyn Store) {
    let mut probe = Probe::new(store, "order").await;
    for batch in 0..10 {
        let payloads: Vec<String> = (0..10).map(|n| format!("message {batch}.{n}")).collect();
        let number = |n: usize| low(batch * 10 + n as u64);
        let records: Vec<_> = payloads
            .iter()
            .enumerate()
            .map(|(n, text)| enqueue(number(n), text.as_bytes()))
            .collect();
        probe.submit(&records);
    }
    probe.synced().await;
    let mut probe = probe.reopen().await;
    probe.keep(&[enqueue(low(100), b"of the second life")]).await;
    probe.reopen().await;
}

/// Large and empty payloads, properties and times come back as they were.
///
/// # Panics
/// When they do not.
pub async fn messages_come_back_whole(store: &dyn Store) {
    let mut properties = Properties::new();
    for property in [
        Property::MessageExpiryInterval(60),
        Property::ContentType("text/plain"),
        Property::CorrelationData(&[0, 255, 13, 10]),
    ] {
        properties.push(property).expect("a property of PUBLISH");
    }
    properties.user_property("clé", "").expect("a user property");
    let large: Vec<u8> =
        (0..1_u32 << 20).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let long_topic = "t".repeat(65_535);
    let message = |payload, qos| StoredMessage {
        topic: "a/ä",
        payload,
        qos,
        retain: true,
        properties: properties.as_ref(),
        expires_at: Some(u64::MAX),
        give_up_at: Some(1_700_000_000_000),
        origin: None,
    };
    let plain = StoredMessage {
        topic: &long_topic,
        retain: false,
        properties: PropertiesRef::EMPTY,
        expires_at: None,
        give_up_at: None,
        origin: None,
        ..message(b"", QoS::ExactlyOnce)
    };
    let mut probe = Probe::new(store, "whole").await;
    probe.submit(&[
        Record::Enqueue { sequence: low(0), message: message(&large, QoS::AtLeastOnce) },
        Record::Enqueue { sequence: low(1), message: message(b"", QoS::ExactlyOnce) },
        Record::Enqueue { sequence: low(2), message: message(&[0; 3], QoS::AtLeastOnce) },
        Record::Enqueue { sequence: low(3), message: plain },
        assign(low(1), 65_535, u64::MAX >> 1),
    ]);
    probe.synced().await;
    probe.reopen().await.reopen().await;
}

/// A message that is finished is gone, wherever it was.
///
/// # Panics
/// When it is not.
pub async fn finished_messages_are_gone(store: &dyn Store) {
    let mut probe = Probe::new(store, "finished").await;
    let messages: Vec<_> = (0..6).map(|number| enqueue(low(number), b"a message")).collect();
    probe.keep(&messages).await;
    probe.submit(&[assign(low(0), 1, 1), assign(low(1), 2, 2), assign(low(2), 3, 3)]);
    probe.submit(&[Record::Release { sequence: low(1) }, done(low(1)), done(low(0))]);
    // One that was never sent, and one that comes and goes in the same batch.
    probe.submit(&[done(low(4)), enqueue(low(6), b"short-lived"), done(low(6))]);
    probe.synced().await;
    let mut probe = probe.reopen().await;
    let rest = [done(low(2)), done(low(3)), done(low(5))];
    probe.keep(&rest).await;
    let probe = probe.reopen().await;
    assert!(probe.records.is_empty(), "everything is finished: {:?}", probe.records);
}

/// Assigned messages come back in the order of their assignment, not of their numbers.
///
/// # Panics
/// When they do not.
pub async fn assignments_come_back_in_their_order(store: &dyn Store) {
    let mut probe = Probe::new(store, "assigned").await;
    let messages: Vec<_> = (0..12).map(|number| enqueue(low(number), b"x")).collect();
    probe.submit(&messages);
    // Orders on both sides of a power of ten, of two, and of 2^53: text and floating point sort those wrongly.
    let orders = [7_u64, 9, 10, 99, 100, 255, 256, 65_536, (1 << 53) + 1, (1 << 53) + 2, 1 << 62];
    for (n, &order) in orders.iter().enumerate() {
        probe.submit(&[assign(low(11 - n as u64), 500 - n as u16, order)]);
    }
    probe.synced().await;
    probe.reopen().await;
}

/// PUBREC is not forgotten, and a message that is queued again has neither id nor PUBREC.
///
/// # Panics
/// When it is otherwise.
pub async fn released_and_requeued_messages_stay_so(store: &dyn Store) {
    let mut probe = Probe::new(store, "released").await;
    let messages: Vec<_> = (0..5).map(|number| enqueue(low(number), b"x")).collect();
    probe.submit(&messages);
    for number in 0..4 {
        probe.submit(&[assign(low(number), 10 + number as u16, number)]);
    }
    let release = |number| Record::Release { sequence: low(number) };
    let requeue = |number| Record::Requeue { sequence: low(number) };
    probe.keep(&[release(1), release(2)]).await;
    let mut probe = probe.reopen().await;
    probe.submit(&[requeue(2), requeue(3)]);
    // Queued again, and sent again with an id that another had, in another order.
    probe.keep(&[requeue(1), assign(low(1), 12, 9), assign(low(3), 11, 8)]).await;
    let mut probe = probe.reopen().await;
    probe.keep(&[release(3)]).await;
    probe.reopen().await;
}

/// Received packet ids are there until they are forgotten.
///
/// # Panics
/// When they are not.
pub async fn received_ids_come_back(store: &dyn Store) {
    let mut probe = Probe::new(store, "received").await;
    probe.keep(&[received(1), received(65_535), received(300), received(2)]).await;
    let mut probe = probe.reopen().await;
    probe.keep(&[forgotten(300), forgotten(1), received(1), forgotten(2)]).await;
    let mut probe = probe.reopen().await;
    probe.keep(&[forgotten(65_535), forgotten(1)]).await;
    let probe = probe.reopen().await;
    assert!(probe.records.is_empty(), "everything is forgotten: {:?}", probe.records);
}

/// A new epoch voids received ids and grants and nothing else, and ends `Connecting`, as `Resumed` does.
///
/// # Panics
/// When it does not.
pub async fn epochs_void_received_ids_and_grants(store: &dyn Store) {
    let mut probe = Probe::new(store, "epochs").await;
    let kept = [subscribe("a/#"), subscribe("b/+"), enqueue(low(0), b"x"), assign(low(0), 1, 1)];
    probe.submit(&[Record::Connecting, epoch(1)]);
    probe.submit(&kept);
    probe.keep(&[received(7), granted("a/#"), granted("b/+"), Record::Connecting]).await;
    let mut probe = probe.reopen().await;
    probe.keep(&[Record::Resumed, received(8)]).await;
    let mut probe = probe.reopen().await;
    probe.keep(&[Record::Connecting, epoch(2), granted("b/+"), received(9)]).await;
    probe.reopen().await;
}

/// Filters come back in the order in which they were desired, with options, identifier, properties and grant.
///
/// # Panics
/// When they do not.
pub async fn filters_come_back_with_everything_in_order(store: &dyn Store) {
    let mut properties = Properties::new();
    properties.user_property("why", "because").expect("a user property");
    let full = |filter, identifier| Record::Subscribe {
        filter,
        options: SubscribeOptions {
            qos: QoS::AtLeastOnce,
            no_local: true,
            retain_as_published: true,
            retain_handling: RetainHandling::DoNotSend,
        },
        identifier,
        properties: properties.as_ref(),
    };
    let refused = Record::Granted { filter: "m", code: ReasonCode::NOT_AUTHORIZED };
    let mut probe = Probe::new(store, "filters").await;
    probe.submit(&[subscribe("z/#"), full("m", Some(268_435_455)), subscribe("a")]);
    probe.submit(&[full("$share/g/ü/+", Some(1)), granted("a"), refused, subscribe("b")]);
    probe.synced().await;
    let mut probe = probe.reopen().await;
    // Desired anew, a filter has no grant, and is behind the others; one that is not desired has nothing.
    probe.submit(&[subscribe("a"), subscribe("c"), Record::Unsubscribe { filter: "z/#" }]);
    probe.keep(&[granted("c"), Record::Unsubscribe { filter: "b" }, full("z/#", None)]).await;
    let mut probe = probe.reopen().await;
    let gone = ["z/#", "m", "a", "c", "$share/g/ü/+"].map(|filter| Record::Unsubscribe { filter });
    probe.keep(&gone).await;
    let probe = probe.reopen().await;
    assert!(probe.records.is_empty(), "no filter is left: {:?}", probe.records);
}

/// Messages of different priorities may have the same number.
///
/// # Panics
/// When one replaces the other.
pub async fn priorities_are_kept_apart(store: &dyn Store) {
    let mut probe = Probe::new(store, "priorities").await;
    for number in 0..5 {
        for priority in Priority::descending() {
            let payload = format!("{number} of {priority:?}");
            probe.submit(&[enqueue(Sequence::new(priority, number), payload.as_bytes())]);
        }
    }
    probe.submit(&[assign(Sequence::new(Priority::HIGHEST, 0), 1, 1), done(low(0))]);
    probe.synced().await;
    probe.reopen().await;
}

/// The end of a lane is above all its numbers, also when no message is left and nothing else ever comes.
///
/// # Panics
/// When it is not.
pub async fn numbers_are_not_used_again(store: &dyn Store) {
    let mut probe = Probe::new(store, "numbers").await;
    // Jumps are allowed: numbers of messages that were refused may be missing.
    for number in [0, 1, 99, 1 << 40] {
        probe.submit(&[enqueue(low(number), b"x"), done(low(number))]);
    }
    probe.keep(&[enqueue(Sequence::new(Priority::HIGHEST, 4), b"x")]).await;
    let mut probe = probe.reopen().await;
    assert!(probe.lanes[0].end > 1 << 40 && probe.lanes[3].end > 4, "{:?}", probe.lanes);
    probe.keep(&[done(Sequence::new(Priority::HIGHEST, 4))]).await;
    // Twice: the end must survive a life in which nothing was enqueued.
    let probe = probe.reopen().await.reopen().await;
    assert!(probe.lanes[0].end > 1 << 40 && probe.lanes[3].end > 4, "{:?}", probe.lanes);
}

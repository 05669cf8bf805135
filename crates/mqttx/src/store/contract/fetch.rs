//! Queued messages that stay in the store until they are asked for. Nothing of this concerns a store that does not spill.

use mqttx_proto::{Priority, Record, RecordBatch, Sequence};

use super::super::{Fetch, Store};
use super::probe::Probe;
use super::records::{assign, done, enqueue, low};

/// Everything of the lowest priority from a number on.
const fn all_from(from: u64) -> Fetch {
    Fetch { priority: Priority::LOWEST, from, messages: 1000, bytes: 1 << 20 }
}

fn numbers(records: &RecordBatch) -> Vec<u64> {
    let number = |record| match record {
        Ok(Record::Enqueue { sequence, .. }) => sequence.number(),
        other => panic!("no message: {other:?}"),
    };
    records.iter().map(number).collect()
}

async fn with_messages<'a>(store: &'a dyn Store, session: &str, count: u64) -> Probe<'a> {
    let mut probe = Probe::new(store, session).await;
    let messages: Vec<_> = (0..count).map(|number| enqueue(low(number), &[7; 100])).collect();
    probe.submit(&messages);
    probe
}

/// A fetch gives the messages of its lane in order, without those that are finished or have a packet id; after opening too.
///
/// # Panics
/// When it does not.
pub async fn a_fetch_gives_queued_messages_in_order(store: &dyn Store) {
    if !store.spills() {
        return;
    }
    let mut probe = with_messages(store, "fetch", 120).await;
    probe.submit(&[enqueue(Sequence::new(Priority::HIGHEST, 5), b"of another lane")]);
    probe.synced().await;
    probe.keep(&[done(low(3)), assign(low(0), 1, 1), assign(low(110), 2, 2)]).await;
    let expected: Vec<u64> = (0..120).filter(|n| ![0, 3, 110].contains(n)).collect();
    let fetched = probe.fetch(all_from(0)).await;
    assert_eq!(numbers(&fetched.records), expected);
    assert_eq!(numbers(&probe.fetch(all_from(100)).await.records), expected[98..]);

    let mut probe = probe.reopen().await;
    let lane = probe.lanes[0];
    let of_records = super::probe::sequences(&probe.records);
    assert!(of_records.contains(&low(0)) && of_records.contains(&low(110)), "they have packet ids");
    assert_eq!(lane.messages, 117, "{lane:?}");
    assert!(lane.next <= 1 && lane.end >= 120, "{lane:?}");
    assert!((117 * 100..117 * 400).contains(&lane.bytes), "{lane:?}");
    let fetched = probe.fetch(all_from(lane.next)).await;
    assert_eq!(numbers(&fetched.records), expected);
}

/// A fetch sees everything that was submitted before it, durable or not.
///
/// # Panics
/// When it does not.
pub async fn a_fetch_sees_what_was_submitted_before_it(store: &dyn Store) {
    if !store.spills() {
        return;
    }
    let mut probe = with_messages(store, "fetch at once", 10).await;
    assert_eq!(numbers(&probe.fetch(all_from(0)).await.records), Vec::from_iter(0..10));
    for number in 10..60 {
        probe.submit(&[enqueue(low(number), b"x"), done(low(number - 10))]);
        let fetched = probe.fetch(all_from(0)).await;
        assert_eq!(numbers(&fetched.records), Vec::from_iter(number - 9..=number));
    }
}

/// A fetch stops at its limits, and tells where to go on.
///
/// # Panics
/// When it does not.
pub async fn a_fetch_honours_its_limits(store: &dyn Store) {
    if !store.spills() {
        return;
    }
    let mut probe = with_messages(store, "fetch limits", 50).await;
    probe.submit(&[done(low(1)), assign(low(2), 1, 1)]);
    let mut wanted = Fetch { messages: 3, ..all_from(0) };
    let fetched = probe.fetch(wanted).await;
    assert_eq!(numbers(&fetched.records), [0, 3, 4]);
    assert_eq!(fetched.next, 5);
    wanted.from = fetched.next;
    assert_eq!(numbers(&probe.fetch(wanted).await.records), [5, 6, 7]);
    let one = probe.fetch(Fetch { bytes: 1, ..all_from(10) }).await;
    assert_eq!(numbers(&one.records), [10], "one at least, and no more than reaches the bytes");
    let some = probe.fetch(Fetch { bytes: 1000, ..all_from(10) }).await;
    let some = numbers(&some.records);
    assert!((3..=11).contains(&some.len()), "a thousand bytes of a hundred each: {some:?}");
}

/// Messages that are queued again are found where they were.
///
/// # Panics
/// When they are not.
pub async fn requeued_messages_are_fetched_again(store: &dyn Store) {
    if !store.spills() {
        return;
    }
    let mut probe = with_messages(store, "fetch again", 5).await;
    let assigned: Vec<_> = (0..5).map(|n| assign(low(n), 1 + n as u16, n)).collect();
    probe.submit(&assigned);
    assert_eq!(numbers(&probe.fetch(all_from(0)).await.records), [] as [u64; 0]);
    let requeue = |number| Record::Requeue { sequence: low(number) };
    probe.submit(&[requeue(3), Record::Release { sequence: low(1) }, requeue(1)]);
    assert_eq!(numbers(&probe.fetch(all_from(0)).await.records), [1, 3]);
    probe.reopen().await;
}

/// Behind the last message there is nothing, and a later message is found from there.
///
/// # Panics
/// When it is otherwise.
pub async fn a_fetch_past_the_end_is_empty(store: &dyn Store) {
    if !store.spills() {
        return;
    }
    let mut probe = Probe::new(store, "fetch the end").await;
    assert!(probe.fetch(all_from(0)).await.records.is_empty());
    probe.submit(&[enqueue(low(0), b"x")]);
    let fetched = probe.fetch(all_from(1)).await;
    assert!(fetched.records.is_empty(), "{fetched:?}");
    assert_eq!(fetched.next, 1, "a message that comes later must not be passed over");
    probe.submit(&[enqueue(low(1), b"y")]);
    assert_eq!(numbers(&probe.fetch(all_from(fetched.next)).await.records), [1]);
    assert!(probe.fetch(all_from(u64::MAX >> 2)).await.records.is_empty());
}

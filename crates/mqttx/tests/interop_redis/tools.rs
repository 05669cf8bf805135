//! What tools see.

use std::time::{SystemTime, UNIX_EPOCH};

use mqttx::proto::{PacketId, PropertiesRef, Record, SubscribeOptions};
use mqttx::{RedisStore, Store};
use mqttx_test::{Redis, RedisCluster};

use super::support::{Session, assign, message, store};

async fn fill(store: &RedisStore, name: &str) -> Session {
    let mut session = Session::open(store, name).await;
    let options = SubscribeOptions::default();
    let subscribe = Record::Subscribe {
        filter: "a/#",
        options,
        identifier: None,
        properties: PropertiesRef::EMPTY,
    };
    session.submit(&[subscribe, Record::Received { id: PacketId::new(7).unwrap() }]);
    session.keep(&[message(0, "a"), message(1, "b"), message(2, "c"), assign(0)]).await;
    session
}

async fn assert_inspected(store: RedisStore) {
    assert!(store.inspect().await.expect("it can be read").sessions.is_empty());
    let names = ["{odd}", "a", "b*", "ü/%"];
    let mut open = Vec::new();
    for name in names {
        open.push(fill(&store, name).await);
    }
    let other = store.clone().prefix("other:");
    fill(&other, "elsewhere").await;
    let before = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
    let inspection = store.inspect().await.expect("it can be read");
    let mut found: Vec<&str> =
        inspection.sessions.iter().map(|session| session.name.as_str()).collect();
    found.sort_unstable();
    let mut expected = names;
    expected.sort_unstable();
    assert_eq!(found, expected);
    for session in &inspection.sessions {
        let counts = (session.queued, session.in_flight, session.received, session.subscriptions);
        assert_eq!(counts, (2, 1, 1, 1), "{session:?}");
        let age = before - session.oldest_unix_ms.expect("a message");
        assert!(session.bytes > 100 && age < 60_000, "{session:?}");
    }
    assert!(inspection.bytes >= inspection.sessions.iter().map(|session| session.bytes).sum());
    let mut lines = Vec::new();
    let mut visit =
        |record: &Record<'_>, time: Option<u64>| lines.push((record.name(), time.is_some()));
    assert!(store.read("ü/%", &mut visit).await.expect("it can be read"));
    let expected = [
        ("subscribe", false),
        ("received", false),
        ("enqueue", true),
        ("enqueue", true),
        ("enqueue", true),
        ("assign", false),
    ];
    assert_eq!(lines, expected);
    assert!(
        !store
            .read("nobody", &mut |_, _| panic!("nothing is there"))
            .await
            .expect("it can be read")
    );
    // Looking has taken nothing over.
    for session in &mut open {
        session.keep(&[message(3, "d")]).await;
    }
    store.close().await;
}

#[tokio::test]
async fn tools_see_what_is_in_a_server() {
    let Some(redis) = Redis::builder().start().await else { return };
    assert_inspected(store(&redis.url()).prefix("[x]*:")).await;
}

#[tokio::test]
async fn tools_see_what_is_in_a_cluster() {
    let Some(cluster) = RedisCluster::start().await else { return };
    assert_inspected(store(&cluster.url())).await;
}

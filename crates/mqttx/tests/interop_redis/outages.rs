//! Redis goes away, comes back, forgets things.

use mqttx::store::{OnStoreError, Update};
use mqttx::{RedisStore, Store};
use mqttx_test::Redis;

use super::support::{
    Session, assign, done, is_available, is_unavailable, message, store, texts, within,
};

#[tokio::test]
async fn a_killed_server_with_its_file_has_everything_that_was_synced() {
    let Some(mut redis) = Redis::builder().append_only(true).start().await else { return };
    let first = store(&redis.url());
    let mut session = Session::open(&first, "plant").await;
    let texts = texts(1000);
    for (text, number) in texts.iter().zip(0..) {
        session.submit(&[message(number, text)]);
    }
    session.keep(&[assign(0), done(1)]).await;
    redis.restart().await;
    let mut session = Session::open(&store(&redis.url()), "plant").await;
    assert_eq!(session.queued, 998);
    assert_eq!(session.records.len(), 2, "message 0 and its packet id: {:?}", session.records);
    assert_eq!(session.payloads().await, texts[2..]);
}

#[tokio::test]
async fn nothing_is_lost_or_doubled_while_the_server_comes_and_goes() {
    const SESSIONS: usize = 20;
    const MESSAGES: u64 = 1500;
    let Some(mut redis) = Redis::builder().append_only(true).start().await else { return };
    let shared = store(&redis.url());
    let mut tasks = Vec::new();
    for n in 0..SESSIONS {
        let shared = shared.clone();
        tasks.push(tokio::spawn(async move {
            let mut session = Session::open(&shared, &format!("s{n}")).await;
            for number in 0..MESSAGES {
                // Half of the messages are finished at once, in the same or in another group.
                let text = format!("{n}.{number}");
                session.submit(&[message(number, &text), assign(number)]);
                if number % 2 == 0 {
                    session.submit(&[done(number)]);
                }
                if number % 10 == 0 {
                    session.synced().await;
                    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
                }
            }
            session.synced().await;
            session.others.iter().filter(|update| is_unavailable(update)).count()
        }));
    }
    for _ in 0..5 {
        redis.wait_for(&["DBSIZE"], ":").await;
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        redis.restart().await;
    }
    for task in tasks {
        within(task).await.expect("it does not panic");
    }
    for n in 0..SESSIONS {
        let session = Session::open(&shared, &format!("s{n}")).await;
        let found: Vec<u64> = session
            .records
            .iter()
            .filter_map(|record| match record {
                Ok(mqttx::proto::Record::Assign { order, .. }) => Some(order),
                _ => None,
            })
            .collect();
        assert_eq!(found, Vec::from_iter((1..MESSAGES).step_by(2)), "session {n}");
        assert_eq!(session.queued, 0);
    }
}

#[tokio::test]
async fn a_session_waits_for_a_server_that_is_away() {
    let Some(mut redis) = Redis::builder().append_only(true).start().await else { return };
    let store = store(&redis.url());
    let mut session = Session::open(&store, "plant").await;
    let mut idle = Session::open(&store, "idle").await;
    session.keep(&[message(0, "before")]).await;
    redis.kill();
    session.submit(&[message(1, "meanwhile")]);
    session.until(is_unavailable).await;
    idle.until(is_unavailable).await;
    session.submit(&[message(2, "meanwhile too")]);
    let opening = tokio::spawn({
        let store = store.clone();
        async move { Session::open(&store, "new").await.queued }
    });
    // Who waits for the opening can ask for the reason.
    assert_eq!(store.trouble().expect("it is away").code(), "store.unavailable");
    redis.restart().await;
    session.until(is_available).await;
    idle.until(is_available).await;
    session.synced().await;
    assert_eq!(within(opening).await.expect("it opens"), 0);
    assert!(store.trouble().is_none());
    assert_eq!(session.payloads().await, ["before", "meanwhile", "meanwhile too"]);
}

/// A frozen server answers late, and finds the records a second time: from the next connection.
#[tokio::test]
async fn a_group_that_arrives_twice_is_applied_once() {
    let Some(redis) = Redis::builder().start().await else { return };
    let store = store(&redis.url());
    let mut session = Session::open(&store, "plant").await;
    session.keep(&[message(0, "first")]).await;
    redis.freeze();
    session.submit(&[message(1, "once"), assign(1), done(1), message(2, "twice?")]);
    session.until(is_unavailable).await;
    session.submit(&[message(3, "last"), done(0)]);
    redis.thaw();
    session.synced().await;
    assert_eq!(session.payloads().await, ["twice?", "last"]);
    assert_eq!(redis.command(&["HGET", "mqttx:{plant}:state", "position"]), "$1\r\n7");
}

/// The bytes of a group may lie in a frozen server, or on the way, until those of a later connection are through.
#[tokio::test]
async fn a_group_that_arrives_late_changes_nothing() {
    let Some(redis) = Redis::builder().start().await else { return };
    let mut session = Session::open(&store(&redis.url()), "plant").await;
    let group = [message(0, "a"), assign(0), message(1, "b")];
    session.keep(&group).await;
    session.keep(&[done(0), done(1), message(2, "c")]).await;
    let before = redis.command(&["HGETALL", "mqttx:{plant}:messages"]);

    let answer =
        redis.command(&["SCRIPT", "LOAD", include_str!("../../src/store/redis/apply.lua")]);
    let script = answer.lines().nth(1).expect("its name");
    let owner = redis.command(&["HGET", "mqttx:{plant}:state", "owner"]);
    let owner = owner.lines().nth(1).expect("an owner");
    let keys = ["state", "messages", "queue", "assigned", "received", "filters"];
    let keys = keys.map(|part| format!("mqttx:{{plant}}:{part}"));
    let mut batch = mqttx::proto::RecordBatch::new();
    group.iter().for_each(|record| batch.push(record));
    let records: Vec<&str> =
        batch.iter().raw().map(|raw| str::from_utf8(raw).expect("ASCII")).collect();
    let mut words = vec!["EVALSHA", script, "6"];
    words.extend(keys.iter().map(String::as_str));
    words.extend([owner, "1", "0", "0", "        "]);
    words.extend(records);
    assert_eq!(redis.command(&words), ":6", "it says how far the session is");
    assert_eq!(redis.command(&["HGETALL", "mqttx:{plant}:messages"]), before);
    session.keep(&[message(3, "d")]).await;
    assert_eq!(session.payloads().await, ["c", "d"]);
}

#[tokio::test]
async fn a_store_that_must_not_wait_fails() {
    let Some(mut redis) = Redis::builder().start().await else { return };
    let store = store(&redis.url()).on_error(OnStoreError::Fail);
    let mut session = Session::open(&store, "plant").await;
    session.keep(&[message(0, "x")]).await;
    redis.kill();
    session.submit(&[message(1, "y")]);
    let error = session.error().await;
    assert_eq!(error.code(), "store.unavailable", "{error}");
    assert!(!error.is_temporary());
    let error = Session::try_open(&store, "other").await.err().expect("there is no server");
    assert_eq!(error.code(), "store.unavailable", "{error}");
    assert_eq!(error.session(), Some("other"));
}

#[tokio::test]
async fn a_server_that_forgot_the_scripts_gets_them_again() {
    let Some(redis) = Redis::builder().start().await else { return };
    let store = store(&redis.url());
    let mut session = Session::open(&store, "plant").await;
    for number in 0..3 {
        assert_eq!(redis.command(&["SCRIPT", "FLUSH"]), "+OK");
        session.keep(&[message(number, "x")]).await;
    }
    redis.command(&["SCRIPT", "FLUSH"]);
    assert_eq!(session.payloads().await.len(), 3);
    redis.command(&["SCRIPT", "FLUSH"]);
    assert_eq!(Session::open(&store, "plant").await.queued, 3);
}

async fn assert_lost(redis: &Redis, damage: &[&str]) {
    let store: RedisStore = store(&redis.url());
    let mut session = Session::open(&store, "plant").await;
    session.keep(&[message(0, "a"), message(1, "b")]).await;
    redis.command(damage);
    session.submit(&[message(2, "c")]);
    let error = session.error().await;
    assert_eq!(
        (error.code(), error.session()),
        ("store.lost", Some("plant")),
        "{damage:?}: {error}"
    );
    assert!(session.progress.synced == 2, "nothing of the rest is kept");
    // Opened again, it goes on with what is left.
    Session::open(&store, "plant").await.keep(&[message(3, "d")]).await;
}

#[tokio::test]
async fn a_session_does_not_go_on_when_redis_lost_what_it_had_confirmed() {
    let Some(mut redis) = Redis::builder().start().await else { return };
    assert_lost(&redis, &["FLUSHALL"]).await;
    // An older state, as after a failover to a replica that was behind.
    assert_lost(&redis, &["HSET", "mqttx:{plant}:state", "position", "1"]).await;

    let store = store(&redis.url());
    let mut session = Session::open(&store, "restarted").await;
    session.keep(&[message(0, "a")]).await;
    redis.restart().await;
    session.submit(&[message(1, "b")]);
    assert_eq!(session.error().await.code(), "store.lost", "it has no file");
}

#[tokio::test]
async fn a_server_that_cannot_write_to_its_disk_is_waited_for() {
    let Some(redis) = Redis::builder().line("replica-serve-stale-data yes").start().await else {
        return;
    };
    let store = store(&redis.url());
    let mut session = Session::open(&store, "plant").await;
    // As few replicas as it has are not enough for it: it takes no writes.
    assert_eq!(redis.command(&["CONFIG", "SET", "min-replicas-to-write", "1"]), "+OK");
    session.submit(&[message(0, "x")]);
    session.until(is_unavailable).await;
    assert_eq!(redis.command(&["CONFIG", "SET", "min-replicas-to-write", "0"]), "+OK");
    session.until(|update| matches!(update, Update::Available)).await;
    session.synced().await;
}

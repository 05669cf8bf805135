//! Two processes, one session; and what Redis keeps of it.

use std::time::Duration;

use mqttx::proto::Record;
use mqttx::{Store, store::Update};
use mqttx_test::Redis;

use super::support::{Session, assign, done, message, store, texts};

#[tokio::test]
async fn a_session_belongs_to_the_process_that_opened_it_last() {
    let Some(redis) = Redis::builder().start().await else { return };
    // Two stores share nothing, as two processes do.
    let (one, two) = (store(&redis.url()), store(&redis.url()));
    let mut first = Session::open(&one, "plant").await;
    first.keep(&[message(0, "of the first")]).await;
    let mut second = Session::open(&two, "plant").await;
    let keys = redis.command(&["HGETALL", "mqttx:{plant}:messages"]);
    first.submit(&[message(1, "too late"), done(0)]);
    let error = first.error().await;
    assert_eq!((error.code(), error.session()), ("store.fenced", Some("plant")));
    assert_eq!(
        redis.command(&["HGETALL", "mqttx:{plant}:messages"]),
        keys,
        "nothing of it is kept"
    );
    second.keep(&[message(1, "of the second")]).await;
    assert_eq!(second.payloads().await, ["of the first", "of the second"]);
    // The first takes it back.
    let mut third = Session::open(&one, "plant").await;
    second.submit(&[done(1)]);
    assert_eq!(second.error().await.code(), "store.fenced");
    assert_eq!(third.payloads().await.len(), 2);
    // Other sessions of the fenced process go on.
    Session::open(&two, "other").await.keep(&[message(0, "x")]).await;
}

#[tokio::test]
async fn finished_messages_take_no_room() {
    let Some(redis) = Redis::builder().start().await else { return };
    let store = store(&redis.url()).prefix("p:");
    let mut session = Session::open(&store, "plant").await;
    let payload = "x".repeat(1000);
    for number in 0..400 {
        session.submit(&[message(number, &payload), assign(number)]);
        session.submit(&[Record::Received { id: mqttx::PacketId::new(7).unwrap() }]);
        session.submit(&[done(number), Record::Forgotten { id: mqttx::PacketId::new(7).unwrap() }]);
    }
    session.synced().await;
    assert_eq!(
        redis.command(&["KEYS", "*"]),
        "*1\r\n$15\r\np:{plant}:state",
        "only the numbers are kept"
    );
}

#[tokio::test]
async fn a_quiet_session_outlives_its_time_to_live_while_it_is_open() {
    let Some(redis) = Redis::builder().start().await else { return };
    let store = store(&redis.url()).ttl(Some(Duration::from_secs(3)));
    let mut session = Session::open(&store, "plant").await;
    session.keep(&[message(0, "x")]).await;
    let left = |part: &str| -> i64 {
        let answer = redis.command(&["PTTL", &format!("mqttx:{{plant}}:{part}")]);
        answer.trim_start_matches(':').parse().expect("a number")
    };
    for _ in 0..4 {
        // It falls, and then it is as it was at first.
        let mut before = left("messages");
        loop {
            assert!(before > 0, "it runs out");
            tokio::time::sleep(Duration::from_millis(10)).await;
            let now = left("messages");
            if now > before {
                break;
            }
            before = now;
        }
    }
    assert!(left("state") > 0 && left("queue") > 0);
    drop(session);
    store.close().await;
    redis.wait_for(&["DBSIZE"], ":0").await;
}

#[tokio::test]
async fn closing_waits_for_a_server_that_is_away() {
    let Some(mut redis) = Redis::builder().append_only(true).start().await else { return };
    let store = store(&redis.url());
    let mut session = Session::open(&store, "plant").await;
    session.keep(&[message(0, "first")]).await;
    redis.kill();
    session.submit(&[message(1, "while it is away")]);
    session.until(|update| matches!(update, Update::Unavailable(_))).await;
    drop(session);
    let closing = tokio::spawn(store.close());
    redis.restart().await;
    closing.await.expect("it does not panic");
    assert_eq!(redis.command(&["HLEN", "mqttx:{plant}:messages"]), ":2");
    // At rest, it can be opened anew.
    assert_eq!(
        Session::open(&store, "plant").await.payloads().await,
        ["first", "while it is away"]
    );
}

#[tokio::test]
async fn what_was_submitted_survives_the_runtime_that_submitted_it() {
    let Some(redis) = Redis::builder().start().await else { return };
    let url = redis.url();
    std::thread::spawn(move || {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let mut session = Session::open(&store(&url), "plant").await;
            texts(500)
                .iter()
                .zip(0..)
                .for_each(|(text, number)| session.submit(&[message(number, text)]));
        });
    })
    .join()
    .expect("it does not panic");
    redis.wait_for(&["HLEN", "mqttx:{plant}:messages"], ":500").await;
}

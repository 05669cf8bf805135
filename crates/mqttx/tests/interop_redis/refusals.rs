//! Redis says no.

use mqttx::store::{OnStoreError, Update};
use mqttx::{RedisStore, Secret, Store};
use mqttx_test::Redis;

use super::support::{Session, assign, done, message, store};

async fn refusal(store: &RedisStore) -> mqttx::Error {
    let error = Session::try_open(store, "plant").await.err().expect("refused");
    assert_eq!(error.code(), "store.credentials", "{error:?}");
    assert!(!error.is_temporary());
    let text = format!("{error} {error:?} {store:?}");
    assert!(!text.contains("s3cret") && !text.contains("wr0ng"), "{text}");
    error
}

#[tokio::test]
async fn wrong_credentials_are_an_error_at_once_and_are_not_told() {
    let Some(redis) = Redis::builder().password("s3cret").start().await else { return };
    refusal(&store(&redis.url())).await;
    refusal(&store(&redis.url()).password(Secret::from("wr0ng"))).await;
    refusal(&store(&redis.url()).username("nobody").password(Secret::from("s3cret"))).await;
    let in_url = redis.url().replace("://", "://:wr0ng@");
    refusal(&store(&in_url)).await;
    let good = store(&redis.url()).password(Secret::from("s3cret"));
    Session::open(&good, "plant").await.keep(&[message(0, "x")]).await;

    // Under way: the password changes, and the connection ends.
    let user = ["ACL", "SETUSER", "u", "on", "allkeys", "allcommands"];
    redis.command(&[&user[..], &[">s3cret"]].concat());
    let mut session = Session::open(&good.username("u"), "plant").await;
    redis.command(&[&user[..], &["resetpass", ">another"]].concat());
    redis.command(&["CLIENT", "KILL", "USER", "u"]);
    session.submit(&[message(1, "y")]);
    assert_eq!(session.error().await.code(), "store.credentials");
}

#[tokio::test]
async fn a_user_needs_the_permissions_that_the_documentation_names() {
    let Some(redis) = Redis::builder().start().await else { return };
    let user = |name: &str, rules: &[&str]| {
        let answer = redis.command(&[&["ACL", "SETUSER", name, "on", ">s3cret"], rules].concat());
        assert_eq!(answer, "+OK");
        store(&redis.url()).username(name).password(Secret::from("s3cret"))
    };
    let rules = [
        "resetkeys",
        "~mqttx:*",
        "+@hash",
        "+@set",
        "+@sortedset",
        "+@keyspace",
        "+evalsha",
        "+script|load",
        "+role",
    ];
    let mut session = Session::open(&user("able", &rules), "plant").await;
    session.keep(&[message(0, "x"), assign(0), done(0), message(1, "y")]).await;
    assert_eq!(session.payloads().await, ["y"]);
    refusal(&user("other-keys", &[&rules[..1], &["~other:*"], &rules[2..]].concat())).await;
    refusal(&user("no-hashes", &[&rules[..], &["-@hash"]].concat())).await;
    refusal(&user("no-scripts", &[&rules[..], &["-evalsha"]].concat())).await;
}

#[tokio::test]
async fn messages_wait_for_room_and_what_makes_room_does_not() {
    let Some(redis) = Redis::builder().start().await else { return };
    let store = store(&redis.url());
    let mut session = Session::open(&store, "plant").await;
    session.keep(&[message(0, "first"), assign(0), message(1, "second")]).await;
    let is_full =
        |full: bool| move |update: &Update| matches!(update, Update::Full(is) if *is == full);
    assert_eq!(redis.command(&["CONFIG", "SET", "maxmemory", "100000"]), "+OK");
    session.submit(&[message(2, "has no room")]);
    session.until(is_full(true)).await;
    assert_eq!(session.progress.synced, 3);
    // What is finished behind it is finished, and takes it along.
    session.submit(&[done(0), assign(1)]);
    session.synced().await;
    session.keep(&[done(1)]).await;
    // Another process can take the session over, and empty it.
    let mut session = Session::open(&self::store(&redis.url()), "plant").await;
    assert_eq!(session.payloads().await, ["has no room"]);
    session.keep(&[assign(2), done(2)]).await;
    session.submit(&[message(3, "waits")]);
    session.until(is_full(true)).await;
    assert_eq!(redis.command(&["CONFIG", "SET", "maxmemory", "0"]), "+OK");
    session.until(is_full(false)).await;
    session.synced().await;
    assert_eq!(session.payloads().await, ["waits"]);
}

#[tokio::test]
async fn room_is_told_when_nothing_waits_for_it() {
    let Some(redis) = Redis::builder().start().await else { return };
    let mut session = Session::open(&store(&redis.url()), "plant").await;
    session.keep(&[message(0, "first"), assign(0)]).await;
    redis.command(&["CONFIG", "SET", "maxmemory", "100000"]);
    session.submit(&[message(1, "x"), done(0)]);
    session.until(|update| matches!(update, Update::Full(true))).await;
    session.synced().await;
    redis.command(&["CONFIG", "SET", "maxmemory", "0"]);
    session.until(|update| matches!(update, Update::Full(false))).await;
}

#[tokio::test]
async fn options_that_do_not_go_together_are_an_error() {
    // Nothing is connected to.
    let code = async |store: RedisStore| store.open("plant").await.expect_err("refused").code();
    assert_eq!(code(store("redis+cluster://127.0.0.1:1").database(3)).await, "config.invalid");
    assert_eq!(code(store("127.0.0.1:1").prefix("{x}")).await, "config.invalid");
    assert_eq!(code(store("127.0.0.1:1").username("u")).await, "config.invalid");
    let shown =
        format!("{:?}", store("redis://user:s3cret@127.0.0.1:1").password(Secret::from("hidden")));
    assert!(!shown.contains("s3cret") && !shown.contains("hidden"), "{shown}");
}

#[tokio::test]
async fn keys_that_hold_something_else_are_an_error() {
    let Some(redis) = Redis::builder().start().await else { return };
    redis.command(&["SET", "mqttx:{plant}:state", "of somebody else"]);
    let error = Session::try_open(&store(&redis.url()), "plant").await.err().expect("refused");
    assert_eq!(error.code(), "store.failed", "{error}");
    assert!(error.to_string().contains("WRONGTYPE"), "{error}");
}

#[tokio::test]
async fn a_server_without_tls_is_no_server_with_tls() {
    let Some(redis) = Redis::builder().start().await else { return };
    let secure = redis.url().replace("redis://", "rediss://");
    let store = store(&secure).on_error(OnStoreError::Fail);
    let error = Session::try_open(&store, "plant").await.err().expect("it speaks something else");
    assert_eq!(error.code(), "store.unavailable", "{error}");
}

#[tokio::test]
async fn a_session_whose_state_was_evicted_is_told() {
    let Some(redis) = Redis::builder().start().await else { return };
    let store = store(&redis.url());
    let mut session = Session::open(&store, "plant").await;
    session.keep(&[message(7, "x"), message(9, "y"), assign(9)]).await;
    redis.command(&["DEL", "mqttx:{plant}:state"]);
    let opened = store.open("plant").await.expect("it goes on");
    assert_eq!(opened.notices.len(), 1);
    assert!(opened.notices[0].text.contains("plant"), "{:?}", opened.notices);
    assert_eq!((opened.lanes[0].messages, opened.lanes[0].end), (1, 10), "no number is used twice");
}

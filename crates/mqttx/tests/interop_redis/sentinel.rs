//! A master with a replica.

use std::time::Duration;

use mqttx_test::{Redis, RedisSentinel};

use super::support::{Session, is_available, is_unavailable, message, store, texts};

#[tokio::test]
async fn sessions_follow_the_master_that_the_sentinel_names() {
    let Some(mut redis) = RedisSentinel::start().await else { return };
    let store = store(&redis.url());
    let mut session = Session::open(&store, "plant").await;
    let texts = texts(20);
    for (text, number) in texts[..10].iter().zip(0..) {
        session.keep(&[message(number, text)]).await;
    }
    redis.replica.wait_for(&["HGET", "mqttx:{plant}:state", "position"], "\r\n10").await;
    redis.master.kill();
    for (text, number) in texts.iter().zip(0..).skip(10) {
        session.submit(&[message(number, text)]);
    }
    session.until(is_unavailable).await;
    session.until(is_available).await;
    session.synced().await;
    assert_eq!(session.payloads().await, texts);
    assert_eq!(redis.replica.command(&["HLEN", "mqttx:{plant}:messages"]), ":20");
}

#[tokio::test]
async fn a_master_that_became_a_replica_is_left() {
    let Some(redis) = RedisSentinel::start().await else { return };
    let mut session = Session::open(&store(&redis.url()), "plant").await;
    session.keep(&[message(0, "x")]).await;
    redis.replica.wait_for(&["HGET", "mqttx:{plant}:state", "position"], "\r\n1").await;
    // It takes the sentinel a moment to know that the replica is good.
    redis.sentinel.wait_for(&["SENTINEL", "FAILOVER", "main"], "+OK").await;
    redis.master.wait_for(&["ROLE"], "slave").await;
    session.keep(&[message(1, "y")]).await;
    assert_eq!(redis.replica.command(&["HLEN", "mqttx:{plant}:messages"]), ":2");
}

#[tokio::test]
async fn records_are_synced_when_the_replicas_have_them() {
    let Some(master) = Redis::builder().start().await else { return };
    let follow = format!("replicaof {} {}", master.address().ip(), master.address().port());
    let Some(replica) = Redis::builder().line(&follow).start().await else { return };
    replica.wait_for(&["INFO", "replication"], "master_link_status:up").await;
    let store = store(&master.url()).wait_replicas(1, Duration::from_millis(500));
    let mut session = Session::open(&store, "plant").await;
    session.keep(&[message(0, "x")]).await;
    session.others.clear();
    assert_eq!(replica.command(&["HLEN", "mqttx:{plant}:messages"]), ":1");
    replica.freeze();
    session.submit(&[message(1, "y")]);
    session.until(is_unavailable).await;
    assert_eq!((session.progress.written, session.progress.synced), (2, 1));
    replica.thaw();
    session.until(is_available).await;
    session.synced().await;
    assert_eq!(replica.command(&["HLEN", "mqttx:{plant}:messages"]), ":2");
}

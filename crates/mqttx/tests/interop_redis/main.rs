//! The Redis store against Redis. `MQTTX_TEST_REDIS` names the program; without it these tests are skipped.

mod cluster;
mod outages;
mod ownership;
mod refusals;
mod sentinel;
mod sessions;
mod support;
mod tools;

use mqttx::store::contract;
use mqttx_test::{Redis, RedisCluster};
use support::store;

#[tokio::test]
async fn a_server_keeps_the_contract() {
    let Some(redis) = Redis::builder().start().await else { return };
    let mut n = 0;
    contract::verify(async || {
        n += 1;
        store(&redis.url()).prefix(format!("{n}:"))
    })
    .await;
}

/// Minutes of random records, with `MQTTX_TEST_LONG`.
#[tokio::test]
async fn random_records_come_back_from_a_server() {
    let Some(redis) = Redis::builder().start().await else { return };
    let seeds = if std::env::var_os("MQTTX_TEST_LONG").is_some() { 10..210 } else { 10..12 };
    for seed in seeds {
        let store = store(&redis.url());
        contract::random_records_come_back_as_the_model_has_them(&store, seed, 1000).await;
    }
}

#[tokio::test]
async fn a_cluster_keeps_the_contract() {
    let Some(cluster) = RedisCluster::start().await else { return };
    let mut n = 0;
    contract::verify(async || {
        n += 1;
        store(&cluster.url()).prefix(format!("{n}:"))
    })
    .await;
    for node in &cluster.nodes {
        assert_ne!(node.command(&["DBSIZE"]), ":0", "every node has its share of the sessions");
    }
}

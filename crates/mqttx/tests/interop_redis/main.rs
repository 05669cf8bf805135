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

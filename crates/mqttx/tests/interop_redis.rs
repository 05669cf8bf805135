//! The Redis store against Redis. `MQTTX_TEST_REDIS` names the program; without it these tests are skipped.

use mqttx::RedisStore;
use mqttx::store::contract;
use mqttx_test::{Redis, RedisCluster};

fn store(url: &str) -> RedisStore {
    RedisStore::new(url).expect("a good address")
}

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

//! `pub` and `sub` killed at random points, with what others wrote: their state in Redis (`MQTTX_TEST_REDIS`), their messages
//! through Mosquitto (`MQTTX_TEST_MOSQUITTO`). The kills are those of the tests in `crash`.

#[path = "../crash/broker.rs"]
mod broker;
#[path = "../crash/daemon.rs"]
mod daemon;
#[path = "../crash/inbound.rs"]
mod inbound;
mod mosquitto;
#[path = "../crash/outbound.rs"]
mod outbound;
#[path = "../crash/packet.rs"]
mod packet;
#[path = "../crash/publish.rs"]
mod publish;
#[path = "../crash/random.rs"]
mod random;
mod redis;
#[path = "../crash/scenario.rs"]
mod scenario;
#[path = "../crash/subscribe.rs"]
mod subscribe;
#[path = "../crash/victim.rs"]
mod victim;

use std::time::Duration;

use mqttx_test::Redis;
use scenario::{Scenario, kills};

/// Tests: a name that is a claim, the direction, the version, the QoS.
macro_rules! crashes {
    ($($name:ident: $direction:ident $version:literal $qos:literal;)*) => {
        $(
            #[tokio::test]
            async fn $name() {
                let Some(redis) = Redis::builder().start().await else { return };
                let scenario = Scenario::new(stringify!($name), $version, $qos, &redis.url(), &[]);
                $direction::run(&scenario, kills()).await;
            }
        )*
    };
}

crashes! {
    killed_pub_with_redis_loses_no_qos_1_message: publish "311" 1;
    killed_pub_with_redis_sends_qos_2_exactly_once: publish "5" 2;
    killed_daemon_with_redis_forwards_every_qos_1_message: daemon "5" 1;
    killed_daemon_with_redis_forwards_qos_2_once: daemon "311" 2;
    killed_sub_with_redis_prints_every_qos_1_message: subscribe "5" 1;
    killed_sub_with_redis_prints_qos_2_exactly_once: subscribe "311" 2;
}

/// Redis dies as well, now and then: what it said to have is on its disk.
#[tokio::test]
async fn killed_pub_and_killed_redis_lose_nothing() {
    let durable = Redis::builder().append_only(true).line("appendfsync always");
    let Some(mut redis) = durable.start().await else { return };
    let name = "killed_pub_and_killed_redis_lose_nothing";
    let scenario = Scenario::new(name, "5", 2, &redis.url(), &[]);
    let mut random = random::Random::new(scenario.seed + 1);
    let harass = async {
        loop {
            tokio::time::sleep(random.up_to(Duration::from_millis(800))).await;
            redis.kill();
            redis.restart().await;
        }
    };
    tokio::select! {
        () = publish::run(&scenario, kills()) => {}
        () = harass => {}
    }
}

#[tokio::test]
async fn killed_silent_pub_with_redis_sends_qos_2_exactly_once() {
    let Some(redis) = Redis::builder().start().await else { return };
    let name = "killed_silent_pub_with_redis_sends_qos_2_exactly_once";
    publish::run_silent(&Scenario::new(name, "5", 2, &redis.url(), &[]), kills()).await;
}

#[tokio::test]
async fn killed_pub_with_redis_loses_nothing_when_the_server_forgets() {
    let Some(redis) = Redis::builder().start().await else { return };
    let name = "killed_pub_with_redis_loses_nothing_when_the_server_forgets";
    let scenario = Scenario::new(name, "5", 2, &redis.url(), &[]);
    publish::run_forgetful(&scenario, kills()).await;
}
